//! `cloakroom get` and `cloakroom signout`: the session of a token, asked for and ended.
//!
//! A token is a secret, and what stands on a command line is not: other users see it, and the shell keeps it. So `-` reads
//! it from standard input, and who does otherwise is told.

use std::io::{IsTerminal, Read as _};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::paint::span;
use super::target::{self, Server};
use super::{Done, LEFT_BEHIND, Problem, Row, Way, complain, say};
use crate::config::{Config, Profile};
use crate::net::client::{Address, Reply};

/// By this an operator names a session.
const X_SESSION_TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// Bytes of a token, or of a `Cookie` header, that are read at most.
const TOKEN_MAX: u64 = 64 * 1024;

pub(super) const GET: Row = Row {
    name: "get",
    about: "Prints the session of a token",
    more: "Over HTTP this is a session check like any other, and may ask the application; over --redis it prints what is \
           stored. Exit codes: 0 there is a session, 1 it cannot be told, 2 the arguments are wrong, 3 there is none.",
    way: Way::Own(arguments, get),
};

pub(super) const SIGN_OUT: Row = Row {
    name: "signout",
    about: "Ends the session of a token",
    more: "The token is refused for session-max-age, over a restart too, and with it all that are known of the same login; \
           the application is not told of it. Only operators may: from the server's own machine, or with CLOAKROOM_ADMIN_TOKEN set \
           to its admin-token. Over --redis the entry is deleted, which signs out where sessions are in the store alone. \
           Exit codes: 0 it is done, known or not, 1 it is not, 2 the arguments are wrong.",
    way: Way::Own(arguments, sign_out),
};

fn arguments(command: Command) -> Command {
    target::arguments(command)
        .arg(Arg::new("token").value_name("TOKEN|-").required(true).allow_hyphen_values(true).help(
            "The token, or a whole Cookie or Authorization header. Others on this machine see what stands here: - reads it \
             from standard input.",
        ))
        .arg(Arg::new("cookie").long("cookie").value_name("NAME").help(
            "Name of the session cookie. [default: the server's own to sign out; else as CLOAKROOM_SESSION_COOKIE and CLOAKROOM_PROFILE have it, else \
             next-auth.session-token; a bearer for profile kratos, supabase and generic]",
        ))
}

/// What was given for a token.
fn token(matches: &ArgMatches) -> Result<String, Problem> {
    let given = target::text(matches, "token").unwrap_or_default();
    let mut token = given.to_owned();
    if given == "-" {
        if std::io::stdin().is_terminal() {
            complain("paste the token, then Enter and Ctrl-D");
        }
        token.clear();
        let read = std::io::stdin().take(TOKEN_MAX + 1).read_to_string(&mut token);
        read.map_err(|_| Problem::wrong("standard input is no text: a token is wanted"))?;
        if token.len() as u64 > TOKEN_MAX {
            return Err(Problem::wrong("standard input is longer than any token"));
        }
    } else {
        complain(
            "the token stands on the command line, where others on this machine see it and the shell keeps it: - reads it \
             from standard input",
        );
    }
    let token = token.trim();
    if token.is_empty() || token.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Problem::wrong(
            "there is no token: one line is wanted, as an argument or, with -, on standard input",
        ));
    }
    Ok(token.to_owned())
}

/// The header that shows a token: a cookie, or a bearer where the profile's clients send one. What was given may be a whole
/// header already.
fn shows(matches: &ArgMatches, token: &str, config: &Config) -> Result<HeaderMap, Problem> {
    let whole = |name: &str| {
        let (given, value) = token.split_once(':')?;
        given.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    let own = Some(config.session_cookie.as_str()).filter(|name| !name.is_empty());
    let named = target::text(matches, "cookie").or(own);
    let (name, header) = match (config.profile, named) {
        _ if let Some(cookies) = whole("cookie") => (COOKIE, cookies),
        _ if let Some(bearer) = whole("authorization") => (AUTHORIZATION, bearer),
        _ if token.split_once('=').is_some_and(|(name, _)| name.contains("session-token")) => {
            (COOKIE, token.to_owned())
        }
        (_, Some(cookie)) => (COOKIE, format!("{cookie}={token}")),
        (Profile::Kratos | Profile::Supabase | Profile::Generic, None) => (AUTHORIZATION, format!("Bearer {token}")),
        (Profile::BetterAuth, None) => (COOKIE, format!("better-auth.session_token={token}")),
        (Profile::AuthJs, None) => (COOKIE, format!("authjs.session-token={token}")),
        (Profile::Auto | Profile::NextAuth, None) => (COOKIE, format!("next-auth.session-token={token}")),
    };
    Ok(HeaderMap::from_iter([(name, header_value(header)?)]))
}

fn get(matches: &ArgMatches) -> Done {
    let (redis, token) = (target::redis(matches)?, token(matches)?);
    if let Some(address) = redis {
        return get_stored(&address, &token);
    }
    let server = Server::of(matches)?;
    let headers = shows(matches, &token, &server.config)?;
    let answer = server.ask(Method::GET, &format!("{}/session", server.config.base_path), headers)?;
    let header = |name: &'static str| {
        answer
            .headers()
            .get(HeaderName::from_static(name))
            .and_then(|value| value.to_str().ok())
            .unwrap_or("?")
            .to_owned()
    };
    let Ok(session) = serde_json::from_slice::<Value>(answer.body()) else {
        let (url, status) = (&server.url, target::status(&answer));
        let cure = match answer.status().as_u16() {
            404 => "set CLOAKROOM_BASE_PATH to its base-path",
            _ => "is it cloakroom's HTTP port?",
        };
        return Err(Problem::failed(format!("{url} answers with {status} and no session: {cure}")));
    };
    let about = format!("from {}, in {}", header("x-session-source"), header("x-response-time"));
    match answer.status().as_u16() {
        200 => shown(&session, &about),
        // So says a profile that has a status for it, and none but cloakroom's door has that line.
        401 | 403 if header("x-session-source") != "?" => shown(&Value::Null, &about),
        _ => Err(Problem::failed(format!("{} answers with {}", server.url, target::status(&answer)))),
    }
}

