//! NextAuth's session tokens: what is in one, and how a new one is made, from the application's secret alone.
//!
//! A token is a JWE in compact form that is encrypted under the key itself (`"alg":"dir"`). next-auth 4 derives one key of
//! 32 bytes from the secret and uses A256GCM; Auth.js 5 derives one of 64 bytes for each cookie name, uses
//! A256CBC-HS512 and names the key by its thumbprint (`kid`), and takes A256GCM as well. Keys are derived when a [`Keyring`]
//! is made, which is once per setting; tags are compared by the crates, in a time that tells nothing. Nothing here
//! asks a clock or draws random bytes: both are arguments.
//!
//! What is refused by these libraries is refused here; where they are lax about letters that no encoder writes, this is not.

use aes::Aes256;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

use super::Profile;
use super::claims::Claims;

/// How long after its end a token is still taken, in seconds, for clocks that differ. Both libraries have it so.
pub(super) const TOLERANCE: u64 = 15;

/// Random bytes that the making of a token takes: an initialization vector and an identifier.
///
/// ```
/// # use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};
/// # let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
/// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
/// # let claims = Claims::read(br#"{"name":"alice"}"#)?;
/// let mut dice = [0; DICE];
/// getrandom::fill(&mut dice).expect("the system has randomness");
/// assert!(keyring.encode(claims, 1_700_000_000, 60, dice).len() > 100);
/// # Ok::<(), TokenFault>(())
/// ```
pub const DICE: usize = 32;

/// Bytes of a key at most: two of 32, for the tag and for the text.
const KEY: usize = 64;

const GCM: &str = "A256GCM";
const CBC: &str = "A256CBC-HS512";
const GCM_IV: usize = 12;
const CBC_IV: usize = 16;
const CBC_TAG: usize = 32;
const BLOCK: usize = 16;

/// Why a token is no session.
///
/// ```
/// # use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};
/// # let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
/// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
/// # let claims = Claims::read(br#"{"name":"alice"}"#)?;
/// let token = keyring.encode(claims, 1_700_000_000, 60, [7; DICE]);
/// let decode = |token: &str, unix| keyring.decode(token.as_bytes(), unix).map(drop);
/// assert_eq!(decode(&token, 1_700_000_060), Ok(()));
/// assert_eq!(decode(&token, 1_700_000_075), Err(TokenFault::Expired), "15 seconds are for clocks that differ");
/// assert_eq!(decode("a.b.c", 0), Err(TokenFault::Malformed));
/// # Ok::<(), TokenFault>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// It is no encrypted token at all, or what is in it is no set of claims.
    Malformed,
    /// It is encrypted in a way that sessions are not.
    Unsupported,
    /// It names a key that no secret here makes.
    UnknownKey,
    /// No secret here opens it, or somebody has changed it.
    Undecryptable,
    /// Its end is past.
    Expired,
    /// It is not yet to be used.
    Early,
    /// Its user was signed out everywhere since.
    SignedOut,
}

impl TokenFault {
    /// The word for it in logs.
    ///
    /// ```
    /// # use cloakroom::session::TokenFault;
    /// assert_eq!(TokenFault::UnknownKey.word(), "unknown-key");
    /// ```
    pub fn word(self) -> &'static str {
        match self {
            TokenFault::Malformed => "malformed",
            TokenFault::Unsupported => "unsupported",
            TokenFault::UnknownKey => "unknown-key",
            TokenFault::Undecryptable => "undecryptable",
            TokenFault::Expired => "expired",
            TokenFault::Early => "early",
            TokenFault::SignedOut => "signed-out",
        }
    }
}

/// The secrets of an application, newest first: the first makes tokens, all of them open some.
///
/// ```
/// # use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};
/// # let _secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
/// # let claims = Claims::read(br#"{"name":"alice"}"#)?;
/// let before = Secrets::new(["an old secret"]).expect("a secret");
/// let now = Secrets::new(["a new secret", "an old secret"]).expect("two secrets");
/// let ring = |secrets| Keyring::new(Profile::AuthJs, "authjs.session-token", secrets);
/// let token = ring(&before).encode(claims, 1_700_000_000, 60, [7; DICE]);
/// assert!(ring(&now).decode(token.as_bytes(), 1_700_000_000).is_ok());
/// # Ok::<(), TokenFault>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    newest: String,
    older: Vec<String>,
}

