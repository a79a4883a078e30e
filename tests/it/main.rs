//! The server as its neighbours see it: over real sockets, on loopback.

mod resp;
mod support;