/// Prints a session, or says that there is none.
fn shown(session: &Value, about: &str) -> Done {
    if session.as_object().is_none_or(serde_json::Map::is_empty) {
        complain(&format!("nobody is signed in by this token ({about})"));
        return Ok(ExitCode::from(LEFT_BEHIND));
    }
    say(&format!("{session:#}\n"))?;
    if std::io::stderr().is_terminal() {
        complain(about);
    }
    Ok(ExitCode::SUCCESS)
}

/// The key of a token's session.
fn stored_key(token: &str) -> Result<Vec<u8>, Problem> {
    Ok([&target::own_config()?.session().prefix, token.as_bytes()].concat())
}

fn get_stored(address: &Address, token: &str) -> Done {
    let key = stored_key(token)?;
    let mut wire = target::wire(address).map_err(Problem::failed)?;
    let ttl = wire.ask(&[b"PTTL", &key]).map_err(Problem::failed)?;
    match wire.ask(&[b"GET", &key]).map_err(Problem::failed)? {
        Reply::Error(why) => Err(Problem::failed(address.trouble(&why))),
        Reply::Bulk(Some(body)) => {
            let session = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
            let about = match ttl {
                Reply::Int(left @ 0..) => format!("stored, {left} ms left"),
                _ => "stored, without an end".to_owned(),
            };
            shown(&session, &about)
        }
        _ => shown(&Value::Null, "nothing is stored for it"),
    }
}

fn sign_out(matches: &ArgMatches) -> Done {
    let (redis, token) = (target::redis(matches)?, token(matches)?);
    if let Some(address) = redis {
        let key = stored_key(&token)?;
        let mut wire = target::wire(&address).map_err(Problem::failed)?;
        return match wire.ask(&[b"DEL", &key]).map_err(Problem::failed)? {
            Reply::Int(0) => {
                say("nothing was stored for it; what comes late is refused\n")?;
                Ok(ExitCode::SUCCESS)
            }
            Reply::Int(_) => done(),
            Reply::Error(why) => Err(Problem::failed(address.trouble(&why))),
            _ => Err(Problem::failed(format!("{address} gives no answer of Redis' own"))),
        };
    }
    let server = Server::of(matches)?;
    let mut headers = server.operator();
    headers.insert(X_SESSION_TOKEN, named(matches, &token)?);
    let answer = server.ask(Method::DELETE, "/admin/session", headers)?;
    let said: Option<Value> = serde_json::from_slice(answer.body()).ok();
    match (answer.status().as_u16(), said.as_ref().and_then(|said| said["sessions"].as_u64())) {
        (200, Some(known)) => {
            let done = if known == 0 { "nothing was known of it here" } else { "signed out here" };
            let seconds = said.as_ref().and_then(|said| said["refused_seconds"].as_u64());
            say(&match seconds {
                Some(seconds) => format!("{done}; it is refused for {}\n", span(seconds)),
                None => format!("{done}; it is refused\n"),
            })?;
            Ok(ExitCode::SUCCESS)
        }
        (400 | 404, _) if let Some(why) = said.as_ref().and_then(|said| said["error"].as_str()) => {
            Err(Problem::wrong(format!("nobody was signed out: {why}")))
        }
        _ => Err(server.refused(&answer)),
    }
}

/// A token as an operator names it: what was given, which the server reads as a header or a token alone, or as the cookie
/// that a flag names.
fn named(matches: &ArgMatches, token: &str) -> Result<HeaderValue, Problem> {
    let named = target::text(matches, "cookie").map_or(token.to_owned(), |cookie| format!("{cookie}={token}"));
    header_value(named)
}

fn header_value(text: String) -> Result<HeaderValue, Problem> {
    let value = HeaderValue::try_from(text);
    let mut value = value.map_err(|_| Problem::wrong("a token is made of letters that a header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn done() -> Done {
    say("cleared\n")?;
    Ok(ExitCode::SUCCESS)
}
