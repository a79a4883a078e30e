//! SUBSCRIBE and PSUBSCRIBE over HTTP: what is published comes as server-sent events, for as long as somebody listens.
//!
//! A subscriber is a client like others: it is in CLIENT LIST, can be killed there, and is cut when what waits for it is
//! more than `client-output-buffer-limit` has for Pub/Sub.

use std::borrow::Cow;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::super::Alarm;
use super::super::answer::{self, Out};
use super::{CUT, Charged, Guest, refusal};
use crate::clock::Millis;
use crate::command::{self, Flow};
use crate::engine::Charge;
use crate::resp::json::Batch;
use crate::resp::{error_of, events};

/// How often something is said that is no event: it is how a listener who has left is found out, and proxies give up what
/// says nothing for a minute.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A comment, as server-sent events have them.
const COMMENT: &[u8] = b":\n\n";

/// Bytes of messages that room is kept for until the next ones.
const KEPT: usize = 16 * 1024;

/// Whether a path begins with a command that is answered by events.
pub(super) fn listens(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    ["subscribe", "psubscribe"].iter().any(|name| first.eq_ignore_ascii_case(name))
}

/// Subscribes, and answers with the events.
pub(super) async fn begin(mut guest: Guest, batch: Batch, leaving: watch::Receiver<bool>) -> Response<Out> {
    let Some(args) = batch.commands().next() else { return refusal(StatusCode::BAD_REQUEST, "ERR empty command") };
    let mut reply = Vec::new();
    loop {
        let flow = {
            let Guest { door, client, .. } = &mut guest;
            let engine = &door.hall.engine;
            let mut turn = engine.enter(door.worker);
            client.is_outside = !turn.give_way(|| engine.scripts.is_busy(), || ());
            client.lap = engine.clock.micros();
            command::run(engine, client, args, None, Millis(client.lap / 1000), &mut reply)
        };
        match flow {
            Flow::Hold(until) => guest.wait(until).await,
            Flow::Again => yield_now().await,
            Flow::Go | Flow::Block(_) | Flow::Sleep(_) | Flow::Close => break,
        }
        if guest.client.peer.is_killed() {
            return refusal(StatusCode::BAD_REQUEST, CUT);
        }
    }
    if let Some(error) = error_of(&reply) {
        return refusal(StatusCode::BAD_REQUEST, &String::from_utf8_lossy(error));
    }
    let (tell, coming) = mpsc::channel(1);
    let alarm = Alarm(guest.door.clone());
    tokio::task::spawn_local(async move {
        let _alarm = alarm;
        listen(guest, reply, tell, leaving).await;
    });
    answer::events(coming)
}

/// Hands on what comes until the asker or the server goes, or the client is killed.
async fn listen(guest: Guest, mut frames: Vec<u8>, tell: mpsc::Sender<Bytes>, mut leaving: watch::Receiver<bool>) {
    let (peer, engine) = (guest.client.peer.clone(), guest.door.hall.engine.clone());
    loop {
        let text = if frames.is_empty() { Cow::Borrowed(COMMENT) } else { Cow::Owned(events(&frames)) };
        frames.clear();
        frames.shrink_to(KEPT);
        // What is not taken counts against the limit of what may wait.
        peer.output_buffer.store(text.len().min(u32::MAX as usize) as u32, std::sync::atomic::Ordering::Relaxed);
        let hold = engine.charges().hold(Charge::Http, text.len());
        let text = Bytes::from_owner(Charged::new(text.into_owned(), hold));
        tokio::select! {
            sent = tell.send(text) => if sent.is_err() { return },
            _ = leaving.wait_for(|leaving| *leaving) => return,
            () = rung(&guest, false) => return,
        }
        peer.output_buffer.store(0, std::sync::atomic::Ordering::Relaxed);
        tokio::select! {
            () = rung(&guest, true) => {}
            () = sleep(SIGN_OF_LIFE) => {}
            _ = leaving.wait_for(|leaving| *leaving) => return,
            () = tell.closed() => return,
        }
        if peer.is_killed() {
            return;
        }
        peer.collect(&mut frames);
    }
}

/// Waits until the client is killed, or, if that is wanted too, until there is mail.
async fn rung(guest: &Guest, mail_too: bool) {
    let peer = &guest.client.peer;
    poll_fn(|cx| {
        peer.set_bell(cx.waker());
        if peer.is_killed() || (mail_too && peer.has_mail()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
