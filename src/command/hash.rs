//! Hashes: fields with values.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
