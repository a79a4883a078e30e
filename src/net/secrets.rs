//! The application's secrets, read from the file that `secret-file` names. They are in no setting's text, so that nothing
//! which shows settings can show them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::system::grants;
use crate::config::{Config, SessionSource};
use crate::session::Secrets;

/// Bytes that are read of it: a hundred secrets of the usual length.
const READ_MAX: u64 = 16 * 1024;

/// Reads the secrets where sessions are decoded here; what is wrong, in one line with its cure, if they cannot be.
pub(super) fn read(config: &Config) -> Result<Option<Secrets>, String> {
    if config.session_source() != SessionSource::NextAuth {
        return Ok(None);
    }
    let path = Path::new(&config.secret_file);
    let about = |what: &str| format!("secret-file {}: {what}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(|error| about(&error.to_string()))?;
    if grants(&file, 0o004) {
        tracing::warn!(path = %path.display(), "everybody on this machine may read the application's secret: chmod 600");
    }
    let read = file.take(READ_MAX + 1).read_to_string(&mut text);
    // No refusal repeats what is in it.
    read.map_err(|_| about("it is no text: write one secret a line"))?;
    if text.len() as u64 > READ_MAX {
        return Err(about("it is longer than secrets are: write one a line, the newest first"));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Secrets::new(lines).map(Some).ok_or_else(|| about("it is empty: write one secret a line, the newest first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &Path) -> Config {
        let mut config = Config::default();
        config.secret_file = path.display().to_string();
        config
    }

    #[test]
    fn secrets_are_lines_and_what_is_wrong_is_said_without_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        assert_eq!(read(&Config::default()), Ok(None));
        assert!(read(&config(&path)).expect_err("no file").contains("No such file"));
        std::fs::write(&path, "newest\r\n\n  older \n").expect("written");
        assert_eq!(read(&config(&path)), Ok(Secrets::new(["newest", "older"])));
        for (text, why) in [(vec![b'\n'; 3], "is empty"), (vec![b'x'; 20_000], "longer"), (vec![b's', 0xff], "no text")]
        {
            std::fs::write(&path, text).expect("written");
            let said = read(&config(&path)).expect_err("not taken");
            assert!(said.contains(why) && !said.contains("xx"), "{said}");
        }
    }
}
