//! The lines of CLIENT LIST, and which clients CLIENT LIST and CLIENT KILL mean.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::numbered;
use super::words::Words as _;
use crate::clock::{Millis, Ttl};
use crate::engine::acl::{DEFAULT, User};
use crate::engine::{Engine, Peer};
use crate::error::{Error, Result};
use crate::resp::Args;

/// The types of clients that can be asked for. There are neither masters nor replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Subscriber,
    Other,
}

/// The type of this name.
pub(super) fn kind(name: &[u8]) -> Result<Kind> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Kind::Normal),
        b"pubsub" => Ok(Kind::Subscriber),
        b"master" | b"slave" | b"replica" => Ok(Kind::Other),
        _ => Err(Error::Refused(format!("Unknown client type '{}'", String::from_utf8_lossy(name)).into())),
    }
}

/// Whether a client is of a type.
pub(super) fn is_of_kind(peer: &Peer, kind: Kind) -> bool {
    kind == if peer.is_subscriber() { Kind::Subscriber } else { Kind::Normal }
}

/// Bytes of the buffer in which Redis keeps a client's output while there is little.
const REPLY_BUFFER: u64 = 16 * 1024;

/// Whether a client is this user.
pub(super) fn is_user(peer: &Peer, user: &Arc<User>) -> bool {
    match peer.user() {
        Some(own) => Arc::ptr_eq(&own, user),
        None => user.name == DEFAULT.as_bytes(),
    }
}

/// A client as one line, its end included. The fields are those of Redis 7.2 alone: go-redis refuses a field that it does not know.
pub(super) fn line(peer: &Peer, now: Millis) -> String {
    let load = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    let (labels, pending) = (peer.labels(), peer.pending());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let command = numbered((peer.last_command.load(Ordering::Relaxed) as usize).wrapping_sub(1))
        .map_or_else(|| "NULL".to_owned(), |found| found.full_name());
    let [waiting, room] = [0, 1].map(|at| peer.query_buffer[at].load(Ordering::Relaxed));
    let output = u64::from(peer.output_buffer.load(Ordering::Relaxed)) + peer.mail_len() as u64;
    // Redis keeps the first bytes of its output in a buffer and all others in a list of such buffers.
    let first = output.min(REPLY_BUFFER);
    let (rest, nodes) = (output - first, (output - first).div_ceil(REPLY_BUFFER));
    let [channels, patterns, shards] = peer.subscriptions();
    let seconds = |since: u64| now.since(Millis(since)).0 / 1000;
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={channels} psub={patterns} ssub={shards} multi={} qbuf={} \
         qbuf-free={} argv-mem=0 multi-mem={} rbs={first} rbp={first} obl={first} oll={nodes} omem={rest} tot-mem={} events=r \
         cmd={command} user={} redir={} resp={} lib-name={} lib-ver={}",
        peer.id,
        peer.addr,
        peer.local_addr,
        peer.fd,
        text(&labels.name),
        seconds(peer.created.0),
        seconds(load(&peer.last_seen)),
        peer.flags(),
        peer.db.load(Ordering::Relaxed),
        pending.queued.map_or(-1, |queued| queued as i64),
        waiting,
        room.saturating_sub(waiting),
        pending.queue_bytes,
        u64::from(room) + output + (pending.queue_bytes + pending.watch_bytes) as u64 + size_of::<Peer>() as u64,
        text(peer.user().as_ref().map_or(DEFAULT.as_bytes(), |user| &user.name)),
        super::tracking::redirect(peer),
        peer.protocol.load(Ordering::Relaxed),
        text(&labels.lib_name),
        text(&labels.lib_version),
    );
    line
}

/// What CLIENT KILL asks of those it kills.
#[derive(Clone, Default)]
pub(super) struct Filter<'a> {
    /// Whether the asking client is spared.
    pub skip_me: bool,
    addr: Option<&'a [u8]>,
    local_addr: Option<&'a [u8]>,
    id: Option<u64>,
    kind: Option<Kind>,
    user: Option<Arc<User>>,
    before: Option<Millis>,
}

impl<'a> Filter<'a> {
    /// All clients from an address, the asking one too.
    pub fn address(addr: &'a [u8]) -> Filter<'a> {
        Filter { addr: Some(addr), ..Filter::default() }
    }

    /// Reads pairs of options and values.
    pub fn read(engine: &Engine, args: Args<'a>, now: Millis) -> Result<Filter<'a>> {
        let mut filter = Filter { skip_me: true, ..Filter::default() };
        for at in (0..args.len()).step_by(2) {
            let value = args.get(at + 1).ok_or(Error::Syntax)?;
            match args.word(at).to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = args.int(at + 1).ok().and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                    filter.id = Some(id.ok_or(Error::refused("client-id should be greater than 0"))?);
                }
                b"type" => filter.kind = Some(kind(value)?),
                b"addr" => filter.addr = Some(value),
                b"laddr" => filter.local_addr = Some(value),
                b"user" => {
                    let text = || format!("No such user '{}'", String::from_utf8_lossy(value));
                    let user = engine.acl.user(value).ok_or_else(|| Error::Refused(text().into()))?;
                    filter.user = Some(user);
                }
                b"skipme" if args.is(at + 1, "YES") => filter.skip_me = true,
                b"skipme" if args.is(at + 1, "NO") => filter.skip_me = false,
                b"maxage" => {
                    let age = args.int_or(at + 1, Error::refused("maxage is not an integer or out of range"))?;
                    let age = u64::try_from(age).ok().filter(|age| *age > 0);
                    let age = age.ok_or(Error::refused("maxage should be greater than 0"))?;
                    filter.before = Some(now - Ttl::seconds(age));
                }
                _ => return Err(Error::Syntax),
            }
        }
        Ok(filter)
    }

    /// Whether a client is meant.
    pub fn fits(&self, peer: &Peer) -> bool {
        self.addr.is_none_or(|addr| peer.addr.to_string().as_bytes() == addr)
            && self.local_addr.is_none_or(|addr| peer.local_addr.to_string().as_bytes() == addr)
            && self.id.is_none_or(|id| peer.id == id)
            && self.kind.is_none_or(|kind| is_of_kind(peer, kind))
            && self.user.as_ref().is_none_or(|user| is_user(peer, user))
            && self.before.is_none_or(|before| peer.created <= before)
    }
}
