//! Session cookies that are dead and still in a browser: kept from the source, and taken from the browser.
//!
//! Who was signed out keeps the cookie wherever nobody could tell the browser, and a JWT in it is good at the source until
//! it expires. A source that sees it takes whoever signs in next for the one who was signed out: next-auth links a new
//! account to the user whose cookie comes along. So what is handed on past the cache is handed on without it.

use bytes::Bytes;
use smallvec::SmallVec;

use super::answer::Answer;
use super::cache::{Core, SessionCache};
use super::cookie::{Seen, Tokens, cookies_of};
use super::nextauth::{Vault, deletions};
use super::users::id_of;
use crate::clock::{Millis, Ttl};
use crate::store::NameBuf;

/// Names of session cookies, by their numbers among those that are known.
type Known = SmallVec<[usize; 2]>;

impl Core {
    /// Which session cookies of a request a sign-out stands against; `lasts`: of those that are clear, and for good.
    fn dead<'a>(
        &self,
        tokens: &Tokens,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        lasts: bool,
        now: Millis,
    ) -> Known {
        let each = self.names.each(cookies);
        let bound = if lasts { now + self.brief() } else { now };
        let stands = |name: &NameBuf| self.answers.fence_of(name, now).is_some_and(|fence| fence.until > bound);
        let all = match &tokens.seen {
            // A login of two cookies at once.
            Seen::Both { key, .. } => stands(key),
            Seen::Unclear { is_whole: false, .. } => !lasts,
            _ => false,
        };
        let vault = self.vault();
        let is_dead = |known: usize, token: &[u8]| {
            stands(&self.names.name(&self.answers, token))
                || vault.as_ref().is_some_and(|vault| self.is_cut(vault, known, token, now))
        };
        each.iter()
            .filter(|meant| {
                all || (!lasts && !meant.is_whole)
                    || ((!lasts || meant.is_clear) && meant.tokens.iter().any(|token| is_dead(meant.known, token)))
            })
            .map(|meant| meant.known)
            .collect()
    }

    /// The longest that a fence stands of a sign-out that is under way, or of a removal by a command.
    pub fn brief(&self) -> Ttl {
        let settings = self.settings();
        let own = settings.fence();
        self.answers.fence_length(&settings.prefix).map_or(own, |fence| fence.max(own))
    }

    /// Whether a token is of a user who was signed out everywhere since, where that can be read.
    fn is_cut(&self, vault: &Vault, known: usize, token: &[u8], now: Millis) -> bool {
        let Ok(claims) = vault.open(known, token) else { return false };
        let subject = claims.get("sub").and_then(id_of);
        self.check_cut(vault.source.user(&claims), claims, subject.as_deref(), now).is_err()
    }
}

impl SessionCache {
    /// What the `Cookie` headers of a request are to be when it is handed on past the cache, if not what they are: the same
    /// without the session cookies that were signed out. All others stay as they are, to the byte. Read the
    /// [`tokens`](SessionCache::tokens) anew from them; where none is left, a check or an update is answered by
    /// [`signed_out`](SessionCache::signed_out).
    ///
    /// ```
    /// # use cloakroom::clock::ManualClock;
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// let cookies = || [&b"theme=dark; next-auth.session-token=abc; lang=en"[..]];
    /// let tokens = sessions.tokens(cookies());
    /// assert_eq!(sessions.without_dead(&tokens, cookies(), hands.now()), None);
    ///
    /// sessions.sign_out(&tokens, cookies(), hands.now());
    /// let kept = sessions.without_dead(&tokens, cookies(), hands.now()).expect("one is dead");
    /// assert_eq!(kept, ["theme=dark; lang=en"]);
    /// ```
    pub fn without_dead<'a, C>(&self, tokens: &Tokens, cookies: C, now: Millis) -> Option<Vec<Bytes>>
    where
        C: IntoIterator<Item = &'a [u8]>,
        C::IntoIter: Clone,
    {
        let cookies = cookies.into_iter();
        let dead = self.core.dead(tokens, cookies.clone(), false, now);
        if dead.is_empty() {
            return None;
        }
        let is_dead = |cookie: &&[u8]| self.core.names.known_by(cookie).is_some_and(|known| dead.contains(&known));
        let kept = |line: &'a [u8]| {
            let kept: Vec<&[u8]> = cookies_of(line).filter(|cookie| !is_dead(cookie)).collect();
            Bytes::copy_from_slice(kept.join(&b';').trim_ascii())
        };
        Some(cookies.map(kept).filter(|line| !line.is_empty()).collect())
    }

    /// The answer to a check or an update whose session cookies were all signed out.
    ///
    /// ```
    /// # use cloakroom::clock::ManualClock;
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let answer = sessions.signed_out(&tokens);
    /// assert_eq!((answer.origin, &answer.body[..]), (Origin::Fence, &b"{}"[..]));
    /// ```
    pub fn signed_out(&self, tokens: &Tokens) -> Answer {
        self.core.fenced(tokens)
    }

    /// The `set-cookie` lines that take away those session cookies of a request that were signed out for good, to go with an
    /// answer that says so ([`Origin::Fence`](super::Origin::Fence)). A sign-out that is under way may yet be refused, and what
    /// a command has removed is the source's to say after a few seconds: these cookies stay.
    ///
    /// ```
    /// # use cloakroom::clock::ManualClock;
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// let cookies = || [&b"theme=dark; next-auth.session-token=abc"[..]];
    /// let tokens = sessions.tokens(cookies());
    /// let sign_out = sessions.begin_sign_out(&tokens, hands.now());
    /// assert_eq!(sessions.farewell(&tokens, cookies(), hands.now()).len(), 0);
    ///
    /// sessions.end_sign_out(sign_out, None, hands.now());
    /// let lines = sessions.farewell(&tokens, cookies(), hands.now());
    /// assert_eq!(lines, ["next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]);
    /// ```
    pub fn farewell<'a, C>(&self, tokens: &Tokens, cookies: C, now: Millis) -> Vec<Bytes>
    where
        C: IntoIterator<Item = &'a [u8]>,
        C::IntoIter: Clone,
    {
        let cookies = cookies.into_iter();
        let dead = self.core.dead(tokens, cookies.clone(), true, now);
        let is_dead = |name: &[u8]| self.core.names.known_by(name).is_some_and(|known| dead.contains(&known));
        if dead.is_empty() { Vec::new() } else { deletions(cookies, is_dead) }
    }
}
