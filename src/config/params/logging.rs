//! What is logged, counted and told.

use super::super::field::Field as _;
use super::super::param::{Change, Home, Kind, Lines, Param};
use super::super::values::{LogFormat, LogLevel, Upstream, events, percentiles};
use super::super::{OtlpAttributes, OtlpHeaders};
use super::optional;
use crate::clock::Ttl;

/// Figures that change faster nobody draws, and each time all of them are sent.
const INTERVAL_MIN: Ttl = Ttl(100);

/// A day: who wants figures more seldom wants none.
const INTERVAL_MAX: Ttl = Ttl::seconds(24 * 60 * 60);

pub(super) const ROWS: &[Param] = &[
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
        name: "otlp-endpoint",
        kind: Kind::Form("URL", optional::<Upstream>),
        change: Change::AtStart,
        doc: "OpenTelemetry collector that metrics and traces are sent to, as http://127.0.0.1:4318. By OTLP over HTTP, in \
              JSON; empty for none. Metrics are what /metrics has; traces are those of session checks that come with a \
              traceparent which says that they are recorded.",
        home: field!(otlp.endpoint),
        ..Param::LOGGING
    },
    Param {
        name: "otlp-headers",
        kind: Kind::SecretForm("key=value,...", optional::<OtlpHeaders>),
        doc: "Headers that go to otlp-endpoint with everything, as api-key=secret,x-team=shop. The form is that of \
              OTEL_EXPORTER_OTLP_HEADERS: a comma in a value is %2C, a percent sign %25. They are shown as little as a \
              password; what is sent next has the new ones.",
        home: field!(otlp.headers),
        ..Param::LOGGING
    },
    Param {
        name: "otlp-interval",
        kind: Kind::Span(INTERVAL_MIN, INTERVAL_MAX),
        default: "60s",
        change: Change::AtStart,
        doc: "How often metrics are sent to otlp-endpoint. Traces are sent every five seconds, or as often if that is oftener.",
        home: field!(otlp.interval),
        ..Param::LOGGING
    },
    Param {
        name: "otlp-resource-attributes",
        kind: Kind::Form("key=value,...", optional::<OtlpAttributes>),
        change: Change::AtStart,
        doc: "What is told of this server to otlp-endpoint, as deployment.environment.name=staging. The form is that of \
              OTEL_RESOURCE_ATTRIBUTES: commas between, and a comma in a value is %2C, a percent sign %25. service.name is \
              cloakroom, and service.instance.id drawn at each start, where they are not named.",
        home: field!(otlp.attributes),
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
