//! What one client may ask for.

use super::super::field::Field as _;
use super::super::param::{Home, Kind, Lines, Param};
use super::{LONG, LONG_MAX, REQUEST_MIN};

pub(super) const ROWS: &[Param] = &[
    Param {
        name: "maxclients",
        kind: Kind::Int(1, u32::MAX as i64),
        default: "10000",
        doc: "Redis clients at once. Fewer, with a warning, where the system grants too few open files.",
        home: field!(maxclients),
        ..Param::LIMITS
    },
    Param {
        name: "http-maxclients",
        kind: Kind::Int(1, u32::MAX as i64),
        default: "8000",
        doc: "HTTP clients at once; one more is answered 503.",
        home: field!(http_maxclients),
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
              replica and pubsub; those that are not named keep their limits, and 0 means none. One reply that alone is more \
              closes nobody who goes on reading it.",
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
];
