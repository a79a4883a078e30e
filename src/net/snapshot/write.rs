//! Writing a snapshot: a walk under the shards' locks, encoding outside of them, and a file that is whole or not there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{
    AUX_HIDDEN, AUX_NAMES, AUX_RECORDS, NOTE_ALIAS, NOTE_FENCE, NOTE_RECORD, NOTES_FORM, about, holds_something, mark,
};
use crate::clock::{Clock, Millis};
use crate::command::REDIS_VERSION;
use crate::engine::Engine;
use crate::net::keyfile;
use crate::net::system::{for_owner, is_at, sync_dir};
use crate::rdb::file::Writer;
use crate::rdb::put_string;
use crate::session;
use crate::store::{Cursor, Kept, Store};

/// Bytes and entries that are copied under one lock: some ten microseconds.
const SLICE: usize = 32 * 1024;
const SLICE_ENTRIES: usize = 256;
/// Bytes that are gathered for one write.
const WRITE: usize = 256 * 1024;
/// Buffers that one large value has blown up beyond this are given back.
const SPARE: usize = 1 << 20;

/// What was written.
pub(in crate::net) struct Written {
    pub entries: u64,
    pub bytes: u64,
}

/// Writes a snapshot in the place of the one before it. If it cannot, or is told to give up, that one stays.
pub(in crate::net) fn write(engine: &Engine, path: &Path, give_up: &AtomicBool) -> Result<Written, String> {
    keyfile::keep(path.parent().unwrap_or(Path::new("")), engine.records().naming_key())?;
    let mut file = Fresh::create(path).map_err(|error| about(path, &error))?;
    let (packed, checksum) = engine.with_config(|config| (config.rdbcompression, config.rdbchecksum));
    let stores = engine.numbered_stores();
    let total: usize = stores.iter().map(|(_, store)| store.len()).sum();
    engine.snapshots.progress[1].store(total as u64, Ordering::Relaxed);
    let mut out = Output {
        engine,
        give_up,
        file: &mut file,
        writer: Writer::new(packed, checksum),
        slice: Slice::default(),
        delay: engine.with_config(|config| u64::try_from(config.rdb_key_save_delay).unwrap_or(0)),
        written: Written { entries: 0, bytes: 0 },
    };
    let result = out.all(&stores);
    let written = out.written;
    match result.and_then(|()| file.finish(path)) {
        Ok(()) => Ok(written),
        Err(error) => {
            file.discard();
            Err(about(path, &error))
        }
    }
}

struct Output<'a> {
    engine: &'a Engine,
    give_up: &'a AtomicBool,
    file: &'a mut Fresh,
    writer: Writer,
    slice: Slice,
    /// Microseconds to rest after each entry, for tests.
    delay: u64,
    written: Written,
}

impl Output<'_> {
    fn all(&mut self, stores: &[(usize, Store)]) -> io::Result<()> {
        let clock = &self.engine.clock;
        self.writer.aux("redis-ver", REDIS_VERSION.as_bytes());
        self.writer.aux("redis-bits", usize::BITS.to_string().as_bytes());
        self.writer.aux("ctime", (clock.wall_micros() / 1_000_000).to_string().as_bytes());
        self.writer.aux("used-mem", self.engine.used_memory().to_string().as_bytes());
        self.writer.aux("aof-base", b"0");
        let names = mark(self.engine.records().naming_key());
        self.writer.aux(&String::from_utf8_lossy(AUX_NAMES), names.as_bytes());
        for library in self.engine.functions.libraries().iter() {
            self.writer.function(&library.code);
        }
        for (number, store) in stores {
            if holds_something(store, self.engine) {
                let (entries, expiring) = store.count();
                self.writer.database(*number, entries, expiring);
                self.store(store, AUX_HIDDEN, false)?;
            }
        }
        self.store(self.engine.records(), AUX_RECORDS, true)?;
        self.writer.end();
        self.flush()
    }

    fn store(&mut self, store: &Store, notes: &[u8], are_records: bool) -> io::Result<()> {
        let mut cursor = Cursor::START;
        loop {
            if self.give_up.load(Ordering::Relaxed) {
                return Err(io::Error::other("given up"));
            }
            self.slice.clear();
            let now = self.engine.clock.now();
            cursor = store.walk(cursor, now, |kept| self.slice.add(kept, are_records, &self.engine.clock));
            for item in &self.slice.items {
                let dumped = &self.slice.bytes[item.dumped.clone()];
                self.writer.entry(&self.slice.bytes[item.name.clone()], item.deadline, dumped);
            }
            if self.slice.notes.len() > 1 {
                self.writer.aux(&String::from_utf8_lossy(notes), &self.slice.notes);
            }
            let count = self.slice.items.len() as u64;
            self.written.entries += count;
            self.engine.snapshots.progress[0].store(self.written.entries, Ordering::Relaxed);
            if self.writer.waiting() >= WRITE {
                self.flush()?;
            }
            self.rest(count);
            if cursor == Cursor::START {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Output { writer, file, written, .. } = self;
        writer.take(|bytes| {
            written.bytes += bytes.len() as u64;
            file.file.write_all(bytes)
        })
    }

    /// Lets others go first, for as long as Redis' setting for tests says.
    fn rest(&self, count: u64) {
        match self.delay {
            0 => std::thread::yield_now(),
            delay => {
                // In small steps, so that giving up does not wait for the rest.
                let mut left = Duration::from_micros(delay.saturating_mul(count));
                while !left.is_zero() && !self.give_up.load(Ordering::Relaxed) {
                    let step = left.min(Duration::from_millis(20));
                    std::thread::sleep(step);
                    left -= step;
                }
            }
        }
    }
}

/// What was copied under one lock.
#[derive(Default)]
struct Slice {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// The content of an auxiliary field.
    notes: Vec<u8>,
}

struct Item {
    name: Range<usize>,
    dumped: Range<usize>,
    deadline: Option<u64>,
}

impl Slice {
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SPARE);
        self.items.clear();
        self.notes.clear();
        self.notes.push(NOTES_FORM);
    }

    /// Copies what a walk shows; tells whether more is wanted.
    fn add(&mut self, kept: Kept<'_>, is_record: bool, clock: &Clock) -> bool {
        match kept {
            Kept::Value(value) if is_record => {
                let shift = clock.to_wall(Millis(1 << 40)) as i64 - (1 << 40);
                let block = value.string().ok().and_then(|block| session::for_disk(value.name(), block, shift));
                if let Some(block) = block {
                    self.note(NOTE_RECORD, value.name(), &block, value.deadline(), clock);
                }
            }
            Kept::Value(value) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value.name());
                let middle = self.bytes.len();
                value.dump(&mut self.bytes);
                let end = self.bytes.len();
                let deadline = (value.deadline() != Millis::NEVER).then(|| clock.to_wall(value.deadline()));
                self.items.push(Item { name: start..middle, dumped: middle..end, deadline });
            }
            Kept::Alias { name, target, until } => self.note(NOTE_ALIAS, name, target, until, clock),
            Kept::Fence { name, until } => self.note(NOTE_FENCE, name, b"", until, clock),
        }
        self.bytes.len() + self.notes.len() < SLICE && self.items.len() < SLICE_ENTRIES
    }

    fn note(&mut self, kind: u8, name: &[u8], value: &[u8], until: Millis, clock: &Clock) {
        let until = if until == Millis::NEVER { u64::MAX } else { clock.to_wall(until) };
        self.notes.push(kind);
        self.notes.extend_from_slice(&until.to_le_bytes());
        put_string(&mut self.notes, name);
        put_string(&mut self.notes, value);
    }
}

