//! Where a server is: `redis://[user:password@]host[:port][/database]`.

use std::fmt;

/// The port where nobody says otherwise.
const PORT: u16 = 6379;

/// An address. Shown, it is host and port alone.
#[derive(Clone)]
pub struct Address {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who logs in; empty for the default user.
    pub user: String,
    /// The password; empty for none.
    pub password: String,
    /// The database, if one is named.
    pub database: Option<usize>,
}

impl Address {
    /// A server on this machine.
    pub fn own(port: u16, password: String) -> Address {
        Address { host: "127.0.0.1".into(), port, user: String::new(), password, database: None }
    }

    /// The request that logs in, where one is needed.
    pub fn login(&self) -> Option<Vec<&[u8]>> {
        match (self.user.as_bytes(), self.password.as_bytes()) {
            (b"", b"") => None,
            (b"", password) => Some(vec![b"AUTH", password]),
            (user, password) => Some(vec![b"AUTH", user, password]),
        }
    }

    /// Reads a URL. What is wrong is said without it, as it may hold a password.
    pub fn parse(url: &str) -> Result<Address, String> {
        const FORM: &str = "an address is redis://[user:password@]host[:port][/database]";
        if url.starts_with("rediss://") {
            return Err("TLS is not spoken here: use redis:// through a tunnel such as stunnel".into());
        }
        let rest = url.strip_prefix("redis://").ok_or(FORM)?;
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        // redis-cli takes a lone word for the password too.
        let (user, password) = if login.contains(':') { (user, password) } else { ("", user) };
        let (place, database) = place.split_once('/').unwrap_or((place, ""));
        let database = match database {
            "" => None,
            text => {
                Some(text.parse().map_err(|_| format!("behind the slash stands the number of a database; {FORM}"))?)
            }
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(FORM)?,
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| format!("a port is a number up to 65535; {FORM}"))?,
            None if port.is_empty() => PORT,
            None => return Err(FORM.into()),
        };
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Address { host: host.into(), port, user: plain(user)?, password: plain(password)?, database })
    }

    /// An error that the server gave, and what helps.
    pub fn trouble(&self, why: &str) -> String {
        let cure = match why.split(' ').next().unwrap_or_default() {
            "NOAUTH" | "WRONGPASS" => ": put user and password into its address, redis://user:password@host",
            "NOPERM" => ": its user needs SCAN, DUMP, PTTL, TYPE, INFO, SELECT, and RESTORE where keys are put",
            "OOM" => ": give it more maxmemory",
            "READONLY" => ": copy into its master",
            "LOADING" => ": wait until it has loaded its data",
            "MOVED" => ": a cluster cannot be copied as a whole; copy each of its masters, into one server",
            _ => "",
        };
        format!("{self}: {why}{cure}")
    }
}

/// Undoes percent signs.
fn plain(text: &str) -> Result<String, String> {
    const WRONG: &str = "a percent sign in user or password stands for two hexadecimal digits: write %25 for itself";
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte == b'%' {
            let (digits, behind) = rest.split_first_chunk::<2>().ok_or(WRONG)?;
            let digits = std::str::from_utf8(digits).map_err(|_| WRONG)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
            rest = behind;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| WRONG.into())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_parts() {
        let parts = |url: &str| {
            let address = Address::parse(url).expect(url);
            (address.to_string(), address.user, address.password, address.database)
        };
        let text = str::to_owned;
        assert_eq!(parts("redis://h"), (text("h:6379"), text(""), text(""), None));
        assert_eq!(parts("redis://u:p%40:@h:1/2"), (text("h:1"), text("u"), text("p@:"), Some(2)));
        assert_eq!(parts("redis://:p@[::1]:1/"), (text("[::1]:1"), text(""), text("p"), None));
        assert_eq!(parts("redis://p@h"), (text("h:6379"), text(""), text("p"), None));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in ["h:1", "rediss://s3cret@h", "redis://s3cret@h:x", "redis://s3cret@h/x", "redis://s3cret%@h"] {
            let why = Address::parse(url).expect_err(url);
            assert!(!why.contains("s3cret") && why.lines().count() == 1, "{why}");
        }
        assert!(!format!("{:?}", Address::parse("redis://u:s3cret@h")).contains("s3cret"));
    }
}
