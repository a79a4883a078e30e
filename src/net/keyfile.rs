//! `cloakroom.key`: the key that secret names are hashed under, kept in `dir` beside the files that hold such names.
//!
//! What outlives the process (sign-outs, snapshots) holds hashes in place of tokens, and the next process must hash alike
//! to match them. So whoever writes such a file calls [`KeyFile::save`] first. Until somebody does, the key is in memory
//! alone, and a server that writes nothing leaves no file behind.
//!
//! The file is text: lines that begin with `#`, and one of 64 hexadecimal digits. Only its owner may read it: with it and
//! a list of guesses, hashes could be told.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::snapshot::about;
use super::system::grants;
use super::whole;
use crate::num::{hex, unhex};
use crate::store::NamingKey;

/// The file's name in `dir`.
pub(super) const NAME: &str = "cloakroom.key";

/// Bytes that are read of it, far more than it has.
const READ_MAX: u64 = 4096;

const PREFACE: &str = "# What cloakroom hashes tokens under in the files beside this one. Keep it secret, and with them:\n\
                       # without it what they say of sessions is lost.\n";

/// The naming key, and where it is kept.
pub(super) struct KeyFile {
    dir: PathBuf,
    key: NamingKey,
    /// Whether the file has it.
    saved: Mutex<bool>,
}

impl KeyFile {
    /// Reads the key of a directory, or draws one that is not in a file yet. A file that is there and cannot be used is an
    /// error in one line with its cure: a new key in its place would make nonsense of all that was written under it.
    pub fn open(dir: &Path) -> Result<KeyFile, String> {
        let path = dir.join(NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            // No file, or no directory: `dir` is looked at when something is to be written there.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(KeyFile { dir: dir.into(), key: NamingKey::random(), saved: Mutex::new(false) });
            }
            Err(error) => return Err(format!("cannot read {}: {error}; let this user read it", path.display())),
        };
        let mut text = String::new();
        warn_if_open(&file, &path);
        let read = file.take(READ_MAX).read_to_string(&mut text);
        let key = read.ok().and_then(|_| parse(&text)).ok_or_else(|| {
            format!(
                "{} is damaged: put the right one back, or remove it with the files that were written under it",
                path.display()
            )
        })?;
        Ok(KeyFile { dir: dir.into(), key, saved: Mutex::new(true) })
    }

    /// The directory it is kept in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file it is kept in.
    pub fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// The key.
    pub fn key(&self) -> &NamingKey {
        &self.key
    }

    fn is_kept(&self) -> bool {
        KeyFile::open(&self.dir).is_ok_and(|kept| *kept.saved.lock() && kept.key == self.key)
    }

    /// Sees to it that the key is in its file and on the disk, however often it is asked. The file comes into being whole
    /// or not at all, and replaces none that another process has made meanwhile.
    pub fn save(&self) -> io::Result<()> {
        let mut saved = self.saved.lock();
        // Somebody may have removed it since.
        if *saved && self.path().exists() {
            return Ok(());
        }
        let text = format!("{PREFACE}{}\n", hex(self.key.bytes()));
        match whole::create(&self.path(), text.as_bytes()) {
            // Somebody has kept this very key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is_kept() => {}
            written => written?,
        }
        *saved = true;
        Ok(())
    }
}

/// Sees to it that a key is kept in a directory, before something that was written under it is; else a line with the cure.
pub(super) fn keep(dir: &Path, key: &NamingKey) -> Result<(), String> {
    let file = KeyFile { dir: dir.into(), key: key.clone(), saved: Mutex::new(false) };
    file.save().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{} is the key of another server's names: set dir to a directory of its own, or remove that file",
            file.path().display()
        ),
        _ => about(&file.path(), &error),
    })
}

/// Says if others may read a key.
pub(super) fn warn_if_open(file: &File, path: &Path) {
    if grants(file, 0o077) {
        tracing::warn!(path = %path.display(), "others may read this key: chmod 600");
    }
}

fn parse(text: &str) -> Option<NamingKey> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (digits, None) = (lines.next()?, lines.next()) else { return None };
    Some(NamingKey::new(unhex(digits)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_written_when_it_is_needed() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = KeyFile::open(dir.path()).expect("a new key");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
        first.save().expect("written");
        first.save().expect("nothing to do");
        fs::remove_file(dir.path().join(NAME)).expect("a file");
        first.save().expect("written anew");
        let path = dir.path().join(NAME);
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(KeyFile::open(dir.path()).expect("a key").key(), first.key());
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "a draft was left");
    }

    #[test]
    fn a_damaged_key_is_refused_and_none_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (KeyFile::open(dir.path()).expect("a key"), KeyFile::open(dir.path()).expect("a key"));
        one.save().expect("written");
        assert_eq!(other.save().expect_err("another's").kind(), io::ErrorKind::AlreadyExists);
        let path = dir.path().join(NAME);
        let text = fs::read_to_string(&path).expect("text");
        for damaged in [
            "".to_owned(),
            text[..text.len() - 2].to_owned(),
            format!("{text}{text}"),
            text.replace(|c: char| c.is_ascii_digit(), "x"),
        ] {
            fs::write(&path, damaged).expect("written");
            let Err(why) = KeyFile::open(dir.path()) else { panic!("taken") };
            assert!(why.contains("cloakroom.key is damaged"), "{why}");
        }
    }

    #[test]
    fn a_key_may_be_kept_twice_and_another_in_its_place_may_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, key) = (KeyFile::open(dir.path()).expect("a key"), NamingKey::random());
        keep(dir.path(), file.key()).expect("kept");
        keep(dir.path(), file.key()).expect("kept already");
        file.save().expect("kept already");
        assert!(keep(dir.path(), &key).expect_err("another").contains("another server's"));
    }

    #[test]
    fn without_a_directory_there_is_a_key_that_cannot_be_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = KeyFile::open(&dir.path().join("nowhere")).expect("a key");
        assert!(key.save().is_err());
    }
}