impl Secrets {
    /// The secrets in this order; `None` if there is none or one is empty.
    ///
    /// ```
    /// # use cloakroom::session::Secrets;
    /// assert!(Secrets::new(["a secret"]).is_some());
    /// assert!(Secrets::new(["a secret", ""]).is_none());
    /// assert!(Secrets::new::<&str>([]).is_none());
    /// ```
    pub fn new<S: Into<String>>(secrets: impl IntoIterator<Item = S>) -> Option<Secrets> {
        let mut secrets = secrets.into_iter().map(S::into);
        let secrets = Secrets { newest: secrets.next()?, older: secrets.collect() };
        let whole = secrets.all().all(|secret| !secret.is_empty());
        whole.then_some(secrets)
    }

    /// All of them, newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.newest).chain(&self.older).map(String::as_str)
    }

    /// How many there are.
    ///
    /// ```
    /// # use cloakroom::session::Secrets;
    /// assert_eq!(Secrets::new(["new", "old"]).map(|secrets| secrets.count()), Some(2));
    /// ```
    pub fn count(&self) -> usize {
        1 + self.older.len()
    }
}

impl std::fmt::Debug for Secrets {
    /// Nothing of them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(***)")
    }
}

/// What one secret makes for one cookie name.
#[derive(Clone)]
struct Derived {
    /// next-auth 4 and A256GCM use the first half alone.
    key: [u8; KEY],
    /// The thumbprints of the whole and of the half, as `kid` has them.
    whole: String,
    half: String,
}

impl Derived {
    fn new(profile: Profile, cookie: &str, secret: &str) -> Derived {
        let (salt, info) = match profile {
            Profile::NextAuth => ("", "NextAuth.js Generated Encryption Key".to_owned()),
            Profile::AuthJs => (cookie, format!("Auth.js Generated Encryption Key ({cookie})")),
        };
        let mut key = [0; KEY];
        let hkdf = Hkdf::<Sha256>::new(Some(salt.as_bytes()), secret.as_bytes());
        hkdf.expand(info.as_bytes(), &mut key).expect("two blocks of SHA-256 are less than 255");
        let jwk = |key: &[u8]| format!(r#"{{"k":"{}","kty":"oct"}}"#, BASE64URL.encode(key));
        Derived {
            whole: BASE64URL.encode(Sha512::digest(jwk(&key))),
            half: BASE64URL.encode(Sha256::digest(jwk(&key[..KEY / 2]))),
            key,
        }
    }

    fn gcm(&self) -> Aes256Gcm {
        Aes256Gcm::new_from_slice(&self.key[..KEY / 2]).expect("32 bytes are its key")
    }

    /// The first half is for the tag.
    fn tag(&self, aad: &[u8], iv: &[u8], text: &[u8]) -> Hmac<Sha512> {
        let mac = <Hmac<Sha512> as KeyInit>::new_from_slice(&self.key[..KEY / 2]).expect("any length is a key");
        mac.chain_update(aad).chain_update(iv).chain_update(text).chain_update((aad.len() as u64 * 8).to_be_bytes())
    }

    fn open_gcm(&self, aad: &[u8], iv: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), TokenFault> {
        let iv = Nonce::<Aes256Gcm>::try_from(iv).map_err(|_| TokenFault::Malformed)?;
        let tag = Tag::<Aes256Gcm>::try_from(tag).map_err(|_| TokenFault::Malformed)?;
        let opened = self.gcm().decrypt_inout_detached(&iv, aad, text.into(), &tag);
        opened.map_err(|_| TokenFault::Undecryptable)
    }

    /// The length of what was encrypted, which is then at the beginning of `text`.
    fn open_cbc(&self, aad: &[u8], iv: &[u8], text: &mut [u8], tag: &[u8]) -> Result<usize, TokenFault> {
        if iv.len() != CBC_IV || tag.len() != CBC_TAG || text.is_empty() || !text.len().is_multiple_of(BLOCK) {
            return Err(TokenFault::Malformed);
        }
        self.tag(aad, iv, text).verify_truncated_left(tag).map_err(|_| TokenFault::Undecryptable)?;
        let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&self.key[KEY / 2..], iv);
        let opened = cipher.map_err(|_| TokenFault::Malformed)?.decrypt_padded::<Pkcs7>(text);
        opened.map(<[u8]>::len).map_err(|_| TokenFault::Undecryptable)
    }
}

