//! Names at the door: which namespace a key belongs to, and what it is called inside.
//!
//! Under a namespace marked `secret` the part after the prefix is replaced by a keyed hash before anything else sees
//! it. `auth:session:<token>` becomes `auth:session:~` and 22 characters, so no listing, log or dump can show a token.
//! A name that already has that form is taken as it is: what KEYS lists can be read, timed and deleted. Whoever must
//! not be able to say such a name (a browser with a cookie) comes in through [`Names::secret`], which always hashes.

use std::borrow::Cow;
use std::fmt::Write as _;

use highway::{HighwayHash, HighwayHasher, Key};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::clock::Ttl;
use crate::config::Namespace;

/// Bytes of the hash that are kept: 128 bits, so that no two tokens ever meet.
const DIGEST: usize = 16;
/// The mark in front of a hash, which base64url, UUIDs and JWTs never start with, and the hash, six bits a letter.
const MARK: u8 = b'~';
const HASHED: usize = 1 + DIGEST.div_ceil(3) * 4 - 2;

/// What a hash is spelt with: the letters of base64url, which no pattern and no shell minds.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A stored name under construction; secret names fit without an allocation.
pub type NameBuf = SmallVec<[u8; 64]>;

/// The namespaces of a store.
pub(super) struct Names {
    /// Longest prefix first, so that the first match is the right one.
    rules: Vec<Rule>,
    /// The bytes that prefixes begin with, a bit each: most keys are told by one look that no rule is theirs.
    firsts: [u64; 4],
    /// Known to nobody, so that a hash that leaks cannot be compared with guesses.
    secret: NamesKey,
}

/// What the names of secret namespaces are hashed with. Who has it and a hash can try tokens against the hash, or look for
/// another token of the same hash, so it is kept as tokens are.
#[derive(Clone, PartialEq, Eq)]
pub struct NamesKey([u64; 4]);

impl NamesKey {
    /// Its bytes.
    pub const LEN: usize = 32;

    /// One that nobody knows.
    pub fn random() -> NamesKey {
        NamesKey([(); 4].map(|()| getrandom::u64().expect("the system has randomness")))
    }

    /// The one that [`NamesKey::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8; NamesKey::LEN]) -> NamesKey {
        let (words, _) = bytes.as_chunks::<8>();
        NamesKey([0, 1, 2, 3].map(|at: usize| u64::from_le_bytes(words[at])))
    }

    /// Its bytes, to be kept where nobody else can read them.
    pub fn to_bytes(&self) -> [u8; NamesKey::LEN] {
        let mut bytes = [0; NamesKey::LEN];
        bytes.iter_mut().zip(self.0.iter().flat_map(|word| word.to_le_bytes())).for_each(|(to, from)| *to = from);
        bytes
    }

    /// What tells two keys apart and nothing else about them: 16 hexadecimal digits.
    pub fn mark(&self) -> String {
        let digest = Sha256::new().chain_update(b"cloakroom names ").chain_update(self.to_bytes()).finalize();
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for NamesKey {
    /// Its mark only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NamesKey({})", self.mark())
    }
}

/// What a namespace asks of the store.
pub(super) struct Rule {
    prefix: Box<[u8]>,
    secret: bool,
    /// Whether sign-ins hang on what lies under it.
    pub login: bool,
    /// How long a key that was removed takes no writes.
    pub fence: Option<Ttl>,
}

