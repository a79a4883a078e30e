//! Hand in a token, get the session back.
//!
//! A store whose entries die on time, commands that speak RESP to it, and a session cache on the same store. With the
//! feature `server` (the default) come the two doors and the binary; without it all of this is a library that waits
//! for nothing and asks no clock.
//!
//! From the ground up, each module knowing only those above it in this list:
//!
//! - [`clock`], [`error`], [`num`], [`glob`], [`metrics`]: time, refusals, numbers, patterns, counters;
//! - [`config`]: all settings, from one table; [`rdb`]: the format that values are dumped and kept in;
//! - [`store`] and [`resp`]: the store, and the protocol without a socket;
//! - [`engine`]: what all clients share;
//! - [`command`] and [`session`]: Redis' commands, and what the answer to a session check is;
//! - `net`: sockets, HTTP, the upstream;
//! - `cli`: what people type.
//!
//! ```
//! use cloakroom::{Store, clock::Ttl};
//!
//! let store = Store::new();
//! store.put(b"greeting", b"hello", Ttl::seconds(5))?;
//! assert_eq!(store.fetch(b"greeting").as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), cloakroom::error::Error>(())
//! ```

#![deny(unsafe_code)]

#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod engine;
pub mod error;
pub mod glob;
pub mod metrics;
#[cfg(feature = "server")]
pub mod net;
pub mod num;
pub mod rdb;
pub mod resp;
pub mod session;
pub mod store;

pub use config::Config;
#[cfg(feature = "server")]
pub use net::server::Server;
pub use session::SessionCache;
pub use store::Store;
