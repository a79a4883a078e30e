//! Client-side caching: which client has read which key, and who is told when one changes.
//!
//! A client either has the keys noted that it reads, and is told once of the next change of each, or names prefixes and is
//! told of all changes below them. Changes are heard from under a shard's lock, which is why nothing here may call the
//! store. Names are those of the store, whatever the database; where a client has called a key by another name, a token
//! that is kept as its hash, that name is noted beside it, and it alone hears it.
//!
//! A key is noted before it is read as well as after: of a change in between, the client is told behind its reply.
//!
//! While nobody tracks, changes are not heard, and nothing is kept.

mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

use super::clients::{Clients, Peer};
use super::pubsub::Pubsub;
use super::{Charge, Charges, Oddity, Unusual};
use crate::config::Config;
use crate::store::{Change, Changes, NameBuf};
use table::{Reader, Table};

type Name = Arc<[u8]>;

/// Bytes of a prefix beside its name, and of a client that is told of it.
const PREFIX_BYTES: usize = 128;

/// The prefix of all keys.
const EVERYTHING: &[&[u8]] = &[b""];

/// Keys that are forgotten under one lock when there are too many.
const EVICTED_AT_ONCE: usize = 256;

/// How a client tracks, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(pub(super) u8);

impl Mode {
    /// It tracks.
    pub const ON: Mode = Mode(1);
    /// It is told of all keys with its prefixes.
    pub const BCAST: Mode = Mode(1 << 1);
    /// Only what it asks for is noted.
    pub const OPTIN: Mode = Mode(1 << 2);
    /// All is noted but what it asks not to be.
    pub const OPTOUT: Mode = Mode(1 << 3);
    /// It is not told of what it changes itself.
    pub const NOLOOP: Mode = Mode(1 << 4);
    /// It has asked for the next command to be treated otherwise.
    pub const CACHING: Mode = Mode(1 << 5);
    /// Who was to be told in its place is gone.
    pub const BROKEN: Mode = Mode(1 << 6);
    /// None.
    pub const NONE: Mode = Mode(0);

    /// Both together.
    pub const fn and(self, other: Mode) -> Mode {
        Mode(self.0 | other.0)
    }

    /// Whether any of these is in it.
    pub const fn has(self, other: Mode) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether what the next command reads is to be noted.
    pub fn notes(self) -> bool {
        let caching = self.has(Mode::CACHING);
        let is_left_out = self.has(Mode::OPTIN) && !caching || self.has(Mode::OPTOUT) && caching;
        self.has(Mode::ON) && !self.has(Mode::BCAST) && !is_left_out
    }
}

/// No client has this number: changes come by themselves.
const NOBODY: u64 = 0;

/// Who tracks what.
pub struct Tracking {
    /// Whether changes are heard, which is to say whether anybody tracks.
    changes: Arc<Changes>,
    unusual: Arc<Unusual>,
    shared: Arc<Shared>,
}

/// What the listener of changes works with.
struct Shared {
    clients: Arc<Clients>,
    pubsub: Arc<Pubsub>,
    state: Mutex<State>,
    /// Whether there are changes that clients have yet to be told of by prefix.
    is_pending: AtomicBool,
    /// Where the bytes of all that is noted are summed up.
    charges: Arc<Charges>,
    keys_max: AtomicUsize,
    /// Bytes of unread output at which who does not subscribe, and who does, is cut.
    limits: [AtomicUsize; 2],
    /// The number of the store whose keys no client can name.
    hidden: usize,
}

#[derive(Default)]
struct State {
    table: Table,
    /// Who tracks, and the prefixes that each has named.
    trackers: BTreeMap<u64, Tracker>,
    prefixes: BTreeMap<Name, Audience>,
    prefix_bytes: usize,
    /// The threads on which changes are gathered, and the clients whose commands make them.
    gathering: HashMap<ThreadId, u64>,
}

struct Tracker {
    peer: Arc<Peer>,
    prefixes: BTreeSet<Name>,
}

/// Who is told of keys with a prefix.
#[derive(Default)]
struct Audience {
    peers: BTreeMap<u64, Arc<Peer>>,
    /// What has changed since they were told last, and who changed it.
    keys: BTreeMap<Name, u64>,
}

