//! Session checks whose traces are recorded, where a collector is to have their spans: one for the check, and below it one
//! for the call to the upstream, which is told of it. What goes with a request goes in its head's extensions, so that nothing
//! is carried about where nothing is recorded. No token, cookie or query is part of a span.

use bytes::Bytes;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Request, Response};

use super::relay::{self, TRACEPARENT, TRACESTATE};
use super::{Caller, Door};
use crate::net::otlp::{Call, Seen, Trail};
use crate::net::upstream::Outgoing;
use crate::session::{Answer, Failure, Origin};

/// What `X-Session-Source` calls the store.
pub(super) const CACHE: &str = "cache";

impl Door {
    /// Begins to follow a check that has just come.
    pub(super) fn follow(&self, parts: &mut Parts, peer: Caller, verifies: bool) {
        if self.hall.spans.is_some() {
            let service = self.hall.sessions.service();
            // Of the spelling that came nothing is kept: what a server reads over may be anything. And what comes behind the path
            // where proxies ask is what the proxy was asked for, and nobody else's business.
            let path = match parts.uri.path() {
                _ if verifies => service.verify_path(),
                path if path == service.session_path() => service.session_path(),
                _ => service.path(),
            };
            self.follow_since(parts, peer, path, self.hall.engine.clock.micros());
        }
    }

    /// The same with a path, for one that came at this time, in the clock's microseconds.
    pub(super) fn follow_since(&self, parts: &mut Parts, peer: Caller, path: &str, began: u64) {
        let Some(spans) = &self.hall.spans else { return };
        if !parts.headers.contains_key(TRACEPARENT) {
            return;
        }
        let lines = |name| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let is_secure = relay::is_https(&parts.headers, peer);
        let seen = Seen { began, method: &parts.method, path, is_secure };
        if let Some(trail) = spans.follow(lines(TRACEPARENT), lines(TRACESTATE), seen) {
            parts.extensions.insert(trail);
        }
    }

    /// A followed check has its answer.
    pub(super) fn followed(&self, parts: &Parts, answer: &Answer) {
        if let Some(spans) = &self.hall.spans
            && let Some(trail) = parts.extensions.get::<Trail>()
        {
            let source = match answer.origin {
                Origin::Source | Origin::Failure => self.hall.sessions.service().word(),
                Origin::Cache | Origin::Stale | Origin::Fence | Origin::Nothing => CACHE,
            };
            spans.answered(trail, answer.status, source);
        }
    }

    /// Begins a call for a followed check, and tells the upstream whose part its own spans are.
    pub(super) fn begin_call(&self, request: &mut Request<Outgoing>) -> Option<Call> {
        let trail = request.extensions_mut().remove::<Trail>()?;
        let call = self.hall.spans.as_ref()?.call(&trail, request.uri().path());
        if let Some(traceparent) = call.traceparent() {
            request.headers_mut().insert(TRACEPARENT, traceparent);
        }
        Some(call)
    }

    /// Such a call has ended.
    pub(super) fn end_call(&self, call: Option<Call>, outcome: &Result<Response<Bytes>, Failure>) {
        if let (Some(spans), Some(call)) = (&self.hall.spans, call) {
            spans.called(&call, outcome.as_ref().map(|answer| answer.status().as_u16()).map_err(|failure| *failure));
        }
    }
}
