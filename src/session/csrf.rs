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

/// Letters of a token: 32 bytes in hexadecimal.
const TOKEN: usize = 64;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

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

/// The token in a cookie's value, if its hash is right.
fn authentic<'v>(value: &'v [u8], known: &Secrets) -> Option<&'v [u8]> {
    let (token, rest) = value.split_at_checked(TOKEN)?;
    let given = match rest {
        [b'|', given @ ..] | [b'%', b'7', b'C' | b'c', given @ ..] => given,
        _ => return None,
    };
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
