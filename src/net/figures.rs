//! What the server counts, as rows from which `/metrics` is written, and what is sent by OTLP.

use crate::engine::Engine;
use crate::metrics::STEPS;

/// A figure as it is now.
pub struct Figure {
    /// As Prometheus calls it: a counter ends in `_total`, and what has a unit names it.
    pub name: String,
    /// What it says, without a full stop.
    pub help: &'static str,
    pub value: Value,
}

/// What a figure is, and how much.
pub enum Value {
    /// What goes up and down.
    Gauge(u64),
    /// What goes up, until it starts anew.
    Counter(u64),
    /// How many took at most so long as [`bounds`] says, each with those before it, the last with all; and the microseconds
    /// that they took together.
    Histogram(Box<[u64; STEPS]>, u64),
}

impl Value {
    /// Prometheus' word for what it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Gauge(_) => "gauge",
            Value::Counter(_) => "counter",
            Value::Histogram(..) => "histogram",
        }
    }
}

impl Figure {
    /// The name without a counter's ending.
    pub fn family(&self) -> &str {
        self.name.strip_suffix("_total").unwrap_or(&self.name)
    }

    /// The unit that its name ends in.
    pub fn unit(&self) -> Option<&'static str> {
        let (_, last) = self.family().rsplit_once('_')?;
        ["seconds", "bytes"].into_iter().find(|unit| *unit == last)
    }
}

/// The bounds of a histogram in seconds, but for the last step, which has none.
pub fn bounds() -> impl Iterator<Item = f64> {
    (0..STEPS - 1).map(|step| seconds(1 << step))
}

/// Microseconds in seconds.
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Everything the engine counts, and the sections that others have added.
pub fn figures(engine: &Engine) -> Vec<Figure> {
    use Value::{Counter, Gauge};
    let sums = engine.metrics.sums();
    let now = engine.clock.now();
    let (keys, seen) = engine.keyspace_totals();
    let rows = [
        ("uptime_seconds", "Seconds since the server started", Gauge(now.since(engine.started).0 / 1000)),
        ("used_memory_bytes", "Bytes of entries, tables and reminders", Gauge(engine.used_memory())),
        ("keys", "Entries in all databases", Gauge(keys)),
        ("connected_clients", "Clients of the RESP door", Gauge(engine.clients.len() as u64)),
        ("keyspace_hits_total", "Reads that found something", Counter(seen.hits)),
        ("keyspace_misses_total", "Reads that found nothing", Counter(seen.misses)),
        ("expired_keys_total", "Entries that died of time", Counter(seen.expired)),
        ("evicted_keys_total", "Entries that died of memory", Counter(seen.evicted)),
        ("commands_total", "Commands that were processed", Counter(sums.commands)),
        ("error_replies_total", "Error replies", Counter(sums.errors)),
        ("connections_total", "Clients that were accepted on the RESP door", Counter(sums.connections)),
        ("rejected_connections_total", "Clients refused for maxclients", Counter(sums.rejected_connections)),
        ("auth_failures_total", "Wrong passwords and tokens of doors", Counter(sums.auth_failures)),
        ("auth_delayed_total", "Passwords and tokens not looked at, after too many", Counter(sums.delayed_logins)),
        ("input_bytes_total", "Bytes read from RESP clients", Counter(sums.input_bytes)),
        ("output_bytes_total", "Bytes written to RESP clients", Counter(sums.output_bytes)),
        ("http_connections_total", "HTTP clients that were accepted", Counter(sums.http_connections)),
        ("http_requests_total", "HTTP requests that were answered", Counter(sums.http_requests)),
        ("panics_total", "Handlers that panicked; each cost its client", Counter(sums.panics)),
    ];
    let (checks, lags) = (engine.metrics.checks(), engine.metrics.lags());
    let histograms = [
        ("session_check_duration_seconds", "Session checks over HTTP by how long they took", checks),
        ("expiry_lag_seconds", "How late after its deadline the oldest of what had died was reclaimed", lags),
    ]
    .map(|(name, help, (steps, micros))| (name, help, Value::Histogram(Box::new(steps), micros)));
    let figure = |(name, help, value)| Figure { name: format!("cloakroom_{name}"), help, value };
    let mut all: Vec<Figure> = rows.into_iter().chain(histograms).map(figure).collect();
    for (section, rows) in engine.reports() {
        let section = section.to_ascii_lowercase();
        all.extend(rows.into_iter().map(|(name, help, value)| Figure {
            name: format!("cloakroom_{section}_{name}_total"),
            help,
            value: Counter(value),
        }));
    }
    all
}
