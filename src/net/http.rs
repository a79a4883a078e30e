//! The HTTP door: session checks, sign-outs, and whatever else is under `base-path`, handed through to the upstream.
//!
//! A [`Hall`] holds what all workers share, a [`Door`] is one worker's own, as connections to the upstream live on the
//! runtime that opened them. What a check is answered is the session engine's business; here is only who carries the
//! bytes, and for how long. HTTP/1 alone is spoken, one request after the other. What two parsers may read
//! differently is refused before anything looks at it.

mod answer;
mod form;
mod guard;
mod head;
mod operator;
mod own;
mod page;
mod plain;
mod relay;
mod rest;
mod routes;
mod settings;
mod sign_out;
mod sign_out_all;
mod sign_out_here;
mod slash;
#[cfg(test)]
mod tests;
mod trace;
mod verify;

pub(crate) use own::ELSEWHERE;
#[doc(hidden)]
pub use plain::compare_readings;
pub(crate) use settings::service;
pub use settings::settings;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{COOKIE, HeaderValue};
use http::request::Parts;
use http::{Request, Uri};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;
use tracing::{Instrument as _, debug, warn};

use self::head::{Heads, Sentry};
use self::plain::{Desk, Starts};
use self::slash::Slash;
use page::Pages;

use super::fences::FenceLog;
use super::otlp::Spans;
use super::patience::{HEARD_OUT, Patience, QUIET};
use super::prometheus::Exposition;
use super::script::Stage;
use super::signing::SigningKeys;
use super::strangers::Strangers;
use super::upstream::{self, Outgoing, Reach, Upstream};
use crate::clock::Millis;
use crate::config::Config;
use crate::engine::{Charge, Engine};
use crate::session::{
    self, DICE, Failure, Fill, LookUp, Origin, Outcome, Passage, Secrets, SessionCache, Tokens, Wait,
};

/// Bytes of a request's head at most: cookies in chunks come to 16 KB, and more is no browser.
const HEAD_MAX: usize = 64 * 1024;

/// Bytes of a sign-out's body at most. Real ones have two hundred.
const SIGN_OUT_MAX: usize = 64 * 1024;

/// What a client is charged that is left to hyper: its buffers for reading and writing, and what it remembers of a head.
const CLIENT_BYTES: usize = 20 * 1024;

/// What a call to the upstream is charged: a request with its cookies, and an answer of usual size.
const CALL_BYTES: usize = 16 * 1024;

/// How long an update of a session may take at most: the application may ask others for it, but whoever waits longer has gone, and
/// the call keeps a connection from others.
const UPDATE_MAX: Duration = Duration::from_secs(30);

/// What a waiter waits longer than the call it waits for may take, so that it is answered by its end.
const GRACE: Duration = Duration::from_millis(250);

/// Makes the text of `/metrics`.
type Metrics = dyn Fn(Exposition) -> String + Send + Sync;

/// What all workers' doors share.
pub struct Hall {
    engine: Arc<Engine>,
    sessions: SessionCache,
    reach: Option<Arc<Reach>>,
    /// Prometheus' text; `None` where the settings want none.
    metrics: Option<Box<Metrics>>,
    patience: Patience,
    strangers: Strangers,
    /// Where sign-outs are kept over a restart.
    fences: Option<FenceLog>,
    pages: Pages,
    /// What sessions are signed with.
    signing: Option<SigningKeys>,
    /// How plain checks begin.
    starts: Starts,
    /// Where a session is asked for, unless `slash` says otherwise.
    session_uri: Uri,
    /// Where spans of checks are left; `None` where no collector is to have them.
    spans: Option<Spans>,
    /// Who may look through all that lies in the store, one at a time.
    walk: Semaphore,
    /// Whether the upstream wants a slash behind the path of sessions.
    slash: Slash,
}

impl Hall {
    /// A hall on the engine's first database, by the engine's settings and with the application's `secrets`, where tokens
    /// are decoded here. `metrics` makes the text of `/metrics`.
    pub fn new(
        engine: Arc<Engine>,
        secrets: Option<Secrets>,
        metrics: impl Fn(Exposition) -> String + Send + Sync + 'static,
    ) -> Hall {
        let config = engine.config();
        let settings = settings(&config, secrets);
        let sessions = SessionCache::new(engine.store(0).clone(), engine.records().clone(), settings);
        let own = sessions.clone();
        engine.follow(move |config| {
            own.change(|settings| *settings = self::settings(config, settings.source.secrets().cloned()));
        });
        let reach = config.upstream.as_ref().map(|to| Reach::new(to, config.upstream_connections as usize));
        Hall {
            reach: reach.map(|reach| Arc::new(reach.with_own_host(config.asks_for_own_host()))),
            metrics: config.metrics.then(|| Box::new(metrics) as Box<Metrics>),
            patience: Patience::default(),
            strangers: Strangers::default(),
            fences: None,
            pages: Pages::default(),
            signing: None,
            starts: Starts::of(sessions.service()),
            // The settings take nothing that is no path.
            session_uri: Uri::try_from(sessions.service().path()).unwrap_or_default(),
            spans: None,
            walk: Semaphore::new(1),
            slash: Slash::default(),
            sessions,
            engine,
        }
    }

