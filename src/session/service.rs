//! Whose sessions they are: what sets one session service apart from another, as data.
//!
//! A check of any of them goes the same way (stored, shared, fenced). Here is what differs: the path that is asked, what a
//! request shows who it is with, what an answer says of nobody, when a session ends, and who it is.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::answer::{Answer, Origin};
use super::headers::{Route, leads_out, means, past, route};
use super::source::{EXPIRES, Ending, Says, says_by};
use super::verify::find;
use crate::config::{BASE_PATH, Nobody};

/// A session service: NextAuth, or another whose sessions are asked for by one request.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// let settings = Settings { source: Source::Upstream, service: Service::kratos(), ..Settings::default() };
/// let sessions = SessionCache::embedded(settings, hands.clone());
/// assert_eq!(sessions.service().path(), "/sessions/whoami");
/// let tokens = sessions.tokens([&b"ory_kratos_session=abc"[..]]);
/// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    kind: Kind,
    /// What the paths begin with that are here whatever the service.
    base: Cow<'static, str>,
    /// The path below it where every session is.
    session: Cow<'static, str>,
    /// The path below it where proxies ask.
    verify: Cow<'static, str>,
    /// The path that is asked for a session.
    path: Cow<'static, str>,
    /// The path that signs out; empty for none.
    sign_out: Cow<'static, str>,
    /// The statuses by which it says that nobody is signed in, beside an empty body.
    nobody: Cow<'static, [u16]>,
    /// What is answered here when nobody is signed in, if not as NextAuth does.
    empty: (u16, &'static str),
    /// The name of the session cookie; none for a service that reads no cookies.
    pub(super) cookie: Option<Cow<'static, str>>,
    /// Whether the token may come as `Authorization: Bearer`.
    pub(super) bearer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NextAuth,
    BetterAuth,
    Kratos,
    Supabase,
    Generic,
}

impl Kind {
    /// What is behind the base path where a session is asked for, and where it ends; `None` where neither is below it.
    fn actions(self) -> Option<(&'static str, &'static str)> {
        match self {
            Kind::NextAuth => Some(("session", "signout")),
            Kind::BetterAuth => Some(("get-session", "sign-out")),
            Kind::Kratos | Kind::Supabase | Kind::Generic => None,
        }
    }
}

const KRATOS_NOBODY: &str =
    r#"{"error":{"id":"session_inactive","code":401,"status":"Unauthorized","message":"nobody is signed in"}}"#;
const SUPABASE_NOBODY: &str = r#"{"code":401,"error_code":"no_authorization","msg":"nobody is signed in"}"#;
/// Of a token that was signed out: Supabase's client forgets it then.
const SUPABASE_GONE: &str = r#"{"code":403,"error_code":"session_not_found","msg":"the session was signed out"}"#;
const GENERIC_NOBODY: &str = r#"{"error":"nobody is signed in"}"#;

/// Where Kratos says for how long an answer may be kept, in whole seconds.
const CACHE_FOR: &str = "ory-session-cache-for";

impl Service {
    fn new(kind: Kind, path: &'static str, sign_out: &'static str) -> Service {
        let service = Service {
            kind,
            base: Cow::Borrowed(""),
            session: Cow::Borrowed(""),
            verify: Cow::Borrowed(""),
            path: Cow::Borrowed(path),
            sign_out: Cow::Borrowed(sign_out),
            nobody: Cow::Borrowed(&[]),
            empty: (200, "null"),
            cookie: None,
            bearer: true,
        };
        service.with_base_path(BASE_PATH)
    }

    /// NextAuth or Auth.js.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// assert_eq!(Service::next_auth().path(), "/api/auth/session");
    /// ```
    pub fn next_auth() -> Service {
        Service { bearer: false, ..Service::new(Kind::NextAuth, "", "") }
    }

