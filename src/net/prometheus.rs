//! The text of `/metrics`, in Prometheus' exposition format 0.0.4 or in that of OpenMetrics 1.0, for who asks for it.

use std::fmt::Write;

use super::figures::{Figure, Value, bounds, figures, seconds};
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

/// All figures of the engine.
pub fn text(engine: &Engine, form: Exposition) -> String {
    let mut out = String::with_capacity(8 * 1024);
    for figure in figures(engine) {
        write(&mut out, form, &figure);
    }
    if form == Exposition::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn write(out: &mut String, form: Exposition, figure: &Figure) {
    let (name, kind) = (&figure.name, figure.value.kind());
    let family = match form {
        Exposition::Prometheus => name,
        Exposition::OpenMetrics => figure.family(),
    };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP {family} {}.\n# TYPE {family} {kind}", figure.help);
    if form == Exposition::OpenMetrics
        && let Some(unit) = figure.unit()
    {
        let _ = writeln!(out, "# UNIT {family} {unit}");
    }
    match &figure.value {
        Value::Gauge(value) | Value::Counter(value) => {
            let _ = writeln!(out, "{name} {value}");
        }
        Value::Histogram(steps, micros) => {
            for (bound, count) in bounds().zip(steps.iter()) {
                let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}");
            }
            let (count, sum) = (steps[STEPS - 1], seconds(*micros));
            let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
        }
    }
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
            for (name, help, value) in
                [("x_bytes_total", "Bytes", Value::Counter(7)), ("x_keys", "Keys", Value::Gauge(1))]
            {
                write(&mut out, form, &Figure { name: name.to_owned(), help, value });
            }
            out
        };
        let keys = "# HELP x_keys Keys.\n# TYPE x_keys gauge\nx_keys 1\n";
        let plain = "# HELP x_bytes_total Bytes.\n# TYPE x_bytes_total counter\nx_bytes_total 7\n";
        assert_eq!(of(Exposition::Prometheus), format!("{plain}{keys}"));
        let open = "# HELP x_bytes Bytes.\n# TYPE x_bytes counter\n# UNIT x_bytes bytes\nx_bytes_total 7\n";
        assert_eq!(of(Exposition::OpenMetrics), format!("{open}{keys}"));
    }
}