impl Names {
    pub fn new(namespaces: &[Namespace], fence: Ttl, secret: NamesKey) -> Names {
        let mut rules: Vec<Rule> = namespaces
            .iter()
            .filter(|namespace| is_marked(namespace) || namespaces.iter().any(|other| is_inside(namespace, other)))
            .map(|namespace| Rule {
                prefix: namespace.prefix.as_slice().into(),
                secret: namespace.secret,
                login: namespace.login,
                fence: namespace.fence.then_some(fence),
            })
            .collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.len()));
        let mut firsts = [0; 4];
        for rule in &rules {
            match rule.prefix.first() {
                Some(first) => firsts[usize::from(first / 64)] |= 1 << (first % 64),
                None => firsts = [u64::MAX; 4],
            }
        }
        Names { rules, firsts, secret }
    }

    /// The namespace rule for a key, if one applies.
    pub fn rule(&self, key: &[u8]) -> Option<&Rule> {
        let first = key.first().copied().unwrap_or(0);
        if !key.is_empty() && self.firsts[usize::from(first / 64)] & 1 << (first % 64) == 0 {
            return None;
        }
        self.rules.iter().find(|rule| key.starts_with(&rule.prefix))
    }

    /// What a key is called inside, and the rule that applies to it.
    pub fn resolve<'a>(&self, key: &'a [u8], buf: &'a mut NameBuf) -> (&'a [u8], Option<&Rule>) {
        let Some(rule) = self.rule(key) else {
            return (key, None);
        };
        let rest = &key[rule.prefix.len()..];
        if !rule.secret || is_hashed(rest) {
            return (key, Some(rule));
        }
        self.hash_into(&rule.prefix, rest, buf);
        (buf, Some(rule))
    }

    /// What it hashes with.
    pub fn key(&self) -> &NamesKey {
        &self.secret
    }

    /// Whether a stored name is a hash.
    pub fn is_hash(&self, name: &[u8]) -> bool {
        self.rule(name).is_some_and(|rule| rule.secret && is_hashed(&name[rule.prefix.len()..]))
    }

    /// The stored name of a token, hashed whatever it looks like.
    pub fn secret(&self, prefix: &[u8], token: &[u8]) -> NameBuf {
        let mut buf = NameBuf::new();
        self.hash_into(prefix, token, &mut buf);
        buf
    }

    /// The bytes with every token of a secret namespace replaced, wherever in them it stands: a key, a pattern, a
    /// script. A token ends where no cookie value could go on.
    pub fn redacted<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let mut buf = NameBuf::new();
        if let (name, Some(rule)) = self.resolve(bytes, &mut buf)
            && rule.secret
            && bytes[rule.prefix.len()..].iter().any(|byte| is_token_byte(*byte))
        {
            // A word that is a key: all of the rest is the token, whatever bytes it has.
            return Cow::Owned(name.to_vec());
        }
        let mut shown = Cow::Borrowed(bytes);
        for rule in self.rules.iter().filter(|rule| rule.secret) {
            let mut from = 0;
            while let Some(at) = memchr::memmem::find(&shown[from..], &rule.prefix) {
                let start = from + at + rule.prefix.len();
                let len = shown[start..].iter().take_while(|byte| is_token_byte(**byte)).count();
                from = start + len;
                if len > 0 && !is_hashed(&shown[start..from]) {
                    let name = self.secret(&rule.prefix, &shown[start..from]);
                    shown.to_mut().splice(start - rule.prefix.len()..from, name.iter().copied());
                    from = start - rule.prefix.len() + name.len();
                }
            }
        }
        shown
    }

    fn hash_into(&self, prefix: &[u8], token: &[u8], buf: &mut NameBuf) {
        // A keyed hash that was made to be a pseudorandom function, and costs a third of SHA-256 at a token's length.
        let [low, high] = HighwayHasher::new(Key(self.secret.0)).hash128(token);
        let digest = u128::from(high) << 64 | u128::from(low);
        // Every look-up of a session does this; a general encoder takes as long as the hash.
        let mut text = [MARK; HASHED];
        for (at, letter) in text[1..].iter_mut().enumerate() {
            *letter = LETTERS[(digest >> (6 * at)) as usize % 64];
        }
        buf.clear();
        buf.extend_from_slice(prefix);
        buf.extend_from_slice(&text);
    }
}

/// Whether this has the form of a hash.
fn is_hashed(rest: &[u8]) -> bool {
    rest.len() == HASHED && rest[0] == MARK
}

/// Whether a cookie value may hold this byte (RFC 6265), less the glob characters that no token has.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"',;\\*?[]^".contains(&byte)
}

/// Whether a namespace asks anything of the store.
fn is_marked(namespace: &Namespace) -> bool {
    namespace.secret || namespace.fence || namespace.login
}

/// Whether a plain namespace is carved out of a marked one; only then must the store know it.
fn is_inside(plain: &Namespace, other: &Namespace) -> bool {
    is_marked(other) && plain.prefix.starts_with(&other.prefix)
}

