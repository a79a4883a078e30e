//! What is sent to a collector of OpenTelemetry's: the settings that begin with `otlp-`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::Upstream;
use crate::clock::Ttl;

/// The settings of OTLP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Otlp {
    /// `otlp-endpoint`
    pub endpoint: Option<Upstream>,
    /// `otlp-headers`
    pub headers: OtlpHeaders,
    /// `otlp-resource-attributes`
    pub attributes: OtlpAttributes,
    /// `otlp-interval`
    pub interval: Ttl,
}

/// Headers and attributes at most: hosted collectors ask for one or two, and each goes with everything that is sent.
const MEMBERS_MAX: usize = 32;

/// Bytes of such a setting at most. What many servers take of a whole head is 8 KB.
const TEXT_MAX: usize = 8 * 1024;

/// Names that say how the request itself is to be read, or how its answer may come.
const OWN: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-*",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// `otlp-headers`: `key=value` with commas between, the values percent-encoded, as OpenTelemetry's own exporters take them
/// from `OTEL_EXPORTER_OTLP_HEADERS`. They are what a collector knows its senders by, so `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OtlpHeaders {
    text: String,
    lines: Arc<[(String, String)]>,
}

impl OtlpHeaders {
    /// Names in lower case, which are tokens, and values without percent signs, which are visible letters of ASCII with blanks
    /// between.
    pub fn lines(&self) -> &[(String, String)] {
        &self.lines
    }
}

impl FromStr for OtlpHeaders {
    type Err = String;

    /// A refusal names the place of what is wrong, and none of it: whoever forgets the name writes the secret there.
    fn from_str(text: &str) -> Result<OtlpHeaders, String> {
        let lines = read_all("header", text, read)?;
        for (name, _) in &lines {
            let own = OWN.iter().find(|own| own.strip_suffix('*').map_or(**own == name, |own| name.starts_with(own)));
            if let Some(own) = own {
                return Err(format!("{own} is not to be set: it belongs to the request itself"));
            }
        }
        Ok(OtlpHeaders { text: trimmed(text), lines: lines.into() })
    }
}

/// The members of a list.
fn members(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|member| !member.is_empty())
}

/// A list without what is between its members.
fn trimmed(text: &str) -> String {
    members(text).collect::<Vec<_>>().join(",")
}

/// All members of a list, which are called this.
fn read_all(
    what: &str,
    text: &str,
    read: fn(&str) -> Result<(String, String), &'static str>,
) -> Result<Vec<(String, String)>, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("argument is longer than {TEXT_MAX} bytes"));
    }
    let mut all: Vec<(String, String)> = Vec::new();
    for (at, member) in members(text).enumerate() {
        let (name, value) = read(member).map_err(|why| format!("{what} {} of argument: {why}", at + 1))?;
        if all.iter().any(|(other, _)| *other == name) {
            return Err(format!("{what} {} of argument has a name that stands before it already", at + 1));
        }
        all.push((name, value));
    }
    if all.len() > MEMBERS_MAX {
        return Err(format!("argument has more than {MEMBERS_MAX} {what}s"));
    }
    Ok(all)
}

const PERCENT: &str = "a percent sign in its value stands for two hexadecimal digits: write %25 for itself";

/// Undoes percent signs.
fn plain(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    match text.split('%').skip(1).all(digits) {
        true => Ok(percent_decode_str(text).collect()),
        false => Err(PERCENT),
    }
}

/// One header.
fn read(member: &str) -> Result<(String, String), &'static str> {
    let (name, value) = member.split_once('=').ok_or("it must be written key=value, a comma in the value as %2C")?;
    let (name, value) = (name.trim(), value.trim());
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("its name must be letters, digits and dashes");
    }
    if value.contains(';') {
        return Err("it has a semicolon, behind which nothing is taken: write %3B for one in the value");
    }
    let value = plain(value)?;
    let is_plain = value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    match String::from_utf8(value) {
        Ok(value) if is_plain => Ok((name.to_ascii_lowercase(), value.trim().to_owned())),
        _ => Err("its value must be visible letters of ASCII and blanks"),
    }
}

impl fmt::Display for OtlpHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for OtlpHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtlpHeaders({})", self.lines.len())
    }
}

/// `otlp-resource-attributes`: `key=value` with commas between, percent-encoded, as OpenTelemetry's own exporters take them from
/// `OTEL_RESOURCE_ATTRIBUTES`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpAttributes {
    text: String,
    pairs: Arc<[(String, String)]>,
}

impl OtlpAttributes {
    /// Keys and values without percent signs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

impl FromStr for OtlpAttributes {
    type Err = String;

