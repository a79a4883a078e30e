//! One RESP client: bytes in, bytes out.
//!
//! A batch is one read, all whole requests that it completed, and one write. What a request leaves unfinished is the
//! client's own; everything else happens in buffers, and with a parser, that all clients of a worker share, so that an
//! idle client holds none. Reading goes on while output is blocked: a client that writes ten thousand commands before
//! it reads must not deadlock; the output limits end it if it never does.

mod held;
mod input;
mod output;
mod time;

use std::future::{Future, poll_fn};
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Sleep;

use held::Held;
use input::Input;
use output::Backlog;

use super::janitor::make_some_room;
use super::patience::millis;
use super::script::Stage;
use super::strangers::{TLS_ALERT, is_http, is_tls};
use super::wire::{Incoming, Wire};
use super::worker::{Buffers, Scratch, Shared, Watch};
use crate::clock::{Millis, Ttl};
use crate::command::{self, Client, Flow, Replies};
use crate::engine::Engine;
use crate::resp::request::{TOO_LARGE, guess_key};
use crate::resp::{Parser, Reply};

/// Bytes of output after which a batch is written even though requests are left, so that one long pipeline of large
/// replies does not pile up in memory.
const FLUSH: usize = 256 * 1024;

/// Deliveries of what others pushed that a client has in one turn.
const DELIVERIES_MAX: usize = 16;

/// How often who leaves looks whether a script that takes long has come to its end.
const BUSY_LOOKED_AT: Duration = Duration::from_millis(10);

/// Bytes of replies that a client may leave unread as long as it has yet to log in: refusals are short. With what is
/// written at once, 64 KB.
const STRANGER_UNREAD_MAX: u64 = 48 * 1024;

/// The same as [`FLUSH`] for a client that has yet to log in.
const STRANGER_FLUSH: usize = 16 * 1024;

/// What a client holds is worth a slice of evictions for each so many bytes, and at most so many at once, which take less
/// than a millisecond.
const SLICE_BYTES: usize = 128 * 1024;
const SLICES_MAX: usize = 8;

/// Bytes of room below which a client's own input gets more before it is read.
const ROOM_MIN: usize = 16 * 1024;

/// What a client waits for.
enum Event {
    /// Its request that takes long has come to its end, and maybe so does the client.
    Done(Option<End>),
    Read(usize),
    Writable,
    Bell,
    Timer,
    Draining,
}

/// Why a client ends.
enum End {
    /// It left, or was asked to.
    Gone,
    /// Output is flushed first, within reason.
    Flush,
}

/// A client. Every one weighs what is in here; what few have, and not for long, is in boxes.
struct Connection<'a> {
    // Fields are dropped in this order: the socket is closed before the client is off the list, where CLIENT KILL looks.
    wire: Wire,
    client: Listed<'a>,
    midway: Option<Box<Midway>>,
    /// Requests that are not whole yet, or held.
    input: Input,
    backlog: Option<Box<Backlog>>,
    held: Option<Box<Held>>,
    /// When it was last heard; when it came if it never was, and later than that if it was.
    active: Millis,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A client that is on the engine's lists until it is dropped, however its task ends.
struct Listed<'a> {
    client: Client,
    shared: &'a Shared,
}

/// The beginning of a request that is not whole yet.
struct Midway {
    /// Who has read it.
    parser: Parser,
    /// When it came.
    since: Millis,
}

/// Serves a client until it leaves.
#[expect(clippy::manual_async_fn, reason = "an `async fn` holds its arguments twice, for as long as the client stays")]
pub(super) fn serve(incoming: impl Incoming, watch: Watch, scratch: Scratch) -> impl Future<Output = ()> {
    async move {
        let Some(mut connection) = Connection::new(incoming.open(), &watch) else { return };
        // A task keeps its waker for life.
        poll_fn(|cx| {
            connection.client.peer.set_bell(cx.waker());
            Poll::Ready(())
        })
        .await;
        // Who never says anything is silent too.
        connection.set_timer();
        let end = poll_fn(|cx| connection.poll_run(cx, &scratch)).await;
        // Nothing is served to who takes no answer any more.
        connection.client.stop_waiting();
        let engine = connection.engine();
        if !connection.client.finish_flush(engine) {
            Box::pin(connection.finish_flush()).await;
        }
        match end {
            Ok(End::Gone) => {}
            // In a box, as it is larger than all of the rest and seldom comes.
            Ok(End::Flush) => Box::pin(connection.flush_and_close(&scratch)).await,
            Err(error) => tracing::debug!(client = connection.client.peer.id, %error, "client lost"),
        }
    }
}

