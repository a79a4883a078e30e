//! Sessions that nobody is asked for: NextAuth's tokens decoded here, with the application's secret.
//!
//! A check that finds nothing in the store is answered as NextAuth would answer it: the body that its default callbacks
//! make of the token, and the token made anew, as a [`SourceAnswer`] that then goes the way of every answer of a source.
//! So families, fences and TTLs are what they are with an upstream. Callbacks of the application's own are not known here; of
//! the claims that they have put into a token some can be named to be shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tracing::{debug, warn};

use super::Profile;
use super::answer::{Answer, Header, PLAIN, line};
use super::cache::{Core, SessionCache};
use super::claims::Claims;
use super::cookie::{Held, Seen, Side, Tokens, cookies_of, halves};
use super::flight::Fill;
use super::jwt::{DICE, Keyring, Secrets, TokenFault};
use super::source::{Failure, Outcome, Source, SourceAnswer};
use super::time::Moment;
use super::users::{id_of, is_after, owner};
use crate::clock::Millis;

/// Letters of a token in one cookie. Both libraries leave room for name and attributes in the 4096 that browsers keep.
const CHUNK_V4: usize = 4096 - 163;
const CHUNK_V5: usize = 4096 - 160;

/// What is needed to answer in NextAuth's place.
///
/// ```
/// use cloakroom::session::{NextAuth, Secrets, Settings, Source};
///
/// let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
/// let source = NextAuth::new(secrets).with_claims(vec![("id".to_owned(), "sub".to_owned())]);
/// let settings = Settings { source: Source::NextAuth(source), ..Settings::default() };
/// assert_eq!(settings.source.secrets().map(|secrets| secrets.count()), Some(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextAuth {
    secrets: Secrets,
    claims: Vec<(String, String)>,
}

impl NextAuth {
    /// With these secrets, and the session of NextAuth's default callbacks: `name`, `email` and `image`.
    ///
    /// ```
    /// # use cloakroom::session::{NextAuth, Secrets};
    /// let secrets = Secrets::new(["new", "old"]).expect("secrets");
    /// assert_eq!(NextAuth::new(secrets.clone()).secrets(), &secrets);
    /// ```
    pub fn new(secrets: Secrets) -> NextAuth {
        NextAuth { secrets, claims: Vec::new() }
    }

    /// The same, which shows more of the token: pairs of a field of `user` and the claim that it is a copy of. What a token
    /// does not have is left out.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// # let secrets = Secrets::new(["a secret"]).unwrap();
    /// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
    /// # let claims = Claims::read(br#"{"name":"alice","sub":"7","role":"admin"}"#).unwrap();
    /// # let token = keyring.encode(claims, hands.now().0 / 1000, 3_600, [7; DICE]);
    /// # let cookie = format!("next-auth.session-token={token}");
    /// # let cookies = || [cookie.as_bytes()];
    /// let source = NextAuth::new(secrets).with_claims(vec![("role".to_owned(), "role".to_owned())]);
    /// let settings = Settings { source: Source::NextAuth(source), ..Settings::default() };
    /// let sessions = SessionCache::embedded(settings, hands.clone());
    /// let LookUp::Fill(fill) = sessions.look_up(&sessions.tokens(cookies()), hands.now()) else { panic!() };
    /// let answer = sessions.decode(fill, cookies(), false, [8; DICE], hands.now());
    /// assert!(answer.body.starts_with(br#"{"user":{"name":"alice","role":"admin"},"expires":"#));
    /// ```
    pub fn with_claims(self, claims: Vec<(String, String)>) -> NextAuth {
        NextAuth { claims, ..self }
    }

