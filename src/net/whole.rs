//! Small files that are there whole or not at all, whenever somebody looks and after a crash.
//!
//! They may hold keys and passwords: nobody but their owner may read one, unless that was so before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::system::{for_owner, sync_dir};

/// Makes a file that is not there yet. One that another process has made meanwhile stays, and is an error of the kind
/// `AlreadyExists`.
pub(super) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = Draft::write(path, content, None)?;
    match fs::hard_link(&draft.0, path) {
        // Not every file system has links; then the race with another process is lost by who came first.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => fs::rename(&draft.0, path)?,
        linked => linked?,
    }
    sync_dir(folder(path))
}

/// Puts content in a file's place. What was a link to a file stays one.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let draft = Draft::write(&path, content, fs::metadata(&path).ok())?;
    fs::rename(&draft.0, &path)?;
    sync_dir(folder(&path))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// What is to become a file, beside the place where that will be. It goes when it is not needed any more; nothing more can
/// be done where that fails, and the next one removes it.
struct Draft(PathBuf);

impl Draft {
    /// Writes one, with the rights of an `old` file.
    fn write(path: &Path, content: &[u8], old: Option<fs::Metadata>) -> io::Result<Draft> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let place = path.with_file_name(name);
        // One that a crash has left behind may be open to others.
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = match for_owner(OpenOptions::new().write(true).create_new(true)).open(&place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Draft::taken()),
            opened => opened?,
        };
        let draft = Draft(place);
        draft.fill(&mut file, content, old)?;
        Ok(draft)
    }

    fn fill(&self, file: &mut File, content: &[u8], old: Option<fs::Metadata>) -> io::Result<()> {
        if let Some(old) = old {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()
    }

    fn taken() -> io::Error {
        io::Error::new(io::ErrorKind::ResourceBusy, "another server writes it at this moment")
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).expect("a folder").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_once_and_replaced_at_will_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        create(&path, b"one").expect("a new file");
        let refusal = create(&path, b"two").expect_err("another was first");
        assert_eq!(refusal.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("a file"), b"one");
        replace(&path, b"three").expect("a file to replace");
        assert_eq!(fs::read(&path).expect("a file"), b"three");
        // What a server that was killed has left is no obstacle.
        fs::write(folder.path().join(format!("key.{}.tmp", std::process::id())), "half").expect("a file");
        replace(&path, b"four").expect("a file to replace");
        assert_eq!((fs::read(&path).expect("a file"), names(&folder)), (b"four".to_vec(), vec!["key".to_owned()]));
        let away = folder.path().join("nosuch").join("key");
        assert_eq!(create(&away, b"x").expect_err("no folder").kind(), io::ErrorKind::NotFound);
        assert_eq!(replace(&away, b"x").expect_err("no folder").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    #[cfg(unix)]
    fn only_its_owner_reads_it_unless_that_was_so_and_a_link_stays_one() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.acl");
        let mode = || fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
        create(&path, b"one").expect("a new file");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a file of one's own");
        let link = folder.path().join("link");
        symlink(&path, &link).expect("a link");
        replace(&link, b"two").expect("a file to replace");
        assert_eq!((fs::read(&path).expect("a file"), mode()), (b"two".to_vec(), 0o640));
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    }
}
