//! What sessions come from: the settings `source`, `session-claims` and `session-nobody`.

use std::fmt;
use std::str::FromStr;

use super::{Config, Profile, SessionSource, UpstreamHost};

/// The `basePath` that NextAuth and better-auth have unless they are told otherwise.
#[cfg_attr(doc, doc(hidden))]
pub const BASE_PATH: &str = "/api/auth";

/// Further claims of a token that sessions show: pairs of a field of `user` and the claim that it is a copy of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionClaims(pub Vec<(String, String)>);

impl FromStr for SessionClaims {
    type Err = String;

    fn from_str(text: &str) -> Result<SessionClaims, String> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
            let (field, claim) =
                pair.split_once('=').map_or((pair, pair), |(field, claim)| (field.trim(), claim.trim()));
            let is_name =
                |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_control() || "=\"' ".contains(c));
            match is_name(field) && is_name(claim) {
                true => Ok((field.to_owned(), claim.to_owned())),
                false => Err("argument must be claims with commas between: role, or id=sub for user.id".to_owned()),
            }
        });
        Ok(SessionClaims(pairs.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for SessionClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (field, claim)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match field == claim {
                true => write!(f, "{comma}{field}")?,
                false => write!(f, "{comma}{field}={claim}")?,
            }
        }
        Ok(())
    }
}

/// What a session service says of nobody: a status, or a body of a 200.
///
/// ```
/// use cloakroom::{config::Nobody, session::Service};
///
/// // 204 says so, and is what is said here; so is 404 taken for it.
/// let service = Service::generic("/me").with_nobody(&[Nobody::Status(204), Nobody::Status(404)]);
/// assert_eq!(service.path(), "/me");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// An answer of this status.
    Status(u16),
    /// `{}`
    Object,
    /// `null`
    Null,
}

/// `session-nobody`: what an upstream says when nobody is signed in, with commas between. The first is what is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionNobody(pub Vec<Nobody>);

impl FromStr for SessionNobody {
    type Err = String;

    fn from_str(text: &str) -> Result<SessionNobody, String> {
        let words =
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(|word| match word {
                "{}" => Ok(Nobody::Object),
                "null" => Ok(Nobody::Null),
                // A 429 says nothing about the user.
                _ => match word.parse() {
                    Ok(status) if status == 204 || ((400..500).contains(&status) && status != 429) => {
                        Ok(Nobody::Status(status))
                    }
                    _ => Err("argument must be statuses (204, or of 400 to 499), {} and null, with commas between"
                        .to_owned()),
                },
            });
        Ok(SessionNobody(words.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for SessionNobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match word {
                Nobody::Status(status) => write!(f, "{comma}{status}")?,
                Nobody::Object => write!(f, "{comma}{{}}")?,
                Nobody::Null => write!(f, "{comma}null")?,
            }
        }
        Ok(())
    }
}

impl Config {
    /// Refuses a source that has not what it needs.
    pub(super) fn check_source(&self) -> Result<(), String> {
        match self.source {
            SessionSource::Upstream if self.upstream.is_none() => {
                Err("source upstream asks an application: set upstream to its address".to_owned())
            }
            SessionSource::NextAuth if self.secret_file.is_empty() => {
                Err("source nextauth decodes tokens with the application's secret: set secret-file".to_owned())
            }
            SessionSource::Store if self.upstream.is_some() => {
                Err("source store asks nobody: leave upstream or source out".to_owned())
            }
            _ => self.check_profile(),
        }
    }

    fn is_next_auth(&self) -> bool {
        matches!(self.profile, Profile::Auto | Profile::NextAuth | Profile::AuthJs)
    }

    /// Whether the upstream is asked for its own host, `auto` of `upstream-host` resolved.
    #[cfg_attr(doc, doc(hidden))]
    pub fn asks_for_own_host(&self) -> bool {
        match self.upstream_host {
            UpstreamHost::Auto => {
                !self.is_next_auth() && self.upstream.as_ref().is_some_and(|upstream| upstream.is_secure)
            }
            UpstreamHost::Client => false,
            UpstreamHost::Upstream => true,
        }
    }

