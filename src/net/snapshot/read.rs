//! Reading a snapshot, this server's own or one of Redis': all of it, or a line that says what is wrong and what helps.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Instant;

use super::{AUX_HIDDEN, AUX_NAMES, AUX_RECORDS, NOTE_ALIAS, NOTE_FENCE, NOTE_RECORD, NOTES_FORM, mark};
use crate::clock::Millis;
use crate::command;
use crate::config::{Compact, Config};
use crate::engine::Engine;
use crate::error::Error;
use crate::net::keyfile::{self, KeyFile};
use crate::rdb::Reader as Parts;
use crate::rdb::file::{Flaw, Next, Part, Reader};
use crate::store::{Kept, Restored, STRING_MAX, Store, restore_content};

/// Bytes that are read at once.
const READ: usize = 1 << 20;
/// Files of at least so many bytes are worth a word while they are read, every tenth of them.
const TOLD: u64 = 64 << 20;

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::net) struct Read {
    /// Entries.
    pub entries: u64,
    /// Entries that had died.
    pub expired: u64,
    /// Libraries of functions.
    pub libraries: u64,
}

/// Reads a snapshot into the databases, with what lies hidden in it or without; `None` if there is no file. If it is
/// refused, what was read so far is in the databases, and the server must not go on with them.
pub(in crate::net) fn load(engine: &Engine, path: &Path, with_hidden: bool) -> Result<Option<Read>, String> {
    let Some((file, size)) = open(path)? else { return Ok(None) };
    let started = Instant::now();
    let mut loading = Loading {
        engine,
        with_hidden,
        now: engine.clock.now(),
        compact: engine.with_config(|config| config.compact),
        store: engine.store(0).clone(),
        names_match: None,
        libraries: Vec::new(),
        read: Read::default(),
    };
    let walked = walk(file, size, |met| match met {
        Met::Part(part) => loading.part(part),
        Met::Tenths(told) => {
            tracing::info!("reading the snapshot: {told}0 %, {} entries", loading.read.entries);
            Ok(())
        }
    });
    walked.map_err(|trouble| trouble.line(path))?;
    loading.read.libraries = loading.libraries.len() as u64;
    command::put_libraries(engine, &loading.libraries).map_err(|error| Trouble::Library(error).line(path))?;
    let read = loading.read;
    tracing::info!(
        path = %path.display(),
        entries = read.entries,
        expired = read.expired,
        libraries = read.libraries,
        seconds = started.elapsed().as_secs_f32(),
        "snapshot read"
    );
    Ok(Some(read))
}

/// Whether a snapshot would be taken at a start, without keeping any of it: how many entries it has, dead ones too, or what
/// is wrong and what helps; `None` if there is no file. Values are not read.
pub(in crate::net) fn inspect(config: &Config, path: &Path) -> Result<Option<u64>, String> {
    let Some((file, size)) = open(path)? else { return Ok(None) };
    let key = mark(KeyFile::open(&config.directory())?.key());
    let hashes: Vec<_> = config
        .namespaces
        .0
        .iter()
        .filter(|space| space.secret)
        .map(|space| [&space.prefix[..], b"~"].concat())
        .collect();
    let (mut fits, mut entries) = (true, 0);
    let walked = walk(file, size, |met| match met {
        Met::Part(Part::Database(number)) if number >= config.databases => {
            Err(Trouble::Database(number, config.databases))
        }
        Met::Part(Part::Aux(name, value)) if *name == *AUX_NAMES => {
            fits = *value == *key.as_bytes();
            Ok(())
        }
        Met::Part(Part::Aux(name, _)) if !fits && (*name == *AUX_HIDDEN || *name == *AUX_RECORDS) => {
            Err(Trouble::Names)
        }
        Met::Part(Part::Entry { key, .. }) if !fits && hashes.iter().any(|hash| key.starts_with(hash)) => {
            Err(Trouble::Names)
        }
        Met::Part(Part::Entry { .. }) => {
            entries += 1;
            Ok(())
        }
        _ => Ok(()),
    });
    walked.map_err(|trouble| trouble.line(path))?;
    Ok(Some(entries))
}

