//! What the benches share. Each program uses a part of it.

// Every program compiles all of this and uses its own half.
#![allow(dead_code)]

pub mod figures;
pub mod histogram;
pub mod http;
pub mod load;
pub mod process;
pub mod server;
pub mod servers;
pub mod upstream;
pub mod words;