    /// better-auth: `session_token` in a signed cookie, or as bearer where its plugin is in use.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// assert_eq!(Service::better_auth().path(), "/api/auth/get-session");
    /// ```
    pub fn better_auth() -> Service {
        let cookie = Some(Cow::Borrowed("better-auth.session_token"));
        Service { cookie, ..Service::new(Kind::BetterAuth, "", "") }
    }

    /// Ory Kratos: a cookie, `X-Session-Token` or a bearer; 401 is nobody, and 403 somebody without his second factor.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// assert_eq!(Service::kratos().path(), "/sessions/whoami");
    /// ```
    pub fn kratos() -> Service {
        Service {
            nobody: Cow::Borrowed(&[401]),
            empty: (401, KRATOS_NOBODY),
            cookie: Some(Cow::Borrowed("ory_kratos_session")),
            ..Service::new(Kind::Kratos, "/sessions/whoami", "/self-service/logout/api")
        }
    }

    /// Supabase (GoTrue): a JWT as bearer; 401 and 403 are nobody.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// assert_eq!(Service::supabase().path(), "/auth/v1/user");
    /// ```
    pub fn supabase() -> Service {
        Service {
            nobody: Cow::Borrowed(&[401, 403]),
            empty: (401, SUPABASE_NOBODY),
            ..Service::new(Kind::Supabase, "/auth/v1/user", "/auth/v1/logout")
        }
    }

    /// Any other: asked on this path, with a bearer, or with the cookie that is [named](super::Settings::cookie).
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// let service = Service::generic("/me");
    /// assert_eq!(service.route("GET", "/me", None, false), Route::Check);
    /// ```
    pub fn generic(path: &str) -> Service {
        let service = Service::new(Kind::Generic, "", "").with_nobody(&[Nobody::Status(401)]);
        service.with_path(path)
    }

    /// The same below another base path: NextAuth's or better-auth's `basePath`. Of the other services too it is what the
    /// paths begin with that are here whatever the service, such as that of [`Route::Verify`].
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// let service = Service::next_auth().with_base_path("/docs/api/auth");
    /// assert_eq!(service.path(), "/docs/api/auth/session");
    /// assert_eq!(service.route("GET", "/docs/api/auth/verify", None, true), Route::Verify);
    /// assert_eq!(service.route("GET", "/api/auth/session", None, true), Route::Elsewhere);
    /// assert_eq!(Service::better_auth().with_base_path("/auth").path(), "/auth/get-session");
    /// ```
    pub fn with_base_path(self, base: &str) -> Service {
        let below = |action: &str| Cow::Owned(format!("{base}/{action}"));
        let (path, sign_out) = match self.kind.actions() {
            Some((session, sign_out)) => (below(session), below(sign_out)),
            None => (self.path, self.sign_out),
        };
        let (session, verify) = (below("session"), below("verify"));
        Service { base: base.to_owned().into(), session, verify, path, sign_out, ..self }
    }

    /// The same on another path.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// assert_eq!(Service::kratos().with_path("/kratos/sessions/whoami").path(), "/kratos/sessions/whoami");
    /// ```
    pub fn with_path(self, path: &str) -> Service {
        Service { path: path.to_owned().into(), ..self }
    }

    /// The same with another path that signs out.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// let service = Service::generic("/me").with_sign_out("/bye");
    /// assert_eq!(service.route("POST", "/bye", None, false), Route::SignOut);
    /// ```
    pub fn with_sign_out(self, path: &str) -> Service {
        Service { sign_out: path.to_owned().into(), ..self }
    }

