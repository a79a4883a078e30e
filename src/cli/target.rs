//! Which running server is meant, and how it is asked.

use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Response};

use super::Problem;
use crate::config::{Config, Upstream};
use crate::net::client::{Address, Http, Site, Trust, Wire};
use crate::net::settings;
use crate::session::Failure;

/// How long an answer may take: a check that has to ask the application takes `upstream-timeout`, two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a server may take to accept.
const ACCEPTS: Duration = Duration::from_secs(5);

/// What helps when a connection is lost.
pub(super) const GONE: &str = "is the server still running there?";

/// Letters that are repeated of what a server says of itself.
const WORDS_MAX: usize = 100;

/// Adds the flags that name a server.
pub(super) fn arguments(command: Command) -> Command {
    trusted(command)
        .arg(Arg::new("url").long("url").value_name("URL").help(
            "The server's HTTP port: http://, https:// or unix:///path. [default: http://127.0.0.1:8379, or as \
             CLOAKROOM_HTTP_PORT and the like have it]",
        ))
        .arg(Arg::new("redis").long("redis").value_name("URL").conflicts_with("url").help(
            "Asks it as a Redis client does: redis:// or rediss://[user:password@]host[:port][/database], or \
                     unix:///path[?db=database].",
        ))
}

/// Adds the flags that say by what a server over TLS is known, by the names they have in redis-cli.
pub(super) fn trusted(command: Command) -> Command {
    let file = |name: &'static str| Arg::new(name).long(name).value_name("FILE");
    command
        .next_help_heading("Over TLS")
        .arg(file("cacert").help(
            "The authorities that may have signed the server's certificate. [default: the system's, or SSL_CERT_FILE]",
        ))
        .arg(file("cert").requires("key").help("A certificate to show, where the server asks for one."))
        .arg(file("key").requires("cert").help("Its private key."))
        .arg(
            Arg::new("insecure")
                .long("insecure")
                .action(ArgAction::SetTrue)
                .conflicts_with("cacert")
                .help("Takes any certificate: whoever is in between may read and change everything."),
        )
        .next_help_heading(None)
}

/// What those flags say.
pub(super) fn trust(matches: &ArgMatches) -> Result<Trust, Problem> {
    let file = |name| text(matches, name).map(str::to_owned);
    let trust = Trust {
        authorities: file("cacert"),
        is_blind: matches.get_flag("insecure"),
        shown: file("cert").zip(file("key")),
    };
    // What is wrong with a file is said before anybody is asked. Without one there is nothing that could be.
    match trust.authorities.is_some() || trust.shown.is_some() {
        true => trust.config().map(|_| trust).map_err(Problem::wrong),
        false => Ok(trust),
    }
}

/// The text behind a flag or in a place.
pub(super) fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// The settings of this machine's server as the environment has them.
pub(super) fn own_config() -> Result<Config, Problem> {
    settings::load([], std::env::vars_os()).map(|loaded| loaded.config).map_err(|stop| Problem::wrong(stop.line()))
}

/// The Redis port of this machine's server.
pub(super) fn own_redis() -> Address {
    let env = |name| std::env::var(name).ok();
    let port = env("CLOAKROOM_PORT").and_then(|port| port.parse().ok()).unwrap_or(6379);
    Address::own(port, env("CLOAKROOM_REQUIREPASS").unwrap_or_default())
}

/// The address behind `--redis`, if it is named.
pub(super) fn redis(matches: &ArgMatches) -> Result<Option<Address>, Problem> {
    let Some(url) = text(matches, "redis") else { return Ok(None) };
    let address = Address::parse(url, &trust(matches)?);
    address.map(Some).map_err(|why| Problem::wrong(format!("--redis: {why}")))
}

/// A connection to a Redis port, for somebody who waits for an answer.
pub(super) fn wire(address: &Address) -> Result<Wire, String> {
    Wire::connect_within(address, GONE, ACCEPTS, PATIENCE)
}

