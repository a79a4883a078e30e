//! The table of settings: what this server acts on, and, from `compat`, what it accepts for others' sake.

use super::compat::KEPT;
use super::field::{Field as _, span};
use super::namespace::TTL_MAX;
use super::param::{Change, Group, Home, Kind, Lines, Param, show_span};
use super::values::{
    Binds, LogFormat, LogLevel, Permission, Policy, Profile, PubsubDefault, SessionError, Upstream, events, percentiles,
};
use crate::clock::Ttl;

/// Every setting there is.
pub const PARAMS: &[Param] = &ALL;

const ALL: [Param; OWN.len() + KEPT.len()] = {
    let mut all = [Param::NETWORK; OWN.len() + KEPT.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < OWN.len() { OWN[i] } else { KEPT[i - OWN.len()] };
        i += 1;
    }
    all
};

/// Redis' largest `int`, which bounds many of its settings.
pub(super) const INT_MAX: i64 = i32::MAX as i64;
/// Redis' largest `long`, which bounds its sizes.
pub(super) const LONG_MAX: u64 = i64::MAX as u64;
/// Redis lets no limit on requests go below a megabyte, so that commands of ordinary size always pass.
const REQUEST_MIN: u64 = 1 << 20;
/// Longer than an hour nobody waits for an upstream, and no answer is worth keeping without it.
const WAIT_MAX: Ttl = Ttl::seconds(3600);

/// The home of a row in a field of its own.
macro_rules! field {
    ($field:ident) => {
        Home::Field { get: |config| config.$field.show(), set: |config, text| config.$field.read(text) }
    };
}

/// The home of a row that says up to where a collection is compact.
macro_rules! compact {
    ($field:ident) => {
        Home::Field { get: |config| config.compact.$field.show(), set: |config, text| config.compact.$field.read(text) }
    };
}

const LONG: Kind = Kind::Int(0, i64::MAX);
const SIZE: Kind = Kind::Memory(0, LONG_MAX);

impl Param {
    const fn of(group: Group) -> Param {
        Param {
            name: "",
            aliases: &[],
            group,
            kind: Kind::Text,
            default: "",
            change: Change::Live,
            lines: Lines::Single,
            doc: "",
            home: Home::Kept,
        }
    }

    const NETWORK: Param = Param { change: Change::AtStart, ..Param::of(Group::Network) };
    const MEMORY: Param = Param::of(Group::Memory);
    const SESSION: Param = Param::of(Group::Session);
    const LIMITS: Param = Param::of(Group::Limits);
    const LOGGING: Param = Param::of(Group::Logging);
    pub(super) const COMPATIBILITY: Param = Param::of(Group::Compatibility);
}

