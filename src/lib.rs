//! Hand in a token, get the session back.

pub mod clock;
pub mod config;
pub mod error;
