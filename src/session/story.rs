//! Why a check was no hit: the last decisions that were more than that, and what is known of one token now.
//!
//! A hit is what is expected and leaves nothing here. A name is kept hashed and cut, for people to recognise and for
//! nobody to use.

use std::collections::VecDeque;
use std::fmt;

use parking_lot::Mutex;

use super::cache::{Core, PassWhy, SessionCache};
use super::cookie::{Seen, Tokens};
use super::source::{Failure, Says, says};
use crate::clock::{Millis, Ttl};
use crate::store::{Look, NameBuf};

/// Decisions that are kept: some minutes of misses of a busy site, in some tens of kilobytes.
const KEPT: usize = 512;

/// Bytes of a hashed name that are shown: enough to tell tokens apart.
const SHOWN: usize = 9;

/// A decision about a session that was no hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The source is asked: nothing is known of this token here, or nothing any more.
    New,
    /// The source is asked: the answer that was stored had died so long ago.
    Expired(Ttl),
    /// The source is asked: the answer that was stored was taken away before its time, by a command, by an update of the
    /// session, or for want of memory.
    Removed,
    /// The source is asked: the token is from before an update of the session.
    Superseded,
    /// The request goes past the cache.
    Passed(PassWhy),
    /// Nothing is stored for the token, and there is nobody to ask.
    Absent,
    /// The source answered with a session, which is stored for so long.
    Stored(Ttl),
    /// The source answered with this status, and knows of no session.
    Nobody(u16),
    /// The source answered with this status, and that is not to be kept: a session was signed out or changed meanwhile,
    /// ends at once, or is too large.
    Unfit(u16),
    /// The source failed.
    Failed(Failure),
    /// The source failed with this status.
    Refused(u16),
    /// The token was signed out.
    SignedOut,
    /// The source let the session live.
    SignOutRefused,
    /// What was stored was cleared on request.
    Cleared,
}

impl Event {
    /// One word for it, for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Event::New => "new",
            Event::Expired(_) => "expired",
            Event::Removed => "removed",
            Event::Superseded => "superseded",
            Event::Passed(_) => "passed",
            Event::Absent => "absent",
            Event::Stored(_) => "stored",
            Event::Nobody(_) => "nobody",
            Event::Unfit(_) => "unfit",
            Event::Failed(_) | Event::Refused(_) => "failed",
            Event::SignedOut => "signed-out",
            Event::SignOutRefused => "sign-out-refused",
            Event::Cleared => "cleared",
        }
    }
}

impl fmt::Display for Event {
    /// A sentence for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::New => f.write_str("miss: this token was not known here"),
            Event::Expired(ago) => write!(f, "miss: the stored answer had died {} ago", Span(*ago)),
            Event::Removed => f.write_str("miss: the stored answer was taken away before its time"),
            Event::Superseded => f.write_str("miss: the token is from before an update of the session"),
            Event::Passed(PassWhy::Ambiguous) => f.write_str("past the cache: its cookies can be read in two ways"),
            Event::Passed(PassWhy::TooLong) => f.write_str("past the cache: there is too much session cookie"),
            Event::Passed(PassWhy::ProfileUnknown) => {
                f.write_str("past the cache: no answer has told yet which library the application has")
            }
            Event::Absent => f.write_str("nothing is stored for this token, and there is nobody to ask"),
            Event::Stored(ttl) => write!(f, "the source answered with a session; it is stored for {}", Span(*ttl)),
            Event::Nobody(status) => write!(f, "the source answered {status}: nobody is signed in; nothing is stored"),
            Event::Unfit(status) => write!(f, "the source answered {status}; that is not stored"),
            Event::Failed(failure) => write!(f, "the source failed: {}", failure.word()),
            Event::Refused(status) => write!(f, "the source failed with {status}"),
            Event::SignedOut => f.write_str("signed out"),
            Event::SignOutRefused => f.write_str("the source refused the sign-out; the session lives"),
            Event::Cleared => f.write_str("cleared on request"),
        }
    }
}

/// A length of time for people.
pub(super) struct Span(pub Ttl);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            millis @ 0..1_000 => write!(f, "{millis} ms"),
            millis @ 1_000..120_000 => write!(f, "{}.{} s", millis / 1_000, millis % 1_000 / 100),
            millis @ 120_000..7_200_000 => write!(f, "{} min", millis / 60_000),
            millis @ 7_200_000..172_800_000 => write!(f, "{} h", millis / 3_600_000),
            millis => write!(f, "{} days", millis / 86_400_000),
        }
    }
}

/// A decision that was kept.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its number, counting all that were ever kept.
    pub id: u64,
    /// When it fell.
    pub at: Millis,
    /// The beginning of the token's hashed name.
    pub name: String,
    /// What it was.
    pub event: Event,
    whole: NameBuf,
}

/// The last decisions.
#[derive(Default)]
pub(super) struct Story(Mutex<(u64, VecDeque<Told>)>);

