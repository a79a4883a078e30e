//! The text of `/metrics`, in Prometheus' exposition format 0.0.4.

use std::fmt::Write;

use crate::engine::Engine;
use crate::metrics::STEPS;

/// Everything the engine counts, and the sections that others have added.
pub fn text(engine: &Engine) -> String {
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
        row(&mut out, &format!("cloakroom_{name}"), kind, help, value);
    }
    let (checks, lags) = (engine.metrics.checks(), engine.metrics.lags());
    let help = "Session checks over HTTP by how long they took";
    histogram(&mut out, "cloakroom_session_check_duration_seconds", help, &checks.0, checks.1);
    let help = "How late after its deadline the oldest of what had died was reclaimed";
    histogram(&mut out, "cloakroom_expiry_lag_seconds", help, &lags.0, lags.1);
    for (section, rows) in engine.reports() {
        let section = section.to_ascii_lowercase();
        for (name, help, value) in rows {
            row(&mut out, &format!("cloakroom_{section}_{name}_total"), "counter", help, value);
        }
    }
    out
}

/// Steps of a doubling number of microseconds, the last one open.
fn histogram(out: &mut String, name: &str, help: &str, steps: &[u64; STEPS], micros: u64) {
    let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} histogram");
    for (step, count) in steps[..STEPS - 1].iter().enumerate() {
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {count}", seconds(1 << step));
    }
    let count = steps[STEPS - 1];
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {}\n{name}_count {count}", seconds(micros));
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn row(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name} {value}");
}
