//! `cloakroom bench`: load for a running server, or for one that is started here for it, and how long answers took.

mod load;
mod own;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use self::load::{Kind, Load, Outcome};
use super::paint::{Paint, count};
use super::target::Server;
use super::{Done, Problem, Row, Way, json, say, target};
use crate::config::BASE_PATH;
use crate::metrics::Short;
use crate::net::client::{Address, Place, Site};

/// Columns of a bar.
const BAR: usize = 40;

pub(super) const ROW: Row = Row {
    name: "bench",
    about: "Measures a running server, or one started for it",
    more: "Without --url and --redis a server is started in this process for as long as it takes, which shares the machine's \
           cores with the load. --url measures session checks: of the token on standard input (--token -), of sessions that \
           are put there over --redis, or else of visitors without a cookie, which never reach the application. --redis \
           measures GET and SET on keys that begin with cloakroom:bench: and die by themselves soon after.",
    way: Way::Own(arguments, bench),
};

fn arguments(command: Command) -> Command {
    let number = |name: &'static str, value: &'static str, default: &'static str, most: u64| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .default_value(default)
            .value_parser(value_parser!(u64).range(1..=most))
    };
    let command =
        target::trusted(command)
            .arg(
                Arg::new("url")
                    .long("url")
                    .value_name("URL")
                    .help("Measures session checks at this HTTP port: http://, https:// or unix:///path."),
            )
            .arg(Arg::new("redis").long("redis").value_name("URL").help(
                "Measures GET and SET at redis:// or rediss://[user:password@]host[:port][/database], or \
                         unix:///path[?db=database].",
            ))
            .arg(
                Arg::new("token").long("token").value_name("-").value_parser(["-"]).requires("url").help(
                    "Checks the session of the token on standard input, with next-auth.session-token as its cookie.",
                ),
            )
            .arg(number("clients", "N", "50", 10_000).help("Connections."))
            .arg(number("pipeline", "N", "1", 1000).help("Requests that are sent at once on a connection."))
            .arg(number("seconds", "S", "5", 3600).help("How long each kind of load lasts."))
            .arg(number("size", "BYTES", "256", 1 << 20).help("Bytes of a value."))
            .arg(
                Arg::new("ratio")
                    .long("ratio")
                    .value_name("GET:SET")
                    .default_value("10:1")
                    .help("How many GETs for how many SETs; one of them may be 0."),
            );
    json(command)
}

/// What is measured where.
struct Plan {
    url: Option<Site>,
    /// Where sessions are there.
    path: String,
    redis: Option<Address>,
    cookie: Option<String>,
    /// A server that ends with the plan.
    _own: Option<own::Own>,
}

impl Plan {
    fn of(matches: &ArgMatches) -> Result<Plan, Problem> {
        let redis = target::redis(matches)?;
        let server = target::text(matches, "url").map(|_| Server::of(matches)).transpose()?;
        let base = server.as_ref().map_or(BASE_PATH, |server| &server.config.base_path);
        let (path, url) = (format!("{base}/session"), server.map(|server| server.url));
        let cookie = match target::text(matches, "token") {
            Some(_) => {
                let mut line = String::new();
                let read = std::io::stdin().read_line(&mut line);
                read.map_err(|_| Problem::wrong("--token -: standard input is no text"))?;
                let token = line.trim();
                if token.is_empty() || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
                    return Err(Problem::wrong("--token -: a token is wanted on standard input"));
                }
                Some(if token.contains("session-token=") { token.to_owned() } else { load::cookie(token) })
            }
            None => None,
        };
        if url.is_some() || redis.is_some() {
            return Ok(Plan { url, path, redis, cookie, _own: None });
        }
        let own = own::Own::start().map_err(Problem::failed)?;
        let place = Place::Tcp { host: own.http.ip().to_string(), port: own.http.port(), tls: None };
        let url = Site { place, base: String::new() };
        let redis = Address::own(own.resp.port(), String::new());
        Ok(Plan { url: Some(url), path, redis: Some(redis), cookie, _own: Some(own) })
    }
}

