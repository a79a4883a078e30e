//! What needs an operating system around it: sockets, files, arguments. The only place that waits.

pub mod http;
mod janitor;
mod prometheus;
mod resp;
mod script;
pub mod server;
pub mod settings;
mod strangers;
pub mod upstream;
mod worker;

use std::os::fd::AsRawFd;

/// The number of a socket's descriptor, for CLIENT LIST.
fn descriptor(stream: &tokio::net::TcpStream) -> i32 {
    stream.as_raw_fd()
}
