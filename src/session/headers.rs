//! Which header lines pass a gateway, and which door a request is at. Pure functions for whoever carries the bytes.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::Profile;
use super::credential::is_credential;

/// Which door a request is at.
///
/// ```
/// use cloakroom::session::{Route, Service};
///
/// let service = Service::next_auth();
/// let route = |method, path, query| service.route(method, path, query, true);
/// assert_eq!(route("GET", "/api/auth/session", None), Route::Check);
/// assert_eq!(route("GET", "/api/auth/session", Some("x=1")), Route::OtherCheck);
/// assert_eq!(route("POST", "/api/auth/signout", None), Route::SignOut);
/// assert_eq!(route("GET", "/", None), Route::Elsewhere);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET` on exactly the session path without a query: [`look_up`](super::SessionCache::look_up).
    Check,
    /// The session path, but not plainly asked: past the cache as [`Passage::Check`](super::Passage::Check).
    OtherCheck,
    /// `POST` on the session path, or another method on what may mean it: past the cache as [`Passage::Update`](super::Passage::Update).
    Update,
    /// The sign-out path, `GET` or `POST`.
    SignOut,
    /// `POST` on NextAuth's sign-out path where the service is another: [`clear`](super::SessionCache::clear).
    Clear,
    /// `POST` on the path that ends all sessions of who asks: [`end_everywhere`](super::SessionCache::end_everywhere).
    SignOutEverywhere,
    /// May sign somebody in: [`Passage::SignIn`](super::Passage::SignIn).
    SignIn,
    /// A proxy asks who is signed in, by any method and query:
    /// [`verified_hit`](super::SessionCache::verified_hit) and [`verdict`](super::SessionCache::verdict).
    Verify,
    /// Anything else under the base path: [`Passage::Page`](super::Passage::Page).
    Page,
    /// Not under the base path.
    Elsewhere,
}

/// The door for a method and a path, which is compared as it was sent: what NextAuth may read differently (an encoded
/// letter, a doubled slash) is no plain session check here; if it may be the session path to somebody, it goes past
/// the cache as that. Unless `verifies`, the path of
/// [`Route::Verify`] is one like any other; what stands behind it with a slash is the path that the proxy was asked for.
/// A path that leads out of the folder is elsewhere.
pub fn route(base: &str, method: &str, path: &str, query: Option<&str>, verifies: bool) -> Route {
    let Some(action) = path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) else {
        return Route::Elsewhere;
    };
    // Servers that want a closing slash behind every path send their clients to these.
    let door = action.strip_suffix('/').unwrap_or(action);
    match (door, method) {
        ("session", "GET") if query.is_none() => Route::Check,
        ("session", "POST") => Route::Update,
        ("session", _) if door == action => Route::OtherCheck,
        ("signout", "GET" | "POST") => Route::SignOut,
        ("signout-everywhere", "POST") => Route::SignOutEverywhere,
        _ if verifies && (action == "verify" || action.starts_with("verify/")) => Route::Verify,
        _ if leads_out(path) => Route::Elsewhere,
        _ if means(path, &format!("{base}/session")) => past(method),
        _ if action.starts_with("callback/") || !matches!(method, "GET" | "HEAD" | "OPTIONS") => Route::SignIn,
        _ => Route::Page,
    }
}

/// The door of another spelling of the session path.
pub(super) fn past(method: &str) -> Route {
    if matches!(method, "GET" | "HEAD" | "OPTIONS") { Route::OtherCheck } else { Route::Update }
}

/// How often a path may be encoded: by a browser, a proxy and one more.
const ENCODINGS: usize = 3;

/// A path without what percent signs stand for, as somebody may read it.
fn decoded(path: &str) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(path.as_bytes());
    for _ in 0..ENCODINGS {
        if memchr::memchr(b'%', &text).is_some() {
            text = Cow::Owned(percent_decode(&text).collect());
        }
    }
    text
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
}

/// Whether readers of this path may take it for another than it begins with: it has a segment `.` or `..`, as it is or
/// encoded. A proxy that opens a folder to everybody by what a path begins with must not open the others so.
pub(super) fn leads_out(path: &str) -> bool {
    // Few paths have any of these; a dot in a name is no segment.
    path.contains(['.', '%', '\\']) && segments(&decoded(path)).any(|segment| matches!(segment, b"." | b".."))
}

/// Whether a path may mean this one to a server that decodes it, joins slashes, drops parameters, or does not tell letters
/// by case.
pub(super) fn means(path: &str, own: &str) -> bool {
    let path = decoded(path);
    let bare = |segment: &'_ [u8]| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_ascii_lowercase();
    let names = segments(&path).map(bare).filter(|name| !name.is_empty());
    names.eq(segments(own.as_bytes()).map(|name| name.to_ascii_lowercase()).filter(|name| !name.is_empty()))
}

/// Header lines that belong to one connection (RFC 9110, 7.6.1), and those that framing takes care of.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Header lines of a request that would make the answer something else than the whole session in plain bytes.
const CONDITIONAL: &[&str] = &[
    "accept-encoding",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

fn among(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether a request's header line goes to the source with a session check.
pub fn passes_up(name: &[u8]) -> bool {
    !among(HOP_BY_HOP, name) && !among(CONDITIONAL, name)
}

/// What begins the names that `/api/auth/verify` says who is signed in by.
const IDENTITY: &[u8] = b"x-session";

/// Whether a request's header line of this name says who is signed in, as `/api/auth/verify` alone may: `X-Session`, whatever
/// begins with it, and the `others` that the settings name. Applications that read headers as variables (CGI, WSGI, PHP, Rack)
/// do not tell `_`, `.` or any other mark from `-`, so neither does this. What a session is asked for by is none.
pub fn claims_identity<'o>(name: &[u8], others: impl IntoIterator<Item = &'o str>) -> bool {
    let reads_as = |own: &[u8]| {
        let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (!a.is_ascii_alphanumeric() && *b == b'-');
        name.len() >= own.len() && name.iter().zip(own).all(same)
    };
    let begins = reads_as(IDENTITY) && name.get(IDENTITY.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    !is_credential(name)
        && (begins || others.into_iter().any(|own| own.len() == name.len() && reads_as(own.as_bytes())))
}

/// Whether an answer's header line goes to the client.
pub fn passes_down(name: &[u8]) -> bool {
    !among(HOP_BY_HOP, name) && !name.eq_ignore_ascii_case(b"content-length")
}

/// The header names that a `Connection` line gives, which belong to one connection too.
pub fn connection_names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// Whether a `Via` line names this gateway: the request has been here before.
pub fn carries_via(value: &[u8], pseudonym: &str) -> bool {
    let hops = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let mut names = hops.filter_map(|hop| hop.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1));
    names.any(|name| name.eq_ignore_ascii_case(pseudonym.as_bytes()))
}

/// Whether a header line of an answer speaks to shared caches in words of its own, past `cache-control`.
pub(super) fn shares_beyond(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    name == b"surrogate-control" || name.ends_with(b"cdn-cache-control") || name == b"x-accel-expires"
}

/// The library whose csrf or callback-url cookie this name is.
pub(super) fn profile_of_helper(name: &[u8]) -> Option<Profile> {
    let name = name.trim_ascii();
    let name = name.strip_prefix(b"__Host-").or_else(|| name.strip_prefix(b"__Secure-")).unwrap_or(name);
    match name {
        b"next-auth.csrf-token" | b"next-auth.callback-url" => Some(Profile::NextAuth),
        b"authjs.csrf-token" | b"authjs.callback-url" => Some(Profile::AuthJs),
        _ => None,
    }
}
