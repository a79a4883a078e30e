//! Sign-outs that outlast the process: `cloakroom.fences` in `dir`.
//!
//! A session's token stays good at its source after a sign-out (a JWT until it expires), so who was signed out would be
//! signed in again by a restart. What a sign-out fences is therefore written here, hashed, and is on the disk before the
//! sign-out is answered. A thread of its own writes: whatever was added while it waited for the disk is one write and one
//! sync, however many sign-outs that was. Nothing is written, and no file made, before the first sign-out.
//!
//! A disk that is full or broken keeps nobody signed in: the sign-out is answered, as its fence stands in memory, and it
//! is said, counted, and tried again until it is written.
//!
//! Fences that commands lay (DEL of a session over RESP) are not kept. They last seconds and only keep out what this
//! process had under way.

mod census;
mod file;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::keyfile::KeyFile;
use crate::engine::Rows;
use crate::session::SessionCache;
use writer::Writer;

/// The file's name in `dir`.
const NAME: &str = "cloakroom.fences";

/// How long a sign-out waits for the disk before it is answered all the same.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// How long after a failure it is tried again, if no sign-out asks for it before.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes that wait for a disk that takes none; some hundred thousand sign-outs. What comes on top is lost, which is said
/// and counted. As many wait to be handed to the thread while it waits for the disk.
const UNSAVED_MAX: usize = 16 << 20;

/// What is counted.
#[derive(Default)]
struct Counters {
    added: AtomicU64,
    syncs: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
    restored: AtomicU64,
    compactions: AtomicU64,
}

/// The log of sign-outs. See the module's text.
pub(super) struct FenceLog {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where sign-outs are handed in.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    bell: Condvar,
    counters: Counters,
}

#[derive(Default)]
struct State {
    /// Records that nobody has taken to the disk yet.
    pending: Vec<u8>,
    /// The deadline and the bytes of each.
    sizes: Vec<(u64, u64)>,
    /// Sign-outs that found no room since then.
    lost: u64,
    /// Sign-outs so far, and those that are on the disk or were given up.
    added: u64,
    settled: u64,
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    is_ending: bool,
}

impl FenceLog {
    /// Reads what earlier processes have written, fences it, and keeps what the session cache signs out from now on.
    /// `eager`: the files are made at once, so that it is known now whether they can be. An error is one line.
    pub fn open(keyfile: Arc<KeyFile>, sessions: &SessionCache, eager: bool) -> Result<FenceLog, String> {
        FenceLog::open_with(keyfile, sessions, eager, |writer| writer)
    }

    /// The same, with the writer as `made` makes it.
    fn open_with(
        keyfile: Arc<KeyFile>,
        sessions: &SessionCache,
        eager: bool,
        made: impl FnOnce(Writer) -> Writer,
    ) -> Result<FenceLog, String> {
        let desk = Arc::<Desk>::default();
        let mut restored = 0;
        let mut writer = Writer::open(keyfile, unix_millis(), |fence| {
            let names = fence.names.iter().map(Vec::as_slice);
            restored += sessions.restore_sign_out(names, fence.until);
        })?;
        writer = made(writer);
        desk.counters.restored.store(restored, Ordering::Relaxed);
        if eager {
            writer.create(unix_millis()).map_err(|error| format!("cannot keep sign-outs: {error}"))?;
        } else {
            writer.ask_to_create().map_err(|error| format!("cannot keep sign-outs: {error}"))?;
        }
        let own = desk.clone();
        let thread = std::thread::Builder::new().name("fences".into()).spawn(move || own.work(writer));
        let thread = thread.map_err(|error| format!("cannot keep sign-outs: {error}"))?;
        let own = desk.clone();
        sessions.on_sign_out(move |names, until| own.add(names, until));
        Ok(FenceLog { desk, thread: Mutex::new(Some(thread)) })
    }

    /// Waits until all that was signed out so far is on the disk, as long as it may take.
    pub async fn settle(&self) {
        let Some(settled) = self.desk.settled() else { return };
        // The thread ends only with the server.
        if tokio::time::timeout(SETTLE_MAX, settled).await.is_err() {
            self.desk.counters.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a sign-out is answered before it is on the disk: the disk takes too long");
        }
    }

    /// Writes what there is and ends.
    pub fn close(&self) {
        self.desk.state.lock().is_ending = true;
        self.desk.bell.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps sign-outs had panicked");
        }
    }

    /// What INFO and `/metrics` show.
    pub fn rows(&self) -> impl Fn() -> Rows + Send + Sync + use<> {
        let desk = self.desk.clone();
        move || {
            let counters = &desk.counters;
            [
                ("added", "Sign-outs handed to the fence log", &counters.added),
                ("syncs", "Times the fence log was synced to the disk", &counters.syncs),
                ("failures", "Times the fence log could not be written in time", &counters.failures),
                ("lost", "Sign-outs that a restart would undo, as the disk took none for too long", &counters.lost),
                ("restored", "Names fenced at start", &counters.restored),
                ("compactions", "Times the fence log was written anew", &counters.compactions),
            ]
            .map(|(name, help, counter)| (name, help, counter.load(Ordering::Relaxed)))
            .into()
        }
    }
}

impl Drop for FenceLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Desk {
    fn add(&self, names: &[&[u8]], until: u64) {
        let mut state = self.state.lock();
        let before = state.pending.len();
        file::write(&mut state.pending, until, names);
        if state.pending.len() <= UNSAVED_MAX {
            let size = (state.pending.len() - before) as u64;
            state.sizes.push((until, size));
        } else {
            state.pending.truncate(before);
            state.lost += 1;
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        state.added += 1;
        drop(state);
        self.counters.added.fetch_add(1, Ordering::Relaxed);
        self.bell.notify_one();
    }

    /// What to wait for, if there is anything.
    fn settled(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state.lock();
        if state.settled >= state.added {
            return None;
        }
        let (done, settled) = oneshot::channel();
        let number = state.added;
        state.waiting.push((number, done));
        Some(settled)
    }

    /// The thread.
    fn work(&self, mut writer: Writer) {
        loop {
            let mut state = self.state.lock();
            while state.settled == state.added && !state.is_ending {
                if !writer.owes() {
                    self.bell.wait(&mut state);
                } else if self.bell.wait_for(&mut state, RETRY).timed_out() {
                    break;
                }
            }
            let (bytes, sizes) = (std::mem::take(&mut state.pending), std::mem::take(&mut state.sizes));
            let (number, is_ending, lost) = (state.added, state.is_ending, std::mem::take(&mut state.lost));
            drop(state);
            writer.lose(lost, &self.counters);
            writer.write(&bytes, &sizes, unix_millis(), &self.counters);
            let mut state = self.state.lock();
            state.settled = number;
            for (_, done) in state.waiting.extract_if(.., |(waits_for, _)| *waits_for <= number) {
                // It may have lost its patience.
                let _ = done.send(());
            }
            if is_ending && state.added == number {
                return;
            }
        }
    }
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
