//! Session cookies, read as NextAuth reads them: every cookie whose name starts with the cookie name, joined by the
//! integer after the last dot.
//!
//! Nothing is guessed. Where the libraries and their frameworks differ, or the same cookie comes twice with different
//! values, the reading is *unclear*: the request goes past the cache, but every token that it may mean is known by
//! name, so that a fence holds whichever it is. Where not even that is so, as with cookies that no browser is given and
//! JWTs in letters that no encoder writes, nobody is signed in. Raw tokens are hashed here and not kept.

mod each;
mod join;
mod letters;

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use super::answer::Header;
use super::cache::PassWhy;
use super::headers::profile_of_helper;
use super::nextauth::is_https_alone;
use super::source::Kind;
use super::{Profile, Service, Settings};
use crate::store::{NameBuf, Store};
pub(super) use join::plain_value;
use join::{Name, PARTS_MAX, Part, Reading, join};

/// Which of the two cookies: the one for plain HTTP or the one with `__Secure-` in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Plain,
    Secure,
}

/// What is behind the cookie name: nothing, or the number of a chunk.
type Suffix = SmallVec<[u8; 16]>;

/// What a request's cookies say about the session. Made by [`SessionCache::tokens`](super::SessionCache::tokens).
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// let tokens = sessions.tokens([&b"authjs.session-token.0=ab; authjs.session-token.1=cd"[..]]);
/// // Long tokens come in pieces; here they are one.
/// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
/// ```
#[derive(Clone, Debug)]
pub struct Tokens {
    pub(super) profile: Profile,
    /// Whether the profile is told by a cookie or a setting, or was only assumed.
    pub(super) profile_known: bool,
    pub(super) seen: Seen,
    /// The session cookies that came, by side.
    parts: [SmallVec<[Suffix; 1]>; 2],
    /// Whether the token came in a header of its own, and not in a cookie.
    pub(super) by_header: bool,
}

/// The tokens of a request, by their stored names.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    None,
    One {
        key: NameBuf,
        side: Side,
    },
    /// Secure and plain at once: which one counts is for the source to say, so the key is made of both.
    Both {
        key: NameBuf,
        plain: NameBuf,
        secure: NameBuf,
    },
    /// Past the cache; any of these names may be meant, and if `is_whole` no others.
    Unclear {
        names: Vec<NameBuf>,
        why: PassWhy,
        is_whole: bool,
    },
}

impl Seen {
    /// The name that a check is looked up and filled under, if it is clear.
    pub(super) fn key(&self) -> Option<&NameBuf> {
        match self {
            Seen::One { key, .. } | Seen::Both { key, .. } => Some(key),
            Seen::None | Seen::Unclear { .. } => None,
        }
    }

    /// Every name that may be meant, as far as that is known.
    pub(super) fn names(&self) -> Vec<NameBuf> {
        match self {
            Seen::None => Vec::new(),
            Seen::One { key, .. } => vec![key.clone()],
            Seen::Both { key, plain, secure } => vec![key.clone(), plain.clone(), secure.clone()],
            Seen::Unclear { names, .. } => names.clone(),
        }
    }
}

impl Tokens {
    /// Those of nobody.
    pub(super) fn none() -> Tokens {
        let (profile, parts) = (Profile::NextAuth, Default::default());
        Tokens { profile, profile_known: false, seen: Seen::None, parts, by_header: false }
    }

    /// Those of a service other than NextAuth, seen in a header.
    pub(super) fn by_header(seen: Seen) -> Tokens {
        Tokens { profile_known: true, seen, by_header: true, ..Tokens::none() }
    }

