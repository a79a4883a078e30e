//! Up to where collections are kept in their compact encodings.

/// Redis' settings of encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compact {
    /// `hash-max-listpack-entries`
    pub hash_entries: i64,
    /// `hash-max-listpack-value`, in bytes.
    pub hash_value: i64,
    /// `list-max-listpack-size`: elements, or, if negative, one of five sizes in bytes.
    pub list_size: i64,
    /// `set-max-intset-entries`
    pub set_intset: i64,
    /// `set-max-listpack-entries`
    pub set_entries: i64,
    /// `set-max-listpack-value`, in bytes.
    pub set_value: i64,
    /// `zset-max-listpack-entries`
    pub zset_entries: i64,
    /// `zset-max-listpack-value`, in bytes.
    pub zset_value: i64,
}

impl Default for Compact {
    fn default() -> Compact {
        Compact {
            hash_entries: 512,
            hash_value: 64,
            list_size: -2,
            set_intset: 512,
            set_entries: 128,
            set_value: 64,
            zset_entries: 128,
            zset_value: 64,
        }
    }
}
