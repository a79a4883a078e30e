//! An application to stand behind the session doors: it answers every request with the same session, after a delay, and
//! counts how often it was asked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::{process, words};

/// Bytes of the largest request that it takes.
const REQUEST_MAX: usize = 16 * 1024;

/// The application, on a thread of its own.
pub struct Upstream {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
    end: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts it, on a core of its own if one is named.
    pub fn start(delay: Duration, core: Option<usize>) -> io::Result<Upstream> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (calls, end) = (Arc::<AtomicU64>::default(), Arc::<Notify>::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (count, until) = (calls.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            process::pin_this_thread(core);
            let serve = async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream, delay, count.clone()));
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    () = until.notified() => {}
                }
            });
        });
        Ok(Upstream { address, calls, end, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As the setting `upstream` has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often it was asked.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic over there has already been printed.
            let _ = thread.join();
        }
    }
}

/// Answers requests without bodies until the client leaves.
async fn answer(mut stream: TcpStream, delay: Duration, calls: Arc<AtomicU64>) {
    let _ = stream.set_nodelay(true);
    let body = words::body();
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: private, no-cache, no-store\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut request = Vec::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut request).await {
                Ok(got) if got > 0 && request.len() <= REQUEST_MAX => {}
                _ => return,
            }
        }
        calls.fetch_add(1, Ordering::Relaxed);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}
