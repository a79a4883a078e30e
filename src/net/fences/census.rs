//! Which names a file of sign-outs has that stand: each once, whatever many records say of it.

use std::collections::HashMap;

use highway::{HighwayHash, HighwayHasher, Key};

use super::file::{Fence, LIFTED};

/// Names by their digests, so that one takes little memory however it is called, and until when each is dead.
pub(super) struct Census {
    now: u64,
    key: Key,
    names: HashMap<[u64; 2], u64>,
}

impl Census {
    /// Of what stands at `now`.
    pub fn new(now: u64) -> Census {
        // A key of its own: nobody can make two names that are taken for one.
        let mut seed = [0; 4];
        seed.iter_mut().for_each(|part| *part = getrandom::u64().unwrap_or(now));
        Census { now, key: Key(seed), names: HashMap::new() }
    }

    fn digest(&self, name: &[u8]) -> [u64; 2] {
        HighwayHasher::new(self.key).hash128(name)
    }

    /// Counts a record, which comes behind those that were counted before.
    pub fn count(&mut self, fence: &Fence) {
        for name in &fence.names {
            let digest = self.digest(name);
            if fence.until == LIFTED {
                self.names.remove(&digest);
            } else if fence.until > self.now {
                let until = self.names.entry(digest).or_default();
                *until = fence.until.max(*until);
            }
        }
    }

    /// How many names stand.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The names of a record that stand by what it says, and are not taken yet.
    pub fn take<'f>(&mut self, fence: &'f Fence) -> Vec<&'f [u8]> {
        let mut taken = Vec::new();
        for name in &fence.names {
            let digest = self.digest(name);
            if self.names.get(&digest) == Some(&fence.until) {
                self.names.remove(&digest);
                taken.push(name.as_slice());
            }
        }
        taken
    }
}
