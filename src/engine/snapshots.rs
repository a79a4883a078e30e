//! How snapshots stand: what INFO and LASTSAVE tell of them, when one is due, and whom to ask for one.
//!
//! Writing files is the business of a [`Keeper`], which lives where files are.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::{Engine, Oddity};
use crate::clock::{Clock, Millis, Ttl};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::store::Store;

/// Until a snapshot that failed is tried again, unless somebody asks.
const RETRY: Ttl = Ttl::seconds(5);

/// Who writes snapshots and reads them.
pub trait Keeper: Send + Sync {
    /// Writes one and comes back when it is on disk. One that is being written already is given up.
    fn save(&self, engine: &Engine) -> Result<()>;
    /// Has one written soon, by somebody else.
    fn begin(&self, engine: &Engine) -> Result<()>;
    /// Reads the last one into the databases, over what is there.
    fn reload(&self, engine: &Engine) -> Result<()>;
}

/// How snapshots stand. Times are Unix seconds.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Since when one is being written.
    pub began: Option<u64>,
    /// When the last good one was finished; at first, when the server started.
    pub last_good: u64,
    /// The same on the store's timeline, which no wall clock moves, and when the last one was begun.
    good_at: Millis,
    tried_at: Millis,
    /// Whether the last one failed.
    pub failed: bool,
    /// Why the last that failed did.
    pub why: Box<str>,
    /// Seconds that the last one took.
    pub took: Option<u64>,
    /// Good ones since the start.
    pub saves: u64,
    /// Changes that were made before the last good one was begun.
    pub covered: u64,
    /// The same of the one that is being written.
    covering: u64,
    /// Entries that were read at start, and those that had died by then.
    pub loaded: [u64; 2],
    /// What the server that ends is to do; `None`: whatever the settings say.
    pub at_end: Option<bool>,
    /// Whether SHUTDOWN has written one already.
    pub settled: bool,
}

/// See the module's text.
pub struct Snapshots {
    keeper: OnceLock<Box<dyn Keeper>>,
    standing: Mutex<Standing>,
    /// Entries that the one under way has, and will have, about.
    pub progress: [AtomicU64; 2],
}

impl Snapshots {
    pub(super) fn new(clock: &Clock) -> Snapshots {
        let (last_good, good_at) = (clock.wall_micros() / 1_000_000, clock.now());
        let standing = Mutex::new(Standing { last_good, good_at, ..Standing::default() });
        Snapshots { keeper: OnceLock::new(), standing, progress: Default::default() }
    }

    /// Says who writes snapshots. Only the first one counts.
    pub fn set_keeper(&self, keeper: impl Keeper + 'static) {
        let _ = self.keeper.set(Box::new(keeper));
    }

    /// Who writes snapshots.
    pub fn keeper(&self) -> Result<&dyn Keeper> {
        let nobody = Error::refused("there is no disk here that a snapshot could be written to");
        self.keeper.get().map(|keeper| &**keeper).ok_or(nobody)
    }

    /// How they stand, to be read or noted.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock()
    }
}

#[cfg_attr(doc, doc(hidden))]
impl Engine {
    /// Changes that commands made to keys since the start.
    pub fn changes_made(&self) -> u64 {
        self.all_stores().map(Store::changes_made).sum()
    }

    fn wall_seconds(&self) -> u64 {
        self.clock.wall_micros() / 1_000_000
    }

    /// Notes that a snapshot is begun.
    pub fn begin_snapshot(&self) {
        let (now, changes) = (self.wall_seconds(), self.changes_made());
        self.snapshots.progress[0].store(0, Ordering::Relaxed);
        let mut standing = self.snapshots.standing();
        (standing.began, standing.tried_at, standing.covering) = (Some(now), self.clock.now(), changes);
    }

    /// Notes how a snapshot went. One that was `given up` on purpose is as if it had not been begun.
    pub fn end_snapshot(&self, good: bool, given_up: bool) {
        let now = self.wall_seconds();
        let mut standing = self.snapshots.standing();
        let is_under_way = standing.began.take().is_some();
        if given_up {
            return;
        }
        let ended = self.clock.now();
        standing.took = is_under_way.then(|| ended.since(standing.tried_at).0 / 1000);
        standing.failed = !good;
        if good {
            (standing.last_good, standing.good_at, standing.covered) = (now, ended, standing.covering);
            standing.saves += 1;
        }
        drop(standing);
        self.with_config(|config| self.judge_writes(config));
    }

