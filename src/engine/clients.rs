//! The clients that are connected, as other clients may see and reach them.
//!
//! A [`Peer`] is what a client shares: who it is, what it did last, a mailbox for bytes that others push to it, and
//! the bell that wakes it. Its own state (database, protocol, authentication) is its own and lies with its commands.
//! Every client has one and most say nothing most of the time, so what few have is in a box that they alone have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::acl::User;
use super::addr::Addr;
use super::tracking::Mode;
use super::{Charge, Charges, Oddity, Unusual};
use crate::clock::Millis;
use crate::store::Flag;

/// What a client shares with the rest of the server.
pub struct Peer {
    /// Its number, never used again.
    pub id: u64,
    /// Where it comes from.
    pub addr: Addr,
    /// The address it came to.
    pub local_addr: Addr,
    /// The socket's descriptor, for CLIENT LIST.
    pub fd: i32,
    /// When it came.
    pub created: Millis,
    /// When it last sent something.
    pub last_seen: AtomicU64,
    /// The number of its last command in the command table, one up; 0 for none.
    pub last_command: AtomicU32,
    /// Its database.
    pub db: AtomicU8,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// Bytes that wait in its read buffer, and its capacity.
    pub query_buffer: [AtomicU32; 2],
    /// Bytes that wait to be written to it.
    pub output_buffer: AtomicU32,
    /// It asked not to be evicted.
    pub no_evict: AtomicBool,
    /// Its reads are no accesses.
    pub no_touch: AtomicBool,
    /// A pause holds its request, or it waits for a key, or sleeps.
    pub held: AtomicBool,
    /// It watches what others do.
    pub monitor: AtomicBool,
    killed: AtomicBool,
    /// It is killed because it does not read what it is sent.
    cut: AtomicBool,
    subscriber: AtomicBool,
    /// How it has the keys tracked that it reads.
    tracking: AtomicU8,
    /// What it waited for is there.
    called: AtomicBool,
    has_mail: AtomicBool,
    bell: Mutex<Option<Waker>>,
    /// Where the bytes it holds are summed up.
    charges: Arc<Charges>,
    seldom: Mutex<Option<Box<Seldom>>>,
}

/// What a client has only once it gave itself a name, subscribed, or others left something for it.
#[derive(Default)]
struct Seldom {
    labels: Labels,
    /// Whom it has logged in as, if not as the default user.
    user: Option<Arc<User>>,
    mail: Vec<u8>,
    pending: Option<Pending>,
    /// How many channels, patterns and channels of shards it hears.
    subscriptions: [usize; 3],
    /// Who is told in its place of keys that have changed, 0 if nobody is.
    redirect: u64,
}

impl Drop for Peer {
    /// What it held is gone with it.
    fn drop(&mut self) {
        self.set_input(0, 0);
        let mail = self.mail_len();
        self.charges.change(Charge::Mail, mail, 0);
        if self.seldom.get_mut().as_ref().is_some_and(|seldom| seldom.pending.is_some()) {
            self.set_pending(None);
        }
    }
}

/// What waits for a client's EXEC.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// How many requests are queued; `None` if it has not said MULTI.
    pub queued: Option<usize>,
    /// Bytes that they take.
    pub queue_bytes: usize,
    /// How many keys it watches.
    pub watched: usize,
    /// Bytes that these take.
    pub watch_bytes: usize,
    /// Set when one of them has changed.
    pub flag: Flag,
}

impl Pending {
    fn size(&self) -> usize {
        self.queue_bytes + self.watch_bytes
    }
}

/// What a client says about itself.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
}

