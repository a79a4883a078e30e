//! What needs an operating system around it: sockets, files, arguments.

pub mod http;
pub mod settings;
pub mod upstream;
