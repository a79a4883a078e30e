//! What is out of the ordinary on a server, as one word that each request looks at once.
//!
//! A request that finds nothing in it need not ask who may do what, who watches, or what is held back. Each bit is
//! changed where what it stands for is, under the same lock.

use std::sync::atomic::{AtomicU32, Ordering};

/// Something that is out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Oddity {
    /// The default user may not do everything.
    Limited = 1,
    /// A script runs that takes so long that others are told so.
    Busy = 1 << 1,
    /// Writes are refused because they could not be kept.
    Unsaved = 1 << 2,
    /// Commands are held by CLIENT PAUSE.
    Paused = 1 << 3,
    /// Somebody is told of keys that it has read.
    Tracked = 1 << 4,
    /// Somebody watches with MONITOR.
    Monitored = 1 << 5,
}

/// All that is. It is read by every worker and seldom written, so it shares no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Unusual(AtomicU32);

impl Unusual {
    /// Whether anything is.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Whether this is.
    #[inline]
    pub fn is(&self, what: Oddity) -> bool {
        self.0.load(Ordering::Relaxed) & what as u32 != 0
    }

    /// Says whether this is, and tells whether it was.
    pub(super) fn set(&self, what: Oddity, on: bool) -> bool {
        let bit = what as u32;
        let before = match on {
            true => self.0.fetch_or(bit, Ordering::SeqCst),
            false => self.0.fetch_and(!bit, Ordering::SeqCst),
        };
        before & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_and_goes_by_itself() {
        let unusual = Unusual::default();
        assert!(!unusual.is_any());
        assert!(!unusual.set(Oddity::Busy, true) && !unusual.set(Oddity::Paused, true));
        assert!(unusual.set(Oddity::Busy, false) && !unusual.is(Oddity::Busy));
        assert!(unusual.is_any() && unusual.is(Oddity::Paused));
        assert!(unusual.set(Oddity::Paused, false) && !unusual.is_any());
    }
}
