//! What needs an operating system around it: sockets, files, arguments.

pub mod settings;