/// The file and its size, if there is one.
fn open(path: &Path) -> Result<Option<(File, u64)>, String> {
    match File::open(path) {
        Ok(file) => {
            let size = file.metadata().map_or(0, |data| data.len());
            Ok(Some((file, size)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => missing(path),
        Err(error) => Err(format!("{}: {error}: let this user read it, or move it away", path.display())),
    }
}

/// There is no file. A directory that is not there is a slip.
fn missing<T>(path: &Path) -> Result<Option<T>, String> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    match dir.filter(|dir| !dir.is_dir()) {
        Some(dir) => Err(format!("dir {} does not exist: make it, or set dir to one that does", dir.display())),
        None => Ok(None),
    }
}

/// Why a file is not taken.
enum Trouble {
    Disk(io::Error),
    Flaw(Flaw),
    /// It holds a database that there is not.
    Database(usize, usize),
    /// It holds names that mean nothing under this key.
    Names,
    /// A value of this type makes no sense.
    Value(u8),
    /// A library of functions does not load.
    Library(Error),
}

impl From<Flaw> for Trouble {
    fn from(flaw: Flaw) -> Trouble {
        Trouble::Flaw(flaw)
    }
}

impl Trouble {
    /// What is wrong, and what helps.
    fn line(&self, path: &Path) -> String {
        const ELSEWHERE: &str = "move it away, or set dbfilename to another name, to start without it";
        let shown = path.display();
        match self {
            Trouble::Disk(error) => format!("{shown}: {error}"),
            Trouble::Flaw(flaw @ Flaw::Type(_)) => format!(
                "{shown} is not loaded: {flaw}: remove such keys in Redis and save again, or copy the others with \
                 cloakroom import; {ELSEWHERE}"
            ),
            Trouble::Flaw(flaw @ Flaw::Version(_)) => format!(
                "{shown} is not loaded: {flaw}: use a server that is as new, or copy from it with cloakroom import; \
                 {ELSEWHERE}"
            ),
            Trouble::Flaw(flaw) => format!("{shown} is not loaded: {flaw}: put back a good copy; {ELSEWHERE}"),
            Trouble::Database(number, count) => format!(
                "{shown} is not loaded: it holds database {number}, and there are {count}: set databases to {} or more",
                number + 1
            ),
            Trouble::Names => format!(
                "{shown} is not loaded: the sessions in it are named by another key: put back {}, which was written \
                 beside it; {ELSEWHERE}, which signs everybody out",
                path.with_file_name(keyfile::NAME).display()
            ),
            Trouble::Library(why) => format!(
                "{shown} is not loaded: a library of functions in it does not load: {why}: FUNCTION DELETE it where it was \
                 saved and save again; {ELSEWHERE}"
            ),
            Trouble::Value(kind) => format!(
                "{shown} is not loaded: a value of type {kind} in it makes no sense: put back a good copy; {ELSEWHERE}"
            ),
        }
    }
}

/// What is met in a file, in its order.
enum Met<'a> {
    Part(Part<'a>),
    /// So many tenths of a large one have been read.
    Tenths(u64),
}

/// Reads a file to its end and gives all that is in it.
fn walk(mut file: File, size: u64, mut meet: impl FnMut(Met<'_>) -> Result<(), Trouble>) -> Result<(), Trouble> {
    let mut reader = Reader::new(STRING_MAX);
    let (mut bytes, mut from, mut to, mut is_all) = (vec![0; READ], 0, 0, false);
    let (mut done, mut told) = (0, 0);
    loop {
        match reader.next(&bytes[from..to], is_all)? {
            Next::Part(len, part) => {
                if part == Part::End {
                    return Ok(());
                }
                meet(Met::Part(part))?;
                from += len;
            }
            Next::More => {
                // What is left goes to the front; a buffer that is full of one entry is doubled, so that no entry is
                // looked at more often than its length has digits.
                bytes.copy_within(from..to, 0);
                (from, to) = (0, to - from);
                if to == bytes.len() {
                    bytes.resize(2 * to, 0);
                } else if bytes.len() > READ && to < READ / 2 {
                    bytes.truncate(READ);
                    bytes.shrink_to_fit();
                }
                match file.read(&mut bytes[to..]) {
                    Ok(0) => is_all = true,
                    Ok(count) => {
                        to += count;
                        done += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Trouble::Disk(error)),
                }
                if size >= TOLD && done * 10 / size > told {
                    told = done * 10 / size;
                    meet(Met::Tenths(told))?;
                }
            }
        }
    }
}

struct Loading<'a> {
    engine: &'a Engine,
    with_hidden: bool,
    now: Millis,
    compact: Compact,
    store: Store,
    /// Whether the names in the file are hashed with this server's key; `None` if it does not say.
    names_match: Option<bool>,
    /// The texts of libraries of functions.
    libraries: Vec<Vec<u8>>,
    read: Read,
}

impl Loading<'_> {
    fn part(&mut self, part: Part<'_>) -> Result<(), Trouble> {
        match part {
            Part::Database(number) => {
                let count = self.engine.databases();
                if number >= count {
                    return Err(Trouble::Database(number, count));
                }
                self.store = self.engine.store(number).clone();
            }
            Part::Aux(name, value) if *name == *AUX_NAMES => {
                self.names_match = Some(*value == *mark(self.store.naming_key()).as_bytes());
            }
            Part::Aux(name, value) if *name == *AUX_HIDDEN && self.with_hidden => {
                self.notes(&value, &self.store.clone()).ok_or(Trouble::Value(NOTE_ALIAS))??;
            }
            Part::Aux(name, value) if *name == *AUX_RECORDS && self.with_hidden => {
                self.notes(&value, self.engine.records()).ok_or(Trouble::Value(NOTE_RECORD))??;
            }
            Part::Entry { key, deadline, kind, content } => self.entry(&key, deadline, kind, content)?,
            Part::Function(code) => self.libraries.push(code.into_owned()),
            Part::Aux(..) | Part::Sizes(_) | Part::End => {}
        }
        Ok(())
    }

    fn entry(&mut self, key: &[u8], deadline: Option<u64>, kind: u8, content: &[u8]) -> Result<(), Trouble> {
        if self.names_match == Some(false) && self.store.is_hash(key) {
            return Err(Trouble::Names);
        }
        let value = restore_content(kind, content, STRING_MAX, &self.compact).ok_or(Trouble::Value(kind))?;
        let deadline = deadline.map_or(Millis::NEVER, |unix| self.engine.clock.from_wall(unix));
        if deadline <= self.now {
            self.read.expired += 1;
            return Ok(());
        }
        let put = self.store.with(key, self.now, |slot| match value {
            Restored::String(bytes) => slot.put_bytes(&bytes, deadline),
            Restored::Object(object) => slot.put_object(object, deadline),
        });
        match put {
            Ok(()) => self.read.entries += 1,
            // It was signed out while the snapshot was written.
            Err(Error::Fenced) => {}
            Err(_) => return Err(Trouble::Value(kind)),
        }
        Ok(())
    }

    /// Puts back what lies hidden; `None` if it makes no sense.
    fn notes(&self, bytes: &[u8], store: &Store) -> Option<Result<(), Trouble>> {
        let mut parts = Parts::new(bytes);
        if parts.byte()? != NOTES_FORM {
            return None;
        }
        if self.names_match == Some(false) {
            return Some(Err(Trouble::Names));
        }
        while !parts.is_done() {
            let kind = parts.byte()?;
            let until = match u64::from_le_bytes(*parts.take(8)?.first_chunk()?) {
                u64::MAX => Millis::NEVER,
                unix => self.engine.clock.from_wall(unix),
            };
            let (name, value) = (parts.string(STRING_MAX)?, parts.string(STRING_MAX)?);
            if until <= self.now {
                continue;
            }
            match kind {
                NOTE_FENCE => store.put_back(Kept::Fence { name: &name, until }, self.now),
                NOTE_ALIAS => store.put_back(Kept::Alias { name: &name, target: &value, until }, self.now),
                // Its key is in no namespace, so nothing can refuse it.
                NOTE_RECORD => store.with(&name, self.now, |slot| slot.put_bytes(&value, until)).ok()?,
                _ => return None,
            }
        }
        Some(Ok(()))
    }
}
