//! Snapshots: the databases in one file in Redis' format, written while the server works and read before it answers.
//!
//! Nothing is forked and nobody waits for a disk. A thread of its own walks the stores as SCAN does, a few dozen
//! kilobytes under a lock at a time, and writes to a file that takes the old one's place when it is whole and on disk. So a
//! snapshot is no instant: every entry that was there all the while is in it once, in a state that it had meanwhile.
//!
//! Names in secret namespaces are hashes, and what they are hashed with lies in `cloakroom.key` beside the snapshot:
//! the snapshot alone, in a backup say, tells no token, lets none be tried, and signs nobody in. Aliases, fences and the
//! records of families lie in auxiliary fields, which Redis passes over; the cookies in records stay out.

mod read;
mod write;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

pub(super) use read::{inspect, load};
pub(super) use write::write;

use crate::engine::{self, Engine};
use crate::error::{Error, Result};
use crate::store::{Cursor, NamingKey, Store};

/// Auxiliary fields: which key the names are hashed with, what lies hidden in a database, and the records of families.
const AUX_NAMES: &[u8] = b"cloakroom-names";
const AUX_HIDDEN: &[u8] = b"cloakroom-hidden";
const AUX_RECORDS: &[u8] = b"cloakroom-records";

/// What notes in auxiliary fields are, and the form they have.
const NOTES_FORM: u8 = 0;
const NOTE_RECORD: u8 = 0;
const NOTE_ALIAS: u8 = 6;
const NOTE_FENCE: u8 = 7;

/// How often it is looked whether a snapshot is due.
const LOOK_EACH: Duration = Duration::from_secs(1);

/// Writes snapshots one at a time.
#[derive(Default)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Held while one is written.
    pen: Mutex<()>,
    wanted: Mutex<bool>,
    bell: Condvar,
    /// The server ends.
    ending: AtomicBool,
    /// What the thread is writing is not wanted any more.
    give_up: AtomicBool,
}

/// The thread that writes snapshots which nobody waits for.
pub(super) struct Scribe {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread.
    pub fn start(&self, engine: &Arc<Engine>) -> io::Result<Scribe> {
        let (shared, engine) = (self.shared.clone(), Arc::downgrade(engine));
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || own.work(&engine))?;
        Ok(Scribe { shared, thread })
    }

    /// Another handle to the same.
    pub fn share(&self) -> Keeper {
        Keeper { shared: self.shared.clone() }
    }
}

impl engine::Keeper for Keeper {
    fn save(&self, engine: &Engine) -> Result<()> {
        let shared = &self.shared;
        let pen = shared.pen.try_lock().unwrap_or_else(|| {
            shared.give_up.store(true, Ordering::Relaxed);
            let pen = shared.pen.lock();
            shared.give_up.store(shared.ending.load(Ordering::Relaxed), Ordering::Relaxed);
            pen
        });
        shared.write(pen, engine, &AtomicBool::new(false))
    }

    fn begin(&self, engine: &Engine) -> Result<()> {
        let mut wanted = self.shared.wanted.lock();
        // Under the lock, as whoever writes takes the pen before it says that no more is wanted.
        if *wanted || self.shared.pen.is_locked() {
            return Err(UNDER_WAY);
        }
        *wanted = true;
        // INFO shows it from now on.
        engine.begin_snapshot();
        self.shared.bell.notify_all();
        Ok(())
    }

    fn reload(&self, engine: &Engine) -> Result<()> {
        let path = engine.with_config(|config| config.snapshot_path());
        load(engine, &path, false).map_err(|why| Error::Refused(why.into()))?;
        let covered = engine.changes_made();
        engine.snapshots.standing().covered = covered;
        Ok(())
    }
}

const UNDER_WAY: Error = Error::refused("Background save already in progress");

impl Shared {
    /// Writes when asked, and when one is due, until the server ends.
    fn work(&self, engine: &Weak<Engine>) {
        while !self.ending.load(Ordering::Relaxed) {
            let asked = {
                let mut wanted = self.wanted.lock();
                if !*wanted {
                    self.bell.wait_for(&mut wanted, LOOK_EACH);
                }
                *wanted
            };
            if self.ending.load(Ordering::Relaxed) {
                break;
            }
            let Some(engine) = engine.upgrade() else { break };
            if asked || engine.is_snapshot_due() {
                let pen = self.pen.lock();
                *self.wanted.lock() = false;
                // Whoever asked looks into the log, as the line there says why.
                let _ = self.write(pen, &engine, &self.give_up);
            }
        }
    }

