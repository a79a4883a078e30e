//! Session tokens of every shape: none ends the server, none that was changed is taken, and what is made of claims says
//! the same when it is read.

use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets, TokenFault};

/// After the kept tokens were made, and before most of them end.
const NOW: u64 = 1_795_464_000;

/// One case: a token, or the claims of one.
pub fn run(input: &[u8]) {
    let secrets = Secrets::new(["cloakroom-test-secret-0123456789abcdef", "another"]).expect("two secrets");
    let token = input.trim_ascii();
    for profile in [Profile::NextAuth, Profile::AuthJs] {
        let keyring = Keyring::new(profile, profile.cookie(), &secrets);
        match keyring.decode(token, NOW) {
            Ok(claims) => {
                round(&keyring, &claims);
                // What is authentic is so to the last letter.
                let mut changed = token.to_vec();
                let middle = changed.len() / 2;
                changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
                assert!(keyring.decode(&changed, NOW).is_err(), "a changed token was taken");
                assert_eq!(keyring.decode(token, u64::MAX).err(), claims.number("exp").map(|_| TokenFault::Expired));
            }
            Err(fault) => assert!(!fault.word().is_empty()),
        }
        if let Ok(claims) = Claims::read(input) {
            round(&keyring, &claims);
        }
    }
}

/// A new token of the same claims says them again, and when it ends.
fn round(keyring: &Keyring, claims: &Claims) {
    let token = keyring.encode(claims.clone(), NOW, 60, [7; DICE]);
    let mut wanted = claims.clone();
    wanted.set("iat", NOW.to_string());
    wanted.set("exp", (NOW + 60).to_string());
    match keyring.decode(token.as_bytes(), NOW + 74) {
        Ok(again) => {
            wanted.set("jti", again.get("jti").expect("each has one").to_owned());
            assert_eq!(again.to_json(), wanted.to_json());
            assert_eq!(keyring.decode(token.as_bytes(), NOW + 75).err(), Some(TokenFault::Expired));
        }
        // Somebody may write claims that forbid the token's use.
        Err(fault) => assert!(claims.get("nbf").is_some(), "{fault:?}"),
    }
}
