//! Values that become longer or shorter where they are.

use super::super::depot::Bulk;
use super::super::entry::{self, Draft, Shape};
use super::super::trash::Trash;
use super::{Shard, Spot};

impl Shard {
    /// Changes a value's length and tells where it is then. What is new is zero. Its block gets room to spare, so that a
    /// string built by many small appends is moved seldom.
    pub fn resize(&mut self, spot: Spot, len: usize, trash: &mut Trash) -> Spot {
        self.tell_of(spot.at);
        let old = self.read(spot.at);
        let (key_len, value_len, was) = (old.key().len(), old.value().len(), old.grown());
        let deadline = old.deadline();
        let shape = Shape::of(true, key_len, len, deadline);
        let block = self.arena.at_mut(spot.at);
        if was && entry::bulk_of(block).is_none() && shape == Shape::of(true, key_len, value_len, deadline) {
            entry::set_value_len(block, len);
            return spot;
        }
        if let Some(number) = entry::bulk_of(block).filter(|_| was && shape.is_bulk()) {
            self.is_unsettled = true;
            let bulk = &mut self.bulks[number];
            self.bulk_bytes -= bulk.capacity();
            bulk.resize(key_len + len, &self.depot);
            self.bulk_bytes += bulk.capacity();
            entry::set_value_len(block, len);
            return spot;
        }
        let old = self.read(spot.at);
        let Draft { kind, login, access, .. } = old.draft();
        let at = if shape.is_bulk() {
            // It may be very long, and others wait for the lock: so it is made once.
            let bulk = Bulk::grown(old.key(), old.value(), len, &self.depot);
            self.free_block(spot.at, trash);
            let (at, number) = (self.arena.make(shape.len), self.keep_bulk(bulk));
            let (key, value) = self.bulks[number as usize].split_at(key_len);
            let draft = Draft { kind, grown: true, login, access, deadline, key, value };
            draft.write(self.arena.at_mut(at), shape, number);
            at
        } else {
            let mut bytes = [old.key(), old.value()].concat();
            bytes.resize(key_len + len, 0);
            let (key, value) = bytes.split_at(key_len);
            self.free_block(spot.at, trash);
            self.write(&Draft { kind, grown: true, login, access, deadline, key, value }, shape, None)
        };
        self.table.set(spot.bucket, at);
        Spot { bucket: spot.bucket, at }
    }

    /// Bytes that are asked for when a value is to be so long.
    pub fn asks_for(&self, spot: Spot, len: usize) -> usize {
        let entry = self.read(spot.at);
        match entry::bulk_of(self.arena.at(spot.at)).filter(|_| entry.grown()) {
            Some(number) => self.bulks[number].asks_for(entry.key().len() + len),
            None => len.max(entry.value().len()),
        }
    }
}
