//! The access clock of an entry: 24 bits that say when, or how often, it was last read.
//!
//! Under LRU policies they are seconds; under LFU policies, as in Redis, sixteen bits of minutes and a logarithmic
//! counter of eight; under `logins-last` twenty bits of seconds, which is twelve days, and a logarithmic counter of four.
//! Which of the three is a setting of the family, not of the entry.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::clock::Millis;
use crate::config::Policy;

/// What an access clock says, in the units that OBJECT IDLETIME and OBJECT FREQ answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Seconds since the last access.
    Idle(u64),
    /// The logarithmic counter.
    Frequency(u8),
    /// Seconds since the last access, and the logarithm of how many there were.
    Both(u64, u8),
}

impl Access {
    /// Seconds since the last access, if they are counted.
    pub fn idle(self) -> Option<u64> {
        match self {
            Access::Idle(seconds) | Access::Both(seconds, _) => Some(seconds),
            Access::Frequency(_) => None,
        }
    }
}

/// What access clocks count.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Counts {
    Time,
    Frequency,
    Both,
}

impl Counts {
    fn of(policy: Policy) -> Counts {
        match policy {
            Policy::AllkeysLfu | Policy::VolatileLfu => Counts::Frequency,
            Policy::LoginsLast => Counts::Both,
            _ => Counts::Time,
        }
    }
}

const CLOCK_MASK: u64 = 0x00ff_ffff;
/// Where the counter begins when both are counted, and how far it goes.
const BOTH_BITS: u32 = 20;
const BOTH_MASK: u32 = (1 << BOTH_BITS) - 1;
const BOTH_MAX: u32 = 15;
/// What a new entry starts with under LFU, so that it is not the first to go.
const LFU_INIT: u32 = 5;

/// How the family counts accesses.
pub(super) struct Mode {
    /// A [`Counts`] as its number.
    counts: AtomicU8,
    log_factor: AtomicU32,
    /// Minutes after which the counter loses one.
    decay: AtomicU32,
    /// A step of chance for the logarithmic counter; its own little generator, as the quality hardly matters.
    dice: AtomicU32,
}

impl Default for Mode {
    fn default() -> Mode {
        Mode {
            counts: AtomicU8::new(Counts::Both as u8),
            log_factor: AtomicU32::new(10),
            decay: AtomicU32::new(1),
            dice: AtomicU32::new(0x2545_f491),
        }
    }
}

fn seconds(now: Millis) -> u32 {
    ((now.0 / 1000) & CLOCK_MASK) as u32
}

fn minutes(now: Millis) -> u32 {
    ((now.0 / 60_000) & 0xffff) as u32
}

