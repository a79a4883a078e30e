//! Named parts of the key space, each with a prefix and the rules for what lies under it.
//!
//! Written `NAME prefix=user: ttl=300s secret=yes fence=yes jitter=0.1`, any number of them in a row; `secret`,
//! `fence` and `login` alone mean yes. Naming one that exists changes only what is written.

use std::fmt;
use std::str::FromStr;

use super::param::{read_span, show_span, yes_or_no};
use super::words;
use crate::clock::Ttl;

/// A named part of the key space and its rules.
///
/// ```
/// use cloakroom::{Store, clock::Ttl, config::Namespace};
///
/// let mut namespaces = Namespace::predefined();
/// // Up to a fifth shorter, so that what was stored together is not asked for again all at once.
/// namespaces.push(Namespace { jitter: 0.2, ..Namespace::new("MENU", "menu:", Ttl::seconds(100)) });
/// let store = Store::builder().namespaces(namespaces).build();
/// store.cache("MENU").expect("named above").put(b"monday", b"soup")?;
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// The name, as `CACHE_CONFIGS.SESSION` has it.
    pub name: String,
    /// Its keys begin with these bytes. The longest prefix that fits a key decides.
    pub prefix: Vec<u8>,
    /// How long an entry put through this namespace lives.
    pub ttl: Ttl,
    /// Whether the rest of a key is a secret: it is hashed at the door and shown nowhere.
    pub secret: bool,
    /// Whether removing an entry refuses late writes of what was asked for before.
    pub fence: bool,
    /// Whether its entries are what keeps people signed in and are nowhere else, so that they are evicted last.
    pub login: bool,
    /// By how much a TTL may be shortened at random so that entries do not all die at once; a share of it, 0 to 1.
    pub jitter: f64,
}

impl Namespace {
    /// The name of the namespace of sessions.
    ///
    /// ```
    /// use cloakroom::{Store, config::Namespace};
    ///
    /// assert!(Store::new().cache(Namespace::SESSION).is_some());
    /// ```
    pub const SESSION: &str = "SESSION";

    /// A namespace that asks for nothing but a prefix and a TTL.
    ///
    /// ```
    /// use cloakroom::{clock::Ttl, config::Namespace};
    ///
    /// let menus = Namespace::new("MENU", "menu:", Ttl::seconds(100));
    /// assert!(!menus.secret && !menus.fence && menus.jitter == 0.0);
    /// ```
    pub fn new(name: impl Into<String>, prefix: impl Into<Vec<u8>>, ttl: Ttl) -> Namespace {
        let (name, prefix) = (name.into(), prefix.into());
        Namespace { name, prefix, ttl, secret: false, fence: false, login: false, jitter: 0.0 }
    }

    /// Session answers, user profiles, dashboards, and the logins that session stores keep under `sess:`: what is there
    /// when nobody configures any.
    ///
    /// ```
    /// use cloakroom::config::Namespace;
    ///
    /// let predefined = Namespace::predefined();
    /// let names: Vec<&str> = predefined.iter().map(|namespace| namespace.name.as_str()).collect();
    /// assert_eq!(names, ["SESSION", "USER_PROFILE", "DASHBOARD", "LOGIN"]);
    /// assert!(predefined[0].secret && predefined[0].fence);
    /// ```
    pub fn predefined() -> Vec<Namespace> {
        let plain = |name: &str, prefix: &str, ttl| Namespace::new(name, prefix, ttl);
        vec![
            Namespace { secret: true, fence: true, ..plain(Namespace::SESSION, "auth:session:", Ttl::seconds(5)) },
            plain("USER_PROFILE", "user:", Ttl::seconds(300)),
            plain("DASHBOARD", "dash:", Ttl::seconds(60)),
            Namespace { login: true, ..plain("LOGIN", "sess:", Ttl::seconds(86_400)) },
        ]
    }
}

/// All namespaces, in the order in which they were named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Namespaces(pub Vec<Namespace>);

/// More than this are a mistake, and every key is held against each prefix.
const NAMESPACES_MAX: usize = 64;

/// The longest life an entry can be given by a setting: ten years.
pub(super) const TTL_MAX: Ttl = Ttl::seconds(10 * 366 * 86_400);

impl Namespaces {
    /// The one with this name.
    pub fn named(&self, name: &str) -> Option<&Namespace> {
        self.0.iter().find(|space| space.name == name)
    }

    /// Changes the namespace of sessions, which is always there.
    pub(super) fn change_session(&self, change: impl FnOnce(&mut Namespace)) -> Result<Namespaces, String> {
        let mut changed = self.clone();
        if let Some(session) = changed.0.iter_mut().find(|space| space.name == Namespace::SESSION) {
            change(session);
        }
        changed.check()?;
        Ok(changed)
    }

