//! Hand in a token, get the session back.

pub mod clock;
pub mod config;
pub mod error;
pub mod glob;
pub mod num;
pub mod resp;
pub mod store;
