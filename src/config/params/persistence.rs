//! What is kept on disk, and when.

use super::super::field::Field as _;
use super::super::param::{Change, Home, Kind, Lines, Param};
use super::super::values::{file_name, save_points};
use super::INT_MAX;

const ON_SIGNAL: Kind = Kind::Flags(&["default", "save", "nosave", "now", "force"]);

pub(super) const ROWS: &[Param] = &[
    Param {
        name: "save",
        kind: Kind::Form("seconds and changes", save_points),
        lines: Lines::Add,
        doc: "When snapshots are written by themselves. Pairs of seconds and changes, such as 3600 1 300 100. Empty, as it is \
              unless you set it: only when SAVE, BGSAVE or SHUTDOWN SAVE asks for one. With pairs, one is written at the \
              end too.",
        home: field!(save),
        ..Param::PERSISTENCE
    },
    Param {
        name: "dir",
        default: ".",
        change: Change::Protected,
        doc: "Directory of the snapshot, and the one that aclfile counts from.",
        home: field!(dir),
        ..Param::PERSISTENCE
    },
    Param {
        name: "dbfilename",
        kind: Kind::Form("file name", file_name),
        default: "cloakroom.rdb",
        change: Change::Protected,
        doc: "Name of the snapshot, which is read at start if it is there. Beside it lies cloakroom.key: without \
              that the sessions in the snapshot are not found again, and with both anybody's session is.",
        home: field!(dbfilename),
        ..Param::PERSISTENCE
    },
    Param {
        name: "rdbcompression",
        kind: Kind::Bool,
        default: "yes",
        doc: "Whether long strings are compressed in snapshots.",
        home: field!(rdbcompression),
        ..Param::PERSISTENCE
    },
    Param {
        name: "rdbchecksum",
        kind: Kind::Bool,
        default: "yes",
        change: Change::AtStart,
        doc: "Whether a checksum is written into snapshots. One that is there is always checked.",
        home: field!(rdbchecksum),
        ..Param::PERSISTENCE
    },
    Param {
        name: "rdb-key-save-delay",
        kind: Kind::Int(-INT_MAX, INT_MAX),
        default: "0",
        doc: "Microseconds that a snapshot rests for each entry, for tests.",
        home: field!(rdb_key_save_delay),
        ..Param::PERSISTENCE
    },
    Param {
        name: "stop-writes-on-bgsave-error",
        kind: Kind::Bool,
        default: "no",
        doc: "Whether writes are refused while save is set and the last snapshot failed. Redis refuses them unless told \
              otherwise; here a full disk keeps nobody from signing in.",
        home: field!(stop_writes),
        ..Param::PERSISTENCE
    },
    Param {
        name: "shutdown-on-sigint",
        kind: ON_SIGNAL,
        default: "default",
        lines: Lines::Words,
        doc: "Whether SIGINT writes a snapshot first. default does if save is set, save does and nosave does not; now and \
              force change nothing.",
        home: field!(shutdown_on_sigint),
        ..Param::PERSISTENCE
    },
    Param {
        name: "shutdown-on-sigterm",
        kind: ON_SIGNAL,
        default: "default",
        lines: Lines::Words,
        doc: "The same for SIGTERM.",
        home: field!(shutdown_on_sigterm),
        ..Param::PERSISTENCE
    },
];
