//! How long a RESP client may take: for a request, to say something, to read its last replies.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::input::Input;
use super::{Connection, End};
use crate::clock::{Millis, Ttl};
use crate::net::patience::{HEARD_OUT, QUIET, millis};
use crate::net::worker::{Buffers, Scratch};

/// The longest time that a timer is set for; what is due later is looked at again then.
const TIMER_MAX: Ttl = Ttl::seconds(24 * 60 * 60);

impl Connection<'_> {
    /// Sets the timer to the soonest of what the client waits for.
    pub(super) fn set_timer(&mut self) {
        let mut soonest: Option<Instant> = None;
        let mut consider = |at: Instant| soonest = Some(soonest.map_or(at, |other| other.min(at)));
        if let Some(held) = &self.held {
            let left = held.until.since(self.engine().clock.now()).min(TIMER_MAX);
            // Rounded up, so that it has really passed.
            if held.until != Millis::NEVER {
                consider(Instant::now() + left.duration() + Duration::from_millis(1));
            }
        }
        if let Some(since) = self.backlog.as_ref().and_then(|backlog| backlog.over_soft) {
            consider(since + Duration::from_secs(self.output_limit().seconds));
        }
        if let Some(at) = self.overdue_at() {
            let left = at.since(self.engine().clock.now()).min(TIMER_MAX);
            consider(Instant::now() + left.duration());
        }
        match (soonest, &mut self.timer) {
            (None, timer) => *timer = None,
            // An idle timer that fires early looks at the clock and sets itself anew; cheaper than moving it each time.
            (Some(at), Some(timer)) if timer.deadline() <= at => {}
            (Some(at), timer) => *timer = Some(Box::pin(sleep_until(at))),
        }
    }

    /// When the client has been silent, or busy with one request, for too long.
    fn overdue_at(&self) -> Option<Millis> {
        let silent = self.idle_limit().map(|limit| self.active + limit);
        let Some(midway) = self.midway.as_ref().filter(|_| self.held.is_none()) else { return silent };
        let slow = midway.since + self.client.shared.hall.patience().request(self.input.len());
        Some(silent.map_or(slow, |silent| silent.min(slow)))
    }

    /// How long the client may be silent. Who has once been heard has no timer for it, which would make every idle client
    /// weigh more: the janitor looks after those.
    fn idle_limit(&self) -> Option<Ttl> {
        match self.engine().hot.timeout() {
            _ if self.is_stranger() => Some(millis(self.client.shared.hall.patience().stranger)),
            0 => None,
            _ if self.active > self.client.peer.created => None,
            seconds => Some(Ttl::seconds(seconds).min(millis(self.client.shared.hall.patience().first_byte))),
        }
    }

    pub(super) fn timer_fired(&mut self, scratch: &Scratch) -> io::Result<Option<End>> {
        if self.is_released()
            && let Some(mut held) = self.held.take()
        {
            self.active = self.engine().clock.now();
            self.client.peer.last_seen.store(self.active.0, Ordering::Relaxed);
            if self.is_asleep() {
                self.client.peer.held.store(false, Ordering::Relaxed);
            }
            let scratch = &mut *Buffers::lend(scratch);
            scratch.output.append(&mut held.late);
            return match self.input.is_empty() {
                true => self.write(&mut scratch.output).map(|()| None),
                false => self.run_own(scratch),
            };
        }
        let overdue = self.overdue_at().is_some_and(|at| at <= self.engine().clock.now());
        Ok(overdue.then_some(End::Gone))
    }

    /// Sends the last replies, but does not wait for ever for somebody who is not reading. Whoever spoke a
    /// moment ago is heard out.
    pub(super) async fn flush_and_close(&mut self, scratch: &Scratch) {
        let now = self.engine().clock.now();
        let heard_out = !self.client.peer.is_killed() && now.since(self.active) < millis(HEARD_OUT);
        self.input = Input::default();
        let flush = async {
            // Who writes all it has to say before it reads is read meanwhile.
            let flushed = poll_fn(|cx| {
                while heard_out && self.is_behind() {
                    match self.poll_read(cx, scratch) {
                        Poll::Ready(Ok(1..)) => {}
                        _ => break,
                    }
                }
                while self.is_behind() {
                    if ready!(self.wire.poll_write_ready(cx)).is_err() || self.write_rest().is_err() {
                        return Poll::Ready(false);
                    }
                }
                Poll::Ready(true)
            });
            if !flushed.await || !heard_out || self.wire.end_writing().await.is_err() {
                return;
            }
            while let Ok(Ok(1..)) = timeout(QUIET, poll_fn(|cx| self.poll_read(cx, scratch))).await {}
        };
        let _ = timeout(HEARD_OUT, flush).await;
        // Whether it took everything or not, it is closed now; but who asked the server to end is not before the doors are.
        if self.engine().is_to_end() {
            let mut ending = self.client.shared.ending.subscribe();
            let _ = timeout(HEARD_OUT, ending.wait_for(|ends| *ends)).await;
        }
    }
}
