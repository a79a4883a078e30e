//! Whether the upstream answers, is what the settings take it for, and agrees about names of cookies and the time.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{DATE, HeaderName, LOCATION, SET_COOKIE, VIA};
use http::{HeaderMap, HeaderValue, Method, Response};

use super::Findings;
use crate::config::{BASE_PATH, Config, Profile, SessionSource, Upstream};
use crate::net::client::{Http, Site, Trust};
use crate::net::http::service;
use crate::session::{Failure, Service};

/// Where NextAuth and better-auth are unless they are told otherwise, and Auth.js in SvelteKit and Express.
const BASES: [&str; 2] = [BASE_PATH, "/auth"];

/// How long an answer is waited for: an application that is built anew for its first request takes long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection is waited for when it is to be found out why there is none.
const CONNECT: Duration = Duration::from_secs(2);

/// How far the clocks may be apart. Tokens are made and read by them, and sign-outs compare them.
const SKEW_MAX: f64 = 2.0;

/// What is asked.
struct App<'a> {
    url: &'a Upstream,
    http: Http,
    service: Service,
    profile: Profile,
}

pub(super) fn look(found: &mut Findings, config: &Config) {
    let Some(url) = &config.upstream else {
        if config.session_source() == SessionSource::Store {
            found.ok("upstream", "there is none: sessions are what the application writes as a Redis client");
        }
        return;
    };
    let Ok(http) = Http::new(&Site::of(url, &Trust::default())) else {
        return found.problem("upstream", "nobody can be asked from here", "try again");
    };
    let app = App { url, http, service: service(config), profile: config.profile };
    let began = (SystemTime::now(), Instant::now());
    let answer = match app.ask(app.service.path(), "http") {
        Ok(answer) => answer,
        Err(failure) => return unreachable(found, &app, failure),
    };
    let took = began.1.elapsed();
    if !is_session(found, &app, &answer) {
        return;
    }
    let what = format!("{url} answers session checks with {} in {} ms", answer.status().as_u16(), took.as_millis());
    let limit = config.upstream_timeout.duration();
    match took > limit {
        true => found.warn(
            "upstream",
            format!("{what}, longer than upstream-timeout"),
            "warm it up and check again, or raise upstream-timeout",
        ),
        false => found.ok("upstream", what),
    }
    skew(found, &answer, began.0);
    // Which cookies others set is not told to who is not signed in.
    if app.service.is_next_auth() {
        cookies(found, &app, config, &answer);
    }
}

