//! What a token says: names and values in order, each value as the text that it was written as.
//!
//! Values are neither understood nor written anew, so that what JavaScript wrote comes out as it went in: the order of
//! names, numbers to the last digit, and the halves of characters that only JavaScript can write.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::jwt::{TOLERANCE, TokenFault};

/// The claims of a token.
///
/// ```
/// use cloakroom::session::Claims;
///
/// let mut claims = Claims::read(br#"{"name":"alice","exp":1700000000}"#)?;
/// claims.set("role", "\"admin\"".to_owned());
/// assert_eq!(claims.get("name"), Some("\"alice\""));
/// assert_eq!(claims.to_json(), r#"{"name":"alice","exp":1700000000,"role":"admin"}"#);
/// # Ok::<(), cloakroom::session::TokenFault>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Claims(Vec<(String, String)>);

impl Claims {
    /// Reads a JSON object; [`TokenFault::Malformed`] if it is none.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, TokenFault};
    /// # let mut claims = Claims::read(br#"{"name":"alice","exp":1700000000}"#)?;
    /// assert!(Claims::read(b"{}").is_ok());
    /// assert_eq!(Claims::read(b"[]").err(), Some(TokenFault::Malformed));
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn read(text: &[u8]) -> Result<Claims, TokenFault> {
        let text = std::str::from_utf8(text).map_err(|_| TokenFault::Malformed)?;
        serde_json::from_str(text).map_err(|_| TokenFault::Malformed)
    }

    /// The value of a claim, as JSON.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, TokenFault};
    /// # let mut claims = Claims::read(br#"{"name":"alice","exp":1700000000}"#)?;
    /// assert_eq!(claims.get("name"), Some("\"alice\""));
    /// assert_eq!(claims.get("role"), None);
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The value of a claim that is a number.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, TokenFault};
    /// # let mut claims = Claims::read(br#"{"name":"alice","exp":1700000000}"#)?;
    /// assert_eq!(claims.number("exp"), Some(1_700_000_000.0));
    /// assert_eq!(claims.number("name"), None);
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn number(&self, name: &str) -> Option<f64> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Sets a claim to a JSON value: where it stood, or at the end.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, TokenFault};
    /// # let mut claims = Claims::read(br#"{"name":"alice","exp":1700000000}"#)?;
    /// claims.set("exp", "1".to_owned());
    /// assert_eq!(claims.number("exp"), Some(1.0));
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn set(&mut self, name: &str, json: String) {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, value)) => *value = json,
            None => self.0.push((name.to_owned(), json)),
        }
    }

    /// All of them as one JSON object.
    ///
    /// ```
    /// # use cloakroom::session::{Claims, TokenFault};
    /// # let mut claims = Claims::read(br#"{"name":"alice","exp":1700000000}"#)?;
    /// assert_eq!(claims.to_json(), r#"{"name":"alice","exp":1700000000}"#);
    /// # Ok::<(), TokenFault>(())
    /// ```
    pub fn to_json(&self) -> String {
        object(self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Whether they hold at this Unix time in seconds.
    pub(super) fn check(&self, unix: u64) -> Result<(), TokenFault> {
        let instant = |name: &str| match (self.get(name), self.number(name)) {
            (Some(_), None) => Err(TokenFault::Malformed),
            (_, number) => Ok(number),
        };
        instant("iat")?;
        if instant("nbf")?.is_some_and(|from| from > unix.saturating_add(TOLERANCE) as f64) {
            return Err(TokenFault::Early);
        }
        if instant("exp")?.is_some_and(|end| end <= unix as f64 - TOLERANCE as f64) {
            return Err(TokenFault::Expired);
        }
        Ok(())
    }
}

/// A JSON object of names and of values that are JSON.
pub(super) fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut json = String::from("{");
    for (name, value) in fields {
        if json.len() > 1 {
            json.push(',');
        }
        json += &serde_json::Value::from(name).to_string();
        json.push(':');
        json += value;
    }
    json.push('}');
    json
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Claims, D::Error> {
        reader.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Claims, M::Error> {
        let mut claims = Claims::default();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            // Of what comes twice the last counts, as in JavaScript.
            claims.set(&name, value.get().to_owned());
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_out_as_they_went_in() {
        let text = r#"{"name":"\ud800","n":123456789012345678901234567890,"o":{"b":1,"a":[null]},"z":1e400}"#;
        let mut claims = Claims::read(text.as_bytes()).expect("claims");
        assert_eq!(claims.to_json(), text);
        claims.set("n", "7".to_owned());
        claims.set("\"", "true".to_owned());
        assert_eq!(claims.to_json(), r#"{"name":"\ud800","n":7,"o":{"b":1,"a":[null]},"z":1e400,"\"":true}"#);
        let twice = Claims::read(br#"{"a":1,"b":2,"a":3}"#).expect("claims");
        assert_eq!(twice.to_json(), r#"{"a":3,"b":2}"#);
        for text in ["", "[]", "null", "7", "{", "{\"a\":}", "{\"a\":1}x", "\"\""] {
            assert_eq!(Claims::read(text.as_bytes()).err(), Some(TokenFault::Malformed), "{text}");
        }
        assert_eq!(Claims::read(b"{\"a\":\"\xff\"}").err(), Some(TokenFault::Malformed));
    }

    #[test]
    fn instants_must_be_numbers_and_are_held_to_with_a_tolerance() {
        let check = |text: &str, unix| Claims::read(text.as_bytes()).expect("claims").check(unix);
        assert_eq!(check(r#"{"exp":1000}"#, 1014), Ok(()));
        assert_eq!(check(r#"{"exp":1000}"#, 1015), Err(TokenFault::Expired));
        assert_eq!(check(r#"{"exp":1000.5}"#, 1015), Ok(()));
        assert_eq!(check(r#"{"nbf":1000}"#, 985), Ok(()));
        assert_eq!(check(r#"{"nbf":1000}"#, 984), Err(TokenFault::Early));
        assert_eq!(check("{}", 7), Ok(()));
        assert_eq!(check(r#"{"exp":5}"#, 7), Ok(()));
        for text in [r#"{"exp":"1000"}"#, r#"{"iat":null}"#, r#"{"nbf":[]}"#] {
            assert_eq!(check(text, 7), Err(TokenFault::Malformed), "{text}");
        }
    }
}
