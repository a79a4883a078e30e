//! Where clients come in, and who may.

use super::super::field::Field as _;
use super::super::param::{Change, Home, Kind, Lines, Param};
use super::super::values::{Binds, Permission, PubsubDefault};
use super::INT_MAX;

pub(super) const ROWS: &[Param] = &[
    Param {
        name: "port",
        kind: Kind::Int(0, 65535),
        default: "6379",
        doc: "Port for Redis clients. 0 picks a free one and prints it.",
        home: field!(port),
        ..Param::NETWORK
    },
    Param {
        name: "bind",
        kind: Kind::Form("addresses", |text| listed(text, 1)),
        default: "127.0.0.1",
        lines: Lines::Words,
        doc: "Addresses for Redis clients. Several are separated by spaces; one with a dash before it (-::1) may be \
              missing on this machine, and * means all of IPv4.",
        home: field!(bind),
        ..Param::NETWORK
    },
    Param {
        name: "http-port",
        kind: Kind::Int(0, 65535),
        default: "8379",
        doc: "Port for HTTP: session checks, sign-outs, /metrics. 0 picks a free one and prints it.",
        home: field!(http_port),
        ..Param::NETWORK
    },
    Param {
        name: "http-bind",
        kind: Kind::Form("addresses", |text| listed(text, 0)),
        lines: Lines::Words,
        doc: "Addresses for HTTP; empty for the same as bind.",
        home: field!(http_bind),
        ..Param::NETWORK
    },
    Param {
        name: "requirepass",
        kind: Kind::Secret,
        change: Change::Live,
        doc: "Password that Redis clients must give; empty for none.",
        home: field!(requirepass),
        ..Param::NETWORK
    },
    Param {
        name: "aclfile",
        kind: Kind::Text,
        doc: "File with the users that may log in, one line each: user alice on >password ~app:* +@all. ACL LOAD reads \
              it again, ACL SAVE writes it; empty for none.",
        home: field!(aclfile),
        ..Param::NETWORK
    },
    Param {
        name: "acl-pubsub-default",
        kind: Kind::Choice(PubsubDefault::NAMES),
        default: "resetchannels",
        change: Change::Live,
        doc: "Which channels a new user may use.",
        home: field!(acl_pubsub_default),
        ..Param::NETWORK
    },
    Param {
        name: "protected-mode",
        kind: Kind::Bool,
        default: "yes",
        change: Change::Live,
        doc: "Refuses to start without a password on addresses that others can reach.",
        home: field!(protected_mode),
        ..Param::NETWORK
    },
    Param {
        name: "enable-debug-command",
        kind: Kind::Choice(Permission::NAMES),
        default: "no",
        doc: "Who may use DEBUG: nobody, anybody, or clients on this machine.",
        home: field!(enable_debug_command),
        ..Param::NETWORK
    },
    Param {
        name: "enable-protected-configs",
        kind: Kind::Choice(Permission::NAMES),
        default: "no",
        doc: "Who may change protected settings (dir, dbfilename) with CONFIG SET.",
        home: field!(enable_protected_configs),
        ..Param::NETWORK
    },
    Param {
        name: "timeout",
        kind: Kind::Int(0, INT_MAX),
        default: "3600",
        change: Change::Live,
        doc: "Seconds after which an idle Redis client is closed; 0 for never. One that has said nothing yet has ten. \
              Subscribers, MONITOR and who waits for an element stay. With Redis' own default, 0, who takes all of \
              maxclients and says nothing keeps them.",
        home: field!(timeout),
        ..Param::NETWORK
    },
    Param {
        name: "tcp-keepalive",
        kind: Kind::Int(0, INT_MAX),
        default: "300",
        change: Change::Live,
        doc: "Seconds between TCP keep-alive probes; 0 for none.",
        home: field!(tcp_keepalive),
        ..Param::NETWORK
    },
    Param {
        name: "tcp-backlog",
        kind: Kind::Int(0, INT_MAX),
        default: "511",
        doc: "Connections the kernel may hold until they are accepted.",
        home: field!(tcp_backlog),
        ..Param::NETWORK
    },
    Param {
        name: "workers",
        kind: Kind::Int(0, 1024),
        default: "0",
        doc: "Threads that serve clients; 0 for one per core.",
        home: field!(workers),
        ..Param::NETWORK
    },
];

/// Addresses, at least so many.
fn listed(text: &str, least: usize) -> Result<String, String> {
    let binds: Binds = text.parse()?;
    if binds.0.len() < least {
        return Err("argument must be one or more IP addresses".to_owned());
    }
    Ok(binds.to_string())
}
