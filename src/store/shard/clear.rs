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

impl Shard {
    /// Everything that commands can see, taken out at once; aliases and fences stay, and are all that is looked at. Of keys that
    /// go so only their watchers are told, as there may be millions. `hash` is how names are hashed.
    pub fn clear(&mut self, hash: impl Fn(&[u8]) -> u32) -> Debris {
        for name in self.watchers.names() {
            if self.find(hash(&name), &name).is_some_and(|(_, entry)| entry.kind().is_visible()) {
                self.watchers.tell(&name);
            }
        }
        let entries = self.visible();
        self.changes += entries as u64;
        let gone = Debris {
            table: std::mem::take(&mut self.table),
            hidden: std::mem::take(&mut self.hidden),
            arena: std::mem::take(&mut self.arena),
            bulks: std::mem::take(&mut self.bulks),
            bulk_bytes: std::mem::take(&mut self.bulk_bytes),
            objects: std::mem::take(&mut self.objects),
            deadlines: std::mem::take(&mut self.deadlines),
            entries,
        };
        (self.free_bulks, self.expiring, self.logins) = (Vec::new(), 0, 0);
        let mut last = None;
        for hidden in gone.hidden.iter().filter(|hidden| last.replace(hidden.hash) != Some(hidden.hash)) {
            for place in gone.table.range(hidden.hash, hidden.hash) {
                let entry = Entry::read(gone.arena.at(place.at), &gone.bulks);
                if !entry.kind().is_visible() {
                    self.put(None, place.hash, &entry.draft(), None, &mut Trash::default());
                }
            }
        }
        gone
    }

    /// Takes out one by one what commands can see among about so many entries from a hash on, and tells the hash to go on
    /// from if there are more.
    pub fn clear_some(&mut self, first: u32, most: usize, trash: &mut Trash) -> Option<u32> {
        let (mut next, mut looks, mut last) = (None, 0, first);
        let mut places = Vec::new();
        for place in self.table.iter_from(first) {
            // Entries of one hash go together, as there is nowhere to go on between them.
            if looks >= most && place.hash != last {
                next = Some(place.hash);
                break;
            }
            (looks, last) = (looks + 1, place.hash);
            if self.entry(place).kind().is_visible() {
                places.push(place);
            }
        }
        for place in &places {
            let found = self.table.find(place.hash, |at| (at == place.at).then_some(()));
            let (bucket, ()) = found.expect("it was just seen, and nothing moves entries meanwhile");
            self.take(bucket, Cause::Unlinked, trash);
        }
        self.changes += places.len() as u64;
        next
    }
}
