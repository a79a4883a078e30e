//! Who writes `cloakroom.fences`: appends, syncs, and writes the file anew when most of it is dead.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::census::Census;
use super::file::{self, Fence, HEAD, Head, LIFTED, Scanner};
use super::{Counters, NAME, UNSAVED_MAX};
use crate::net::keyfile::KeyFile;
use crate::net::system::{for_owner, is_at, sync_dir, write_all_at};

/// Deadlines are told apart by the hour: the count of what lives needs no more.
const HOUR: u64 = 60 * 60 * 1000;

/// A file that is not longer than this is never written anew.
const SMALL: u64 = 256 * 1024;

/// Bytes that a name takes at most, in a record of its own.
const NAME_BYTES: u64 = 64;

/// Waits until what was written to a file is on the disk.
pub(super) type Syncing = Box<dyn Fn(&File) -> io::Result<()> + Send>;

/// Waits until it is on the disk which files a directory has.
pub(super) type Placing = Box<dyn Fn(&Path) -> io::Result<()> + Send>;

pub(super) struct Writer {
    keyfile: Arc<KeyFile>,
    /// Of all that is written to the file.
    sync: Syncing,
    place: Placing,
    path: PathBuf,
    /// Open and locked, once there is one.
    file: Option<File>,
    /// Bytes of it that are known to be on the disk.
    good: u64,
    /// Whether there may be more behind them, of an attempt that failed.
    is_torn: bool,
    /// Whether it is known to be on the disk that the file has this name.
    is_placed: bool,
    /// Records that are not on the disk yet.
    unsaved: Vec<u8>,
    /// Bytes of records by the hour in which they die. Those of names that were signed out again count twice.
    lives: BTreeMap<u64, u64>,
    /// The length when it was last known that no name is in it twice.
    sorted: u64,
    /// The length from which it is looked whether most of the file is dead.
    look_at: u64,
    /// Why the last attempt failed, which is said once.
    fails: Option<String>,
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
            place: Box::new(sync_dir),
            file: None,
            good: 0,
            is_torn: false,
            is_placed: false,
            unsaved: Vec::new(),
            lives: BTreeMap::new(),
            sorted: SMALL,
            look_at: SMALL,
            fails: None,
            lost: 0,
            path,
        };
        match OpenOptions::new().read(true).write(true).open(&writer.path) {
            Ok(file) => writer.take_over(file, now, &mut found)?,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(format!("cannot read sign-outs from {}: {error}", writer.path.display())),
        }
        Ok(writer)
    }

    /// Locks a file, reads it, and goes on behind what it holds.
    fn take_over(&mut self, file: File, now: u64, found: &mut dyn FnMut(&Fence)) -> Result<(), String> {
        let shown = self.path.display().to_string();
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
                *self.lives.entry(fence.until / HOUR).or_default() += bytes.len() as u64;
                census.count(&fence);
                found(&fence);
            }
        }
        let stands = census.len() as u64 * NAME_BYTES;
        drop(census);
        let (good, skipped) = scanner.ends();
        drop(scanner);
        let len = file.metadata().map_err(problem)?.len();
        self.good = good;
        self.is_torn = len > good;
        self.is_placed = false;
        self.file = Some(file);
        let is_own = head == Head::Mark(self.keyfile.key().mark());
        match head {
            // Somebody died who began it, or found no room; the head is written with the next sign-out.
            Head::Begun => return Ok(()),
            Head::Mark(_) if !is_own => tracing::error!(
                path = shown,
                "sign-outs were kept under another key: who signed out before is signed out no longer"
            ),
            Head::Damaged => tracing::error!(path = shown, "the head of the kept sign-outs is damaged"),
            _ => {}
        }
        if skipped > 0 {
            tracing::error!(path = shown, bytes = skipped, "kept sign-outs are damaged: these are lost");
        } else if self.is_torn {
            tracing::warn!(path = shown, bytes = len - good, "the last kept sign-out was not written whole; it is cut");
        }
        let is_damaged = skipped > 0 || !is_own;
        if is_damaged {
            // For whoever wants to know what has happened.
            let copy = self.path.with_extension("fences.damaged");
            let _ = fs::remove_file(&copy);
            let _ = fs::hard_link(&self.path, &copy);
        }
        let is_long = good > SMALL && stands < good / 2;
        match if is_damaged || is_long { self.compact(now) } else { Ok(()) } {
            Ok(()) => self.sorted = SMALL.max(self.good),
            // The next start reads what is there as well, and what comes behind it.
            Err(error) => tracing::warn!(path = shown, %error, "kept sign-outs cannot be written anew"),
        }
        Ok(())
    }

    /// The same, which syncs in this way, for tests that hold it.
    #[cfg(test)]
    pub fn syncing_by(self, sync: Syncing) -> Writer {
        Writer { sync, ..self }
    }

    /// The same, which syncs directories in this way.
    #[cfg(test)]
    pub fn placing_by(self, place: Placing) -> Writer {
        Writer { place, ..self }
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
            let dir = dir.unwrap_or(Path::new("."));
            access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| told(error.into(), dir))?;
        }
        Ok(())
    }

    /// Makes the files, if they are not there. Whatever of it fails is done again by the next call, so it does not matter
    /// how far one came: the file is open and locked, and has no head until that is known to be on the disk.
    pub fn create(&mut self, now: u64) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|file| !is_still(file, &self.path)) {
            tracing::error!(path = %self.path.display(), "the kept sign-outs were removed or replaced: a restart undoes them");
            (self.file, self.good) = (None, 0);
            self.lives.clear();
        }
        if self.file.is_none() || self.good == 0 {
            self.keyfile.save().map_err(|error| told(error, &self.keyfile.path()))?;
        }
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let options = for_owner(options.read(true).write(true).create(true).truncate(false));
            let file = options.open(&self.path).map_err(|error| told(error, &self.path))?;
            // Another process may have made one since the start, and left it.
            self.take_over(file, now, &mut |_| {}).map_err(io::Error::other)?;
        }
        if let Some(file) = self.file.as_ref().filter(|_| self.good == 0) {
            let head = file::head(self.keyfile.key().mark());
            let begun = write_all_at(file, &head, 0).and_then(|()| (self.sync)(file));
            begun.map_err(|error| told(error, &self.path))?;
            self.good = HEAD as u64;
        }
        self.see_to_its_place()
    }

    fn see_to_its_place(&mut self) -> io::Result<()> {
        if !self.is_placed {
            let dir = self.keyfile.dir();
            (self.place)(dir).map_err(|error| told(error, dir))?;
            self.is_placed = true;
        }
        Ok(())
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
            if let Err(error) = self.append(now) {
                counters.failures.fetch_add(1, Ordering::Relaxed);
                let why = error.to_string();
                if self.fails.as_ref() != Some(&why) {
                    tracing::error!(
                        error = why,
                        "sign-outs cannot be kept: a restart now would sign them in again; trying on"
                    );
                    self.fails = Some(why);
                }
                return self.lose(sizes.len() as u64, counters);
            }
            counters.syncs.fetch_add(1, Ordering::Relaxed);
            if self.fails.take().is_some() | (std::mem::take(&mut self.lost) > 0) {
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

    fn append(&mut self, now: u64) -> io::Result<()> {
        self.create(now)?;
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

    /// Writes what lives into a new file, which then takes the place of the old one. If that fails before, the old one stays.
    fn compact(&mut self, now: u64) -> io::Result<()> {
        let draft = self.path.with_extension("fences.new");
        let written = self.write_draft(&draft, now).and_then(|new| fs::rename(&draft, &self.path).map(|()| new));
        match written {
            Ok(new) => (self.file, self.good, self.lives) = new,
            Err(error) => {
                // It takes room that sign-outs may need.
                let _ = fs::remove_file(&draft);
                return Err(error);
            }
        }
        // Whatever happens to the directory, this is the file now.
        (self.is_torn, self.is_placed) = (false, false);
        self.see_to_its_place()
    }

    fn write_draft(&self, draft: &Path, now: u64) -> io::Result<(Option<File>, u64, BTreeMap<u64, u64>)> {
        let mut options = OpenOptions::new();
        let new = for_owner(options.read(true).write(true).create(true).truncate(true)).open(draft)?;
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
        (self.sync)(&new)?;
        Ok((Some(new), good, lives))
    }
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another server uses it; give each its own dir"),
        TryLockError::Error(error) => error,
    })
}

/// Whether a file is the one that has this name, be that a link's.
fn is_still(file: &File, path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|path| is_at(file, &path))
}

/// The error with the file it is about.
fn told(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
