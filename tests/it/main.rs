//! The server as its neighbours see it: over real sockets, on loopback.

mod binary;
mod blocking;
mod browser;
mod clients;
mod differential;
mod faulty;
mod http;
mod http_faults;
mod panics;
mod pubsub;
mod readme;
mod resp;
mod scripts;
mod support;
mod tracking;
mod transactions;
