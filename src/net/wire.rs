//! What a RESP client's bytes come over: TCP, a Unix socket, or TLS.
//!
//! Nearly all are TCP, whose calls are reached by one comparison, and what is larger is in a box, so that they weigh
//! nothing more. Over TLS a write that was taken may still have to be sent: [`Wire::is_behind`].

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncRead;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::system::{self, UnixStream};
use crate::engine::Addr;

/// A client's connection before its worker's runtime knows it.
pub(super) trait Incoming {
    /// To be called on the worker's runtime.
    fn open(self) -> io::Result<Wire>;
}

impl Incoming for std::net::TcpStream {
    fn open(self) -> io::Result<Wire> {
        Ok(Wire::Tcp(TcpStream::from_std(self)?))
    }
}

/// A Unix socket, and the path that the client came to.
impl Incoming for (system::unknown::UnixStream, Arc<str>) {
    fn open(self) -> io::Result<Wire> {
        Ok(Wire::Unix(Box::new((UnixStream::from_std(self.0)?, self.1))))
    }
}

/// Hands already shaken.
impl Incoming for Box<TlsStream<TcpStream>> {
    fn open(self) -> io::Result<Wire> {
        Ok(Wire::Tls(self))
    }
}

/// A client's connection.
pub(super) enum Wire {
    Tcp(TcpStream),
    Unix(Box<(UnixStream, Arc<str>)>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Where the client comes from, and where it came to.
    pub fn addresses(&self) -> io::Result<(Addr, Addr)> {
        let of = |stream: &TcpStream| Ok((stream.peer_addr()?.into(), stream.local_addr()?.into()));
        match self {
            Wire::Tcp(stream) => of(stream),
            Wire::Unix(unix) => Ok((Addr::Unix(unix.1.clone()), Addr::Unix(unix.1.clone()))),
            Wire::Tls(stream) => of(stream.get_ref().0),
        }
    }

    /// The number of the socket's descriptor, for CLIENT LIST.
    pub fn descriptor(&self) -> i32 {
        match self {
            Wire::Tcp(stream) => system::descriptor(stream),
            Wire::Unix(unix) => system::descriptor(&unix.0),
            Wire::Tls(stream) => system::descriptor(stream.get_ref().0),
        }
    }

    /// Reads once into a buffer.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, input),
            Wire::Unix(unix) => Pin::new(&mut unix.0).poll_read(cx, input),
            Wire::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, input),
        }
    }

    /// Reads once to the end of what is there already, as far as there is room.
    pub fn poll_read_to(&mut self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            Wire::Tcp(stream) => pin!(stream.read_buf(input)).poll(cx),
            Wire::Unix(unix) => pin!(unix.0.read_buf(input)).poll(cx),
            Wire::Tls(stream) => pin!(stream.read_buf(input)).poll(cx),
        }
    }

    /// Whether bytes that were taken wait for the socket to take them.
    pub fn is_behind(&self) -> bool {
        match self {
            Wire::Tcp(_) | Wire::Unix(_) => false,
            Wire::Tls(stream) => stream.get_ref().1.wants_write(),
        }
    }

    /// Writes as much as is taken without waiting.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.try_write(bytes),
            Wire::Unix(unix) => unix.0.try_write(bytes),
            Wire::Tls(stream) => at_once(Pin::new(&mut **stream).poll_write(&mut nobody(), bytes)),
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn catch_up(&mut self) -> io::Result<()> {
        match self {
            Wire::Tcp(_) | Wire::Unix(_) => Ok(()),
            Wire::Tls(stream) => match at_once(Pin::new(&mut **stream).poll_flush(&mut nobody())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                done => done,
            },
        }
    }

    /// Waits until the socket takes more.
    pub fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Tcp(stream) => stream.poll_write_ready(cx),
            Wire::Unix(unix) => unix.0.poll_write_ready(cx),
            Wire::Tls(stream) => stream.get_ref().0.poll_write_ready(cx),
        }
    }

    /// Says that no more will come. Over TLS clients take an end that was not said for a fault.
    pub async fn end_writing(&mut self) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.shutdown().await,
            Wire::Unix(unix) => unix.0.shutdown().await,
            Wire::Tls(stream) => stream.shutdown().await,
        }
    }
}

/// Who waits for the socket is woken by [`Wire::poll_write_ready`], never by a write.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn at_once<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_client_weighs_nothing_for_what_others_have() {
        assert_eq!(size_of::<Wire>(), size_of::<TcpStream>());
    }
}
