//! The REST door: Redis commands over HTTP, in the words of Upstash's REST API, for apps that live for one request and
//! have no connection to keep.
//!
//! It is closed until `rest-token` is set. Who shows the token has the rights of `rest-user`, and is a client of its own
//! for as long as the request takes, so that nothing is left behind for the next one. What is read and written is
//! `resp::json`'s business, what a command may do that of `command`; here is only who carries the bytes. Browsers get no
//! leave to read answers from pages of other sites.

mod errand;
mod subscription;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use std::rc::Rc;

use bytes::BytesMut;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::{self, Out};
use super::form::{pairs, unescaped};
use super::operator::{Denied, secret};
use super::{Door, Visit};
use crate::clock::Millis;
use crate::command::{Client, Scope, check_alone, forget};
use crate::engine::{Addr, Hold};
use crate::error::Error;
use crate::resp::json::{Batch, Encoding, write_error};
use crate::resp::{Limits, Words};
use errand::Errand;

/// Bytes of a body at most, as many as Upstash takes.
const BODY_MAX: usize = 10 << 20;

/// What is asked of the commands of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    /// One after the other.
    Pipeline,
    /// All together, with no other in between.
    Transaction,
}

/// How the answer is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json(Encoding),
    /// The replies as they are.
    Resp2,
}

/// A client for one request. Dropped, it leaves.
struct Guest {
    door: Rc<Door>,
    client: Client,
    scope: Scope,
}

impl Guest {
    /// Waits until then, or until no client is held any more.
    async fn wait(&self, until: Millis) {
        let (engine, peer) = (&self.door.hall.engine, &self.client.peer);
        let mut timer = pin!(sleep(until.since(engine.clock.now()).duration()));
        poll_fn(|cx| {
            peer.set_bell(cx.waker());
            match peer.is_killed() || engine.paused_until(engine.clock.now()).is_none() {
                true => Poll::Ready(()),
                false => timer.as_mut().poll(cx),
            }
        })
        .await;
    }
}

/// Bytes on their way out, and the charge for them.
struct Charged {
    bytes: Vec<u8>,
    #[expect(dead_code, reason = "it is there to be dropped")]
    hold: Hold,
}

impl Charged {
    fn new(bytes: Vec<u8>, hold: Hold) -> Charged {
        Charged { bytes, hold }
    }
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let engine = &self.door.hall.engine;
        let turn = engine.enter(self.door.worker);
        forget(engine, &mut self.client, turn.is_inside());
        self.client.forget_transaction(engine);
        engine.leave(&self.client.peer);
    }
}

