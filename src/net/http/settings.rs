//! The session engine's settings, made of the server's.

use super::HEAD_MAX;
use crate::config::{self, Config, SessionSource};
use crate::session::{self, NextAuth, Secrets, Service, Settings, Source};

/// The part of `maxmemory` that fences may take before those of made-up tokens no longer last.
const FENCES_SHARE: u64 = 8;

/// Bytes of a token that is decoded here at most. There is no way past the cache, and a head may have no more.
const TOKEN_MAX: usize = HEAD_MAX;

/// Whose sessions they are, as the configuration has it.
pub(crate) fn service(config: &Config) -> Service {
    let service = match config.profile {
        config::Profile::Auto | config::Profile::NextAuth | config::Profile::AuthJs => Service::next_auth(),
        config::Profile::BetterAuth => Service::better_auth(),
        config::Profile::Kratos => Service::kratos(),
        config::Profile::Supabase => Service::supabase(),
        config::Profile::Generic => Service::generic(&config.session_path),
    };
    let mut service = service.with_base_path(&config.base_path);
    if !config.session_path.is_empty() {
        service = service.with_path(&config.session_path);
    }
    if !config.session_signout_path.is_empty() {
        service = service.with_sign_out(&config.session_signout_path);
    }
    match config.session_nobody.0.as_slice() {
        [] => service,
        words => service.with_nobody(words),
    }
}

/// The session engine's settings as the configuration has them. Without secrets no tokens are decoded.
pub fn settings(config: &Config, secrets: Option<Secrets>) -> Settings {
    let defaults = Settings::default();
    let source = match (config.session_source(), secrets) {
        (SessionSource::NextAuth, Some(secrets)) => {
            Source::NextAuth(NextAuth::new(secrets).with_claims(config.session_claims.0.clone()))
        }
        (SessionSource::Upstream, _) => Source::Upstream,
        _ => Source::StoreAlone,
    };
    Settings {
        cookie_max: if source.secrets().is_some() { TOKEN_MAX } else { defaults.cookie_max },
        source,
        profile: match config.profile {
            config::Profile::NextAuth => Some(session::Profile::NextAuth),
            config::Profile::AuthJs => Some(session::Profile::AuthJs),
            _ => None,
        },
        service: service(config),
        cookie: Some(config.session_cookie.clone()).filter(|cookie| !cookie.is_empty()),
        prefix: config.session().prefix.clone(),
        ttl: config.session().ttl,
        stale: config.session_stale,
        timeout: config.upstream_timeout,
        on_error: match config.session_error {
            config::SessionError::Empty => session::OnError::Empty,
            config::SessionError::Pass => session::OnError::Pass,
        },
        revoke: config.session_revoke,
        max_age: config.session_max_age,
        fences_room: match config.maxmemory {
            0 => defaults.fences_room,
            limit => usize::try_from(limit / FENCES_SHARE).unwrap_or(usize::MAX),
        },
        body_max: usize::try_from(config.upstream_body_limit).unwrap_or(usize::MAX),
        headers: config.verify.headers.clone(),
        signs: config.verify.jws,
    }
}
