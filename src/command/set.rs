//! Sets: members without order.

use super::Spec;

pub(super) const COMMANDS: &[Spec] = &[];
