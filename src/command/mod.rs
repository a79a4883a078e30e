//! Commands: from the words of a request to the bytes of its reply, with no socket in sight.
//!
//! Every command is a row beside its handler, in the family it belongs to. [`find`] looks a name up in a table that
//! the compiler has laid out; [`run`] checks arity, authentication, pauses and memory by what the row says, calls the
//! handler, and rewinds what it wrote if it fails. This module deliberately knows nothing of sessions: they meet in
//! the store.

mod acl;
mod bitfield;
mod bitmap;
mod blocking;
mod client;
mod client_list;
mod cluster;
mod config;
pub mod connection;
mod debug;
mod docs;
mod dump;
mod expire;
mod flush;
mod generic;
mod hash;
mod help;
mod info;
mod latency;
mod lcs;
mod list;
mod memory;
mod pubsub;
mod read;
mod reference;
mod replication;
mod rest;
mod run;
mod save;
mod scan;
#[cfg(feature = "server")]
mod script;
mod server;
mod set;
mod slowlog;
mod sort;
mod spec;
mod string;
mod table;
mod tracking;
mod tx;
mod usage;
mod words;
mod zset;

use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use acl::{load_users, may_read_all, reload_users};
pub use blocking::{forget, is_answered};
pub use connection::REDIS_VERSION;
pub use reference::{COMMANDS_BEGIN, COMMANDS_END, commands_reference, commands_reference_in};
pub use rest::{check_alone, run_alone};
pub use run::{may_run_script, run};
#[cfg(feature = "server")]
pub use script::functions::put_libraries;
pub use spec::{Arity, Flags, Group, Handler, Keys, Spec};
pub use table::{COUNT, Found, all, find, find_full, numbered};

use crate::clock::{Millis, Ttl};
use crate::engine::acl::User;
use crate::engine::{Engine, Peer};
use crate::resp::{Reply, Version};

use crate::store::{Foreseen, Store, Ticket};
#[cfg(feature = "server")]
use run::show_monitors;
use run::{call, flags_of};
use table::{lookup, wrong_count};

/// All families.
const FAMILIES: &[&[Spec]] = &[
    connection::COMMANDS,
    acl::COMMANDS,
    client::COMMANDS,
    docs::COMMANDS,
    config::COMMANDS,
    info::COMMANDS,
    server::COMMANDS,
    flush::COMMANDS,
    save::COMMANDS,
    replication::COMMANDS,
    cluster::COMMANDS,
    memory::COMMANDS,
    debug::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    generic::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    dump::COMMANDS,
    sort::COMMANDS,
    string::COMMANDS,
    lcs::COMMANDS,
    bitmap::COMMANDS,
    bitfield::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    blocking::COMMANDS,
    set::COMMANDS,
    zset::COMMANDS,
    zset::algebra::COMMANDS,
    zset::pop::COMMANDS,
    zset::range::COMMANDS,
    tx::COMMANDS,
    #[cfg(feature = "server")]
    script::COMMANDS,
    #[cfg(feature = "server")]
    script::functions::COMMANDS,
    pubsub::COMMANDS,
];

/// One client's state, as its commands see it.
pub struct Client {
    /// What it shares with others.
    pub peer: Arc<Peer>,
    /// The worker that serves it, and its database.
    worker: u32,
    db: u32,
    /// RESP2 or RESP3.
    pub version: Version,
    /// Whether it has authenticated, or need not.
    pub authenticated: bool,
    /// Whom it has logged in as, if not as the default user.
    user: Option<Arc<User>>,
    /// Whether it comes from this machine.
    pub is_local: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT REPLY.
    pub replies: Replies,
    /// Whether this command's reply goes out even to a client that wants none, as what was pushed to it does.
    pub pushed: bool,
    /// What the connection is to do after this command.
    pub flow: Flow,
    /// Microseconds on the engine's clock when the last command ended, or the batch began.
    pub lap: u64,
    /// Whether its worker has been left outside of the stores, where a script takes too long.
    pub is_outside: bool,
    /// Whether its commands find out at once that there is nothing, as they are run together with others: by a transaction
    /// or a script.
    pub never_waits: bool,
    /// What it holds while its request waits for a key, 0 if it does not.
    pub ticket: Ticket,
    /// What it has begun with one request and ends with another: few have, and not for long.
    begun: Option<Box<Begun>>,
}

/// What a client has begun and not ended.
#[derive(Default)]
struct Begun {
    tx: tx::Tx,
    /// A walk over all keys, of which it has more turns to come.
    walk: Option<scan::Walk>,
    /// A flush, of which it has.
    flush: Option<flush::Flush>,
    /// A CLIENT KILL that waits.
    kill: Option<client::Kill>,
    /// A SAVE that waits, and how many there were before it.
    save: Option<u64>,
    /// Microseconds that the turns of any of them have taken.
    spent: u64,
}