    /// The same with another patience.
    pub fn with_patience(self, patience: Patience) -> Hall {
        Hall { patience, ..self }
    }

    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    pub(super) fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Keeps sign-outs on the disk, and hears of those that were kept.
    pub(super) fn keep_sign_outs(&mut self, fences: FenceLog) {
        self.engine.add_report("Fences", fences.rows());
        self.fences = Some(fences);
    }

    /// Signs sessions for proxies with these keys.
    pub(super) fn sign_with(&mut self, keys: SigningKeys) {
        let (signer, aging) = (keys.clone(), keys.clone());
        self.sessions.sign_with(move |claims, now| signer.sign(claims, now));
        self.engine.follow(move |config| aging.set_max_age(config.verify.key_age));
        self.signing = Some(keys);
    }

    /// Leaves spans of checks whose traces are recorded there.
    pub(super) fn trace_to(&mut self, spans: Option<Spans>) {
        self.spans = spans;
    }

    /// Reads the keys that sessions are signed with again.
    pub(super) fn reread_signing(&self) -> Result<(), String> {
        if let Some(keys) = &self.signing {
            keys.reread(self.engine.clock.wall_micros() / 1_000_000)?;
            self.sessions.sign_anew();
        }
        Ok(())
    }

    /// Waits until the sign-outs so far are on the disk, where they are kept.
    async fn settle(&self) {
        if let Some(fences) = &self.fences {
            fences.settle().await;
        }
    }

    /// Takes other secrets for the tokens that are decoded from now on.
    pub(super) fn take_secrets(&self, secrets: Secrets) {
        let config = self.engine.config();
        self.sessions.change(|settings| *settings = self::settings(&config, Some(secrets)));
    }

    /// Ends what belongs to no worker.
    pub(super) fn close(&self) {
        if let Some(fences) = &self.fences {
            fences.close();
        }
    }

    /// Says once when the upstream does not answer. That is no reason to stay down: it may be the next to start.
    pub(super) async fn greet_upstream(&self) {
        let Some(reach) = &self.reach else { return };
        if let Err(failure) = reach.ready().await {
            warn!(
                upstream = reach.authority(),
                failure = failure.word(),
                "the upstream does not answer yet (cloakroom check tells more)"
            );
        }
    }

    /// The session cache behind the doors.
    pub fn sessions(&self) -> &SessionCache {
        &self.sessions
    }
}

/// One worker's door.
pub struct Door {
    hall: Arc<Hall>,
    upstream: Option<Upstream>,
    worker: usize,
    desk: RefCell<Desk>,
    /// Where scripts run that come over HTTP.
    stage: RefCell<Stage>,
}

/// Who has a connection here.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Where it comes from; `None` over a Unix socket.
    pub addr: Option<SocketAddr>,
    /// Whether it speaks TLS.
    pub is_secure: bool,
}

impl From<SocketAddr> for Caller {
    /// Somebody who does not speak TLS.
    fn from(addr: SocketAddr) -> Caller {
        Caller { addr: Some(addr), is_secure: false }
    }
}

impl Caller {
    /// Somebody over a Unix socket.
    pub fn on_this_machine() -> Caller {
        Caller { addr: None, is_secure: false }
    }

    /// The address alone, that of this machine over a Unix socket.
    fn ip(self) -> IpAddr {
        self.addr.map_or(Ipv4Addr::LOCALHOST.into(), |addr| addr.ip().to_canonical())
    }
}

/// One connection of a client.
struct Visit {
    door: Rc<Door>,
    peer: Caller,
    heads: Rc<RefCell<Heads>>,
    /// Requests so far.
    requests: Cell<u64>,
    leaving: watch::Receiver<bool>,
}

/// A check that has been looked up, and what it waits for.
struct Asked {
    began: Instant,
    step: Step,
}