    /// The same with other words for nobody. The first one is what is answered here.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// use cloakroom::config::Nobody;
    ///
    /// let service = Service::generic("/me").with_nobody(&[Nobody::Status(204)]);
    /// let settings = Settings { source: Source::Upstream, service, ..Settings::default() };
    /// let sessions = SessionCache::embedded(settings, hands.clone());
    /// let LookUp::Answer(answer) = sessions.look_up(&sessions.credentials(|| [].into_iter()), hands.now()) else { panic!() };
    /// assert_eq!((answer.status, answer.body.len()), (204, 0));
    /// ```
    pub fn with_nobody(mut self, words: &[Nobody]) -> Service {
        let status = |word: &Nobody| if let Nobody::Status(status) = word { Some(*status) } else { None };
        self.nobody = words.iter().filter_map(status).collect::<Vec<_>>().into();
        self.empty = match words.first() {
            Some(Nobody::Status(204)) => (204, ""),
            Some(Nobody::Status(status)) => (*status, GENERIC_NOBODY),
            Some(Nobody::Object) => (200, "{}"),
            Some(Nobody::Null) | None => (200, "null"),
        };
        self
    }

    /// The same with a cookie of the app's own. A generic service has either a cookie or bearers.
    pub(super) fn with_cookie(mut self, name: Option<&str>) -> Service {
        if let Some(name) = name.filter(|_| self.kind != Kind::Supabase) {
            self.cookie = Some(name.to_owned().into());
            self.bearer &= self.kind != Kind::Generic;
        }
        self
    }

    /// Whether it is NextAuth or Auth.js.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// assert!(Service::next_auth().is_next_auth() && !Service::kratos().is_next_auth());
    /// ```
    pub fn is_next_auth(&self) -> bool {
        self.kind == Kind::NextAuth
    }

    /// The path that is asked for a session.
    ///
    /// ```
    /// # use cloakroom::session::Service;
    /// assert_eq!(Service::better_auth().path(), "/api/auth/get-session");
    /// ```
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the paths begin with that are here whatever the service.
    ///
    /// ```
    /// # use cloakroom::session::Service;
    /// assert_eq!(Service::kratos().base_path(), "/api/auth");
    /// ```
    pub fn base_path(&self) -> &str {
        &self.base
    }

    /// Whether the path that is asked for a session follows the base path.
    #[cfg_attr(doc, doc(hidden))]
    pub fn is_below_base(&self) -> bool {
        self.kind.actions().is_some_and(|(session, _)| self.action(&self.path) == Some(session))
    }

    /// Where every session is, whatever its service calls that.
    #[cfg_attr(doc, doc(hidden))]
    pub fn session_path(&self) -> &str {
        &self.session
    }

    /// Where proxies ask.
    #[cfg_attr(doc, doc(hidden))]
    pub fn verify_path(&self) -> &str {
        &self.verify
    }

    /// What a path has behind the base path.
    #[cfg_attr(doc, doc(hidden))]
    pub fn action<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&*self.base)?.strip_prefix('/')
    }

    /// What `X-Session-Source` calls it.
    #[cfg_attr(doc, doc(hidden))]
    pub fn word(&self) -> &'static str {
        match self.kind {
            Kind::NextAuth => "nextauth",
            Kind::BetterAuth => "better-auth",
            Kind::Kratos => "kratos",
            Kind::Supabase => "supabase",
            Kind::Generic => "upstream",
        }
    }

    /// The header that carries a token alone and goes before all others.
    pub(super) fn header(&self) -> Option<&'static [u8]> {
        (self.kind == Kind::Kratos).then_some(b"x-session-token")
    }

    /// A header that is not read here, and that the service may go by whatever else is shown: bearers where an app has been
    /// said to go by a cookie, and the keys of better-auth's plugin for them.
    pub(super) fn unread(&self) -> Option<&'static [u8]> {
        match self.kind {
            Kind::Generic if !self.bearer => Some(b"authorization"),
            Kind::BetterAuth => Some(b"x-api-key"),
            _ => None,
        }
    }

    /// A header that older versions take for the cookie.
    pub(super) fn cookie_header(&self) -> Option<&'static [u8]> {
        (self.kind == Kind::Kratos).then_some(b"x-session-cookie")
    }
}

