//! What a client's requests wait for: a pause of all clients, a key, a sleep, or a request of its own that takes long.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::task::yield_now;

use super::{Connection, End, FLUSH};
use crate::clock::Millis;
use crate::command::Flow;
use crate::net::script::Script;
use crate::net::worker::{Buffers, Scratch};

/// That a client's requests are held.
pub(super) struct Held {
    pub until: Millis,
    /// The reply to a command that sleeps, sent when it wakes.
    pub late: Vec<u8>,
    /// Its own request that takes long.
    pub script: Option<Script>,
}

impl Held {
    /// Requests that are offered again, or go on, at this instant.
    pub fn until(until: Millis) -> Box<Held> {
        Box::new(Held { until, late: Vec::new(), script: None })
    }

    /// The reply to a command that sleeps waits too.
    pub fn asleep(until: Millis, late: Vec<u8>) -> Box<Held> {
        Box::new(Held { until, late, script: None })
    }

    /// Its own request has yet to come to its end.
    pub fn by(script: Script) -> Box<Held> {
        Box::new(Held { until: Millis::NEVER, late: Vec::new(), script: Some(script) })
    }
}

impl Connection<'_> {
    /// Whether its requests were held and need not be any longer.
    pub(super) fn is_released(&self) -> bool {
        self.held.as_ref().is_some_and(|held| {
            let now = self.engine().clock.now();
            // A pause may have ended early; a sleep of this client's own has no bell.
            now >= held.until
                || match self.client.flow {
                    Flow::Hold(_) => self.engine().paused_until(now).is_none(),
                    Flow::Block(_) => self.client.peer.is_called(),
                    // What there is of the reply must be on its way, so that it does not pile up.
                    Flow::Again => self.backlog.is_none(),
                    _ => false,
                }
        })
    }

    /// Whether a part of a request was run, and perhaps of its reply written, which nothing may come in between of.
    pub(super) fn is_midway(&self) -> bool {
        self.client.flow == Flow::Again
    }

    /// Whether a command of this client's own is what its next requests wait for. As Redis does, nothing is read then:
    /// who says all it has to say and closes its end is answered all the same.
    pub(super) fn is_asleep(&self) -> bool {
        matches!(self.client.flow, Flow::Sleep(_))
    }

    /// Goes on with a request of its own that takes long, to its end or for as long as others can wait; at its end, with
    /// those behind it.
    pub(super) fn poll_script(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        script: Script,
    ) -> Poll<io::Result<Option<End>>> {
        let scratch = &mut *Buffers::lend(scratch);
        let engine = self.engine();
        let flow = script.go_on(&mut scratch.stage, &mut self.client, &mut scratch.output);
        self.held = None;
        match flow {
            Err(script) => {
                self.held = Some(Held::by(script));
                // Others have their turn now, and those of whose sockets the system has news.
                pin!(yield_now()).poll(cx).map(|()| Ok(None))
            }
            Ok(Flow::Sleep(ttl)) => {
                self.held = Some(Held::asleep(engine.clock.now() + ttl, std::mem::take(&mut scratch.output)));
                Poll::Ready(Ok(None))
            }
            Ok(Flow::Close) => Poll::Ready(self.write(&mut scratch.output).map(|()| Some(End::Flush))),
            // It has run, so that it is not to be offered again.
            Ok(Flow::Go | Flow::Hold(_) | Flow::Block(_) | Flow::Again) => {
                let len = scratch.output.len();
                if self.input.is_empty() || len > FLUSH {
                    self.write(&mut scratch.output)?;
                    self.note_reply(len);
                }
                Poll::Ready(if self.input.is_empty() { Ok(None) } else { self.run_own(scratch) })
            }
        }
    }
}
