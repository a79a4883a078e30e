//! Windows: no Unix sockets, no modes of files, and no signal for reading settings again. What is missing here is a type
//! without values, so that who handles it needs no other code.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::FileExt;
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlShutdown, ctrl_break, ctrl_c, ctrl_shutdown};

use super::Signal;

/// Sockets that no runtime knows yet.
pub mod unknown {
    use std::io;

    /// There is none.
    pub enum UnixListener {}

    /// There is none.
    pub enum UnixStream {}

    impl UnixStream {
        /// Whether calls wait.
        pub fn set_nonblocking(&self, _is: bool) -> io::Result<()> {
            match *self {}
        }

        /// How long they wait.
        pub fn set_read_timeout(&self, _within: Option<std::time::Duration>) -> io::Result<()> {
            match *self {}
        }

        /// How long they wait.
        pub fn set_write_timeout(&self, _within: Option<std::time::Duration>) -> io::Result<()> {
            match *self {}
        }
    }

    impl io::Read for UnixStream {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            match *self {}
        }
    }

    impl io::Write for UnixStream {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            match *self {}
        }

        fn flush(&mut self) -> io::Result<()> {
            match *self {}
        }
    }

    impl UnixListener {
        /// The same socket again.
        pub fn try_clone(&self) -> io::Result<UnixListener> {
            match *self {}
        }

        /// Whether calls wait.
        pub fn set_nonblocking(&self, _is: bool) -> io::Result<()> {
            match *self {}
        }
    }
}

/// There is none.
pub enum UnixListener {}

impl UnixListener {
    /// Makes it known to the runtime.
    pub fn from_std(listener: unknown::UnixListener) -> io::Result<UnixListener> {
        match listener {}
    }

    /// Waits for the next client, and tells where it comes from.
    pub async fn accept(&self) -> io::Result<(UnixStream, ())> {
        match *self {}
    }
}

/// There is none.
pub enum UnixStream {}

impl UnixStream {
    /// Makes it known to the runtime.
    pub fn from_std(stream: unknown::UnixStream) -> io::Result<UnixStream> {
        match stream {}
    }

    /// Takes it off the runtime.
    pub fn into_std(self) -> io::Result<unknown::UnixStream> {
        match self {}
    }

    /// Writes as much as is taken without waiting.
    pub fn try_write(&self, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Waits until the socket takes more.
    pub fn poll_write_ready(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncRead for UnixStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsSocket for UnixStream {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        match *self {}
    }
}

impl AsRawSocket for UnixStream {
    fn as_raw_socket(&self) -> RawSocket {
        match *self {}
    }
}

/// Nobody there asks how far it is.
pub fn tell_supervisor(_socket: &std::ffi::OsStr, _state: &str) -> io::Result<()> {
    Ok(())
}

/// Says that there are no such sockets.
pub fn connect_unix(_path: &Path) -> io::Result<unknown::UnixStream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}

/// A socket's file.
pub struct SocketFile {
    pub path: PathBuf,
}

/// Says that there are no such sockets.
pub fn open_unix(path: &Path, _mode: u32, setting: &str) -> Result<(unknown::UnixListener, SocketFile), String> {
    let path = path.display();
    Err(format!("cannot listen on {path} ({setting}): this system has no Unix sockets; leave {setting} empty"))
}

/// Who may read a file is what its folder says.
pub fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Nothing is known of rights.
pub fn grants(_file: &File, _rights: u32) -> bool {
    false
}

/// Writes bytes at a place of a file.
pub fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, at)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => (bytes, at) = (&bytes[written..], at + written as u64),
        }
    }
    Ok(())
}

/// One that is open cannot be replaced.
pub fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

/// Which files a directory has is on the disk without being asked.
pub fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// The number that the system knows a socket by. It has 32 bits, whatever its type.
pub fn descriptor(socket: &impl AsRawSocket) -> i32 {
    socket.as_raw_socket() as i32
}

/// What has been asked at the console since it was made.
pub struct Signals {
    interrupt: CtrlC,
    stop: CtrlBreak,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Listens from now on. To be called on the runtime that waits.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals { interrupt: ctrl_c()?, stop: ctrl_break()?, shutdown: ctrl_shutdown()? })
    }

    /// Waits for the next one. Who stops waiting misses none.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.stop.recv() => Signal::Terminate,
            _ = self.shutdown.recv() => Signal::Terminate,
        }
    }
}
