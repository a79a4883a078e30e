//! Unix: all there is.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

pub use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use super::Signal;

/// Sockets that no runtime knows yet.
pub mod unknown {
    pub use std::os::unix::net::{UnixListener, UnixStream};
}

/// Connects to a socket.
pub fn connect_unix(path: &Path) -> io::Result<unknown::UnixStream> {
    unknown::UnixStream::connect(path)
}

/// Tells who has started this process how far it is, as systemd reads it. A name that begins with `@` is no file.
pub fn tell_supervisor(socket: &OsStr, state: &str) -> io::Result<()> {
    let from = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_encoded_bytes().strip_prefix(b"@") {
        let to = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?;
        return from.send_to_addr(state.as_bytes(), &to).map(drop);
    }
    from.send_to(state.as_bytes(), Path::new(socket)).map(drop)
}

/// Makes a file that only its owner may read and write.
pub fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Whether a file grants any of these rights, as chmod writes them.
pub fn grants(file: &File, rights: u32) -> bool {
    file.metadata().is_ok_and(|meta| meta.permissions().mode() & rights != 0)
}

/// Writes bytes at a place of a file.
pub fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)
}

/// Whether a file that was opened is the one that has this name now.
pub fn is_at(file: &File, path: &Path) -> bool {
    let same = |open: fs::Metadata, named: fs::Metadata| (open.dev(), open.ino()) == (named.dev(), named.ino());
    file.metadata().is_ok_and(|open| fs::symlink_metadata(path).is_ok_and(|named| same(open, named)))
}

/// Puts on the disk which files a directory has.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?.sync_all()
}

/// The number that the system knows a socket by.
pub fn descriptor(socket: &impl AsRawFd) -> i32 {
    socket.as_raw_fd()
}

/// Signals that have come since it was made.
pub struct Signals([(tokio::signal::unix::Signal, Signal); 3]);

impl Signals {
    /// Listens from now on. To be called on the runtime that waits.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals([
            (signal(SignalKind::terminate())?, Signal::Terminate),
            (signal(SignalKind::interrupt())?, Signal::Interrupt),
            (signal(SignalKind::hangup())?, Signal::Reload),
        ]))
    }

    /// Waits for the next one. Who stops waiting misses none.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            for (signal, meaning) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*meaning);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// A socket's file, taken away at the end if it still is the same.
pub struct SocketFile {
    pub path: PathBuf,
    /// By which it is told from one that another server has put there since.
    identity: Option<Identity>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // A file that is left behind is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file's device and number, which may be used again, and when it was made.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|data| (data.dev(), data.ino(), data.ctime(), data.ctime_nsec()))
}

/// Opens a Unix socket. A file that a server has left behind is replaced; one that is anything else is not.
pub fn open_unix(path: &Path, mode: u32, setting: &str) -> Result<(unknown::UnixListener, SocketFile), String> {
    let wrong = |why: &dyn std::fmt::Display| format!("cannot listen on {} ({setting}): {why}", path.display());
    if let Ok(there) = fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(wrong(&"there is a file that is no socket; choose another path"));
        }
        if connect_unix(path).is_ok() {
            return Err(wrong(&"another server listens there; stop it, or choose another path"));
        }
        fs::remove_file(path).map_err(|error| wrong(&error))?;
    }
    let listener = unknown::UnixListener::bind(path).map_err(|error| wrong(&error))?;
    let mut file = SocketFile { path: path.to_owned(), identity: identity(path) };
    if mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| wrong(&error))?;
        file.identity = identity(path);
    }
    Ok((listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.sock");
        drop(unknown::UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "the system leaves it behind");
        let (_listener, file) = open_unix(&path, 0o700, "unixsocket").expect("a path that nobody listens at");
        assert_eq!(fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o700);
        let refusal = open_unix(&path, 0, "unixsocket").err().expect("a refusal");
        assert!(refusal.contains("another server listens there"), "{refusal}");
        drop(file);
        assert!(!path.exists());
        fs::write(&path, "mine").expect("a file");
        let refusal = open_unix(&path, 0, "unixsocket").err().expect("a refusal");
        assert!(refusal.contains("no socket"), "{refusal}");
        assert_eq!(fs::read(&path).expect("a file"), b"mine");
    }

    #[test]
    fn the_end_leaves_alone_what_another_server_has_put_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.sock");
        let (listener, file) = open_unix(&path, 0, "unixsocket").expect("a free path");
        drop(listener);
        // Longer than the system's clock for files takes for a step.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let (_theirs, _file) = open_unix(&path, 0, "unixsocket").expect("a path that nobody listens at");
        drop(file);
        assert!(path.exists());
    }
}
