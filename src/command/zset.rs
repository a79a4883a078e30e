//! Sorted sets: members by score.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
