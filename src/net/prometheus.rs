//! The text of `/metrics`, in Prometheus' exposition format 0.0.4 or in that of OpenMetrics 1.0, for who asks for it.

use std::fmt::Write;

use crate::engine::Engine;
use crate::metrics::STEPS;

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' own, which anything reads.
    Prometheus,
    /// OpenMetrics: with units and an end, and counters named without their ending.
    OpenMetrics,
}

impl Exposition {
    /// What is wanted by an `Accept` header: OpenMetrics where it is named and nothing else is liked better.
    pub fn accepted(accept: &str) -> Exposition {
        let liked = |kind: &str| {
            let mut parts = accept.split(',').map(|part| part.split(';').map(str::trim));
            let mut rest = parts.find_map(|mut part| part.next()?.eq_ignore_ascii_case(kind).then_some(part))?;
            let liking = rest.find_map(|word| word.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f64>().ok());
            liking.filter(|liking| *liking > 0.0)
        };
        match (liked("application/openmetrics-text"), liked("text/plain")) {
            (Some(one), Some(other)) if one < other => Exposition::Prometheus,
            (Some(_), _) => Exposition::OpenMetrics,
            (None, _) => Exposition::Prometheus,
        }
    }

    /// The `Content-Type` of such a text.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything the engine counts, and the sections that others have added.
pub fn text(engine: &Engine, form: Exposition) -> String {
    let sums = engine.metrics.sums();
    let now = engine.clock.now();
    let (keys, seen) = engine.keyspace_totals();
    let mut out = String::with_capacity(8 * 1024);
    for (name, kind, help, value) in [
        ("uptime_seconds", "gauge", "Seconds since the server started", now.since(engine.started).0 / 1000),
        ("used_memory_bytes", "gauge", "Bytes of entries, tables and reminders", engine.used_memory()),
        ("keys", "gauge", "Entries in all databases", keys),
        ("connected_clients", "gauge", "Clients of the RESP door", engine.clients.len() as u64),
        ("keyspace_hits_total", "counter", "Reads that found something", seen.hits),
        ("keyspace_misses_total", "counter", "Reads that found nothing", seen.misses),
        ("expired_keys_total", "counter", "Entries that died of time", seen.expired),
        ("evicted_keys_total", "counter", "Entries that died of memory", seen.evicted),
        ("commands_total", "counter", "Commands that were processed", sums.commands),
        ("error_replies_total", "counter", "Error replies", sums.errors),
        ("connections_total", "counter", "Clients that were accepted on the RESP door", sums.connections),
        ("rejected_connections_total", "counter", "Clients refused for maxclients", sums.rejected_connections),
        ("auth_failures_total", "counter", "Wrong passwords and tokens of doors", sums.auth_failures),
        ("auth_delayed_total", "counter", "Passwords and tokens not looked at, after too many", sums.delayed_logins),
        ("input_bytes_total", "counter", "Bytes read from RESP clients", sums.input_bytes),
        ("output_bytes_total", "counter", "Bytes written to RESP clients", sums.output_bytes),
        ("http_connections_total", "counter", "HTTP clients that were accepted", sums.http_connections),
        ("http_requests_total", "counter", "HTTP requests that were answered", sums.http_requests),
        ("panics_total", "counter", "Handlers that panicked; each cost its client", sums.panics),
    ] {
        row(&mut out, form, &format!("cloakroom_{name}"), kind, help, value);
    }
    let (checks, lags) = (engine.metrics.checks(), engine.metrics.lags());
    let help = "Session checks over HTTP by how long they took";
    histogram(&mut out, form, "cloakroom_session_check_duration_seconds", help, &checks.0, checks.1);
    let help = "How late after its deadline the oldest of what had died was reclaimed";
    histogram(&mut out, form, "cloakroom_expiry_lag_seconds", help, &lags.0, lags.1);
    for (section, rows) in engine.reports() {
        let section = section.to_ascii_lowercase();
        for (name, help, value) in rows {
            row(&mut out, form, &format!("cloakroom_{section}_{name}_total"), "counter", help, value);
        }
    }
    if form == Exposition::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// Says what the figures under a name are.
fn describe(out: &mut String, form: Exposition, name: &str, kind: &str, help: &str) {
    let family = match form {
        Exposition::Prometheus => name,
        Exposition::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
    };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP {family} {help}.\n# TYPE {family} {kind}");
    if form == Exposition::OpenMetrics
        && let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| family.ends_with(&format!("_{unit}")))
    {
        let _ = writeln!(out, "# UNIT {family} {unit}");
    }
}

/// Steps of a doubling number of microseconds, the last one open.
fn histogram(out: &mut String, form: Exposition, name: &str, help: &str, steps: &[u64; STEPS], micros: u64) {
    describe(out, form, name, "histogram", help);
    for (step, count) in steps[..STEPS - 1].iter().enumerate() {
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {count}", seconds(1 << step));
    }
    let count = steps[STEPS - 1];
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {}\n{name}_count {count}", seconds(micros));
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn row(out: &mut String, form: Exposition, name: &str, kind: &str, help: &str, value: u64) {
    describe(out, form, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_who_names_it_and_likes_nothing_better() {
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, form) in [
            (scraper, Exposition::OpenMetrics),
            ("application/openmetrics-text", Exposition::OpenMetrics),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.5", Exposition::Prometheus),
            ("application/openmetrics-text;q=0", Exposition::Prometheus),
            ("*/*", Exposition::Prometheus),
            ("", Exposition::Prometheus),
        ] {
            assert_eq!(Exposition::accepted(accept), form, "{accept}");
        }
    }

    #[test]
    fn what_is_counted_is_described_in_the_words_of_each_form() {
        let of = |form| {
            let mut out = String::new();
            row(&mut out, form, "x_bytes_total", "counter", "Bytes", 7);
            row(&mut out, form, "x_keys", "gauge", "Keys", 1);
            out
        };
        let keys = "# HELP x_keys Keys.\n# TYPE x_keys gauge\nx_keys 1\n";
        let plain = "# HELP x_bytes_total Bytes.\n# TYPE x_bytes_total counter\nx_bytes_total 7\n";
        assert_eq!(of(Exposition::Prometheus), format!("{plain}{keys}"));
        let open = "# HELP x_bytes Bytes.\n# TYPE x_bytes counter\n# UNIT x_bytes bytes\nx_bytes_total 7\n";
        assert_eq!(of(Exposition::OpenMetrics), format!("{open}{keys}"));
    }
}