impl Peer {
    /// Closes the client at its next opportunity.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.ring();
    }

    /// Whether it is to be closed.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Closes it at its next opportunity, and does not wait for it to read what is left.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.kill();
    }

    /// Whether it is to be closed without waiting for it to read.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Wakes it, so that it looks at what has changed.
    pub fn ring(&self) {
        if let Some(bell) = &*self.bell.lock() {
            bell.wake_by_ref();
        }
    }

    /// Wakes it as what it waited for is there.
    pub fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether what it waited for is there.
    pub fn is_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    /// Notes that it has heard the call.
    pub fn take_call(&self) {
        self.called.store(false, Ordering::Relaxed);
    }

    /// Tells how to wake it.
    pub fn set_bell(&self, waker: &Waker) {
        let mut bell = self.bell.lock();
        if !bell.as_ref().is_some_and(|bell| bell.will_wake(waker)) {
            *bell = Some(waker.clone());
        }
    }

    /// What it says about itself.
    pub fn labels(&self) -> Labels {
        self.seldom.lock().as_ref().map_or_else(Labels::default, |seldom| seldom.labels.clone())
    }

    /// Changes what it says about itself.
    pub fn label(&self, change: impl FnOnce(&mut Labels)) {
        change(&mut self.seldom.lock().get_or_insert_default().labels);
    }

    /// Whom it has logged in as; `None` for the default user.
    pub fn user(&self) -> Option<Arc<User>> {
        self.seldom.lock().as_ref().and_then(|seldom| seldom.user.clone())
    }

    /// Tells others whom it has logged in as.
    pub fn set_user(&self, user: Option<Arc<User>>) {
        let mut seldom = self.seldom.lock();
        if user.is_some() || seldom.is_some() {
            seldom.get_or_insert_default().user = user;
        }
    }

    /// Takes its name away.
    pub fn clear_name(&self) {
        // Who has no name needs no box to have none.
        if let Some(seldom) = &mut *self.seldom.lock() {
            seldom.labels.name.clear();
        }
    }

    /// What waits for its EXEC.
    pub fn pending(&self) -> Pending {
        self.seldom.lock().as_ref().and_then(|seldom| seldom.pending.clone()).unwrap_or_default()
    }

    /// Tells what waits for its EXEC, if anything does.
    pub fn set_pending(&self, pending: Option<Pending>) {
        let size = |pending: &Option<Pending>| pending.as_ref().map_or(0, Pending::size);
        let mut seldom = self.seldom.lock();
        let old = &mut seldom.get_or_insert_default().pending;
        self.charges.change(Charge::Queued, size(old), size(&pending));
        *old = pending;
    }

    /// Notes how many bytes of it wait to be run, and what holds them.
    pub fn set_input(&self, waiting: usize, holds: usize) {
        let [own_waiting, own_holds] = &self.query_buffer;
        own_waiting.store(waiting.min(u32::MAX as usize) as u32, Ordering::Relaxed);
        let holds = holds.min(u32::MAX as usize);
        let before = own_holds.load(Ordering::Relaxed) as usize;
        if before != holds {
            self.charges.change(Charge::Input, before, holds);
            own_holds.store(holds as u32, Ordering::Relaxed);
        }
    }

    /// Bytes that end with it.
    pub fn weight(&self) -> u64 {
        let input = u64::from(self.query_buffer[1].load(Ordering::Relaxed));
        let seldom = self.seldom.lock();
        let seldom = seldom.as_ref();
        let mail = seldom.map_or(0, |seldom| seldom.mail.len());
        let pending = seldom.and_then(|seldom| seldom.pending.as_ref()).map_or(0, Pending::size);
        input + u64::from(self.output_buffer.load(Ordering::Relaxed)) + (mail + pending) as u64
    }

    /// Leaves bytes for it. `false` when its mailbox and what it has not read yet are over `limit`: such a client is too
    /// slow and is cut.
    pub fn post(&self, bytes: &[u8], limit: usize) -> bool {
        if self.is_killed() {
            return false;
        }
        let unread = self.output_buffer.load(Ordering::Relaxed) as usize;
        let mut seldom = self.seldom.lock();
        let mail = &mut seldom.get_or_insert_default().mail;
        if mail.len().saturating_add(bytes.len()).saturating_add(unread) > limit {
            self.charges.change(Charge::Mail, mail.len(), 0);
            *mail = Vec::new();
            self.has_mail.store(false, Ordering::Release);
            drop(seldom);
            self.cut();
            return false;
        }
        mail.extend_from_slice(bytes);
        self.charges.change(Charge::Mail, 0, bytes.len());
        let rung = self.has_mail.swap(true, Ordering::Release);
        drop(seldom);
        // Who was rung for what is there already will find this beside it.
        if !rung {
            self.ring();
        }
        true
    }

    /// Moves what others left into its output.
    pub fn collect(&self, out: &mut Vec<u8>) {
        if self.has_mail.load(Ordering::Acquire) {
            let mut seldom = self.seldom.lock();
            let mail = std::mem::take(&mut seldom.get_or_insert_default().mail);
            self.has_mail.store(false, Ordering::Release);
            drop(seldom);
            self.charges.change(Charge::Mail, mail.len(), 0);
            out.extend_from_slice(&mail);
        }
    }

    /// Bytes that others left.
    pub fn mail_len(&self) -> usize {
        self.seldom.lock().as_ref().map_or(0, |seldom| seldom.mail.len())
    }

    /// Whether it hears any channel.
    pub fn is_subscriber(&self) -> bool {
        self.subscriber.load(Ordering::Relaxed)
    }

    /// How many channels, patterns and channels of shards it hears.
    pub fn subscriptions(&self) -> [usize; 3] {
        self.seldom.lock().as_ref().map_or([0; 3], |seldom| seldom.subscriptions)
    }

    /// Notes how many it hears.
    pub(super) fn set_subscriptions(&self, counts: [usize; 3]) {
        self.seldom.lock().get_or_insert_default().subscriptions = counts;
        self.subscriber.store(counts != [0; 3], Ordering::Relaxed);
    }

    /// How it has keys tracked.
    pub fn tracking(&self) -> Mode {
        Mode(self.tracking.load(Ordering::Relaxed))
    }

    /// Who is told in its place of keys that have changed, 0 if nobody is.
    pub fn redirect(&self) -> u64 {
        self.seldom.lock().as_ref().map_or(0, |seldom| seldom.redirect)
    }

    /// Notes how it has keys tracked.
    pub(super) fn set_tracking(&self, mode: Mode, redirect: u64) {
        self.seldom.lock().get_or_insert_default().redirect = redirect;
        self.tracking.store(mode.0, Ordering::Relaxed);
    }

    /// Notes that this holds for its tracking too.
    pub fn add_tracking(&self, mode: Mode) {
        self.tracking.fetch_or(mode.0, Ordering::Relaxed);
    }

    /// Notes that this does not hold any more.
    pub fn drop_tracking(&self, mode: Mode) {
        self.tracking.fetch_and(!mode.0, Ordering::Relaxed);
    }

    /// Whether it can be told from replies what is pushed to it.
    pub fn speaks_resp3(&self) -> bool {
        self.protocol.load(Ordering::Relaxed) == 3
    }

    /// Whether somebody left bytes.
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// The flags of CLIENT LIST.
    pub fn flags(&self) -> String {
        let mut flags = String::new();
        let pending = self.pending();
        if self.monitor.load(Ordering::Relaxed) {
            flags.push('O');
        }
        if self.is_subscriber() {
            flags.push('P');
        }
        if pending.queued.is_some() {
            flags.push('x');
        }
        if self.held.load(Ordering::Relaxed) {
            flags.push('b');
        }
        for (mode, letter) in [(Mode::ON, 't'), (Mode::BROKEN, 'R'), (Mode::BCAST, 'B')] {
            if self.tracking().has(mode) {
                flags.push(letter);
            }
        }
        if pending.flag.is_set() {
            flags.push('d');
        }
        if self.is_killed() {
            flags.push('A');
        }
        if self.addr.is_unix() {
            flags.push('U');
        }
        if self.no_evict.load(Ordering::Relaxed) {
            flags.push('e');
        }
        if self.no_touch.load(Ordering::Relaxed) {
            flags.push('T');
        }
        if flags.is_empty() {
            flags.push('N');
        }
        flags
    }
}

