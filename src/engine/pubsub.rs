//! Pub/Sub: who hears what, and the messages on their way.
//!
//! A message is put into the mailboxes of all who hear it under one lock, and so are confirmations ordered against
//! messages: what was published before somebody unsubscribed reaches it before it is told so, and nothing comes after.
//! Nobody waits for a subscriber. One whose mailbox and backlog together pass the limit is cut.
//!
//! Events of keys are published from under a shard's lock, which is why nothing here may call the store.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::clients::Peer;
use super::{Charge, Charges};
use crate::config::Config;
use crate::glob;
use crate::store::{Class, Event};

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Topic {
    /// A channel by its name.
    Channel,
    /// All channels whose names fit.
    Pattern,
    /// A channel of a shard. There is one shard, but these names are a world of their own.
    Shard,
}

impl Topic {
    /// Whether a subscription to this counts towards the number in replies about the other.
    fn counts_with(self, other: Topic) -> bool {
        (self == Topic::Shard) == (other == Topic::Shard)
    }
}

/// The kinds of [`Topic`].
const KINDS: usize = 3;

const ALL: [Topic; KINDS] = [Topic::Channel, Topic::Pattern, Topic::Shard];

/// Bytes of a topic beside its name: two counters before it, its place in the map and the list of who hears it.
const TOPIC_BYTES: usize = 64;
/// Bytes of a subscription: its places in the topic's list and in the subscriber's set.
const SUBSCRIPTION_BYTES: usize = 32;
/// Bytes of a subscriber: its place in the map and its sets.
const SUBSCRIBER_BYTES: usize = 96;

/// What a subscription counts for the subscriber.
fn bytes_of(name: &[u8]) -> usize {
    TOPIC_BYTES + SUBSCRIPTION_BYTES + name.len()
}

/// The most that the buffer in which messages are made keeps for the next one.
const FRAME_KEPT: usize = 16 * 1024;

/// All subscriptions.
pub struct Pubsub {
    registry: Mutex<Registry>,
    /// How many subscriptions there are: without any, whoever publishes takes no lock.
    subscriptions: AtomicUsize,
    /// Where the bytes of all that is in the registry are summed up.
    charges: Arc<Charges>,
    /// Bytes of unread messages at which a subscriber is cut.
    limit: AtomicUsize,
    /// Events are published by key.
    by_key: AtomicBool,
    /// Events are published by name.
    by_event: AtomicBool,
}

type Name = Arc<[u8]>;

#[derive(Default)]
struct Registry {
    /// Who hears each topic, in the order of their numbers.
    topics: [HashMap<Name, Vec<Arc<Peer>>>; KINDS],
    /// What each subscriber hears, by its number.
    subscribers: HashMap<u64, Heard>,
    /// The message that is being sent, and the channel of an event.
    frame: Vec<u8>,
    channel: Vec<u8>,
}

/// What one subscriber hears.
#[derive(Default)]
struct Heard {
    names: [BTreeSet<Name>; KINDS],
    /// Bytes of it all, names that others hear too among them.
    bytes: usize,
}

impl Heard {
    fn counts(&self) -> [usize; KINDS] {
        self.names.each_ref().map(BTreeSet::len)
    }
}

impl Pubsub {
    /// No subscriptions.
    pub(super) fn new(charges: Arc<Charges>) -> Pubsub {
        Pubsub {
            registry: Mutex::default(),
            subscriptions: AtomicUsize::new(0),
            charges,
            limit: AtomicUsize::new(usize::MAX),
            by_key: AtomicBool::new(false),
            by_event: AtomicBool::new(false),
        }
    }

    /// Takes over the settings, and tells which events are wanted.
    pub(super) fn set(&self, config: &Config) -> Class {
        let hard = config.client_output_buffer_limit.pubsub.hard as usize;
        self.limit.store(if hard == 0 { usize::MAX } else { hard }, Ordering::Relaxed);
        let letters = &config.notify_keyspace_events;
        let (by_key, by_event) = (letters.contains('K'), letters.contains('E'));
        self.by_key.store(by_key, Ordering::Relaxed);
        self.by_event.store(by_event, Ordering::Relaxed);
        if by_key || by_event { classes(letters) } else { Class::NONE }
    }

