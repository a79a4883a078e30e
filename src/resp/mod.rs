//! The Redis serialization protocol without a socket: requests are read where they lie, replies are written in place.
//!
//! Nothing here knows a command, a client or the time. RESP is read as clients send it (arrays of bulk strings, or a
//! line of text) and written in version 2 or 3.
//!
//! ```
//! use cloakroom::resp::{Limits, Parser, Reply, Version};
//!
//! // What has arrived so far: one request and the beginning of the next.
//! let input = b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n*1\r\n";
//! let mut parser = Parser::new();
//! let used = parser.parse(input, &Limits::default())?.expect("a whole request");
//!
//! let mut out = Vec::new();
//! Reply::new(&mut out, Version::Resp2).bulk(&parser.args(input)[1]);
//! assert_eq!(out, b"$5\r\nhello\r\n");
//! assert_eq!(parser.parse(&input[used..], &Limits::default())?, None, "more is to come");
//! # Ok::<(), cloakroom::Error>(())
//! ```

mod args;
mod events;
#[cfg_attr(doc, doc(hidden))]
pub mod json;
#[cfg_attr(doc, doc(hidden))]
pub mod reply;
#[cfg_attr(doc, doc(hidden))]
pub mod request;
pub(crate) mod written;

pub use args::{Args, Words};
pub use reply::{Reply, Version};
pub use request::{Limits, Parser};
#[cfg_attr(doc, doc(hidden))]
pub use {args::Span, events::events, written::error_of};
