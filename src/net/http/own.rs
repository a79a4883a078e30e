//! The server's own paths, for those who operate it.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;

use super::answer::{self, Out};
use super::{Visit, verify};
use crate::net::prometheus::Exposition;

/// What there is beside the sessions' paths. By this line another server is known for a cloakroom.
pub(crate) const ELSEWHERE: &str = "/.well-known/jwks.json, /healthz, /readyz, /metrics, /admin/sessions, /admin/session and, \
                                    for people, /";

impl Visit {
    /// Answers what is not under the sessions' path.
    pub(super) async fn elsewhere(&self, parts: &Parts, body: Incoming) -> Response<Out> {
        let path = parts.uri.path();
        if let Some(rest) = self.rest_path(path) {
            return self.rest(parts, rest, body).await;
        }
        if matches!(path, "/" | "/live" | "/story" | "/metrics")
            && let Some(refusal) = self.refuse_stranger(parts)
        {
            return refusal;
        }
        if matches!(path, "/" | "/live" | "/healthz" | "/readyz" | "/metrics" | verify::KEYS_PATH)
            && !matches!(parts.method, Method::GET | Method::HEAD)
        {
            return answer::not_allowed("GET, HEAD");
        }
        match path {
            "/admin/sessions" => self.end_sessions(parts).await,
            "/admin/session" => self.end_session(parts).await,
            "/healthz" => answer::text(StatusCode::OK, "ok"),
            "/readyz" => self.ready().await,
            "/" => self.page(),
            "/live" => self.live(),
            "/story" => self.story(parts, body).await,
            verify::KEYS_PATH => self.keys(),
            "/metrics" => match &self.door.hall.metrics {
                Some(metrics) => {
                    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
                    let form = Exposition::accepted(accept);
                    let mut response = answer::text(StatusCode::OK, "");
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
                    *response.body_mut() = Out::Full(Bytes::from(metrics(form)));
                    response
                }
                None => answer::text(StatusCode::NOT_FOUND, "metrics are off (--metrics yes)"),
            },
            _ => {
                let base = self.door.hall.sessions.service().base_path();
                let line = format!("not found; there are {base}/* (base-path), {ELSEWHERE}");
                answer::text(StatusCode::NOT_FOUND, line)
            }
        }
    }

    async fn ready(&self) -> Response<Out> {
        if *self.leaving.borrow() {
            return answer::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
        }
        match &self.door.hall.reach {
            None => answer::text(StatusCode::OK, "ok"),
            Some(reach) => match reach.ready().await {
                Ok(()) => answer::text(StatusCode::OK, "ok"),
                Err(failure) => {
                    let line = format!("the upstream {} fails: {}", reach.authority(), failure.word());
                    answer::text(StatusCode::SERVICE_UNAVAILABLE, line)
                }
            },
        }
    }
}
