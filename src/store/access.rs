//! The access clock of an entry: 24 bits that say when, or how often, it was last read.
//!
//! Under LRU policies they are seconds; under LFU policies, as in Redis, sixteen bits of minutes and a logarithmic
//! counter of eight. Which of the two is a setting of the family, not of the entry.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::clock::Millis;

/// What an access clock says, in the units that OBJECT IDLETIME and OBJECT FREQ answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Seconds since the last access.
    Idle(u64),
    /// The logarithmic counter.
    Frequency(u8),
}

const CLOCK_MASK: u64 = 0x00ff_ffff;
/// What a new entry starts with under LFU, so that it is not the first to go.
const LFU_INIT: u32 = 5;

/// How the family counts accesses.
pub(super) struct Mode {
    lfu: AtomicBool,
    log_factor: AtomicU32,
    /// Minutes after which the counter loses one.
    decay: AtomicU32,
    /// A step of chance for the logarithmic counter; its own little generator, as the quality hardly matters.
    dice: AtomicU32,
}

impl Default for Mode {
    fn default() -> Mode {
        Mode {
            lfu: AtomicBool::new(false),
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
    pub fn set(&self, lfu: bool, log_factor: u32, decay: u32) {
        self.lfu.store(lfu, Ordering::Relaxed);
        self.log_factor.store(log_factor, Ordering::Relaxed);
        self.decay.store(decay, Ordering::Relaxed);
    }

    /// The clock of a new entry.
    pub fn created(&self, now: Millis) -> u32 {
        if self.lfu.load(Ordering::Relaxed) { minutes(now) << 8 | LFU_INIT } else { seconds(now) }
    }

    /// The clock of an entry that is read now.
    pub fn touched(&self, access: u32, now: Millis) -> u32 {
        if !self.lfu.load(Ordering::Relaxed) {
            return seconds(now);
        }
        let counter = self.decayed(access, now);
        minutes(now) << 8 | self.grown(counter)
    }

    /// What a clock says now.
    pub fn read(&self, access: u32, now: Millis) -> Access {
        if self.lfu.load(Ordering::Relaxed) {
            Access::Frequency(self.decayed(access, now) as u8)
        } else {
            Access::Idle(u64::from(seconds(now).wrapping_sub(access) & CLOCK_MASK as u32))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Ttl;

    #[test]
    fn idle_time_is_in_seconds_since_the_last_read() {
        let (mode, now) = (Mode::default(), Millis(1_700_000_000_000));
        let access = mode.created(now);
        assert_eq!(mode.read(access, now + Ttl::seconds(90)), Access::Idle(90));
        assert_eq!(mode.read(mode.touched(access, now + Ttl::seconds(90)), now + Ttl::seconds(91)), Access::Idle(1));
    }

    #[test]
    fn a_counter_grows_with_use_and_fades_with_minutes() {
        let (mode, now) = (Mode::default(), Millis(1_700_000_000_000));
        mode.set(true, 10, 1);
        let mut access = mode.created(now);
        for _ in 0..1000 {
            access = mode.touched(access, now);
        }
        let Access::Frequency(busy) = mode.read(access, now) else { panic!("LFU counts") };
        assert!((10..60).contains(&busy), "{busy}");
        assert_eq!(mode.read(access, now + Ttl::seconds(60 * 255)), Access::Frequency(0));
    }
}