impl App<'_> {
    /// Asks as the server would for a client of this scheme.
    fn ask(&self, path: &str, scheme: &'static str) -> Result<Response<Bytes>, Failure> {
        let headers = HeaderMap::from_iter([
            (VIA, HeaderValue::from_static("1.1 cloakroom")),
            (HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(scheme)),
        ]);
        self.http.ask(Method::GET, path, headers, PATIENCE)
    }

    /// Another base path under which the application has sessions.
    fn other_base(&self) -> Option<&'static str> {
        let is_there = |base: &str| {
            let other = self.service.clone().with_base_path(base);
            other.path() != self.service.path()
                && self
                    .ask(other.path(), "http")
                    .is_ok_and(|answer| self.service.says_nobody(answer.status().as_u16(), answer.body()))
        };
        BASES.into_iter().find(|base| self.service.is_below_base() && is_there(base))
    }

    /// Whether base-path has the upstream's path in it, which stands before it anyway.
    fn repeats_its_path(&self) -> bool {
        let above = self.url.base.as_str();
        let rest = self.service.base_path().strip_prefix(above).filter(|_| !above.is_empty());
        self.service.is_below_base() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn unreachable(found: &mut Findings, app: &App<'_>, failure: Failure) {
    let url = app.url;
    let connect = || -> std::io::Result<()> {
        let mut last = std::io::ErrorKind::AddrNotAvailable.into();
        for address in (url.host.as_str(), url.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let cure = "start the application, or set upstream to where it is";
    match (failure, connect()) {
        (Failure::Timeout, Ok(())) => {
            found.problem("upstream", format!("{url} says nothing for {} s", PATIENCE.as_secs()), "look why it hangs");
        }
        (_, Err(error)) => found.problem("upstream", format!("{url} cannot be reached: {error}"), cure),
        (Failure::Refused, Ok(())) => found.problem(
            "upstream",
            format!("{url} is there, but TLS fails"),
            "its certificate must be for that name and good by the system's roots, or by those in SSL_CERT_FILE",
        ),
        (failure, Ok(())) => found.problem("upstream", format!("{url} does not speak HTTP ({})", failure.word()), cure),
    }
}

/// Whether the answer is one of the service's to who is not signed in.
fn is_session(found: &mut Findings, app: &App<'_>, answer: &Response<Bytes>) -> bool {
    let (url, status) = (app.url, answer.status().as_u16());
    let path = app.service.path();
    let is_next_auth = app.service.is_next_auth();
    let whose = if is_next_auth { "NextAuth".to_owned() } else { app.profile.to_string() };
    let header =
        |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if answer.headers().contains_key("x-session-source") || status == 508 {
        found.problem(
            "upstream",
            format!("{url} is a cloakroom, or leads back to one"),
            "set upstream to the application itself",
        );
        return false;
    }
    if app.service.says_nobody(status, answer.body()) {
        return true;
    }
    let there = format!("set upstream to where {whose} is");
    let (what, cure) = match status {
        ..=428 if app.repeats_its_path() => {
            let above = &app.url.base;
            (format!("{url} has no {path}"), format!("leave {above} out of upstream: base-path begins with it"))
        }
        ..=428 if let Some(base) = app.other_base() => {
            (format!("{url} has its sessions under {base}, and not at {path}"), format!("set base-path {base}"))
        }
        301 | 302 | 303 | 307 | 308 => {
            let to: String = header(LOCATION).chars().take(80).filter(|letter| !letter.is_control()).collect();
            let what = format!("{url}{path} leads on to {to}");
            (what, format!("set upstream to where that is, or let {path} past what redirects"))
        }
        404 if app.service.is_below_base() => {
            let base = app.service.base_path();
            let cure =
                format!("set base-path to {whose}'s basePath if that is not {base}, or upstream to where {whose} is");
            (format!("{url} has no {path}"), cure)
        }
        404 => (format!("{url} has no {path}"), format!("{there}, with its path if it is below one")),
        429 => {
            let cure = "let its rate limiter leave out requests that carry 'Via: 1.1 cloakroom'";
            found.warn("upstream", format!("{url} answers 429: its rate limiter is at work"), cure);
            return false;
        }
        500..=599 if is_next_auth => (
            format!("{url} fails with status {status}"),
            "look into its log: UntrustedHost wants AUTH_TRUST_HOST=true, MissingSecret wants AUTH_SECRET or \
             NEXTAUTH_SECRET"
                .to_owned(),
        ),
        500..=599 => (format!("{url} fails with status {status}"), "look into its log".to_owned()),
        200 if is_next_auth => {
            let what = "is neither {} nor null, as NextAuth's is to who is not signed in";
            (format!("{url}{path} answers, but that {what}"), there)
        }
        status if answer.status().is_success() || status == 401 || status == 403 => (
            format!("{url}{path} answers with status {status}, and not as {whose} does to who is not signed in"),
            format!("{there}; session-nobody tells what is answered to who is not signed in"),
        ),
        status => {
            (format!("{url}{path} answers with status {status}"), "let requests from here to it through".to_owned())
        }
    };
    found.problem("upstream", what, cure);
    false
}

fn skew(found: &mut Findings, answer: &Response<Bytes>, began: SystemTime) {
    let date = answer.headers().get(DATE).and_then(|value| value.to_str().ok());
    let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return found.ok("clock", "the upstream does not tell its time");
    };
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    // It was so late there at some moment of that second, between the question and the answer.
    let (first, last) = (seconds(date) - seconds(SystemTime::now()), seconds(date) + 1.0 - seconds(began));
    let apart = if first > 0.0 { first } else { last.min(0.0) };
    if apart.abs() <= SKEW_MAX {
        return found.ok("clock", "the upstream's is the same within two seconds");
    }
    let side = if apart > 0.0 { "ahead of" } else { "behind" };
    let what = format!("the upstream's clock is {:.0} s {side} this machine's", apart.abs());
    found.warn("clock", what, "have both set by NTP: tokens and sign-outs are judged by the time");
}

/// Which cookies the application sets: whose they are, and whether they are for HTTPS alone.
struct Cookies {
    profile: Profile,
    is_secure: bool,
}

fn cookies_of(app: &App<'_>, scheme: &'static str) -> Option<Cookies> {
    let answer = app
        .ask(&format!("{}/csrf", app.service.base_path()), scheme)
        .ok()
        .filter(|answer| answer.status().is_success())?;
    let lines = answer.headers().get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| line.split_once('=')).find_map(|(name, _)| {
        let bare = name.trim_start_matches("__Host-").trim_start_matches("__Secure-");
        let profile = match bare {
            "next-auth.csrf-token" => Profile::NextAuth,
            "authjs.csrf-token" => Profile::AuthJs,
            _ => return None,
        };
        Some(Cookies { profile, is_secure: bare.len() < name.len() })
    })
}

fn cookies(found: &mut Findings, app: &App<'_>, config: &Config, session: &Response<Bytes>) {
    let (Some(plain), Some(secure)) = (cookies_of(app, "http"), cookies_of(app, "https")) else {
        return found.warn(
            "cookies",
            format!(
                "{}{}/csrf sets no cookie of NextAuth's or Auth.js', so that their names are not known",
                app.url,
                app.service.base_path()
            ),
            "set session-cookie if the session's has a name of your own; where csrf tokens are off, as in SvelteKit, there is none to see",
        );
    };
    let empty = if plain.profile == Profile::AuthJs { "null" } else { "{}" };
    let name = format!("{}.session-token", if plain.profile == Profile::AuthJs { "authjs" } else { "next-auth" });
    let given = config.profile;
    if given != Profile::Auto && given != plain.profile {
        let what = format!("profile is {given}, but the upstream's cookies are {}'s", plain.profile);
        found.problem("cookies", what, format!("set profile {} or auto", plain.profile));
    }
    if session.body().trim_ascii() != empty.as_bytes() {
        found.warn(
            "cookies",
            "its empty session and its cookies are of different versions",
            format!("set profile {}", plain.profile),
        );
    }
    let own = config.session_cookie.trim_start_matches("__Secure-");
    if !own.is_empty() && own != name {
        let what = format!("session-cookie is {own}; the upstream's own name would be {name}");
        found.warn("session-cookie", what, "leave session-cookie out unless the application names its cookies itself");
    }
    match (plain.is_secure, secure.is_secure) {
        (true, true) => found.ok(
            "cookies",
            format!("__Secure-{name}: the application takes itself for https, so browsers must come to it over https"),
        ),
        (false, true) => found.ok(
            "cookies",
            format!("{name}, and __Secure-{name} where X-Forwarded-Proto says https: a proxy with TLS must send that"),
        ),
        _ if config.http_tls_port.is_on() => found.warn(
            "cookies",
            format!("{name} without __Secure-, although browsers come over https (http-tls-port)"),
            "set NEXTAUTH_URL to https://…, or AUTH_TRUST_HOST=true, in the application",
        ),
        _ => found.ok(
            "cookies",
            format!("{name}; if browsers come over https, set NEXTAUTH_URL to https://… in the application"),
        ),
    }
}
