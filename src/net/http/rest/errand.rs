//! The commands of one request, run to their end even when the asker leaves, with turns for others in between.

use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::super::Alarm;
use super::super::answer::{self, Out};
use super::{CUT, Charged, Format, Guest, Kind, as_json, refusal};
use crate::clock::{Millis, Ttl};
use crate::command::{self, Flow};
use crate::engine::{Charge, Hold};
use crate::net::script::Script;
use crate::resp::error_of;
use crate::resp::json::{Batch, Encoding, write_error, write_result, write_results};
use crate::resp::{Args, Reply, Version, Words};

/// Commands of a pipeline that are run before others have their turn: about a tenth of a millisecond.
const IN_A_TURN: usize = 64;

/// Bytes of an answer at most. Unlike a reply over RESP it is whole in memory before the first byte is sent.
const ANSWER_MAX: usize = 64 << 20;

/// Bytes of a reply that are kept room for until the next one.
const KEPT: usize = 64 * 1024;

const TOO_LONG: &str = "ERR the answer is longer than 64 MB: ask for less at once. What came before it has been done";

/// See the module's text.
pub(super) struct Errand {
    guest: Guest,
    batch: Batch,
    /// What stands around the commands of a transaction.
    around: Words,
    kind: Kind,
    format: Format,
    /// Requests that have been answered, those around a transaction counted.
    done: usize,
    /// Words of the commands that have been answered.
    words: usize,
    /// The reply to the request that is being run, which may come in parts.
    reply: Vec<u8>,
    /// What was refused first when a transaction was put together.
    spoiled: Option<Vec<u8>>,
    answer: Growing,
    status: StatusCode,
    /// A script that takes long.
    script: Option<Script>,
}

/// What is to be done when a turn ends.
enum Then {
    /// Go on at once.
    Go,
    /// Go on when others have had their turn.
    Yield,
    /// Go on after so long.
    Sleep(Ttl),
    /// Go on at this instant, or when rung.
    Hold(Millis),
    /// All is answered.
    End,
    /// Give up, with this.
    Fail(&'static str),
}

impl Errand {
    pub fn new(guest: Guest, batch: Batch, kind: Kind, format: Format) -> Errand {
        let around = [&b"MULTI"[..], b"EXEC"].into_iter().collect();
        let hold = guest.door.hall.engine.charges().hold(Charge::Http, 0);
        let answer = Growing { bytes: Vec::new(), beside: 0, hold };
        let (reply, status) = (Vec::new(), StatusCode::OK);
        Errand {
            guest,
            batch,
            around,
            kind,
            format,
            done: 0,
            words: 0,
            reply,
            spoiled: None,
            answer,
            status,
            script: None,
        }
    }

    /// Runs all there is. What is not done at once goes on in a task of its own.
    pub async fn run(self) -> Response<Out> {
        let door = self.guest.door.clone();
        let mut errand = Box::pin(self.go_on());
        match poll_fn(|cx| Poll::Ready(errand.as_mut().poll(cx))).await {
            Poll::Ready(response) => response,
            Poll::Pending => {
                let task = tokio::task::spawn_local(async move {
                    let _alarm = Alarm(door);
                    errand.await
                });
                let failed = |_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "ERR the command failed");
                task.await.unwrap_or_else(failed)
            }
        }
    }

    async fn go_on(mut self) -> Response<Out> {
        if self.kind == Kind::Transaction
            && let scope = self.guest.scope
            && let Some(error) = self.batch.commands().find_map(|args| command::check_alone(args, scope).err())
        {
            return refusal(StatusCode::BAD_REQUEST, &discarded(format!("{} {error}", error.faces().0).as_bytes()));
        }
        loop {
            match self.turn() {
                Then::Go => {}
                Then::Yield => yield_now().await,
                Then::Sleep(ttl) => sleep(ttl.duration()).await,
                Then::Hold(until) => self.guest.wait(until).await,
                Then::End => return self.answered(),
                Then::Fail(why) => return refusal(StatusCode::BAD_REQUEST, why),
            }
        }
    }

    /// Runs some requests, in one go.
    fn turn(&mut self) -> Then {
        if let Some(script) = self.script.take() {
            let flow = script.go_on(&mut self.guest.door.stage.borrow_mut(), &mut self.guest.client, &mut self.reply);
            return match flow {
                Err(script) => self.leave(script),
                Ok(flow @ (Flow::Sleep(_) | Flow::Close)) => self.settle(flow),
                // It has run, so that it is not to be offered again.
                Ok(_) => self.settle(Flow::Go),
            };
        }
        let door = self.guest.door.clone();
        let engine = &door.hall.engine;
        let mut turn = engine.enter(door.worker);
        let micros = engine.clock.micros();
        self.guest.client.lap = micros;
        for _ in 0..IN_A_TURN {
            let Errand { guest: Guest { client, scope, .. }, batch, around, kind, done, words, reply, .. } = self;
            let Some(args) = request(*kind, batch, around, *done, *words) else { return Then::End };
            if client.peer.is_killed() {
                return Then::Fail(CUT);
            }
            let lap = &mut client.lap;
            client.is_outside = !turn.give_way(|| engine.scripts.is_busy(), || *lap = engine.clock.micros());
            let now = Millis(client.lap / 1000);
            let is_around = *kind == Kind::Transaction && (*done == 0 || *done > batch.len());
            let flow = match command::check_alone(args, *scope) {
                Err(error) if !is_around => {
                    Reply::new(reply, Version::Resp2).error(&error);
                    Flow::Go
                }
                _ if command::may_run_script(client, args) => {
                    match door.stage.borrow_mut().run(engine, client, args, now, reply) {
                        Ok(flow) => flow,
                        Err(script) => return self.leave(script),
                    }
                }
                _ => command::run_alone(engine, client, args, now, reply),
            };
            match self.settle(flow) {
                Then::Go => {}
                other => return other,
            }
        }
        Then::Yield
    }