/// A file that nobody sees until it is finished. Its owner alone may read it, and who writes it has it locked, so that two
/// servers of one folder do not take each other's for their own.
struct Fresh {
    file: File,
    path: PathBuf,
}

/// How often it is tried to make one, where others remove what is not theirs.
const TRIES: usize = 5;

impl Fresh {
    fn create(target: &Path) -> io::Result<Fresh> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let path = target.with_file_name(name);
        for _ in 0..TRIES {
            // Made anew, so that nobody's link is followed.
            match for_owner(OpenOptions::new().write(true).create_new(true)).open(&path) {
                Ok(file) if file.try_lock().is_ok() => return Ok(Fresh { file, path }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Fresh::remove_abandoned(&path)?,
                Err(error) => return Err(error),
            }
        }
        Err(Fresh::taken())
    }

    /// Removes what a server that was killed has left there.
    fn remove_abandoned(path: &Path) -> io::Result<()> {
        let is_file = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_file());
        let lock = is_file.then(|| File::open(path)).transpose()?;
        match lock.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => return Err(Fresh::taken()),
            Some(Err(TryLockError::Error(error))) => return Err(error),
            Some(Ok(())) | None => {}
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn taken() -> io::Error {
        io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another server writes one there: give each its own dir or dbfilename",
        )
    }

    /// Brings it to disk and puts it in its place: after a crash there is the old one or this one.
    fn finish(&self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        if !is_at(&self.file, &self.path) {
            return Err(Fresh::taken());
        }
        std::fs::rename(&self.path, target)?;
        sync_dir(target.parent().unwrap_or(Path::new(""))).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("it is in its place, but a power cut may bring the old one back: {error}"),
            )
        })
    }

    /// Removes what was written. Nothing more can be done if that fails; the next one removes it.
    fn discard(&self) {
        if is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_of_one_folder_do_not_take_each_others_draft() {
        let dir = tempfile::tempdir().expect("a folder");
        let target = dir.path().join("cloakroom.rdb");
        let draft = dir.path().join("cloakroom.rdb.tmp");
        std::fs::write(&target, "before").expect("written");
        std::fs::write(&draft, "half, by one that was killed").expect("written");
        let mut one = Fresh::create(&target).expect("a draft");
        one.file.write_all(b"one").expect("written");
        let refusal = Fresh::create(&target).err().expect("a refusal");
        assert!(refusal.to_string().contains("another server"), "{refusal}");
        one.finish(&target).expect("in its place");
        assert_eq!(std::fs::read(&target).expect("a file"), b"one");
        let other = Fresh::create(&target).expect("a draft");
        // Somebody has put another in its place.
        std::fs::remove_file(&draft).expect("removed");
        std::fs::write(&draft, "not ours").expect("written");
        assert!(other.finish(&target).is_err());
        other.discard();
        assert_eq!(std::fs::read(&target).expect("a file"), b"one");
        assert_eq!(std::fs::read(&draft).expect("a file"), b"not ours");
    }
}
