//! What was denied lately, newest first.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::{Charge, Charges};

/// Entries among which a like one is looked for, and milliseconds within which two are alike, as in Redis.
const LIKE_AMONG: usize = 10;
const LIKE_WITHIN: u64 = 60_000;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The client itself.
    Toplevel,
    /// A transaction.
    Multi,
    /// A script.
    Lua,
}

impl Context {
    /// Its name in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            Context::Toplevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// Something that was denied, once or several times.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, counting all that there ever were.
    pub id: u64,
    /// How many times.
    pub count: u64,
    /// `command`, `key`, `channel` or `auth`.
    pub reason: &'static str,
    /// Where it was tried.
    pub context: Context,
    /// The command, key or channel, cut to what is kept, tokens already replaced.
    pub object: Vec<u8>,
    /// Who tried, cut as well.
    pub user: Vec<u8>,
    /// The client that tried last, as CLIENT LIST has it.
    pub client: String,
    /// When it was first tried, in milliseconds of Unix time.
    pub created: u64,
    /// When it was last tried.
    pub updated: u64,
}

impl Entry {
    /// Bytes that it takes.
    fn size(&self) -> usize {
        size_of::<Entry>() + self.object.len() + self.user.len() + self.client.len()
    }
}

/// The log.
pub struct Log {
    state: Mutex<(u64, VecDeque<Entry>)>,
    charges: Arc<Charges>,
}

impl Log {
    /// An empty log.
    pub(super) fn new(charges: Arc<Charges>) -> Log {
        Log { state: Mutex::default(), charges }
    }

    /// Notes what was denied; the oldest goes when there are more than `max`.
    pub fn push(&self, mut entry: Entry, max: usize) {
        let mut state = self.state.lock();
        let like = |old: &Entry| {
            old.reason == entry.reason
                && old.context == entry.context
                && entry.updated.abs_diff(old.updated) <= LIKE_WITHIN
                && old.object == entry.object
                && old.user == entry.user
        };
        let like = state.1.iter().take(LIKE_AMONG).position(like);
        if let Some(mut old) = like.and_then(|at| state.1.remove(at)) {
            let before = old.size();
            old.count += 1;
            old.client = entry.client;
            old.updated = entry.updated;
            self.charges.change(Charge::AclLog, before, old.size());
            state.1.push_front(old);
            return;
        }
        entry.id = state.0;
        state.0 += 1;
        self.charges.change(Charge::AclLog, 0, entry.size());
        state.1.push_front(entry);
        self.cut_to(max, &mut state.1);
    }

    fn cut_to(&self, max: usize, kept: &mut VecDeque<Entry>) {
        while kept.len() > max
            && let Some(oldest) = kept.pop_back()
        {
            self.charges.change(Charge::AclLog, oldest.size(), 0);
        }
    }

    /// The newest ones.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.state.lock().1.iter().take(count).cloned().collect()
    }

    /// Forgets all; the numbers go on.
    pub fn clear(&self) {
        self.cut_to(0, &mut self.state.lock().1);
    }
}
