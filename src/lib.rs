//! Hand in a token, get the session back.

pub mod clock;
pub mod config;
pub mod error;
pub mod num;
pub mod session;
pub mod store;
