//! What passes between a client and the upstream: requests rebuilt from their parts, answers without what belongs to
//! one connection only.

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, VIA,
};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Body as _;
use tracing::{Span, error_span};

use super::Caller;
use super::form::form_field;
use crate::config::ClaimHeaders;
use crate::net::otlp::{TraceParent, Trail};
use crate::net::upstream::{Outgoing, Reach};
use crate::session::{Header, PRIVATE, SourceAnswer, carries_via, claims_identity, connection_names, is_credential};
use crate::session::{is_private, passes_down, passes_up, speaks_to_caches};

/// The name that `Via` lines know this gateway by.
const PSEUDONYM: &str = "cloakroom";
const OUR_VIA: &str = "1.1 cloakroom";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// By this Auth.js' client asks for JSON in place of a redirect.
pub(super) const X_AUTH_RETURN_REDIRECT: HeaderName = HeaderName::from_static("x-auth-return-redirect");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whether the request came by here before.
pub(super) fn is_loop(headers: &HeaderMap) -> bool {
    headers.get_all(VIA).iter().any(|value| carries_via(value.as_bytes(), PSEUDONYM))
}

/// The upstream's request, made anew: method, path and query as they came, and of the headers those that are meant for
/// it. What names the client and its address is added where nobody in front has. What says who is signed in, as a proxy is
/// told it and these `claims` as well, is a client's own invention here and goes no further; `None` where no proxy is told.
pub(super) fn up(
    parts: &Parts,
    peer: Caller,
    reach: &Reach,
    claims: Option<&ClaimHeaders>,
    body: Outgoing,
) -> Request<Outgoing> {
    let is_forged = |name: &HeaderName| {
        claims.is_some_and(|claims| {
            let names = claims.lines().iter().map(|line| line.name.as_str());
            claims_identity(name.as_str().as_bytes(), names)
        })
    };
    let mut headers = HeaderMap::with_capacity(parts.headers.len() + 4);
    for (name, value) in &parts.headers {
        if passes_up(name.as_str().as_bytes()) && *name != CONTENT_LENGTH && *name != VIA && !is_forged(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    drop_named(&parts.headers, &mut headers);
    let asked = headers.remove(HOST);
    // HTTP/1.0 without a host: any will do.
    let host = reach.host(asked.clone());
    headers.extend(host.clone().map(|host| (HOST, host)));
    // Who comes over a Unix socket has no address; a proxy has said whom it speaks for.
    if let Some(address) = peer.addr {
        append(&mut headers, X_FORWARDED_FOR, &parts.headers, &address.ip().to_canonical().to_string());
    }
    append(&mut headers, VIA, &parts.headers, OUR_VIA);
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(if peer.is_secure { "https" } else { "http" }));
    if let Some(host) = asked.or(host) {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
    // Where a body may be meant some servers ask for its length, be there one or not (RFC 9110, 8.6).
    if body.is_end_stream() && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = headers;
    // Where the check is followed, the call for it is too.
    if let Some(trail) = parts.extensions.get::<Trail>() {
        request.extensions_mut().insert(trail.clone());
    }
    request
}

/// Sets a list header to what it was in the request, with one more at its end.
fn append(headers: &mut HeaderMap, name: HeaderName, before: &HeaderMap, more: &str) {
    let mut list: Vec<u8> = Vec::new();
    for value in before.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(more.as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
        headers.insert(name, value);
    }
}

/// Drops the headers that `Connection` names, but none that the sender has no say in.
fn drop_named(from: &HeaderMap, headers: &mut HeaderMap) {
    for value in from.get_all(CONNECTION) {
        for name in connection_names(value.as_bytes()) {
            if let Ok(name) = HeaderName::from_bytes(name)
                && name != HOST
                && !is_credential(name.as_str().as_bytes())
            {
                headers.remove(name);
            }
        }
    }
}

/// Takes out of an answer's headers what was meant for our connection.
pub(super) fn down(headers: &mut HeaderMap) {
    let before = headers.clone();
    drop_named(&before, headers);
    for name in before.keys().filter(|name| !passes_down(name.as_str().as_bytes()) && **name != CONTENT_LENGTH) {
        headers.remove(name);
    }
}

/// Makes an answer from under the base path private, whatever the app says.
pub(super) fn keep_private(headers: &mut HeaderMap) {
    let for_caches = |name: &&HeaderName| speaks_to_caches(name.as_str().as_bytes());
    for name in headers.keys().filter(for_caches).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    if !is_private(headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes)) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(PRIVATE));
    }
}

