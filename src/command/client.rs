//! Being written.
use super::Spec;
pub(super) const COMMANDS: &[Spec] = &[];
use crate::error::{Error, Result};

/// Refuses what would break the lines of CLIENT LIST: blanks, line ends and other unprintable bytes.
pub(super) fn check_label(text: &[u8], what: &str) -> Result<()> {
    if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(Error::Refused(format!("{what} cannot contain spaces, newlines or special characters.").into()))
}