impl Deref for Listed<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Listed<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Listed<'_> {
    fn stop_waiting(&mut self) {
        let turn = self.shared.engine.enter(self.worker());
        command::forget(&self.shared.engine, &mut self.client, turn.is_inside());
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let _turn = self.shared.engine.enter(self.worker());
        self.stop_waiting();
        self.client.forget_transaction(&self.shared.engine);
        self.shared.engine.leave(&self.client.peer);
    }
}

impl<'a> Connection<'a> {
    /// Lets a client in, if it has not left already.
    fn new(wire: io::Result<Wire>, watch: &'a Watch) -> Option<Connection<'a>> {
        let wire = wire.ok()?;
        let (addr, local) = wire.addresses().ok()?;
        let engine = &*watch.shared.engine;
        let now = engine.clock.now();
        let is_local = addr.is_local();
        let peer = engine.clients.enter(addr, local, wire.descriptor(), now);
        Some(Connection {
            wire,
            client: Listed { client: Client::new(engine, peer, watch.worker(), is_local), shared: &watch.shared },
            midway: None,
            input: Input::default(),
            backlog: None,
            held: None,
            active: now,
            timer: None,
        })
    }

    fn engine(&self) -> &'a Engine {
        &self.client.shared.engine
    }

    /// Ends what it has asked for, when a script that takes long has ended.
    async fn finish_flush(&mut self) {
        let engine = self.engine();
        while !self.client.finish_flush(engine) {
            tokio::time::sleep(BUSY_LOOKED_AT).await;
        }
    }