    fn check_profile(&self) -> Result<(), String> {
        let below = |path: &str, other: &str| path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
        if self.base_path == self.rest.path
            || below(&self.base_path, &self.rest.path)
            || below(&self.rest.path, &self.base_path)
        {
            return Err("base-path and rest-path lead to the same paths: give one of them another".to_owned());
        }
        let is_next_auth = self.is_next_auth();
        let has_paths = !(self.session_path.is_empty() && self.session_signout_path.is_empty());
        match self.profile {
            _ if !is_next_auth && self.session_source() == SessionSource::NextAuth => {
                Err(format!("source nextauth decodes NextAuth's tokens: profile {} has others", self.profile))
            }
            Profile::Generic if self.session_path.is_empty() => {
                Err("profile generic asks the path that session-path names: set it".to_owned())
            }
            Profile::Generic => Ok(()),
            _ if !self.session_nobody.0.is_empty() => Err("session-nobody is for profile generic".to_owned()),
            _ if is_next_auth && has_paths => {
                Err("session-path and session-signout-path are for other profiles than NextAuth's".to_owned())
            }
            Profile::Supabase if self.base_path == "/auth/v1" => {
                Err("base-path /auth/v1 would hide Supabase's own /auth/v1/verify: leave it out".to_owned())
            }
            Profile::Supabase if !self.session_cookie.is_empty() => {
                Err("profile supabase has no session-cookie: its tokens come as bearers".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What sessions come from, `auto` resolved.
    #[cfg_attr(doc, doc(hidden))]
    pub fn session_source(&self) -> SessionSource {
        match self.source {
            SessionSource::Auto if self.upstream.is_some() => SessionSource::Upstream,
            SessionSource::Auto if !self.secret_file.is_empty() => SessionSource::NextAuth,
            SessionSource::Auto => SessionSource::Store,
            named => named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        settings.iter().for_each(|(name, value)| config.set(name, value).expect("a value"));
        config
    }

    #[test]
    fn claims_are_names_with_commas_between() {
        let shown = |text: &str| text.parse::<SessionClaims>().map(|claims| claims.to_string());
        assert_eq!(shown(" id = sub , role,role=role,").as_deref(), Ok("id=sub,role,role"));
        assert_eq!(shown("").as_deref(), Ok(""));
        for text in ["=", "a=", "=a", "a=b=c", "a b", "\"a\""] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_source_is_found_and_must_have_what_it_needs() {
        let (upstream, secret) = (("upstream", "http://127.0.0.1:3000"), ("secret-file", "/run/secret"));
        assert_eq!(config(&[]).session_source(), SessionSource::Store);
        assert_eq!(config(&[secret]).session_source(), SessionSource::NextAuth);
        assert_eq!(config(&[secret, upstream]).session_source(), SessionSource::Upstream);
        let both = config(&[secret, upstream, ("source", "nextauth")]);
        assert_eq!((both.session_source(), both.check()), (SessionSource::NextAuth, Ok(())));
        for (settings, cure) in [
            (vec![("source", "nextauth")], "set secret-file"),
            (vec![("source", "upstream")], "set upstream"),
            (vec![("source", "store"), upstream], "leave upstream or source out"),
        ] {
            assert!(config(&settings).check().expect_err(cure).contains(cure));
        }
    }

    #[test]
    fn a_base_path_is_a_path_and_what_is_wrong_with_another_is_said() {
        let mut config = Config::default();
        let long = format!("/{}", "a".repeat(200));
        for (path, why) in [
            ("", "begin with a slash"),
            ("auth", "begin with a slash"),
            ("https://shop.example/auth", "upstream's"),
            ("/", "below the root"),
            ("/auth/", "end without a slash"),
            ("/auth?x", "without a query"),
            ("/auth#x", "without a query"),
            ("//auth", "two slashes"),
            ("/a//b", "two slashes"),
            ("/./auth", "no segment"),
            ("/a/..", "no segment"),
            ("/api auth", "be made of letters"),
            ("/%61uth", "be made of letters"),
            ("/\u{e4}uth", "be made of letters"),
            ("/auth\r\nX: y", "be made of letters"),
            (&long, "200 letters"),
            ("/admin", "the server's own"),
            ("/.well-known", "the server's own"),
        ] {
            let refusal = config.set("base-path", path).expect_err(path).to_string();
            assert!(refusal.contains(why), "{path}: {refusal}");
        }
        for path in ["/auth", "/docs/api/auth", "/admin/api/auth", "/a.b/~c", &long[..200]] {
            assert_eq!(config.set("base-path", path), Ok(()), "{path}");
        }
    }

    #[test]
    fn nobody_is_told_by_statuses_and_empty_bodies() {
        let shown = |text: &str| text.parse::<SessionNobody>().map(|nobody| nobody.to_string());
        assert_eq!(shown(" 401 ,{}, null,204").as_deref(), Ok("401,{},null,204"));
        for text in ["200", "302", "429", "500", "[]", "nobody", "401;403"] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hosted_service_is_asked_for_its_own_host() {
        let asks = |rows: &[(&str, &str)]| config(rows).asks_for_own_host();
        let (there, here) = (("upstream", "https://project.example"), ("upstream", "http://127.0.0.1:9999"));
        let (supabase, next_auth) = (("profile", "supabase"), ("profile", "authjs"));
        assert!(asks(&[there, supabase]) && !asks(&[here, supabase]));
        assert!(!asks(&[there]) && !asks(&[there, next_auth]) && !asks(&[]));
        assert!(asks(&[here, ("upstream-host", "upstream")]));
        assert!(!asks(&[there, supabase, ("upstream-host", "client")]));
    }

    #[test]
    fn a_profile_says_what_it_lacks() {
        let check = |settings: &[(&str, &str)]| {
            let mut config = Config::default();
            settings.iter().for_each(|(name, value)| config.set(name, value).expect(name));
            config.check()
        };
        for good in [
            &[("profile", "kratos")][..],
            &[("profile", "kratos"), ("session-path", "/auth/whoami")],
            &[("profile", "generic"), ("session-path", "/me"), ("session-nobody", "null")],
            &[("profile", "better-auth"), ("session-cookie", "shop.session_token")],
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[("profile", "generic")][..],
            &[("session-path", "/me")],
            &[("profile", "authjs"), ("session-signout-path", "/out")],
            &[("profile", "kratos"), ("session-nobody", "401")],
            &[("profile", "supabase"), ("session-cookie", "sb")],
            &[("profile", "better-auth"), ("source", "nextauth"), ("secret-file", "s")],
            &[("profile", "better-auth"), ("secret-file", "s")],
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(
            check(&[("profile", "supabase"), ("base-path", "/auth/v1")]).is_err_and(|why| why.contains("leave it out"))
        );
        for (base, rest) in [("/redis", "/redis"), ("/redis/auth", "/redis"), ("/kv", "/kv/v1")] {
            let why = check(&[("base-path", base), ("rest-path", rest)]).expect_err(base);
            assert!(why.contains("give one of them another"), "{why}");
        }
        for (base, rest) in [("/redisx", "/redis"), ("/auth", "/redis/auth"), ("/docs/api/auth", "/docs/redis")] {
            assert_eq!(check(&[("base-path", base), ("rest-path", rest)]), Ok(()), "{base} {rest}");
        }
        let mut config = Config::default();
        for path in ["me", "/", "/me?x", "/a//b", "/a b", "/%41", "http://a/me"] {
            assert!(config.set("session-path", path).is_err(), "{path}");
        }
    }
}
