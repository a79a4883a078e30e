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

/// What secret names are hashed under. Stores made with the same key call a token the same, so that what one wrote down
/// the next can match; without it nobody can tell whose hash a hash is.
///
/// ```
/// use cloakroom::store::NamingKey;
///
/// let key = NamingKey::random();
/// assert_ne!(key, NamingKey::random());
/// // To be kept where only this program can read it.
/// let kept: [u8; NamingKey::LEN] = *key.bytes();
/// assert_eq!(NamingKey::new(kept), key);
/// assert_eq!(format!("{key:?}"), "NamingKey(***)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct NamingKey([u8; NamingKey::LEN]);

impl NamingKey {
    /// Bytes of a key.
    ///
    /// ```
    /// # use cloakroom::store::NamingKey;
    /// assert_eq!(NamingKey::random().bytes().len(), NamingKey::LEN);
    /// ```
    pub const LEN: usize = 32;

    /// A new key from the system's randomness.
    ///
    /// ```
    /// # use cloakroom::store::NamingKey;
    /// assert_ne!(NamingKey::random(), NamingKey::random());
    /// ```
    pub fn random() -> NamingKey {
        let mut bytes = [0; NamingKey::LEN];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        NamingKey(bytes)
    }

    /// The key with these bytes.
    ///
    /// ```
    /// # use cloakroom::store::NamingKey;
    /// assert_eq!(NamingKey::new([7; 32]), NamingKey::new([7; 32]));
    /// ```
    pub fn new(bytes: [u8; NamingKey::LEN]) -> NamingKey {
        NamingKey(bytes)
    }

    /// Its bytes: as secret as the tokens themselves.
    ///
    /// ```
    /// # use cloakroom::store::NamingKey;
    /// assert_eq!(NamingKey::new([7; 32]).bytes(), &[7; 32]);
    /// ```
    pub fn bytes(&self) -> &[u8; NamingKey::LEN] {
        &self.0
    }

    /// A number that tells keys apart and gives nothing of them away.
    #[cfg_attr(doc, doc(hidden))]
    pub fn mark(&self) -> u64 {
        let digest = Sha256::new().chain_update(b"which key this is").chain_update(self.0).finalize();
        digest[..8].iter().fold(0, |mark, byte| mark << 8 | u64::from(*byte))
    }

    fn words(&self) -> Key {
        let (words, _) = self.0.as_chunks();
        Key(std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word))))
    }
}

impl std::fmt::Debug for NamingKey {
    /// Nothing of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NamingKey(***)")
    }
}

/// The namespaces of a store.
pub(super) struct Names {
    /// Longest prefix first, so that the first match is the right one.
    rules: Vec<Rule>,
    /// The bytes that prefixes begin with, a bit each: most keys are told by one look that no rule is theirs.
    firsts: [u64; 4],
    /// Nobody else's, so that a hash that leaks cannot be compared with guesses.
    key: NamingKey,
    /// Its words.
    secret: Key,
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
    pub fn new(namespaces: &[Namespace], fence: Ttl, key: &NamingKey) -> Names {
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
        Names { rules, firsts, key: key.clone(), secret: key.words() }
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
    pub fn key(&self) -> &NamingKey {
        &self.key
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
        let [low, high] = HighwayHasher::new(self.secret).hash128(token);
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
        Names::new(&[secret], Ttl::seconds(10), &NamingKey::random())
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
    fn another_key_hashes_differently_and_the_same_key_alike() {
        assert_ne!(stored(&names(), b"auth:session:t"), stored(&names(), b"auth:session:t"));
        let key = NamingKey::random();
        let one = |key: &NamingKey| Names { secret: key.words(), ..names() };
        let again = NamingKey::new(*key.bytes());
        assert_eq!(stored(&one(&key), b"auth:session:t"), stored(&one(&again), b"auth:session:t"));
        assert_eq!(key.mark(), again.mark());
        assert_ne!(key.mark(), NamingKey::random().mark());
        assert_eq!(format!("{key:?}"), "NamingKey(***)");
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
            Names::new(&[space(b"auth:", true), space(b"auth:public:", false)], Ttl::seconds(10), &NamingKey::random());
        assert_eq!(stored(&names, b"auth:public:logo"), b"auth:public:logo");
        assert!(names.rule(b"auth:public:logo").is_some_and(|rule| rule.fence.is_none()));
        assert!(stored(&names, b"auth:publi").starts_with(b"auth:~"));
        // A plain namespace that no other covers costs no look-up.
        assert!(Names::new(&[space(b"user:", false)], Ttl::seconds(10), &NamingKey::random()).rules.is_empty());
    }

    #[test]
    fn other_keys_pass_unchanged() {
        assert_eq!(stored(&names(), b"auth:sess"), b"auth:sess");
    }
}
