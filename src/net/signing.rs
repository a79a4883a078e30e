//! What sessions are signed with for proxies and applications: ES256, which nearly everything that reads a JWS can check.
//!
//! Keys are kept in `cloakroom.signing` in `dir`, so that what was signed before a restart can be checked after it. A key is
//! drawn in memory and written down when it is first of use, so a server that signs nothing leaves no file behind. After
//! `verify-key-age` there is another: published once it is in the file, it signs from ten minutes later on, when everybody
//! who keeps a copy of the published keys may know it; the one before it stays published. Signing itself touches no disk.
//!
//! The file is text: lines that begin with `#`, and for each key, the newest first, the Unix time in seconds it is from and
//! its PKCS #8 form in hexadecimal digits.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Mutex, RwLock};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};

use super::whole;
use crate::clock::Ttl;
use crate::num::{hex, unhex};

/// The file's name in `dir`.
pub(super) const NAME: &str = "cloakroom.signing";

/// Seconds that a key is published before it signs.
const AHEAD: u64 = 10 * 60;

/// Seconds between two looks at whether another key is due, and after one that failed.
const LOOK_EACH: u64 = 60 * 60;
const LOOK_AGAIN: u64 = 60;

/// Keys that are kept: the one that signs, and the one before or after it.
const KEYS_MAX: usize = 2;

/// Bytes that are read of the file, far more than it has.
const READ_MAX: u64 = 16 * 1024;

const PREFACE: &str = "# What cloakroom signs sessions with (verify-jws). Keep it secret: who has it can be anybody.\n\
                       # Removed, another is made at the next SIGHUP or start.\n";

/// The keys, and where they are kept. Clones share them.
#[derive(Clone)]
pub(super) struct SigningKeys(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    /// After how many seconds another key is due.
    max_age: AtomicU64,
    keys: RwLock<Keys>,
    random: SystemRandom,
    /// When the disk is looked at next, in seconds of Unix time.
    next_look: AtomicU64,
    /// Whether the file has the keys. Held while the file is looked at.
    saved: Mutex<bool>,
    /// Whether it was said that they cannot be kept, until they can.
    said: AtomicBool,
}

/// The newest first; never empty.
type Keys = Arc<[Arc<Key>]>;

struct Key {
    /// In seconds of Unix time.
    made: u64,
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    /// The first part of what it signs.
    header: String,
    /// As it is published.
    jwk: String,
}

impl SigningKeys {
    /// Reads the keys of a directory, or draws one. A file that is there and cannot be used is an error in one line with its
    /// cure. `now` is Unix time in seconds.
    pub fn open(dir: &Path, max_age: Ttl, now: u64) -> Result<SigningKeys, String> {
        let random = SystemRandom::new();
        let kept = read(dir, &random)?;
        let saved = kept.is_some();
        let keys: Keys = match kept {
            Some(keys) => keys.into(),
            None => Arc::new([Arc::new(Key::draw(now, &random)?)]),
        };
        let shared = Shared {
            dir: dir.into(),
            max_age: AtomicU64::new(max_age.0 / 1000),
            keys: RwLock::new(keys),
            random,
            next_look: AtomicU64::new(0),
            saved: Mutex::new(saved),
            said: AtomicBool::new(false),
        };
        Ok(SigningKeys(Arc::new(shared)))
    }

    /// Changes after how long another key is due.
    pub fn set_max_age(&self, max_age: Ttl) {
        self.0.max_age.store(max_age.0 / 1000, Ordering::Relaxed);
    }

