//! What leaves a shard on its way to being freed.

use super::depot::Bulk;
use super::value::Object;

/// What was taken out under a lock and is freed after it: long values and collections. Blocks go back to the arena.
/// Nearly always there is nothing, and that is asked once.
#[derive(Default)]
pub(super) enum Trash {
    #[default]
    Nothing,
    /// Kept only to be dropped.
    Bulk {
        _bulk: Bulk,
    },
    Object {
        _object: Object,
    },
    Several(Vec<Trash>),
}

impl Trash {
    pub fn put(&mut self, more: Trash) {
        *self = match std::mem::take(self) {
            Trash::Nothing => more,
            Trash::Several(mut all) => {
                all.push(more);
                Trash::Several(all)
            }
            one => Trash::Several(vec![one, more]),
        };
    }

    pub fn clear(&mut self) {
        match self {
            Trash::Several(all) => all.clear(),
            _ => *self = Trash::Nothing,
        }
    }
}