    fn from_str(text: &str) -> Result<OtlpAttributes, String> {
        let pairs = read_all("attribute", text, |member| {
            let (key, value) =
                member.split_once('=').ok_or("it must be written key=value, a comma in the value as %2C")?;
            let part = |text: &str| String::from_utf8(plain(text.trim())?).map_err(|_| "it must be text in UTF-8");
            let (key, value) = (part(key)?, part(value)?);
            match key.is_empty() || key.contains(char::is_control) || value.contains(char::is_control) {
                true => Err("it must have a key, and neither that nor the value control characters"),
                false => Ok((key, value)),
            }
        })?;
        Ok(OtlpAttributes { text: trimmed(text), pairs: pairs.into() })
    }
}

impl fmt::Display for OtlpAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_opentelemetry_writes_them() {
        let of = |text: &str| text.parse::<OtlpAttributes>().map(|attributes| attributes.pairs().to_vec());
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(of(""), Ok(Vec::new()));
        assert_eq!(
            of("deployment.environment.name=staging, service.name = caf%C3%A9%2Cbar ,a="),
            Ok(vec![pair("deployment.environment.name", "staging"), pair("service.name", "café,bar"), pair("a", "")])
        );
        for (text, why) in [
            ("a", "key=value"),
            ("=b", "must have a key"),
            ("a=%00", "control"),
            ("a=%ff", "UTF-8"),
            ("a=%f", "%25"),
            ("a=1,a=2", "attribute 2 of argument has a name"),
        ] {
            assert!(of(text).is_err_and(|refusal| refusal.contains(why)), "{text}");
        }
    }

    fn lines(text: &str) -> Vec<(String, String)> {
        text.parse::<OtlpHeaders>().unwrap_or_else(|why| panic!("{text}: {why}")).lines().to_vec()
    }

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(lines(""), []);
        assert_eq!(lines("api-key=abc"), [line("api-key", "abc")]);
        assert_eq!(
            lines(" X-Team = s3cret , Authorization=Basic%20dTpw%3D%3D,"),
            [line("x-team", "s3cret"), line("authorization", "Basic dTpw==")]
        );
        // What is no blank and no comma need not be encoded, and people leave blanks as they are.
        assert_eq!(lines("authorization=Bearer a+b/c=="), [line("authorization", "Bearer a+b/c==")]);
        assert_eq!(lines("a=x%2Cy%3bz,b="), [line("a", "x,y;z"), line("b", "")]);
        let shown: OtlpHeaders = " a = 1 ,, b=2 ".parse().expect("headers");
        assert_eq!((shown.to_string().as_str(), format!("{shown:?}").as_str()), ("a = 1,b=2", "OtlpHeaders(2)"));
    }

    #[test]
    fn what_would_break_a_request_is_refused_and_not_repeated() {
        let many = vec!["s3cret=1"; 33].join(",");
        let long = format!("a={}", "s3cret".repeat(2000));
        for (text, why) in [
            ("s3cret", "key=value"),
            ("a=1,s3cret", "header 2 of argument"),
            ("=s3cret", "its name"),
            ("s3 cret=1", "its name"),
            ("s3cretß=1", "its name"),
            ("a=s3cret%0d%0aHost: b", "visible letters"),
            ("a=s3cret%00", "visible letters"),
            ("a=s3cretß", "visible letters"),
            ("a=s3cret%C3%9F", "visible letters"),
            ("a=s3cret%", "%25"),
            ("a=s3cret%2", "%25"),
            ("a=s3cret%zz", "%25"),
            ("a=s3cret%2%41", "%25"),
            ("a=s3cret;b=1", "%3B"),
            ("s3cret=1,S3CRET=2", "header 2 of argument has a name"),
            ("Host=s3cret", "host is not to be set"),
            ("Content-Type=s3cret", "content-* is not to be set"),
            ("content-encoding=gzip", "content-* is not to be set"),
            ("Transfer-Encoding=s3cret", "transfer-encoding is not to be set"),
            ("connection=s3cret", "connection is not to be set"),
            ("accept-encoding=gzip", "accept-encoding is not to be set"),
            (&many, "a name"),
            (&long, "longer than 8192"),
        ] {
            let refusal = text.parse::<OtlpHeaders>().expect_err(text);
            assert!(refusal.contains(why) && !refusal.contains("s3cret"), "{text}: {refusal}");
        }
        let many = (0..33).map(|at| format!("a{at}=1")).collect::<Vec<_>>().join(",");
        assert!(many.parse::<OtlpHeaders>().is_err_and(|why| why.contains("more than 32")));
    }
}