    /// Reads definitions over these.
    pub(super) fn merge(&self, text: &str) -> Result<Namespaces, String> {
        let words = words::split(text).ok_or("unbalanced quotes")?;
        let mut merged = self.clone();
        let mut current = None;
        for word in &words {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, value),
                None if matches!(word.as_str(), "secret" | "fence" | "login") => (word.as_str(), "yes"),
                None => {
                    current = Some(merged.open(word)?);
                    continue;
                }
            };
            let at = current.ok_or("a namespace begins with its name: NAME prefix=user: ttl=300s")?;
            merged.0[at].set(key, value)?;
        }
        merged.check()?;
        Ok(merged)
    }

    /// The place of the namespace with this name; a new one if there is none.
    fn open(&mut self, name: &str) -> Result<usize, String> {
        if let Some(at) = self.0.iter().position(|space| space.name == name) {
            return Ok(at);
        }
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if name.is_empty() || !name.bytes().all(good) {
            return Err("the name of a namespace is made of letters, digits, '-' and '_'".to_owned());
        }
        if self.0.len() == NAMESPACES_MAX {
            return Err(format!("there may be {NAMESPACES_MAX} namespaces"));
        }
        self.0.push(Namespace::new(name, Vec::new(), Ttl(0)));
        Ok(self.0.len() - 1)
    }

    fn check(&self) -> Result<(), String> {
        for (i, space) in self.0.iter().enumerate() {
            let name = &space.name;
            if space.prefix.is_empty() || space.ttl == Ttl(0) {
                return Err(format!("namespace {name} needs a prefix and a ttl: {name} prefix=user: ttl=300s"));
            }
            if let Some(twin) = self.0[..i].iter().find(|other| other.prefix == space.prefix) {
                return Err(format!("namespaces {} and {name} have the same prefix", twin.name));
            }
        }
        Ok(())
    }
}

impl Namespace {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            // As in all other settings: a file of settings could not be written with it.
            "prefix" if value.contains('\0') => return Err("a prefix must not contain a NUL byte".to_owned()),
            "prefix" => self.prefix = value.into(),
            "ttl" => {
                self.ttl = read_span(value)
                    .filter(|ttl| *ttl <= TTL_MAX)
                    .ok_or("ttl must be a length of time with its unit, such as 500ms, 5s, 2m or 1h")?;
            }
            "secret" => self.secret = yes_or_no(value).ok_or("secret must be 'yes' or 'no'")?,
            "fence" => self.fence = yes_or_no(value).ok_or("fence must be 'yes' or 'no'")?,
            "login" => self.login = yes_or_no(value).ok_or("login must be 'yes' or 'no'")?,
            "jitter" => {
                self.jitter = value
                    .parse()
                    .ok()
                    .filter(|share| (0.0..=1.0).contains(share))
                    .ok_or("jitter must be a share of the ttl between 0 and 1")?;
            }
            _ => return Err("a namespace has prefix, ttl, secret, fence, login and jitter".to_owned()),
        }
        Ok(())
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, space) in self.0.iter().enumerate() {
            let gap = if i > 0 { " " } else { "" };
            write!(f, "{gap}{space}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = words::quote(&format!("prefix={}", String::from_utf8_lossy(&self.prefix)));
        write!(f, "{} {prefix} ttl={}", self.name, show_span(self.ttl))?;
        for (name, marked) in [("secret", self.secret), ("fence", self.fence), ("login", self.login)] {
            write!(f, " {name}={}", super::show_bool(marked))?;
        }
        write!(f, " jitter={}", self.jitter)
    }
}

impl FromStr for Namespaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Namespaces, String> {
        Namespaces::default().merge(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_reads_what_it_shows() {
        let all = Namespaces(Namespace::predefined());
        assert_eq!(all.to_string().parse(), Ok(all.clone()));
        let odd = all.merge(r#"ODD "prefix=my app\\\"s:" ttl=1500ms secret jitter=0.25"#).expect("reads");
        assert_eq!(odd.named("ODD").expect("there").prefix, b"my app\\\"s:");
        assert_eq!(odd.to_string().parse(), Ok(odd));
    }

    #[test]
    fn naming_one_again_changes_only_what_is_written() {
        let all = Namespaces(Namespace::predefined()).merge("SESSION ttl=10s").expect("reads");
        let session = all.named("SESSION").expect("there");
        assert_eq!(session.ttl, Ttl::seconds(10));
        assert!(session.secret && session.fence);
    }

    #[test]
    fn a_namespace_that_makes_no_sense_is_refused_with_the_reason() {
        let all = Namespaces(Namespace::predefined());
        for (text, reason) in [
            ("prefix=a:", "begins with its name"),
            ("A prefix=a:", "needs a prefix and a ttl"),
            ("A ttl=5s", "needs a prefix and a ttl"),
            ("A prefix=user: ttl=5s", "USER_PROFILE and A have the same prefix"),
            ("A prefix=a: ttl=5", "ttl must be"),
            ("A prefix=a: ttl=5s jitter=2", "jitter must be"),
            ("A prefix=a: ttl=5s secret=perhaps", "secret must be"),
            ("A prefix=a: ttl=5s colour=red", "prefix, ttl, secret, fence, login and jitter"),
            ("A! prefix=a: ttl=5s", "letters, digits"),
            ("A \"prefix=a", "unbalanced quotes"),
        ] {
            let refusal = all.merge(text).expect_err(text);
            assert!(refusal.contains(reason), "{text}: {refusal}");
        }
    }
}
