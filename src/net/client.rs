//! Clients of running servers, for the command line: one of Redis' protocol, and one of HTTP.
//!
//! They wait where they are called, and everything they do has its limit in time and size.

mod address;
mod http;
mod line;
mod wire;

pub use super::dial::{Dial, Io, Place, Trust};
pub use address::Address;
pub use http::{Http, Site};
pub use line::untrusted;
pub use wire::{Reply, Wire, write_request};
