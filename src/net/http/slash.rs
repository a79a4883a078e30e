//! The closing slash that some upstreams want behind every path, and send whoever leaves it out to the path with it.
//!
//! Next with `trailingSlash`, Django with `APPEND_SLASH`. A session is asked for on a path of ours, whatever the client has
//! asked for, so such a redirect, handed on, would lead round in a circle. It is the one that is followed, as it leads to
//! the same server and to the same path; what it has told is kept for the calls that come.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, Ordering};

use http::header::{HOST, HeaderValue, LOCATION};
use http::{HeaderMap, Request, Response, Uri};

use super::Hall;

/// Which form of a path the upstream takes, as far as it has said so.
#[derive(Default)]
pub(super) struct Slash(AtomicU8);

const WITH: u8 = 1;
const WITHOUT: u8 = 2;

/// What a redirect of a request is judged by.
pub(super) struct Asked {
    uri: Uri,
    host: Option<HeaderValue>,
}

impl Asked {
    /// A request, if it is on this path or on its other form.
    pub(super) fn on<B>(path: &str, request: &Request<B>) -> Option<Asked> {
        let is_it = bare(request.uri().path()) == bare(path);
        is_it.then(|| Asked { uri: request.uri().clone(), host: request.headers().get(HOST).cloned() })
    }
}

/// A path without a closing slash.
fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

impl Slash {
    /// The path as the upstream takes it.
    pub(super) fn form<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match self.0.load(Ordering::Relaxed) {
            WITH if !path.ends_with('/') => format!("{path}/").into(),
            WITHOUT => bare(path).into(),
            _ => path.into(),
        }
    }

    /// Where the request is to be sent again, as the answer leads to the other form of its path and nowhere else. `base` is
    /// what the upstream has in front of all paths.
    pub(super) fn heard<B>(&self, asked: &Asked, base: &str, answer: &Response<B>) -> Option<Uri> {
        if !matches!(answer.status().as_u16(), 301 | 302 | 307 | 308) {
            return None;
        }
        let path = asked.uri.path();
        let (other, form) = match path.strip_suffix('/') {
            Some("") => return None,
            Some(bare) => (bare.to_owned(), WITHOUT),
            None => (format!("{path}/"), WITH),
        };
        if led_to(answer.headers(), asked.host.as_ref())?.strip_prefix(base)? != other {
            return None;
        }
        self.0.store(form, Ordering::Relaxed);
        let query = asked.uri.query().map_or(String::new(), |query| format!("?{query}"));
        Uri::try_from(format!("{other}{query}")).ok()
    }
}

impl Hall {
    /// Points a request at the path where the upstream has sessions, with the query that it has.
    pub(super) fn aim(&self, uri: &mut Uri) {
        let path = self.slash.form(self.sessions.service().path());
        if uri.path() != path {
            let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
            // Both parts were parts of such a thing before.
            *uri = Uri::try_from(format!("{path}{query}")).unwrap_or_default();
        }
    }

    /// Where the upstream is asked for a session.
    pub(super) fn session_uri(&self) -> Uri {
        let mut uri = self.session_uri.clone();
        self.aim(&mut uri);
        uri
    }
}

/// The path on the same host that an answer leads to.
fn led_to<'h>(headers: &'h HeaderMap, host: Option<&HeaderValue>) -> Option<&'h str> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.strip_prefix(host?.to_str().ok()?)?,
        None => location,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    (path.starts_with('/') && !path.starts_with("//")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a request is sent that was sent there and is led there.
    fn sent(slash: &Slash, uri: &str, base: &str, status: u16, location: &str) -> Option<String> {
        let request = Request::builder().uri(uri).header("host", "shop.example").body(()).expect("a request");
        let answer = Response::builder().status(status).header("location", location).body(()).expect("an answer");
        let asked = Asked::on("/api/auth/session", &request)?;
        slash.heard(&asked, base, &answer).map(|uri| uri.to_string())
    }

    #[test]
    fn a_redirect_to_the_other_form_is_followed_and_remembered() {
        let slash = Slash::default();
        let to = |uri: &str, location: &str| sent(&slash, uri, "", 308, location);
        assert_eq!(slash.form("/me"), "/me");
        assert_eq!(to("/api/auth/session", "/api/auth/session/").as_deref(), Some("/api/auth/session/"));
        assert_eq!((slash.form("/me").as_ref(), slash.form("/me/").as_ref()), ("/me/", "/me/"));
        assert_eq!(to("/api/auth/session/?a=b", "/api/auth/session?a=b").as_deref(), Some("/api/auth/session?a=b"));
        assert_eq!((slash.form("/me").as_ref(), slash.form("/me/").as_ref()), ("/me", "/me"));
        let absolute = "https://shop.example/api/auth/session/";
        assert_eq!(to("/api/auth/session", absolute).as_deref(), Some("/api/auth/session/"));
        let based = sent(&slash, "/api/auth/session", "/app", 301, "/app/api/auth/session/");
        assert_eq!(based.as_deref(), Some("/api/auth/session/"));
    }

    #[test]
    fn no_other_redirect_is() {
        let slash = Slash::default();
        for location in [
            "/api/auth/session",
            "/signin/",
            "//evil.example/api/auth/session/",
            "https://evil.example/api/auth/session/",
            "https://shop.example.evil/api/auth/session/",
            "https://shop.example/api/auth/session",
            "session/",
            "",
        ] {
            assert_eq!(sent(&slash, "/api/auth/session", "", 308, location), None, "{location}");
        }
        assert_eq!(sent(&slash, "/api/auth/session", "", 200, "/api/auth/session/"), None);
        assert_eq!(sent(&slash, "/api/auth/csrf", "", 308, "/api/auth/csrf/"), None);
        assert_eq!(sent(&slash, "/api/auth/session", "/app", 308, "/api/auth/session/"), None);
        assert_eq!(slash.form("/me"), "/me");
    }
}
