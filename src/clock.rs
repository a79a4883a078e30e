//! Time, as everything below the network is told it.
//!
//! Instants are milliseconds on the store's own timeline: the Unix time at start plus what the machine has counted
//! since, the time that it was suspended included. A wall clock that is set forward or back while the server runs
//! therefore expires nothing early and keeps nothing longer, and a machine that wakes up finds dead what died while it
//! slept. Commands that name an absolute Unix time translate it at the door with [`Clock::from_wall`].
//!
//! Only the edge asks a [`Clock`]; all else takes `now: Millis` as an argument.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    /// What [`counted`] said at start.
    started: Count,
    /// Microseconds of Unix time at start.
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
        Clock::System(SystemClock { started: counted(), unix_micros: unix_micros() })
    }

    /// The instant on the store's timeline.
    pub fn now(&self) -> Millis {
        Millis(self.micros() / 1000)
    }

    /// The same timeline in microseconds, for durations.
    pub fn micros(&self) -> u64 {
        match self {
            Clock::System(clock) => clock.micros_at(counted()),
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

impl SystemClock {
    fn micros_at(&self, counted: Count) -> u64 {
        self.unix_micros + passed(self.started, counted)
    }
}

/// A reading of the clock that nobody sets: on Linux, microseconds.
#[cfg(target_os = "linux")]
type Count = u64;
#[cfg(not(target_os = "linux"))]
type Count = std::time::Instant;

/// What the machine has counted, whatever the wall clock says. [`std::time::Instant`] would stand still in suspend, and
/// a session would outlive it by hours. As cheap: neither is a system call.
#[cfg(target_os = "linux")]
fn counted() -> Count {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    at.tv_sec.unsigned_abs() * 1_000_000 + at.tv_nsec.unsigned_abs() / 1000
}

/// Microseconds from one reading to another. A clock that ran back would stand.
#[cfg(target_os = "linux")]
fn passed(from: Count, to: Count) -> u64 {
    to.saturating_sub(from)
}

/// Elsewhere it is the platform's affair whether that counts in suspend.
#[cfg(not(target_os = "linux"))]
fn counted() -> Count {
    std::time::Instant::now()
}

#[cfg(not(target_os = "linux"))]
fn passed(from: Count, to: Count) -> u64 {
    to.saturating_duration_since(from).as_micros() as u64
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
    #[cfg(target_os = "linux")]
    fn what_the_machine_has_slept_counts() {
        let clock = SystemClock { started: counted(), unix_micros: 1_700_000_000_000_000 };
        let asleep = 3_600_000_000;
        assert_eq!(clock.micros_at(clock.started), clock.unix_micros);
        assert_eq!(clock.micros_at(clock.started + asleep), clock.unix_micros + 3_600_000_000);
        assert_eq!(clock.micros_at(clock.started - 1), clock.unix_micros);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_clock_runs_with_the_uptime_that_counts_suspend() {
        let uptime = || -> f64 {
            let text = std::fs::read_to_string("/proc/uptime").expect("an uptime");
            text.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("seconds")
        };
        let (before, between, after) = (uptime(), counted() as f64 / 1e6, uptime());
        assert!(before - 0.02 <= between && between <= after + 0.02, "{before} <= {between} <= {after}");
    }

    #[test]
    fn the_system_clock_passes_as_time_does() {
        let clock = Clock::system();
        let (began, before) = (std::time::Instant::now(), clock.micros());
        std::thread::sleep(Duration::from_millis(20));
        let (passed, took) = (clock.micros() - before, began.elapsed().as_micros() as u64);
        assert!((20_000..=took + 1).contains(&passed), "{passed} of {took} microseconds");
        assert!(clock.to_wall(clock.now()).abs_diff(clock.wall_micros() / 1000) < DRIFT as u64);
    }

    #[test]
    fn drift_below_the_threshold_keeps_unix_deadlines_exact() {
        let hands = ManualClock::default();
        hands.set_wall_offset(-3);
        let clock = Clock::from(hands);
        assert_eq!(clock.from_wall(1_800_000_000_000), Millis(1_800_000_000_000));
    }
}