    /// The application's secrets.
    ///
    /// ```
    /// # use cloakroom::session::{NextAuth, Secrets};
    /// # let secrets = Secrets::new(["new", "old"]).expect("secrets");
    /// assert_eq!(NextAuth::new(secrets).secrets().count(), 2);
    /// ```
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The user as the session shows him.
    pub(super) fn user(&self, token: &Claims) -> String {
        let mut user = Claims::default();
        let own = [("name", "name"), ("email", "email"), ("image", "picture")];
        let more = self.claims.iter().map(|(field, claim)| (field.as_str(), claim.as_str()));
        for (field, claim) in own.into_iter().chain(more) {
            if let Some(value) = token.get(claim) {
                user.set(field, value.to_owned());
            }
        }
        user.to_json()
    }
}

/// The keys of [`NextAuth`], derived once.
pub(super) struct Vault {
    pub source: NextAuth,
    /// By the cookie names that sessions may have.
    rings: Vec<Keyring>,
    /// Whether a token has been opened, or it was said that none can be.
    is_settled: AtomicBool,
}

impl Vault {
    /// The claims of a token that came under one of the known cookie names, whether they have ended or not.
    pub fn open(&self, known: usize, token: &[u8]) -> Result<Claims, TokenFault> {
        let opened = self.rings.get(known).ok_or(TokenFault::UnknownKey)?.open(token);
        let is_locked = matches!(opened, Err(TokenFault::UnknownKey | TokenFault::Undecryptable));
        // Before the first that opens; later on it is a token of another application's, or from before a rotation.
        if (is_locked || opened.is_ok()) && !self.is_settled.load(Ordering::Relaxed) {
            self.is_settled.store(true, Ordering::Relaxed);
            if is_locked {
                warn!(
                    "the first session token that came is opened by no secret in secret-file: if more users are signed out, it \
                     is not the application's"
                );
            }
        }
        opened
    }
}

impl Core {
    /// Derives the keys again if the secrets are others than before.
    pub(super) fn refill_vault(&self, source: &Source) {
        let Source::NextAuth(source) = source else { return };
        let mut vault = self.vault.write();
        if vault.as_ref().is_none_or(|vault| vault.source != *source) {
            let rings = self.names.known().map(|(profile, name)| Keyring::new(profile, name, &source.secrets));
            *vault = Some(Arc::new(Vault {
                source: source.clone(),
                rings: rings.collect(),
                is_settled: AtomicBool::new(false),
            }));
        }
    }

    pub(super) fn vault(&self) -> Option<Arc<Vault>> {
        self.vault.read().clone()
    }

    /// The cookie that counts and its claims, whether they have ended or not.
    fn opened(&self, vault: &Vault, held: &Held<'_>) -> Result<Claims, TokenFault> {
        vault.open(held.known, &held.token)
    }

    /// Refuses a token that was made before its user was signed out everywhere.
    pub fn check_cut(
        &self,
        user: String,
        claims: Claims,
        subject: Option<&str>,
        now: Millis,
    ) -> Result<(String, Claims), TokenFault> {
        let body = format!(r#"{{"user":{user}}}"#);
        let cut =
            owner(&self.service, body.as_bytes(), subject).and_then(|id| self.cut_second(&self.user_name(&id), now));
        let holds = cut.is_none_or(|cut| is_after(claims.number("iat"), cut));
        if holds { Ok((user, claims)) } else { Err(TokenFault::SignedOut) }
    }

    /// When a token ends, if it is one of ours.
    pub(super) fn token_end<'a>(&self, tokens: &Tokens, cookies: impl IntoIterator<Item = &'a [u8]>) -> Option<Millis> {
        let vault = self.vault()?;
        let claims = self.opened(&vault, &self.names.held(cookies, tokens)?).ok()?;
        let seconds = claims.number("exp")?;
        Some(self.answers.clock().from_wall((seconds * 1000.0) as u64))
    }
}

impl SessionCache {
    /// Whether tokens are decoded here, so that [`decode`](SessionCache::decode) is what a fill is for.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::NextAuth(NextAuth::new(Secrets::new(["a secret"]).unwrap())), ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert!(sessions.decodes());
    /// ```
    pub fn decodes(&self) -> bool {
        self.core.vault.read().is_some()
    }