    /// Does what there is to do until the client ends.
    fn poll_run(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<End>> {
        let mut deliveries = 0;
        loop {
            let event = ready!(self.poll_event(cx, scratch))?;
            if self.client.peer.is_cut() {
                return Poll::Ready(Ok(self.cut(self.unread())));
            }
            if self.client.peer.is_killed() {
                return Poll::Ready(Ok(End::Flush));
            }
            match event {
                Event::Done(None) => {}
                Event::Done(Some(end)) => return Poll::Ready(Ok(end)),
                Event::Draining => return Poll::Ready(Ok(End::Flush)),
                Event::Writable => self.write_rest()?,
                // What its own request has made news of comes behind the answer.
                Event::Bell if command::is_answered(self.engine(), &self.client) => {}
                Event::Bell => {
                    self.take_mail(scratch)?;
                    deliveries += 1;
                }
                Event::Timer => {
                    if let Some(end) = self.timer_fired(scratch)? {
                        return Poll::Ready(Ok(end));
                    }
                }
                Event::Read(got) => {
                    if let Some(end) = self.take(got, scratch)? {
                        return Poll::Ready(Ok(end));
                    }
                }
            }
            if let Some(end) = self.check_output() {
                return Poll::Ready(Ok(end));
            }
            self.set_timer();
            self.publish();
            if self.lets_others_go() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_midway() && self.backlog.is_none() {
                // It goes on when others, and those who are yet to be heard, have had their turn.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                return Poll::Pending;
            }
            if deliveries == DELIVERIES_MAX {
                // Others may push faster than this client's worker has turns for it; the rest waits for the next one.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<Event>> {
        // Whatever else there is, a script comes to its end.
        if let Some(script) = self.held.as_mut().and_then(|held| held.script.take()) {
            return self.poll_script(cx, scratch, script).map_ok(Event::Done);
        }
        if self.client.shared.is_draining() && !self.is_midway() {
            return Poll::Ready(Ok(Event::Draining));
        }
        if self.client.peer.is_killed() {
            return Poll::Ready(Ok(Event::Bell));
        }
        if self.held.is_some() && self.is_released() {
            return Poll::Ready(Ok(Event::Timer));
        }
        if self.is_behind() && self.wire.poll_write_ready(cx)?.is_ready() {
            return Poll::Ready(Ok(Event::Writable));
        }
        let deaf = self.held.is_some() && (self.is_asleep() || self.is_midway());
        if !deaf && self.engine().is_to_stand_back() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !deaf && let Poll::Ready(got) = self.poll_read(cx, scratch) {
            return Poll::Ready(got.map(Event::Read));
        }
        // Behind reading, which tokio has come to an end: so neither keeps the other waiting.
        if self.client.peer.has_mail() && !self.is_midway() {
            return Poll::Ready(Ok(Event::Bell));
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.timer = None;
            return Poll::Ready(Ok(Event::Timer));
        }
        Poll::Pending
    }

    /// Reads once, to the end of the client's own input or, if it has none, to the scratch buffer, where it must be
    /// taken before another client has its turn. Reading and waiting are one step for tokio, which then knows from a
    /// short read that nothing is left, and saves the call that would say so.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<usize>> {
        let scratch = &mut *scratch.borrow_mut();
        if self.input.is_empty() {
            let mut input = ReadBuf::new(&mut scratch.input);
            return self.wire.poll_read(cx, &mut input).map_ok(|()| input.filled().len());
        }
        // The rest of a request is read to where its beginning is. How much room is made follows what has arrived,
        // never what was announced: 64 KB at first, and then no more than is there already.
        let needs = self.midway.as_ref().map_or(0, |midway| midway.parser.needs());
        self.input.make_room(ROOM_MIN, needs);
        self.input.poll_read(cx, &mut self.wire)
    }

    /// Takes what was read, and runs what is whole.
    fn take(&mut self, got: usize, scratch: &Scratch) -> io::Result<Option<End>> {
        if got == 0 {
            return Ok(Some(if self.backlog.is_none() { End::Gone } else { End::Flush }));
        }
        let scratch = &mut *Buffers::lend(scratch);
        let block = self.engine().metrics.block(self.client.worker());
        block.reads.add(1);
        block.input_bytes.add(got as u64);
        if self.held.is_some() {
            self.active = self.engine().clock.now();
            if self.input.is_empty() {
                self.input.extend(&scratch.input[..got]);
            }
            // As Redis: it is read on, or nobody would see that it has left.
            let is_too_much = self.input.len() > self.engine().hot.limits(self.client.authenticated).request;
            if is_too_much {
                block.query_limit_disconnections.add(1);
                let peer = &self.client.peer;
                tracing::info!(client = peer.id, addr = %peer.addr, "more than client-query-buffer-limit waits behind its request");
            }
            return Ok(is_too_much.then_some(End::Flush));
        }
        // What was published before these requests came is heard before their answers, and before a QUIT.
        self.client.peer.collect(&mut scratch.output);
        if self.input.is_empty() {
            let Buffers { input, output, parser, stage } = scratch;
            let (used, end) = self.run_batch(&input[..got], output, parser, stage)?;
            if parser.is_midway() {
                self.midway = Some(Box::new(Midway { parser: std::mem::take(parser), since: self.active }));
            }
            self.input.extend(&input[used..got]);
            self.answer(output, stage)?;
            Ok(end)
        } else {
            self.run_own(scratch)
        }
    }

    /// Runs what is whole of the client's own input.
    fn run_own(&mut self, scratch: &mut Buffers) -> io::Result<Option<End>> {
        let mut input = std::mem::take(&mut self.input);
        let begun = || Box::new(Midway { parser: Parser::default(), since: Millis::NEVER });
        let mut midway = self.midway.take().unwrap_or_else(begun);
        let (used, end) = self.run_batch(&input, &mut scratch.output, &mut midway.parser, &mut scratch.stage)?;
        if used > 0 || midway.since == Millis::NEVER {
            midway.since = self.engine().clock.now();
        }
        self.midway = Some(midway).filter(|midway| midway.parser.is_midway());
        input.forget(used);
        self.input = input;
        self.answer(&mut scratch.output, &mut scratch.stage)?;
        Ok(end)
    }

    /// Runs all whole requests in `input` and tells how many bytes they were.
    fn run_batch(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        parser: &mut Parser,
        stage: &mut Stage,
    ) -> io::Result<(usize, Option<End>)> {
        let engine = self.engine();
        let mut turn = engine.enter(self.client.worker());
        // Behind it, as somebody else may have been alone for long.
        let micros = engine.clock.micros();
        let now = Millis(micros / 1000);
        self.client.lap = micros;
        let is_stranger = self.is_stranger();
        // Who has been here for long and not logged in may say what it likes: it counts as silence.
        let patience = self.client.shared.hall.patience();
        let came = self.client.peer.created;
        if !is_stranger || now.since(came) < millis(patience.login) {
            self.active = now.max(came + Ttl(1));
        }
        let flush = if is_stranger { STRANGER_FLUSH } else { FLUSH };
        self.client.peer.last_seen.store(now.0, Ordering::Relaxed);
        self.client.peer.query_buffer[0].store(u32::try_from(input.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        let mut used = 0;
        let mut end = None;
        // The key of this request and that of the next one, in turn.
        let mut foreseen = [None, None];
        let mut turns = 0;
        self.held = None;
        if is_tls(input) {
            self.note_stranger("TLS");
            output.extend_from_slice(TLS_ALERT.as_bytes());
            return Ok((input.len(), Some(End::Flush)));
        }
        while used < input.len() {
            let lap = &mut self.client.lap;
            self.client.is_outside = !turn.give_way(|| engine.scripts.is_busy(), || *lap = engine.clock.micros());
            // Those before it may have taken long, too.
            let now = Millis(self.client.lap / 1000);
            let limits = engine.hot.limits(self.client.authenticated);
            let rest = &input[used..];
            let len = match parser.parse(rest, &limits) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) => {
                    let counters = engine.metrics.block(self.client.worker());
                    counters.protocol_errors.add(1);
                    counters.query_limit_disconnections.add(u64::from(error == TOO_LARGE));
                    let peer = &self.client.peer;
                    match peer.addr.ip() {
                        Some(address) => self.client.shared.strangers.note_nonsense(&error, address),
                        None => tracing::info!(client = peer.id, addr = %peer.addr, %error, "protocol error"),
                    }
                    // Who wants no replies is closed all the same.
                    if self.client.replies == Replies::On {
                        Reply::new(output, self.client.version).error(&error);
                    }
                    end = Some(End::Flush);
                    used = input.len();
                    break;
                }
            };
            let args = parser.args(rest);
            if is_http(args.get(0)) {
                self.note_stranger("HTTP");
                end = Some(End::Gone);
                used = input.len();
                break;
            }
            let store = engine.store(self.client.db());
            // While this request runs, what the next one needs is on its way.
            let [one, other] = &mut foreseen;
            let (here, next) = if turns % 2 == 0 { (one, other) } else { (other, one) };
            turns += 1;
            let unguessed;
            let ahead = match here {
                Some(ahead) => Some(&*ahead),
                None => {
                    let len = args.get(2).map_or(0, <[u8]>::len);
                    unguessed = args.get(1).and_then(|key| store.foresee(key, len));
                    unguessed.as_ref()
                }
            };
            *next = guess_key(&rest[len..]).and_then(|(key, len)| store.foresee(key, len));
            let start = output.len();
            let flow = if args.is_empty() {
                Flow::Go
            } else if command::may_run_script(&self.client, args) {
                match stage.run(&self.client.shared.engine, &mut self.client, args, now, output) {
                    Ok(flow) => flow,
                    Err(script) => {
                        used += len;
                        self.held = Some(Held::by(script));
                        break;
                    }
                }
            } else {
                command::run(engine, &mut self.client, args, ahead, now, output)
            };
            match flow {
                Flow::Go => used += len,
                Flow::Again => {
                    self.held = Some(Held::until(Millis::NEVER));
                    break;
                }
                Flow::Hold(until) | Flow::Block(until) => {
                    self.held = Some(Held::until(until));
                    break;
                }
                Flow::Sleep(ttl) => {
                    used += len;
                    self.client.peer.held.store(true, Ordering::Relaxed);
                    self.held = Some(Held::asleep(now + ttl, output.split_off(start)));
                    break;
                }
                Flow::Close => {
                    used = input.len();
                    end = Some(End::Flush);
                    break;
                }
            }
            if output.len() >= flush {
                let len = output.len() - start;
                self.write(output)?;
                self.note_reply(len);
                if let Some(over) = self.check_output() {
                    end = Some(over);
                    used = input.len();
                    break;
                }
            }
        }
        parser.rest();
        Ok((used, end))
    }

    fn note_stranger(&self, protocol: &str) {
        if let Some(address) = self.client.peer.addr.ip() {
            self.client.shared.strangers.note("RESP", protocol, address);
        }
    }

    /// Sends what others left in the mailbox.
    fn take_mail(&mut self, scratch: &Scratch) -> io::Result<()> {
        let scratch = &mut *Buffers::lend(scratch);
        self.client.peer.collect(&mut scratch.output);
        self.write(&mut scratch.output)
    }

    /// Tells what others cannot know, and has somebody cut if it is too much.
    fn publish(&self) {
        let peer = &self.client.peer;
        let midway = self.midway.as_ref().map_or(0, |midway| midway.parser.heap());
        let holds = self.input.capacity() + midway;
        peer.set_input(self.input.len(), holds);
        let unread = self.unread();
        peer.output_buffer.store(unread.min(u32::MAX as usize) as u32, Ordering::Relaxed);
        if holds + unread > 0 {
            self.engine().cut_clients(self.client.worker());
            // Who brings this much makes room for it; the janitor does the rest.
            let slices = 1 + (holds + unread) / SLICE_BYTES;
            let _ = (0..slices.min(SLICES_MAX)).all(|_| make_some_room(self.engine(), self.client.worker()));
        }
    }
}

#[cfg(test)]
mod tests;
