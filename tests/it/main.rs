//! The server as its neighbours see it: over real sockets, on loopback.

mod binary;
mod blocking;
mod browser;
mod clients;
mod copies;
mod differential;
mod faulty;
mod http;
mod http_faults;
mod panics;
mod pubsub;
mod readme;
mod resp;
mod snapshots;
mod support;
mod tracking;
mod transactions;
