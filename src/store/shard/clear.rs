//! How a shard is emptied, and what is then freed a little at a time.

use super::*;

/// Pieces of memory, as small collections have them, that are freed in the time for a segment of the arena.
const SEGMENT_PIECES: usize = 4;

/// Bytes of a long entry whose pages go back in the time for a piece.
const PIECE_BYTES: usize = 4096;

/// What a shard held, to be freed.
pub(in crate::store) struct Debris {
    table: Table,
    hidden: Table,
    arena: Arena,
    bulks: Vec<Bulk>,
    bulk_bytes: usize,
    objects: Objects,
    deadlines: Deadlines,
    /// Entries that commands could see.
    pub entries: usize,
}

impl Debris {
    /// Bytes that are still to be freed.
    pub fn size(&self) -> usize {
        self.arena.live()
            + self.bulk_bytes
            + self.objects.bytes()
            + self.table.size()
            + self.hidden.size()
            + self.deadlines.size()
    }

    /// Frees about so many pieces of memory and tells how many fewer than that there were, if none is left. A collection of
    /// more than `large` of them is handed over instead.
    pub fn wreck(&mut self, most: usize, large: usize) -> Wrecked {
        let mut left = most;
        while left > 0 {
            let Some(object) = self.objects.pop() else { break };
            let pieces = object.pieces();
            if pieces > large {
                return Wrecked::Large(object);
            }
            left = left.saturating_sub(pieces.max(1));
        }
        while left > 0 {
            let Some(bulk) = self.bulks.pop() else { break };
            self.bulk_bytes -= bulk.capacity();
            left = left.saturating_sub(1 + bulk.capacity() / PIECE_BYTES);
        }
        let is_left = left == 0
            || self.arena.wreck(left.div_ceil(SEGMENT_PIECES))
            || self.table.wreck(left)
            || self.hidden.wreck(left)
            || self.deadlines.wreck(left);
        if is_left { Wrecked::More } else { Wrecked::Gone(left.saturating_sub(1)) }
    }
}

/// What became of debris.
pub(in crate::store) enum Wrecked {
    /// There is more.
    More,
    /// A large collection is to be freed first.
    Large(Object),
    /// It is gone, and so many pieces more could have been freed.
    Gone(usize),
}

/// Copies of the entries of a shard that no command sees, made a few at a time while others work on it.
#[derive(Default)]
pub(in crate::store) struct Stage {
    copies: Shard,
    /// What [`Shard::hidden_changes`] was when the first was made.
    changes: u32,
    /// The hash from which on there are more; `None` when all are made.
    next: Option<u32>,
}

impl Shard {
    /// A stage with no copies yet.
    pub fn stage(&self) -> Stage {
        let copies = Shard { depot: self.depot.clone(), arena: Arena::new(&self.depot), ..Shard::default() };
        Stage { copies, changes: self.hidden_changes, next: Some(0) }
    }

    /// Whether a stage has copies of all that there is.
    pub fn is_staged(&self, stage: &Stage) -> bool {
        stage.changes == self.hidden_changes && stage.next.is_none()
    }

    /// How many copies a stage that is not whole, or not true any longer, will have to have.
    pub fn unstaged(&self, stage: &Stage) -> usize {
        if self.is_staged(stage) { 0 } else { self.hidden() }
    }

    /// Makes about so many copies, all anew if any has changed, and tells how many were made.
    pub fn copy_hidden(&self, stage: &mut Stage, most: usize) -> usize {
        if stage.changes != self.hidden_changes {
            *stage = self.stage();
        }
        let Some(first) = stage.next.take() else { return 0 };
        let (mut made, mut last) = (0, None);
        for hash in self.hidden.iter_from(first).map(|place| place.hash) {
            // Entries of one hash are noted as often as they are, and copied together.
            if last.replace(hash) == Some(hash) {
                continue;
            }
            if made >= most {
                stage.next = Some(hash);
                break;
            }
            for place in self.table.range(hash, hash) {
                let entry = self.entry(place);
                if !entry.kind().is_visible() {
                    stage.copies.put(None, hash, &entry.draft(), None, &mut Trash::default());
                    made += 1;
                }
            }
        }
        made
    }

    /// Everything that commands can see, taken out at once; aliases and fences stay. They are all that is looked at, and not even
    /// they if they are staged. Of keys that go so only their watchers are told, as there may be millions. `hash` is how
    /// names are hashed.
    pub fn clear(&mut self, mut stage: Stage, hash: impl Fn(&[u8]) -> u32) -> Debris {
        for name in self.watchers.names() {
            if self.find(hash(&name), &name).is_some_and(|(_, entry)| entry.kind().is_visible()) {
                self.watchers.tell(&name);
            }
        }
        self.is_unsettled = true;
        self.copy_hidden(&mut stage, usize::MAX);
        let entries = self.visible();
        self.changes += entries as u64;
        let Shard { table, arena, bulks, free_bulks, objects, deadlines, bulk_bytes, expiring, hidden, logins, .. } =
            stage.copies;
        (self.free_bulks, self.expiring, self.logins) = (free_bulks, expiring, logins);
        Debris {
            table: std::mem::replace(&mut self.table, table),
            hidden: std::mem::replace(&mut self.hidden, hidden),
            arena: std::mem::replace(&mut self.arena, arena),
            bulks: std::mem::replace(&mut self.bulks, bulks),
            bulk_bytes: std::mem::replace(&mut self.bulk_bytes, bulk_bytes),
            objects: std::mem::replace(&mut self.objects, objects),
            deadlines: std::mem::replace(&mut self.deadlines, deadlines),
            entries,
        }
    }
}
