//! What is logged of a source that fails: the first of it, from then on one line each ten seconds, and that it is over.
//!
//! While an application is down every session that ends its time here is a failure, by the thousand a second.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::cache::SessionCache;
use crate::clock::{Millis, Ttl};

/// Between two lines about the same trouble, and without trouble until it is over: a source that fails now and then is
/// not told to be well in between.
const PAUSE: Ttl = Ttl::seconds(10);

/// Whether the source fails, as the log has it.
#[derive(Default)]
pub(super) struct Complaints {
    /// What is asked where the source has answered.
    is_failing: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
}

struct Trouble {
    since: Millis,
    /// When the last line was written.
    said: Millis,
    last: Millis,
    /// Failures since that line.
    unsaid: u64,
    failures: u64,
}

/// That the source is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovery {
    /// From the first failure to the last.
    pub lasted: Ttl,
    pub failures: u64,
}

impl Complaints {
    /// The source has failed. `Some` if that is to be logged, with how many failures were not since the line before.
    pub fn failed(&self, now: Millis) -> Option<u64> {
        let mut trouble = self.trouble.lock();
        let Some(known) = trouble.as_mut() else {
            *trouble = Some(Trouble { since: now, said: now, last: now, unsaid: 0, failures: 1 });
            self.is_failing.store(true, Ordering::Relaxed);
            return Some(0);
        };
        known.failures += 1;
        known.last = now;
        if now.since(known.said) < PAUSE {
            known.unsaid += 1;
            return None;
        }
        known.said = now;
        Some(std::mem::take(&mut known.unsaid))
    }

    /// The source has answered. `Some` if that ends a trouble which has been told.
    pub fn answered(&self, now: Millis) -> Option<Recovery> {
        if !self.is_failing.load(Ordering::Relaxed) {
            return None;
        }
        let mut trouble = self.trouble.lock();
        let over = trouble.take_if(|known| now.since(known.last) >= PAUSE)?;
        self.is_failing.store(false, Ordering::Relaxed);
        Some(Recovery { lasted: over.last.since(over.since), failures: over.failures })
    }
}

impl SessionCache {
    /// Whether a failure of the source that was seen elsewhere is to be logged: with how many were not since the line before.
    #[cfg_attr(doc, doc(hidden))]
    pub fn complain(&self, now: Millis) -> Option<u64> {
        self.core.complaints.failed(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_a_line_at_its_beginning_one_each_ten_seconds_and_one_at_its_end() {
        let complaints = Complaints::default();
        assert_eq!(complaints.answered(Millis(5)), None);
        let said: Vec<_> =
            (0..25_000).step_by(10).filter_map(|at| Some((at, complaints.failed(Millis(at))?))).collect();
        assert_eq!(said, [(0, 0), (10_000, 999), (20_000, 999)]);
        assert_eq!(complaints.answered(Millis(25_000)), None, "it may have failed a moment ago");
        let over = Recovery { lasted: Ttl(24_990), failures: 2_500 };
        assert_eq!(complaints.answered(Millis(34_990)), Some(over));
        assert_eq!(complaints.answered(Millis(34_991)), None);
        assert_eq!(complaints.failed(Millis(34_992)), Some(0), "another outage is told at once");
    }

    #[test]
    fn a_source_that_fails_now_and_then_is_not_told_to_be_well_in_between() {
        let complaints = Complaints::default();
        let mut lines = 0;
        for at in (0..60_000).step_by(100).map(Millis) {
            lines += u32::from(complaints.failed(at).is_some());
            lines += u32::from(complaints.answered(at).is_some());
        }
        assert_eq!(lines, 6);
    }
}
