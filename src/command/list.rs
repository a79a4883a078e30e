//! Lists: elements in a row, at whose ends others may wait.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