    /// Completes a fill from the token itself, read from the values of the request's `Cookie` headers. `is_https` says that a
    /// browser came over HTTPS, `dice` are random bytes that are used for nothing else. Without secrets it ends as a call that was refused.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::NextAuth(NextAuth::new(Secrets::new(["a secret"]).unwrap())), ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// # let secrets = Secrets::new(["a secret"]).unwrap();
    /// # let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
    /// # let claims = Claims::read(br#"{"name":"alice","sub":"7","role":"admin"}"#).unwrap();
    /// # let token = keyring.encode(claims, hands.now().0 / 1000, 3_600, [7; DICE]);
    /// # let cookie = format!("next-auth.session-token={token}");
    /// # let cookies = || [cookie.as_bytes()];
    /// let LookUp::Fill(fill) = sessions.look_up(&sessions.tokens(cookies()), hands.now()) else { panic!() };
    /// let dice = [8; DICE]; // from the system's randomness, rather
    /// let answer = sessions.decode(fill, cookies(), false, dice, hands.now());
    /// assert!(answer.body.starts_with(br#"{"user":{"name":"alice"},"expires":"#));
    /// assert!(answer.header("set-cookie").is_some(), "the token made anew");
    /// ```
    pub fn decode<'a>(
        &self,
        mut fill: Fill,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        is_https: bool,
        dice: [u8; DICE],
        now: Millis,
    ) -> Answer {
        let outcome = match self.core.vault() {
            None => Outcome::Failed(Failure::Refused),
            Some(vault) => match self.core.names.held(cookies, &fill.tokens) {
                None => Outcome::Failed(Failure::Malformed),
                Some(mut held) => {
                    // Under a name of its own the app tells nothing of HTTPS.
                    held.is_secure |= held.is_own && is_https;
                    Outcome::Answered(self.answer_token(&vault, &held, &mut fill, dice, now))
                }
            },
        };
        self.complete(fill, outcome, now)
    }

    fn answer_token(
        &self,
        vault: &Vault,
        held: &Held<'_>,
        fill: &mut Fill,
        dice: [u8; DICE],
        now: Millis,
    ) -> SourceAnswer {
        let core = &self.core;
        let wall = core.answers.clock().to_wall(now);
        let claims = core.opened(vault, held).and_then(|claims| {
            claims.check(wall / 1000)?;
            fill.subject = claims.get("sub").and_then(id_of).map(String::into_boxed_str);
            core.check_cut(vault.source.user(&claims), claims, fill.subject.as_deref(), now)
        });
        let mut headers: Vec<Header> = PLAIN.map(|(name, value)| line(name, value.as_bytes())).into();
        let mut cookies = Cookies::gone(held);
        let body = match claims {
            Err(fault) => {
                debug!(session = %core.shown(&fill.family), fault = fault.word(), "Session token refused");
                Bytes::from_static(held.profile.empty_body().as_bytes())
            }
            Ok((user, claims)) => {
                let max_age = core.settings().max_age;
                let ends = Moment(wall.saturating_add(max_age.0));
                let body = format!(r#"{{"user":{user},"expires":"{}"}}"#, ends.iso());
                let seconds = max_age.0 / 1000;
                let token = vault.rings[held.known].encode(claims, wall / 1000, seconds, dice);
                cookies.put(held, &token, ends);
                body.into()
            }
        };
        headers.extend(cookies.lines(held));
        SourceAnswer { status: 200, headers, body }
    }

    /// The `set-cookie` lines that take away the session cookies of a request, whose `Cookie` headers these are the values of.
    /// Those that do not count go too, or the next check would be about them.
    #[cfg_attr(doc, doc(hidden))]
    pub fn deletions<'a>(&self, cookies: impl IntoIterator<Item = &'a [u8]>) -> Vec<Bytes> {
        deletions(cookies, |name| self.is_session_cookie(name))
    }
}

