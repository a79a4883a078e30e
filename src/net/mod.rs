//! The network: the only floor that knows sockets and a runtime.

pub mod http;
pub mod upstream;
