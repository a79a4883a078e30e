//! When something is sent next, and what is said when that changes.

use std::time::Duration;

/// How long is waited after the first failure; twice as long after each more.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// How long at most, as long as a collector asks for nothing: it may be back.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How long where it asks for more. Hosted ones do when a quota is used up; one that names a year has made a mistake.
const ASKED_MAX: Duration = Duration::from_secs(60 * 60);

/// How often one kind of thing is sent.
#[derive(Clone, Debug)]
pub struct Pace {
    every: Duration,
    failures: u32,
}

/// What is to be said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It fails for the first time.
    Fails,
    /// It goes well again.
    Recovered,
}

impl Pace {
    /// That of something that is to go out so often.
    pub fn new(every: Duration) -> Pace {
        Pace { every, failures: 0 }
    }

    /// Whether the last one failed.
    pub fn fails(&self) -> bool {
        self.failures > 0
    }

    /// It was sent: how long to wait until the next.
    pub fn sent(&mut self) -> (Duration, Option<News>) {
        let news = self.fails().then_some(News::Recovered);
        self.failures = 0;
        (self.every, news)
    }

    /// It was not taken for now: how long to wait until the next try, where the collector has asked for this much. Of what is
    /// not asked for `dice` takes up to a quarter, so that servers that were refused together do not come back together.
    pub fn failed(&mut self, asked: Option<Duration>, dice: u32) -> (Duration, Option<News>) {
        let news = (!self.fails()).then_some(News::Fails);
        let doubled = RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        let less = (doubled / 4).mul_f64(f64::from(dice) / f64::from(u32::MAX));
        ((doubled - less).max(asked.unwrap_or_default().min(ASKED_MAX)), news)
    }

    /// It was refused for good: how long to wait until the next, which is something else and comes no sooner than it would
    /// have anyway.
    pub fn refused(&mut self, dice: u32) -> (Duration, Option<News>) {
        let (wait, news) = self.failed(None, dice);
        (wait.max(self.every), news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_waited_for_longer_and_told_once() {
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(pace.sent(), (Duration::from_secs(5), None));
        let told: Vec<_> = (0..100).map(|_| pace.failed(None, 0)).collect();
        assert_eq!(told[0], (RETRY_MIN, Some(News::Fails)));
        assert_eq!(told[3], (RETRY_MIN * 8, None));
        assert!(told[6..].iter().all(|told| *told == (RETRY_MAX, None)));
        assert_eq!(pace.sent(), (Duration::from_secs(5), Some(News::Recovered)));
        assert_eq!(pace.failed(None, 0), (RETRY_MIN, Some(News::Fails)));
    }

    #[test]
    fn those_that_failed_together_do_not_try_again_together() {
        let wait = |dice| {
            let mut pace = Pace::new(Duration::from_secs(5));
            (0..9).map(|_| pace.failed(None, dice).0).max()
        };
        assert_eq!([wait(0), wait(u32::MAX)], [Some(RETRY_MAX), Some(RETRY_MAX * 3 / 4)]);
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(pace.failed(Some(Duration::from_secs(7)), u32::MAX).0, Duration::from_secs(7));
    }

    #[test]
    fn what_was_refused_for_good_brings_nothing_sooner() {
        let mut pace = Pace::new(Duration::from_secs(50));
        let told: Vec<_> = (0..7).map(|_| pace.refused(0)).collect();
        assert_eq!((told[0], told[5].0), ((Duration::from_secs(50), Some(News::Fails)), Duration::from_secs(50)));
        assert_eq!(told[6], (RETRY_MAX, None));
        assert_eq!(pace.sent().1, Some(News::Recovered));
    }

    #[test]
    fn a_collector_that_asks_for_time_gets_it_but_not_for_ever() {
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(pace.failed(Some(Duration::from_secs(200)), 0).0, Duration::from_secs(200));
        assert_eq!(pace.failed(Some(Duration::from_secs(86_400)), 0).0, ASKED_MAX);
    }
}
