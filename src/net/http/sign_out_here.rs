//! NextAuth's sign-out where tokens are decoded here and no upstream is there to be told: `GET …/csrf`, and
//! `POST …/signout` with what that gave. What next-auth's own client sends is answered as NextAuth answers it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{Response, StatusCode};

use super::answer::{self, Out};
use super::form::form_field;
use super::relay::{X_AUTH_RETURN_REDIRECT, X_FORWARDED_HOST};
use super::{Visit, cookies, dice, relay};

impl Visit {
    /// Where the application is, as the browser sees it.
    fn origin(&self, headers: &HeaderMap) -> String {
        let host =
            relay::first(headers, &X_FORWARDED_HOST).or_else(|| relay::first(headers, &HOST)).unwrap_or("localhost");
        format!("{}://{host}", if relay::is_https(headers, self.peer) { "https" } else { "http" })
    }

    pub(super) fn csrf(&self, parts: &Parts) -> Response<Out> {
        let sessions = &self.door.hall.sessions;
        let tokens = self.door.tokens(parts);
        match sessions.csrf(&tokens, cookies(parts), relay::is_https(&parts.headers, self.peer), dice()) {
            Some(answer) => answer::session(answer),
            None => answer::text(StatusCode::NOT_FOUND, "sessions are not decoded here"),
        }
    }

    /// Whether a request that is to change something shows the csrf token that its cookies vouch for.
    pub(super) fn is_guarded(&self, parts: &Parts, token: &[u8]) -> bool {
        let (sessions, tokens) = (&self.door.hall.sessions, self.door.tokens(parts));
        sessions.vouches(&tokens, cookies(parts), relay::is_https(&parts.headers, self.peer), token)
    }

    pub(super) async fn sign_out_here(&self, parts: &Parts, body: &Bytes, token: &[u8]) -> Response<Out> {
        let origin = self.origin(&parts.headers);
        let is_v5 = parts.headers.contains_key(X_AUTH_RETURN_REDIRECT);
        let wants_json = is_v5 || field(&parts.headers, body, "json").as_deref() == Some("true");
        if !self.is_guarded(parts, token) {
            // Both libraries say so with a status that sounds like success, and a page to go to.
            let page = if is_v5 { "signin?error=MissingCSRF" } else { "signout?csrf=true" };
            let base = self.door.hall.sessions.service().base_path();
            return redirect(&format!("{origin}{base}/{page}"), wants_json, is_v5);
        }
        let tokens = self.door.tokens(parts);
        self.door.with_sessions(|sessions, now| sessions.sign_out(&tokens, cookies(parts), now));
        self.door.hall.settle().await;
        let wanted = field(&parts.headers, body, "callbackUrl").unwrap_or_default();
        let mut response = redirect(&callback(&wanted, &origin), wants_json, is_v5);
        self.delete_cookies(parts, &mut response);
        response
    }

    /// Takes the session cookies away that the request came with.
    pub(super) fn delete_cookies(&self, parts: &Parts, response: &mut Response<Out>) {
        let lines = self.door.hall.sessions.deletions(cookies(parts));
        for line in lines.into_iter().filter_map(|line| HeaderValue::from_maybe_shared(line).ok()) {
            response.headers_mut().append(SET_COOKIE, line);
        }
    }
}

/// Sends a browser on: as JSON for who asked by script, which Auth.js tells in the head as well.
fn redirect(url: &str, wants_json: bool, is_v5: bool) -> Response<Out> {
    let status = if wants_json { StatusCode::OK } else { StatusCode::FOUND };
    let mut response = answer::json(status, &serde_json::json!({ "url": url }));
    if !wants_json {
        *response.body_mut() = Out::Full(Bytes::new());
        response.headers_mut().remove(CONTENT_TYPE);
    }
    if (!wants_json || is_v5)
        && let Ok(url) = HeaderValue::from_str(url)
    {
        response.headers_mut().insert(LOCATION, url);
    }
    response
}

/// Where a browser may be sent: a path here or a page of this origin, else the origin. As NextAuth's default has it.
fn callback(wanted: &str, origin: &str) -> String {
    let is_plain = wanted.chars().all(|c| !c.is_control());
    match wanted.strip_prefix(origin) {
        _ if !is_plain => origin.to_owned(),
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => wanted.to_owned(),
        _ if wanted.starts_with('/') => format!("{origin}{wanted}"),
        _ => origin.to_owned(),
    }
}

/// A field of a form or of a JSON object, decoded.
pub(super) fn field(headers: &HeaderMap, body: &[u8], name: &str) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().contains("json") {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        return match body.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
    }
    form_field(body, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_nowhere_else() {
        let origin = "https://shop.example";
        for (wanted, sent) in [
            ("/signin?a=b", "https://shop.example/signin?a=b"),
            ("https://shop.example/x", "https://shop.example/x"),
            ("https://shop.example", "https://shop.example"),
            ("https://shop.example.evil/x", origin),
            ("https://shop.example@evil/x", origin),
            ("https://evil.example/", origin),
            ("javascript:alert(1)", origin),
            ("/x\r\nSet-Cookie: a=b", origin),
            ("", origin),
        ] {
            assert_eq!(callback(wanted, origin), sent, "{wanted}");
        }
    }

    #[test]
    fn fields_are_decoded() {
        let form = b"csrfToken=ab&callbackUrl=http%3A%2F%2Fa%2Fb+c%&json=true&half=%4";
        assert_eq!(form_field(form, "callbackUrl").as_deref(), Some("http://a/b c%"));
        assert_eq!(form_field(form, "half").as_deref(), Some("%4"));
        assert_eq!(form_field(form, "url"), None);
        assert_eq!(form_field(b"user=%ff", "user"), None);
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        assert_eq!(field(&json, br#"{"json":true,"a":"b"}"#, "json").as_deref(), Some("true"));
        assert_eq!(field(&json, br#"{"json":true,"a":"b"}"#, "a").as_deref(), Some("b"));
    }
}