impl Begun {
    fn has_turns(&self) -> bool {
        self.walk.is_some() || self.flush.is_some() || self.kill.is_some() || self.save.is_some()
    }
}

/// Which replies a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// None for the next command.
    SkipNext,
    /// None for this command.
    Skip,
}

/// What the connection is to do after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next request.
    Go,
    /// Send what there is and close.
    Close,
    /// The request was not run: offer it again at this instant, or when rung.
    Hold(Millis),
    /// The request waits for a key: offer it again at this instant, or when called.
    Block(Millis),
    /// A part of the request was run: offer it again when others have had their turn.
    Again,
    /// Serve this client nothing for so long, and send the reply only then.
    Sleep(Ttl),
}

impl Flow {
    /// The same for a request whose parts have asked for so much sleep.
    fn after(self, slept: Ttl) -> Flow {
        if self == Flow::Go && slept != Ttl(0) { Flow::Sleep(slept) } else { self }
    }

    /// Whether the request is to be offered again.
    fn is_open(self) -> bool {
        matches!(self, Flow::Hold(_) | Flow::Block(_) | Flow::Again)
    }
}

impl Client {
    /// A client that has just come in.
    pub fn new(engine: &Engine, peer: Arc<Peer>, worker: usize, is_local: bool) -> Client {
        Client {
            peer,
            worker: worker as u32,
            db: 0,
            version: Version::Resp2,
            authenticated: !engine.acl.needs_auth(),
            user: None,
            is_local,
            no_touch: false,
            replies: Replies::On,
            pushed: false,
            flow: Flow::Go,
            lap: engine.clock.micros(),
            is_outside: false,
            never_waits: false,
            ticket: 0,
            begun: None,
        }
    }

    /// The worker that serves it.
    pub fn worker(&self) -> usize {
        self.worker as usize
    }

    /// Hands it over to where one of its requests runs, and leaves in its place one that nothing is to be asked of: its
    /// peer is the same.
    pub fn hand_over(&mut self) -> Client {
        let stand_in = Client { peer: self.peer.clone(), user: None, begun: None, ..*self };
        std::mem::replace(self, stand_in)
    }

    /// The database it has selected.
    pub fn db(&self) -> usize {
        self.db as usize
    }

    /// Selects a database that exists.
    fn select(&mut self, db: usize) {
        self.db = db as u32;
        self.peer.db.store(db as u8, Ordering::Relaxed);
    }

    /// Who it is.
    fn user<'a>(&'a self, engine: &'a Engine) -> &'a Arc<User> {
        self.user.as_ref().unwrap_or(engine.acl.default_user())
    }

    /// Makes it a user, the default one for `None`.
    fn set_user(&mut self, user: Option<Arc<User>>) {
        self.peer.set_user(user.clone());
        self.user = user;
    }

    /// Whether its reads count as accesses.
    fn set_no_touch(&mut self, on: bool) {
        self.no_touch = on;
        self.peer.no_touch.store(on, Ordering::Relaxed);
    }

    /// Microseconds that the turns of a request have taken which has more of them to come.
    fn spent(&self) -> u64 {
        self.begun.as_ref().filter(|begun| begun.has_turns()).map_or(0, |begun| begun.spent)
    }

    /// Whether a request of its has more turns to come.
    fn has_turns(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.has_turns())
    }

    /// Ends a turn of a request that has more of them to come; `keep` keeps what it goes on with.
    fn keep_for_later(&mut self, engine: &Engine, keep: impl FnOnce(&mut Begun)) {
        let begun = self.begun.get_or_insert_default();
        begun.spent = engine.clock.micros().saturating_sub(self.lap);
        keep(begun);
        self.flow = Flow::Again;
    }

    /// Frees what is kept for turns, unless there is a transaction in it.
    fn end_turns(&mut self) {
        self.begun.take_if(|begun| !begun.has_turns() && begun.tx.is_empty());
    }

    /// Changes the protocol. Whoever pushes to it looks at this too, so it is done where nobody can push meanwhile.
    fn speak(&mut self, version: Version) {
        self.version = version;
        self.peer.protocol.store(if version == Version::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
    }
}

/// What a handler works with.
pub struct Ctx<'a> {
    /// What all clients share.
    pub engine: &'a Engine,
    /// Who asks.
    pub client: &'a mut Client,
    /// The time, read once for the batch.
    pub now: Millis,
    /// Where the answer goes.
    pub reply: Reply<'a>,
    /// The row of the command that runs.
    pub spec: &'static Spec,
    /// A key that was foreseen to be asked for.
    pub ahead: Option<&'a Foreseen<'a>>,
    /// Whether a script runs it.
    pub is_scripted: bool,
}

impl<'a> Ctx<'a> {
    /// The store of the client's database.
    pub fn store(&self) -> &'a Store {
        self.engine.store(self.client.db())
    }
}

#[cfg(test)]
mod tests;