/// The header lines of an answer as the session engine reads them.
pub(super) fn lines(headers: &HeaderMap) -> Vec<Header> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        (Bytes::copy_from_slice(name.as_str().as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}

/// A whole answer of the upstream as the session engine reads it.
pub(super) fn source_answer(answer: Response<Bytes>) -> SourceAnswer {
    let (mut parts, body) = answer.into_parts();
    down(&mut parts.headers);
    SourceAnswer { status: parts.status.as_u16(), headers: lines(&parts.headers), body }
}

/// Header lines of the engine as an answer's head.
pub(super) fn head(status: u16, lines: Vec<Header>) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::with_capacity(lines.len() + 2);
    for (name, value) in lines {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_maybe_shared(value)) {
            headers.append(name, value);
        }
    }
    (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), headers)
}

/// What is logged about a request is logged with the trace that the W3C's `traceparent` says it belongs to.
pub(super) fn trace(headers: &HeaderMap) -> Span {
    match headers.get(TRACEPARENT).and_then(|value| TraceParent::read(value.as_bytes())) {
        // Shown with whatever is.
        Some(parent) => error_span!("request", trace = parent.trace),
        None => Span::none(),
    }
}

/// Whether the browser came over HTTPS, to here or to who handed the request on. A client that claims so falsely gets
/// cookies that its browser does not keep.
pub(super) fn is_https(headers: &HeaderMap, peer: Caller) -> bool {
    is_https_by(headers.get(&X_FORWARDED_PROTO).map(HeaderValue::as_bytes), peer)
}

/// The same by the first line of `X-Forwarded-Proto`.
pub(super) fn is_https_by(line: Option<&[u8]>, peer: Caller) -> bool {
    let proto = line.and_then(|line| line.split(|byte| *byte == b',').next()).map(<[u8]>::trim_ascii);
    let proto = proto.filter(|proto| !proto.is_empty());
    proto.map_or(peer.is_secure, |proto| proto.eq_ignore_ascii_case(b"https"))
}

/// The first of a header's values in a list.
pub(super) fn first<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').map(str::trim).next().filter(|value| !value.is_empty())
}

/// Whether a browser sends this for a page of another site. Cookies with `SameSite=Lax` do not come along then; this
/// also holds for cookies without it and for browsers that know no such thing.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    told_cross_site(headers).unwrap_or_else(|| is_cross_origin(headers))
}

/// Whether a page of another origin asks, so that its browser shows it an answer only if that lets it in.
pub(super) fn is_cross_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get("origin") else { return false };
    let Some((_, origin)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return true };
    let origin = without_default_port(origin);
    let named = |host: &str| without_default_port(host.trim()).eq_ignore_ascii_case(origin);
    let same = |value: &HeaderValue| value.to_str().is_ok_and(|hosts| hosts.split(',').any(named));
    !headers.get_all(HOST).iter().chain(headers.get_all(X_FORWARDED_HOST).iter()).any(same)
}

/// Whether an answer's header lines let the page in that has sent these headers.
pub(super) fn lets_in(lines: &[Header], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get("origin") else { return true };
    let mut values = lines.iter().filter(|(name, _)| name.as_ref() == b"access-control-allow-origin");
    values.any(|(_, value)| value.as_ref() == b"*" || value == origin.as_bytes())
}

/// What the browser itself says of that, if it does.
pub(super) fn told_cross_site(headers: &HeaderMap) -> Option<bool> {
    headers.get("sec-fetch-site").map(|site| site == "cross-site")
}

/// A host as browsers write it: without the port that its scheme has anyway. Which scheme the client speaks is not always
/// known here; to either port the same site answers.
fn without_default_port(host: &str) -> &str {
    host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host)
}