    fn leave(&mut self, script: Script) -> Then {
        self.script = Some(script);
        Then::Yield
    }

    /// Takes a reply into the answer, if it is whole.
    fn settle(&mut self, flow: Flow) -> Then {
        let then = match flow {
            Flow::Hold(until) => return Then::Hold(until),
            _ if self.reply.len() > ANSWER_MAX => return Then::Fail(TOO_LONG),
            Flow::Again => {
                self.answer.charge_with(self.reply.capacity());
                return Then::Yield;
            }
            Flow::Sleep(ttl) => Then::Sleep(ttl),
            Flow::Close => Then::End,
            // For no element, but for what is offered again at that instant.
            Flow::Block(until) => return Then::Sleep(until.since(self.guest.door.hall.engine.clock.now())),
            Flow::Go => Then::Go,
        };
        self.answer.charge_with(self.reply.capacity());
        let taken = self.take();
        self.reply.clear();
        self.reply.shrink_to(KEPT);
        self.answer.charge_with(self.reply.capacity());
        match taken {
            Err(_) => Then::Fail(TOO_LONG),
            Ok(true) => Then::End,
            Ok(false) => then,
        }
    }

    /// Takes the reply to a request, and tells whether that was all. It fails if the answer is too long then.
    fn take(&mut self) -> io::Result<bool> {
        let Format::Json(encoding) = self.format else {
            self.answer.write_all(&self.reply)?;
            self.fail_if(self.kind == Kind::One && error_of(&self.reply).is_some());
            self.count();
            return Ok(false);
        };
        match self.kind {
            Kind::One => {
                self.fail_if(error_of(&self.reply).is_some());
                write_result(&self.reply, encoding, &mut self.answer)?;
            }
            Kind::Pipeline => {
                self.answer.write_all(if self.done == 0 { b"[" } else { b"," })?;
                write_result(&self.reply, encoding, &mut self.answer)?;
            }
            Kind::Transaction => return self.take_of_transaction(encoding),
        }
        self.count();
        Ok(false)
    }

    fn take_of_transaction(&mut self, encoding: Encoding) -> io::Result<bool> {
        let error = error_of(&self.reply);
        match (error, self.done) {
            (Some(error), 0) => {
                write_error(error, &mut self.answer)?;
                self.fail_if(true);
                return Ok(true);
            }
            (Some(error), done) if done <= self.batch.len() => {
                self.spoiled.get_or_insert_with(|| error.to_vec());
            }
            (Some(error), _) => {
                match &self.spoiled {
                    Some(first) => write_error(discarded(first).as_bytes(), &mut self.answer)?,
                    None => write_error(error, &mut self.answer)?,
                }
                self.fail_if(true);
            }
            (None, done) if done > self.batch.len() => write_results(&self.reply, encoding, &mut self.answer)?,
            (None, _) => {}
        }
        self.count();
        Ok(false)
    }

    fn fail_if(&mut self, failed: bool) {
        if failed {
            self.status = StatusCode::BAD_REQUEST;
        }
    }

    fn count(&mut self) {
        let own = match self.kind {
            Kind::Transaction => self.done.checked_sub(1),
            Kind::One | Kind::Pipeline => Some(self.done),
        };
        self.words += own.and_then(|own| self.batch.command_at(own, self.words)).map_or(0, |args| args.len());
        self.done += 1;
    }

    fn answered(mut self) -> Response<Out> {
        if self.kind == Kind::Pipeline && self.format != Format::Resp2 {
            self.answer.bytes.push(b']');
        }
        let mut response = answer::text(self.status, "");
        self.answer.charge_with(0);
        let Errand { answer, format, .. } = self;
        // Charged for until the last byte is with the system.
        *response.body_mut() = Out::Full(Bytes::from_owner(Charged::new(answer.bytes, answer.hold)));
        match format {
            Format::Json(_) => as_json(response),
            Format::Resp2 => {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                response
            }
        }
    }
}

/// The request that comes next, when so many have been answered and so many words of commands are behind.
fn request<'a>(kind: Kind, batch: &'a Batch, around: &'a Words, done: usize, words: usize) -> Option<Args<'a>> {
    match kind {
        Kind::One | Kind::Pipeline => batch.command_at(done, words),
        Kind::Transaction if done == 0 => Some(around.args().head(1)),
        Kind::Transaction if done == batch.len() + 1 => Some(around.args().tail(1)),
        Kind::Transaction => batch.command_at(done - 1, words),
    }
}

/// What a transaction is answered that does not run, and why.
fn discarded(first: &[u8]) -> String {
    format!("EXECABORT Transaction discarded because of previous errors. {}", String::from_utf8_lossy(first))
}

/// An answer that is being written and takes no more than it may have, and the charge for it.
struct Growing {
    bytes: Vec<u8>,
    /// What is charged beside them.
    beside: usize,
    hold: Hold,
}

impl Growing {
    fn charge_with(&mut self, beside: usize) {
        self.beside = beside;
        self.hold.set(self.bytes.capacity() + beside);
    }
}

impl Write for Growing {
    #[inline]
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > ANSWER_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let before = self.bytes.capacity();
        self.bytes.extend_from_slice(more);
        if self.bytes.capacity() != before {
            self.charge_with(self.beside);
        }
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