impl Visit {
    /// What is behind the REST door's path, if that is where the path leads.
    pub(super) fn rest_path<'p>(&self, path: &'p str) -> Option<&'p str> {
        let behind = self.door.hall.engine.with_config(|config| path.strip_prefix(config.rest.path.as_str()))?;
        (behind.is_empty() || behind.starts_with('/')).then(|| behind.trim_start_matches('/'))
    }

    /// Answers a request whose path goes on like this behind that of the door.
    pub(super) async fn rest(&self, parts: &Parts, path: &str, body: Incoming) -> Response<Out> {
        let (token, readonly) =
            self.door.hall.engine.with_config(|config| (config.rest.token.clone(), config.rest.readonly_token.clone()));
        if token.is_empty() && readonly.is_empty() {
            return refusal(StatusCode::NOT_FOUND, "ERR Redis commands are not taken over HTTP: set rest-token");
        }
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let in_query = || pairs(query).find(|(name, _)| *name == b"_token").map(|(_, value)| unescaped(value, true));
        let given = parts.headers.get(AUTHORIZATION).and_then(|value| secret(value.as_bytes())).or_else(in_query);
        let scope = match self.admits(given.as_deref(), &[&token, &readonly]) {
            Ok(0) => Scope::All,
            Ok(_) => Scope::Reads,
            Err(Denied::Waits(seconds)) => {
                let text = "ERR too many wrong tokens from this address";
                return answer::later(refusal(StatusCode::TOO_MANY_REQUESTS, text), seconds);
            }
            Err(Denied::Wrong) => {
                return refusal(StatusCode::UNAUTHORIZED, "WRONGPASS invalid or missing auth token");
            }
        };
        self.run(parts, path, scope, body).await.unwrap_or_else(|response| *response)
    }

    async fn run(
        &self,
        parts: &Parts,
        path: &str,
        scope: Scope,
        body: Incoming,
    ) -> Result<Response<Out>, Box<Response<Out>>> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT];
        if !methods.contains(&parts.method) {
            return Err(answer::not_allowed("GET, HEAD, POST, PUT").into());
        }
        let kind = match path {
            "pipeline" => Kind::Pipeline,
            "multi-exec" => Kind::Transaction,
            _ => Kind::One,
        };
        let format = format(&parts.headers, kind).map_err(|text| refusal(StatusCode::BAD_REQUEST, text))?;
        let engine = &self.door.hall.engine;
        let mut guest = self.guest(scope)?;
        let mut limits = engine.hot.limits(true);
        limits.request = limits.request.min(BODY_MAX);
        let body = self.body(&mut guest, body, &limits).await?;
        if kind == Kind::One && parts.method != Method::HEAD && subscription::listens(path) {
            // What its body says is nothing: @upstash/redis sends an empty list.
            return self.subscribe(guest, spelled(path, b"", b"")).await;
        }
        let batch = match kind {
            Kind::Pipeline | Kind::Transaction => Batch::several(&body, &limits),
            Kind::One if path.is_empty() => Batch::one(&body, &limits),
            Kind::One => Ok(spelled(path, query, &body)),
        };
        drop(body);
        let batch = batch.map_err(|error| refused(&error))?;
        guest.client.peer.set_input(0, batch.heap());
        Ok(Errand::new(guest, batch, kind, format).run().await)
    }

    async fn subscribe(&self, guest: Guest, batch: Batch) -> Result<Response<Out>, Box<Response<Out>>> {
        if guest.scope == Scope::Reads
            && let Some(error) = batch.commands().find_map(|args| check_alone(args, guest.scope).err())
        {
            return Err(refused(&error));
        }
        Ok(subscription::begin(guest, batch, self.leaving.clone()).await)
    }

    /// A client with the rights of `rest-user`, as far as this scope goes.
    fn guest(&self, scope: Scope) -> Result<Guest, Box<Response<Out>>> {
        let (door, engine) = (self.door.clone(), &self.door.hall.engine);
        let (user, socket) = engine.with_config(|config| (config.rest.user.clone(), config.http_unixsocket.clone()));
        let addr = self.peer.addr.map_or_else(|| Addr::Unix(socket.into()), Addr::from);
        // The door does not know which of its addresses it is that somebody came to, nor the descriptor of the socket.
        let local = Addr::Ip(([0, 0, 0, 0], 0).into());
        let is_local = addr.is_local();
        let peer = engine.clients.enter(addr, local, -1, self.door.now());
        peer.label(|labels| labels.lib_name = b"rest".to_vec());
        let client = Client::new(engine, peer, door.worker, is_local);
        let mut guest = Guest { door, client, scope };
        match guest.client.act_as(engine, &user) {
            Ok(()) => Ok(guest),
            Err(error) => Err(refused(&error)),
        }
    }

    /// The whole body. It may come as slowly as a large request of a Redis client, and is charged as that is.
    async fn body(
        &self,
        guest: &mut Guest,
        mut body: Incoming,
        limits: &Limits,
    ) -> Result<BytesMut, Box<Response<Out>>> {
        let (engine, began) = (&self.door.hall.engine, Instant::now());
        let (patience, peer) = (self.door.hall.patience, guest.client.peer.clone());
        let too_large = || {
            let text = format!("ERR max request size exceeded. Limit: {} bytes", limits.request);
            Err(answer::closing(refusal(StatusCode::PAYLOAD_TOO_LARGE, &text)).into())
        };
        let mut all = BytesMut::new();
        if body.size_hint().lower() > limits.request as u64 {
            return too_large();
        }
        loop {
            let frame = timeout_at(began + patience.request(all.len()).duration(), body.frame()).await;
            let data = match frame {
                Ok(None) => return Ok(all),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => data,
                    // Trailers say nothing here.
                    Err(_) => continue,
                },
                Ok(Some(Err(_))) => return Err(answer::refusal("the body broke off").into()),
                Err(_) => {
                    let text = "ERR the body did not come";
                    return Err(answer::closing(refusal(StatusCode::REQUEST_TIMEOUT, text)).into());
                }
            };
            if all.len() + data.len() > limits.request {
                return too_large();
            }
            all.extend_from_slice(&data);
            peer.set_input(all.len(), all.capacity());
            engine.cut_clients(self.door.worker);
            if peer.is_killed() {
                return Err(answer::closing(refusal(StatusCode::SERVICE_UNAVAILABLE, CUT)).into());
            }
        }
    }
}