    /// Subscribes a client. `confirm` is called with the number of its subscriptions, before any message of the topic
    /// can be on its way.
    pub fn subscribe(&self, peer: &Arc<Peer>, topic: Topic, name: &[u8], confirm: impl FnOnce(usize)) {
        let registry = &mut *self.registry.lock();
        let mut grown = 0;
        if !registry.hears(peer, topic, name) {
            let topics = &mut registry.topics[topic as usize];
            let name = match topics.get_key_value(name) {
                Some((known, _)) => known.clone(),
                None => {
                    grown += TOPIC_BYTES + name.len();
                    Name::from(name)
                }
            };
            let peers = topics.entry(name.clone()).or_default();
            let at = peers.partition_point(|other| other.id < peer.id);
            peers.insert(at, peer.clone());
            let own = registry.subscribers.entry(peer.id).or_insert_with(|| {
                grown += SUBSCRIBER_BYTES;
                Heard::default()
            });
            grown += SUBSCRIPTION_BYTES;
            own.bytes += bytes_of(&name);
            own.names[topic as usize].insert(name);
            peer.set_subscriptions(own.counts());
            if own.bytes > self.limit.load(Ordering::Relaxed) {
                // Names are kept for it as messages are, so the same limit holds.
                peer.cut();
            }
            self.subscriptions.fetch_add(1, Ordering::SeqCst);
            self.charges.change(Charge::Pubsub, 0, grown);
        }
        confirm(registry.count(peer, topic));
    }

    /// Unsubscribes a client from a topic, if it hears it. `confirm` is called with the number of subscriptions left, when
    /// no message can follow.
    pub fn unsubscribe(&self, peer: &Peer, topic: Topic, name: &[u8], confirm: impl FnOnce(usize)) {
        let registry = &mut *self.registry.lock();
        self.remove(registry, peer, topic, name);
        confirm(registry.count(peer, topic));
    }

    /// What a client hears of one kind.
    pub fn heard_by(&self, peer: &Peer, topic: Topic) -> Vec<Arc<[u8]>> {
        let registry = self.registry.lock();
        registry
            .subscribers
            .get(&peer.id)
            .map_or_else(Vec::new, |own| own.names[topic as usize].iter().cloned().collect())
    }

    /// How many subscriptions of a client count in replies about a topic. `confirm` is called while no message can come.
    pub fn count(&self, peer: &Peer, topic: Topic, confirm: impl FnOnce(usize)) {
        confirm(self.registry.lock().count(peer, topic));
    }

    /// Takes a client out of everything it hears.
    pub fn leave(&self, peer: &Peer) {
        if !peer.is_subscriber() {
            return;
        }
        let registry = &mut *self.registry.lock();
        for topic in ALL {
            let own = registry.subscribers.get(&peer.id).map(|own| own.names[topic as usize].clone());
            for name in own.into_iter().flatten() {
                self.remove(registry, peer, topic, &name);
            }
        }
    }

    fn remove(&self, registry: &mut Registry, peer: &Peer, topic: Topic, name: &[u8]) {
        let Registry { topics, subscribers, .. } = registry;
        let Some(own) = subscribers.get_mut(&peer.id) else { return };
        if !own.names[topic as usize].remove(name) {
            return;
        }
        let mut shrunk = SUBSCRIPTION_BYTES;
        own.bytes -= bytes_of(name);
        peer.set_subscriptions(own.counts());
        if own.bytes == 0 {
            subscribers.remove(&peer.id);
            subscribers.shrink_to(subscribers.len() * 4);
            shrunk += SUBSCRIBER_BYTES;
        }
        let topics = &mut topics[topic as usize];
        if let Some(peers) = topics.get_mut(name) {
            if let Ok(at) = peers.binary_search_by_key(&peer.id, |other| other.id) {
                peers.remove(at);
            }
            peers.shrink_to(peers.len() * 4);
            if peers.is_empty() {
                topics.remove(name);
                topics.shrink_to(topics.len() * 4);
                shrunk += TOPIC_BYTES + name.len();
            }
        }
        self.subscriptions.fetch_sub(1, Ordering::SeqCst);
        self.charges.change(Charge::Pubsub, shrunk, 0);
    }

