//! How much is kept, and how.

use super::super::field::Field as _;
use super::super::param::{Change, Home, Kind, Param};
use super::super::values::Policy;
use super::{INT_MAX, LONG, SIZE};

pub(super) const ROWS: &[Param] = &[
    Param {
        name: "maxmemory",
        kind: Kind::MemoryOrAuto(0, u64::MAX),
        default: "auto",
        doc: "Bytes that data, clients and scripts may take, such as 512mb; 0 for unlimited. auto is three quarters of what \
              the machine has, or of what the control group of the process may take where that is less; CONFIG GET \
              shows how much that is.",
        home: Home::Field {
            get: |config| config.maxmemory.to_string(),
            set: |config, text| {
                let bytes = text.parse().ok();
                config.maxmemory_auto = bytes.is_none();
                config.maxmemory = bytes.unwrap_or(config.maxmemory_found);
                Ok(())
            },
        },
        ..Param::MEMORY
    },
    Param {
        name: "maxmemory-clients",
        kind: Kind::MemoryOrPercent,
        default: "25%",
        doc: "Bytes, or a share of maxmemory, that buffers and queues of clients may take in sum. When it is more, the \
              clients that hold most are closed; 0 for no limit, which is what Redis has.",
        home: field!(maxmemory_clients),
        ..Param::MEMORY
    },
    Param {
        name: "maxmemory-policy",
        kind: Kind::Choice(Policy::NAMES),
        default: "logins-last",
        doc: "What may go when maxmemory is reached. logins-last, which Redis does not have: what is used least, by \
              time or by number, whichever serves better; what lies in a namespace marked login only when nothing else \
              is left.",
        home: field!(maxmemory_policy),
        ..Param::MEMORY
    },
    Param {
        name: "maxmemory-samples",
        kind: Kind::Int(1, INT_MAX),
        default: "5",
        doc: "Keys looked at to find the one that goes; logins-last looks at four times as many.",
        home: field!(maxmemory_samples),
        ..Param::MEMORY
    },
    Param {
        name: "tracking-table-max-keys",
        kind: Kind::Int(0, i64::MAX),
        default: "1000000",
        doc: "Keys that are remembered for clients which track what they read; 0 for no limit.",
        home: field!(tracking_table_max_keys),
        ..Param::MEMORY
    },
    Param {
        name: "lfu-log-factor",
        kind: Kind::Int(0, INT_MAX),
        default: "10",
        doc: "How slowly the use counter of the lfu policies grows.",
        home: field!(lfu_log_factor),
        ..Param::MEMORY
    },
    Param {
        name: "lfu-decay-time",
        kind: Kind::Int(0, INT_MAX),
        default: "1",
        doc: "Minutes after which an unused counter of the lfu policies shrinks by one; 0 for never.",
        home: field!(lfu_decay_time),
        ..Param::MEMORY
    },
    Param {
        name: "lazyfree-lazy-eviction",
        kind: Kind::Bool,
        default: "no",
        doc: "Whether large collections that are evicted are freed in slices, by the janitor.",
        home: field!(lazily.evicted),
        ..Param::MEMORY
    },
    Param {
        name: "lazyfree-lazy-server-del",
        kind: Kind::Bool,
        default: "no",
        doc: "The same for those that something else takes the place of.",
        home: field!(lazily.replaced),
        ..Param::MEMORY
    },
    Param {
        name: "lazyfree-lazy-user-del",
        kind: Kind::Bool,
        default: "no",
        doc: "The same for those that DEL deletes; what UNLINK deletes always is.",
        home: field!(lazily.deleted),
        ..Param::MEMORY
    },
    Param {
        name: "lazyfree-lazy-user-flush",
        kind: Kind::Bool,
        default: "no",
        doc: "Whether FLUSHALL and FLUSHDB are ASYNC when they say nothing.",
        home: field!(lazy_flush),
        ..Param::MEMORY
    },
    Param {
        name: "hash-max-listpack-entries",
        aliases: &["hash-max-ziplist-entries"],
        kind: LONG,
        default: "512",
        doc: "Fields that a hash may have in its compact encoding.",
        home: compact!(hash_entries),
        ..Param::MEMORY
    },
    Param {
        name: "hash-max-listpack-value",
        aliases: &["hash-max-ziplist-value"],
        kind: SIZE,
        default: "64",
        doc: "Bytes that a field or value of a hash may have in the compact encoding.",
        home: compact!(hash_value),
        ..Param::MEMORY
    },
    Param {
        name: "list-max-listpack-size",
        aliases: &["list-max-ziplist-size"],
        kind: Kind::Int(-INT_MAX - 1, INT_MAX),
        default: "-2",
        doc: "Elements in one piece of a list, or, from -1 to -5, its size: 4, 8, 16, 32 or 64 KB.",
        home: compact!(list_size),
        ..Param::MEMORY
    },
    Param {
        name: "set-max-intset-entries",
        kind: LONG,
        default: "512",
        doc: "Members that a set of integers may have in its compact encoding.",
        home: compact!(set_intset),
        ..Param::MEMORY
    },
    Param {
        name: "set-max-listpack-entries",
        kind: LONG,
        default: "128",
        doc: "Members that a set of other things may have in its compact encoding.",
        home: compact!(set_entries),
        ..Param::MEMORY
    },
    Param {
        name: "set-max-listpack-value",
        kind: SIZE,
        default: "64",
        doc: "Bytes that a member of a set may have in the compact encoding.",
        home: compact!(set_value),
        ..Param::MEMORY
    },
    Param {
        name: "zset-max-listpack-entries",
        aliases: &["zset-max-ziplist-entries"],
        kind: LONG,
        default: "128",
        doc: "Members that a sorted set may have in its compact encoding.",
        home: compact!(zset_entries),
        ..Param::MEMORY
    },
    Param {
        name: "zset-max-listpack-value",
        aliases: &["zset-max-ziplist-value"],
        kind: SIZE,
        default: "64",
        doc: "Bytes that a member of a sorted set may have in the compact encoding.",
        home: compact!(zset_value),
        ..Param::MEMORY
    },
    Param {
        name: "databases",
        // Every database has its own shards, so each costs memory before its first key.
        kind: Kind::Int(1, 256),
        default: "16",
        change: Change::AtStart,
        doc: "Databases to SELECT from.",
        home: field!(databases),
        ..Param::MEMORY
    },
];