/// Whether who asks can read JSON alone: a program does, and both of next-auth's clients, which say so in the form or in
/// the head.
pub(super) fn wants_json(headers: &HeaderMap, body: &[u8]) -> bool {
    let says = |name: HeaderName| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.to_ascii_lowercase().contains("json"))
    };
    headers.contains_key(X_AUTH_RETURN_REDIRECT)
        || says(ACCEPT)
        || says(CONTENT_TYPE)
        || form_field(body, "json").as_deref() == Some("true")
}

/// The csrf token in a sign-out's body, which makes it NextAuth's own; without one it is the app's step before it.
pub(super) fn csrf_token(headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().contains("json") {
        let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        return Some(body?.get("csrfToken")?.as_str()?.as_bytes().to_vec());
    }
    body.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"csrfToken=")).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(lines: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/api/auth/session");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn sent(lines: &[(&'static str, &str)]) -> HeaderMap {
        sent_to(&reach("http://app:3000"), lines)
    }

    fn reach(url: &str) -> Reach {
        Reach::new(&url.parse().expect("a URL"), 1)
    }

    fn sent_to(reach: &Reach, lines: &[(&'static str, &str)]) -> HeaderMap {
        let peer: std::net::SocketAddr = "10.0.0.9:4000".parse().expect("an address");
        up(&parts(lines), peer.into(), reach, None, Outgoing::empty()).headers().clone()
    }

    #[test]
    fn what_belongs_to_one_connection_stays_on_it() {
        let headers = sent(&[
            ("host", "shop.example"),
            ("connection", "keep-alive, X-Private, cookie"),
            ("x-private", "1"),
            ("cookie", "a=1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eDp5"),
            ("if-none-match", "*"),
            ("accept-encoding", "gzip"),
            ("expect", "100-continue"),
        ]);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cookie", "host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
    }

    #[test]
    fn who_is_signed_in_is_not_for_clients_to_say() {
        let names = |claims: Option<&ClaimHeaders>, lines: &[(&'static str, &str)]| {
            let peer: std::net::SocketAddr = "10.0.0.9:4000".parse().expect("an address");
            let sent = up(&parts(lines), peer.into(), &reach("http://app:3000"), claims, Outgoing::empty());
            let own = ["via", "x-forwarded-for", "x-forwarded-proto", "host", "x-forwarded-host"];
            let names = sent.headers().keys().map(|name| name.as_str().to_owned());
            names.filter(|name| !own.contains(&name.as_str())).collect::<Vec<_>>()
        };
        let claims: ClaimHeaders = "remote,user.role=X-Role".parse().expect("headers");
        let forged = [
            ("x-session", "1"),
            ("x_session", "1"),
            ("x-session-user-id", "1"),
            ("x_session_user_id", "1"),
            ("x-session_email", "1"),
            ("x.session.name", "1"),
            ("x-session-anything", "1"),
            ("remote-user", "root"),
            ("remote_user", "root"),
            ("x_role", "root"),
        ];
        assert_eq!(names(Some(&claims), &forged), <[&str; 0]>::default());
        assert_eq!(names(None, &forged).len(), forged.len());
        // What shows who somebody is, and what is only called alike.
        let passing = [
            ("x-session-token", "1"),
            ("x-session-cookie", "1"),
            ("x-sessions", "1"),
            ("x-sessionid", "1"),
            ("x-roles", "1"),
            ("xx-session", "1"),
        ];
        assert_eq!(names(Some(&claims), &passing), passing.map(|(name, _)| name));
    }

    #[test]
    fn a_request_that_might_have_a_body_tells_that_it_has_none() {
        for (method, length) in
            [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("GET", None), ("DELETE", None)]
        {
            let mut parts = parts(&[("host", "a"), ("content-length", "0")]);
            parts.method = method.parse().expect("a method");
            let peer: std::net::SocketAddr = "10.0.0.9:4000".parse().expect("an address");
            let sent = up(&parts, peer.into(), &reach("http://app:3000"), None, Outgoing::empty());
            assert_eq!(sent.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()), length, "{method}");
        }
    }

    #[test]
    fn a_host_of_its_own_keeps_the_one_that_was_asked_for_beside_it() {
        let hosts = |reach: &Reach, lines: &[(&'static str, &str)]| {
            let headers = sent_to(reach, lines);
            assert_eq!(headers.get_all(HOST).iter().count(), 1);
            ["host", "x-forwarded-host"].map(|name| headers[name].to_str().expect("a host").to_owned())
        };
        let (clients, own) = (reach("https://project.example"), reach("https://project.example").with_own_host(true));
        let (host, both) = (("host", "127.0.0.1:8379"), ("x-forwarded-host", "shop.example"));
        assert_eq!(hosts(&clients, &[host]), ["127.0.0.1:8379", "127.0.0.1:8379"]);
        assert_eq!(hosts(&own, &[host]), ["project.example", "127.0.0.1:8379"]);
        assert_eq!(hosts(&own, &[host, both]), ["project.example", "shop.example"]);
        assert_eq!(hosts(&clients, &[]), ["project.example", "project.example"]);
    }

    #[test]
    fn who_asked_is_appended_and_what_others_said_is_kept() {
        let headers = sent(&[
            ("host", "127.0.0.1:8379"),
            ("via", "1.1 edge"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4, 10.0.0.9");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["via"], "1.1 edge, 1.1 cloakroom");
        assert!(is_loop(&headers));
    }

    #[test]
    fn a_post_of_another_site_is_told_from_our_own() {
        let is = |lines: &[(&'static str, &str)]| is_cross_site(&parts(lines).headers);
        assert!(is(&[("sec-fetch-site", "cross-site"), ("origin", "http://a"), ("host", "a")]));
        assert!(!is(&[("sec-fetch-site", "same-origin"), ("origin", "null"), ("host", "a")]));
        assert!(is(&[("origin", "https://evil.example"), ("host", "shop.example")]));
        assert!(is(&[("origin", "null"), ("host", "shop.example")]));
        assert!(!is(&[
            ("origin", "https://shop.example"),
            ("host", "127.0.0.1:8379"),
            ("x-forwarded-host", "shop.example")
        ]));
        assert!(!is(&[("host", "shop.example")]));
        // A port that browsers leave out, and proxies in a row.
        for (origin, host) in [
            ("http://app.intra", "app.intra:80"),
            ("https://app.intra", "App.intra:443"),
            ("https://app.intra", "app.intra:80"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert!(!is(&[("origin", origin), ("host", host)]), "{host}");
        }
        let hosts = ("x-forwarded-host", "shop.example, 10.0.0.1:8080");
        assert!(!is(&[("origin", "https://shop.example"), ("host", "127.0.0.1:8379"), hosts]));
        for host in ["app.intra:8080", "app.intra:8", "intra:80", "evil.app.intra:80", "app.intra.evil:80"] {
            assert!(is(&[("origin", "http://app.intra"), ("host", host)]), "{host}");
        }
    }

    #[test]
    fn a_csrf_token_is_seen_in_a_form_and_in_json() {
        let token = |kind: &str, body: &str| csrf_token(&parts(&[("content-type", kind)]).headers, body.as_bytes());
        let has = |kind: &str, body: &str| token(kind, body).is_some_and(|token| token == b"ab");
        assert!(has("application/x-www-form-urlencoded", "json=true&csrfToken=ab"));
        assert!(!has("application/x-www-form-urlencoded", "xcsrfToken=ab&json=true"));
        assert!(has("application/json", r#"{"csrfToken":"ab"}"#));
        assert!(!has("application/json", r#"{"csrfToken":null}"#));
        assert!(!has("text/plain", ""));
        let json = |lines: &[(&'static str, &str)], body: &str| wants_json(&parts(lines).headers, body.as_bytes());
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert!(json(&[form], "csrfToken=ab&json=true") && json(&[form, ("x-auth-return-redirect", "1")], ""));
        assert!(json(&[("accept", "application/json")], "") && json(&[("content-type", "application/json")], ""));
        assert!(!json(&[form, ("accept", "text/html,*/*")], "csrfToken=ab"));
    }
}
