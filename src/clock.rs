//! Time, as everything below the network is told it.
//!
//! Instants are milliseconds on the store's own timeline: the Unix time at start plus what the machine has counted
//! since, the time that it was suspended included. A wall clock that is set forward or back while the server runs
//! therefore expires nothing early and keeps nothing longer, and a machine that wakes up finds dead what died while it
//! slept. Commands that name an absolute Unix time translate it at the door with [`Clock::from_wall`].
//!
//! Only the edge asks a [`Clock`]; all else takes `now: Millis` as an argument.
//!
//! ```
//! use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
//!
//! // A program asks its clock once, and says to each call what time it is.
//! let now = Clock::system().now();
//! let deadline = now + Ttl::seconds(5);
//! assert_eq!(deadline.since(now), Ttl(5_000));
//!
//! // A test moves time itself.
//! let hands = ManualClock::at(Millis(1_000));
//! hands.advance(Ttl::seconds(5));
//! assert_eq!(Clock::from(hands).now(), Millis(6_000));
//! ```

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant in milliseconds on the store's timeline.
///
/// Instants and lengths are types of their own, so that neither is taken for the other.
///
/// ```
/// use cloakroom::clock::{Millis, Ttl};
///
/// let now = Millis(1_700_000_000_000);
/// assert!(now < now + Ttl(1));
/// assert_eq!(now - Ttl::seconds(2), Millis(1_699_999_998_000));
/// // What lives too long to be counted lives for ever.
/// assert_eq!(now + Ttl(u64::MAX), Millis::NEVER);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// A length of time in milliseconds.
///
/// ```
/// use std::time::Duration;
/// use cloakroom::clock::Ttl;
///
/// assert_eq!(Ttl::seconds(5), Ttl(5_000));
/// assert_eq!(Ttl::from(Duration::from_secs(5)), Ttl::seconds(5));
/// // What lasts at all lasts for a millisecond.
/// assert_eq!(Ttl::from(Duration::from_nanos(1)), Ttl(1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub u64);

impl Millis {
    /// The deadline of what has none.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Millis};
    ///
    /// let store = Store::new();
    /// let now = store.clock().now();
    /// store.with(b"coat", now, |slot| slot.put_bytes(b"blue", Millis::NEVER))?;
    /// assert!(store.get(b"coat", Millis(u64::MAX - 1), |_| ()).is_some());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub const NEVER: Millis = Millis(u64::MAX);

    /// What has passed since an earlier instant, or is left from `earlier` until this one; zero if that is not earlier.
    ///
    /// ```
    /// use cloakroom::clock::{Millis, Ttl};
    ///
    /// let (now, deadline) = (Millis(1_000), Millis(4_500));
    /// assert_eq!(deadline.since(now), Ttl(3_500));
    /// assert_eq!(now.since(deadline), Ttl(0));
    /// ```
    pub fn since(self, earlier: Millis) -> Ttl {
        Ttl(self.0.saturating_sub(earlier.0))
    }
}

impl Ttl {
    /// A length given in whole seconds; the longest there is if they are too many to be counted in milliseconds.
    ///
    /// ```
    /// use cloakroom::clock::Ttl;
    ///
    /// const HOUR: Ttl = Ttl::seconds(3_600);
    /// assert_eq!(HOUR.0, 3_600_000);
    /// assert_eq!(Ttl::seconds(u64::MAX), Ttl(u64::MAX));
    /// ```
    pub const fn seconds(seconds: u64) -> Ttl {
        Ttl(seconds.saturating_mul(1000))
    }

