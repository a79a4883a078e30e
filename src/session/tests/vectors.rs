//! Tokens that the real libraries have made, and what they say of others' tokens.

use serde_json::Value;

use super::*;

fn vectors() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/nextauth/vectors.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn secrets(value: &Value) -> Secrets {
    match value {
        Value::Array(list) => Secrets::new(list.iter().map(|secret| secret.as_str().unwrap())).unwrap(),
        other => Secrets::new([other.as_str().unwrap()]).unwrap(),
    }
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_default()
}

fn keyring(vector: &Value) -> Keyring {
    let profile = if text(vector, "lib").contains("v4") { Profile::NextAuth } else { Profile::AuthJs };
    Keyring::new(profile, text(vector, "cookie_name"), &secrets(&vector["secret_for_decode"]))
}

/// Some time after the vectors were made: 2026-11-23T20:00:00Z.
const NOW: u64 = 1_795_464_000;

#[test]
fn every_vector_is_read_as_the_libraries_read_it() {
    let vectors = vectors();
    let mut counts = [0; 3];
    for vector in vectors["vectors"].as_array().unwrap() {
        let (id, token) = (text(vector, "id"), text(vector, "token").as_bytes());
        let decoded = keyring(vector).decode(token, NOW);
        match text(vector, "expect") {
            "undecryptable" => {
                counts[0] += 1;
                let fault = decoded.expect_err(id);
                let unknown = text(vector, "decode_error").contains("no matching");
                let wanted = if unknown { TokenFault::UnknownKey } else { TokenFault::Undecryptable };
                assert_eq!(fault, wanted, "{id}");
            }
            "expired" => {
                counts[1] += 1;
                assert_eq!(decoded.expect_err(id), TokenFault::Expired, "{id}");
            }
            expect => {
                counts[2] += 1;
                let claims: Value = serde_json::from_str(&decoded.expect(id).to_json()).unwrap();
                assert_eq!(claims, vector["payload"], "{id}");
                if expect.contains("until") {
                    let end = vector["payload"]["exp"].as_u64().unwrap() + 15;
                    assert!(keyring(vector).decode(token, end - 1).is_ok(), "{id}");
                    assert_eq!(keyring(vector).decode(token, end).unwrap_err(), TokenFault::Expired, "{id}");
                }
            }
        }
    }
    assert_eq!(counts, [9, 2, 20], "refused, expired, valid");
}

#[test]
fn what_is_made_here_is_read_here_and_has_the_libraries_form() {
    for vector in vectors()["vectors"].as_array().unwrap() {
        let id = text(vector, "id");
        let keyring = keyring(vector);
        let Ok(claims) = keyring.decode(text(vector, "token").as_bytes(), NOW) else { continue };
        let token = keyring.encode(claims, NOW + 7, 3600, [9; DICE]);
        let mut wanted = vector["payload"].clone();
        wanted["iat"] = (NOW + 7).into();
        wanted["exp"] = (NOW + 3607).into();
        wanted["jti"] = "09090909-0909-4909-8909-090909090909".into();
        let again = keyring.decode(token.as_bytes(), NOW + 10).expect(id);
        assert_eq!(serde_json::from_str::<Value>(&again.to_json()).unwrap(), wanted, "{id}");
        // Of several secrets the newest encodes.
        if vector["secret_for_decode"].is_array() {
            let newest = Secrets::new([vector["secret_for_decode"][0].as_str().unwrap()]).unwrap();
            let newest = Keyring::new(Profile::AuthJs, text(vector, "cookie_name"), &newest);
            assert!(newest.decode(token.as_bytes(), NOW + 10).is_ok());
            assert!(newest.decode(text(vector, "token").as_bytes(), NOW).is_err());
        }
        let same_header = vector["jwe_header"]["enc"] == "A256CBC-HS512" && vector["jwe_header"]["kid"].is_string()
            || id.starts_with("v4");
        if same_header && !vector["secret_for_decode"].is_array() {
            let header = |token: &str| token.split('.').next().unwrap().to_owned();
            assert_eq!(header(&token), header(text(vector, "token")), "{id}");
        }
    }
}

#[test]
fn of_several_secrets_each_opens_a_token_of_next_auth_4() {
    let one = Secrets::new(["one"]).unwrap();
    let both = Secrets::new(["two", "one"]).unwrap();
    let token = Keyring::new(Profile::NextAuth, "c", &one).encode(Claims::default(), 0, 60, [1; DICE]);
    assert!(Keyring::new(Profile::NextAuth, "c", &both).decode(token.as_bytes(), 1).is_ok());
    let token = Keyring::new(Profile::NextAuth, "c", &both).encode(Claims::default(), 0, 60, [1; DICE]);
    assert_eq!(
        Keyring::new(Profile::NextAuth, "c", &one).decode(token.as_bytes(), 1).unwrap_err(),
        TokenFault::Undecryptable
    );
    assert_eq!(Secrets::new(Vec::<String>::new()), None);
    assert_eq!(Secrets::new(["one", ""]), None);
    assert_eq!(format!("{both:?}"), "Secrets(***)");
}

/// A token with this header and no more than that right about it.
fn with_header(header: &str) -> String {
    use base64::Engine as _;
    let code = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    format!("{}..{}.{}.{}", code(header.as_bytes()), code(&[0; 12]), code(b"{}"), code(&[0; 16]))
}

#[test]
fn what_is_no_token_is_refused() {
    let secrets = Secrets::new(["secret"]).unwrap();
    for profile in [Profile::NextAuth, Profile::AuthJs] {
        let keyring = Keyring::new(profile, profile.cookie(), &secrets);
        let fault = |token: &str| keyring.decode(token.as_bytes(), 7).unwrap_err();
        for token in ["", ".", "....", "a.b.c.d.e", ".....", "e30....", "!!..AA.AA.AA", &"a.".repeat(99)] {
            assert!(matches!(fault(token), TokenFault::Malformed | TokenFault::Unsupported), "{token}");
        }
        for header in [
            r#"{"enc":"A256GCM"}"#,
            r#"{"alg":"A256KW","enc":"A256GCM"}"#,
            r#"{"alg":"dir","enc":"A128GCM"}"#,
            r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#,
            r#"{"alg":"dir","enc":"A256GCM","crit":["x"]}"#,
            r#"{"alg":"none"}"#,
        ] {
            assert_eq!(fault(&with_header(header)), TokenFault::Unsupported, "{header}");
        }
        assert_eq!(fault(&with_header("[]")), TokenFault::Malformed);
        assert_eq!(fault(&with_header(r#"{"alg":"dir","enc":"A256GCM"}"#)), TokenFault::Undecryptable);
        let good = keyring.encode(Claims::default(), 0, 60, [3; DICE]);
        assert!(keyring.decode(good.as_bytes(), 7).is_ok());
        for token in [format!("{good}."), format!("{good}="), good.replacen("..", ".AA.", 1), format!("{good} ")] {
            assert_eq!(fault(&token), TokenFault::Malformed, "{token}");
        }
        // Each letter counts.
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(keyring.decode(&bytes, 7).is_err(), "letter {at}");
        }
    }
    let kid = with_header(r#"{"alg":"dir","enc":"A256GCM","kid":7}"#);
    let keyring = Keyring::new(Profile::AuthJs, "authjs.session-token", &secrets);
    assert_eq!(keyring.decode(kid.as_bytes(), 7).unwrap_err(), TokenFault::UnknownKey);
}
