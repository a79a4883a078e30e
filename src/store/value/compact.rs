//! Redis' settings of encodings, where every shard can read them.

use std::sync::atomic::{AtomicI64, Ordering};

use super::super::Store;
use crate::config::Compact;

/// The settings of a family of stores, which may change at any time.
pub struct Settings([AtomicI64; 8]);

impl Default for Settings {
    fn default() -> Settings {
        let settings = Settings(Default::default());
        settings.set(Compact::default());
        settings
    }
}

impl Settings {
    /// Sets all of them.
    pub fn set(&self, compact: Compact) {
        let Compact {
            hash_entries,
            hash_value,
            list_size,
            set_intset,
            set_entries,
            set_value,
            zset_entries,
            zset_value,
        } = compact;
        let numbers =
            [hash_entries, hash_value, list_size, set_intset, set_entries, set_value, zset_entries, zset_value];
        self.0.iter().zip(numbers).for_each(|(home, number)| home.store(number, Ordering::Relaxed));
    }

    /// What they are now.
    pub fn get(&self) -> Compact {
        let [hash_entries, hash_value, list_size, set_intset, set_entries, set_value, zset_entries, zset_value] =
            std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed));
        Compact { hash_entries, hash_value, list_size, set_intset, set_entries, set_value, zset_entries, zset_value }
    }
}

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// Up to where collections are kept compact.
    pub fn compact(&self) -> Compact {
        self.inner.common.compact.get()
    }
}