    fn write(&self, pen: MutexGuard<'_, ()>, engine: &Engine, give_up: &AtomicBool) -> Result<()> {
        engine.begin_snapshot();
        let (path, started) = (engine.with_config(|config| config.snapshot_path()), Instant::now());
        let result = write(engine, &path, give_up);
        let given_up = result.is_err() && give_up.load(Ordering::Relaxed);
        let result = result.map_err(|why| match given_up {
            true => "it was given up for another".to_owned(),
            false => format!("snapshot not written: {why}"),
        });
        if let Err(why) = &result {
            engine.snapshots.standing().why = why.as_str().into();
        }
        engine.end_snapshot(result.is_ok(), given_up);
        drop(pen);
        match result {
            Ok(written) => {
                tracing::info!(
                    path = %path.display(),
                    entries = written.entries,
                    bytes = written.bytes,
                    seconds = started.elapsed().as_secs_f32(),
                    "snapshot written"
                );
                Ok(())
            }
            Err(why) => {
                if !given_up {
                    tracing::error!("{why}");
                }
                Err(Error::Refused(why.into()))
            }
        }
    }
}

impl Scribe {
    /// Ends the thread, giving up what it writes.
    pub fn end(self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.shared.give_up.store(true, Ordering::Relaxed);
        self.shared.bell.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("the thread that writes snapshots had panicked");
        }
    }
}

/// What tells which key names are hashed with, in sixteen hexadecimal digits.
fn mark(key: &NamingKey) -> String {
    format!("{:016x}", key.mark())
}

/// Whether a store holds anything, hidden notes included.
fn holds_something(store: &Store, engine: &Engine) -> bool {
    let mut any = false;
    let mut cursor = Cursor::START;
    loop {
        cursor = store.walk(cursor, engine.clock.now(), |_| {
            any = true;
            false
        });
        if any || cursor == Cursor::START {
            return any;
        }
    }
}

/// An error about a file, with its path and, for those that people meet, the cure.
pub(super) fn about(path: &Path, error: &io::Error) -> String {
    let cure = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": make room on that disk, or set dir to another",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": let this user write there, or set dir to a directory where it may"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ": make that directory, or set dir to one that exists"
        }
        _ => "",
    };
    format!("{}: {error}{cure}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, Ttl};
    use crate::config::Config;
    use crate::store::Look;

    fn engine(clock: &ManualClock, names: &NamingKey) -> Engine {
        Engine::with_key(Config::default(), Clock::from(clock.clone()), 1, 1, names.clone())
    }

    fn look(engine: &Engine, key: &[u8]) -> Look<Vec<u8>> {
        let copy = |value: crate::store::Value<'_>| value.string().map(<[u8]>::to_vec).unwrap_or_default();
        engine.store(2).look(key, engine.clock.now(), copy)
    }

    #[test]
    fn what_lies_hidden_comes_back_by_the_wall_clock_of_the_next_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.rdb");
        let (clock, names) = (ManualClock::default(), NamingKey::random());
        let before = engine(&clock, &names);
        let (now, until) = (clock.now(), clock.now() + Ttl::seconds(60));
        let store = before.store(2);
        store.put(b"auth:session:old", b"body", Ttl::seconds(60)).expect("a write");
        store.add_alias(b"auth:session:new", b"auth:session:old", until, now);
        store.fence(b"auth:session:gone", 7, until, now);
        before.records().put(b"\x01note", b"\x01family", Ttl::seconds(60)).expect("a write");
        // Its clock was set while it ran.
        clock.set_wall_offset(100_000);
        let written = write(&before, &path, &AtomicBool::new(false)).expect("written");
        assert_eq!(written.entries, 1);

        let next = ManualClock::at(now + Ttl(101_000));
        let after = engine(&next, &names);
        let read = load(&after, &path, true).expect("taken").expect("there");
        assert_eq!((read.entries, read.expired), (1, 0));
        assert_eq!(look(&after, b"auth:session:new"), Look::Live(b"body".to_vec()));
        assert_eq!(look(&after, b"auth:session:gone"), Look::Fenced(next.now() + Ttl(59_000)));
        assert_eq!(after.records().fetch(b"\x01note").as_deref(), Some(&b"\x01family"[..]));
        next.advance(Ttl(59_000));
        assert_eq!(look(&after, b"auth:session:old"), Look::Absent);
        assert_eq!(look(&after, b"auth:session:gone"), Look::Absent);

        let why = load(&engine(&next, &NamingKey::random()), &path, true).expect_err("another key");
        assert!(why.contains("cloakroom.key"), "{why}");
    }

    #[test]
    fn one_that_is_given_up_leaves_nothing_and_counts_as_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.rdb");
        let engine = engine(&ManualClock::default(), &NamingKey::random());
        engine.store(0).put(b"k", b"v", Ttl::seconds(9)).expect("a write");
        assert!(write(&engine, &path, &AtomicBool::new(true)).is_err());
        assert!(!path.exists() && !dir.path().join("x.rdb.tmp").exists());
        assert_eq!(load(&engine, &path, true), Ok(None));
        engine.begin_snapshot();
        engine.end_snapshot(false, true);
        let standing = engine.snapshots.standing();
        assert!(!standing.failed && standing.began.is_none() && standing.saves == 0);
    }
}
