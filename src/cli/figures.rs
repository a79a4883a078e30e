//! The figures of a running server: what moves its live page, or what INFO has of that.

use serde_json::{Map, Value};

use clap::ArgMatches;

use super::Problem;
use super::target::{self, Server};
use crate::metrics::STEPS;
use crate::net::client::{Address, Reply};

/// Where a server's figures are had from.
pub(super) enum Source {
    /// Its live page's events.
    Http(Box<Server>),
    /// INFO.
    Redis(Address),
}

/// All figures of one moment.
pub(super) struct Figures(pub Value);

impl Source {
    /// The server that the arguments name.
    pub fn of(matches: &ArgMatches) -> Result<Source, Problem> {
        match target::redis(matches)? {
            Some(address) => Ok(Source::Redis(address)),
            None => Ok(Source::Http(Box::new(Server::of(matches)?))),
        }
    }

    /// Where that is.
    pub fn place(&self) -> String {
        match self {
            Source::Http(server) => server.url.to_string(),
            Source::Redis(address) => address.to_string(),
        }
    }

    /// The figures of now.
    pub fn read(&self) -> Result<Figures, Problem> {
        match self {
            Source::Http(server) => {
                let event = server.first_event("/live")?;
                let data = event.strip_prefix(b"data: ").and_then(|data| serde_json::from_slice(data).ok());
                data.map(Figures).ok_or_else(|| Problem::failed(format!("{}: is it a cloakroom?", server.url)))
            }
            Source::Redis(address) => {
                let mut wire = target::wire(address).map_err(Problem::failed)?;
                match wire.ask(&[b"INFO", b"everything"]).map_err(Problem::failed)? {
                    Reply::Bulk(Some(text)) => from_info(&String::from_utf8_lossy(&text))
                        .ok_or_else(|| Problem::failed(format!("{address} is no cloakroom, but another Redis"))),
                    Reply::Error(why) => Err(Problem::failed(address.trouble(&why))),
                    _ => Err(Problem::failed(format!("{address} gives no answer of Redis' own"))),
                }
            }
        }
    }
}

impl Figures {
    /// A number by its name; 0 where there is none.
    pub fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or(0)
    }

    /// A text by its name; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// The sum of these counters of the session doors.
    pub fn sessions(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.0["sessions"][*name].as_u64().unwrap_or(0)).sum()
    }

    /// A cumulative distribution in doubling microseconds.
    pub fn steps(&self, name: &str) -> [u64; STEPS] {
        let mut steps = [0; STEPS];
        let told = self.0[name].as_array().into_iter().flatten();
        for (step, count) in steps.iter_mut().zip(told) {
            *step = count.as_u64().unwrap_or(0);
        }
        steps
    }

    /// Session checks, whatever answered them.
    pub fn checks(&self) -> u64 {
        self.sessions(&["hits", "waits", "misses", "stale", "empty", "fenced", "passed"])
    }

    /// Checks that asked nobody but would have had to.
    pub fn saved(&self) -> u64 {
        self.sessions(&["hits", "waits", "stale", "fenced"])
    }

    /// Checks that the store or a call under way could answer, and all those that could be hoped to be.
    pub fn hit_ratio(&self) -> (u64, u64) {
        (self.sessions(&["hits", "waits"]), self.sessions(&["hits", "waits", "misses"]))
    }
}

/// What INFO has of the figures, by their names; `None` if it is another server's.
fn from_info(text: &str) -> Option<Figures> {
    const NAMES: [(&str, &str); 11] = [
        ("uptime_seconds", "uptime_in_seconds"),
        ("used_memory", "used_memory"),
        ("maxmemory", "maxmemory"),
        ("clients", "connected_clients"),
        ("commands", "total_commands_processed"),
        ("errors", "total_error_replies"),
        ("expired", "expired_keys"),
        ("evicted", "evicted_keys"),
        ("keyspace_hits", "keyspace_hits"),
        ("keyspace_misses", "keyspace_misses"),
        ("http_requests", "http_requests"),
    ];
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let section = |title: &'static str| {
        let lines = text.lines().skip_while(move |line| !line.eq_ignore_ascii_case(title)).skip(1);
        lines.take_while(|line| line.contains(':')).filter_map(|line| line.split_once(':'))
    };
    let mut all = Map::new();
    all.insert("version".to_owned(), field("cloakroom_version")?.into());
    for (own, theirs) in NAMES {
        if let Some(value) = field(theirs).and_then(|value| value.trim().parse::<u64>().ok()) {
            all.insert(own.to_owned(), value.into());
        }
    }
    let sessions =
        section("# Sessions").filter_map(|(name, value)| Some((name.to_owned(), value.parse::<u64>().ok()?.into())));
    all.insert("sessions".to_owned(), Value::Object(sessions.collect()));
    let keys = |value: &str| value.strip_prefix("keys=")?.split(',').next()?.parse::<u64>().ok();
    let keys: u64 = section("# Keyspace").filter_map(|(_, value)| keys(value)).sum();
    all.insert("keys".to_owned(), keys.into());
    Some(Figures(Value::Object(all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_has_most_of_the_figures() {
        let text = "# Server\r\ncloakroom_version:0.1.0\r\nuptime_in_seconds:7\r\n\r\n# Sessions\r\nhits:3\r\nmisses:1\r\n\r\n\
                    # Keyspace\r\ndb0:keys=2,expires=0\r\ndb3:keys=5,expires=1\r\n";
        let figures = from_info(text).expect("figures");
        assert_eq!(
            (figures.text("version"), figures.number("uptime_seconds"), figures.number("keys")),
            ("0.1.0", 7, 7)
        );
        assert_eq!((figures.checks(), figures.saved(), figures.hit_ratio()), (4, 3, (3, 4)));
        assert_eq!(figures.steps("check_micros"), [0; STEPS]);
        assert!(from_info("# Server\r\nredis_version:7.2.5\r\n").is_none());
    }
}
