//! The live page: one file that any browser shows, the figures that move it as server-sent events, and one token's story.
//!
//! All of it is for operators alone, as `/metrics` is. A token that somebody asks about comes in the body of a POST and is
//! in no address, no log and no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::answer::{self, Out};
use super::{Door, Visit, relay};
use crate::clock::{Millis, Ttl};
use crate::engine::Slow;
use crate::session::{Account, PassWhy, State, Told};

const PAGE: &str = include_str!("page/page.html");

/// How often the figures are told.
const EACH: Duration = Duration::from_secs(1);

/// Pages that are kept moving at once. Each costs some kilobytes a second.
const PAGES_MAX: usize = 32;

/// Decisions and slow commands that are shown.
const SHOWN: usize = 12;

/// Bytes of a slow command that are shown.
const WORDS_MAX: usize = 120;

/// How many pages are open.
#[derive(Default)]
pub(super) struct Pages(Arc<AtomicUsize>);

/// A page that is open; dropped, its place is free.
struct Place(Arc<AtomicUsize>);

impl Pages {
    fn enter(&self) -> Option<Place> {
        let place = Place(self.0.clone());
        (place.0.fetch_add(1, Ordering::Relaxed) < PAGES_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Visit {
    /// `GET /`.
    pub(super) fn page(&self) -> Response<Out> {
        let mut response = answer::text(StatusCode::OK, "");
        *response.body_mut() = Out::Full(Bytes::from_static(PAGE.as_bytes()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Ok(policy) = HeaderValue::try_from(policy()) {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// `GET /live`: the figures each second, until the client goes or the server does.
    pub(super) fn live(&self) -> Response<Out> {
        let Some(place) = self.door.hall.pages.enter() else {
            return answer::text(StatusCode::SERVICE_UNAVAILABLE, "enough pages are open");
        };
        let (door, mut leaving) = (self.door.clone(), self.leaving.clone());
        // One event at a time: whoever takes none gets no more of them, and is cut as others are who read nothing.
        let (events, coming) = mpsc::channel(1);
        tokio::task::spawn_local(async move {
            let _place = place;
            let mut ticks = interval(EACH);
            // Whoever took none for a while is told how it is now, once.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = leaving.wait_for(|leaving| *leaving) => return,
                    () = events.closed() => return,
                }
                let event = format!("data: {}\n\n", figures(&door));
                if events.send(Bytes::from(event)).await.is_err() {
                    return;
                }
            }
        });
        answer::events(coming)
    }

    /// `POST /story`: what is known of the token, or of the header that shows one, in the body.
    pub(super) async fn story(&self, parts: &Parts, body: Incoming) -> Response<Out> {
        if parts.method != Method::POST {
            return answer::not_allowed("POST");
        }
        if relay::is_cross_site(&parts.headers) {
            return answer::text(StatusCode::FORBIDDEN, "another site's page is told nothing");
        }
        let body = match self.read(body, "a cookie is shorter").await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let told = self.door.with_sessions(|sessions, now| {
            let found = sessions.account(&sessions.pasted(&body), now);
            account(&found, |at| self.door.hall.engine.clock.to_wall(at))
        });
        answer::json(StatusCode::OK, &told)
    }
}

/// Nothing but the page's own script and style act, and nothing is fetched but from here.
fn policy() -> String {
    let hash = |open: &str, close: &str| {
        let inside = PAGE.split_once(open).and_then(|(_, rest)| rest.split_once(close));
        BASE64_STANDARD.encode(Sha256::digest(inside.map_or("", |(text, _)| text)))
    };
    let (script, style) = (hash("<script>", "</script>"), hash("<style>", "</style>"));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// All figures of this moment. Counters count from the start; whoever draws them takes differences.
fn figures(door: &Door) -> Value {
    let engine = &door.hall.engine;
    let (sums, now) = (engine.metrics.sums(), engine.clock.now());
    let sessions: serde_json::Map<String, Value> = door
        .hall
        .sessions
        .counters()
        .rows()
        .into_iter()
        .map(|(name, _, value)| (name.to_owned(), value.into()))
        .collect();
    let (keys, seen) = engine.keyspace_totals();
    let wall = |at: Millis| engine.clock.to_wall(at);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "at": wall(now),
        "uptime_seconds": now.since(engine.started).0 / 1000,
        "source": door.hall.reach.as_ref().map(|reach| reach.authority()),
        "sessions": sessions,
        "check_micros": engine.metrics.checks().0,
        "lag_micros": engine.metrics.lags().0,
        "used_memory": engine.used_memory(),
        "maxmemory": engine.hot.maxmemory(),
        "keys": keys,
        "expired": seen.expired,
        "evicted": seen.evicted,
        "keyspace_hits": seen.hits,
        "keyspace_misses": seen.misses,
        "clients": engine.clients.len(),
        "commands": sums.commands,
        "http_requests": sums.http_requests,
        "errors": sums.errors,
        "slow": engine.slowlog.newest(SHOWN).iter().map(slow).collect::<Vec<_>>(),
        "events": door.hall.sessions.events(SHOWN).iter().map(|told| event(told, wall(told.at))).collect::<Vec<_>>(),
    })
}

fn event(told: &Told, at: u64) -> Value {
    json!({ "id": told.id, "at": at, "token": told.name, "what": told.event.word(), "says": told.event.to_string() })
}

/// A slow command, its tokens already replaced by the log.
fn slow(slow: &Slow) -> Value {
    let words: Vec<_> = slow.words.iter().map(|word| String::from_utf8_lossy(word)).collect();
    let mut line = words.join(" ");
    if let Some((at, _)) = line.char_indices().find(|(at, _)| *at >= WORDS_MAX) {
        line.truncate(at);
        line.push('…');
    }
    json!({ "id": slow.id, "at": slow.at, "micros": slow.micros, "line": line, "addr": slow.addr })
}

/// One token's story, for people.
fn account(account: &Account, wall: impl Fn(Millis) -> u64) -> Value {
    let millis = |ttl: Option<Ttl>| ttl.map(|ttl| ttl.0);
    let (state, ttl, stale) = match &account.state {
        State::NoCookie => ("no-cookie", None, None),
        State::Unclear(PassWhy::TooLong) => ("too-long", None, None),
        State::Unclear(_) => ("ambiguous", None, None),
        State::SignedOut(left) => ("signed-out", Some(*left), None),
        State::Stored { ttl, is_session: true } => ("stored", *ttl, None),
        State::Stored { ttl, is_session: false } => ("no-session", *ttl, None),
        State::Absent { stale } => ("absent", None, *stale),
    };
    json!({
        "token": account.name,
        "state": state,
        "ttl_millis": millis(ttl),
        "stale_millis": millis(stale),
        "session_ends_millis": millis(account.session_ends),
        "tokens_of_login": account.tokens,
        "superseded": account.is_superseded,
        "events": account.events.iter().take(SHOWN).map(|told| event(told, wall(told.at))).collect::<Vec<_>>(),
    })
}
