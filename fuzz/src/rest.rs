//! Bodies of the REST door: whatever is sent, it is refused or answered with JSON that says what the reply says.

use cloakroom::command::{Scope, check_alone};
use cloakroom::error::Error;
use cloakroom::resp::Limits;
use cloakroom::resp::error_of;
use cloakroom::resp::json::{Batch, Encoding, write_error, write_result, write_results};
use serde_json::Value;

use super::commands::Desk;

/// One answer as a client reads it.
fn read(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_else(|why| panic!("no JSON ({why}): {:?}", json.escape_ascii().to_string()))
}

/// Whether a value has a result or an error, and nothing else.
fn is_answer(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| {
        fields.len() == 1 && (fields.contains_key("result") || fields.get("error").is_some_and(Value::is_string))
    })
}

/// One case: a letter that says what it is, and a body, or a reply as it might be written.
pub fn run(input: &[u8]) {
    let Some((kind, body)) = input.split_first() else { return };
    let limits = Limits::default();
    let batch = match kind {
        b'r' => return reply(body),
        b'p' => Batch::several(body, &limits),
        _ => Batch::one(body, &limits),
    };
    match &batch {
        Ok(batch) => {
            assert!(!batch.is_empty() && batch.commands().all(|args| !args.is_empty()));
        }
        Err(error) => {
            let mut json = Vec::new();
            write_error(error.to_string().as_bytes(), &mut json).expect("a vector takes all");
            assert!(is_answer(&read(&json)));
        }
    }
    let (Ok(batch), mut desk) = (batch, Desk::new()) else { return };
    for args in batch.commands() {
        if let Err(error) = check_alone(args, Scope::All) {
            assert!(matches!(error, Error::Refused(_)));
            continue;
        }
        let words: Vec<&[u8]> = args.iter().collect();
        reply(desk.send(&words));
        if !desk.goes_on {
            break;
        }
    }
    desk.validate();
}

/// A reply is the same in both encodings, as far as both can say it.
fn reply(bytes: &[u8]) {
    for encoding in [Encoding::Plain, Encoding::Base64] {
        let (mut one, mut all) = (Vec::new(), Vec::new());
        write_result(bytes, encoding, &mut one).expect("a vector takes all");
        // What is nested too deep for this reader may be right all the same.
        if bytes.iter().filter(|byte| **byte == b'*').count() < 100 {
            let value = read(&one);
            assert!(is_answer(&value));
            assert_eq!(value.get("error").is_some(), error_of(bytes).is_some());
        }
        write_results(bytes, encoding, &mut all).expect("a vector takes all");
        assert!(all.starts_with(b"[") && all.ends_with(b"]"));
    }
}
