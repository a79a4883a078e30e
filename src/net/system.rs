//! What differs from system to system: Unix sockets, who may read a file, which signals there are. Its two files have the
//! same names in them, so that nobody else asks where the server runs.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use other::*;
#[cfg(unix)]
pub(super) use unix::*;

/// What the system, or who sits before it, asks the server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// To end: SIGTERM.
    Terminate,
    /// To end, asked from a keyboard: SIGINT.
    Interrupt,
    /// To read its settings again: SIGHUP.
    #[cfg_attr(not(unix), expect(dead_code, reason = "nothing there asks for it"))]
    Reload,
}