/// Which door a request is at.
impl Service {
    /// The door for a method, a path, which is compared as it was sent, and a query, which goes with it. What may mean the
    /// session path to others is a check past the cache; what leads out of its folder is elsewhere.
    ///
    /// ```
    /// # use cloakroom::session::{Route, Service};
    /// let service = Service::next_auth();
    /// assert_eq!(service.route("GET", "/api/auth/session", None, true), Route::Check);
    /// assert_eq!(service.route("GET", "/api/auth/verify", None, true), Route::Verify);
    /// assert_eq!(service.route("GET", "/api/auth/verify", None, false), Route::Page, "not spoken here");
    /// ```
    pub fn route(&self, method: &str, path: &str, query: Option<&str>, verifies: bool) -> Route {
        if self.is_next_auth() {
            return route(&self.base, method, path, query, verifies);
        }
        let is_session = path == self.path || path == self.session;
        match method {
            "GET" if is_session && query.is_none() => return Route::Check,
            "GET" | "HEAD" | "OPTIONS" if is_session => return Route::OtherCheck,
            _ if is_session => return Route::Update,
            _ if self.signs_out(method, path) => return Route::SignOut,
            _ => {}
        }
        match (self.action(path), method) {
            (Some("signout"), "POST") => Route::Clear,
            (Some("signout-everywhere"), "POST") => Route::SignOutEverywhere,
            _ if means(path, &self.path) || means(path, &self.session) => past(method),
            (Some(action), _) if verifies && (action == "verify" || action.starts_with("verify/")) => Route::Verify,
            // Which of them signs in is not known of others than NextAuth's.
            _ if self.hands_on(path) => Route::SignIn,
            _ => Route::Elsewhere,
        }
    }

    fn signs_out(&self, method: &str, path: &str) -> bool {
        let method_fits = match self.kind {
            Kind::Kratos => method == "DELETE",
            Kind::Generic => matches!(method, "POST" | "DELETE"),
            _ => method == "POST",
        };
        method_fits && path == self.sign_out && !path.is_empty()
    }

    /// Whether a path that is nothing else is the service's: it lies where the session does, or where it signs out.
    fn hands_on(&self, path: &str) -> bool {
        let beside = |own: &str| {
            let folder = own.rfind('/').map_or("", |end| &own[..=end]);
            path == own || (folder.len() > 1 && path.starts_with(folder))
        };
        let kratos = ["/self-service/", "/schemas/", "/.well-known/ory/"];
        let is_own = beside(&self.path)
            || (!self.sign_out.is_empty() && beside(&self.sign_out))
            || (self.kind == Kind::Kratos
                && (path == "/sessions" || kratos.iter().any(|folder| path.starts_with(folder))));
        is_own && !leads_out(path)
    }

    /// Whose sign-out a request body names, where the headers tell nothing.
    #[cfg_attr(doc, doc(hidden))]
    pub fn token_in(&self, body: &[u8]) -> Option<String> {
        if self.kind != Kind::Kratos {
            return None;
        }
        let body: Value = serde_json::from_slice(body).ok()?;
        Some(body.get("session_token")?.as_str()?.to_owned())
    }

    /// Whether a sign-out with this query is that of all other sessions, and this one's no.
    #[cfg_attr(doc, doc(hidden))]
    pub fn spares_itself(&self, query: Option<&str>) -> bool {
        self.kind == Kind::Supabase && scope(query) == Some("others")
    }

    /// Whether a sign-out with this query ends all sessions of its user.
    #[cfg_attr(doc, doc(hidden))]
    pub fn ends_all(&self, query: Option<&str>) -> bool {
        self.kind == Kind::Supabase && matches!(scope(query), None | Some("" | "global"))
    }

    /// Whether an answer to a sign-out means that it took place. `takes_away`: it deletes the session cookie.
    pub(super) fn has_ended(&self, status: u16, takes_away: bool) -> bool {
        // NextAuth says so with a 200 as well when it has done nothing.
        takes_away || (!self.is_next_auth() && (200..400).contains(&status))
    }
}

fn scope(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("scope="))
}

