//! Hand in a token, get the session back.

pub mod clock;
pub mod config;
pub mod error;
pub mod glob;
#[cfg(feature = "server")]
pub mod net;
pub mod num;
pub mod resp;
pub mod store;