const OWN: &[Param] = &[
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
        default: "0",
        change: Change::Live,
        doc: "Seconds after which an idle Redis client is closed; 0 for never.",
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
    Param {
        name: "maxmemory",
        kind: Kind::Memory(0, u64::MAX),
        default: "0",
        doc: "Bytes the data may take, such as 512mb; 0 for unlimited.",
        home: field!(maxmemory),
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
    Param {
        name: "upstream",
        kind: Kind::Form("URL", optional::<Upstream>),
        change: Change::AtStart,
        doc: "The application that is asked for sessions, such as http://127.0.0.1:3000. Empty for the store alone: \
              the application writes sessions as a Redis client.",
        home: field!(upstream),
        ..Param::SESSION
    },
    Param {
        name: "upstream-timeout",
        kind: Kind::Span(Ttl(1), WAIT_MAX),
        default: "2s",
        doc: "How long a session check may wait for the upstream.",
        home: field!(upstream_timeout),
        ..Param::SESSION
    },
    Param {
        name: "upstream-body-limit",
        kind: Kind::Memory(1024, 1 << 30),
        default: "64kb",
        doc: "Bytes of a session that are read from the upstream at most.",
        home: field!(upstream_body_limit),
        ..Param::SESSION
    },
    Param {
        name: "upstream-connections",
        kind: Kind::Int(1, 65535),
        default: "64",
        change: Change::AtStart,
        doc: "Connections to the upstream at once.",
        home: field!(upstream_connections),
        ..Param::SESSION
    },
    Param {
        name: "profile",
        kind: Kind::Choice(Profile::NAMES),
        default: "auto",
        change: Change::AtStart,
        doc: "Whose cookie names and empty answer: NextAuth v4, Auth.js v5, or as the cookies tell.",
        home: field!(profile),
        ..Param::SESSION
    },
    Param {
        name: "session-cookie",
        kind: Kind::Form("cookie name", cookie_name),
        change: Change::AtStart,
        doc: "Name of the session cookie; empty for the profile's own.",
        home: field!(session_cookie),
        ..Param::SESSION
    },
    Param {
        name: "session-prefix",
        kind: Kind::Form("text", not_empty),
        default: "auth:session:",
        change: Change::AtStart,
        doc: "What the keys of sessions begin with.",
        home: Home::Field {
            get: |config| String::from_utf8_lossy(&config.session().prefix).into_owned(),
            set: |config, text| {
                config.namespaces = config.namespaces.change_session(|session| session.prefix = text.into())?;
                Ok(())
            },
        },
        ..Param::SESSION
    },
    Param {
        name: "session-ttl",
        kind: Kind::Span(Ttl(1), TTL_MAX),
        default: "5s",
        doc: "How long a session is answered from here before the upstream is asked again.",
        home: Home::Field {
            get: |config| show_span(config.session().ttl),
            set: |config, text| {
                let ttl = span(text)?;
                config.namespaces = config.namespaces.change_session(|session| session.ttl = ttl)?;
                Ok(())
            },
        },
        ..Param::SESSION
    },
    Param {
        name: "session-stale",
        kind: Kind::Span(Ttl(0), TTL_MAX),
        default: "30s",
        doc: "How long the last good session may stand in for a failing upstream. Counted from the end of its \
              session-ttl; 0 for not at all.",
        home: field!(session_stale),
        ..Param::SESSION
    },
    Param {
        name: "session-error",
        kind: Kind::Choice(SessionError::NAMES),
        default: "empty",
        doc: "What is answered when the upstream fails and no good session is left. empty is an empty session, pass \
              is the upstream's failure.",
        home: field!(session_error),
        ..Param::SESSION
    },
    Param {
        name: "session-revoke",
        kind: Kind::Bool,
        default: "yes",
        doc: "Whether a signed-out token stays dead until it would have expired.",
        home: field!(session_revoke),
        ..Param::SESSION
    },
    // After the two settings that are parts of it: a rewritten file then names it only when they do not suffice.
    Param {
        name: "namespace",
        kind: Kind::Form("namespaces", |text| Ok(text.to_owned())),
        default: "SESSION prefix=auth:session: ttl=5s secret=yes fence=yes login=no jitter=0 \
                  USER_PROFILE prefix=user: ttl=300s secret=no fence=no login=no jitter=0 \
                  DASHBOARD prefix=dash: ttl=60s secret=no fence=no login=no jitter=0 \
                  LOGIN prefix=sess: ttl=86400s secret=no fence=no login=yes jitter=0",
        change: Change::AtStart,
        lines: Lines::Add,
        doc: "A named part of the key space: NAME prefix=user: ttl=300s secret fence login jitter=0.1. Its keys begin \
              with the prefix; secret hides the rest of the key, fence refuses late writes after a removal, login says \
              that people stay signed in only as long as these entries live (they are evicted last; SESSION is so \
              marked where no upstream is named), jitter shortens TTLs at random by up to that share. Several lines add up, and naming one again changes what is written; \
              in TOML a namespace is a table: [namespace.NAME].",
        home: field!(namespaces),
        ..Param::SESSION
    },
    Param {
        name: "maxclients",
        kind: Kind::Int(1, u32::MAX as i64),
        default: "10000",
        doc: "Redis clients at once.",
        home: field!(maxclients),
        ..Param::LIMITS
    },
    Param {
        name: "proto-max-bulk-len",
        kind: Kind::Memory(REQUEST_MIN, LONG_MAX),
        default: "512mb",
        doc: "Bytes of one argument or string value.",
        home: field!(proto_max_bulk_len),
        ..Param::LIMITS
    },
    Param {
        name: "client-query-buffer-limit",
        kind: Kind::Memory(REQUEST_MIN, LONG_MAX),
        default: "1gb",
        doc: "Bytes of one request.",
        home: field!(client_query_buffer_limit),
        ..Param::LIMITS
    },
    Param {
        name: "client-output-buffer-limit",
        kind: Kind::Form("limits", |text| Ok(text.to_owned())),
        default: "normal 32mb 8mb 60 replica 256mb 64mb 60 pubsub 32mb 8mb 60",
        lines: Lines::Words,
        doc: "Unread output that closes a client: class, bytes at once, bytes for so many seconds. Classes are normal, \
              replica and pubsub; those that are not named keep their limits, and 0 means none.",
        home: field!(client_output_buffer_limit),
        ..Param::LIMITS
    },
    Param {
        name: "busy-reply-threshold",
        aliases: &["lua-time-limit"],
        kind: LONG,
        default: "5000",
        doc: "Milliseconds after which a script is too long: others hear BUSY, and SCRIPT KILL ends it. 0 for never.",
        home: field!(busy_reply_threshold),
        ..Param::LIMITS
    },
    Param {
        name: "loglevel",
        aliases: &["log-level"],
        kind: Kind::Choice(LogLevel::NAMES),
        default: "notice",
        doc: "How much is logged.",
        home: field!(loglevel),
        ..Param::LOGGING
    },
    Param {
        name: "logfile",
        kind: Kind::Text,
        change: Change::AtStart,
        doc: "File that is logged to; empty for standard error.",
        home: field!(logfile),
        ..Param::LOGGING
    },
    Param {
        name: "log-format",
        kind: Kind::Choice(LogFormat::NAMES),
        default: "text",
        change: Change::AtStart,
        doc: "Log lines for people, or one JSON object each.",
        home: field!(log_format),
        ..Param::LOGGING
    },
    Param {
        name: "metrics",
        kind: Kind::Bool,
        default: "yes",
        change: Change::AtStart,
        doc: "Whether HTTP answers /metrics for Prometheus.",
        home: field!(metrics),
        ..Param::LOGGING
    },
    Param {
        name: "slowlog-log-slower-than",
        kind: Kind::Int(-1, i64::MAX),
        default: "10000",
        doc: "Microseconds from which a command enters SLOWLOG; 0 for all, -1 for none.",
        home: field!(slowlog_log_slower_than),
        ..Param::LOGGING
    },
    Param {
        name: "slowlog-max-len",
        kind: Kind::Int(0, i64::MAX),
        default: "128",
        doc: "Commands SLOWLOG keeps.",
        home: field!(slowlog_max_len),
        ..Param::LOGGING
    },
    Param {
        name: "acllog-max-len",
        kind: Kind::Int(0, i64::MAX),
        default: "128",
        doc: "Denied requests ACL LOG keeps.",
        home: field!(acllog_max_len),
        ..Param::LOGGING
    },
    Param {
        name: "latency-monitor-threshold",
        kind: Kind::Int(0, i64::MAX),
        default: "0",
        doc: "Milliseconds from which LATENCY keeps an event; 0 for off.",
        home: field!(latency_monitor_threshold),
        ..Param::LOGGING
    },
    Param {
        name: "latency-tracking",
        kind: Kind::Bool,
        default: "yes",
        doc: "Whether INFO latencystats shows how long commands took.",
        home: field!(latency_tracking),
        ..Param::LOGGING
    },
    Param {
        name: "latency-tracking-info-percentiles",
        kind: Kind::Form("percentiles", percentiles),
        default: "50 99 99.9",
        lines: Lines::Words,
        doc: "What INFO latencystats shows: the time that so many percent of the calls stayed below.",
        home: field!(latency_percentiles),
        ..Param::LOGGING
    },
    Param {
        name: "notify-keyspace-events",
        kind: Kind::Form("letters", events),
        doc: "Which events of keys are published, as Redis' letters; empty for none. K and E choose the channels, the \
              others the events; those of streams (t) and modules (d) never happen. A key of a secret namespace is \
              named by its hash.",
        home: field!(notify_keyspace_events),
        ..Param::LOGGING
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

fn optional<T: std::str::FromStr<Err = String> + ToString>(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { text.parse().map(|value: T| value.to_string()) }
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("argument must not be empty".to_owned()) } else { Kind::Text.read(text) }
}

/// A cookie's name as RFC 6265 has it: a token.
fn cookie_name(text: &str) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.bytes().all(token) {
        return Err("argument must be the name of a cookie: letters, digits, '-', '_', '.'".to_owned());
    }
    Ok(text.to_owned())
}