    /// Calls `f` while no message can come, so that what a client has and what it is told fit together.
    pub fn quietly<R>(&self, f: impl FnOnce() -> R) -> R {
        let _registry = self.registry.lock();
        f()
    }

    /// Publishes to a channel and to the patterns that fit it; tells how many hear it.
    pub fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        match self.is_empty() {
            true => 0,
            false => self.registry.lock().publish(channel, message, self.limit.load(Ordering::Relaxed)),
        }
    }

    /// Publishes to a channel of a shard; tells how many hear it.
    pub fn publish_shard(&self, channel: &[u8], message: &[u8]) -> usize {
        if self.is_empty() {
            return 0;
        }
        let Registry { topics, frame, .. } = &mut *self.registry.lock();
        let Some(peers) = topics[Topic::Shard as usize].get(channel) else { return 0 };
        write_frame(frame, &[b"smessage", channel, message]);
        deliver(peers, frame, self.limit.load(Ordering::Relaxed))
    }

    /// Publishes what happened to a key of a database, as the settings want it.
    pub(super) fn note(&self, event: Event<'_>, db: usize) {
        let limit = self.limit.load(Ordering::Relaxed);
        let registry = &mut *self.registry.lock();
        let mut channel = std::mem::take(&mut registry.channel);
        for (wanted, door, last, message) in [
            (&self.by_key, "keyspace", event.key, event.name.as_bytes()),
            (&self.by_event, "keyevent", event.name.as_bytes(), event.key),
        ] {
            if wanted.load(Ordering::Relaxed) {
                channel.clear();
                // Writing to a Vec cannot fail.
                let _ = write!(channel, "__{door}@{db}__:");
                channel.extend_from_slice(last);
                registry.publish(&channel, message, limit);
            }
        }
        channel.clear();
        channel.shrink_to(FRAME_KEPT);
        registry.channel = channel;
    }

    /// Whether nobody hears anything.
    pub fn is_empty(&self) -> bool {
        self.subscriptions.load(Ordering::SeqCst) == 0
    }

    /// How many topics of a kind somebody hears.
    pub fn topics(&self, topic: Topic) -> usize {
        self.registry.lock().topics[topic as usize].len()
    }

    /// Names of the topics of a kind that fit.
    pub fn matching(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let registry = self.registry.lock();
        let fits = |name: &&Name| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
        registry.topics[topic as usize].keys().filter(fits).cloned().collect()
    }

    /// How many clients hear a topic.
    pub fn audience(&self, topic: Topic, name: &[u8]) -> usize {
        self.registry.lock().topics[topic as usize].get(name).map_or(0, Vec::len)
    }

    /// Bytes of all subscriptions; what is on its way is the subscribers' own.
    pub fn bytes(&self) -> usize {
        self.charges.of(Charge::Pubsub) as usize
    }
}

impl Registry {
    fn hears(&self, peer: &Peer, topic: Topic, name: &[u8]) -> bool {
        self.subscribers.get(&peer.id).is_some_and(|own| own.names[topic as usize].contains(name))
    }

    fn count(&self, peer: &Peer, topic: Topic) -> usize {
        let Some(own) = self.subscribers.get(&peer.id) else { return 0 };
        ALL.iter().filter(|other| topic.counts_with(**other)).map(|other| own.names[*other as usize].len()).sum()
    }

    fn publish(&mut self, channel: &[u8], message: &[u8], limit: usize) -> usize {
        let Registry { topics: [channels, patterns, _], frame, .. } = self;
        let mut heard = 0;
        if let Some(peers) = channels.get(channel) {
            write_frame(frame, &[b"message", channel, message]);
            heard += deliver(peers, frame, limit);
        }
        for (pattern, peers) in patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel, false)) {
            write_frame(frame, &[b"pmessage", pattern, channel, message]);
            heard += deliver(peers, frame, limit);
        }
        frame.clear();
        frame.shrink_to(FRAME_KEPT);
        heard
    }
}

/// Makes a message of these words. Its first byte is the only one that depends on the protocol.
fn write_frame(frame: &mut Vec<u8>, words: &[&[u8]]) {
    frame.clear();
    // Writing to a Vec cannot fail.
    let _ = write!(frame, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(frame, "${}\r\n", word.len());
        frame.extend_from_slice(word);
        frame.extend_from_slice(b"\r\n");
    }
}

