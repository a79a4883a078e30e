//! The Redis serialization protocol without a socket: requests are read where they lie, replies are written in place.
//!
//! Nothing here knows a command, a client or the time. RESP is read as clients send it (arrays of bulk strings, or a
//! line of text) and written in version 2 or 3.

mod events;
pub mod json;
pub mod reply;
pub mod request;
pub(crate) mod written;

pub use events::events;
pub use reply::{Reply, Version};
pub use request::{Args, Limits, Parser, Span, Words};
pub use written::error_of;
