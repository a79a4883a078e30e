//! Hand in a token, get the session back.
//!
//! A store whose entries die on time, Redis' commands that speak RESP to it, and a session cache on the same store. With
//! the feature `server` (the default) come the two doors, RESP and HTTP, and the binary. Without it all of this is a
//! library that opens nothing, waits for nobody and asks no clock but yours:
//!
//! ```toml
//! cloakroom = { version = "0.1", default-features = false }
//! ```
//!
//! # A store
//!
//! A [`Store`] is a handle that threads share. Three calls ask its own clock and copy:
//!
//! ```
//! use cloakroom::{Store, clock::Ttl};
//!
//! let store = Store::new();
//! store.put(b"greeting", b"hello", Ttl::seconds(5))?;
//! assert_eq!(store.fetch(b"greeting").as_deref(), Some(&b"hello"[..]));
//! assert!(store.remove(b"greeting"));
//! # Ok::<(), cloakroom::Error>(())
//! ```
//!
//! All others are told the time and show the value where it lies, to a closure: [`Store::get`], [`Store::with`],
//! [`Store::write`], [`Store::with_all`]. What has died is dead for readers at its very deadline; its memory comes back
//! when somebody [sweeps](Store::sweep_now). A [`Cache`](store::Cache) is a named part of a store with a TTL of its own.
//!
//! # Sessions
//!
//! A [`SessionCache`] answers session checks from the store, or says that their source is to be asked, once, however many
//! ask; and a sign-out is final. Who makes that call, and how, is the embedder's affair:
//!
//! ```
//! use cloakroom::clock::ManualClock;
//! use cloakroom::session::{LookUp, Outcome, SessionCache, Settings, Source, SourceAnswer};
//!
//! let hands = ManualClock::default();
//! let settings = Settings { source: Source::Upstream, ..Settings::default() };
//! let sessions = SessionCache::embedded(settings, hands.clone());
//!
//! let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
//! let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!("nothing is known yet") };
//! let answer = SourceAnswer::new(200, r#"{"user":{"name":"alice"}}"#); // what NextAuth has said
//! sessions.complete(fill, Outcome::Answered(answer), hands.now());
//!
//! let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!("it was stored") };
//! assert_eq!(&answer.body[..], br#"{"user":{"name":"alice"}}"#);
//! ```
//!
//! # Redis without a socket
//!
//! Bytes in, bytes out: a [`Parser`](resp::Parser) finds requests, a [`Client`](command::Client) runs them on an
//! [`Engine`](engine::Engine) and writes the replies.
//!
//! ```
//! use cloakroom::{Config, clock::Clock, command::Client, engine::Engine, resp::{Limits, Parser}};
//!
//! let engine = Engine::embedded(Config::default(), Clock::system());
//! let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
//! let (mut parser, mut out) = (Parser::new(), Vec::new());
//!
//! let mut input = &b"SET coat blue EX 60\r\nGET coat\r\n"[..];
//! while let Some(used) = parser.parse(input, &Limits::default())? {
//!     client.run(&engine, parser.args(input), engine.clock.now(), &mut out);
//!     input = &input[used..];
//! }
//! assert_eq!(out, b"+OK\r\n$4\r\nblue\r\n");
//! # Ok::<(), cloakroom::Error>(())
//! ```
//!
#![cfg_attr(
    feature = "server",
    doc = r#"
# A server

The whole of it, in a thread of one's own: [`Server`].

```
use std::io::{Read, Write};
use cloakroom::{Config, server::{Server, Way}};

let mut config = Config::default();
for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1")] {
    config.set(name, value)?; // 0: any port that is free
}
let server = Server::bind(config)?;
let (address, engine) = (server.addresses(Way::Resp)[0], server.engine().clone());
let served = std::thread::spawn(move || server.run());

let mut client = std::net::TcpStream::connect(address)?;
client.write_all(b"PING\r\n")?;
let mut heard = [0; 7];
client.read_exact(&mut heard)?;
assert_eq!(&heard, b"+PONG\r\n");

engine.shut_down();
served.join().expect("no panic")?;
# Ok::<(), Box<dyn std::error::Error>>(())
```
"#
)]
//! # What is promised
//!
//! What these pages show is the API, and changes as [Semantic Versioning](https://semver.org) allows. Whatever else can be
//! named from outside is there for this crate's own tests and benchmarks, is hidden here, and may change with any version.
//!
//! These are shared by threads as they are; a client or a parser belongs to one at a time. Nothing panics on what clients send; a panic in a closure that is
//! given to a store leaves the store whole.
//!
//! ```
//! fn is_shared<T: Send + Sync + 'static>() {}
//! is_shared::<cloakroom::Store>();
//! is_shared::<cloakroom::SessionCache>();
//! is_shared::<cloakroom::Config>();
//! is_shared::<cloakroom::Error>();
//! is_shared::<cloakroom::engine::Engine>();
//! ```

#![deny(unsafe_code)]

// Hidden from rustdoc alone, so that the compiler goes on asking for the documents of all that is public.
#[cfg(feature = "server")]
#[cfg_attr(doc, doc(hidden))]
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod engine;
pub mod error;
#[cfg_attr(doc, doc(hidden))]
pub mod glob;
#[cfg_attr(doc, doc(hidden))]
pub mod metrics;
#[cfg(feature = "server")]
#[cfg_attr(doc, doc(hidden))]
pub mod net;
#[cfg_attr(doc, doc(hidden))]
pub mod num;
#[cfg_attr(doc, doc(hidden))]
pub mod rdb;
pub mod resp;
pub mod session;
pub mod store;

pub use config::Config;
pub use error::Error;
#[cfg(feature = "server")]
#[doc(inline)]
pub use net::server;
#[cfg(feature = "server")]
#[doc(no_inline)]
pub use server::Server;
pub use session::SessionCache;
pub use store::Store;
