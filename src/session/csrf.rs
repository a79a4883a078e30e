//! The token that a sign-out must show, as NextAuth makes it: `token|hash` in a cookie that no page can read, the hash over
//! token and secret, and the token in the body of the request. Here it is made and checked where sessions are
//! decoded here; with an upstream it is the upstream's.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Profile;
use super::answer::{Answer, Origin};
use super::cache::SessionCache;
use super::cookie::{Side, Tokens, cookies_of, halves};
use super::jwt::DICE;
use super::jwt::Secrets;
use super::nextauth::side_of;
use crate::engine::acl::same_secret;
use crate::num::hex;

/// Letters of a token: 32 bytes in hexadecimal.
const TOKEN: usize = 64;

fn hash(token: &[u8], secret: &str) -> String {
    hex(&Sha256::new().chain_update(token).chain_update(secret).finalize())
}

/// What the libraries hash with: next-auth 4 its one secret, Auth.js all of them with commas between.
fn secrets(secrets: &Secrets) -> impl Iterator<Item = String> {
    let joined = secrets.all().collect::<Vec<_>>().join(",");
    secrets.all().map(str::to_owned).chain([joined]).collect::<Vec<_>>().into_iter()
}

fn name(profile: Profile, is_secure: bool) -> String {
    let name = match profile {
        Profile::NextAuth => "next-auth.csrf-token",
        Profile::AuthJs => "authjs.csrf-token",
    };
    if is_secure { format!("__Host-{name}") } else { name.to_owned() }
}

/// What stands behind the bar between token and hash, which a cookie may have escaped.
fn behind_bar(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'|', hash @ ..] | [b'%', b'7', b'C' | b'c', hash @ ..] => Some(hash),
        _ => None,
    }
}

/// Whether a cookie may vouch for a csrf token, as a page on another site cannot make it: NextAuth keeps `token|hash` in one,
/// under a name that an app may choose. Whether the hash is right only the app can tell. `cookies` are the values of a
/// request's `Cookie` headers.
pub fn may_vouch<'a>(cookies: impl IntoIterator<Item = &'a [u8]>, token: &[u8]) -> bool {
    let mut values = cookies.into_iter().flat_map(cookies_of).filter_map(|cookie| halves(cookie).1);
    !token.is_empty() && values.any(|value| value.strip_prefix(token).is_some_and(|rest| behind_bar(rest).is_some()))
}

/// The token in a cookie's value, if its hash is right.
fn authentic<'v>(value: &'v [u8], known: &Secrets) -> Option<&'v [u8]> {
    let (token, rest) = value.split_at_checked(TOKEN)?;
    let given = behind_bar(rest)?;
    secrets(known).any(|secret| same_secret(hash(token, &secret).as_bytes(), given)).then_some(token)
}

impl SessionCache {
    /// The csrf token that a request's cookies vouch for. Where HTTPS is spoken only the cookie counts that no other host can
    /// set.
    fn vouched<'a>(
        &self,
        tokens: &Tokens,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        is_secure: bool,
    ) -> Option<&'a [u8]> {
        let vault = self.core.vault()?;
        let profiles = [Profile::NextAuth, Profile::AuthJs];
        let profiles = profiles.into_iter().filter(|profile| !tokens.profile_known || *profile == tokens.profile);
        let names: Vec<String> = profiles.map(|profile| name(profile, is_secure)).collect();
        let mut cookies = cookies.into_iter().flat_map(cookies_of).map(halves);
        cookies.find_map(|(name, value)| {
            let own = names.iter().any(|own| own.as_bytes() == name);
            authentic(value.filter(|_| own)?, vault.source.secrets())
        })
    }

    /// Whether a request may change something: its cookies vouch for the token that it gives. `cookies` are the values of its
    /// `Cookie` headers, `is_https` says that a browser came over HTTPS.
    #[cfg_attr(doc, doc(hidden))]
    pub fn vouches<'a>(
        &self,
        tokens: &Tokens,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        is_https: bool,
        given: &[u8],
    ) -> bool {
        let is_secure = is_https || side_of(tokens) == Some(Side::Secure);
        self.vouched(tokens, cookies, is_secure).is_some_and(|token| same_secret(token, given))
    }

    /// The answer to `GET /api/auth/csrf`: the token that the cookies vouch for, or a new one of these random bytes. `None`
    /// where there are no secrets.
    #[cfg_attr(doc, doc(hidden))]
    pub fn csrf<'a>(
        &self,
        tokens: &Tokens,
        cookies: impl IntoIterator<Item = &'a [u8]>,
        is_https: bool,
        dice: [u8; DICE],
    ) -> Option<Answer> {
        let vault = self.core.vault()?;
        let is_secure = is_https || side_of(tokens) == Some(Side::Secure);
        let said =
            |token: &str| Answer::plain(200, Bytes::from(format!(r#"{{"csrfToken":"{token}"}}"#)), Origin::Nothing);
        if let Some(token) = self.vouched(tokens, cookies, is_secure) {
            return Some(said(&String::from_utf8_lossy(token)));
        }
        let token = hex(&dice);
        let secret = match tokens.profile {
            Profile::NextAuth => secrets(vault.source.secrets()).next(),
            Profile::AuthJs => secrets(vault.source.secrets()).last(),
        };
        let hash = hash(token.as_bytes(), &secret?);
        let (name, secure) = (name(tokens.profile, is_secure), if is_secure { "; Secure" } else { "" });
        let mut answer = said(&token);
        answer.set_cookie(format!("{name}={token}%7C{hash}; Path=/; HttpOnly{secure}; SameSite=Lax").into());
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csrf_token_counts_with_its_cookie_whatever_that_is_called() {
        let is = |cookies: &str, token: &str| may_vouch([cookies.as_bytes()], token.as_bytes());
        assert!(is("a=1; next-auth.csrf-token=ab%7C12", "ab"));
        assert!(is("__Host-authjs.csrf-token=ab|12; a=1", "ab"));
        assert!(is("my.csrf=ab%7c12", "ab"));
        for (cookies, token) in [("a=1", "ab"), ("c=abc|1", "ab"), ("c=ab", "ab"), ("c=|12", ""), ("ab|12", "ab")] {
            assert!(!is(cookies, token), "{cookies} {token}");
        }
    }
}