    /// Whether a snapshot is due by itself.
    pub fn is_snapshot_due(&self) -> bool {
        let points = self.with_config(Config::save_points);
        if points.is_empty() {
            return false;
        }
        let (now, made) = (self.clock.now(), self.changes_made());
        let standing = self.snapshots.standing();
        let changes = made.saturating_sub(standing.covered);
        let since = now.since(standing.good_at).0 / 1000;
        // As in Redis: changes, and more seconds than said; and a failure is given time to pass.
        points.iter().any(|(seconds, least)| changes >= (*least).max(1) && since > *seconds)
            && (!standing.failed || now.since(standing.tried_at) > RETRY)
    }

    /// Whether the server that ends is to write a snapshot.
    pub fn saves_at_end(&self) -> bool {
        let (asked, settled, covered) = {
            let standing = self.snapshots.standing();
            (standing.at_end, standing.settled, standing.covered)
        };
        if settled && self.changes_made() == covered {
            return false;
        }
        asked.unwrap_or_else(|| self.with_config(|config| !config.save.is_empty()))
    }

    /// Notes what a signal's setting says about that.
    pub fn note_signal(&self, of: impl FnOnce(&Config) -> &str) {
        let asked = self.with_config(|config| match of(config).split(' ').find(|word| word.ends_with("save")) {
            Some("save") => Some(true),
            Some(_) => Some(false),
            None => None,
        });
        let mut standing = self.snapshots.standing();
        standing.at_end = asked.or(standing.at_end);
    }

    /// Whether writes are refused from now on.
    pub(super) fn judge_writes(&self, config: &Config) {
        let refused = config.stop_writes && !config.save.is_empty() && self.snapshots.standing().failed;
        self.unusual.set(Oddity::Unsaved, refused);
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::{Clock, ManualClock, Ttl};
    use crate::config::Config;
    use crate::engine::{Engine, Oddity};

    fn change(engine: &Engine, count: usize) {
        for _ in 0..count {
            engine.store(0).with(b"k", engine.clock.now(), |slot| {
                slot.put_bytes(b"v", crate::clock::Millis::NEVER).expect("a write");
                slot.tell(crate::store::Class::STRING, "set");
            });
        }
    }

    #[test]
    fn a_snapshot_is_due_after_so_many_changes_and_seconds() {
        let (clock, mut config) = (ManualClock::default(), Config::default());
        config.set("save", "100 1 10 5").expect("known");
        let engine = Engine::new(config, Clock::from(clock.clone()), 1, 1);
        clock.advance(Ttl::seconds(1000));
        assert!(!engine.is_snapshot_due(), "nothing has changed");
        change(&engine, 1);
        assert!(engine.is_snapshot_due());
        engine.begin_snapshot();
        change(&engine, 4);
        engine.end_snapshot(true, false);
        clock.advance(Ttl::seconds(11));
        assert!(!engine.is_snapshot_due(), "four changes came after it was begun");
        change(&engine, 1);
        assert!(engine.is_snapshot_due());
        engine.begin_snapshot();
        engine.end_snapshot(false, false);
        assert!(!engine.is_snapshot_due(), "it failed a moment ago");
        clock.advance(Ttl::seconds(6));
        assert!(engine.is_snapshot_due());
        engine.configure(&[("save", "")], true).expect("known");
        assert!(!engine.is_snapshot_due());
    }

    #[test]
    fn a_wall_clock_that_is_set_back_holds_up_no_snapshot() {
        let (clock, mut config) = (ManualClock::default(), Config::default());
        config.set("save", "100 1").expect("known");
        let engine = Engine::new(config, Clock::from(clock.clone()), 1, 1);
        clock.set_wall_offset(-50_000_000);
        clock.advance(Ttl::seconds(101));
        change(&engine, 1);
        assert!(engine.is_snapshot_due());
        engine.begin_snapshot();
        clock.advance(Ttl::seconds(3));
        clock.set_wall_offset(50_000_000);
        engine.end_snapshot(false, false);
        assert_eq!(engine.snapshots.standing().took, Some(3));
        assert!(!engine.is_snapshot_due(), "it failed a moment ago");
        clock.set_wall_offset(-50_000_000);
        clock.advance(Ttl::seconds(6));
        assert!(engine.is_snapshot_due());
    }

    #[test]
    fn writes_are_refused_only_if_that_is_wanted() {
        let engine = Engine::new(Config::default(), Clock::from(ManualClock::default()), 1, 1);
        engine.configure(&[("save", "100 1")], true).expect("known");
        engine.begin_snapshot();
        engine.end_snapshot(false, false);
        assert!(!engine.unusual.is(Oddity::Unsaved));
        engine.configure(&[("stop-writes-on-bgsave-error", "yes")], true).expect("known");
        assert!(engine.unusual.is(Oddity::Unsaved));
        engine.begin_snapshot();
        engine.end_snapshot(true, false);
        assert!(!engine.unusual.is(Oddity::Unsaved));
    }
}
