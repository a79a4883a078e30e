//! The server as its neighbours see it: over real sockets, on loopback.

mod differential;
mod resp;
mod support;