/// The `set-cookie` lines that take away those cookies of a request for whose names `goes` says so.
pub(super) fn deletions<'a>(cookies: impl IntoIterator<Item = &'a [u8]>, goes: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
    let names = cookies.into_iter().flat_map(cookies_of).map(|cookie| halves(cookie).0);
    let mut own: Vec<&[u8]> = Vec::new();
    for name in names.filter(|name| goes(name)) {
        if own.len() < DELETIONS_MAX && !own.contains(&name) {
            own.push(name);
        }
    }
    own.into_iter().map(|name| deletion(name, is_https_alone(name))).collect()
}

/// Cookies that are deleted at once, which is more than a session of NextAuth's has chunks.
const DELETIONS_MAX: usize = 32;

/// The line that deletes a cookie, as NextAuth writes it. The path is the one that the libraries set, and no domain is named.
fn deletion(name: &[u8], is_secure: bool) -> Bytes {
    let secure: &[u8] = if is_secure { b"; Secure" } else { b"" };
    [name, b"=; Max-Age=0; Path=/; HttpOnly", secure, b"; SameSite=Lax"].concat().into()
}

/// What becomes of the cookies that a token is in, in NextAuth's order: those that came, then those that are new.
struct Cookies(Vec<(Vec<u8>, Option<Crumb>)>);

/// What a cookie is set to, and when it ends.
type Crumb = (String, Moment);

impl Cookies {
    /// All that came are deleted.
    fn gone(held: &Held<'_>) -> Cookies {
        let mut names: Vec<(Vec<u8>, _)> = Vec::new();
        for name in &held.cookies {
            if !names.iter().any(|(known, _)| known == name) {
                names.push((name.to_vec(), None));
            }
        }
        Cookies(names)
    }

    /// A token takes their place, in as many as it needs.
    fn put(&mut self, held: &Held<'_>, token: &str, ends: Moment) {
        let size = if held.profile == Profile::NextAuth { CHUNK_V4 } else { CHUNK_V5 };
        let whole = token.len() <= size;
        for (number, chunk) in token.as_bytes().chunks(size).enumerate() {
            let number = if whole { String::new() } else { format!(".{number}") };
            let name = [held.name, number.as_bytes()].concat();
            let value = Some((String::from_utf8_lossy(chunk).into_owned(), ends));
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => self.0.push((name, value)),
            }
        }
    }

    fn lines<'a>(&'a self, held: &'a Held<'_>) -> impl Iterator<Item = Header> {
        let secure = if held.is_secure { "; Secure" } else { "" };
        self.0.iter().filter(|(name, _)| is_cookie_name(name)).map(move |(name, value)| {
            let line = match value {
                Some((value, ends)) => {
                    let (name, ends) = (String::from_utf8_lossy(name), ends.http());
                    format!("{name}={value}; Path=/; Expires={ends}; HttpOnly{secure}; SameSite=Lax").into()
                }
                None => deletion(name, held.is_secure),
            };
            (Bytes::from_static(b"set-cookie"), line)
        })
    }
}

/// Whether a browser can be told of a cookie by this name (RFC 6265).
fn is_cookie_name(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(byte))
}

/// Whether browsers take a cookie of this name over HTTPS alone, and only with `Secure`: by its prefix, in letters of any
/// size (RFC 6265bis, 4.1.3; `__Http-` is newer).
pub(super) fn is_https_alone(name: &[u8]) -> bool {
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|own| own.eq_ignore_ascii_case(prefix.as_bytes()));
    ["__secure-", "__host-", "__http-"].into_iter().any(begins)
}

/// The side whose cookie counts where both came: the one that only HTTPS can set.
pub(super) fn side_of(tokens: &Tokens) -> Option<Side> {
    match &tokens.seen {
        Seen::One { side, .. } => Some(*side),
        Seen::Both { .. } => Some(Side::Secure),
        Seen::None | Seen::Unclear { .. } => None,
    }
}
