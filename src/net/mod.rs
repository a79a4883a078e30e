//! What needs an operating system around it: sockets, files, arguments. The only place that waits.

pub mod copy;
mod descriptors;
mod fences;
pub mod http;
mod janitor;
mod keyfile;
mod machine;
mod patience;
mod prometheus;
mod resp;
mod script;
pub mod server;
pub mod settings;
mod snapshot;
mod strangers;
pub mod upstream;
mod worker;

pub use patience::Patience;

use std::os::fd::AsRawFd;

/// The number of a socket's descriptor, for CLIENT LIST.
fn descriptor(stream: &tokio::net::TcpStream) -> i32 {
    stream.as_raw_fd()
}
