//! What `/api/auth/verify` tells a proxy: `verify` and the settings that begin with `verify-`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::clock::Ttl;

/// The settings of `/api/auth/verify`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verify {
    /// `verify`
    pub is_on: bool,
    /// `verify-headers`
    pub headers: ClaimHeaders,
    /// `verify-redirect`
    pub redirect: Redirect,
    /// `verify-jws`
    pub jws: bool,
    /// `verify-key-age`
    pub key_age: Ttl,
}

/// Header lines that are made of claims at most: each is looked for in every session.
const LINES_MAX: usize = 32;

/// Names of header lines that mean something else to whoever reads them.
const TAKEN: &[&str] = &[
    "cache-control",
    "cache-status",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "keep-alive",
    "location",
    "retry-after",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-response-time",
    "x-session",
    "x-session-source",
];

/// The lines of oauth2-proxy. Who somebody is must not be told by what the person may choose, so a name is none.
const X_AUTH_REQUEST: &str = "user.id|user.email=X-Auth-Request-User,user.email=X-Auth-Request-Email,\
    user.username=X-Auth-Request-Preferred-Username,user.groups|user.roles|user.role=X-Auth-Request-Groups";

/// The lines of Authelia.
const REMOTE: &str = "user.id|user.email=Remote-User,user.name=Remote-Name,user.email=Remote-Email,\
    user.groups|user.roles|user.role=Remote-Groups";

/// What can be named in place of lines.
const PRESETS: &[(&str, &str)] = &[("x-auth-request", X_AUTH_REQUEST), ("remote", REMOTE)];

/// Which claim of a session becomes which header line: one of [`ClaimHeaders`].
///
/// ```
/// use cloakroom::config::ClaimHeaders;
///
/// let headers: ClaimHeaders = "user.role|user.group=X-Role".parse()?;
/// let line = &headers.lines()[0];
/// assert_eq!((line.name.as_str(), line.claims[1].join(".")), ("x-role", "user.group".to_owned()));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimHeader {
    /// Where the claim may lie, as names of members from the outside in. The first that is there counts.
    pub claims: Vec<Vec<String>>,
    /// The header's name, in lower case.
    pub name: String,
}

/// `verify-headers`: names of presets and `claim=Header`, separated by commas.
///
/// ```
/// use cloakroom::config::ClaimHeaders;
///
/// let headers: ClaimHeaders = "remote,user.plan=X-Plan".parse()?;
/// assert_eq!(headers.lines().len(), 5);
/// assert!("user.plan=Set-Cookie".parse::<ClaimHeaders>().is_err(), "that means something else");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimHeaders {
    text: String,
    lines: Arc<[ClaimHeader]>,
}

impl ClaimHeaders {
    /// The lines, those of presets among them.
    ///
    /// ```
    /// # use cloakroom::config::ClaimHeaders;
    /// let headers: ClaimHeaders = "user.plan=X-Plan".parse()?;
    /// assert_eq!(headers.lines()[0].name, "x-plan");
    /// # Ok::<(), String>(())
    /// ```
    pub fn lines(&self) -> &[ClaimHeader] {
        &self.lines
    }
}

impl FromStr for ClaimHeaders {
    type Err = String;

    fn from_str(text: &str) -> Result<ClaimHeaders, String> {
        let mut lines: Vec<ClaimHeader> = Vec::new();
        let mut shown = Vec::new();
        for word in words(text) {
            let preset = PRESETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            match preset {
                Some((name, preset)) => {
                    shown.push(*name);
                    for word in words(preset) {
                        lines.push(word.parse()?);
                    }
                }
                None => {
                    shown.push(word);
                    lines.push(word.parse()?);
                }
            }
        }
        if lines.len() > LINES_MAX {
            return Err(format!("argument names more than {LINES_MAX} headers"));
        }
        let twice = |(at, line): (usize, &ClaimHeader)| lines[..at].iter().any(|other| other.name == line.name);
        if lines.iter().enumerate().any(twice) {
            return Err("argument names a header twice; several claims for one are written a|b=Header".to_owned());
        }
        Ok(ClaimHeaders { text: shown.join(","), lines: lines.into() })
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

impl fmt::Display for ClaimHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ClaimHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<ClaimHeader, String> {
        const FORM: &str = "argument must be presets (x-auth-request, remote) and claims, such as \
                            user.id=X-User-Id,user.role=X-Role";
        let (claims, name) = text.split_once('=').ok_or(FORM)?;
        let name = name.trim().to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if name.is_empty() || !name.bytes().all(token) {
            return Err("argument must name headers by letters, digits and '-'".to_owned());
        }
        if TAKEN.contains(&name.as_str()) {
            return Err("argument names a header that means something else".to_owned());
        }
        let path = |claim: &str| -> Result<Vec<String>, String> {
            let names: Vec<String> = claim.trim().split('.').map(str::to_owned).collect();
            let plain = |name: &String| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_control());
            if names.iter().all(plain) { Ok(names) } else { Err(FORM.to_owned()) }
        };
        Ok(ClaimHeader { claims: claims.split('|').map(path).collect::<Result<_, _>>()?, name })
    }
}

