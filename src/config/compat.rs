//! Settings of Redis that are accepted, kept and shown, and change nothing.
//!
//! Files, tools and test suites written for Redis name them; refusing them would help nobody. Each says why it has no
//! effect. What would mislead if it were accepted (ciphers, clusters) is not here.

use super::param::{Change, Kind, Lines, Param};
use super::params::{INT_MAX, LONG_MAX};
use super::values::nothing;

/// Redis' own switches for its tests: only their exact names find them.
pub(super) const HIDDEN: &[&str] = &["key-load-delay", "rdb-key-save-delay", "loading-process-events-interval-bytes"];

const INT: Kind = Kind::Int(0, INT_MAX);
const LONG: Kind = Kind::Int(0, i64::MAX);
const SIZE: Kind = Kind::Memory(0, LONG_MAX);

const NOT_SAVED: &str = "No effect: there is no append-only file.";
const NO_REPLICAS: &str = "No effect: there are no replicas.";
const NO_SUCH_TYPE: &str = "No effect: there are neither streams nor HyperLogLogs.";
const UNCOMPRESSED: &str = "No effect: lists are not compressed.";
const SLICES: &str = "No effect: large collections that have died are always freed in slices.";
const ALWAYS_CHECKED: &str = "No effect: what RESTORE is given is always checked in full.";
const NO_TICK: &str = "No effect: expiry is driven by deadlines, not by a tick.";
const FOREGROUND: &str = "No effect: the process stays in the foreground, where its supervisor sees it.";

const fn kept(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Param {
    Param { name, kind, default, doc, ..Param::COMPATIBILITY }
}

const fn fixed(param: Param) -> Param {
    Param { change: Change::AtStart, ..param }
}

const fn also(aliases: &'static [&'static str], param: Param) -> Param {
    Param { aliases, ..param }
}

const fn several(lines: Lines, param: Param) -> Param {
    Param { lines, ..param }
}

/// The rows, by what they are about.
pub(super) const KEPT: &[Param] = &[
    // The append-only file, and switches of Redis' own tests.
    kept("appendonly", Kind::Bool, "no", NOT_SAVED),
    kept("appendfsync", Kind::Choice(&["everysec", "always", "no"]), "everysec", NOT_SAVED),
    kept("no-appendfsync-on-rewrite", Kind::Bool, "no", NOT_SAVED),
    kept("auto-aof-rewrite-percentage", INT, "100", NOT_SAVED),
    kept("auto-aof-rewrite-min-size", SIZE, "64mb", NOT_SAVED),
    kept("aof-use-rdb-preamble", Kind::Bool, "yes", NOT_SAVED),
    kept("key-load-delay", Kind::Int(-INT_MAX, INT_MAX), "0", NOT_SAVED),
    kept("loading-process-events-interval-bytes", Kind::Int(1024, INT_MAX), "2097152", NOT_SAVED),
    // Doors.
    fixed(kept("tls-key-file-pass", Kind::Secret, "", "No effect: keys that are encrypted are not read.")),
    // Replication.
    several(Lines::Words, fixed(also(&["slaveof"], kept("replicaof", Kind::Form("empty", nothing), "", NO_REPLICAS)))),
    kept("masterauth", Kind::Secret, "", NO_REPLICAS),
    kept("masteruser", Kind::Secret, "", NO_REPLICAS),
    also(&["slave-read-only"], kept("replica-read-only", Kind::Bool, "yes", NO_REPLICAS)),
    also(&["slave-serve-stale-data"], kept("replica-serve-stale-data", Kind::Bool, "yes", NO_REPLICAS)),
    also(&["slave-lazy-flush"], kept("replica-lazy-flush", Kind::Bool, "no", NO_REPLICAS)),
    also(&["slave-priority"], kept("replica-priority", INT, "100", NO_REPLICAS)),
    also(&["min-slaves-to-write"], kept("min-replicas-to-write", INT, "0", NO_REPLICAS)),
    also(&["min-slaves-max-lag"], kept("min-replicas-max-lag", INT, "10", NO_REPLICAS)),
    also(&["repl-ping-slave-period"], kept("repl-ping-replica-period", Kind::Int(1, INT_MAX), "10", NO_REPLICAS)),
    kept("repl-timeout", Kind::Int(1, INT_MAX), "60", NO_REPLICAS),
    kept("repl-backlog-size", Kind::Memory(1, LONG_MAX), "1mb", NO_REPLICAS),
    kept("repl-diskless-sync", Kind::Bool, "yes", NO_REPLICAS),
    kept("repl-diskless-sync-delay", INT, "5", NO_REPLICAS),
    kept("propagation-error-behavior", Kind::Choice(&["ignore", "panic", "panic-on-replicas"]), "ignore", NO_REPLICAS),
    // Layouts of collections.
    kept("list-compress-depth", INT, "0", UNCOMPRESSED),
    kept("hll-sparse-max-bytes", SIZE, "3000", NO_SUCH_TYPE),
    kept("stream-node-max-bytes", SIZE, "4096", NO_SUCH_TYPE),
    kept("stream-node-max-entries", LONG, "100", NO_SUCH_TYPE),
    // Memory.
    kept("maxmemory-eviction-tenacity", Kind::Int(0, 100), "10", "No effect: eviction works in bounded slices."),
    kept("lazyfree-lazy-expire", Kind::Bool, "no", SLICES),
    kept("activedefrag", Kind::Bool, "no", "No effect: there is no defragmenter."),
    kept("sanitize-dump-payload", Kind::Choice(&["no", "yes", "clients"]), "yes", ALWAYS_CHECKED),
    // The server's rhythm and its process.
    kept("hz", INT, "10", NO_TICK),
    kept("dynamic-hz", Kind::Bool, "yes", NO_TICK),
    kept("active-expire-effort", Kind::Int(1, 10), "1", NO_TICK),
    kept("activerehashing", Kind::Bool, "yes", "No effect: tables are small and grow at once."),
    fixed(kept("daemonize", Kind::Bool, "no", FOREGROUND)),
    fixed(kept("supervised", Kind::Choice(&["upstart", "systemd", "auto", "no"]), "no", FOREGROUND)),
    fixed(kept("pidfile", Kind::Text, "", FOREGROUND)),
    fixed(kept("always-show-logo", Kind::Bool, "no", "No effect: there is no logo.")),
    fixed(kept("set-proc-title", Kind::Bool, "yes", "No effect: the process keeps its title.")),
    kept(
        "proc-title-template",
        Kind::Text,
        "{title} {listen-addr} {server-mode}",
        "No effect: the process keeps its title.",
    ),
    fixed(kept(
        "enable-module-command",
        Kind::Choice(super::values::Permission::NAMES),
        "no",
        "No effect: modules cannot be loaded.",
    )),
    fixed(kept("io-threads", Kind::Int(1, 128), "1", "No effect: workers says how many threads serve clients.")),
];