/// What somebody hears whose client was killed, by another or for what it holds.
const CUT: &str = "ERR this client was closed by the server";

/// How the answer is wanted.
fn format(headers: &HeaderMap, kind: Kind) -> Result<Format, &'static str> {
    let says = |name: &str| headers.get(name).map(|value| value.as_bytes().to_ascii_lowercase());
    let encoding = match says("upstash-encoding").as_deref() {
        Some(b"base64") => Encoding::Base64,
        _ => Encoding::Plain,
    };
    match says("upstash-response-format").as_deref() {
        None | Some(b"json") => Ok(Format::Json(encoding)),
        Some(b"resp2") if encoding == Encoding::Base64 => Err("ERR a response in resp2 is not encoded in base64"),
        Some(b"resp2") if kind == Kind::Transaction => Err("ERR a transaction is answered in json alone"),
        Some(b"resp2") => Ok(Format::Resp2),
        Some(_) => Err("ERR the response format is json or resp2"),
    }
}

/// The command that a path spells. A body stands behind its words, and the query behind that.
fn spelled(path: &str, query: &[u8], body: &[u8]) -> Batch {
    let mut words: Words = Words::new();
    path.split('/').for_each(|word| words.push(&unescaped(word.as_bytes(), false)));
    if !body.is_empty() {
        words.push(body);
    }
    for (name, value) in pairs(query).filter(|(name, _)| !name.is_empty() && *name != b"_token") {
        words.push(&unescaped(name, true));
        if !value.is_empty() {
            words.push(&unescaped(value, true));
        }
    }
    Batch::of(words)
}

/// A refusal with its code.
fn refusal(status: StatusCode, text: &str) -> Response<Out> {
    let mut json = Vec::new();
    // A vector takes all.
    let _ = write_error(text.as_bytes(), &mut json);
    let mut response = answer::text(status, "");
    *response.body_mut() = Out::Full(json.into());
    as_json(response)
}

/// The refusal of something that came before any command, or is wrong with all of them.
fn refused(error: &Error) -> Box<Response<Out>> {
    let status = if *error == Error::WrongPass { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    refusal(status, &format!("{} {error}", error.faces().0)).into()
}

fn as_json(mut response: Response<Out>) -> Response<Out> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // What is stored here is nobody's page.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(path: &str, query: &str, body: &str) -> Vec<String> {
        let batch = spelled(path, query.as_bytes(), body.as_bytes());
        let args = batch.commands().next().expect("a command");
        args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    #[test]
    fn a_path_spells_a_command_with_the_body_behind_it_and_the_query_last() {
        assert_eq!(words("set/foo/bar", "", ""), ["set", "foo", "bar"]);
        assert_eq!(
            words("set/foo", "EX=100&_token=secret&NX", "{\"a\": 1}"),
            ["set", "foo", "{\"a\": 1}", "EX", "100", "NX"]
        );
        assert_eq!(words("get/a%2Fb+c", "_token=x", ""), ["get", "a/b+c"]);
        assert_eq!(words("set/foo/", "", ""), ["set", "foo", ""]);
        assert_eq!(words("set/k", "GET=", "v"), ["set", "k", "v", "GET"]);
    }

    #[test]
    fn formats_exclude_each_other_as_they_do_elsewhere() {
        let of = |lines: &[(&'static str, &'static str)], kind| {
            let lines = lines
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
            format(&lines.collect(), kind)
        };
        assert_eq!(of(&[], Kind::One), Ok(Format::Json(Encoding::Plain)));
        assert_eq!(of(&[("upstash-encoding", "BASE64")], Kind::Pipeline), Ok(Format::Json(Encoding::Base64)));
        assert_eq!(of(&[("upstash-response-format", "resp2")], Kind::Pipeline), Ok(Format::Resp2));
        assert!(of(&[("upstash-response-format", "resp2")], Kind::Transaction).is_err());
        assert!(of(&[("upstash-response-format", "resp2"), ("upstash-encoding", "base64")], Kind::One).is_err());
        assert!(of(&[("upstash-response-format", "xml")], Kind::One).is_err());
    }
}
