//! Everything that can be refused, once, with what it looks like through either door.
//!
//! RESP texts are Redis' own, word for word, because clients match on them. [`Error::faces`] is exhaustive: a new
//! variant does not compile until both protocols know it.
//!
//! ```
//! use cloakroom::Error;
//!
//! let (code, status) = Error::WrongType.faces();
//! let line = format!("-{code} {}", Error::WrongType);
//! assert_eq!(line, "-WRONGTYPE Operation against a key holding the wrong kind of value");
//! assert_eq!(status, 409);
//! ```

use std::borrow::Cow;
use std::fmt;

/// Why a request was refused. Nothing was changed when one of these is returned.
///
/// Shown, it is Redis' text; [`faces`](Error::faces) has the code that goes before it.
///
/// ```
/// use cloakroom::{Error, Store, clock::Ttl};
///
/// let store = Store::new();
/// let sessions = store.cache("SESSION").expect("predefined");
/// sessions.put(b"a-token", b"{}")?;
/// sessions.remove(b"a-token");
///
/// // Who was late with an answer cannot bring the session back.
/// let refused = sessions.put(b"a-token", b"{}").unwrap_err();
/// assert_eq!(refused, Error::Fenced);
/// assert!(refused.to_string().starts_with("this session was signed out"));
/// # Ok::<(), Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The options of a command do not fit together.
    Syntax,
    /// Another count of arguments was due; the name is lower-case, `command|sub` for a subcommand.
    Arity(Cow<'static, str>),
    /// No such command; the text after `unknown command`.
    UnknownCommand(String),
    /// A container command without such a subcommand: (as given, container's name in upper case).
    UnknownSubcommand(String, &'static str),
    /// An argument or value that should be a 64-bit integer.
    NotInteger,
    /// An argument or value that should be a float.
    NotFloat,
    /// A TTL that is zero, negative or past the end of time; the command's name.
    InvalidExpire(&'static str),
    /// The key holds another kind of value.
    WrongType,
    /// The command needs a key that exists.
    NoSuchKey,
    /// An index outside the string or range.
    OutOfRange,
    /// A string would grow past `proto-max-bulk-len`.
    TooLong,
    /// The client has not authenticated.
    NoAuth,
    /// The same, with another text.
    NoAuthYet(&'static str),
    /// Wrong user name or password.
    WrongPass,
    /// Too many wrong passwords came from the client's address; for how many seconds none is looked at.
    Guessing(u64),
    /// The user may not do this.
    NoPerm(String),
    /// `HELLO` with a version other than 2 or 3.
    NoProto,
    /// `maxmemory` is reached and nothing may be evicted.
    OutOfMemory,
    /// A reply would be larger than one may be.
    ReplyTooLarge,
    /// A session was signed out and its key takes no writes until the fence falls.
    Fenced,
    /// A transaction that will not run; why.
    ExecAbort(Cow<'static, str>),
    /// RESTORE, and something is there.
    BusyKey,
    /// The same for a script that may need memory.
    ScriptOutOfMemory,
    /// No script has this SHA-1.
    NoScript,
    /// A script has run for long, and only that can be ended.
    Busy,
    /// The same for a function.
    BusyFunction,
    /// No script runs that could be killed.
    NotBusy,
    /// The script that runs has changed data.
    Unkillable,
    /// The last snapshot failed, and writes are to be refused then.
    Unsaved,
    /// A plain `ERR` with Redis' text.
    Refused(Cow<'static, str>),
    /// The bytes are not RESP; the client is closed after it.
    Protocol(Cow<'static, str>),
}

/// What handlers and all calls of the store return.
///
/// ```
/// use cloakroom::{Store, clock::Ttl, error::Result};
///
/// fn hang_up(store: &Store) -> Result<usize> {
///     store.put(b"coat", b"blue", Ttl::seconds(60))?;
///     Ok(store.len())
/// }
/// assert_eq!(hang_up(&Store::new()), Ok(1));
/// ```
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A plain `ERR` with a fixed text.
    #[cfg_attr(doc, doc(hidden))]
    pub const fn refused(text: &'static str) -> Error {
        Error::Refused(Cow::Borrowed(text))
    }

    /// The error's RESP code and its HTTP status.
    ///
    /// ```
    /// use cloakroom::Error;
    ///
    /// assert_eq!(Error::OutOfMemory.faces(), ("OOM", 507));
    /// assert_eq!(Error::NoAuth.faces(), ("NOAUTH", 401));
    /// ```
    pub fn faces(&self) -> (&'static str, u16) {
        match self {
            Error::Syntax
            | Error::Arity(_)
            | Error::UnknownSubcommand(..)
            | Error::NotInteger
            | Error::NotFloat
            | Error::InvalidExpire(_)
            | Error::OutOfRange
            | Error::Refused(_)
            | Error::Protocol(_) => ("ERR", 400),
            Error::UnknownCommand(_) | Error::NoSuchKey => ("ERR", 404),
            Error::TooLong => ("ERR", 413),
            Error::WrongType => ("WRONGTYPE", 409),
            Error::NoAuth | Error::NoAuthYet(_) => ("NOAUTH", 401),
            Error::WrongPass => ("WRONGPASS", 401),
            Error::Guessing(_) => ("ERR", 429),
            Error::NoPerm(_) => ("NOPERM", 403),
            Error::NoProto => ("NOPROTO", 400),
            Error::OutOfMemory | Error::ScriptOutOfMemory | Error::ReplyTooLarge => ("OOM", 507),
            Error::Fenced => ("FENCED", 409),
            Error::ExecAbort(_) => ("EXECABORT", 409),
            Error::NoScript => ("NOSCRIPT", 404),
            Error::Unsaved => ("MISCONF", 507),
            Error::BusyKey => ("BUSYKEY", 409),
            Error::Busy | Error::BusyFunction => ("BUSY", 503),
            Error::NotBusy => ("NOTBUSY", 409),
            Error::Unkillable => ("UNKILLABLE", 409),
        }
    }
}

impl fmt::Display for Error {
    /// The text after the code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax => f.write_str("syntax error"),
            Error::Arity(name) => write!(f, "wrong number of arguments for '{name}' command"),
            Error::UnknownCommand(rest) => write!(f, "unknown command {rest}"),
            Error::UnknownSubcommand(given, container) => {
                write!(f, "unknown subcommand '{given}'. Try {container} HELP.")
            }
            Error::NotInteger => f.write_str("value is not an integer or out of range"),
            Error::NotFloat => f.write_str("value is not a valid float"),
            Error::InvalidExpire(name) => {
                write!(f, "invalid expire time in '{}' command", name.to_lowercase())
            }
            Error::WrongType => f.write_str("Operation against a key holding the wrong kind of value"),
            Error::NoSuchKey => f.write_str("no such key"),
            Error::OutOfRange => f.write_str("offset is out of range"),
            Error::TooLong => f.write_str("string exceeds maximum allowed size (proto-max-bulk-len)"),
            Error::NoAuth => f.write_str("Authentication required."),
            Error::NoAuthYet(text) => f.write_str(text),
            Error::WrongPass => f.write_str("invalid username-password pair or user is disabled."),
            Error::Guessing(seconds) => {
                write!(f, "too many failed logins from this address, try again in {seconds} seconds")
            }
            Error::NoPerm(text) => f.write_str(text),
            Error::NoProto => f.write_str("unsupported protocol version"),
            Error::OutOfMemory => f.write_str("command not allowed when used memory > 'maxmemory'."),
            Error::ReplyTooLarge => f.write_str(
                "reply too large: ask for less at once, or raise 'client-output-buffer-limit normal', and 'maxmemory' if that is \
                 less than four times as much",
            ),
            Error::Fenced => {
                f.write_str("this session was signed out; its key takes no writes until the sign-out has settled")
            }
            Error::ExecAbort(why) => write!(f, "Transaction discarded {why}"),
            Error::BusyKey => f.write_str("Target key name already exists."),
            Error::NoScript => f.write_str("No matching script. Please use EVAL."),
            Error::ScriptOutOfMemory => {
                f.write_str("allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'")
            }
            Error::Busy => {
                f.write_str("Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
            }
            Error::BusyFunction => {
                f.write_str("Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.")
            }
            Error::NotBusy => f.write_str("No scripts in execution right now."),
            Error::Unkillable => f.write_str(
                "Sorry the script already executed write commands against the dataset. You can either wait the script \
                 termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ),
            Error::Unsaved => f.write_str(
                "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that \
                 may modify the data set are disabled, because this instance is configured to report errors during \
                 writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for \
                 details about the RDB error.",
            ),
            Error::Refused(text) => f.write_str(text),
            Error::Protocol(text) => write!(f, "Protocol error: {text}"),
        }
    }
}

impl std::error::Error for Error {}
