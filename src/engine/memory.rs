//! The budget: what is in use, what goes when it is too much, and who.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::{Charges, Engine};
use crate::clock::Millis;
use crate::store::Store;

/// Turns of their workers that clients leave to those who were cut. Whoever was has gone in its next one.
const TURNS_EACH: usize = 16;

/// Below this `maxmemory` is not about what the process takes: the program itself would be much of it.
const WEIGHED_MIN: u64 = 64 << 20;

/// What of `maxmemory` data gives up at most for what nothing counts. It need not help, so it must have an end.
const WASTE_SHARE: u64 = 4;

/// From what share of it on the allocator is asked to give back what it can.
const WASTEFUL_SHARE: u64 = 12;

/// Entries that go at most for one command that asks for much at once: some ten milliseconds.
const CLEARED_MAX: usize = 8192;

/// How much more than the highest use so far is noted as such: a line that all workers write to should be left alone.
const PEAK_STEP: u64 = 64 * 1024;

impl Engine {
    /// Bytes in use: entries and what belongs to them, and what lies in no store.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// engine.store(0).put(b"coat", &[0; 100_000], Ttl::seconds(60))?;
    /// assert!(engine.used_memory() > 100_000);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn used_memory(&self) -> u64 {
        let used = self.in_use();
        if used > self.peak.load(Ordering::Relaxed) + PEAK_STEP {
            self.peak.fetch_max(used, Ordering::Relaxed);
        }
        used
    }

    #[inline]
    fn in_use(&self) -> u64 {
        self.records.used_memory() as u64 + self.charges.total()
    }

    /// The most bytes that were ever seen in use.
    #[cfg_attr(doc, doc(hidden))]
    pub fn peak_memory(&self) -> u64 {
        self.peak.fetch_max(self.in_use(), Ordering::Relaxed);
        self.peak.load(Ordering::Relaxed)
    }

    /// Bytes that are no entries'.
    #[cfg_attr(doc, doc(hidden))]
    pub fn charges(&self) -> &std::sync::Arc<Charges> {
        &self.charges
    }

    /// Whether there is less room than there has to be: more is in use than `maxmemory`, less what nothing counts.
    #[cfg_attr(doc, doc(hidden))]
    pub fn is_short(&self) -> bool {
        let limit = self.hot.maxmemory();
        limit > 0 && self.kept() > limit - self.waste()
    }

    /// Bytes in use without those that are being freed, and without those for which clients are cut: both are as good as gone.
    fn kept(&self) -> u64 {
        let over = match self.hot.clients_max() {
            0 => 0,
            limit => self.charges.clients().saturating_sub(limit),
        };
        self.used_memory().saturating_sub(self.records.freeing() as u64 + over)
    }

    /// Makes room below `maxmemory`. `false`: there is none to be made. A bounded number of entries goes each time, so
    /// that one command never pays for a large shortage; the next one goes on, and so does the janitor.
    #[cfg_attr(doc, doc(hidden))]
    #[inline]
    pub fn make_room(&self, now: Millis) -> bool {
        // Nearly always there is room, and that is one comparison.
        self.in_use() <= self.ease.load(Ordering::Relaxed) || self.clear_room(now)
    }

    #[cold]
    fn clear_room(&self, now: Millis) -> bool {
        /// Evictions that one command may have to wait for, about 100 µs.
        const EVICTIONS_MAX: usize = 128;
        let limit = self.hot.maxmemory();
        if limit == 0 {
            return true;
        }
        let limit = limit - self.waste();
        let used = self.used_memory();
        if self.ease.load(Ordering::Relaxed) != self.next_ease() {
            self.settle_ease();
        }
        if used <= limit {
            return true;
        }
        let kept = || self.kept();
        // Clients who keep copies are told of each that goes. What is told counts until it is sent, and must not be a reason
        // for more to go.
        let stored =
            || (self.records.used_memory().saturating_sub(self.records.freeing()) + self.tracking.bytes()) as u64;
        let too_much = kept().saturating_sub(limit);
        if too_much == 0 {
            return true;
        }
        let enough = stored().saturating_sub(too_much);
        let (policy, samples) = (self.hot.policy(), self.hot.samples());
        for _ in 0..EVICTIONS_MAX {
            if !Store::evict(&self.stores, policy, samples, || self.chance(), now) {
                return kept() <= limit;
            }
            if stored() <= enough {
                return true;
            }
        }
        // More went than this command could have brought in; it may pass.
        true
    }

    /// Whether so many bytes more may be asked for in the middle of something. Room is made before a command, a script or a
    /// transaction begins, and what it works with is not to go under it, so it may go past the limit by a quarter of
    /// `maxmemory` ([`super::Hot::gathered_max`]), and no further.
    #[cfg_attr(doc, doc(hidden))]
    #[inline]
    pub fn bears(&self, more: usize) -> bool {
        self.in_use().saturating_add(more as u64) <= self.ease.load(Ordering::Relaxed) || self.is_borne(more)
    }

    #[cold]
    fn is_borne(&self, more: usize) -> bool {
        self.kept().saturating_add(more as u64) <= self.most()
    }

    /// Up to which use what has begun may go on.
    fn most(&self) -> u64 {
        match self.hot.maxmemory() {
            0 => u64::MAX,
            limit => limit - self.waste() + self.hot.gathered_max() as u64,
        }
    }

    /// The same for who holds no shard: what may go does before it is said that there is no room.
    #[cfg_attr(doc, doc(hidden))]
    #[inline]
    pub fn makes_room_for(&self, more: usize, now: Millis) -> bool {
        self.bears(more) || self.clear_room_for(more, now)
    }

    #[cold]
    fn clear_room_for(&self, more: usize, now: Millis) -> bool {
        if more as u64 > self.most() {
            return false;
        }
        let (policy, samples) = (self.hot.policy(), self.hot.samples());
        let evicts = || Store::evict(&self.stores, policy, samples, || self.chance(), now);
        (0..CLEARED_MAX).any(|_| self.bears(more) || !evicts()) && self.bears(more)
    }

    /// Up to which use nothing is to be done: the limit, or use that would be the highest so far.
    fn next_ease(&self) -> u64 {
        match self.hot.maxmemory() {
            0 => u64::MAX,
            limit => (limit - self.waste()).min(self.peak.load(Ordering::Relaxed) + PEAK_STEP),
        }
    }

    /// Takes note of it. To be called when the limit has changed, or what is given up of it.
    pub(super) fn settle_ease(&self) {
        // Who has this lock last has seen everything.
        let _one = self.easing.lock();
        self.ease.store(self.next_ease(), Ordering::Relaxed);
    }

    /// Takes note of what the process takes. What is more than is counted counts too, so that data leaves room for it: from
    /// the start, as it would be too late for that once the limit was reached.
    #[cfg_attr(doc, doc(hidden))]
    pub fn weigh(&self, resident: u64) {
        let is_weighed = self.hot.maxmemory() >= WEIGHED_MIN;
        let waste = if is_weighed { resident.saturating_sub(self.in_use()) } else { 0 };
        if self.waste.swap(waste, Ordering::Relaxed) != waste {
            self.settle_ease();
        }
    }

    /// Bytes of `maxmemory` that are given up for what nothing counts.
    #[cfg_attr(doc, doc(hidden))]
    pub fn waste(&self) -> u64 {
        // Also while what was found under another limit is remembered.
        match self.hot.maxmemory() {
            limit if limit >= WEIGHED_MIN => self.waste.load(Ordering::Relaxed).min(limit / WASTE_SHARE),
            _ => 0,
        }
    }

    /// Whether that is more than a program of this size has to have.
    #[cfg_attr(doc, doc(hidden))]
    pub fn is_wasteful(&self) -> bool {
        self.waste() > self.hot.maxmemory() / WASTEFUL_SHARE
    }

    /// Whether who would read more lets those go first that were cut, as clients hold more than `maxmemory-clients`. So often
    /// and no more: a worker that has some of them may be busy.
    #[cfg_attr(doc, doc(hidden))]
    #[inline]
    pub fn is_to_stand_back(&self) -> bool {
        self.turns_to_go.load(Ordering::Relaxed) > 0 && self.stands_back()
    }

    #[cold]
    fn stands_back(&self) -> bool {
        let limit = self.hot.clients_max();
        if limit == 0 || self.charges.clients() <= limit {
            self.turns_to_go.store(0, Ordering::Relaxed);
            return false;
        }
        // One that is lost to another worker's is one more or less.
        self.turns_to_go.store(self.turns_to_go.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        true
    }

    /// Cuts the clients that hold most, if all of them hold more than `maxmemory-clients` in sum.
    #[cfg_attr(doc, doc(hidden))]
    pub fn cut_clients(&self, worker: usize) {
        let limit = self.hot.clients_max();
        if limit == 0 || self.charges.clients() <= limit {
            return;
        }
        // Who comes meanwhile leaves it to who is at it, and asks again when it has grown.
        let Some(_one) = self.cutting.try_lock() else { return };
        let mut peers: Vec<_> = self.clients.all().into_iter().map(|peer| (peer.weight(), peer)).collect();
        // What was cut and is about to go is as good as gone.
        let leaving: u64 = peers.iter().filter(|(_, peer)| peer.is_killed()).map(|(weight, _)| weight).sum();
        let mut held = self.charges.clients().saturating_sub(leaving);
        if held <= limit {
            return;
        }
        peers.retain(|(weight, peer)| *weight > 0 && !peer.is_killed() && !peer.no_evict.load(Ordering::Relaxed));
        peers.sort_unstable_by_key(|(weight, _)| Reverse(*weight));
        // A little more than must be, so that not every next byte cuts the next client.
        let (enough, mut count) = (limit / 8 * 7, 0);
        for (weight, peer) in peers {
            if held <= enough {
                break;
            }
            peer.cut();
            held = held.saturating_sub(weight);
            count += 1;
        }
        if count > 0 {
            self.turns_to_go.store(TURNS_EACH * self.clients.len(), Ordering::Relaxed);
        }
        self.metrics.block(worker).evicted_clients.add(count);
        tracing::warn!(
            clients = count,
            limit,
            "clients closed that held most: all together held more than maxmemory-clients"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;

    #[test]
    fn what_nothing_counts_takes_a_quarter_at_most() {
        let mut config = Config::default();
        config.set("maxmemory", "128mb").expect("bytes");
        let engine = Engine::new(config, Clock::system(), 1, 0);
        for (resident, waste) in [(7 << 20, 7 << 20), (120 << 20, 32 << 20), (500 << 20, 32 << 20), (0, 0)] {
            engine.weigh(resident);
            assert!(engine.waste().abs_diff(waste) < 1 << 20, "{resident}: {}", engine.waste());
        }
        // Under a limit that is not about the process nothing is given up, whatever was found before.
        engine.weigh(120 << 20);
        assert!(engine.configure(&[("maxmemory", "1mb")], true).is_ok());
        assert_eq!(engine.waste(), 0);
        assert!(engine.configure(&[("maxmemory", "128mb")], true).is_ok());
        // Nothing is there that could go.
        engine.weigh(500 << 20);
        assert!(engine.make_room(Millis(1)));
    }
}