    /// Signs claims: a JWS in its compact form (RFC 7515). `now` is Unix time in seconds.
    pub fn sign(&self, claims: &[u8], now: u64) -> Option<String> {
        self.look_after(now);
        let keys = self.0.keys.read().clone();
        let key = signs(&keys, now);
        let mut out = String::with_capacity(key.header.len() + claims.len() * 4 / 3 + 96);
        out.push_str(&key.header);
        out.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut out);
        let signature = key.pair.sign(&self.0.random, out.as_bytes()).ok()?;
        out.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut out);
        Some(out)
    }

    /// The keys as others may see them: a JWK set (RFC 7517).
    pub fn published(&self, now: u64) -> String {
        self.look_after(now);
        let keys = self.0.keys.read().clone();
        let shown: Vec<&str> = keys.iter().map(|key| key.jwk.as_str()).collect();
        format!("{{\"keys\":[{}]}}\n", shown.join(","))
    }

    /// Now and then has a thread see to it that the keys are on the disk, and young enough.
    fn look_after(&self, now: u64) {
        let next = self.0.next_look.load(Ordering::Relaxed);
        let mine = || {
            let then = now + LOOK_EACH;
            self.0.next_look.compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now < next || !mine() {
            return;
        }
        let shared = self.0.clone();
        let begun = std::thread::Builder::new().name("signing keys".to_owned()).spawn(move || shared.look_at_disk(now));
        if begun.is_err() {
            self.0.next_look.store(now + LOOK_AGAIN, Ordering::Relaxed);
        }
    }

    /// Reads the file again. If it was removed, another key is drawn. Only a file that cannot be used is an error, and then
    /// the keys stay as they were.
    pub fn reread(&self, now: u64) -> Result<(), String> {
        let shared = &self.0;
        let mut saved = shared.saved.lock();
        match read(&shared.dir, &shared.random)? {
            Some(keys) => {
                *shared.keys.write() = keys.into();
                *saved = true;
            }
            None if *saved => {
                let keys = shared.next(now)?;
                shared.create(keys).map_err(|error| shared.unsaved(&error))?;
            }
            None => {}
        }
        Ok(())
    }
}

impl Shared {
    fn look_at_disk(&self, now: u64) {
        match self.save(&mut self.saved.lock(), now) {
            Ok(()) => self.said.store(false, Ordering::Relaxed),
            Err(why) => {
                self.next_look.store(now + LOOK_AGAIN, Ordering::Relaxed);
                if !self.said.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{why}");
                }
            }
        }
    }

    /// Sees to it that the keys are in their file, and that another is there when it is due.
    fn save(&self, saved: &mut bool, now: u64) -> Result<(), String> {
        let unsaved = |error: io::Error| self.unsaved(&error);
        if !*saved {
            let keys = self.keys.read().clone();
            let kept = self.create(keys).map_err(unsaved);
            kept.map_err(|why| format!("after a restart another key signs sessions: {why}"))?;
            *saved = true;
        }
        let newest = self.keys.read()[0].made;
        if now < newest.saturating_add(self.max_age.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let replaced = self.next(now).and_then(|keys| self.replace(keys).map_err(unsaved));
        replaced.map_err(|why| format!("the key that signs sessions stays, older than verify-key-age: {why}"))
    }

    fn unsaved(&self, error: &io::Error) -> String {
        format!("{} cannot be written: {error}", self.dir.join(NAME).display())
    }

    /// The keys with another before them. Of the others the one that signs now stays.
    fn next(&self, now: u64) -> Result<Keys, String> {
        let fresh = Arc::new(Key::draw(now, &self.random)?);
        let signing = signs(&self.keys.read(), now).clone();
        Ok(Arc::new([fresh, signing]))
    }

    /// Takes keys once they are in their file, where there is none yet. If another process was first, its keys are ours.
    fn create(&self, keys: Keys) -> io::Result<()> {
        let kept = match whole::create(&self.dir.join(NAME), written(&keys).as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                read(&self.dir, &self.random).ok().flatten().map(Keys::from).ok_or(error)?
            }
            created => created.map(|()| keys)?,
        };
        *self.keys.write() = kept;
        Ok(())
    }

    /// Takes keys once they are in the place of those in the file: what nobody could check after a restart signs nothing.
    fn replace(&self, keys: Keys) -> io::Result<()> {
        whole::replace(&self.dir.join(NAME), written(&keys).as_bytes())?;
        *self.keys.write() = keys;
        Ok(())
    }
}

/// Keys as their file has them.
fn written(keys: &[Arc<Key>]) -> String {
    keys.iter().fold(PREFACE.to_owned(), |text, key| format!("{text}{} {}\n", key.made, hex(&key.pkcs8)))
}

/// The key that signs now: the newest that has been published for long enough, or else the oldest.
fn signs(keys: &[Arc<Key>], now: u64) -> &Arc<Key> {
    let known = keys.iter().find(|key| key.made.saturating_add(AHEAD) <= now);
    known.or(keys.last()).expect("there is always a key")
}