fn bench(matches: &ArgMatches) -> Done {
    let number = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or(1);
    let ratio = ratio(target::text(matches, "ratio").unwrap_or_default())?;
    let plan = Plan::of(matches)?;
    let load = Load {
        clients: number("clients") as usize,
        pipeline: number("pipeline") as usize,
        duration: Duration::from_secs(number("seconds")),
        size: number("size") as usize,
    };
    let mut kinds = Vec::new();
    if let Some(url) = &plan.url {
        let cookies = match (&plan.cookie, &plan.redis) {
            (Some(cookie), _) => vec![cookie.clone()],
            (None, Some(redis)) => load::put_sessions(redis, &load).map_err(Problem::failed)?,
            (None, None) => Vec::new(),
        };
        kinds.push(Kind::Checks { to: url.clone(), path: plan.path.clone(), cookies });
    }
    kinds.extend(plan.redis.as_ref().map(|redis| Kind::Commands { to: redis.clone(), ratio }));
    let (is_json, paint) = (matches.get_flag("json"), Paint::stdout());
    let mut all = Vec::new();
    let mut told = Ok(());
    for kind in &kinds {
        let outcome = with_bar(&load, kind)?;
        match is_json {
            true => all.push(as_json(kind, &load, &outcome)),
            false => told = say(&shown(kind, &load, &outcome, paint)),
        }
        if told.is_err() {
            break;
        }
    }
    if let Some(redis) = &plan.redis {
        load::clear(redis);
    }
    told?;
    if is_json {
        say(&format!("{:#}\n", Value::Array(all)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ratio(text: &str) -> Result<(u32, u32), Problem> {
    let parts = text.split_once(':').and_then(|(get, set)| Some((get.parse::<u16>().ok()?, set.parse::<u16>().ok()?)));
    match parts {
        Some((get, set)) if get > 0 || set > 0 => Ok((get.into(), set.into())),
        _ => Err(Problem::wrong("--ratio: GETs and SETs are two numbers, such as 10:1")),
    }
}

/// Runs a load, with a bar on a terminal.
fn with_bar(load: &Load, kind: &Kind) -> Result<Outcome, Problem> {
    let millis = load.duration.as_millis() as u64;
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::with_draw_target(Some(millis), ProgressDrawTarget::stderr()),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(kind.name());
    let outcome = load.run(kind, |elapsed, done| {
        bar.set_position(elapsed.as_millis() as u64);
        let rate = done.load(Ordering::Relaxed) as f64 / elapsed.as_secs_f64().max(0.001);
        bar.set_message(format!("{} {}/s", kind.name(), count(rate as u64)));
    });
    bar.finish_and_clear();
    outcome.map_err(Problem::failed)
}

const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

fn as_json(kind: &Kind, load: &Load, outcome: &Outcome) -> Value {
    let micros = |time: Duration| (time.as_nanos() as f64 / 1e3 * 10.0).round() / 10.0;
    let mut latency: serde_json::Map<String, Value> =
        SHARES.iter().map(|(name, share)| ((*name).to_owned(), micros(outcome.latency.at(*share)).into())).collect();
    latency.insert("max".to_owned(), micros(outcome.latency.max()).into());
    json!({
        "load": kind.name(),
        "clients": load.clients,
        "pipeline": load.pipeline,
        "seconds": outcome.elapsed.as_secs_f64(),
        "operations": outcome.operations,
        "per_second": outcome.rate().round() as u64,
        "errors": outcome.errors,
        "latency_micros": latency,
    })
}

fn shown(kind: &Kind, load: &Load, outcome: &Outcome, paint: Paint) -> String {
    let Load { clients, pipeline, .. } = load;
    let seconds = outcome.elapsed.as_secs_f64();
    let mut out = format!(
        "{}\n",
        paint.bold(&format!("{}, {clients} clients, pipeline {pipeline}, {seconds:.1} s", kind.name()))
    );
    out.push_str(&format!("  {} in a second, {} in all", count(outcome.rate() as u64), count(outcome.operations)));
    if outcome.errors > 0 {
        let first = outcome.first_error.as_deref().unwrap_or_default();
        out.push_str(&paint.red(&format!(", {} errors, such as {first}", count(outcome.errors))));
    }
    out.push_str("\n  ");
    for (name, share) in SHARES {
        out.push_str(&format!("{name} {}  ", Short(outcome.latency.at(share))));
    }
    out.push_str(&format!("max {}\n", Short(outcome.latency.max())));
    out.push_str(&bars(outcome));
    out
}

/// A bar for each doubling of the time that was taken, the first and last empty ones left out.
fn bars(outcome: &Outcome) -> String {
    let edge = |step: u32| Duration::from_nanos(1000 << step);
    let counts: Vec<(Duration, u64)> = (0..32)
        .map(|step| {
            (edge(step), outcome.latency.between(if step == 0 { Duration::ZERO } else { edge(step - 1) }, edge(step)))
        })
        .collect();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let first = counts.iter().position(|(_, count)| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|(_, count)| *count > 0).map_or(0, |last| last + 1);
    let mut out = String::new();
    for (edge, number) in counts.get(first..last).unwrap_or_default() {
        // In eighths of a column, and something for whatever there is.
        let eighths = (*number as u128 * (BAR * 8) as u128).div_ceil(u128::from(most)) as usize;
        let part = [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8].trim();
        let bar = format!("{}{part}", "█".repeat(eighths / 8));
        out.push_str(&format!("  {:>10} {bar:<BAR$} {}\n", format!("≤ {}", Short(*edge)), count(*number)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn a_histogram_has_a_bar_for_each_doubling() {
        let mut latency = Histogram::new();
        (0..80).for_each(|_| latency.record(Duration::from_micros(30)));
        (0..20).for_each(|_| latency.record(Duration::from_micros(100)));
        let outcome =
            Outcome { operations: 100, errors: 0, first_error: None, elapsed: Duration::from_secs(1), latency };
        let text = bars(&outcome);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].contains("≤ 32.0") && lines[0].contains(&"█".repeat(BAR)) && lines[0].ends_with(" 80"),
            "{text}"
        );
        assert!(lines[1].ends_with(" 0") && lines[2].contains(&format!("{} ", "█".repeat(BAR / 4))), "{text}");
    }

    #[test]
    fn a_ratio_is_two_numbers() {
        assert_eq!(ratio("10:1").ok(), Some((10, 1)));
        assert_eq!(ratio("0:1").ok(), Some((0, 1)));
        assert!(["0:0", "10", "a:b", "-1:2", ""].iter().all(|text| ratio(text).is_err()));
    }
}
