//! Hand in a token, get the session back.

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
pub mod resp;
pub mod session;
pub mod store;
