//! `POST …/signout`: the app's own step (clear), or NextAuth's sign-out (fence, hand on, fence for good).
//!
//! What a browser is told when the upstream fails in the middle: the failure's status, `{"error":…}`, and the session
//! cookie deleted. next-auth's `signOut()` looks at no status; it reads the JSON, takes `url` from it or else its own
//! callback URL, and goes there, so the user sees the signed-out page. The token is refused here from then on. What
//! the upstream keeps in a database of its own is not deleted, and the status says that something was not done.
//!
//! Whatever is answered, the sign-out is on the disk by then (`net/fences.rs`), or was said not to be.

use bytes::{Bytes, BytesMut};
use http::header::COOKIE;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use super::answer::{self, Out};
use super::relay::X_AUTH_RETURN_REDIRECT;
use super::{Alarm, SIGN_OUT_MAX, Visit, cookies, lines, relay};
use crate::net::upstream::{Outgoing, Upstream};
use crate::session::{Answer, Ended, Failure, Origin, Outcome, Passage, SourceAnswer, Tokens, may_vouch};

/// For a sign-out that a page of another site has sent.
const FOREIGN: &str = "a sign-out must come from the application's own pages";

/// For a sign-out's body that is too long.
pub(super) const SHORTER: &str = "a sign-out is shorter";

impl Visit {
    pub(super) async fn sign_out(&self, upstream: Option<&Upstream>, parts: Parts, body: Incoming) -> Response<Out> {
        let body = match self.read(body, SHORTER).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let token = relay::csrf_token(&parts.headers, &body);
        let is_vouched = match (upstream, &token) {
            (_, None) => false,
            (Some(_), Some(token)) => may_vouch(cookies(&parts), token),
            (None, Some(token)) => self.is_guarded(&parts, token),
        };
        // A form on another site may neither clear what is stored nor, while the upstream is down and cannot look at
        // the csrf token, sign anybody out.
        if let Some(refusal) = self.refuse_foreign(&parts, &body, is_vouched) {
            return refusal;
        }
        match (upstream, token) {
            (Some(upstream), Some(_)) if is_vouched => self.sign_out_upstream(upstream, parts, body).await,
            (Some(upstream), Some(_)) => self.leave_to_upstream(upstream, parts, body).await,
            // Auth.js' own clients say who they are; where csrf tokens are switched off, they send none.
            (Some(upstream), None) if parts.headers.contains_key(X_AUTH_RETURN_REDIRECT) => {
                self.leave_to_upstream(upstream, parts, body).await
            }
            (None, Some(token)) if self.door.hall.sessions.decodes() => self.sign_out_here(&parts, &body, &token).await,
            _ => self.clear(&parts).await,
        }
    }

    /// Clears what is stored; with the store alone that is the sign-out.
    pub(super) async fn clear(&self, parts: &Parts) -> Response<Out> {
        self.clear_of(parts, self.door.tokens(parts)).await
    }

    async fn clear_of(&self, parts: &Parts, tokens: Tokens) -> Response<Out> {
        if let Some(refusal) = self.refuse_foreign(parts, b"", false) {
            return refusal;
        }
        let cleared = self.door.with_sessions(|sessions, now| sessions.clear(&tokens, now));
        self.door.hall.settle().await;
        answer::session(cleared)
    }

    /// The sign-out of a session service other than NextAuth. Whom it signs out is told by the request's token; where that is
    /// a cookie, a page of another site may have sent it, and the service has the first word.
    pub(super) async fn sign_out_service(
        &self,
        upstream: Option<&Upstream>,
        parts: Parts,
        body: Incoming,
    ) -> Response<Out> {
        let body = match self.read(body, SHORTER).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let (door, sessions) = (&self.door, &self.door.hall.sessions);
        let (service, query) = (sessions.service(), parts.uri.query());
        let tokens = match service.token_in(&body) {
            Some(token) => sessions.token(token.as_bytes()),
            None => door.tokens(&parts),
        };
        let Some(upstream) = upstream else { return self.clear_of(&parts, tokens).await };
        if service.spares_itself(query) || (relay::is_cross_site(&parts.headers) && parts.headers.contains_key(COOKIE))
        {
            return self.leave_to_upstream(upstream, parts, body).await;
        }
        let user = if service.ends_all(query) { sessions.bearer_user(|| lines(&parts)) } else { None };
        let (response, end) = self.sign_out_by(upstream, parts, body, tokens).await;
        // Whoever the token is of, the upstream has said by now that it is his.
        if let Some(user) = user.filter(|_| end == Ended::SignedOut && response.status().is_success()) {
            self.end_all(user).await;
            door.hall.settle().await;
        }
        response
    }

    /// The body of a sign-out, or of another request as small, or what who sends none is told; `shorter` is for one that is
    /// too long.
    pub(super) async fn read(&self, body: Incoming, shorter: &str) -> Result<Bytes, Response<Out>> {
        let timed_out = |_| answer::closing(answer::text(StatusCode::REQUEST_TIMEOUT, "the body did not come"));
        timeout(self.door.hall.patience.body, read(body, shorter)).await.map_err(timed_out)?
    }