/// How many clients, keys, notes and prefixes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    /// Clients that track.
    pub clients: usize,
    /// Keys that somebody has read.
    pub keys: usize,
    /// Who has read them, in sum.
    pub items: usize,
    /// Prefixes that somebody has named.
    pub prefixes: usize,
}

/// Why a prefix is refused: the prefix, the one that it overlaps with, and whether that one was named before.
#[derive(Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What was given.
    pub prefix: Vec<u8>,
    /// What it overlaps with.
    pub other: Vec<u8>,
    /// Whether the other was named by an earlier request.
    pub is_old: bool,
}

/// Changes are gathered until this is dropped.
pub struct Gathering<'a> {
    tracking: &'a Tracking,
    /// Whose changes were gathered on this thread before: a script's that takes long, while others have their turn.
    before: Option<u64>,
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        let shared = &self.tracking.shared;
        let state = &mut *shared.state.lock();
        if let Some(before) = self.before {
            state.gathering.insert(thread::current().id(), before);
            return;
        }
        state.gathering.remove(&thread::current().id());
        if shared.is_pending.load(Ordering::Relaxed) {
            shared.tell_pending(state);
        }
    }
}

impl Tracking {
    /// `hidden` is the number of the store whose keys no client can name.
    pub(super) fn new(
        clients: Arc<Clients>,
        pubsub: Arc<Pubsub>,
        (changes, hidden): (Arc<Changes>, usize),
        charges: Arc<Charges>,
        unusual: Arc<Unusual>,
    ) -> Tracking {
        let shared = Arc::new(Shared {
            clients,
            pubsub,
            state: Mutex::default(),
            is_pending: AtomicBool::new(false),
            charges,
            keys_max: AtomicUsize::new(usize::MAX),
            limits: [const { AtomicUsize::new(usize::MAX) }; 2],
            hidden,
        });
        let heard = shared.clone();
        changes.listen(move |change| heard.hear(change));
        Tracking { changes, unusual, shared }
    }

    /// Takes over the settings.
    pub(super) fn set(&self, config: &Config) {
        let limit = |number: u64| if number == 0 { usize::MAX } else { number as usize };
        let output = config.client_output_buffer_limit;
        for (own, hard) in self.shared.limits.iter().zip([output.normal.hard, output.pubsub.hard]) {
            own.store(limit(hard), Ordering::Relaxed);
        }
        self.shared.keys_max.store(limit(config.tracking_table_max_keys as u64), Ordering::Relaxed);
        self.shared.limit_keys();
    }

