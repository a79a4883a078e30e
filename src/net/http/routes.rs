//! Where a request goes by its method and path, and what is handed on to the upstream.

use std::time::{Duration, Instant};

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tracing::warn;

use super::answer::{self, Out};
use super::sign_out::SHORTER;
use super::{Visit, guard, relay};
use crate::net::upstream::{Outgoing, Upload, Upstream};
use crate::session::{Answer, Observed, Origin, Passage, Route};

/// How long the upstream may think about what is handed through: signing in may mean asking somebody else.
const HAND_ON_MAX: Duration = Duration::from_secs(60);

/// Bytes of a body that is handed on in one piece. Sign-ins have some hundreds, what an identity provider posts some thousands.
const SHORT: u64 = 16 * 1024;

/// Whether an answer was made for somebody else's request, or here.
fn is_secondhand(answer: &Answer) -> bool {
    match answer.origin {
        Origin::Source => answer.cache_status().ends_with("collapsed"),
        Origin::Cache | Origin::Stale | Origin::Nothing => true,
        Origin::Fence | Origin::Failure => false,
    }
}

impl Visit {
    /// Answers one request.
    pub(super) async fn receive(&self, request: Request<Incoming>) -> Response<Out> {
        let number = self.requests.replace(self.requests.get() + 1);
        self.door.hall.engine.metrics.block(self.door.worker).http_requests.add(1);
        let fault = self.heads.borrow().fault(number).or_else(|| guard::fault(&request));
        if let Some(why) = fault {
            return answer::refusal(why);
        }
        // Where a chunked body ends is for hyper alone to say, so nothing may follow it.
        let is_last = request.headers().contains_key("transfer-encoding");
        let response = self.route(request).await;
        if is_last { answer::closing(response) } else { response }
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Out> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let (verifies, service) = (self.door.verifies(), self.door.hall.sessions.service());
        let door = service.route(parts.method.as_str(), parts.uri.path(), parts.uri.query(), verifies);
        if door == Route::Elsewhere {
            return self.elsewhere(&parts, body).await;
        }
        if relay::is_loop(&parts.headers) {
            let line = "the upstream sends its own session requests back here: let requests that carry \
                        'Via: 1.1 cloakroom' through to the application";
            return answer::text(StatusCode::LOOP_DETECTED, line);
        }
        if matches!(door, Route::Check | Route::OtherCheck | Route::Update | Route::Verify) {
            self.door.follow(&mut parts, self.peer, door == Route::Verify);
        }
        if matches!(door, Route::Check | Route::OtherCheck | Route::Update) {
            self.door.hall.aim(&mut parts.uri);
        }
        let upstream = self.door.upstream.as_ref();
        let decodes = self.door.hall.sessions.decodes();
        let action = service.action(parts.uri.path());
        // Where next-auth's client gets what a sign-out must show.
        let is_csrf = action == Some("csrf");
        // What is signed out at, by POST alone where no upstream has a page there.
        let signs_out =
            matches!(action.map(|action| action.trim_end_matches('/')), Some("signout" | "signout-everywhere"));
        let response = match (door, upstream) {
            (Route::Check, _) => self.check(parts).await,
            (Route::Verify, _) => self.verify(parts).await,
            (Route::OtherCheck, Some(upstream)) => self.pass(upstream, Passage::Check, parts, body).await,
            (Route::Update, Some(upstream)) => self.pass(upstream, Passage::Update, parts, body).await,
            (Route::OtherCheck | Route::Update, None) => self.check_without_upstream(parts).await,
            (Route::Clear, _) => self.clear(&parts).await,
            (Route::SignOut, _) if !service.is_next_auth() => self.sign_out_service(upstream, parts, body).await,
            (Route::SignOut, _) if parts.method == Method::POST => self.sign_out(upstream, parts, body).await,
            (Route::SignOutEverywhere, _) => self.sign_out_everywhere(parts, body).await,
            (Route::SignIn, Some(upstream)) => return self.hand_on(upstream, Passage::SignIn, parts, body).await,
            (Route::SignOut | Route::Page, Some(upstream)) => {
                return self.hand_on(upstream, Passage::Page, parts, body).await;
            }
            (Route::SignOut, None) => answer::not_allowed("POST"),
            (Route::Page, None) if decodes && is_csrf => self.csrf(&parts),
            (Route::SignIn, None) if decodes && is_csrf => answer::not_allowed("GET, HEAD"),
            (Route::SignIn | Route::Page, None) if signs_out => answer::not_allowed("POST"),
            (Route::SignIn | Route::Page, None) if decodes => {
                let why = format!(
                    "sessions are decoded here, and nobody can be signed in: there are session, csrf, signout and \
                     signout-everywhere under {}; set upstream for the others",
                    service.base_path()
                );
                answer::json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": why }))
            }
            (Route::SignIn | Route::Page | Route::Elsewhere, None) | (Route::Elsewhere, _) => {
                let base = service.base_path();
                let line = format!(
                    "without --upstream there are only {base}/session, {base}/verify, POST {base}/signout and \
                     POST {base}/signout-everywhere here"
                );
                answer::text(StatusCode::NOT_FOUND, line)
            }
        };
        let took = started.elapsed();
        if matches!(door, Route::Check | Route::Verify) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.door.hall.engine.metrics.block(self.door.worker).checks.took(micros);
        }
        answer::timed(response, took)
    }

    /// A plain session check.
    async fn check(&self, parts: Parts) -> Response<Out> {
        let door = &self.door;
        let tokens = door.tokens(&parts);
        let looked = door.with_sessions(|sessions, now| sessions.look_up(&tokens, now));
        let mut answer = door.answer(looked, &tokens, &parts, self.peer).await;
        // What an answer says by CORS is for who has asked for it.
        if relay::is_cross_origin(&parts.headers)
            && !relay::lets_in(&answer.headers, &parts.headers)
            && let Some(upstream) = self.door.upstream.as_ref().filter(|_| is_secondhand(&answer))
        {
            // In a box, as few come here and the others would carry its state.
            let outcome = Box::pin(door.ask(upstream, self.up(&parts, upstream, Outgoing::empty()))).await;
            answer = door.with_sessions(|sessions, now| sessions.passed(&tokens, Passage::Check, outcome, now));
        }
        door.followed(&parts, &answer);
        answer::session(answer)
    }

    /// With the store alone a query changes nothing, and an update has written what it wanted over RESP.
    async fn check_without_upstream(&self, parts: Parts) -> Response<Out> {
        match parts.method {
            Method::GET | Method::POST => self.check(parts).await,
            _ => answer::not_allowed("GET, POST"),
        }
    }

    /// A client's body for the upstream. A short one, as those are that sign in, is waited for here: who withholds it then has no
    /// connection to the upstream meanwhile.
    async fn taken(&self, body: Incoming) -> Result<Outgoing, Response<Out>> {
        let is_short = body.size_hint().exact().is_some_and(|length| length <= SHORT);
        if body.is_end_stream() || !is_short {
            return Ok(Outgoing::stream(body, self.door.hall.patience.body));
        }
        self.read(body, SHORTER).await.map(|body| Outgoing::Full(Some(body)))
    }

    /// A request on the session path that goes past the cache.
    async fn pass(&self, upstream: &Upstream, passage: Passage, mut parts: Parts, body: Incoming) -> Response<Out> {
        let (door, sessions) = (&self.door, &self.door.hall.sessions);
        let body = match self.taken(body).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let (shown, came) = (door.tokens(&parts), parts.headers.get_all(COOKIE).iter().cloned().collect::<Vec<_>>());
        let tokens = door.spare(&mut parts);
        let admitted = match tokens.is_empty() && !shown.is_empty() {
            true => Some(sessions.signed_out(&shown)),
            false => door.with_sessions(|sessions, now| sessions.admit(&tokens, passage, now)),
        };
        let answer = match admitted {
            Some(mut answer) => {
                parts.headers.remove(COOKIE);
                for line in came {
                    parts.headers.append(COOKIE, line);
                }
                door.bid_farewell(&mut answer, &shown, &parts);
                answer
            }
            None => {
                let deadline = match passage {
                    Passage::Update => door.update_deadline(&body),
                    _ => door.deadline(),
                };
                let request = self.up(&parts, upstream, body);
                let outcome = door.ask_until(upstream, request, deadline).await;
                let answer = door.with_sessions(|sessions, now| sessions.passed(&tokens, passage, outcome, now));
                // Somebody may have been signed out everywhere meanwhile.
                match door.without_dead(&tokens, &parts) {
                    Some(_) if answer.origin != Origin::Fence => sessions.signed_out(&tokens),
                    _ => answer,
                }
            }
        };
        door.followed(&parts, &answer);
        answer::session(answer)
    }

    /// Anything else of the upstream's, streamed both ways.
    async fn hand_on(&self, upstream: &Upstream, passage: Passage, mut parts: Parts, body: Incoming) -> Response<Out> {
        let (door, sessions) = (&self.door, &self.door.hall.sessions);
        let body = match self.taken(body).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        // The upstream is to see nobody in a cookie that was signed out: who signs in beside it would be taken for its user.
        let tokens = door.spare(&mut parts);
        let sign_in = sessions.begin_sign_in();
        let upload = body.upload();
        let request = self.up(&parts, upstream, body);
        let answer = match upstream.call(request, Instant::now() + HAND_ON_MAX).await {
            Ok(answer) => answer,
            // That is the client's doing.
            Err(_) if matches!(upload.get(), Upload::Stalled | Upload::Broken) => {
                return answer::closing(answer::text(StatusCode::REQUEST_TIMEOUT, "the body did not come"));
            }
            Err(failure) => {
                if let Some(more) = door.with_sessions(|sessions, now| sessions.complain(now)) {
                    let _trace = relay::trace(&parts.headers).entered();
                    let more = Some(more).filter(|more| *more > 0);
                    warn!(path = parts.uri.path(), failure = failure.word(), more, "Upstream failed");
                }
                let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::BAD_GATEWAY);
                return answer::text(status, format!("the upstream fails: {}", failure.word()));
            }
        };
        let (mut head, body) = answer.into_parts();
        relay::down(&mut head.headers);
        let lines = relay::lines(&head.headers);
        let status = head.status.as_u16();
        let mut observed = door.with_sessions(|sessions, now| sessions.observe(&tokens, passage, status, &lines, now));
        // What began before somebody was signed out everywhere, and is no sign-in, brings nobody back.
        if (observed, passage) == (Observed::Untouched, Passage::Page) && door.without_dead(&tokens, &parts).is_some() {
            observed = Observed::SignedOut;
        }
        if (observed, passage) == (Observed::Untouched, Passage::SignIn)
            && door.with_sessions(|sessions, now| sessions.end_sign_in(sign_in, &tokens, status, &lines, now))
        {
            door.hall.settle().await;
        }
        match observed {
            // What NextAuth's pages change is known; of others anything may have changed who it is.
            Observed::Untouched if !sessions.service().is_next_auth() && !parts.method.is_safe() => {
                door.with_sessions(|sessions, now| sessions.invalidate(&tokens, now));
            }
            Observed::Untouched => {}
            Observed::Ended => door.hall.settle().await,
            Observed::SignedOut => {
                let kept: Vec<HeaderValue> = head.headers.get_all(SET_COOKIE).iter().cloned().collect();
                head.headers.remove(SET_COOKIE);
                for line in kept.into_iter().filter(|line| !sessions.is_session_cookie(line.as_bytes())) {
                    head.headers.append(SET_COOKIE, line);
                }
            }
        }
        relay::keep_private(&mut head.headers);
        let mut response = Response::new(Out::stream(body));
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        response
    }

    pub(super) fn up(&self, parts: &Parts, upstream: &Upstream, body: Outgoing) -> Request<Outgoing> {
        self.door.up(parts, self.peer, upstream, body)
    }
}