/// The keys of one session cookie.
///
/// ```
/// # use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};
/// # let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
/// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
/// # let claims = Claims::read(br#"{"name":"alice"}"#)?;
/// let token = keyring.encode(claims, 1_700_000_000, 3_600, [7; DICE]);
/// let read = keyring.decode(token.as_bytes(), 1_700_000_001)?;
/// assert_eq!(read.get("name"), Some("\"alice\""));
/// assert_eq!(read.number("exp"), Some(1_700_003_600.0));
/// # Ok::<(), TokenFault>(())
/// ```
#[derive(Clone)]
pub struct Keyring {
    profile: Profile,
    newest: Derived,
    older: Vec<Derived>,
}

/// What a token's header says.
struct Header {
    is_gcm: bool,
    /// `None`: there is none. A `kid` that is no text names no key.
    kid: Option<Option<String>>,
}

impl Header {
    fn read(text: &[u8]) -> Result<Header, TokenFault> {
        let header = decode(text)?;
        let header: serde_json::Value = serde_json::from_slice(&header).map_err(|_| TokenFault::Malformed)?;
        let header = header.as_object().ok_or(TokenFault::Malformed)?;
        let says = |name: &str| header.get(name).and_then(|value| value.as_str());
        if says("alg") != Some("dir") || header.contains_key("zip") || header.contains_key("crit") {
            return Err(TokenFault::Unsupported);
        }
        let is_gcm = match says("enc") {
            Some(GCM) => true,
            Some(CBC) => false,
            _ => return Err(TokenFault::Unsupported),
        };
        Ok(Header { is_gcm, kid: header.get("kid").map(|kid| kid.as_str().map(str::to_owned)) })
    }
}

impl Keyring {
    /// Derives the keys for a session cookie's name.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};
    /// # let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
    /// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
    /// # let claims = Claims::read(br#"{"name":"alice"}"#)?;
    /// // Auth.js has other keys for each name, over HTTPS too.
    /// let secure = Keyring::new(Profile::AuthJs, "__Secure-authjs.session-token", &secrets);
    /// let plain = Keyring::new(Profile::AuthJs, "authjs.session-token", &secrets);
    /// let token = secure.encode(claims, 1_700_000_000, 60, [7; DICE]);
    /// assert_eq!(plain.decode(token.as_bytes(), 1_700_000_000).err(), Some(TokenFault::UnknownKey));
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn new(profile: Profile, cookie: &str, secrets: &Secrets) -> Keyring {
        let derive = |secret: &str| Derived::new(profile, cookie, secret);
        Keyring {
            profile,
            newest: derive(&secrets.newest),
            older: secrets.older.iter().map(|secret| derive(secret)).collect(),
        }
    }

    /// The claims in a token, as the library reads it at this Unix time in seconds.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};
    /// # let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
    /// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
    /// # let claims = Claims::read(br#"{"name":"alice"}"#)?;
    /// let token = keyring.encode(claims, 1_700_000_000, 60, [7; DICE]);
    /// assert_eq!(keyring.decode(token.as_bytes(), 1_700_000_001)?.get("name"), Some("\"alice\""));
    /// assert_eq!(keyring.decode(&token.as_bytes()[1..], 0).err(), Some(TokenFault::Malformed));
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn decode(&self, token: &[u8], unix: u64) -> Result<Claims, TokenFault> {
        let claims = self.open(token)?;
        claims.check(unix)?;
        Ok(claims)
    }

