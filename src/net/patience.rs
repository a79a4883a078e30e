//! How long clients may take, so that who says little, slowly or nothing takes no place for long.

use std::time::Duration;

use crate::clock::Ttl;

/// Bytes a second that an unfinished RESP request must gain on the whole. A modem does, a client that sends one byte now
/// and then does not.
const SLOWEST: u64 = 4 * 1024;

/// For how long who still sends is heard out, to no effect, before its connection is closed: to close a socket on which
/// something lies unread, or still comes, throws away answers that are on their way. Enough for a slow link, short enough
/// for a shutdown.
pub(super) const HEARD_OUT: Duration = Duration::from_secs(2);

/// Who has been silent for so long, and knows of the end, has nothing on its way: a round trip to the other side of the earth.
pub(super) const QUIET: Duration = Duration::from_millis(300);

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until its first byte. RESP clients that need no login have for ever where `timeout` is 0.
    pub first_byte: Duration,
    /// Over TLS from the first byte to the last of the handshake, which comes before all else.
    pub handshake: Duration,
    /// Over HTTP for a whole head, and between two requests; over RESP for a whole request, large ones longer.
    pub head: Duration,
    /// Over HTTP for the body of a sign-out, between two pieces of one that is handed on (a third of it
    /// in all for one that comes slower than 1 KB a second), and before it takes more of its answer.
    pub body: Duration,
    /// Over RESP between two requests before it has logged in, where it must.
    pub stranger: Duration,
    /// Over RESP before it must have logged in, whatever it says meanwhile.
    pub login: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        let [short, long] = [10, 30].map(Duration::from_secs);
        Patience { first_byte: short, handshake: short, head: long, body: long, stranger: short, login: long }
    }
}

impl Patience {
    /// How long a RESP client may take for a request of which so many bytes have arrived.
    pub(super) fn request(&self, arrived: usize) -> Ttl {
        Ttl(millis(self.head).0 + arrived as u64 * 1000 / SLOWEST)
    }
}

/// The same length below the network.
pub(super) fn millis(length: Duration) -> Ttl {
    Ttl(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_request_has_the_time_that_a_slow_line_takes_for_it() {
        let patience = Patience::default();
        assert_eq!(patience.request(20), Ttl(30_004));
        assert_eq!(patience.request(1 << 20), Ttl::seconds(30 + 256));
    }
}
