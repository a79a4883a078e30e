//! Colours and figures as people read them. Colour is there on a terminal alone, and not where `NO_COLOR` is set.

use std::io::IsTerminal;
use std::time::Duration;

use crate::metrics::{STEPS, Short};

/// Whether to colour.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// As standard output wants it.
    pub fn stdout() -> Paint {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint(std::io::stdout().is_terminal() && !is_unwanted)
    }

    /// In this colour of ANSI's, or bold.
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// A whole number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Bytes with their unit.
pub(super) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{value} {unit}") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TB")
}

/// A length of time in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let mut left = seconds;
    let parts = units[first..].iter().take(2).map(|(unit, name)| {
        let whole = left / unit;
        left %= unit;
        format!("{whole} {name}")
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// A share in percent; nothing of nothing is a dash.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

/// Within how long this share of what a cumulative distribution in doubling microseconds counts was done.
pub(super) fn within(steps: &[u64; STEPS], share: f64) -> String {
    let total = steps[STEPS - 1];
    if total == 0 {
        return "–".to_owned();
    }
    let rank = (total as f64 * share).ceil() as u64;
    match steps[..STEPS - 1].iter().position(|count| *count >= rank) {
        Some(step) => format!("≤ {}", Short(Duration::from_micros(1 << step))),
        None => "> 4 s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_people() {
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1 234", "1 234 567"]);
        assert_eq!([bytes(7), bytes(1536), bytes(5 << 30)], ["7 B", "1.5 KB", "5.0 GB"]);
        assert_eq!([span(0), span(61), span(90_000)], ["0 s", "1 min 1 s", "1 d 1 h"]);
        assert_eq!([share(1, 3), share(0, 0)], ["33.3 %", "–"]);
        let mut steps = [0; STEPS];
        assert_eq!(within(&steps, 0.5), "–");
        steps[3..].fill(99);
        steps[STEPS - 1] = 100;
        assert_eq!([within(&steps, 0.99), within(&steps, 1.0)], ["≤ 8.00 µs", "> 4 s"]);
        assert_eq!(Paint(false).red("x"), "x");
        assert_eq!(Paint(true).red("x"), "\x1b[31mx\x1b[0m");
    }
}