    /// The same length for the standard library, as a thread that sleeps wants it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cloakroom::clock::Ttl;
    ///
    /// assert_eq!(Ttl(1_500).duration(), Duration::from_millis(1_500));
    /// ```
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Ttl {
    /// A part of a millisecond counts as a whole one, so that only nothing becomes nothing.
    fn from(duration: Duration) -> Ttl {
        Ttl(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Duration {
        ttl.duration()
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
///
/// ```
/// use cloakroom::clock::{Clock, ManualClock, Ttl};
///
/// let clock = Clock::system();
/// assert!(clock.now() <= clock.now());
///
/// // Whoever takes a clock takes a test's as well.
/// let hands = ManualClock::default();
/// let clock: Clock = hands.clone().into();
/// let before = clock.now();
/// hands.advance(Ttl(7));
/// assert_eq!(clock.now().since(before), Ttl(7));
/// ```
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clocks.
    System(SystemClock),
    /// A clock that only moves when a test moves it.
    Manual(ManualClock),
}

/// The machine's clocks, tied together once at start. [`Clock::system`] makes one.
///
/// ```
/// use cloakroom::clock::Clock;
///
/// assert!(matches!(Clock::system(), Clock::System(_)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    /// What [`counted`] said at start.
    started: Count,
    /// Microseconds of Unix time at start.
    unix_micros: u64,
}

/// A clock that stands still until it is told to move. Clones share the same hands.
///
/// ```
/// use cloakroom::{Store, clock::{ManualClock, Ttl}};
///
/// let hands = ManualClock::default();
/// let store = Store::builder().clock(hands.clone()).build();
/// store.put(b"coat", b"blue", Ttl::seconds(3_600))?;
///
/// hands.advance(Ttl::seconds(3_600)); // and nobody has waited an hour
/// assert_eq!(store.fetch(b"coat"), None);
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    micros: Arc<AtomicU64>,
    wall_offset: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock, anchored now: later it counts what has passed, whatever is done to the wall clock.
    ///
    /// ```
    /// use std::time::{SystemTime, UNIX_EPOCH};
    /// use cloakroom::clock::Clock;
    ///
    /// let unix = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    /// assert!(Clock::system().now().0 >= unix);
    /// # Ok::<(), std::time::SystemTimeError>(())
    /// ```
    pub fn system() -> Clock {
        Clock::System(SystemClock { started: counted(), unix_micros: unix_micros() })
    }

    /// The instant on the store's timeline. A few dozen nanoseconds: read it once for a batch of calls.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// let now = store.clock().now();
    /// let fresh = |key: &[u8]| store.write(key, b"blue", now, |slot, fresh| slot.put(fresh.until(now + Ttl(5))));
    /// fresh(b"coat")?;
    /// fresh(b"hat")?;
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn now(&self) -> Millis {
        Millis(self.micros() / 1000)
    }

    /// The same timeline in microseconds, for durations.
    #[cfg_attr(doc, doc(hidden))]
    pub fn micros(&self) -> u64 {
        match self {
            Clock::System(clock) => clock.micros_at(counted()),
            Clock::Manual(clock) => clock.micros.load(Ordering::Relaxed),
        }
    }

    /// The wall clock in microseconds of Unix time; it may have been set since start.
    #[cfg_attr(doc, doc(hidden))]
    pub fn wall_micros(&self) -> u64 {
        match self {
            Clock::System(_) => unix_micros(),
            Clock::Manual(clock) => self.micros().saturating_add_signed(clock.wall_offset.load(Ordering::Relaxed)),
        }
    }

    /// An absolute Unix time in milliseconds, as an instant on the store's timeline.
    ///
    /// ```
    /// use cloakroom::clock::{Clock, ManualClock, Millis};
    ///
    /// let hands = ManualClock::at(Millis(1_700_000_000_000));
    /// let clock = Clock::from(hands.clone());
    /// assert_eq!(clock.from_wall(1_700_000_060_000), Millis(1_700_000_060_000));
    ///
    /// // Somebody sets the wall clock an hour ahead: the same minute from now has another name.
    /// hands.set_wall_offset(3_600_000);
    /// assert_eq!(clock.from_wall(1_700_003_660_000), Millis(1_700_000_060_000));
    /// ```
    pub fn from_wall(&self, unix: u64) -> Millis {
        Millis(unix.saturating_add_signed(-self.wall_offset()))
    }

    /// An instant on the store's timeline, as Unix time in milliseconds: what other programs are told of a deadline.
    ///
    /// ```
    /// use cloakroom::clock::{Clock, Ttl};
    ///
    /// let clock = Clock::system();
    /// let deadline = clock.now() + Ttl::seconds(60);
    /// assert_eq!(clock.from_wall(clock.to_wall(deadline)), deadline);
    /// ```
    pub fn to_wall(&self, at: Millis) -> u64 {
        at.0.saturating_add_signed(self.wall_offset())
    }

    /// How far the wall clock has been moved since start, in milliseconds. What both clocks drift apart without being
    /// set (less than [`DRIFT`]) is no move: a deadline given in Unix time then reads back exactly as it was given.
    fn wall_offset(&self) -> i64 {
        let read = || Some((self.wall_micros() as i64 - self.micros() as i64) / 1000).filter(|ms| ms.abs() >= DRIFT);
        // Who is held up between the two readings finds the clocks apart as well, but not twice.
        read().and_then(|_| read()).unwrap_or(0)
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
    /// It stands at a Unix time in 2023.
    fn default() -> ManualClock {
        ManualClock::at(Millis(1_700_000_000_000))
    }
}

impl ManualClock {
    /// A clock that stands at `now`.
    ///
    /// ```
    /// use cloakroom::clock::{ManualClock, Millis};
    ///
    /// assert_eq!(ManualClock::at(Millis(7)).now(), Millis(7));
    /// ```
    pub fn at(now: Millis) -> ManualClock {
        ManualClock { micros: Arc::new(AtomicU64::new(now.0 * 1000)), wall_offset: Arc::default() }
    }

    /// The instant it stands at.
    ///
    /// ```
    /// use cloakroom::clock::{ManualClock, Ttl};
    ///
    /// let hands = ManualClock::default();
    /// let before = hands.now();
    /// assert_eq!(hands.now(), before, "it stands");
    /// ```
    pub fn now(&self) -> Millis {
        Millis(self.micros.load(Ordering::Relaxed) / 1000)
    }

    /// Moves time forward, for all clones.
    ///
    /// ```
    /// use cloakroom::clock::{ManualClock, Millis, Ttl};
    ///
    /// let hands = ManualClock::at(Millis(1_000));
    /// hands.clone().advance(Ttl::seconds(1));
    /// assert_eq!(hands.now(), Millis(2_000));
    /// ```
    pub fn advance(&self, ttl: Ttl) {
        self.micros.fetch_add(ttl.0 * 1000, Ordering::Relaxed);
    }

    /// Sets the wall clock `offset` milliseconds off the timeline, as an administrator or NTP would. Less than half a second
    /// is taken for drift.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Ttl}};
    ///
    /// let hands = ManualClock::default();
    /// let store = Store::builder().clock(hands.clone()).build();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    ///
    /// hands.set_wall_offset(86_400_000); // a day ahead
    /// assert!(store.fetch(b"coat").is_some(), "only what has passed counts");
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
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
