//! What needs an operating system around it: sockets, files, arguments. The only place that waits.

mod doors;
pub mod http;
mod janitor;
mod prometheus;
mod reload;
mod resp;
pub mod server;
pub mod settings;
mod strangers;
mod tls;
pub mod upstream;
mod wire;
mod worker;