    /// Whether there is no session cookie.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert!(sessions.tokens([]).is_empty() && !tokens.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self.seen, Seen::None)
    }

    /// The name that a check is looked up and filled under, if it is clear.
    pub(super) fn key(&self) -> Option<&NameBuf> {
        self.seen.key()
    }

    /// Every name that this request may mean.
    pub(super) fn names(&self) -> Vec<NameBuf> {
        self.seen.names()
    }

    /// Those whose cookies an answer deletes, all that they came in, while it sets none: what its user is signed out of. One
    /// of two is told apart; of what is unclear nothing is.
    pub(super) fn ended_by(&self, change: &Change) -> Option<Tokens> {
        if change.sets() || matches!(self.seen, Seen::Unclear { .. }) {
            return None;
        }
        let [plain, secure] = [Side::Plain, Side::Secure].map(|side| {
            let (had, does) = (&self.parts[side as usize], &change.sides[side as usize]);
            !had.is_empty() && had.iter().all(|suffix| does.iter().any(|(known, _)| known == suffix))
        });
        let side = match (plain, secure, &self.seen) {
            (false, false, _) => return None,
            (true, false, Seen::Both { .. }) => Side::Plain,
            (false, true, Seen::Both { .. }) => Side::Secure,
            _ => return Some(self.clone()),
        };
        let mut ended = Tokens { seen: Seen::One { key: self.single(side)?, side }, ..self.clone() };
        ended.parts[1 - side as usize].clear();
        Some(ended)
    }

    fn single(&self, side: Side) -> Option<NameBuf> {
        match (&self.seen, side) {
            (Seen::One { key, side: own }, _) if *own == side => Some(key.clone()),
            (Seen::Both { plain, .. }, Side::Plain) => Some(plain.clone()),
            (Seen::Both { secure, .. }, Side::Secure) => Some(secure.clone()),
            _ => None,
        }
    }
}

/// A cookie name that sessions may have.
pub(super) struct Known {
    profile: Profile,
    side: Side,
    name: String,
}

impl Service {
    /// The session cookies of a service other than NextAuth; of one by the app's own name there is that one alone.
    fn cookie_names(&self, is_own: bool) -> impl Iterator<Item = Known> + use<'_> {
        let names = self.cookie.iter().flat_map(move |name| {
            let secure = (!is_own).then(|| format!("__Secure-{name}"));
            std::iter::once(name.clone().into_owned()).chain(secure)
        });
        names.map(|name| {
            let side = if is_https_alone(name.as_bytes()) { Side::Secure } else { Side::Plain };
            Known { profile: Profile::NextAuth, side, name }
        })
    }
}

/// The cookie names that sessions may have, by the settings.
pub(super) struct CookieNames {
    known: Vec<Known>,
    fixed: Option<Profile>,
    /// Whether the app has a name of its own, which says nothing of HTTPS, nor of the library.
    is_own: bool,
    /// Whether a session cookie has just this name: other services have no chunks, and other cookies that begin so.
    is_whole: bool,
    /// Whether somebody else reads tokens, and may be lax about their letters; here nobody is.
    is_handed_on: bool,
    pub max: usize,
    prefix: Vec<u8>,
}

/// What is in front of the names of two tokens, which are hashed to the name of both. No token can have a zero byte, so none
/// is called like that.
const BOTH: &[u8] = b"\0both\0";

/// A session cookie with the token that is in it.
pub(super) struct Held<'n> {
    /// Which of the known names it has.
    pub known: usize,
    pub profile: Profile,
    /// Whether only HTTPS can set it.
    pub is_secure: bool,
    /// Whether it is a name of the app's own.
    pub is_own: bool,
    pub name: &'n [u8],
    pub token: Vec<u8>,
    /// The names of the cookies that the token came in.
    pub cookies: Vec<Vec<u8>>,
}

impl CookieNames {
    pub fn new(settings: &Settings, service: &Service) -> CookieNames {
        let profiles = settings.profile.map_or(vec![Profile::NextAuth, Profile::AuthJs], |profile| vec![profile]);
        let mut known = Vec::new();
        match &settings.cookie {
            _ if !service.is_next_auth() => known.extend(service.cookie_names(settings.cookie.is_some())),
            Some(name) => {
                let side = if is_https_alone(name.as_bytes()) { Side::Secure } else { Side::Plain };
                let profile = settings.profile.unwrap_or(Profile::NextAuth);
                known.push(Known { profile, side, name: name.clone() });
            }
            None => {
                for profile in profiles {
                    let name = profile.cookie();
                    known.push(Known { profile, side: Side::Plain, name: name.into() });
                    known.push(Known { profile, side: Side::Secure, name: format!("__Secure-{name}") });
                }
            }
        }
        let is_whole = !service.is_next_auth();
        let is_own = settings.cookie.is_some();
        let is_handed_on = settings.source.kind() == Kind::Upstream;
        // Whoever is asked tells it; where nobody is, it is taken for granted.
        let is_assumed = is_whole || (is_own && !is_handed_on);
        let fixed = settings.profile.or(is_assumed.then_some(Profile::NextAuth));
        let (max, prefix) = (settings.cookie_max, settings.prefix.clone());
        CookieNames { known, fixed, is_own, is_whole, is_handed_on, max, prefix }
    }