    /// A csrf token without its cookie is what a page of another site could send. The upstream has the last word on
    /// it, and only if it signs the user out is that noted here.
    async fn leave_to_upstream(&self, upstream: &Upstream, parts: Parts, body: Bytes) -> Response<Out> {
        let request = self.up(&parts, upstream, Outgoing::Full(Some(body)));
        let door = &self.door;
        match door.ask(upstream, request).await {
            Outcome::Answered(answer) => {
                let tokens = door.tokens(&parts);
                let (page, status) = (Passage::Page, answer.status);
                door.with_sessions(|sessions, now| sessions.observe(&tokens, page, status, &answer.headers, now));
                door.hall.settle().await;
                handed_out(answer)
            }
            Outcome::Failed(failure) => {
                let (status, _) = relay::head(failure.status(), Vec::new());
                answer::text(status, format!("nobody was signed out: the upstream fails: {}", failure.word()))
            }
        }
    }

    async fn sign_out_upstream(&self, upstream: &Upstream, parts: Parts, body: Bytes) -> Response<Out> {
        let tokens = self.door.tokens(&parts);
        self.sign_out_by(upstream, parts, body, tokens).await.0
    }

    /// Signs out here and there, and tells how that ended.
    async fn sign_out_by(
        &self,
        upstream: &Upstream,
        parts: Parts,
        body: Bytes,
        tokens: Tokens,
    ) -> (Response<Out>, Ended) {
        let body = Some(body).filter(|body| !body.is_empty());
        let request = self.up(&parts, upstream, Outgoing::Full(body));
        let (door, upstream) = (self.door.clone(), upstream.clone());
        let (done, ended) = oneshot::channel();
        // A task of its own: a browser that leaves for another page in the middle is signed out all the same.
        tokio::task::spawn_local(async move {
            let _alarm = Alarm(door.clone());
            let sign_out = door.with_sessions(|sessions, now| sessions.begin_sign_out(&tokens, now));
            let outcome = door.ask(&upstream, request).await;
            let answer = match &outcome {
                Outcome::Answered(answer) => Some(answer),
                Outcome::Failed(_) => None,
            };
            let end = door.with_sessions(|sessions, now| sessions.end_sign_out(sign_out, answer, now));
            door.hall.settle().await;
            let _ = done.send((outcome, end));
        });
        let (outcome, end) = match ended.await {
            Ok(ended) => ended,
            // The task has panicked; the sign-out it dropped counts as one that took place.
            Err(_) => (Outcome::Failed(Failure::Abandoned), Ended::SignedOut),
        };
        let response = match outcome {
            Outcome::Answered(answer) if answer.is_failure() && end == Ended::SignedOut => {
                let why = format!("the upstream answered {}", answer.status);
                self.signed_out_here(&parts, answer.status, &why)
            }
            Outcome::Answered(answer) => handed_out(answer),
            Outcome::Failed(failure) => {
                let why = format!("the upstream fails: {}", failure.word());
                self.signed_out_here(&parts, failure.status(), &why)
            }
        };
        (response, end)
    }

    /// The upstream could not be told.
    fn signed_out_here(&self, parts: &Parts, status: u16, why: &str) -> Response<Out> {
        warn!(reason = why, "Signed out here; the upstream was not told");
        let (status, _) = relay::head(status, Vec::new());
        let why = format!("the session is closed here, but {why}");
        let mut response = answer::json(status, &serde_json::json!({ "error": why }));
        self.delete_cookies(parts, &mut response);
        response
    }

    /// The refusal of what a page of another site has sent. Where a cookie vouches for the csrf token, as NextAuth asks for and no
    /// more, it must be the browser that says so: from here the application seems to be elsewhere behind a proxy that does not
    /// tell what was asked for. next-auth's clients read nothing but JSON, and go where it says:
    /// to the page on which a person signs out by hand, as NextAuth has them do itself.
    pub(super) fn refuse_foreign(&self, parts: &Parts, body: &[u8], is_vouched: bool) -> Option<Response<Out>> {
        let is_foreign = match relay::told_cross_site(&parts.headers) {
            Some(told) => told,
            None => !is_vouched && relay::is_cross_site(&parts.headers),
        };
        if !is_foreign {
            return None;
        }
        if !relay::wants_json(&parts.headers, body) {
            return Some(answer::text(StatusCode::FORBIDDEN, FOREIGN));
        }
        let mut said = serde_json::json!({ "error": FOREIGN });
        let service = self.door.hall.sessions.service();
        if service.action(parts.uri.path().trim_end_matches('/')) == Some("signout") {
            said["url"] = format!("{}/signout?csrf=true", service.base_path()).into();
        }
        Some(answer::json(StatusCode::FORBIDDEN, &said))
    }
}

/// The upstream's own answer, as it is.
fn handed_out(answer: SourceAnswer) -> Response<Out> {
    let SourceAnswer { status, headers, body } = answer;
    let mut response = answer::session(Answer { status, headers, body, origin: Origin::Source });
    relay::keep_private(response.headers_mut());
    response
}

async fn read(mut body: Incoming, shorter: &str) -> Result<Bytes, Response<Out>> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(answer::refusal("the body broke off")) };
        let Some(data) = frame.data_ref() else { continue };
        if all.len() + data.len() > SIGN_OUT_MAX {
            let response = answer::text(StatusCode::PAYLOAD_TOO_LARGE, shorter);
            return Err(answer::closing(response));
        }
        all.extend_from_slice(data);
    }
    Ok(all.freeze())
}