/// Where an answer comes from.
enum Step {
    /// It was there.
    Here(session::Answer),
    Decoded(session::Answer),
    Wait(Box<Wait>),
    Call(oneshot::Receiver<session::Answer>),
    /// The upstream, for this asker alone: nobody else waits for it, and it has yet to be asked.
    Pass,
}

/// Counts a panic of a call to the upstream. It ends that call's task; who waits for it is answered.
struct Alarm(Rc<Door>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.hall.engine.metrics.block(self.0.worker).panics.add(1);
        }
    }
}

impl Door {
    /// The door of a worker, by its number among the metrics' blocks. To be used on one `LocalSet` or local runtime.
    pub fn new(hall: Arc<Hall>, worker: usize) -> Rc<Door> {
        let upstream = hall.reach.clone().map(Upstream::new);
        Rc::new(Door { hall, upstream, worker, desk: RefCell::default(), stage: RefCell::default() })
    }

    /// Serves a client until it goes, or until `leaving` says so and its request is answered. Run it as a local task
    /// of its own: then a panic in here ends this client alone.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` holds its arguments twice, for as long as the client stays"
    )]
    pub fn serve<S>(
        self: Rc<Self>,
        mut stream: S,
        peer: Caller,
        leaving: watch::Receiver<bool>,
    ) -> impl Future<Output = ()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        async move {
            if let Some(first) = self.answer_checks(&mut stream, peer, &leaving).await {
                // In a box, as it is larger than all that a client of plain checks needs.
                Box::pin(self.converse(stream, first, peer, leaving)).await;
            } else if *leaving.borrow() {
                Box::pin(hear_out(&mut stream)).await;
            }
        }
    }

    /// Leaves a client to hyper, which gets the `first` bytes again.
    async fn converse<S>(self: Rc<Self>, stream: S, first: Bytes, peer: Caller, mut leaving: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let patience = self.hall.patience;
        if let Some(protocol) = guard::stranger(&first) {
            return self.turn_away(stream, peer, protocol).await;
        }
        let _charge = self.hall.engine.charges().hold(Charge::Http, CLIENT_BYTES);
        let heads = Rc::new(RefCell::new(Heads::default()));
        let io = TokioIo::new(Sentry::new(stream, first, patience.body, heads.clone()));
        let visit =
            Rc::new(Visit { door: self.clone(), peer, heads, requests: Cell::new(0), leaving: leaving.clone() });
        let service = service_fn(move |request| {
            let visit = visit.clone();
            // In a box, as only what may be moved gives its stream back at the end.
            Box::pin(async move { Ok::<_, Infallible>(visit.receive(request).await) })
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_buf_size(HEAD_MAX)
            .half_close(true)
            .serve_connection(io, service);
        let ended = tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
            _ = leaving.wait_for(|leaving| *leaving) => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            }
        };
        if let Err(error) = ended {
            debug!(peer = %peer.ip(), %error, "HTTP client closed");
        }
        // Of a body that was refused the rest may still come.
        hear_out(connection.into_parts().io.inner_mut()).await;
    }

    /// Tells a client of another protocol where it is.
    async fn turn_away<S: AsyncWrite + Unpin>(&self, mut stream: S, peer: Caller, protocol: guard::Protocol) {
        self.hall.strangers.note("HTTP", protocol.name(), peer.ip());
        let farewell = protocol.farewell(self.hall.engine.port());
        let _ = timeout(self.hall.patience.first_byte, async {
            stream.write_all(farewell.as_bytes()).await?;
            stream.shutdown().await
        })
        .await;
    }

    fn now(&self) -> Millis {
        self.hall.engine.clock.now()
    }

    /// Asks the session engine something while no other worker is alone with the stores.
    fn with_sessions<R>(&self, f: impl FnOnce(&SessionCache, Millis) -> R) -> R {
        let _turn = self.hall.engine.enter(self.worker);
        f(&self.hall.sessions, self.now())
    }

    fn tokens(&self, parts: &Parts) -> Tokens {
        self.hall.sessions.credentials(|| lines(parts))
    }

    /// Takes out of a request what was signed out, so that whoever it is handed on to sees nobody there, and reads what it
    /// shows then.
    fn spare(&self, parts: &mut Parts) -> Tokens {
        let tokens = self.tokens(parts);
        let Some(kept) = self.without_dead(&tokens, parts) else { return tokens };
        parts.headers.remove(COOKIE);
        for line in kept.into_iter().filter_map(|line| HeaderValue::from_maybe_shared(line).ok()) {
            parts.headers.append(COOKIE, line);
        }
        self.tokens(parts)
    }

    fn without_dead(&self, tokens: &Tokens, parts: &Parts) -> Option<Vec<Bytes>> {
        // They are gone through twice.
        let cookies: Vec<&[u8]> = cookies(parts).collect();
        self.with_sessions(|sessions, now| sessions.without_dead(tokens, cookies.iter().copied(), now))
    }

    /// The same for an answer to a request. Only where it took no time: the browser may have another cookie by when one comes
    /// that has waited.
    fn bid_farewell(&self, answer: &mut session::Answer, tokens: &Tokens, parts: &Parts) {
        if answer.origin == Origin::Fence {
            let cookies: Vec<&[u8]> = cookies(parts).collect();
            self.with_sessions(|sessions, now| bid_farewell(sessions, answer, tokens, cookies.iter().copied(), now));
        }
    }

    /// When a call that begins now must have ended.
    fn deadline(&self) -> Instant {
        Instant::now() + self.hall.sessions.settings().timeout.duration()
    }

    /// The same of an update whose body is there. It may take longer than a check, as it is not to be had again, but no longer
    /// than a fence stands that is laid meanwhile.
    fn update_deadline(&self, body: &Outgoing) -> Instant {
        match body {
            Outgoing::Full(_) => {
                Instant::now() + self.hall.sessions.settings().longest_call().duration().min(UPDATE_MAX)
            }
            Outgoing::Stream(_) => self.deadline(),
        }
    }

    /// Asks the upstream for a whole answer, within the time and size of a session check.
    async fn ask(&self, upstream: &Upstream, request: Request<Outgoing>) -> Outcome {
        self.ask_until(upstream, request, self.deadline()).await
    }

    async fn ask_until(&self, upstream: &Upstream, mut request: Request<Outgoing>, deadline: Instant) -> Outcome {
        let limit = self.hall.sessions.settings().body_max;
        let call = self.begin_call(&mut request);
        let asked = slash::Asked::on(self.hall.sessions.service().path(), &request);
        let again = asked.as_ref().and_then(|_| upstream::again(&request));
        let mut answer = upstream.ask(request, limit, deadline).await;
        if let (Some(asked), Ok(led)) = (asked, &answer)
            && let Some(to) = self.hall.slash.heard(&asked, upstream.reach().base(), led)
            && let Some(mut again) = again
        {
            *again.uri_mut() = to;
            // Once in a server's life. In a box, as a call's state is large, and all who hold one would be twice as large and moved so.
            answer = Box::pin(upstream.ask(again, limit, deadline)).await;
        }
        self.end_call(call, &answer);
        match answer {
            Ok(answer) => Outcome::Answered(relay::source_answer(answer)),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// Asks the upstream in a task of its own, which goes on when the asker leaves.
    fn fill(
        self: &Rc<Self>,
        upstream: &Upstream,
        fill: Fill,
        request: Request<Outgoing>,
    ) -> oneshot::Receiver<session::Answer> {
        let (done, answer) = oneshot::channel();
        let (door, upstream) = (self.clone(), upstream.clone());
        let call = async move {
            let _alarm = Alarm(door.clone());
            let _charge = door.hall.engine.charges().hold(Charge::Http, CALL_BYTES);
            let outcome = door.ask(&upstream, request).await;
            // The asker may have gone.
            let _ = done.send(door.with_sessions(|sessions, now| sessions.complete(fill, outcome, now)));
        };
        // In a box, as tokio moves what it is given a dozen times, and a call's state is some kilobytes.
        tokio::task::spawn_local(Box::pin(call).in_current_span());
        answer
    }

    /// The answer to a check that was looked up. Where somebody else was waited for, it says for how long.
    async fn answer(self: &Rc<Self>, looked: LookUp, tokens: &Tokens, parts: &Parts, peer: Caller) -> session::Answer {
        let asked = self.set_out(looked, parts, peer);
        self.find_out(asked, tokens, parts, peer).await
    }

    /// Begins what others may be waiting for. Between a look-up and this nothing of the asker's may be waited for.
    fn set_out(self: &Rc<Self>, looked: LookUp, parts: &Parts, peer: Caller) -> Asked {
        let began = Instant::now();
        let decodes = self.hall.sessions.decodes();
        let step = relay::trace(&parts.headers).in_scope(|| match (looked, &self.upstream) {
            (LookUp::Answer(answer), _) => Step::Here(answer),
            (LookUp::Wait(wait), _) => Step::Wait(Box::new(wait)),
            (LookUp::Fill(mut fill), Some(upstream)) if !decodes => {
                self.hall.sessions.bound(&mut fill, || lines(parts));
                Step::Call(self.fill(upstream, fill, self.up(parts, peer, upstream, Outgoing::empty())))
            }
            (LookUp::Fill(fill), _) => Step::Decoded(self.decode(fill, parts, peer)),
            (LookUp::Pass(_), _) => Step::Pass,
        });
        Asked { began, step }
    }

    /// The answer to what was set out for.
    async fn find_out(self: &Rc<Self>, asked: Asked, tokens: &Tokens, parts: &Parts, peer: Caller) -> session::Answer {
        if let Step::Here(mut answer) = asked.step {
            self.bid_farewell(&mut answer, tokens, parts);
            return answer;
        }
        let is_decoded = matches!(asked.step, Step::Decoded(_));
        let passed =
            |outcome| self.with_sessions(|sessions, now| sessions.passed(tokens, Passage::Check, outcome, now));
        let found = async {
            match (asked.step, &self.upstream) {
                (Step::Here(answer) | Step::Decoded(answer), _) => answer,
                (Step::Wait(wait), _) => self.wait(*wait).await,
                (Step::Call(call), _) => match call.await {
                    Ok(answer) => answer,
                    // The task has panicked; its waiters were answered when the fill was dropped.
                    Err(_) => passed(Outcome::Failed(Failure::Abandoned)),
                },
                (Step::Pass, Some(upstream)) => {
                    passed(self.ask(upstream, self.up(parts, peer, upstream, Outgoing::empty())).await)
                }
                // With nobody to ask the engine does not pass.
                (Step::Pass, None) => passed(Outcome::Failed(Failure::Refused)),
            }
        };
        let mut answer = found.instrument(relay::trace(&parts.headers)).await;
        // Somebody was signed out everywhere in the instant in which the token was read.
        if is_decoded {
            self.bid_farewell(&mut answer, tokens, parts);
        }
        answer.headers.push(answer::waited(asked.began.elapsed()));
        answer
    }

    /// A request as the upstream gets it.
    fn up(&self, parts: &Parts, peer: Caller, upstream: &Upstream, body: Outgoing) -> Request<Outgoing> {
        let verify = |config: &Config| config.verify.is_on.then(|| config.verify.headers.clone());
        let claims = self.hall.engine.with_config(verify);
        relay::up(parts, peer, upstream.reach(), claims.as_ref(), body)
    }

    /// Answers a fill from the token itself.
    fn decode(&self, fill: Fill, parts: &Parts, peer: Caller) -> session::Answer {
        let (is_https, dice) = (relay::is_https(&parts.headers, peer), dice());
        self.with_sessions(|sessions, now| sessions.decode(fill, cookies(parts), is_https, dice, now))
    }

    async fn wait(&self, wait: Wait) -> session::Answer {
        let landed = poll_fn(|cx| self.with_sessions(|sessions, now| sessions.poll_wait(&wait, cx.waker(), now)));
        match timeout(self.hall.sessions.settings().timeout.duration() + GRACE, landed).await {
            Ok(answer) => answer,
            Err(_) => self.with_sessions(|sessions, now| sessions.give_up(wait, now)),
        }
    }
}

/// Has a browser that is told of a sign-out forget what was signed out.
fn bid_farewell<'a, C>(sessions: &SessionCache, answer: &mut session::Answer, tokens: &Tokens, cookies: C, now: Millis)
where
    C: IntoIterator<Item = &'a [u8]>,
    C::IntoIter: Clone,
{
    let lines = sessions.farewell(tokens, cookies, now);
    answer.headers.extend(lines.into_iter().map(|line| (Bytes::from_static(b"set-cookie"), line)));
}

/// The values of a request's `Cookie` headers.
fn cookies(parts: &Parts) -> impl Iterator<Item = &[u8]> {
    parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)
}

/// A request's header lines.
fn lines(parts: &Parts) -> impl Iterator<Item = (&[u8], &[u8])> {
    parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// Random bytes for one token.
fn dice() -> [u8; DICE] {
    let mut dice = [0; DICE];
    getrandom::fill(&mut dice).expect("the system has randomness");
    dice
}

/// Ends a connection on which requests may still come.
async fn hear_out<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let mut unheard = vec![0; 16 * 1024];
    let _ = timeout(HEARD_OUT, async {
        stream.shutdown().await?;
        while let Ok(1..) = timeout(QUIET, stream.read(&mut unheard)).await? {}
        Ok::<_, std::io::Error>(())
    })
    .await;
}