    /// Whether a token is written as no encoder writes it, and yet whoever is asked may take it for one that is.
    pub fn is_bent(&self, token: &[u8]) -> bool {
        self.is_handed_on && letters::is_bent(token)
    }

    /// The session cookie that this cookie belongs to, and what is behind its name.
    fn find<'a>(&self, name: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let mut known = self.known.iter().enumerate();
        let found =
            known.find_map(|(index, known)| name.strip_prefix(known.name.as_bytes()).map(|suffix| (index, suffix)));
        found.filter(|(_, suffix)| !self.is_whole || suffix.is_empty())
    }

    /// The same of a token that came in cookies. None that is signed like a JWT has anything that is to be percent-encoded,
    /// and whoever does not decode it reads other letters.
    fn is_bent_in(&self, own: &[&Part<'_>], token: &[u8]) -> bool {
        let is_encoded = |part: &&Part<'_>| part.value.is_some_and(|value| memchr::memchr(b'%', value).is_some());
        self.is_bent(token) || (self.is_handed_on && own.iter().any(is_encoded) && letters::may_be_signed(token))
    }

    /// The session cookie that a request's cookie may be to any parser; or its name, if it is none.
    fn part<'a>(&self, cookie: &'a [u8]) -> Result<Part<'a>, &'a [u8]> {
        let (name, value) = halves(cookie);
        let plain = name.iter().fold(true, |all, byte| all & byte.is_ascii_graphic() & (*byte != b'%'));
        if !plain {
            return self.odd_part(name, value);
        }
        let (known, suffix) = self.find(name).ok_or(name)?;
        // Blanks behind a semicolon are nobody's.
        let start = cookie.iter().take_while(|byte| **byte == b' ').count();
        let is_spaced =
            !cookie[start..].starts_with(name) || !matches!(cookie.get(start + name.len()), None | Some(b'='));
        let name = if is_spaced { Name::Spaced } else { Name::Plain };
        Ok(Part { known, suffix, value, name })
    }

    /// The same of a name with bytes that parsers trim or decode, or leave as they are.
    #[cold]
    fn odd_part<'a>(&self, name: &'a [u8], value: Option<&'a [u8]>) -> Result<Part<'a>, &'a [u8]> {
        let is_letter = |byte: &u8| byte.is_ascii_graphic();
        let start = name.iter().position(is_letter).unwrap_or(name.len());
        let end = name.iter().rposition(is_letter).map_or(start, |last| last + 1);
        let trimmed = &name[start..end];
        let found = self.find(name).or_else(|| self.find(trimmed));
        if let Some((known, suffix)) = found {
            return Ok(Part { known, suffix, value, name: Name::Odd });
        }
        let decoded = percent_encoding::percent_decode(trimmed).collect::<Vec<u8>>();
        // Whatever is behind the name: it is never read for certain.
        let found =
            self.find(decoded.trim_ascii()).map(|(known, _)| Part { known, suffix: b"", value, name: Name::Odd });
        found.ok_or(name)
    }

    /// Whether a cookie is the signature of a session cookie, as Express' and Koa's `cookie-session` have it: the session
    /// cookie alone is then no secret.
    fn is_countersign(&self, name: &[u8]) -> bool {
        let signed = || name.strip_suffix(b".sig").and_then(|signed| self.find(signed));
        self.is_whole && self.is_handed_on && signed().is_some()
    }

    /// Whether a `set-cookie` line is about a session cookie.
    pub fn is_session(&self, set_cookie: &[u8]) -> bool {
        let (name, _) = halves(set_cookie.split(|byte| *byte == b';').next().unwrap_or_default());
        self.find(name).is_some()
    }

    /// Reads the `Cookie` headers of a request. `learned` is what answers of the source have told of the profile.
    pub fn read<'a>(
        &self,
        store: &Store,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        learned: Option<Profile>,
    ) -> Tokens {
        let mut parts: SmallVec<[Part<'a>; 4]> = SmallVec::new();
        let mut hint = None;
        let mut is_countersigned = false;
        for cookie in cookies.into_iter().flat_map(cookies_of) {
            match self.part(cookie) {
                Ok(part) => parts.push(part),
                Err(name) => {
                    hint = hint.or_else(|| profile_of_helper(name));
                    is_countersigned |= self.is_countersign(name);
                }
            }
        }
        // One that is empty alone says nothing, but it may count before another of its name, and where it stands among others.
        let first = parts.iter().find(|part| !part.is_empty());
        let named = first.filter(|_| !self.is_own).map(|part| self.known[part.known].profile);
        let told = self.fixed.or(named).or(hint).or(learned);
        let mut tokens = Tokens {
            profile: told.unwrap_or(Profile::NextAuth),
            profile_known: told.is_some(),
            seen: Seen::None,
            parts: Default::default(),
            by_header: false,
        };
        if first.is_some() {
            self.name_all(store, &parts, is_countersigned, &mut tokens);
        }
        tokens
    }

    /// The cookie names that sessions may have, each with its library.
    pub fn known(&self) -> impl Iterator<Item = (Profile, &str)> {
        self.known.iter().map(|known| (known.profile, known.name.as_str()))
    }

    /// The token of the cookie that counts, as it was sent, read from the same headers again.
    pub fn held<'a>(&self, cookies: impl IntoIterator<Item = &'a [u8]>, tokens: &Tokens) -> Option<Held<'_>> {
        let side = super::nextauth::side_of(tokens)?;
        let (known, own) =
            self.known.iter().enumerate().find(|(_, known)| known.profile == tokens.profile && known.side == side)?;
        let mut parts: SmallVec<[Part<'a>; 4]> = SmallVec::new();
        let mut names = Vec::new();
        for cookie in cookies.into_iter().flat_map(cookies_of) {
            if let Ok(part) = self.part(cookie)
                && part.known == known
            {
                if !part.is_empty() {
                    names.push(halves(cookie).0.to_vec());
                }
                parts.push(part);
            }
        }
        let Reading::Clear(token) = join(&parts.iter().collect::<SmallVec<[&Part<'_>; 4]>>()) else { return None };
        let token = token.into_owned();
        let (name, is_own) = (own.name.as_bytes(), self.is_own);
        let is_secure = side == Side::Secure;
        Some(Held { known, profile: own.profile, is_secure, is_own, name, token, cookies: names })
    }

    fn name_all(&self, store: &Store, parts: &[Part<'_>], is_countersigned: bool, tokens: &mut Tokens) {
        let is_foreign =
            |part: &Part<'_>| !self.is_own && !part.is_empty() && self.known[part.known].profile != tokens.profile;
        let mut whys = (is_countersigned || parts.iter().any(is_foreign)).then_some(PassWhy::Ambiguous);
        let mut is_whole = parts.len() <= PARTS_MAX;
        if !is_whole {
            whys = Some(PassWhy::TooLong);
        }
        let sum: usize = parts.iter().map(|part| part.value.map_or(0, <[u8]>::len)).sum();
        if sum > self.max {
            whys = Some(PassWhy::TooLong);
        }
        let mut candidates: SmallVec<[NameBuf; 2]> = SmallVec::new();
        let mut clear: [Option<NameBuf>; 2] = [None, None];
        for (index, known) in self.known.iter().enumerate() {
            let own: SmallVec<[&Part<'_>; 4]> = parts.iter().filter(|part| part.known == index).collect();
            if own.iter().all(|part| part.is_empty()) {
                continue;
            }
            let (said, side) = (own.iter().filter(|part| !part.is_empty()), known.side as usize);
            tokens.parts[side].extend(said.map(|part| Suffix::from_slice(part.suffix)));
            match join(&own) {
                Reading::Clear(token) => {
                    let name = self.name(store, &token);
                    candidates.push(name.clone());
                    clear[side] = Some(name);
                    // One cookie that is read as it was sent has nothing encoded, and is looked through once.
                    let is_as_sent = own.len() == 1 && matches!(token, Cow::Borrowed(_));
                    let is_bent = if is_as_sent { self.is_bent(&token) } else { self.is_bent_in(&own, &token) };
                    if is_bent {
                        is_whole = false;
                        whys = whys.or(Some(PassWhy::Ambiguous));
                    }
                }
                Reading::Unclear(tokens, all) => {
                    // What has a zero byte is no token, but may be what a user is called by.
                    let tokens = || tokens.iter().filter(|token| !token.contains(&0));
                    candidates.extend(tokens().map(|token| self.name(store, token)));
                    is_whole &= all && !tokens().any(|token| self.is_bent_in(&own, token));
                    whys = whys.or(Some(PassWhy::Ambiguous));
                }
            }
        }
        tokens.seen = match whys {
            Some(why) => Seen::Unclear { names: candidates.into_vec(), why, is_whole },
            None => self.seen(store, clear),
        };
    }

    pub fn name(&self, store: &Store, token: &[u8]) -> NameBuf {
        store.secret_name(&self.prefix, token)
    }

    fn seen(&self, store: &Store, names: [Option<NameBuf>; 2]) -> Seen {
        match names {
            [Some(plain), Some(secure)] => {
                // Made of the names, not of the tokens, so that the key after a rotation can be told without them.
                let key = self.name(store, &[BOTH, plain.as_slice(), secure.as_slice()].concat());
                Seen::Both { key, plain, secure }
            }
            [Some(key), None] => Seen::One { key, side: Side::Plain },
            [None, Some(key)] => Seen::One { key, side: Side::Secure },
            [None, None] => Seen::None,
        }
    }

    /// What an answer's `set-cookie` lines do to the session cookies.
    pub fn change(&self, headers: &[Header]) -> Change {
        let mut change = Change::default();
        let mut did: Vec<Did<'_>> = Vec::new();
        for (_, line) in headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie")) {
            let mut fields = line.split(|byte| *byte == b';');
            let (name, value) = halves(fields.next().unwrap_or_default());
            let Some((known, suffix)) = self.find(name) else {
                change.profile = change.profile.or_else(|| profile_of_helper(name));
                continue;
            };
            let known = &self.known[known];
            change.profile = change.profile.or((!self.is_own).then_some(known.profile));
            change.lines.push(line.clone());
            let value = value.unwrap_or_default();
            let gone = value.is_empty() || fields.clone().any(ends_it);
            // The last line about a cookie is the one that a browser keeps.
            let (side, scope) = (known.side as usize, Scope::of(fields));
            did.retain(|known| (known.side, known.suffix, &known.scope) != (side, suffix, &scope));
            did.push(Did { side, suffix, scope, value: (!gone).then_some(value) });
        }
        for Did { side, suffix, value, .. } in &did {
            let known = &mut change.sides[*side];
            // One of another scope is another cookie: to delete that takes nothing from what is set.
            let is_set = known.iter().any(|(known, value)| known.as_slice() == *suffix && value.is_some());
            if value.is_some() || !is_set {
                known.retain(|(known, _)| known.as_slice() != *suffix);
                known.push((Suffix::from_slice(suffix), value.map(Bytes::copy_from_slice)));
            }
        }
        change
    }

    /// The tokens of the browser's next request, when this one's answer did that. `None`: it has none, or what it
    /// will send cannot be told.
    pub fn next(&self, store: &Store, tokens: &Tokens, change: &Change) -> Option<Seen> {
        if tokens.by_header
            || matches!(tokens.seen, Seen::Unclear { .. })
            || (!self.is_own && change.profile.is_some_and(|other| other != tokens.profile))
        {
            return None;
        }
        let mut names = [None, None];
        for side in [Side::Plain, Side::Secure] {
            let (had, does) = (&tokens.parts[side as usize], &change.sides[side as usize]);
            if does.is_empty() {
                names[side as usize] = tokens.single(side);
                continue;
            }
            // A chunk that is neither set nor deleted would be joined to the new token.
            let left_over = |suffix: &Suffix| does.iter().all(|(known, _)| known != suffix);
            if had.iter().any(left_over) {
                return None;
            }
            let set = does.iter().filter_map(|(suffix, value)| Some((suffix, value.as_ref()?)));
            let parts: Vec<Part<'_>> = set
                .map(|(suffix, value)| Part { known: 0, suffix, value: Some(value.as_ref()), name: Name::Plain })
                .collect();
            if parts.is_empty() {
                continue;
            }
            match join(&parts.iter().collect::<SmallVec<[&Part<'_>; 4]>>()) {
                Reading::Clear(token) if token.len() <= self.max && !self.is_bent(&token) => {
                    names[side as usize] = Some(self.name(store, &token))
                }
                _ => return None,
            }
        }
        match self.seen(store, names) {
            Seen::None => None,
            seen => Some(seen),
        }
    }
}

/// What an answer does to the session cookies.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The library whose cookies they are, csrf and callback-url included.
    pub profile: Option<Profile>,
    /// The `set-cookie` lines about session cookies, to hand them to others of the family.
    pub lines: Vec<Bytes>,
    /// By side: what is behind the name, and the value or, if it is deleted, none.
    sides: [Vec<(Suffix, Option<Bytes>)>; 2],
}

impl Change {
    /// Whether session cookies are set or deleted at all.
    pub fn is_any(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether a session cookie gets a value.
    pub fn sets(&self) -> bool {
        self.sides.iter().flatten().any(|(_, value)| value.is_some())
    }

    /// Whether the session is taken away: cookies are deleted and none is set.
    pub fn takes_away(&self) -> bool {
        self.is_any() && !self.sets()
    }

    /// The one side that the answer is about: the cookie that the source has read.
    pub fn side(&self) -> Option<Side> {
        match (self.sides[0].is_empty(), self.sides[1].is_empty()) {
            (false, true) => Some(Side::Plain),
            (true, false) => Some(Side::Secure),
            _ => None,
        }
    }
}

/// What a line does to a cookie.
struct Did<'l> {
    side: usize,
    suffix: &'l [u8],
    scope: Scope<'l>,
    value: Option<&'l [u8]>,
}

/// Where a cookie is sent, which is a part of what it is to a browser.
#[derive(Default, PartialEq, Eq)]
struct Scope<'l> {
    domain: Vec<u8>,
    path: &'l [u8],
}

impl<'l> Scope<'l> {
    /// By the attributes of a `set-cookie` line, of which the last counts.
    fn of(attributes: impl Iterator<Item = &'l [u8]>) -> Scope<'l> {
        let mut scope = Scope::default();
        for (name, value) in attributes.map(halves) {
            let value = value.unwrap_or_default();
            if name.eq_ignore_ascii_case(b"domain") {
                scope.domain = value.strip_prefix(b".").unwrap_or(value).to_ascii_lowercase();
            } else if name.eq_ignore_ascii_case(b"path") {
                scope.path = value;
            }
        }
        scope
    }
}

/// Whether an attribute of a `set-cookie` line deletes the cookie.
fn ends_it(attribute: &[u8]) -> bool {
    let (name, value) = halves(attribute);
    let value = value.unwrap_or_default();
    (name.eq_ignore_ascii_case(b"max-age") && (value.starts_with(b"-") || value == b"0"))
        || (name.eq_ignore_ascii_case(b"expires")
            && value.windows(11).any(|date| date == b"01 Jan 1970" || date == b"01-Jan-1970"))
}

/// The cookies of a `Cookie` header. Tokens are long, so the end of one is searched for many bytes at a time.
pub(super) fn cookies_of(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = memchr::memchr(b';', line);
        rest = end.map(|end| &line[end + 1..]);
        Some(&line[..end.unwrap_or(line.len())])
    })
}

/// Name and value around the first `=`, without the space around them.
pub(super) fn halves(cookie: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'=', cookie) {
        Some(at) => (cookie[..at].trim_ascii(), Some(cookie[at + 1..].trim_ascii())),
        None => (cookie.trim_ascii(), None),
    }
}