    /// The claims in a token, whether it has ended or not.
    pub(super) fn open(&self, token: &[u8]) -> Result<Claims, TokenFault> {
        let mut parts = token.split(|byte| *byte == b'.');
        let mut part = || parts.next().ok_or(TokenFault::Malformed);
        let (header, key, iv, text, tag) = (part()?, part()?, part()?, part()?, part()?);
        if parts.next().is_some() || !key.is_empty() {
            return Err(TokenFault::Malformed);
        }
        let aad = header;
        let header = Header::read(header)?;
        let (iv, text, tag) = (decode(iv)?, decode(text)?, decode(tag)?);
        let mut fault = TokenFault::UnknownKey;
        for key in self.fitting(&header)? {
            // What one key has made of the text is of no use to the next.
            let mut text = text.clone();
            let opened = match header.is_gcm {
                true => key.open_gcm(aad, &iv, &mut text, &tag).map(|()| text.len()),
                false => key.open_cbc(aad, &iv, &mut text, &tag),
            };
            match opened {
                Ok(len) => return Claims::read(&text[..len]),
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    /// The keys that may open a token: next-auth 4 names none, so all of them; Auth.js names one, or means the newest.
    fn fitting(&self, header: &Header) -> Result<Vec<&Derived>, TokenFault> {
        let mut all = std::iter::once(&self.newest).chain(&self.older);
        match (self.profile, &header.kid) {
            (Profile::NextAuth, _) if header.is_gcm => Ok(all.collect()),
            (Profile::NextAuth, _) => Err(TokenFault::Unsupported),
            (Profile::AuthJs, None) => Ok(vec![&self.newest]),
            (Profile::AuthJs, Some(kid)) => {
                let own = |key: &&Derived| Some(if header.is_gcm { &key.half } else { &key.whole }) == kid.as_ref();
                Ok(vec![all.find(own).ok_or(TokenFault::UnknownKey)?])
            }
        }
    }

    /// A new token with these claims, made at this Unix time in seconds to end so many seconds later. `dice` are random
    /// bytes that are used for nothing else: with the same ones twice, the key is given away.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};
    /// # let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
    /// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
    /// # let claims = Claims::read(br#"{"name":"alice"}"#)?;
    /// let token = keyring.encode(claims, 1_700_000_000, 60, [7; DICE]);
    /// assert_eq!(token.split('.').count(), 5, "a JWE in its compact form");
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn encode(&self, mut claims: Claims, unix: u64, max_age: u64, dice: [u8; DICE]) -> String {
        let (vector, identifier) = dice.split_at(CBC_IV);
        claims.set("iat", unix.to_string());
        claims.set("exp", unix.saturating_add(max_age).to_string());
        claims.set("jti", format!("\"{}\"", uuid(identifier)));
        let text = claims.to_json();
        match self.profile {
            Profile::NextAuth => self.seal_gcm(&text, &vector[..GCM_IV]),
            Profile::AuthJs => self.seal_cbc(&text, vector),
        }
    }

    fn seal_gcm(&self, text: &str, iv: &[u8]) -> String {
        let header = BASE64URL.encode(format!(r#"{{"alg":"dir","enc":"{GCM}"}}"#));
        let mut text = text.as_bytes().to_vec();
        let nonce = Nonce::<Aes256Gcm>::try_from(iv).expect("twelve bytes were cut off");
        let tag = self.newest.gcm().encrypt_inout_detached(&nonce, header.as_bytes(), text.as_mut_slice().into());
        compact(&header, iv, &text, &tag.expect("a text of less than 64 GB"))
    }

    fn seal_cbc(&self, text: &str, iv: &[u8]) -> String {
        let header = BASE64URL.encode(format!(r#"{{"alg":"dir","enc":"{CBC}","kid":"{}"}}"#, self.newest.whole));
        let len = text.len();
        let mut text = text.as_bytes().to_vec();
        text.resize(len - len % BLOCK + BLOCK, 0);
        let cipher = cbc::Encryptor::<Aes256>::new_from_slices(&self.newest.key[KEY / 2..], iv);
        let cipher = cipher.expect("32 bytes are its key, and 16 its vector");
        cipher.encrypt_padded::<Pkcs7>(&mut text, len).expect("room for the padding was made");
        let tag = self.newest.tag(header.as_bytes(), iv, &text).finalize().into_bytes();
        compact(&header, iv, &text, &tag[..CBC_TAG])
    }
}

impl std::fmt::Debug for Keyring {
    /// No keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("profile", &self.profile).finish_non_exhaustive()
    }
}

fn decode(text: &[u8]) -> Result<Vec<u8>, TokenFault> {
    BASE64URL.decode(text).map_err(|_| TokenFault::Malformed)
}

fn compact(header: &str, iv: &[u8], text: &[u8], tag: &[u8]) -> String {
    let [iv, text, tag] = [iv, text, tag].map(|part| BASE64URL.encode(part));
    format!("{header}..{iv}.{text}.{tag}")
}

/// A UUID of version 4 of sixteen random bytes.
fn uuid(dice: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in dice.iter().enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}
