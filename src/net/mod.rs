//! What needs an operating system around it: sockets, files, arguments. The only place that waits.

pub mod client;
pub mod copy;
mod descriptors;
mod dial;
mod doors;
mod fences;
mod figures;
mod here;
pub mod http;
mod janitor;
mod keyfile;
mod machine;
mod otlp;
mod patience;
mod pem;
pub mod probe;
mod prometheus;
mod reload;
mod resp;
mod script;
mod secrets;
pub mod server;
pub mod settings;
mod signing;
mod snapshot;
mod strangers;
mod system;
mod tls;
pub mod upstream;
mod whole;
mod wire;
mod worker;

pub use patience::Patience;
