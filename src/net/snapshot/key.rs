//! The file beside a snapshot that holds what names are hashed with.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::about;
use crate::store::NamesKey;

/// Where the key of a snapshot lies.
pub fn path(snapshot: &Path) -> PathBuf {
    let mut name = snapshot.file_name().unwrap_or_default().to_owned();
    name.push(".key");
    snapshot.with_file_name(name)
}

/// The key of a snapshot; `None` if it has none yet.
pub(in crate::net) fn names_key(snapshot: &Path) -> Result<Option<NamesKey>, String> {
    let path = path(snapshot);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(format!("{}: {error}: let this user read it", path.display())),
    };
    if file.metadata().is_ok_and(|data| data.mode() & 0o077 != 0) {
        tracing::warn!("{}: others may read it: chmod 600 it, as it is worth all sessions", path.display());
    }
    // More than the text there should be, and no more than that.
    let mut text = String::new();
    let read = file.take(4 * NamesKey::LEN as u64).read_to_string(&mut text);
    read.ok().and_then(|_| parse(text.trim_end())).map(Some).ok_or_else(|| {
        format!(
            "{}: not the {} hexadecimal digits of a key: put back the file that was there, or remove it and its snapshot",
            path.display(),
            2 * NamesKey::LEN
        )
    })
}

fn parse(text: &str) -> Option<NamesKey> {
    let mut bytes = [0; NamesKey::LEN];
    if text.len() != 2 * NamesKey::LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(NamesKey::from_bytes(&bytes))
}

/// Sees to it that the key lies beside the snapshot, before the snapshot does.
pub fn keep(snapshot: &Path, key: &NamesKey) -> Result<(), String> {
    let path = path(snapshot);
    match names_key(snapshot)? {
        Some(kept) if kept == *key => return Ok(()),
        Some(_) => {
            return Err(format!(
                "{} is the key of another server's names: set dbfilename to a name of its own, or remove that file",
                path.display()
            ));
        }
        None => {}
    }
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut text: String = key.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            // Half a key would keep the server down.
            let _ = std::fs::remove_file(&path);
        }
        about(&path, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_for_its_owner_alone_and_never_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let snapshot = dir.path().join("x.rdb");
        assert_eq!(names_key(&snapshot), Ok(None));
        let key = NamesKey::random();
        keep(&snapshot, &key).expect("kept");
        keep(&snapshot, &key).expect("kept already");
        assert_eq!(names_key(&snapshot), Ok(Some(key)));
        assert_eq!(std::fs::metadata(path(&snapshot)).expect("there").mode() & 0o777, 0o600);
        assert!(keep(&snapshot, &NamesKey::random()).expect_err("another").contains("another server's"));
        std::fs::write(path(&snapshot), "zz").expect("written");
        assert!(names_key(&snapshot).expect_err("nonsense").contains("64 hexadecimal digits"));
    }
}