impl Mode {
    pub fn set(&self, policy: Policy, log_factor: u32, decay: u32) {
        self.counts.store(Counts::of(policy) as u8, Ordering::Relaxed);
        self.log_factor.store(log_factor, Ordering::Relaxed);
        self.decay.store(decay, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        match self.counts.load(Ordering::Relaxed) {
            0 => Counts::Time,
            1 => Counts::Frequency,
            _ => Counts::Both,
        }
    }

    /// The clock of a new entry.
    pub fn created(&self, now: Millis) -> u32 {
        match self.counts() {
            Counts::Time => seconds(now),
            Counts::Frequency => minutes(now) << 8 | LFU_INIT,
            Counts::Both => seconds(now) & BOTH_MASK,
        }
    }

    /// The clock of an entry that is read now.
    #[inline]
    pub fn touched(&self, access: u32, now: Millis) -> u32 {
        match self.counts() {
            Counts::Time => seconds(now),
            Counts::Frequency => minutes(now) << 8 | self.grown(self.decayed(access, now)),
            Counts::Both => doubled(access, now) << BOTH_BITS | seconds(now) & BOTH_MASK,
        }
    }

    /// What a clock says now.
    pub fn read(&self, access: u32, now: Millis) -> Access {
        let idle = |mask: u32| u64::from(seconds(now).wrapping_sub(access) & mask);
        match self.counts() {
            Counts::Time => Access::Idle(idle(CLOCK_MASK as u32)),
            Counts::Frequency => Access::Frequency(self.decayed(access, now) as u8),
            Counts::Both => Access::Both(idle(BOTH_MASK), (access >> BOTH_BITS) as u8),
        }
    }

    /// A clock that says so now, as far as it can: an idle time under LRU, a frequency under LFU.
    pub fn of(&self, access: Access, now: Millis) -> u32 {
        let idle = |mask: u32| (seconds(now).wrapping_sub(access.idle().unwrap_or(0) as u32)) & mask;
        match (self.counts(), access) {
            (Counts::Time, _) => idle(CLOCK_MASK as u32),
            (Counts::Frequency, Access::Frequency(count)) => minutes(now) << 8 | u32::from(count),
            (Counts::Frequency, _) => self.created(now),
            (Counts::Both, Access::Both(_, count)) => u32::from(count) << BOTH_BITS | idle(BOTH_MASK),
            (Counts::Both, _) => idle(BOTH_MASK),
        }
    }

    fn decayed(&self, access: u32, now: Millis) -> u32 {
        let (counter, since) = (access & 0xff, minutes(now).wrapping_sub(access >> 8) & 0xffff);
        let lost = since.checked_div(self.decay.load(Ordering::Relaxed)).unwrap_or(0);
        counter.saturating_sub(lost)
    }

    /// One more access: the higher the counter, the less likely it grows.
    fn grown(&self, counter: u32) -> u32 {
        if counter == 255 {
            return 255;
        }
        let mut dice = self.dice.load(Ordering::Relaxed);
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        self.dice.store(dice, Ordering::Relaxed);
        let base = u64::from(counter.saturating_sub(LFU_INIT));
        let odds = base * u64::from(self.log_factor.load(Ordering::Relaxed)) + 1;
        if u64::from(dice) * odds <= u64::from(u32::MAX) { counter + 1 } else { counter }
    }
}

/// The counter of four bits after one more access: it goes up by one for each doubling, so with a chance that halves
/// with each step. What is drawn lots with is the time and the clock itself, as a generator that all threads share would
/// cost more than the rest of a read; accesses within one millisecond so count once.
fn doubled(access: u32, now: Millis) -> u32 {
    let counter = access >> BOTH_BITS;
    let lot = (now.0 ^ u64::from(access) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match lot.leading_zeros() >= counter && counter < BOTH_MAX {
        true => counter + 1,
        false => counter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Ttl;

    #[test]
    fn idle_time_is_in_seconds_since_the_last_read() {
        let (mode, now) = (Mode::default(), Millis(1_700_000_000_000));
        mode.set(Policy::AllkeysLru, 10, 1);
        let access = mode.created(now);
        assert_eq!(mode.read(access, now + Ttl::seconds(90)), Access::Idle(90));
        assert_eq!(mode.read(mode.touched(access, now + Ttl::seconds(90)), now + Ttl::seconds(91)), Access::Idle(1));
    }

    #[test]
    fn a_counter_grows_with_use_and_fades_with_minutes() {
        let (mode, now) = (Mode::default(), Millis(1_700_000_000_000));
        mode.set(Policy::VolatileLfu, 10, 1);
        let mut access = mode.created(now);
        for _ in 0..1000 {
            access = mode.touched(access, now);
        }
        let Access::Frequency(busy) = mode.read(access, now) else { panic!("LFU counts") };
        assert!((10..60).contains(&busy), "{busy}");
        assert_eq!(mode.read(access, now + Ttl::seconds(60 * 255)), Access::Frequency(0));
    }

    #[test]
    fn both_are_counted_for_logins_last() {
        let (mode, mut now) = (Mode::default(), Millis(1_700_000_000_000));
        let mut means = [0.0; 3];
        for (mean, (rounds, accesses)) in means.iter_mut().zip([(400, 8), (200, 128), (50, 2048)]) {
            for _ in 0..rounds {
                let mut access = mode.created(now);
                for _ in 0..accesses {
                    now = now + Ttl(7);
                    access = mode.touched(access, now);
                }
                let Access::Both(idle, count) = mode.read(access, now + Ttl::seconds(90)) else { panic!("both count") };
                assert_eq!(idle, 90);
                *mean += f64::from(count) / f64::from(rounds);
            }
        }
        // The logarithm of 8, 128 and 2048, give or take what chance does.
        assert!((2.5..3.5).contains(&means[0]), "{means:?}");
        assert!((6.0..8.0).contains(&means[1]), "{means:?}");
        assert!((10.0..12.0).contains(&means[2]), "{means:?}");
    }
}
