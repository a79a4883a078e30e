//! What a client is answered: written at once, in its next turn, or when its socket takes more.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::{Connection, End, FLUSH, STRANGER_UNREAD_MAX};
use crate::config::BufferLimit;
use crate::engine::{Charge, Hold};
use crate::net::script::Stage;

/// Bytes that pieces of a backlog have at least, but for the first, and from which on a piece is taken as it is: where much
/// waits, none of it is copied twice.
const PIECE: usize = 64 * 1024;

/// Replies that the socket did not take, or that are for the client's next turn.
pub(super) struct Backlog {
    /// Those not sent yet begin at `sent` of the first piece, and there always are some.
    pieces: VecDeque<Vec<u8>>,
    sent: usize,
    /// Bytes not sent yet.
    waiting: usize,
    /// Since when they have been more than the soft limit, or nothing has been read of one that alone is more.
    pub(super) over_soft: Option<Instant>,
    /// Bytes of the largest of them, if that is more than a limit by itself.
    largest: usize,
    /// Whether they wait for nothing but the client's next turn.
    is_for_later: bool,
    charge: Hold,
}

impl Backlog {
    /// Keeps what is in `output` from `taken` on, which is behind the beginning only of what comes first.
    fn keep(&mut self, output: &mut Vec<u8>, taken: usize) {
        let more = output.len() - taken;
        self.waiting += more;
        if let Some(last) = self.pieces.back_mut().filter(|last| last.capacity() - last.len() >= more) {
            return last.extend_from_slice(&output[taken..]);
        }
        let piece = if more >= PIECE {
            if taken > 0 {
                self.sent = taken;
            }
            std::mem::take(output)
        } else {
            let mut piece = Vec::with_capacity(if self.pieces.is_empty() { more } else { PIECE });
            piece.extend_from_slice(&output[taken..]);
            piece
        };
        self.charge.add(piece.capacity());
        self.pieces.push_back(piece);
    }

    /// What is sent next.
    fn next(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| &piece[self.sent..])
    }

    /// Forgets what was sent of the first piece. Whether nothing is left.
    fn forget(&mut self, sent: usize) -> bool {
        (self.sent, self.waiting) = (self.sent + sent, self.waiting - sent);
        if self.next().is_empty() {
            self.charge.sub(self.pieces.pop_front().map_or(0, |piece| piece.capacity()));
            self.sent = 0;
        }
        if self.waiting <= self.largest {
            self.over_soft = None;
        }
        self.waiting == 0
    }
}

impl Connection<'_> {
    /// Writes a batch's replies, or has them written when the others have had their turn if a script has run: that takes
    /// long enough for its client to have gone to sleep, and waking sleepers one by one costs as much as the scripts do.
    /// All at once, the first that wakes takes care of the rest. What comes before a request that takes long is written
    /// at once.
    pub(super) fn answer(&mut self, output: &mut Vec<u8>, stage: &mut Stage) -> io::Result<()> {
        if !stage.take_has_run() || self.held.is_some() {
            return self.write(output);
        }
        self.keep(output, 0);
        if let Some(backlog) = &mut self.backlog {
            backlog.is_for_later = true;
        }
        Ok(())
    }

    /// Whether there are replies that are to be written in the client's next turn; asked once.
    pub(super) fn lets_others_go(&mut self) -> bool {
        self.backlog.as_mut().is_some_and(|backlog| std::mem::take(&mut backlog.is_for_later))
    }

    /// Writes replies: at once as far as the socket takes them, the rest is the client's own.
    pub(super) fn write(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        let mut taken = 0;
        if self.backlog.is_none() {
            while taken < output.len() {
                match self.wire.try_write(&output[taken..]) {
                    Ok(sent) => {
                        self.count_write(sent);
                        taken += sent;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        output.clear();
                        return Err(error);
                    }
                }
            }
        }
        self.keep(output, taken);
        Ok(())
    }

    /// Keeps the replies from `taken` on for when the socket takes them, and empties `output`.
    fn keep(&mut self, output: &mut Vec<u8>, taken: usize) {
        if taken < output.len() {
            let empty = || {
                let charge = self.client.shared.engine.charges().hold(Charge::Output, 0);
                let pieces = VecDeque::with_capacity(1);
                Box::new(Backlog {
                    pieces,
                    sent: 0,
                    waiting: 0,
                    over_soft: None,
                    largest: 0,
                    is_for_later: false,
                    charge,
                })
            };
            self.backlog.get_or_insert_with(empty).keep(output, taken);
        }
        output.clear();
        // One large reply must not make the worker's buffer large for ever.
        output.shrink_to(FLUSH);
    }

    pub(super) fn write_rest(&mut self) -> io::Result<()> {
        self.wire.catch_up()?;
        while let Some(backlog) = &mut self.backlog {
            match self.wire.try_write(backlog.next()) {
                Ok(sent) => {
                    if backlog.forget(sent) {
                        self.backlog = None;
                    }
                    self.count_write(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn count_write(&self, sent: usize) {
        let block = self.engine().metrics.block(self.client.worker());
        block.writes.add(1);
        block.output_bytes.add(sent as u64);
    }

    /// Notes a reply that has just been left to the backlog: by itself it cuts nobody, however large it is, as what it has may
    /// be nowhere else any more.
    pub(super) fn note_reply(&mut self, len: usize) {
        let limit = self.output_limit();
        let is_over = |limit: u64| limit > 0 && len as u64 > limit;
        if let Some(backlog) = self.backlog.as_mut().filter(|_| is_over(limit.hard) || is_over(limit.soft)) {
            backlog.largest = backlog.largest.max(len);
        }
    }

    /// Ends a client that does not read what it asked for.
    pub(super) fn check_output(&mut self) -> Option<End> {
        if self.backlog.is_none() && !self.is_midway() {
            return None;
        }
        let (limit, waiting) = (self.output_limit(), self.unread());
        let is_over = limit.soft > 0 && waiting as u64 > limit.soft;
        let too_long = self.backlog.as_mut().is_some_and(|backlog| {
            backlog.over_soft = is_over.then(|| backlog.over_soft.unwrap_or_else(Instant::now));
            backlog.over_soft.is_some_and(|since| since.elapsed() >= Duration::from_secs(limit.seconds))
        });
        let largest = self.backlog.as_ref().map_or(0, |backlog| backlog.largest);
        let others = waiting.saturating_sub(largest);
        ((limit.hard > 0 && others as u64 > limit.hard) || too_long).then(|| self.cut(waiting))
    }

    pub(super) fn output_limit(&self) -> BufferLimit {
        match self.is_stranger() {
            true => BufferLimit { hard: STRANGER_UNREAD_MAX, soft: 0, seconds: 0 },
            false => self.engine().hot.output_limit(self.client.peer.is_subscriber()),
        }
    }

    /// Whether the client has yet to log in.
    pub(super) fn is_stranger(&self) -> bool {
        !self.client.authenticated && self.engine().acl.needs_auth()
    }

    /// Whether anything waits for the socket to take more.
    pub(super) fn is_behind(&self) -> bool {
        self.backlog.is_some() || self.wire.is_behind()
    }

    /// Bytes that the socket has yet to take.
    pub(super) fn unread(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.waiting) + self.client.gathered()
    }

    /// Counts and says that a client is ended for what it leaves unread.
    pub(super) fn cut(&self, unread: usize) -> End {
        self.engine().metrics.block(self.client.worker()).output_limit_disconnections.add(1);
        let addr = &self.client.peer.addr;
        tracing::warn!(%addr, bytes = unread, "client closed: it does not read its replies");
        End::Gone
    }
}
