//! What sessions come from: the settings `source` and `session-claims`.

use std::fmt;
use std::str::FromStr;

use super::{Config, SessionSource};

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
            _ => Ok(()),
        }
    }

    /// What sessions come from, `auto` resolved.
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
        let config = |settings: &[(&str, &str)]| {
            let mut config = Config::default();
            settings.iter().for_each(|(name, value)| config.set(name, value).expect("a value"));
            config
        };
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
}
