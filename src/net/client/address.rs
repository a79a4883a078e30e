//! Where a Redis server is, in the words that its clients know: `redis://`, `rediss://` over TLS, `unix://` at a socket.

use std::fmt;

use crate::net::dial::{Place, Trust};

/// The port where nobody says otherwise.
const PORT: u16 = 6379;

const FORM: &str = "an address is redis://[user:password@]host[:port][/database], rediss:// the same over TLS, or \
                    unix:///path/of/socket[?db=database]";

/// An address. Shown, it is host and port, or a path, alone.
#[derive(Clone)]
pub struct Address {
    /// Where the server is.
    pub place: Place,
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
        Address::at("127.0.0.1".to_owned(), port, password)
    }

    /// A server at this name or address, without TLS.
    pub fn at(host: String, port: u16, password: String) -> Address {
        Address { place: Place::Tcp { host, port, tls: None }, user: String::new(), password, database: None }
    }

    /// The request that logs in, where one is needed.
    pub fn login(&self) -> Option<Vec<&[u8]>> {
        match (self.user.as_bytes(), self.password.as_bytes()) {
            (b"", b"") => None,
            (b"", password) => Some(vec![b"AUTH", password]),
            (user, password) => Some(vec![b"AUTH", user, password]),
        }
    }

    /// Reads a URL. What is wrong is said without it, as it may hold a password. Over TLS the server is known by this.
    pub fn parse(url: &str, trust: &Trust) -> Result<Address, String> {
        let (scheme, rest) = url.split_once("://").ok_or(FORM)?;
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => Address::port(rest, None),
            "rediss" => Address::port(rest, Some(trust.clone())),
            "unix" | "redis+unix" => Address::socket(rest),
            _ => Err(FORM.into()),
        }
    }

    /// What stands behind the scheme of a port.
    fn port(rest: &str, tls: Option<Trust>) -> Result<Address, String> {
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (user, password, place) = login(rest);
        let (place, database) = place.split_once('/').unwrap_or((place, ""));
        let database = if database.is_empty() { None } else { Some(number(database)?) };
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
        let place = Place::Tcp { host: host.into(), port, tls };
        Ok(Address { place, user: plain(user)?, password: plain(password)?, database })
    }

    /// What stands behind the scheme of a socket. Libraries differ in where they have user and password: all are taken.
    fn socket(rest: &str) -> Result<Address, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, password, path) = login(rest);
        if !path.starts_with('/') {
            return Err(FORM.into());
        }
        let (mut user, mut password, mut database) = (plain(user)?, plain(password)?, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "db" => database = Some(number(value)?),
                "user" | "username" => user = plain(value)?,
                "pass" | "password" => password = plain(value)?,
                _ => {}
            }
        }
        Ok(Address { place: Place::Unix(plain(path)?.into()), user, password, database })
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
            _ if why.contains("DB index is out of range") => ": set databases to more there, or name another",
            _ => "",
        };
        // Redis ends some of its errors like sentences, and others not.
        let why = if cure.is_empty() { why } else { why.trim_end_matches('.') };
        format!("{self}: {why}{cure}")
    }
}

/// User and password before the last at sign, and what stands behind it.
fn login(text: &str) -> (&str, &str, &str) {
    let (login, place) = text.rsplit_once('@').unwrap_or(("", text));
    // redis-cli takes a lone word for the password too.
    let (user, password) = login.split_once(':').unwrap_or(("", login));
    (user, password, place)
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("a database is a number; {FORM}"))
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
        self.place.fmt(f)
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
            let address = Address::parse(url, &Trust::default()).expect(url);
            (address.to_string(), address.user, address.password, address.database)
        };
        let text = str::to_owned;
        assert_eq!(parts("redis://h"), (text("h:6379"), text(""), text(""), None));
        assert_eq!(parts("redis://u:p%40:@h:1/2"), (text("h:1"), text("u"), text("p@:"), Some(2)));
        assert_eq!(parts("redis://:p@[::1]:1/"), (text("[::1]:1"), text(""), text("p"), None));
        assert_eq!(parts("redis://p@h"), (text("h:6379"), text(""), text("p"), None));
        assert_eq!(parts("REDISS://u:p@h/1"), (text("h:6379"), text("u"), text("p"), Some(1)));
        for url in ["unix://u:p@/run/a%20b?db=3", "redis+unix:///run/a%20b?user=u&pass=p&db=3&x=y"] {
            assert_eq!(parts(url), (text("/run/a b"), text("u"), text("p"), Some(3)), "{url}");
        }
        let is_secure = |url| {
            matches!(Address::parse(url, &Trust::default()), Ok(Address { place: Place::Tcp { tls: Some(_), .. }, .. }))
        };
        assert!(is_secure("rediss://h") && !is_secure("redis://h"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "h:1",
            "http://s3cret@h",
            "redis://s3cret@h:x",
            "redis://s3cret@h/x",
            "redis://s3cret%@h",
            "unix://s3cret@h",
            "unix://s3cret@/a?db=x",
        ] {
            let why = Address::parse(url, &Trust::default()).expect_err(url);
            assert!(!why.contains("s3cret") && why.lines().count() == 1, "{why}");
        }
        assert!(!format!("{:?}", Address::parse("redis://u:s3cret@h", &Trust::default())).contains("s3cret"));
    }
}