impl Key {
    fn draw(now: u64, random: &SystemRandom) -> Result<Key, String> {
        let drawn = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random);
        let key = drawn.ok().and_then(|pkcs8| Key::new(now, pkcs8.as_ref().to_vec(), random));
        key.ok_or_else(|| "no key to sign with could be drawn: the system has no randomness".to_owned())
    }

    fn new(made: u64, pkcs8: Vec<u8>, random: &SystemRandom) -> Option<Key> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, random).ok()?;
        // An uncompressed point: 4, and 32 bytes for each coordinate.
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(point.get(1..33)?), URL_SAFE_NO_PAD.encode(point.get(33..65)?));
        let members = format!(r#""crv":"P-256","kty":"EC","x":"{x}","y":"{y}""#);
        // A thumbprint (RFC 7638): the same key has the same name in every process.
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{members}}}")));
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#));
        let jwk = format!(r#"{{{members},"kid":"{kid}","alg":"ES256","use":"sig"}}"#);
        Some(Key { made, pair, pkcs8, header, jwk })
    }
}

/// The keys in the file of a directory; none if there is no file.
fn read(dir: &Path, random: &SystemRandom) -> Result<Option<Vec<Arc<Key>>>, String> {
    let path = dir.join(NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(format!("cannot read {}: {error}; let this user read it", path.display())),
    };
    super::keyfile::warn_if_open(&file, &path);
    let mut text = String::new();
    let read = file.take(READ_MAX).read_to_string(&mut text).ok();
    let keys = read.and_then(|_| parse(&text, random));
    let damaged = || format!("{} is damaged: remove it, and another key is made", path.display());
    keys.map(Some).ok_or_else(damaged)
}

