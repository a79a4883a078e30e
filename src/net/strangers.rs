//! Who came to the wrong door: clients that speak another protocol are refused, and each address is logged once.
//!
//! A misdirected health check comes back every second for ever; one line says all there is to say about it.

use std::collections::HashSet;
use std::net::IpAddr;

use parking_lot::Mutex;
use tracing::{info, warn};

/// Addresses that are remembered. With one more all are forgotten, so that strangers take a few kilobytes at most and
/// each is logged again only after so many others.
const REMEMBERED_MAX: usize = 1024;

/// What a TLS client is told, in its own protocol: fatal, protocol_version.
pub(super) const TLS_ALERT: &str = "\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}\u{46}";

/// Whether these are the first bytes of a TLS handshake.
pub(super) fn is_tls(first: &[u8]) -> bool {
    matches!(first, [0x16] | [0x16, 3, ..])
}

/// The addresses that one door has refused.
#[derive(Default)]
pub(super) struct Strangers(Mutex<HashSet<IpAddr>>);

impl Strangers {
    /// Logs that somebody at this address spoke `protocol` to a door for `door`, unless that was said already.
    pub fn note(&self, door: &str, protocol: &str, address: IpAddr) {
        let address = address.to_canonical();
        if self.is_new(address) {
            warn!(peer = %address, protocol, "Not {door}: refused (logged once for this address)");
        }
    }

    /// Logs that somebody at this address sent what is no request, unless something was said of it already.
    pub fn note_nonsense(&self, error: &dyn std::fmt::Display, address: IpAddr) {
        let address = address.to_canonical();
        if self.is_new(address) {
            info!(peer = %address, %error, "protocol error (logged once for this address)");
        }
    }

    /// Logs that hands could not be shaken with somebody at this address, unless that was said already.
    pub fn note_handshake(&self, door: &str, error: &std::io::Error, address: IpAddr) {
        let address = address.to_canonical();
        if self.is_new(address) {
            warn!(peer = %address, door, %error, "TLS handshake failed (logged once for this address)");
        }
    }

    fn is_new(&self, address: IpAddr) -> bool {
        let mut seen = self.0.lock();
        if seen.len() >= REMEMBERED_MAX && !seen.contains(&address) {
            seen.clear();
        }
        seen.insert(address)
    }
}

/// The first word of a request that a browser was tricked into sending, or of an HTTP client at the wrong port.
pub(super) fn is_http(word: Option<&[u8]>) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case(b"POST") || word.eq_ignore_ascii_case(b"Host:"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_is_new_once_and_no_more_are_remembered_than_fit() {
        let strangers = Strangers::default();
        let address = |number: usize| IpAddr::from(Ipv4Addr::from_bits(number as u32));
        for _ in 0..3 {
            let fresh = (0..REMEMBERED_MAX).filter(|number| strangers.is_new(address(*number))).count();
            assert!(fresh == REMEMBERED_MAX || fresh == 0);
        }
        assert!(!strangers.is_new(address(7)));
        assert!(strangers.is_new(address(REMEMBERED_MAX)));
        assert_eq!(strangers.0.lock().len(), 1);
        assert!(strangers.is_new(address(7)));
    }
}