/// Leaves a message for all of these, each in its protocol.
fn deliver(peers: &[Arc<Peer>], frame: &mut [u8], limit: usize) -> usize {
    for peer in peers {
        frame[0] = if peer.protocol.load(Ordering::Relaxed) == 3 { b'>' } else { b'*' };
        peer.post(frame, limit);
    }
    peers.len()
}

/// The classes that the letters of `notify-keyspace-events` name.
fn classes(letters: &str) -> Class {
    let one = |letter| match letter {
        'g' => Class::GENERIC,
        '$' => Class::STRING,
        'l' => Class::LIST,
        's' => Class::SET,
        'h' => Class::HASH,
        'z' => Class::ZSET,
        'x' => Class::EXPIRED,
        'e' => Class::EVICTED,
        't' => Class::STREAM,
        'd' => Class::MODULE,
        'm' => Class::KEY_MISS,
        'n' => Class::NEW,
        'A' => Class::ALL,
        _ => Class::NONE,
    };
    letters.chars().map(one).fold(Class::NONE, Class::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::engine::Clients;

    fn peer(clients: &Clients) -> Arc<Peer> {
        let here: std::net::SocketAddr = "127.0.0.1:1".parse().expect("an address");
        clients.enter(here, here, 1, Millis(0))
    }

    #[test]
    fn what_is_counted_is_gone_with_the_last_subscription() {
        let (clients, pubsub) = (Clients::default(), Pubsub::new(Arc::default()));
        let peers: Vec<_> = (0..5).map(|_| peer(&clients)).collect();
        for (number, peer) in peers.iter().enumerate() {
            for name in 0..=number {
                for topic in ALL {
                    pubsub.subscribe(peer, topic, format!("name {name}").as_bytes(), |_| ());
                    pubsub.subscribe(peer, topic, format!("name {name}").as_bytes(), |_| ());
                }
            }
        }
        assert_eq!((pubsub.topics(Topic::Shard), pubsub.audience(Topic::Channel, b"name 1")), (5, 4));
        let expected = 3 * 5 * (TOPIC_BYTES + 6) + 3 * 15 * SUBSCRIPTION_BYTES + 5 * SUBSCRIBER_BYTES;
        assert_eq!(pubsub.bytes(), expected);
        pubsub.unsubscribe(&peers[0], Topic::Channel, b"name 0", |left| assert_eq!(left, 1));
        pubsub.unsubscribe(&peers[0], Topic::Channel, b"nothing", |left| assert_eq!(left, 1));
        peers.iter().for_each(|peer| pubsub.leave(peer));
        assert_eq!((pubsub.bytes(), pubsub.is_empty(), pubsub.topics(Topic::Pattern)), (0, true, 0));
        assert!(pubsub.registry.lock().subscribers.is_empty());
    }

    #[test]
    fn a_subscriber_that_takes_too_much_is_cut_and_keeps_nothing() {
        let (clients, pubsub) = (Clients::default(), Pubsub::new(Arc::default()));
        pubsub.limit.store(100, Ordering::Relaxed);
        let (slow, quick) = (peer(&clients), peer(&clients));
        for peer in [&slow, &quick] {
            pubsub.subscribe(peer, Topic::Channel, b"news", |_| ());
        }
        for _ in 0..3 {
            assert_eq!(pubsub.publish(b"news", b"0123456789"), 2);
            quick.collect(&mut Vec::new());
        }
        assert!(slow.is_cut() && !slow.has_mail() && !quick.is_killed());
        // What is on its way to the socket counts too.
        quick.output_buffer.store(90, Ordering::Relaxed);
        pubsub.publish(b"news", b"0123456789");
        assert!(quick.is_cut());
    }

    #[test]
    fn letters_name_classes() {
        for (letters, has, hasnt) in [
            ("KEA", Class::GENERIC.and(Class::STREAM).and(Class::MODULE).and(Class::EVICTED), Class::NEW),
            ("AKE", Class::STRING, Class::KEY_MISS),
            ("Kmn", Class::KEY_MISS, Class::EXPIRED),
        ] {
            assert!(classes(letters).has(has) && !classes(letters).has(hasnt), "{letters}");
        }
    }
}
