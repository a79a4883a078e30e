//! Signing out on every device: `POST …/signout-everywhere` for who is signed in, and
//! `DELETE /admin/sessions?user=ID` for operators; and `DELETE /admin/session`, by which they end that of one token.

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tracing::info;

use super::answer::{self, Out};
use super::form::form_field;
use super::sign_out::SHORTER;
use super::{Visit, cookies, relay};
use crate::clock::Millis;
use crate::session::{Origin, PassWhy, SessionCache, Source, State, User, may_vouch};

/// By this an operator names a session: a URL would be logged, and `Authorization` shows the operator.
const X_SESSION_TOKEN: HeaderName = HeaderName::from_static("x-session-token");

impl Visit {
    pub(super) async fn sign_out_everywhere(&self, mut parts: Parts, body: Incoming) -> Response<Out> {
        let body = match self.read(body, SHORTER).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let door = &self.door;
        let sessions = &door.hall.sessions;
        let token = relay::csrf_token(&parts.headers, &body);
        // Others than NextAuth have no csrf token; where the request comes from is all that they look at, too. And with the store
        // alone nobody makes such tokens, and there is no other guard for a sign-out either.
        let has_tokens = sessions.service().is_next_auth() && (sessions.decodes() || door.upstream.is_some());
        let is_vouched = match &token {
            Some(token) if has_tokens && sessions.decodes() => self.is_guarded(&parts, token),
            Some(token) if has_tokens => may_vouch(cookies(&parts), token),
            _ => false,
        };
        if let Some(refusal) = self.refuse_foreign(&parts, &body, is_vouched) {
            return refusal;
        }
        if has_tokens && !is_vouched {
            let base = sessions.service().base_path();
            let why = format!("the csrfToken is missing, or no cookie vouches for it: get one from {base}/csrf");
            return answer::json(StatusCode::FORBIDDEN, &json!({ "error": why }));
        }
        // Only a session that holds tells whose others are to be ended. The source is asked as for any check.
        (parts.method, parts.uri) = (Method::GET, door.hall.session_uri());
        let tokens = door.tokens(&parts);
        let looked = door.with_sessions(|sessions, now| sessions.look_up(&tokens, now));
        let answer = door.answer(looked, &tokens, &parts, self.peer).await;
        if matches!(answer.origin, Origin::Failure | Origin::Stale) {
            let why = "who is signed in cannot be told now, as the upstream fails: try again";
            return answer::later(answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": why })), 1);
        }
        let stored = door.with_sessions(|sessions, now| sessions.user(&tokens, now));
        let Some(user) = stored.or_else(|| sessions.user_of(&answer)) else {
            let why = "nobody is signed in, or the session does not tell who";
            return answer::json(StatusCode::UNAUTHORIZED, &json!({ "error": why }));
        };
        // Who asks many times at once has had it done by the first that had its turn.
        let ended = self.end_all_if(user, |sessions, now| sessions.user(&tokens, now).is_some()).await;
        // The token that was shown may be new here, or stand beside another.
        door.with_sessions(|sessions, now| sessions.sign_out(&tokens, cookies(&parts), now));
        door.hall.settle().await;
        let mut response = answer::json(StatusCode::OK, &json!({ "success": true, "sessions": ended }));
        self.delete_cookies(&parts, &mut response);
        response
    }

    pub(super) async fn end_sessions(&self, parts: &Parts) -> Response<Out> {
        if parts.method != Method::DELETE {
            return answer::not_allowed("DELETE");
        }
        if let Some(refusal) = self.refuse_stranger(parts) {
            return refusal;
        }
        let query = parts.uri.query().unwrap_or_default();
        let Some(id) = form_field(query.as_bytes(), "user").filter(|id| !id.is_empty()) else {
            return answer::json(StatusCode::BAD_REQUEST, &json!({ "error": "say whose: /admin/sessions?user=ID" }));
        };
        let ended = self.end_all(self.door.hall.sessions.user_called(&id)).await;
        self.door.hall.settle().await;
        info!(sessions = ended, "An operator ended all sessions of a user");
        answer::json(StatusCode::OK, &json!({ "sessions": ended }))
    }

    /// Ends the session of a token, or of the header's value that shows one, as it might be pasted. Where nothing is known of
    /// it, it is refused all the same, for as long as the answer tells.
    pub(super) async fn end_session(&self, parts: &Parts) -> Response<Out> {
        if parts.method != Method::DELETE {
            return answer::not_allowed("DELETE");
        }
        if let Some(refusal) = self.refuse_stranger(parts) {
            return refusal;
        }
        let mut tokens = parts.headers.get_all(X_SESSION_TOKEN).iter().map(HeaderValue::as_bytes);
        let (Some(token @ [_, ..]), None) = (tokens.next(), tokens.next()) else {
            return answer::json(StatusCode::BAD_REQUEST, &json!({ "error": "name one token, as X-Session-Token" }));
        };
        let told = self.door.with_sessions(|sessions, now| {
            let tokens = sessions.pasted(token);
            let state = sessions.account(&tokens, now).state;
            // Of what is too long to be read nothing can be refused either.
            if matches!(state, State::NoCookie | State::Unclear(PassWhy::TooLong)) {
                return None;
            }
            let was_known = sessions.end_session(&tokens, now) || matches!(state, State::Stored { .. });
            let refused = match sessions.account(&tokens, now).state {
                State::SignedOut(left) => Some(left.0 / 1_000),
                // Of several tokens, or of one that cannot be told from others, each has its own.
                _ => None,
            };
            Some((was_known, refused))
        });
        let Some((was_known, refused)) = told else {
            let why = "X-Session-Token holds no token that a session could have";
            return answer::json(StatusCode::NOT_FOUND, &json!({ "error": why }));
        };
        self.door.hall.settle().await;
        info!(known = was_known, "An operator ended a session");
        let mut said = json!({ "sessions": u8::from(was_known) });
        if let Some(refused) = refused {
            said["refused_seconds"] = refused.into();
        }
        answer::json(StatusCode::OK, &said)
    }

    /// Ends all sessions of a user, in steps between which others are served.
    pub(super) async fn end_all(&self, user: User) -> usize {
        self.end_all_if(user, |_, _| true).await
    }

    /// The same, unless it is no longer wanted where it had to wait. With the store alone each looks through the whole store, so
    /// that is done one after the other.
    async fn end_all_if(&self, user: User, wanted: impl Fn(&SessionCache, Millis) -> bool) -> usize {
        let hall = &self.door.hall;
        let turn = match hall.sessions.settings().source == Source::StoreAlone {
            // It is never closed.
            true => hall.walk.acquire().await.ok(),
            false => None,
        };
        if turn.is_some() && !self.door.with_sessions(&wanted) {
            return 0;
        }
        let mut everywhere = self.door.with_sessions(|sessions, now| sessions.end_everywhere(user, now));
        while !self.door.with_sessions(|_, now| everywhere.step(now)) {
            tokio::task::yield_now().await;
        }
        everywhere.ended()
    }
}