    /// Whether anybody tracks.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.unusual.is(Oddity::Tracked)
    }

    /// Gathers the changes on this thread that a client's command makes, or nobody's, so that who is told by prefix hears of
    /// them together.
    pub fn gather(&self, client: Option<u64>) -> Gathering<'_> {
        let before = self.shared.state.lock().gathering.insert(thread::current().id(), client.unwrap_or(NOBODY));
        Gathering { tracking: self, before }
    }

    /// Lets a client track, or track otherwise; it tells whose prefixes overlap if that forbids it. `redirect` is who is told
    /// in its place, 0 if nobody is.
    pub fn enable(&self, peer: &Arc<Peer>, mode: Mode, redirect: u64, prefixes: &[&[u8]]) -> Result<(), Overlap> {
        let state = &mut *self.shared.state.lock();
        if mode.has(Mode::BCAST) {
            let none = BTreeSet::new();
            check_prefixes(prefixes, state.trackers.get(&peer.id).map_or(&none, |tracker| &tracker.prefixes))?;
        }
        let tracker = || Tracker { peer: peer.clone(), prefixes: BTreeSet::new() };
        let tracker = state.trackers.entry(peer.id).or_insert_with(tracker);
        let caching = Mode(peer.tracking().0 & Mode::CACHING.0);
        peer.set_tracking(mode.and(Mode::ON).and(caching), redirect);
        if mode.has(Mode::BCAST) {
            for prefix in if prefixes.is_empty() { EVERYTHING } else { prefixes } {
                let name = Name::from(*prefix);
                tracker.prefixes.insert(name.clone());
                state.prefixes.entry(name).or_default().peers.insert(peer.id, peer.clone());
            }
        }
        state.count_prefixes();
        self.changes.want(true);
        self.unusual.set(Oddity::Tracked, true);
        self.shared.count(state);
        Ok(())
    }

    /// Lets a client track no longer.
    pub fn disable(&self, peer: &Peer) {
        if !peer.tracking().has(Mode::ON) {
            return;
        }
        let state = &mut *self.shared.state.lock();
        peer.set_tracking(Mode::NONE, 0);
        for name in state.trackers.remove(&peer.id).map_or_else(BTreeSet::new, |tracker| tracker.prefixes) {
            if let Some(audience) = state.prefixes.get_mut(&name) {
                audience.peers.remove(&peer.id);
                if audience.peers.is_empty() {
                    state.prefixes.remove(&name);
                }
            }
        }
        state.count_prefixes();
        if state.trackers.is_empty() {
            self.changes.want(false);
            self.unusual.set(Oddity::Tracked, false);
            state.table.clear();
        }
        self.shared.count(state);
    }

    /// Notes keys that a client reads: their names as stored, and as it has called them. They are known by now: to ask the
    /// store for one takes a shard's lock, under which others tell of changes.
    pub fn note(&self, peer: &Peer, keys: &[(NameBuf, &[u8])]) {
        let state = &mut *self.shared.state.lock();
        let State { table, trackers, .. } = state;
        if trackers.contains_key(&peer.id) {
            for (name, said) in keys {
                let said = (name.as_slice() != *said).then(|| Box::from(*said));
                table.note(name, Reader { client: peer.id, said }, |client| trackers.contains_key(&client));
            }
        }
        self.shared.count(state);
        while self.shared.has_too_many(state) {
            self.shared.forget_one(state);
        }
    }

    /// Tells all who track that everything has changed. To be called behind it.
    pub(super) fn flush(&self) {
        if self.is_on() {
            let state = &mut *self.shared.state.lock();
            for tracker in state.trackers.values() {
                self.shared.send(&tracker.peer, None);
            }
            state.table.clear();
            self.shared.count(state);
        }
    }

    /// The prefixes that a client has named, in order.
    pub fn prefixes_of(&self, peer: &Peer) -> Vec<Arc<[u8]>> {
        let state = self.shared.state.lock();
        state.trackers.get(&peer.id).map_or_else(Vec::new, |tracker| tracker.prefixes.iter().cloned().collect())
    }

    /// How much is tracked.
    pub fn tracked(&self) -> Tracked {
        let state = self.shared.state.lock();
        Tracked {
            clients: state.trackers.len(),
            keys: state.table.len(),
            items: state.table.items(),
            prefixes: state.prefixes.len(),
        }
    }

    /// Bytes of all that is noted.
    pub fn bytes(&self) -> usize {
        self.shared.charges.of(Charge::Tracking) as usize
    }

    /// Calls `f` while nobody is told anything, so that a client is not told in a protocol that it just leaves.
    pub fn quietly<R>(&self, f: impl FnOnce() -> R) -> R {
        let _state = self.shared.state.lock();
        f()
    }
}

/// Whether all prefixes are apart from each other and from those named before, which are so already. The first that is not
/// is told, with the first that it overlaps with.
fn check_prefixes(prefixes: &[&[u8]], old: &BTreeSet<Name>) -> Result<(), Overlap> {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let Some(at) = first_overlap(prefixes, old) else { return Ok(()) };
    let later = prefixes.iter().skip(at + 1).map(|other| (*other, false));
    let mut others = old.iter().map(|other| (&**other, true)).chain(later);
    let found = others.find(|(other, _)| overlap(prefixes[at], other));
    found
        .map_or(Ok(()), |(other, is_old)| Err(Overlap { prefix: prefixes[at].to_vec(), other: other.to_vec(), is_old }))
}

/// The first prefix that overlaps with one before it in `old`, or with a later one. In order, what begins with a prefix stands
/// right behind it; so each is compared with its neighbours, and not with thousands.
fn first_overlap(prefixes: &[&[u8]], old: &BTreeSet<Name>) -> Option<usize> {
    let up_to = |prefix: &[u8]| old.range::<[u8], _>((Bound::Unbounded, Bound::Included(prefix))).next_back().cloned();
    let from = |prefix: &[u8]| old.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)).next().cloned();
    let is_named = |prefix: &[u8]| {
        up_to(prefix).is_some_and(|other| prefix.starts_with(&other))
            || from(prefix).is_some_and(|other| other.starts_with(prefix))
    };
    let mut first = prefixes.iter().position(|prefix| is_named(prefix));
    let mut order: Vec<usize> = (0..prefixes.len()).collect();
    order.sort_unstable_by_key(|at| prefixes[*at]);
    // Those that the one at hand begins with, each with the least number among it and those before it.
    let mut around: Vec<(usize, usize)> = Vec::new();
    for at in order {
        while around.pop_if(|(other, _)| !prefixes[at].starts_with(prefixes[*other])).is_some() {}
        let least = around.last().map(|(_, least)| *least);
        if let Some(least) = least {
            let one = least.min(at);
            first = Some(first.map_or(one, |first| first.min(one)));
        }
        around.push((at, least.map_or(at, |least| least.min(at))));
    }
    first
}