/// What is known of a token now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The request has no session cookie.
    NoCookie,
    /// It cannot be told which token counts.
    Unclear(PassWhy),
    /// It was signed out, and is refused for so long.
    SignedOut(Ttl),
    /// Something is stored, and for so long it is what a check is answered with. `None`: a command has set it without an
    /// end.
    Stored {
        /// How much longer it lives.
        ttl: Option<Ttl>,
        /// Whether it is a session at all.
        is_session: bool,
    },
    /// Nothing is stored. If the source fails, the last good answer may be shown for so long.
    Absent {
        /// How much longer the last good answer may be shown.
        stale: Option<Ttl>,
    },
}

/// One token's story.
#[derive(Clone, Debug)]
pub struct Account {
    /// The beginning of its hashed name; empty if there is no one token.
    pub name: String,
    /// What is known of it now.
    pub state: State,
    /// Tokens that are known of the same login.
    pub tokens: usize,
    /// Whether a newer token of the same login is known.
    pub is_superseded: bool,
    /// How much longer the session lasts, as the source told.
    pub session_ends: Option<Ttl>,
    /// The last decisions about it and the other tokens of its login, newest first.
    pub events: Vec<Told>,
}

impl Core {
    /// Keeps a decision. One that falls while another is being kept is lost: nobody waits for this.
    pub fn tell(&self, name: &NameBuf, event: Event, now: Millis) {
        let Some(mut story) = self.story.0.try_lock() else { return };
        let shown = label(&self.shown(name));
        let (count, told) = &mut *story;
        told.truncate(KEPT - 1);
        told.push_front(Told { id: *count, at: now, name: shown, event, whole: name.clone() });
        *count += 1;
    }

    /// Why the source has to be asked about a token.
    pub fn why_asked(&self, family: &NameBuf, behind: bool, now: Millis) -> Event {
        if behind {
            return Event::Superseded;
        }
        match self.record(family, now) {
            Some(record) if record.fresh_until > now || record.body.is_empty() => Event::Removed,
            Some(record) => Event::Expired(now.since(record.fresh_until)),
            None => Event::New,
        }
    }
}

/// The beginning of a name. Of a namespace that is not secret the name is the token itself, of which no more is shown.
fn label(name: &str) -> String {
    let most = if name.starts_with('~') { SHOWN } else { SHOWN / 2 };
    name.chars().take(most).collect()
}

impl SessionCache {
    /// Keeps a decision about a request's token.
    pub(super) fn tell(&self, tokens: &Tokens, event: Event, now: Millis) {
        tokens.key().into_iter().for_each(|key| self.core.tell(key, event, now));
    }

    /// The newest decisions that were no hits, newest first.
    #[cfg_attr(doc, doc(hidden))]
    pub fn events(&self, most: usize) -> Vec<Told> {
        self.core.story.0.lock().1.iter().take(most).cloned().collect()
    }

    /// What is known of a request's token, and what became of its last checks. Nothing is counted, and nobody is asked.
    #[cfg_attr(doc, doc(hidden))]
    pub fn account(&self, tokens: &Tokens, now: Millis) -> Account {
        let core = &self.core;
        let mut account = Account {
            name: String::new(),
            state: State::NoCookie,
            tokens: 0,
            is_superseded: false,
            session_ends: None,
            events: Vec::new(),
        };
        let key = match &tokens.seen {
            Seen::None => return account,
            Seen::Unclear { why, .. } => {
                account.state = State::Unclear(*why);
                return account;
            }
            Seen::One { key, .. } | Seen::Both { key, .. } => key,
        };
        let (family, _) = core.family_of(key, now);
        let record = core.whole_record(&family, now);
        account.name = label(&core.shown(key));
        let look = |name: &NameBuf| {
            core.answers.look(name, now, |value| {
                let is_session = value.string().is_ok_and(|body| matches!(says(body), Says::SignedIn(_)));
                let ttl = Some(value.deadline()).filter(|at| *at != Millis::NEVER).map(|at| at.since(now));
                State::Stored { ttl, is_session }
            })
        };
        let fenced = |name: &NameBuf| match look(name) {
            Look::Fenced(until) => Some(until.since(now)),
            _ => None,
        };
        let stale = record.as_ref().filter(|record| !record.body.is_empty() && record.stale_until > now);
        let stale = stale.map(|record| record.stale_until.since(now));
        account.state = match (fenced(key).or_else(|| fenced(&family)), look(&family)) {
            (Some(left), _) => State::SignedOut(left),
            (None, Look::Live(state)) => state,
            (None, _) => State::Absent { stale },
        };
        let mut names = vec![key.clone(), family];
        if let Some(record) = record {
            let ends = Some(record.expires).filter(|at| *at != Millis::NEVER);
            account.tokens = record.members.len();
            account.is_superseded = record.newest.as_ref().is_some_and(|newest| newest != key);
            account.session_ends = ends.map(|at| at.since(now));
            names.extend(record.members.into_iter().map(|member| member.name));
        }
        let story = core.story.0.lock();
        account.events = story.1.iter().filter(|told| names.contains(&told.whole)).cloned().collect();
        account
    }
}