/// All clients of the RESP door.
#[derive(Default)]
pub struct Clients {
    next_id: AtomicU64,
    peers: Mutex<BTreeMap<u64, Arc<Peer>>>,
    /// How many watch with MONITOR.
    monitors: Mutex<Vec<Arc<Peer>>>,
    charges: Arc<Charges>,
    unusual: Arc<Unusual>,
}

impl Clients {
    /// Nobody yet.
    pub(super) fn new(charges: Arc<Charges>, unusual: Arc<Unusual>) -> Clients {
        Clients { charges, unusual, ..Clients::default() }
    }

    /// Lets a client in under a new number.
    pub fn enter(&self, addr: impl Into<Addr>, local_addr: impl Into<Addr>, fd: i32, now: Millis) -> Arc<Peer> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let peer = Arc::new(Peer {
            id,
            addr: addr.into(),
            local_addr: local_addr.into(),
            fd,
            created: now,
            last_seen: AtomicU64::new(now.0),
            last_command: AtomicU32::new(0),
            db: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            query_buffer: [AtomicU32::new(0), AtomicU32::new(0)],
            output_buffer: AtomicU32::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            held: AtomicBool::new(false),
            monitor: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            subscriber: AtomicBool::new(false),
            tracking: AtomicU8::new(0),
            called: AtomicBool::new(false),
            has_mail: AtomicBool::new(false),
            bell: Mutex::default(),
            charges: self.charges.clone(),
            seldom: Mutex::default(),
        });
        self.peers.lock().insert(id, peer.clone());
        peer
    }

    /// Lets a client go.
    pub fn leave(&self, peer: &Peer) {
        self.set_monitor(peer, false);
        self.peers.lock().remove(&peer.id);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.peers.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, by number.
    pub fn all(&self) -> Vec<Arc<Peer>> {
        self.peers.lock().values().cloned().collect()
    }

    /// Looks at so many clients at most whose numbers follow `after`, and tells the number of the last one; `None` when there
    /// are no more.
    pub fn visit(&self, after: u64, most: usize, mut f: impl FnMut(&Peer)) -> Option<u64> {
        let peers = self.peers.lock();
        let mut last = None;
        for (id, peer) in peers.range(after + 1..).take(most) {
            f(peer);
            last = Some(*id);
        }
        last
    }

    /// The one with this number.
    pub fn get(&self, id: u64) -> Option<Arc<Peer>> {
        self.peers.lock().get(&id).cloned()
    }

    /// Wakes everybody.
    pub fn ring_all(&self) {
        for peer in self.all() {
            peer.ring();
        }
    }

    /// Whether anybody watches what others do.
    pub fn has_monitors(&self) -> bool {
        self.unusual.is(Oddity::Monitored)
    }

    /// Makes a client a watcher, or no longer.
    pub fn set_monitor(&self, peer: &Peer, on: bool) {
        if peer.monitor.swap(on, Ordering::Relaxed) != on {
            let own = if on { self.peers.lock().get(&peer.id).cloned() } else { None };
            let mut monitors = self.monitors.lock();
            monitors.retain(|other| other.id != peer.id);
            monitors.extend(own);
            self.unusual.set(Oddity::Monitored, !monitors.is_empty());
        }
    }

    /// Those who watch.
    pub fn monitors(&self) -> Vec<Arc<Peer>> {
        self.monitors.lock().clone()
    }
}
