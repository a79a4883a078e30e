//! The HTTP door: sessions and the application behind it.

use super::super::field::{Field as _, span};
use super::super::namespace::TTL_MAX;
use super::super::param::{Change, Home, Kind, Lines, Param, show_span};
use super::super::source::{BASE_PATH, SessionClaims, SessionNobody};
use super::super::values::{FenceLogging, Profile, SessionError, SessionSource, Upstream, UpstreamHost};
use super::super::verify::{ClaimHeaders, Redirect};
use super::{WAIT_MAX, optional};
use crate::clock::Ttl;

/// Browsers keep no cookie longer than 400 days.
const MAX_AGE_MAX: Ttl = Ttl::seconds(400 * 24 * 60 * 60);

/// A key is published for ten minutes before it signs, and is then to be of some use.
const KEY_AGE_MIN: Ttl = Ttl::seconds(60 * 60);

pub(super) const ROWS: &[Param] = &[
    Param {
        name: "upstream",
        kind: Kind::Form("URL", optional::<Upstream>),
        change: Change::AtStart,
        doc: "The application that is asked for sessions, such as http://127.0.0.1:3000. Empty for the store alone: \
              the application writes sessions as a Redis client.",
        home: field!(upstream),
        ..Param::SESSION
    },
    Param {
        name: "source",
        kind: Kind::Choice(SessionSource::NAMES),
        default: "auto",
        change: Change::AtStart,
        doc: "What a session check is answered from where nothing is stored. upstream asks the application, nextauth \
              decodes NextAuth's tokens here with the secrets in secret-file, store knows nothing else. auto is \
              upstream if there is one, else nextauth if there is a secret-file, else store. With nextauth and an \
              upstream, checks are answered here and all else under base-path is the upstream's.",
        home: field!(source),
        ..Param::SESSION
    },
    Param {
        name: "secret-file",
        kind: Kind::Text,
        change: Change::AtStart,
        doc: "File with the application's NEXTAUTH_SECRET or AUTH_SECRET, for source nextauth. One a line, the newest \
              first: that one makes tokens, all of them open some. SIGHUP has the file read again.",
        home: field!(secret_file),
        ..Param::SESSION
    },
    Param {
        name: "session-claims",
        kind: Kind::Form("claims", plain::<SessionClaims>),
        change: Change::Live,
        doc: "Claims of the token that source nextauth shows in user, beside name, email and image. Commas between; \
              id=sub shows the claim sub as user.id.",
        home: field!(session_claims),
        ..Param::SESSION
    },
    Param {
        name: "upstream-timeout",
        kind: Kind::Span(Ttl(1), WAIT_MAX),
        default: "2s",
        doc: "How long a session check may wait for the upstream.",
        home: field!(upstream_timeout),
        ..Param::SESSION
    },
    Param {
        name: "upstream-body-limit",
        kind: Kind::Memory(1024, 1 << 30),
        default: "64kb",
        doc: "Bytes of a session that are read from the upstream at most.",
        home: field!(upstream_body_limit),
        ..Param::SESSION
    },
    Param {
        name: "upstream-connections",
        kind: Kind::Int(1, 65535),
        default: "64",
        change: Change::AtStart,
        doc: "Connections to the upstream at once. A quarter of them is for checks and sign-outs alone; with 1 all share it.",
        home: field!(upstream_connections),
        ..Param::SESSION
    },
    Param {
        name: "upstream-host",
        kind: Kind::Choice(UpstreamHost::NAMES),
        default: "auto",
        change: Change::AtStart,
        doc: "Host that the upstream is asked for. client is the one that the client has asked for, upstream the \
              upstream's own, as hosted services want it; X-Forwarded-Host has the client's either way. auto is upstream \
              over https and with another profile than NextAuth's, else client.",
        home: field!(upstream_host),
        ..Param::SESSION
    },
    Param {
        name: "profile",
        kind: Kind::Choice(Profile::NAMES),
        default: "auto",
        change: Change::AtStart,
        doc: "Whose sessions: paths, cookie names, empty answer and claims. nextauth is NextAuth v4, authjs its v5, auto \
              either of them as the cookies tell; others in docs/profiles.md.",
        home: field!(profile),
        ..Param::SESSION
    },
    Param {
        name: "session-cookie",
        kind: Kind::Form("cookie name", cookie_name),
        change: Change::AtStart,
        doc: "Name of the session cookie; empty for the profile's own. Of profile generic: empty for bearers.",
        home: field!(session_cookie),
        ..Param::SESSION
    },
    Param {
        name: "base-path",
        kind: Kind::Form("path", base_path),
        default: BASE_PATH,
        change: Change::AtStart,
        doc: "The basePath of NextAuth or better-auth: what the paths of sessions begin with. /auth where Auth.js is in \
              SvelteKit or Express; Next's own basePath goes before it, as in /docs/api/auth. Clients ask for these paths here, \
              and the upstream is asked for them behind its own path. With other profiles session, verify, signout and \
              signout-everywhere are here below it.",
        home: field!(base_path),
        ..Param::SESSION
    },
    Param {
        name: "session-path",
        kind: Kind::Form("path", path),
        change: Change::AtStart,
        doc: "Path that the upstream is asked for sessions, of other profiles than NextAuth's. Empty for the profile's own.",
        home: field!(session_path),
        ..Param::SESSION
    },
    Param {
        name: "session-signout-path",
        kind: Kind::Form("path", path),
        change: Change::AtStart,
        doc: "Path that signs out, of other profiles than NextAuth's. Empty for the profile's own; generic has none.",
        home: field!(session_signout_path),
        ..Param::SESSION
    },
    Param {
        name: "session-nobody",
        kind: Kind::Form("answers", plain::<SessionNobody>),
        change: Change::AtStart,
        doc: "By what the upstream of profile generic says that nobody is signed in. Statuses, {} and null with commas \
              between; the first is what is answered here; {} and null with a 200 always say so. Empty is 401.",
        home: field!(session_nobody),
        ..Param::SESSION
    },
    Param {
        name: "session-prefix",
        kind: Kind::Form("text", not_empty),
        default: "auth:session:",
        change: Change::AtStart,
        doc: "What the keys of sessions begin with.",
        home: Home::Field {
            get: |config| String::from_utf8_lossy(&config.session().prefix).into_owned(),
            set: |config, text| {
                config.namespaces = config.namespaces.change_session(|session| session.prefix = text.into())?;
                Ok(())
            },
        },
        ..Param::SESSION
    },
    Param {
        name: "session-ttl",
        kind: Kind::Span(Ttl(1), TTL_MAX),
        default: "5s",
        doc: "How long a session is answered from here before the upstream is asked again.",
        home: Home::Field {
            get: |config| show_span(config.session().ttl),
            set: |config, text| {
                let ttl = span(text)?;
                config.namespaces = config.namespaces.change_session(|session| session.ttl = ttl)?;
                Ok(())
            },
        },
        ..Param::SESSION
    },
    Param {
        name: "session-stale",
        kind: Kind::Span(Ttl(0), TTL_MAX),
        default: "30s",
        doc: "How long the last good session may stand in for a failing upstream. Counted from the end of its \
              session-ttl; 0 for not at all.",
        home: field!(session_stale),
        ..Param::SESSION
    },
    Param {
        name: "session-error",
        kind: Kind::Choice(SessionError::NAMES),
        default: "empty",
        doc: "What is answered when the upstream fails and no good session is left. empty is an empty session, pass \
              is the upstream's failure.",
        home: field!(session_error),
        ..Param::SESSION
    },
    Param {
        name: "session-revoke",
        kind: Kind::Bool,
        default: "yes",
        doc: "Whether a signed-out token stays dead for session-max-age. Or until its session's end, where that is later. \
              no: for seconds, until nothing that began before the sign-out is left.",
        home: field!(session_revoke),
        ..Param::SESSION
    },
    Param {
        name: "session-max-age",
        kind: Kind::Span(Ttl(1000), MAX_AGE_MAX),
        default: "30d",
        doc: "How long a session of the application lasts at most, NextAuth's session.maxAge. With \
              session-revoke a sign-out is remembered for as long, in memory and in cloakroom.fences.",
        home: field!(session_max_age),
        ..Param::SESSION
    },
    Param {
        name: "fence-log",
        kind: Kind::Choice(FenceLogging::NAMES),
        default: "auto",
        change: Change::AtStart,
        doc: "Whether who signed out stays signed out when the server is restarted or killed. Sign-outs are kept in \
              cloakroom.fences in dir, hashed under the key in cloakroom.key there, and are on the disk before they are \
              answered; the files are made at the first sign-out. auto: where dir can be written to, and a warning \
              where not; yes: the server does not start without.",
        home: field!(fence_log),
        ..Param::SESSION
    },
    Param {
        name: "verify",
        kind: Kind::Bool,
        default: "yes",
        doc: "Whether verify under base-path tells a proxy who is signed in. no: that path is the application's like any \
              other.",
        home: field!(verify.is_on),
        ..Param::SESSION
    },
    Param {
        name: "verify-headers",
        kind: Kind::Form("headers", optional::<ClaimHeaders>),
        doc: "Headers that verify makes of a session beside its own. Such as user.id=X-User-Id,user.role=X-Role; a|b=X-A \
              is the first of two claims that is there, and x-auth-request and remote are the headers of oauth2-proxy \
              and of Authelia. Have the proxy take them out of the client's request.",
        home: field!(verify.headers),
        ..Param::SESSION
    },
    Param {
        name: "verify-redirect",
        kind: Kind::Form("URL", optional::<Redirect>),
        doc: "Where verify sends a browser that opens a page and is not signed in. The page goes along in callbackUrl; \
              empty is 401 alone. For Traefik and Caddy: nginx takes a 302 for an error.",
        home: field!(verify.redirect),
        ..Param::SESSION
    },
    Param {
        name: "verify-jws",
        kind: Kind::Bool,
        default: "yes",
        doc: "Whether verify adds X-Session, the session signed for a minute at most. A JWS by ES256; its keys are at \
              /.well-known/jwks.json and kept in cloakroom.signing in dir, which is made at the first signature.",
        home: field!(verify.jws),
        ..Param::SESSION
    },
    Param {
        name: "verify-key-age",
        kind: Kind::Span(KEY_AGE_MIN, MAX_AGE_MAX),
        default: "90d",
        doc: "After how long another key signs. It is published ten minutes earlier, and the one before it stays so.",
        home: field!(verify.key_age),
        ..Param::SESSION
    },
    // After the two settings that are parts of it: a rewritten file then names it only when they do not suffice.
    Param {
        name: "namespace",
        kind: Kind::Form("namespaces", |text| Ok(text.to_owned())),
        default: "SESSION prefix=auth:session: ttl=5s secret=yes fence=yes login=no jitter=0 \
                  USER_PROFILE prefix=user: ttl=300s secret=no fence=no login=no jitter=0 \
                  DASHBOARD prefix=dash: ttl=60s secret=no fence=no login=no jitter=0 \
                  LOGIN prefix=sess: ttl=86400s secret=no fence=no login=yes jitter=0",
        change: Change::AtStart,
        lines: Lines::Add,
        doc: "A named part of the key space: NAME prefix=user: ttl=300s secret fence login jitter=0.1. Its keys begin \
              with the prefix; secret hides the rest of the key, fence refuses late writes after a removal, login says \
              that people stay signed in only as long as these entries live (they are evicted last; SESSION is so \
              marked with source store), jitter shortens TTLs at random by up to that share. Several lines add up, and naming one again changes what is written; \
              in TOML a namespace is a table: [namespace.NAME].",
        home: field!(namespaces),
        ..Param::SESSION
    },
];