fn parse(text: &str, random: &SystemRandom) -> Option<Vec<Arc<Key>>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let key = |line: &str| {
        let (made, digits) = line.split_once(' ')?;
        Key::new(made.parse().ok()?, unhex(digits)?, random).map(Arc::new)
    };
    let keys: Vec<_> = lines.map(key).collect::<Option<_>>()?;
    (1..=KEYS_MAX).contains(&keys.len()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use std::fs;

    use super::*;

    const DAY: u64 = 86_400;
    const MAX_AGE: Ttl = Ttl::seconds(90 * DAY);

    fn open(dir: &Path, now: u64) -> SigningKeys {
        SigningKeys::open(dir, MAX_AGE, now).expect("keys")
    }

    fn part(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).expect("base64url")
    }

    /// The claims of a JWS that one of the published keys has signed, and that key's name.
    fn check(jws: &str, published: &str) -> Option<(Vec<u8>, String)> {
        let parts: Vec<&str> = jws.split('.').collect();
        let header: Value = serde_json::from_slice(&part(parts[0])).expect("a header");
        assert_eq!((&header["alg"], parts.len()), (&Value::from("ES256"), 3));
        let set: Value = serde_json::from_str(published).expect("a set");
        let key = set["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == header["kid"])?;
        let place = |name: &str| part(key[name].as_str().expect("a coordinate"));
        let point = [vec![4], place("x"), place("y")].concat();
        let signed = jws.rsplit_once('.').expect("three parts").0;
        let key_of = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key_of.verify(signed.as_bytes(), &part(parts[2])).ok()?;
        Some((part(parts[1]), header["kid"].as_str().expect("a name").to_owned()))
    }

    fn kid(keys: &SigningKeys, now: u64) -> String {
        check(&keys.sign(b"{}", now).expect("signed"), &keys.published(now)).expect("a good signature").1
    }

    #[test]
    fn what_is_signed_can_be_checked_and_nothing_else_can() {
        let dir = tempfile::tempdir().expect("a directory");
        let (keys, others) = (open(dir.path(), 1), open(&dir.path().join("nowhere"), 1));
        let jws = keys.sign(br#"{"sub":"7"}"#, 1).expect("signed");
        assert_eq!(check(&jws, &keys.published(1)).expect("good").0, br#"{"sub":"7"}"#);
        assert_eq!(check(&jws, &others.published(1)), None);
        let forged =
            jws.replace(&URL_SAFE_NO_PAD.encode(br#"{"sub":"7"}"#), &URL_SAFE_NO_PAD.encode(br#"{"sub":"8"}"#));
        assert_eq!(check(&forged, &keys.published(1)), None);
    }

    #[test]
    fn a_key_is_written_down_when_it_is_first_of_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(dir.path(), 1);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
        let before = kid(&keys, 1);
        keys.0.look_at_disk(1);
        let path = dir.path().join(NAME);
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        let again = open(dir.path(), 2 * DAY);
        assert_eq!(kid(&again, 2 * DAY), before);
        // Two servers that share a directory agree, whoever was first.
        let (one, other) = (tempfile::tempdir().expect("a directory"), 5);
        let (first, second) = (open(one.path(), other), open(one.path(), other));
        first.0.look_at_disk(other);
        second.0.look_at_disk(other);
        assert_eq!(kid(&first, other), kid(&second, other));
    }

    #[test]
    fn another_key_is_published_before_it_signs_and_the_old_one_after() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(dir.path(), 1);
        let old = keys.sign(b"{}", 1).expect("signed");
        let first = kid(&keys, 1);
        keys.0.look_at_disk(89 * DAY);
        assert_eq!(keys.0.keys.read().len(), 1);
        let due = 90 * DAY + 1;
        keys.0.look_at_disk(due);
        assert_eq!(keys.0.keys.read().len(), 2);
        assert_eq!(kid(&keys, due + AHEAD - 1), first);
        let second = kid(&keys, due + AHEAD);
        assert_ne!(second, first);
        assert!(check(&old, &keys.published(due + AHEAD)).is_some(), "signed before, and still checked");
        assert_eq!(kid(&open(dir.path(), due), due + AHEAD), second);
        // The third takes the first one's place.
        keys.0.look_at_disk(2 * due);
        assert_eq!(check(&old, &keys.published(2 * due)), None);
        assert_eq!(kid(&keys, 2 * due), second);
    }

    #[test]
    fn a_file_that_was_removed_makes_another_key_and_a_damaged_one_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(dir.path(), 1);
        keys.reread(1).expect("nothing is there yet");
        let first = kid(&keys, 1);
        keys.0.look_at_disk(1);
        let path = dir.path().join(NAME);
        fs::remove_file(&path).expect("a file");
        keys.reread(2).expect("another key");
        assert_eq!(kid(&keys, 2), first);
        assert_ne!(kid(&keys, 2 + AHEAD), first);
        let text = fs::read_to_string(&path).expect("text");
        for damaged in ["", "1 00\n", &text[..text.len() - 3], &format!("{text}{text}")] {
            fs::write(&path, damaged).expect("written");
            assert!(keys.reread(3).is_err_and(|why| why.contains("is damaged")), "{damaged}");
            assert!(SigningKeys::open(dir.path(), MAX_AGE, 3).is_err());
        }
        fs::write(&path, text).expect("written");
        keys.reread(3).expect("as it was");
    }

    #[test]
    fn another_key_signs_only_once_it_is_written_down() {
        let home = tempfile::tempdir().expect("a directory");
        let (dir, away) = (home.path().join("keys"), home.path().join("away"));
        fs::create_dir(&dir).expect("a directory");
        let keys = open(&dir, 1);
        // Not by signing, which would have a thread look at the disk as well.
        let signing = |keys: &SigningKeys, now| signs(&keys.0.keys.read(), now).jwk.clone();
        keys.0.look_at_disk(1);
        let (first, due) = (signing(&keys, 1), 90 * DAY + 1);
        let later = due + LOOK_AGAIN + AHEAD;
        fs::rename(&dir, &away).expect("moved");
        keys.0.look_at_disk(due);
        assert_eq!((keys.0.keys.read().len(), signing(&keys, later)), (1, first.clone()));
        assert_eq!(keys.0.next_look.load(Ordering::Relaxed), due + LOOK_AGAIN);
        fs::rename(&away, &dir).expect("moved back");
        keys.0.look_at_disk(due + LOOK_AGAIN);
        assert_ne!(signing(&keys, later), first);
        let again = open(&dir, later);
        assert_eq!((signing(&again, due), signing(&again, later)), (first, signing(&keys, later)));
        // The same for a file that was removed, whose directory went with it.
        let second = signing(&keys, later);
        fs::remove_dir_all(&dir).expect("removed");
        assert!(keys.reread(later).is_err());
        assert_eq!(signing(&keys, later + AHEAD), second);
        fs::create_dir(&dir).expect("a directory");
        keys.reread(later).expect("another key");
        let third = signing(&keys, later + AHEAD);
        assert_ne!(third, second);
        assert_eq!(signing(&open(&dir, later), later + AHEAD), third);
    }

    #[test]
    fn without_a_directory_sessions_are_signed_all_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = open(&dir.path().join("nowhere"), 1);
        keys.0.look_at_disk(1);
        assert!(!kid(&keys, 1).is_empty());
        assert_eq!(keys.0.next_look.load(Ordering::Relaxed), 1 + LOOK_AGAIN);
    }
}
