//! When something is sent next, and what is said when that changes.

use std::time::Duration;

/// How long is waited after the first failure; twice as long after each more.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// How long at most, also where a collector asks for more: it may be back.
const RETRY_MAX: Duration = Duration::from_secs(60);

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

    /// It was not taken: how long to wait until the next try, where the collector has asked for this much.
    pub fn failed(&mut self, asked: Option<Duration>) -> (Duration, Option<News>) {
        let news = (!self.fails()).then_some(News::Fails);
        let doubled = RETRY_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        (doubled.max(asked.unwrap_or_default()).min(RETRY_MAX), news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_waited_for_longer_and_told_once() {
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(pace.sent(), (Duration::from_secs(5), None));
        let told: Vec<_> = (0..100).map(|_| pace.failed(None)).collect();
        assert_eq!(told[0], (RETRY_MIN, Some(News::Fails)));
        assert_eq!(told[3], (RETRY_MIN * 8, None));
        assert!(told[6..].iter().all(|told| *told == (RETRY_MAX, None)));
        assert_eq!(pace.sent(), (Duration::from_secs(5), Some(News::Recovered)));
        assert_eq!(pace.failed(None), (RETRY_MIN, Some(News::Fails)));
    }

    #[test]
    fn a_collector_that_asks_for_time_gets_it_but_not_for_ever() {
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(pace.failed(Some(Duration::from_secs(20))).0, Duration::from_secs(20));
        assert_eq!(pace.failed(Some(Duration::from_secs(86_400))).0, RETRY_MAX);
    }
}
