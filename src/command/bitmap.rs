//! Bitmaps: the bits of strings.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