fn plain<T: std::str::FromStr<Err = String> + ToString>(text: &str) -> Result<String, String> {
    Ok(text.parse::<T>()?.to_string())
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("argument must not be empty".to_owned()) } else { Kind::Text.read(text) }
}

/// A `basePath`. What is wrong with it most often is said in so many words.
fn base_path(text: &str) -> Result<String, String> {
    const LETTERS_MAX: usize = 200;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let has_dots = || text.split('/').any(|segment| matches!(segment, "." | ".."));
    let why = match text {
        _ if text.contains("://") => "be a path alone, such as /auth: the application's address is upstream's",
        _ if !text.starts_with('/') => "begin with a slash, such as /auth",
        "/" => "be a path below the root, such as /auth",
        _ if text.ends_with('/') => "end without a slash, such as /auth",
        _ if text.contains(['?', '#']) => "be a path such as /auth, without a query",
        _ if text.contains("//") => "have no two slashes in a row",
        _ if has_dots() => "have no segment . or ..: write out where that leads",
        _ if !text.bytes().all(plain) => "be made of letters, digits, '-', '.', '_', '~' and slashes, as /auth is",
        _ if text.len() > LETTERS_MAX => "be of 200 letters at most",
        "/admin" | "/.well-known" => "be another path: there are paths of the server's own below that",
        _ => return Ok(text.to_owned()),
    };
    Err(format!("argument must {why}"))
}

/// A path without a query, in plain letters: it is compared as it is sent.
fn path(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let is_path = text.starts_with('/') && text.len() > 1 && text.bytes().all(plain) && !text.contains("//");
    if !text.is_empty() && !is_path {
        return Err("argument must be a path such as /api/me, without a query".to_owned());
    }
    Ok(text.to_owned())
}

/// A cookie's name as RFC 6265 has it: a token.
fn cookie_name(text: &str) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.bytes().all(token) {
        return Err("argument must be the name of a cookie: letters, digits, '-', '_', '.'".to_owned());
    }
    Ok(text.to_owned())
}