/// Calls `f` with each of the prefixes that a key begins with.
fn each_prefix_of<T>(prefixes: &mut BTreeMap<Name, T>, key: &[u8], mut f: impl FnMut(&mut T)) {
    let mut len = Some(key.len());
    while let Some(most) = len {
        let up_to = (Bound::Unbounded, Bound::Included(&key[..most]));
        let Some((prefix, value)) = prefixes.range_mut::<[u8], _>(up_to).next_back() else { return };
        // Whatever else the key begins with stands before this one, which then begins with it too.
        len = match key.starts_with(prefix) {
            true => {
                f(value);
                prefix.len().checked_sub(1)
            }
            false => Some(prefix.iter().zip(key).take_while(|(one, other)| one == other).count()),
        };
    }
}

impl State {
    fn count_prefixes(&mut self) {
        let bytes = |(name, audience): (&Name, &Audience)| name.len() + PREFIX_BYTES * (1 + audience.peers.len());
        self.prefix_bytes = self.prefixes.iter().map(bytes).sum();
    }
}

impl Shared {
    /// Hears of a change. It is called from under a shard's lock.
    fn hear(&self, change: Change<'_>) {
        if change.store == self.hidden {
            return;
        }
        let state = &mut *self.state.lock();
        let gathering = state.gathering.get(&thread::current().id()).copied();
        let current = gathering.unwrap_or(NOBODY);
        let by = if change.is_natural { NOBODY } else { current };
        let mut is_pending = false;
        each_prefix_of(&mut state.prefixes, change.key, |audience: &mut Audience| {
            audience.keys.insert(Name::from(change.key), by);
            is_pending = true;
        });
        if is_pending {
            self.is_pending.store(true, Ordering::Relaxed);
            if gathering.is_none() {
                self.tell_pending(state);
            }
        }
        if let Some(readers) = state.table.take(change.key) {
            self.tell_readers(state, change.key, &readers, current);
            self.count(state);
        }
    }

    /// Tells those who have read a key, but not who changes it if it does not want to hear of that.
    fn tell_readers(&self, state: &State, key: &[u8], readers: &[Reader], current: u64) {
        for reader in readers {
            let Some(tracker) = state.trackers.get(&reader.client) else { continue };
            let mode = tracker.peer.tracking();
            if mode.has(Mode::BCAST) || mode.has(Mode::NOLOOP) && reader.client == current {
                continue;
            }
            self.send(&tracker.peer, Some(&array(&[reader.said.as_deref().unwrap_or(key)])));
        }
    }

    /// Tells who is to be told by prefix of all that was gathered.
    fn tell_pending(&self, state: &mut State) {
        self.is_pending.store(false, Ordering::Relaxed);
        for audience in state.prefixes.values_mut().filter(|audience| !audience.keys.is_empty()) {
            let keys = std::mem::take(&mut audience.keys);
            let all = array(&keys.keys().map(|key| &**key).collect::<Vec<_>>());
            for peer in audience.peers.values() {
                if !peer.tracking().has(Mode::NOLOOP) {
                    self.send(peer, Some(&all));
                    continue;
                }
                let others: Vec<&[u8]> = keys.iter().filter(|(_, by)| **by != peer.id).map(|(key, _)| &**key).collect();
                if !others.is_empty() {
                    self.send(peer, Some(&array(&others)));
                }
            }
        }
    }

    fn has_too_many(&self, state: &State) -> bool {
        state.table.len() > self.keys_max.load(Ordering::Relaxed)
    }

    /// Forgets a key, of which its readers are told as if it had changed.
    fn forget_one(&self, state: &mut State) {
        if let Some((name, readers)) = state.table.take_any() {
            self.tell_readers(state, &name, &readers, NOBODY);
            self.count(state);
        }
    }

