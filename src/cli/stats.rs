//! `cloakroom stats`: what a running server has done so far, on one page.

use std::process::ExitCode;

use clap::ArgMatches;

use super::figures::{Figures, Source};
use super::paint::{Paint, bytes, count, share, span, within};
use super::{Done, Row, Way, json, plain, say, target};

pub(super) const ROW: Row = Row {
    name: "stats",
    about: "Prints what a running server has done so far",
    more: "The figures are those of the live page, which are for operators: a server with an admin-token is shown it by \
           CLOAKROOM_ADMIN_TOKEN.",
    way: Way::Own(|command| json(target::arguments(command)), stats),
};

fn stats(matches: &ArgMatches) -> Done {
    let source = Source::of(matches)?;
    let figures = source.read()?;
    match matches.get_flag("json") {
        true => say(&format!("{:#}\n", figures.0))?,
        false => say(&summary(&figures, &source.place(), Paint::stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The page.
pub(super) fn summary(figures: &Figures, place: &str, paint: Paint) -> String {
    let number = |name| count(figures.number(name));
    let sessions = |name| count(figures.sessions(&[name]));
    let (hits, asked) = figures.hit_ratio();
    let maxmemory = match figures.number("maxmemory") {
        0 => "without a limit".to_owned(),
        most => format!("of {}", bytes(most)),
    };
    let behind = match figures.text("source") {
        "" => String::new(),
        source => format!(", in front of {}", plain(source)),
    };
    let (version, up) = (plain(figures.text("version")), span(figures.number("uptime_seconds")));
    let (took, late) = (figures.steps("check_micros"), figures.steps("lag_micros"));
    let mut out = format!("{}\n", paint.bold(&format!("cloakroom {version} at {place}, up {up}{behind}")));
    for (title, says) in [
        ("sessions", format!("{} checked, hit ratio {}", count(figures.checks()), share(hits, asked))),
        (
            "calls",
            format!(
                "{} saved, {} made, {} failed, {} 429s averted",
                count(figures.saved()),
                sessions("source_calls"),
                sessions("source_failures"),
                sessions("limited_averted")
            ),
        ),
        ("sign-outs", format!("{}, {} cleared", sessions("sign_outs"), sessions("cleared"))),
        ("a check", format!("p50 {}, p99 {}", within(&took, 0.5), within(&took, 0.99))),
        ("memory", format!("{} {maxmemory}", bytes(figures.number("used_memory")))),
        ("keys", format!("{}, {} expired, {} evicted", number("keys"), number("expired"), number("evicted"))),
        ("expiry lag", format!("p50 {}, p99 {}", within(&late, 0.5), within(&late, 0.99))),
        ("clients", format!("{} over RESP", number("clients"))),
        (
            "requests",
            format!(
                "{} commands, {} over HTTP, {} errors",
                number("commands"),
                number("http_requests"),
                number("errors")
            ),
        ),
    ] {
        out.push_str(&format!("  {title:<11} {says}\n"));
    }
    out
}
