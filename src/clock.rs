//! Time, as everything below the network is told it.
//!
//! Instants are milliseconds on the store's own timeline: the Unix time at start plus what the monotonic clock has
//! counted since. A wall clock that is set forward or back while the server runs therefore expires nothing early and
//! keeps nothing longer. Commands that name an absolute Unix time translate it at the door with [`Clock::from_wall`].
//!
//! Only the edge asks a [`Clock`]; all else takes `now: Millis` as an argument.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An instant in milliseconds on the store's timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub u64);

impl Millis {
    /// The deadline of what has none.
    pub const NEVER: Millis = Millis(u64::MAX);

    /// What is left until this instant; zero when it has passed.
    pub fn since(self, earlier: Millis) -> Ttl {
        Ttl(self.0.saturating_sub(earlier.0))
    }
}

impl Ttl {
    /// A length given in whole seconds.
    pub const fn seconds(seconds: u64) -> Ttl {
        Ttl(seconds.saturating_mul(1000))
    }

    /// The same length for the standard library.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Add<Ttl> for Millis {
    type Output = Millis;

    /// A deadline past the end of time is "never", not an overflow.
    fn add(self, ttl: Ttl) -> Millis {
        Millis(self.0.saturating_add(ttl.0))
    }
}

impl Sub<Ttl> for Millis {
    type Output = Millis;

    fn sub(self, ttl: Ttl) -> Millis {
        Millis(self.0.saturating_sub(ttl.0))
    }
}

/// Where the edge reads the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clocks.
    System(SystemClock),
    /// A clock that only moves when a test moves it.
    Manual(ManualClock),
}

/// The machine's clocks, tied together once at start.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
    /// Microseconds of Unix time at `started`.
    unix_micros: u64,
}

/// A clock that stands still until it is told to move. Clones share the same hands.
#[derive(Clone, Debug)]
pub struct ManualClock {
    micros: Arc<AtomicU64>,
    wall_offset: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock, anchored now.
    pub fn system() -> Clock {
        Clock::System(SystemClock { started: Instant::now(), unix_micros: unix_micros() })
    }

    /// The instant on the store's timeline.
    pub fn now(&self) -> Millis {
        Millis(self.micros() / 1000)
    }

    /// The same timeline in microseconds, for durations.
    pub fn micros(&self) -> u64 {
        match self {
            Clock::System(clock) => clock.unix_micros + clock.started.elapsed().as_micros() as u64,
            Clock::Manual(clock) => clock.micros.load(Ordering::Relaxed),
        }
    }

    /// The wall clock in microseconds of Unix time; it may have been set since start.
    pub fn wall_micros(&self) -> u64 {
        match self {
            Clock::System(_) => unix_micros(),
            Clock::Manual(clock) => self.micros().saturating_add_signed(clock.wall_offset.load(Ordering::Relaxed)),
        }
    }

    /// An absolute Unix time in milliseconds, as an instant on the store's timeline.
    pub fn from_wall(&self, unix: u64) -> Millis {
        Millis(unix.saturating_add_signed(-self.wall_offset()))
    }

    /// An instant on the store's timeline, as Unix time in milliseconds.
    pub fn to_wall(&self, at: Millis) -> u64 {
        at.0.saturating_add_signed(self.wall_offset())
    }

    /// How far the wall clock has been moved since start, in milliseconds. What both clocks drift apart without being
    /// set (less than [`DRIFT`]) is no move: a deadline given in Unix time then reads back exactly as it was given.
    fn wall_offset(&self) -> i64 {
        let offset = (self.wall_micros() as i64 - self.micros() as i64) / 1000;
        if offset.abs() < DRIFT { 0 } else { offset }
    }
}

/// Milliseconds by which the two clocks may differ before the wall clock counts as having been set.
const DRIFT: i64 = 500;

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::at(Millis(1_700_000_000_000))
    }
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Millis) -> ManualClock {
        ManualClock { micros: Arc::new(AtomicU64::new(now.0 * 1000)), wall_offset: Arc::default() }
    }

    /// The instant it stands at.
    pub fn now(&self) -> Millis {
        Millis(self.micros.load(Ordering::Relaxed) / 1000)
    }

    /// Moves time forward.
    pub fn advance(&self, ttl: Ttl) {
        self.micros.fetch_add(ttl.0 * 1000, Ordering::Relaxed);
    }

    /// Sets the wall clock `offset` milliseconds off the timeline, as an administrator or NTP would.
    pub fn set_wall_offset(&self, offset: i64) {
        self.wall_offset.store(offset * 1000, Ordering::Relaxed);
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Clock {
        Clock::Manual(clock)
    }
}

fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_past_the_end_of_time_is_never() {
        assert_eq!(Millis(5) + Ttl(u64::MAX), Millis::NEVER);
    }

    #[test]
    fn a_wall_clock_that_is_set_moves_no_instant() {
        let hands = ManualClock::default();
        let clock = Clock::from(hands.clone());
        let before = clock.now();
        hands.set_wall_offset(3_600_000);
        assert_eq!(clock.now(), before);
        assert_eq!(clock.from_wall(before.0 + 3_600_000 + 10), before + Ttl(10));
        assert_eq!(clock.to_wall(before), before.0 + 3_600_000);
    }

    #[test]
    fn drift_below_the_threshold_keeps_unix_deadlines_exact() {
        let hands = ManualClock::default();
        hands.set_wall_offset(-3);
        let clock = Clock::from(hands);
        assert_eq!(clock.from_wall(1_800_000_000_000), Millis(1_800_000_000_000));
    }
}