/// What answers say.
impl Service {
    /// What an answer of the service says.
    pub(super) fn hears(&self, status: u16, body: &[u8]) -> Says {
        match status {
            status if self.nobody.contains(&status) => Says::SignedOut,
            403 if self.kind == Kind::Kratos => Says::Barred,
            200 => self.says(body),
            _ => Says::Nonsense,
        }
    }

    /// Whether this is what the service answers to who is not signed in.
    #[cfg_attr(doc, doc(hidden))]
    pub fn says_nobody(&self, status: u16, body: &[u8]) -> bool {
        self.hears(status, body) == Says::SignedOut
    }

    /// What a body says.
    pub(super) fn says(&self, body: &[u8]) -> Says {
        says_by(body, self.ending())
    }

    fn ending(&self) -> Ending {
        match self.kind {
            Kind::NextAuth => EXPIRES,
            Kind::BetterAuth => &[&["session"], &["expiresAt"]],
            Kind::Kratos => &[&["expires_at"]],
            // The token tells it.
            Kind::Supabase => &[&[]],
            Kind::Generic => &[&["expires", "expiresAt", "expires_at"]],
        }
    }

    /// For how many milliseconds the service lets an answer be kept, if it says so. What cannot be read allows nothing.
    pub(super) fn keeps_for(&self, answer: &Answer) -> Option<u64> {
        let told = answer.header(CACHE_FOR).filter(|_| self.kind == Kind::Kratos)?;
        let seconds = std::str::from_utf8(told).ok().and_then(|text| text.trim().parse::<u64>().ok());
        Some(seconds.unwrap_or(0).saturating_mul(1000))
    }

    /// Whether a header line is true of one moment only.
    pub(super) fn is_fleeting(&self, name: &[u8]) -> bool {
        self.kind == Kind::Kratos && name == CACHE_FOR.as_bytes()
    }

    /// Whether nobody is told by a body alone. Where a status tells it, a client throws its token away for it.
    pub(super) fn is_quiet(&self) -> bool {
        self.empty.0 == 200
    }

    /// The answer of a service other than NextAuth when nobody is signed in.
    pub(super) fn empty(&self, origin: Origin) -> Answer {
        let (status, body) = match (self.kind, origin) {
            (Kind::Supabase, Origin::Fence) => (403, SUPABASE_GONE),
            _ => self.empty,
        };
        Answer::plain(status, Bytes::from_static(body.as_bytes()), origin)
    }
}

/// Who it is.
impl Service {
    /// The claim at a path: members from the outside in. `user` is the user wherever the service has him, and `expires` the
    /// session's end.
    pub(super) fn claim<'v>(&self, session: &'v Value, path: &[impl AsRef<str>]) -> Option<&'v Value> {
        let names: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        match (names.as_slice(), self.kind) {
            (_, Kind::NextAuth) | (["user", ..], Kind::BetterAuth) => find(session, path),
            (["user", name @ ..], Kind::Kratos) => match name {
                ["id"] => find(session, &["identity", "id"]),
                // What the person may not change.
                ["role" | "roles" | "groups", ..] => find(session.get("identity")?.get("metadata_public")?, name),
                _ => find(session.get("identity")?.get("traits")?, name),
            },
            (["user", name @ ..], Kind::Supabase) => match name {
                ["name"] => {
                    find(session, &["user_metadata", "full_name"]).or_else(|| find(session, &["user_metadata", "name"]))
                }
                ["roles" | "groups", ..] => find(session.get("app_metadata")?, name),
                _ => find(session, name),
            },
            (["user", name @ ..], Kind::Generic) => find(session, path).or_else(|| find(session, name)),
            (["expires"], Kind::BetterAuth) => find(session, &["session", "expiresAt"]),
            (["expires"], Kind::Kratos) => find(session, &["expires_at"]),
            (["expires"], Kind::Generic) => {
                ["expires", "expiresAt", "expires_at"].into_iter().find_map(|name| find(session, &[name]))
            }
            _ => find(session, path),
        }
    }
}