impl std::fmt::Debug for Names {
    /// Prefixes only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for rule in &self.rules {
            f.write_str(&String::from_utf8_lossy(&rule.prefix))?;
            f.write_char(' ')?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let secret = Namespace {
            name: "S".into(),
            prefix: b"auth:session:".to_vec(),
            ttl: Ttl::seconds(5),
            secret: true,
            fence: true,
            login: false,
            jitter: 0.0,
        };
        Names::new(&[secret], Ttl::seconds(10), NamesKey::random())
    }

    fn stored(names: &Names, key: &[u8]) -> Vec<u8> {
        names.resolve(key, &mut NameBuf::new()).0.to_vec()
    }

    #[test]
    fn a_secret_key_is_hashed_and_short() {
        let names = names();
        let name = stored(&names, &[b"auth:session:".as_slice(), &[b'x'; 400]].concat());
        assert!(name.starts_with(b"auth:session:~"));
        assert_eq!(name.len(), 36);
        assert_ne!(name, stored(&names, b"auth:session:x"));
    }

    #[test]
    fn a_listed_name_is_its_own_name_but_never_for_a_browser() {
        let names = names();
        let name = stored(&names, b"auth:session:token");
        assert_eq!(stored(&names, &name), name);
        assert_ne!(names.secret(b"auth:session:", &name[13..]).to_vec(), name);
        assert_eq!(names.secret(b"auth:session:", b"token").to_vec(), name);
    }

    #[test]
    fn another_store_hashes_differently() {
        assert_ne!(stored(&names(), b"auth:session:t"), stored(&names(), b"auth:session:t"));
    }

    #[test]
    fn a_key_that_was_kept_finds_the_same_names_again() {
        let key = NamesKey::random();
        let again = NamesKey::from_bytes(&key.to_bytes());
        assert_eq!((&again, again.mark()), (&key, key.mark()));
        assert_ne!(key.mark(), NamesKey::random().mark());
        let space = Namespace::predefined();
        let stored = |key| Names::new(&space, Ttl(1), key).secret(b"auth:session:", b"t").to_vec();
        assert_eq!(stored(key.clone()), stored(again));
        assert!(!format!("{key:?}").contains(&key.to_bytes().map(|byte| format!("{byte:02x}")).concat()));
    }

    #[test]
    fn a_token_is_redacted_wherever_it_stands() {
        let names = names();
        let name = String::from_utf8(stored(&names, b"auth:session:s3cret.x_y-z")).expect("ASCII");
        let redacted = |text: &str| String::from_utf8_lossy(&names.redacted(text.as_bytes())).into_owned();
        assert_eq!(redacted("auth:session:s3cret.x_y-z"), name);
        assert_eq!(redacted("call('GET', 'auth:session:s3cret.x_y-z') 2"), format!("call('GET', '{name}') 2"));
        assert_eq!(redacted(&format!("two: {name} {name}")), format!("two: {name} {name}"));
        assert_eq!(redacted("auth:session:*"), "auth:session:*");
        assert!(!redacted("auth:session:half \"and half").contains("half"));
        assert_eq!(redacted("plain"), "plain");
    }

    #[test]
    fn the_longest_prefix_decides_also_when_it_asks_nothing() {
        let space = |prefix: &[u8], secret| Namespace {
            name: String::new(),
            prefix: prefix.to_vec(),
            ttl: Ttl::seconds(5),
            secret,
            fence: secret,
            login: false,
            jitter: 0.0,
        };
        let names =
            Names::new(&[space(b"auth:", true), space(b"auth:public:", false)], Ttl::seconds(10), NamesKey::random());
        assert_eq!(stored(&names, b"auth:public:logo"), b"auth:public:logo");
        assert!(names.rule(b"auth:public:logo").is_some_and(|rule| rule.fence.is_none()));
        assert!(stored(&names, b"auth:publi").starts_with(b"auth:~"));
        // A plain namespace that no other covers costs no look-up.
        assert!(Names::new(&[space(b"user:", false)], Ttl::seconds(10), NamesKey::random()).rules.is_empty());
    }

    #[test]
    fn other_keys_pass_unchanged() {
        assert_eq!(stored(&names(), b"auth:sess"), b"auth:sess");
    }
}