/// A status that was not hoped for, with what the server says of it where that is a line for people.
pub(super) fn status(answer: &Response<Bytes>) -> String {
    let body = String::from_utf8_lossy(answer.body());
    let said: String = body.lines().next().unwrap_or_default().chars().take(WORDS_MAX).collect();
    let status = answer.status().as_u16();
    match said.is_empty() || said.starts_with(['<', '{', '[', '"']) || said == "null" {
        true => format!("status {status}"),
        false => format!("status {status} ({said})"),
    }
}

/// A server that is asked over HTTP.
pub(super) struct Server {
    pub url: Site,
    /// The settings of the environment.
    pub config: Config,
    http: Http,
}

impl Server {
    /// The one that `--url` names, or this machine's.
    pub fn of(matches: &ArgMatches) -> Result<Server, Problem> {
        let config = own_config()?;
        let url = match text(matches, "url") {
            Some(url) => Site::parse(url, &trust(matches)?).ok_or_else(|| {
                Problem::wrong("--url: a URL such as http://127.0.0.1:8379, or unix:///path, is wanted")
            })?,
            None => Site::of(&own_url(&config)?, &trust(matches)?),
        };
        let http = Http::new(&url).map_err(|error| Problem::failed(format!("cannot ask anybody: {error}")))?;
        Ok(Server { url, config, http })
    }

    /// Asks once.
    pub fn ask(&self, method: Method, path: &str, headers: HeaderMap) -> Result<Response<Bytes>, Problem> {
        self.http.ask(method, path, headers, PATIENCE).map_err(|failure| self.trouble(failure))
    }

    /// The first event of what only operators are told.
    pub fn first_event(&self, path: &str) -> Result<Bytes, Problem> {
        let headers = self.operator();
        let answer = self.http.first_event(path, headers, PATIENCE).map_err(|failure| self.trouble(failure))?;
        match answer.status().as_u16() {
            200 => Ok(answer.into_body()),
            _ => Err(self.refused(&answer)),
        }
    }

    /// The header by which an operator is known, where the environment has it.
    pub fn operator(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::try_from(format!("Bearer {}", self.config.admin_token));
        if let (false, Ok(bearer)) = (self.config.admin_token.is_empty(), bearer) {
            headers.insert(AUTHORIZATION, bearer);
        }
        headers
    }

    /// Why an operator was not served.
    pub fn refused(&self, answer: &Response<Bytes>) -> Problem {
        let url = &self.url;
        let why = match answer.status().as_u16() {
            401 => "it asks for its admin-token: set CLOAKROOM_ADMIN_TOKEN to it".to_owned(),
            403 => "it does this for its own machine alone: set admin-token there and CLOAKROOM_ADMIN_TOKEN here, or ask its \
                    Redis port with --redis"
                .to_owned(),
            404 => "nothing is there: is it a cloakroom, and of this version?".to_owned(),
            429 => "too many wrong tokens came from here: wait, and set CLOAKROOM_ADMIN_TOKEN to its admin-token".to_owned(),
            503 => "it has as many readers of this as it lets in: close a live page".to_owned(),
            _ => format!("it answers with {}: is it a cloakroom?", status(answer)),
        };
        Problem::failed(format!("{url}: {why}"))
    }

    fn trouble(&self, failure: Failure) -> Problem {
        let (url, word) = (&self.url, failure.word());
        if let Some(why) = self.http.trouble() {
            return Problem::failed(format!("cannot reach {url}: {why}"));
        }
        let cure = match failure {
            Failure::Refused => "is cloakroom running there? --url names another, as does CLOAKROOM_HTTP_PORT",
            Failure::Timeout => "it says nothing: is it cloakroom's HTTP port, and not busy?",
            _ => "is it cloakroom's HTTP port?",
        };
        Problem::failed(format!("cannot reach {url} ({word}): {cure}"))
    }
}

/// Where the settings say that HTTP is spoken.
fn own_url(config: &Config) -> Result<Upstream, Problem> {
    let host = config.http_addresses().first().map(|bind| bind.address).filter(|address| !address.is_unspecified());
    let host = host.map_or("127.0.0.1".to_owned(), |address| address.to_string());
    match config.plain_http_port() {
        Some(port) if port != 0 => Ok(Upstream { host, is_secure: false, port, base: String::new() }),
        _ => Err(Problem::wrong("the settings name no plain HTTP port: --url says where the server is")),
    }
}