/// `verify-redirect`: where browsers are sent that are not signed in; empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    url: String,
    /// Where the host begins and ends.
    host: std::ops::Range<usize>,
}

impl Redirect {
    /// The whole URL, if there is one.
    pub fn url(&self) -> Option<&str> {
        (!self.url.is_empty()).then_some(self.url.as_str())
    }

    /// The host, with its port if one is named.
    pub fn host(&self) -> &str {
        &self.url[self.host.clone()]
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        let path = self.url[self.host.end..].split('?').next().unwrap_or_default();
        if path.is_empty() { "/" } else { path }
    }
}

impl FromStr for Redirect {
    type Err = String;

    fn from_str(text: &str) -> Result<Redirect, String> {
        if text.is_empty() {
            return Ok(Redirect::default());
        }
        const FORM: &str = "argument must be a whole URL such as https://shop.example/signin";
        let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme)).ok_or(FORM)?;
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>' | b'#');
        if !text.bytes().all(plain) {
            return Err(FORM.to_owned());
        }
        let rest = &text[scheme.len()..];
        let end = scheme.len() + rest.find(['/', '?']).unwrap_or(rest.len());
        let host = &text[scheme.len()..end];
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if host.is_empty() || !host.bytes().all(letter) {
            return Err(FORM.to_owned());
        }
        Ok(Redirect { url: text.to_owned(), host: scheme.len()..end })
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_named_by_path_and_presets_by_name() {
        let headers: ClaimHeaders = "user.id=X-User-Id, user.a|b=X-Role,REMOTE".parse().expect("headers");
        assert_eq!(headers.to_string(), "user.id=X-User-Id,user.a|b=X-Role,remote");
        assert_eq!(headers.to_string().parse(), Ok(headers.clone()));
        let names: Vec<_> = headers.lines().iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["x-user-id", "x-role", "remote-user", "remote-name", "remote-email", "remote-groups"]);
        assert_eq!(headers.lines()[1].claims, [vec!["user".to_owned(), "a".to_owned()], vec!["b".to_owned()]]);
        assert_eq!("".parse::<ClaimHeaders>().map(|none| none.lines().len()), Ok(0));
        for preset in PRESETS {
            assert!(preset.0.parse::<ClaimHeaders>().is_ok_and(|headers| headers.lines().len() == 4), "{}", preset.0);
        }
    }

    #[test]
    fn a_header_that_means_something_else_is_refused() {
        for text in [
            "user.id",
            "user.id=",
            "=X-A",
            "user..id=X-A",
            "a=Set-Cookie",
            "a=x-session",
            "a=X A",
            "a=X_A",
            "a=X:A",
            "a=X-A,b=x-a",
            "remote,user.id=Remote-User",
        ] {
            assert!(text.parse::<ClaimHeaders>().is_err(), "{text}");
        }
        let many: Vec<String> = (0..=LINES_MAX).map(|number| format!("a=X-{number}")).collect();
        assert!(many.join(",").parse::<ClaimHeaders>().is_err());
    }

    #[test]
    fn a_redirect_is_a_whole_url() {
        let to: Redirect = "https://shop.example:8443/signin?x=1".parse().expect("a URL");
        assert_eq!((to.host(), to.path()), ("shop.example:8443", "/signin"));
        assert_eq!("http://a".parse::<Redirect>().map(|to| to.path().to_owned()), Ok("/".to_owned()));
        assert_eq!("".parse::<Redirect>().map(|to| to.url().is_none()), Ok(true));
        for text in [
            "/signin",
            "//a/signin",
            "javascript:alert(1)",
            "https://",
            "https://u@a/",
            "https://a/\r\nX: 1",
            "https://a/#x",
        ] {
            assert!(text.parse::<Redirect>().is_err(), "{text}");
        }
    }
}
