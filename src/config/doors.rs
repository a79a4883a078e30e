//! What the settings say of doors: where they are, and whether they can be opened like that.

use super::{Bind, Config};

/// The settings of the REST door.
#[derive(Clone, Default, PartialEq)]
pub struct Rest {
    /// `rest-token`; empty for no such door.
    pub token: String,
    /// `rest-readonly-token`; empty for none.
    pub readonly_token: String,
    /// `rest-path`, with a slash before it and none behind it.
    pub path: String,
    /// `rest-user`
    pub user: String,
}

impl Config {
    /// The addresses of the HTTP door.
    #[cfg_attr(doc, doc(hidden))]
    pub fn http_addresses(&self) -> &[Bind] {
        if self.http_bind.0.is_empty() { &self.bind.0 } else { &self.http_bind.0 }
    }

    /// Refuses one port for two doors.
    pub(super) fn check_ports(&self) -> Result<(), String> {
        let (resp, http) = (self.bind.0.as_slice(), self.http_addresses());
        let doors = [
            ("port", self.port, resp),
            ("tls-port", self.tls_port.number(), resp),
            ("http-port", self.http_port, http),
            ("http-tls-port", self.http_tls_port.number(), http),
        ];
        for (at, (name, port, binds)) in doors.iter().enumerate() {
            for (other, same, theirs) in &doors[..at] {
                let meet = || binds.iter().any(|bind| theirs.iter().any(|their| meets(bind, their)));
                if *port != 0 && port == same && meet() {
                    return Err(format!("{other} and {name} are both {port}: give one of them another port"));
                }
            }
        }
        if !self.unixsocket.is_empty() && self.unixsocket == self.http_unixsocket {
            return Err("unixsocket and http-unixsocket are the same path: give one of them another".to_owned());
        }
        Ok(())
    }

    /// The port for Redis clients without TLS, 0 for any that is free; `None` for no such door. As in Redis, 0 means
    /// none where there is another way in.
    #[cfg_attr(doc, doc(hidden))]
    pub fn plain_port(&self) -> Option<u16> {
        let other = self.tls_port.is_on() || !self.unixsocket.is_empty();
        (self.port != 0 || !other).then_some(self.port)
    }

    /// The same for HTTP.
    #[cfg_attr(doc, doc(hidden))]
    pub fn plain_http_port(&self) -> Option<u16> {
        let other = self.http_tls_port.is_on() || !self.http_unixsocket.is_empty();
        (self.http_port != 0 || !other).then_some(self.http_port)
    }

    /// Whether any door speaks TLS.
    #[cfg_attr(doc, doc(hidden))]
    pub fn uses_tls(&self) -> bool {
        self.tls_port.is_on() || self.http_tls_port.is_on()
    }

    /// Whether clients from elsewhere are kept out or must log in; the reason if not, with its cure.
    #[cfg_attr(doc, doc(hidden))]
    pub fn check_doors(&self, needs_auth: bool) -> Result<(), String> {
        if self.plain_port().is_none() && !self.tls_port.is_on() {
            return Ok(());
        }
        match self.bind.0.iter().find(|bind| !bind.address.is_loopback()) {
            Some(open) if self.protected_mode && !needs_auth => Err(format!(
                "bind {} would let anybody in: set requirepass, or protected-mode no if that is meant",
                open.address
            )),
            _ => Ok(()),
        }
    }
}

fn meets(a: &Bind, b: &Bind) -> bool {
    a.address == b.address || a.address.is_unspecified() || b.address.is_unspecified()
}
