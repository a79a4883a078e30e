//! Who writes `cloakroom.fences`: appends, syncs, and writes the file anew when most of it is dead.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::census::Census;
use super::file::{self, Fence, HEAD, Head, LIFTED, Scanner};
use super::{Counters, NAME, UNSAVED_MAX};
use crate::net::keyfile::KeyFile;
use crate::net::system::{for_owner, sync_dir, write_all_at};

/// Deadlines are told apart by the hour: the count of what lives needs no more.
const HOUR: u64 = 60 * 60 * 1000;

/// A file that is not longer than this is never written anew.
const SMALL: u64 = 256 * 1024;

/// Bytes that a name takes at most, in a record of its own.
const NAME_BYTES: u64 = 64;

/// Waits until what was written to a file is on the disk.
pub(super) type Syncing = Box<dyn Fn(&File) -> io::Result<()> + Send>;

pub(super) struct Writer {
    keyfile: Arc<KeyFile>,
    /// Of what is appended.
    sync: Syncing,
    path: PathBuf,
    /// Open and locked, once there is one.
    file: Option<File>,
    /// Bytes of it that are known to be on the disk.
    good: u64,
    /// Whether there may be more behind them, of an attempt that failed.
    is_torn: bool,
    /// Records that are not on the disk yet.
    unsaved: Vec<u8>,
    /// Bytes of records by the hour in which they die. Those of names that were signed out again count twice.
    lives: BTreeMap<u64, u64>,
    /// The length when it was last known that no name is in it twice.
    sorted: u64,
    /// The length from which it is looked whether most of the file is dead.
    look_at: u64,
    /// Whether the last attempt failed, which is said once.
    fails: bool,
    /// Sign-outs that were given up since one last went well, the first of which is said.
    lost: u64,
}

