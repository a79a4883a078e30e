//! The server as its neighbours see it: over real sockets, on loopback.

mod binary;
mod blocking;
mod browser;
mod canaries;
mod cli;
mod clients;
mod copies;
mod decoded;
mod differential;
mod doors;
mod everywhere;
mod faulty;
mod fences;
mod http;
mod http_faults;
mod lifecycle;
mod limits;
mod otlp;
mod page;
mod panics;
mod pressure;
mod profiles;
mod pubsub;
mod readme;
mod resp;
mod rest;
mod scripts;
mod snapshots;
mod soak;

mod support;
mod tellings;
mod tls;
mod tracking;
mod transactions;
mod verify;