    /// Forgets keys until there are not too many, in slices, so that nobody waits long.
    fn limit_keys(&self) {
        loop {
            let state = &mut *self.state.lock();
            for _ in 0..EVICTED_AT_ONCE {
                if !self.has_too_many(state) {
                    return;
                }
                self.forget_one(state);
            }
        }
    }

    fn count(&self, state: &State) {
        self.charges.set(Charge::Tracking, state.table.bytes() + state.prefix_bytes);
    }

    /// Tells a client, or who is to be told in its place, that keys have changed: an array of them, everything if `None`.
    fn send(&self, peer: &Arc<Peer>, keys: Option<&[u8]>) {
        let redirect = peer.redirect();
        let other = if redirect == 0 { None } else { self.clients.get(redirect) };
        if redirect != 0 && other.is_none() {
            peer.add_tracking(Mode::BROKEN);
            if peer.speaks_resp3() {
                self.post(peer, format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{redirect}\r\n").as_bytes());
            }
            return;
        }
        let receiver = other.as_ref().unwrap_or(peer);
        if receiver.speaks_resp3() {
            self.post(receiver, &[b">2\r\n$10\r\ninvalidate\r\n", keys.unwrap_or(b"_\r\n")].concat());
        } else if other.is_some() {
            // Nobody is told anything that could be taken for a reply: it must listen, and go on to.
            self.pubsub.quietly(|| {
                if receiver.is_subscriber() {
                    let head = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
                    self.post(receiver, &[head, keys.unwrap_or(b"$-1\r\n")].concat());
                }
            });
        }
    }

    fn post(&self, peer: &Peer, message: &[u8]) {
        let limit = &self.limits[usize::from(peer.is_subscriber())];
        peer.post(message, limit.load(Ordering::Relaxed));
    }
}

/// An array of keys in the protocol.
fn array(keys: &[&[u8]]) -> Vec<u8> {
    let mut array = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write!(array, "*{}\r\n", keys.len());
    for key in keys {
        let _ = write!(array, "${}\r\n", key.len());
        array.extend_from_slice(key);
        array.extend_from_slice(b"\r\n");
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All words of `a` and `b` up to four letters.
    fn words() -> Vec<Vec<u8>> {
        let word =
            |number: u32| (1..32 - number.leading_zeros()).map(|bit| b'a' + (number >> (bit - 1) & 1) as u8).collect();
        (1..32).map(word).collect()
    }

    #[test]
    fn prefixes_are_found_as_if_each_was_looked_at() {
        let words = words();
        for some in 0..2_000_u64 {
            let kept = |at: &usize| some.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(*at as u32) & 3 == 0;
            let mut prefixes: BTreeMap<Name, usize> =
                (0..words.len()).filter(kept).map(|at| (Name::from(&words[at][..]), 0)).collect();
            for key in &words {
                each_prefix_of(&mut prefixes, key, |count| *count += 1);
                for (prefix, count) in &mut prefixes {
                    assert_eq!(std::mem::take(count), usize::from(key.starts_with(prefix)), "{prefix:?} of {key:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_overlap_is_told_as_if_each_was_compared_with_all() {
        let (words, mut dice) = (words(), 7_u64);
        let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
        let mut found = [0; 2];
        for _ in 0..20_000 {
            let mut roll = |most: usize| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (dice >> 33) as usize % most
            };
            let mut old: BTreeSet<Name> = BTreeSet::new();
            for _ in 0..roll(4) {
                let word = Name::from(&words[15 + roll(16)][..]);
                if !old.iter().any(|other| overlap(other, &word)) {
                    old.insert(word);
                }
            }
            let new: Vec<&[u8]> = (0..1 + roll(4)).map(|_| &words[3 + roll(28)][..]).collect();
            let naive = (0..new.len()).find(|at| {
                let mut others = old.iter().map(|other| &**other).chain(new[at + 1..].iter().copied());
                others.any(|other| overlap(new[*at], other))
            });
            assert_eq!(first_overlap(&new, &old), naive, "{new:?} after {old:?}");
            assert_eq!(check_prefixes(&new, &old).is_err(), naive.is_some());
            found[usize::from(naive.is_some())] += 1;
        }
        assert!(found.iter().all(|times| *times > 1_000), "{found:?}");
    }
}