impl Writer {
    /// Reads the file, if there is one, and hands out what still stands at `now`.
    pub fn open(keyfile: Arc<KeyFile>, now: u64, mut found: impl FnMut(&Fence)) -> Result<Writer, String> {
        let path = keyfile.dir().join(NAME);
        let mut writer = Writer {
            keyfile,
            sync: Box::new(File::sync_data),
            file: None,
            good: 0,
            is_torn: false,
            unsaved: Vec::new(),
            lives: BTreeMap::new(),
            sorted: SMALL,
            look_at: SMALL,
            fails: false,
            lost: 0,
            path,
        };
        let shown = writer.path.display().to_string();
        let file = match OpenOptions::new().read(true).write(true).open(&writer.path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(writer);
            }
            Err(error) => return Err(format!("cannot read sign-outs from {shown}: {error}")),
        };
        lock(&file).map_err(|error| format!("cannot use {shown}: {error}"))?;
        let problem = |error: io::Error| format!("cannot read sign-outs from {shown}: {error}");
        let (mut scanner, head) = Scanner::new(BufReader::new(&file)).map_err(problem)?;
        if let Head::Newer(version) = head {
            return Err(format!(
                "{shown} is of version {version}, which this cloakroom does not know: use a newer one"
            ));
        }
        let mut census = Census::new(now);
        while let Some((fence, bytes)) = scanner.next().map_err(problem)? {
            if fence.until > now || fence.until == LIFTED {
                *writer.lives.entry(fence.until / HOUR).or_default() += bytes.len() as u64;
                census.count(&fence);
                found(&fence);
            }
        }
        let stands = census.len() as u64 * NAME_BYTES;
        drop(census);
        let (good, skipped) = scanner.ends();
        drop(scanner);
        let len = file.metadata().map_err(problem)?.len();
        writer.good = good;
        writer.is_torn = len > good;
        writer.file = Some(file);
        let is_own = head == Head::Mark(writer.keyfile.key().mark());
        match head {
            Head::Mark(_) if !is_own => tracing::error!(
                path = shown,
                "sign-outs were kept under another key: who signed out before is signed out no longer"
            ),
            Head::Damaged => tracing::error!(path = shown, "the head of the kept sign-outs is damaged"),
            _ => {}
        }
        if skipped > 0 {
            tracing::error!(path = shown, bytes = skipped, "kept sign-outs are damaged: these are lost");
        } else if writer.is_torn {
            tracing::warn!(path = shown, bytes = len - good, "the last kept sign-out was not written whole; it is cut");
        }
        if skipped > 0 || !is_own {
            // For whoever wants to know what has happened.
            let copy = writer.path.with_extension("fences.damaged");
            let _ = fs::remove_file(&copy);
            let _ = fs::hard_link(&writer.path, &copy);
            writer.compact(now).map_err(problem)?;
        } else if good > SMALL && stands < good / 2 {
            writer.compact(now).map_err(problem)?;
        }
        writer.sorted = SMALL.max(writer.good);
        Ok(writer)
    }

    /// The same, which syncs in this way, for tests that hold it.
    #[cfg(test)]
    pub fn syncing_by(self, sync: Syncing) -> Writer {
        Writer { sync, ..self }
    }

    /// Whether something is to be tried again.
    pub fn owes(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Whether the files could be made, as far as that can be told without making them.
    pub fn ask_to_create(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if self.file.is_none() {
            use rustix::fs::{Access, access};
            let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
            let dir = dir.unwrap_or(std::path::Path::new("."));
            access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| told(error.into(), dir))?;
        }
        Ok(())
    }

    /// Makes the files, if they are not there.
    pub fn create(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            self.keyfile.save().map_err(|error| told(error, &self.keyfile.path()))?;
            let make = || {
                let mut options = OpenOptions::new();
                let file = for_owner(options.read(true).write(true).create_new(true)).open(&self.path)?;
                lock(&file)?;
                write_all_at(&file, &file::head(self.keyfile.key().mark()), 0)?;
                file.sync_all()?;
                sync_dir(self.keyfile.dir())?;
                Ok(file)
            };
            self.file = Some(make().map_err(|error| told(error, &self.path))?);
            self.good = HEAD as u64;
        }
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes records and whatever is owed, in one write and one sync; in more where it is more than may wait. What has no
    /// room is lost only if the disk takes none.
    pub fn write(&mut self, bytes: &[u8], sizes: &[(u64, u64)], now: u64, counters: &Counters) {
        let (mut bytes, mut sizes) = (bytes, sizes);
        loop {
            (bytes, sizes) = self.take(bytes, sizes);
            if self.unsaved.is_empty() {
                break;
            }
            if let Err(error) = self.append() {
                counters.failures.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::error!(%error, "sign-outs cannot be kept: a restart now would sign them in again; trying on");
                }
                return self.lose(sizes.len() as u64, counters);
            }
            counters.syncs.fetch_add(1, Ordering::Relaxed);
            if std::mem::take(&mut self.fails) | (std::mem::take(&mut self.lost) > 0) {
                tracing::warn!("sign-outs are kept again");
            }
        }
        if self.good > self.look_at {
            self.lives = self.lives.split_off(&(now / HOUR));
            let live: u64 = self.lives.values().sum();
            if live > self.good / 2 && self.good / 2 < self.sorted {
                self.look_at = self.good + SMALL;
                return;
            }
            match self.compact(now) {
                Ok(()) => _ = counters.compactions.fetch_add(1, Ordering::Relaxed),
                // What is there serves as well, and takes more room.
                Err(error) => tracing::warn!(%error, "kept sign-outs cannot be written anew"),
            }
            self.sorted = SMALL.max(self.good);
            self.look_at = SMALL.max(self.good * 2);
        }
    }

    /// Takes as many records as have room, and gives back the others. One has room where nothing else waits.
    fn take<'b>(&mut self, mut bytes: &'b [u8], mut sizes: &'b [(u64, u64)]) -> (&'b [u8], &'b [(u64, u64)]) {
        while let Some(((until, size), others)) = sizes.split_first() {
            let (record, rest) = bytes.split_at(bytes.len().min(*size as usize));
            if !self.unsaved.is_empty() && self.unsaved.len() + record.len() > UNSAVED_MAX {
                break;
            }
            self.unsaved.extend_from_slice(record);
            *self.lives.entry(until / HOUR).or_default() += size;
            (bytes, sizes) = (rest, others);
        }
        (bytes, sizes)
    }

    /// Counts sign-outs that are given up, and says so once until one goes well.
    pub fn lose(&mut self, count: u64, counters: &Counters) {
        if count > 0 {
            counters.lost.fetch_add(count, Ordering::Relaxed);
            if self.lost == 0 {
                tracing::error!(
                    count,
                    "sign-outs are lost: a restart would sign them in again, as the disk takes none"
                );
            }
            self.lost += count;
        }
    }

    fn append(&mut self) -> io::Result<()> {
        self.create()?;
        let Writer { file: Some(file), sync, unsaved, good, is_torn, .. } = self else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if *is_torn {
            file.set_len(*good)?;
        }
        // Until it is known that all went well. After a failed sync nobody can tell what is on the disk, so the same bytes
        // are written again.
        *is_torn = true;
        write_all_at(file, unsaved, *good)?;
        sync(file)?;
        *is_torn = false;
        *good += unsaved.len() as u64;
        *unsaved = Vec::new();
        Ok(())
    }

    /// Writes what lives into a new file, which then takes the place of the old one.
    fn compact(&mut self, now: u64) -> io::Result<()> {
        let draft = self.path.with_extension("fences.new");
        let mut options = OpenOptions::new();
        let new = for_owner(options.read(true).write(true).create(true).truncate(true)).open(&draft)?;
        lock(&new)?;
        self.keyfile.save()?;
        let mut out = BufWriter::new(&new);
        out.write_all(&file::head(self.keyfile.key().mark()))?;
        let (mut good, mut lives) = (HEAD as u64, BTreeMap::new());
        let records = || Ok::<_, io::Error>(Scanner::new(BufReader::new(File::open(&self.path)?))?.0);
        let (mut census, mut scanner) = (Census::new(now), records()?);
        while let Some((fence, _)) = scanner.next()? {
            census.count(&fence);
        }
        let (mut scanner, mut record) = (records()?, Vec::new());
        while let Some((fence, _)) = scanner.next()? {
            let names = census.take(&fence);
            if !names.is_empty() {
                record.clear();
                file::write(&mut record, fence.until, &names);
                out.write_all(&record)?;
                good += record.len() as u64;
                *lives.entry(fence.until / HOUR).or_default() += record.len() as u64;
            }
        }
        out.flush()?;
        drop(out);
        new.sync_all()?;
        fs::rename(&draft, &self.path)?;
        sync_dir(self.keyfile.dir())?;
        (self.file, self.good, self.is_torn, self.lives) = (Some(new), good, false, lives);
        Ok(())
    }
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another server uses it; give each its own dir"),
        TryLockError::Error(error) => error,
    })
}

/// The error with the file it is about.
fn told(error: io::Error, path: &std::path::Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
