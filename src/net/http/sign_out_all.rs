//! Signing out on every device: `POST /api/auth/signout-everywhere` for who is signed in, and
//! `DELETE /admin/sessions?user=ID` for operators.

use http::request::Parts;
use http::{Method, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde_json::json;
use tracing::info;

use super::answer::{self, Out};
use super::form::form_field;
use super::sign_out::{FOREIGN, SHORTER};
use super::{Visit, cookies, relay};
use crate::clock::Millis;
use crate::session::{Origin, SESSION_PATH, SessionCache, Source, User, may_vouch};

impl Visit {
    pub(super) async fn sign_out_everywhere(&self, mut parts: Parts, body: Incoming) -> Response<Out> {
        if relay::is_cross_site(&parts.headers) {
            return answer::text(StatusCode::FORBIDDEN, FOREIGN);
        }
        let body = match self.read(body, SHORTER).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let door = &self.door;
        let sessions = &door.hall.sessions;
        let token = relay::csrf_token(&parts.headers, &body);
        let guarded = match (&door.upstream, &token) {
            // Others than NextAuth have no such token; where the request comes from is all that they look at, too.
            _ if !sessions.service().is_next_auth() => true,
            _ if sessions.decodes() => token.is_some_and(|token| self.is_guarded(&parts, &token)),
            (Some(_), Some(token)) => may_vouch(cookies(&parts), token),
            (Some(_), None) => false,
            // With the store alone nobody makes such tokens, and there is no other guard for a sign-out either.
            (None, _) => true,
        };
        if !guarded {
            let why = "the csrfToken is missing, or no cookie vouches for it: get one from /api/auth/csrf";
            return answer::json(StatusCode::FORBIDDEN, &json!({ "error": why }));
        }
        // Only a session that holds tells whose others are to be ended. The source is asked as for any check.
        (parts.method, parts.uri) = (Method::GET, Uri::from_static(SESSION_PATH));
        door.hall.aim(&mut parts.uri);
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
