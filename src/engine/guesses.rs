//! Back-off for who guesses passwords: an address with several failures behind it is refused for growing spans.
//!
//! While a span lasts no password of that address is looked at, also not the right one: whoever tries many at once
//! learns no more than who tries one. Between two spans the door is open, and a right password leaves it open, so
//! that a service which shares its address with one that has an old password comes in all the same. A right password
//! does not wipe the failures out, or a guesser with a user of his own could wipe out his. Clients on this machine are
//! not kept waiting: behind a proxy, or a tunnel, everybody comes from there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::clock::{Millis, Ttl};

/// Failures that have no consequence: people mistype, and services restart with an old password.
const FREE: u32 = 5;

/// The span after the first failure too many; each further one doubles it ...
const FIRST: Ttl = Ttl::seconds(1);

/// ... up to this. So slow, a million of the commonest passwords take half a year, and a service that shares the
/// address is not kept out for long.
const LONGEST: Ttl = Ttl::seconds(16);

/// After so long without a failure an address begins anew.
const FORGET: Ttl = Ttl::seconds(600);

/// Addresses that are remembered, in about 200 KB. When there are more, the one that failed longest ago goes.
const REMEMBERED_MAX: usize = 4096;

/// The failures of all addresses.
#[derive(Default)]
pub struct Guesses {
    /// How many addresses there are, so that nobody takes the lock while there are none.
    count: AtomicUsize,
    table: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Millis,
    until: Millis,
}

impl Guesses {
    /// How long whoever asks from this address has to wait, if he has to; `None` for an address is this machine.
    pub fn wait(&self, ip: Option<IpAddr>, now: Millis) -> Option<Ttl> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let until = self.table.lock().get(&source(ip?)?)?.until;
        (now < until).then(|| until.since(now))
    }

    /// Notes that a password from there was wrong.
    pub fn note(&self, ip: Option<IpAddr>, now: Millis) {
        let Some(source) = ip.and_then(source) else { return };
        let mut table = self.table.lock();
        if table.len() >= REMEMBERED_MAX && !table.contains_key(&source) {
            table.retain(|_, failures| now < failures.last + FORGET);
            let oldest = table.iter().min_by_key(|(_, failures)| failures.last).map(|(source, _)| *source);
            if let Some(oldest) = oldest.filter(|_| table.len() >= REMEMBERED_MAX) {
                table.remove(&oldest);
            }
        }
        let failures = table.entry(source).or_insert(Failures { count: 0, last: now, until: now });
        if failures.last + FORGET <= now {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(doublings) = failures.count.checked_sub(FREE) {
            failures.until = now + Ttl(FIRST.0 << doublings.min(16)).min(LONGEST);
        }
        self.count.store(table.len(), Ordering::Relaxed);
    }
}

/// Whom an address stands for: of IPv6 whoever has one has the 2^64 around it. Nobody, if it is this machine.
fn source(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(ip) => Some(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)))),
        ip => Some(ip),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn spans_grow_to_their_longest_and_are_forgotten() {
        let (guesses, them) = (Guesses::default(), ip("10.0.0.1"));
        let mut now = Millis(1_000_000);
        let mut spans = Vec::new();
        for _ in 0..12 {
            guesses.note(them, now);
            let span = guesses.wait(them, now).unwrap_or(Ttl(0));
            spans.push(span.0 / 1000);
            assert_eq!(guesses.wait(ip("10.0.0.2"), now), None);
            now = now + span;
            assert_eq!(guesses.wait(them, now), None, "over");
        }
        assert_eq!(spans, [0, 0, 0, 0, 1, 2, 4, 8, 16, 16, 16, 16]);
        now = now + FORGET;
        guesses.note(them, now);
        assert_eq!(guesses.wait(them, now), None, "begun anew");
    }

    #[test]
    fn this_machine_is_not_kept_waiting_and_a_network_is_one_source() {
        let (guesses, now) = (Guesses::default(), Millis(1));
        for _ in 0..20 {
            for here in [None, ip("127.0.0.1"), ip("::1"), ip("::ffff:127.0.0.1")] {
                guesses.note(here, now);
                assert_eq!(guesses.wait(here, now), None);
            }
            guesses.note(ip("2001:db8::1"), now);
        }
        assert!(guesses.wait(ip("2001:db8::ffff"), now).is_some());
        assert_eq!(guesses.wait(ip("2001:db8:0:1::1"), now), None);
    }

    #[test]
    fn no_more_are_remembered_than_fit_and_the_latest_are() {
        let guesses = Guesses::default();
        for number in 0..REMEMBERED_MAX as u32 + 10 {
            let them = Some(IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number)));
            for _ in 0..FREE {
                guesses.note(them, Millis(1_000 + u64::from(number)));
            }
            assert!(guesses.wait(them, Millis(1_000 + u64::from(number))).is_some());
        }
        assert_eq!(guesses.table.lock().len(), REMEMBERED_MAX);
        assert!(!guesses.table.lock().contains_key(&ip("10.0.0.0").expect("an address")));
    }
}
