//! Where clients come from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a client comes from, or came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addr {
    /// An address and a port.
    Ip(SocketAddr),
    /// A Unix socket, whose path all its clients share.
    Unix(Arc<str>),
}

impl Addr {
    /// Whether that is this machine itself.
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }

    /// The address alone, IPv4 as such; `None` for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Addr::Ip(addr) => Some(addr.ip().to_canonical()),
            Addr::Unix(_) => None,
        }
    }

    /// Whether it is a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Addr::Unix(_))
    }

    /// As MONITOR has it.
    pub fn monitored(&self) -> String {
        match self {
            Addr::Ip(addr) => addr.to_string(),
            Addr::Unix(path) => format!("unix:{path}"),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Addr {
        Addr::Ip(addr)
    }
}

impl fmt::Display for Addr {
    /// As CLIENT LIST has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Ip(addr) => addr.fmt(f),
            Addr::Unix(path) => write!(f, "{path}:0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_weighs_no_more_for_what_else_it_may_be() {
        assert_eq!(size_of::<Addr>(), size_of::<SocketAddr>());
    }

    #[test]
    fn this_machine_is_told_in_each_of_its_names() {
        let is = |text: &str| Addr::from(text.parse::<SocketAddr>().expect("an address")).is_local();
        assert!(is("127.0.0.1:1") && is("127.9.9.9:1") && is("[::1]:1") && is("[::ffff:127.0.0.1]:1"));
        assert!(!is("10.0.0.1:1") && !is("[::2]:1") && !is("[::ffff:10.0.0.1]:1"));
        let path = Addr::Unix("/run/c.sock".into());
        assert!(path.is_local());
        assert_eq!((path.to_string(), path.monitored()), ("/run/c.sock:0".to_owned(), "unix:/run/c.sock".to_owned()));
    }
}
