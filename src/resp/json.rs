//! Commands and replies as JSON, which is how they are said over HTTP.
//!
//! A command is an array of texts, numbers and booleans; a [`Batch`] is one of them or an array of them. Numbers are taken
//! as they are written, so that none is rounded. A reply is `{"result": …}` or `{"error": "…"}`, as Upstash's REST API has
//! them: nulls, integers, texts and arrays of these, texts on request in base64, but for an `OK` that is the whole reply.
//!
//! Nothing here recurses: what is nested as deep as a body or a script likes costs no stack.

use std::fmt;
use std::io::{self, Write};

use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD;
use serde::Serializer as _;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::request::{Args, Limits, Words};
use super::written::Written;
use crate::error::Error;

/// Commands of one body, in their order. There is at least one, and each has at least one word.
#[derive(Debug, Default)]
pub struct Batch {
    /// The words of all of them, one after the other.
    words: Words,
    /// How many words each of them has.
    counts: Vec<u32>,
}

impl Batch {
    /// One command: `["SET", "key", 1]`.
    pub fn one(body: &[u8], limits: &Limits) -> Result<Batch, Error> {
        Batch::read(body, limits, "failed to parse command", |reading, json| OneOf(reading).deserialize(json))
    }

    /// Several: `[["GET", "a"], ["GET", "b"]]`.
    pub fn several(body: &[u8], limits: &Limits) -> Result<Batch, Error> {
        let what = "failed to parse pipeline request";
        let batch = Batch::read(body, limits, what, |reading, json| json.deserialize_seq(AllOf(reading)))?;
        if batch.is_empty() { Err(Error::refused("empty pipeline request")) } else { Ok(batch) }
    }

    /// One command of these words.
    pub fn of(words: Words) -> Batch {
        let count = words.args().len() as u32;
        Batch { words, counts: vec![count] }
    }

    fn read<'b>(
        body: &'b [u8],
        limits: &Limits,
        what: &'static str,
        read: impl FnOnce(
            &mut Reading<'_>,
            &mut serde_json::Deserializer<serde_json::de::SliceRead<'b>>,
        ) -> serde_json::Result<()>,
    ) -> Result<Batch, Error> {
        let mut reading = Reading { batch: Batch::default(), limits, problem: None };
        let mut json = serde_json::Deserializer::from_slice(body);
        match read(&mut reading, &mut json).and_then(|()| json.end()) {
            Ok(()) => Ok(reading.batch),
            // Where it breaks off nobody can see who does not see the body.
            Err(_) => Err(reading.problem.unwrap_or(Error::refused(what))),
        }
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The commands in their order.
    pub fn commands(&self) -> impl Iterator<Item = Args<'_>> {
        let mut at = 0;
        self.counts.iter().map(move |count| {
            let args = self.words.args().slice_of(at, *count as usize);
            at += *count as usize;
            args
        })
    }

    /// The command whose first word is the one at this position, counted over all of them.
    pub fn command_at(&self, number: usize, word: usize) -> Option<Args<'_>> {
        self.counts.get(number).map(|count| self.words.args().slice_of(word, *count as usize))
    }

    /// Bytes of heap that they hold.
    pub fn heap(&self) -> usize {
        self.words.heap() + self.counts.capacity() * size_of::<u32>()
    }
}

/// A body that is being read.
struct Reading<'l> {
    batch: Batch,
    limits: &'l Limits,
    /// What is wrong with it, where more is to be said than that it is no such array.
    problem: Option<Error>,
}

impl Reading<'_> {
    /// Notes what is wrong, and ends the reading.
    fn refuse<E: serde::de::Error>(&mut self, text: &'static str) -> E {
        self.problem = Some(Error::refused(text));
        E::custom(text)
    }

    fn word<E: serde::de::Error>(&mut self, json: &str) -> Result<(), E> {
        let words = &mut self.batch.words;
        if words.args().len() == self.limits.words {
            return Err(self.refuse("too many arguments"));
        }
        match json.as_bytes() {
            // A text without escapes stands as it is meant.
            [b'"', text @ .., b'"'] if memchr::memchr(b'\\', text).is_none() => words.push(text),
            [b'"', ..] => {
                let mut text = serde_json::Deserializer::from_str(json);
                text.deserialize_bytes(Text(words)).map_err(E::custom)?;
            }
            b"null" => return Err(self.refuse("null args are not supported")),
            [b'[' | b'{', ..] => return Err(E::custom("no text")),
            plain => words.push(plain),
        }
        if words.args().iter().next_back().is_some_and(|word| word.len() > self.limits.bulk) {
            return Err(self.refuse("an argument is longer than proto-max-bulk-len"));
        }
        Ok(())
    }
}

/// Reads a text with escapes into words. Half of a pair of surrogates, which is no text, becomes U+FFFD.
struct Text<'w>(&'w mut Words);

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<(), E> {
        self.0.push(String::from_utf8_lossy(text).as_bytes());
        Ok(())
    }
}

/// Reads a command.
struct OneOf<'r, 'l>(&'r mut Reading<'l>);

impl<'de> DeserializeSeed<'de> for OneOf<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OneOf<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<(), A::Error> {
        let before = self.0.batch.words.args().len();
        while let Some(word) = words.next_element::<&RawValue>()? {
            self.0.word::<A::Error>(word.get())?;
        }
        let count = self.0.batch.words.args().len() - before;
        if count == 0 {
            return Err(self.0.refuse("empty command"));
        }
        self.0.batch.counts.push(count as u32);
        Ok(())
    }
}

/// Reads an array of commands.
struct AllOf<'r, 'l>(&'r mut Reading<'l>);

impl<'de> Visitor<'de> for AllOf<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("commands")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut commands: A) -> Result<(), A::Error> {
        while commands.next_element_seed(OneOf(self.0))?.is_some() {}
        Ok(())
    }
}

// ---- replies -------------------------------------------------------------------------------------------------------

/// How texts are written in results. Errors are always plain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As they are. What is no UTF-8 is replaced.
    #[default]
    Plain,
    /// In base64, but for `OK`.
    Base64,
}

/// Writes one whole reply, in version 2 of the protocol, as a result or an error. It fails where `out` does.
pub fn write_result(reply: &[u8], encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    write_one(&mut Written { rest: reply }, encoding, out)
}

/// Writes an array of replies, which is what EXEC answers, as an array of results and errors. It fails where `out` does.
pub fn write_results(reply: &[u8], encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    let mut reader = Written { rest: reply.strip_prefix(b"*").unwrap_or_default() };
    out.write_all(b"[")?;
    for at in 0..reader.number() {
        if reader.rest.is_empty() {
            break;
        }
        if at > 0 {
            out.write_all(b",")?;
        }
        write_one(&mut reader, encoding, out)?;
    }
    out.write_all(b"]")
}

/// Writes an error with its code. It fails where `out` does.
pub fn write_error(text: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"error\":")?;
    write_text(text, Encoding::Plain, out)?;
    out.write_all(b"}")
}

fn write_one(reader: &mut Written<'_>, encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    if let Some(rest) = reader.rest.strip_prefix(b"-") {
        reader.rest = rest;
        return write_error(reader.line(), out);
    }
    out.write_all(b"{\"result\":")?;
    match reader.rest.strip_prefix(b"+OK\r\n") {
        Some(rest) => {
            reader.rest = rest;
            out.write_all(b"\"OK\"")?;
        }
        None => write_value(reader, encoding, out)?,
    }
    out.write_all(b"}")
}

fn write_value(reader: &mut Written<'_>, encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    // How many elements are left of each array that is open.
    let mut open: Vec<i64> = Vec::new();
    loop {
        let (kind, rest) = reader.rest.split_first().unwrap_or((&b'_', &[]));
        reader.rest = rest;
        match kind {
            b':' => {
                let number = reader.number();
                out.write_all(itoa::Buffer::new().format(number).as_bytes())?;
            }
            b'+' | b'-' => write_text(reader.line(), encoding, out)?,
            b'$' => match usize::try_from(reader.number()) {
                Ok(length) => write_text(reader.bytes(length), encoding, out)?,
                Err(_) => out.write_all(b"null")?,
            },
            b'*' => match reader.number() {
                0 => out.write_all(b"[]")?,
                1.. if reader.rest.is_empty() => out.write_all(b"[]")?,
                count @ 1.. => {
                    out.write_all(b"[")?;
                    open.push(count);
                    continue;
                }
                _ => out.write_all(b"null")?,
            },
            _ => out.write_all(b"null")?,
        }
        loop {
            let Some(left) = open.last_mut() else { return Ok(()) };
            *left -= 1;
            if *left > 0 && !reader.rest.is_empty() {
                out.write_all(b",")?;
                break;
            }
            out.write_all(b"]")?;
            open.pop();
        }
    }
}

/// Bit by bit, so that no more is ever made of a text than `out` takes.
fn write_text(bytes: &[u8], encoding: Encoding, out: &mut impl Write) -> io::Result<()> {
    match encoding {
        Encoding::Plain => serde_json::Serializer::new(out).collect_str(&Lossy(bytes)).map_err(io::Error::from),
        Encoding::Base64 => write!(out, "\"{}\"", Base64Display::new(bytes, &BASE64_STANDARD)),
    }
}

/// Bytes as text; what is no UTF-8 is replaced.
struct Lossy<'b>(&'b [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            if chunk.invalid().is_empty() { Ok(()) } else { f.write_str("\u{fffd}") }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(batch: &Batch) -> Vec<Vec<String>> {
        let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        batch.commands().map(|args| args.iter().map(text).collect()).collect()
    }

    fn one(body: &str) -> Result<Vec<String>, String> {
        Batch::one(body.as_bytes(), &Limits::default())
            .map(|batch| shown(&batch).remove(0))
            .map_err(|error| error.to_string())
    }

    fn several(body: &str) -> Result<Vec<Vec<String>>, String> {
        Batch::several(body.as_bytes(), &Limits::default())
            .map(|batch| shown(&batch))
            .map_err(|error| error.to_string())
    }

    fn result(reply: &str, encoding: Encoding) -> String {
        let mut out = Vec::new();
        write_result(reply.as_bytes(), encoding, &mut out).expect("a vector takes all");
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn a_command_is_an_array_of_scalars_as_they_are_written() {
        let words = one(r#" [ "SET" , "k", 1, -0.50, 12345678901234567890123, 1e+21, true, false, "" ] "#);
        let expected = ["SET", "k", "1", "-0.50", "12345678901234567890123", "1e+21", "true", "false", ""];
        assert_eq!(words.expect("a command"), expected);
        assert_eq!(one(r#"["a\"b\\\n\u00e9\ud83d\ude00é"]"#).expect("a command"), ["a\"b\\\né😀é"]);
        // Half a pair is no text.
        assert!(one(r#"["\ud83d!"]"#).expect("a command")[0].ends_with('!'));
        assert_eq!(one("[\"a\0b\"]"), Err("failed to parse command".to_owned()));
        assert_eq!(one(r#"["a\u0000b"]"#).expect("a command"), ["a\0b"]);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for body in
            ["", "null", "{}", "\"GET\"", "[", "[\"GET\"", "[\"GET\",]", "[\"a\"] x", "[[\"a\"]]", "[{}]", "[\"a\",[]]"]
        {
            assert_eq!(one(body), Err("failed to parse command".to_owned()), "{body}");
        }
        assert_eq!(one("[]"), Err("empty command".to_owned()));
        assert_eq!(one(r#"["GET",null]"#), Err("null args are not supported".to_owned()));
        for body in ["", "[\"GET\"]", "[[\"GET\"]", "[[\"GET\"],3]", "{\"a\":[]}"] {
            assert_eq!(several(body), Err("failed to parse pipeline request".to_owned()), "{body}");
        }
        assert_eq!(several("[]"), Err("empty pipeline request".to_owned()));
        assert_eq!(several(r#"[["GET","a"],[]]"#), Err("empty command".to_owned()));
        assert!(Batch::one(b"[\"\xff\"]", &Limits::default()).is_err());
        let deep = format!("[{}", "[".repeat(100_000));
        assert!(one(&deep).is_err() && several(&deep).is_err());
    }

    #[test]
    fn several_commands_keep_their_order_and_limits_hold_for_all_of_them() {
        let body = r#"[["SET","a",1],["GET","a"]]"#;
        assert_eq!(several(body).expect("commands"), [vec!["SET", "a", "1"], vec!["GET", "a"]]);
        let batch = Batch::several(body.as_bytes(), &Limits::default()).expect("commands");
        assert_eq!((batch.len(), batch.command_at(1, 3).map(|args| args.len())), (2, Some(2)));
        assert!(batch.command_at(2, 5).is_none());
        let few = Limits { words: 4, ..Limits::default() };
        let error = Batch::several(body.as_bytes(), &few).map(drop);
        assert_eq!(error, Err(Error::refused("too many arguments")));
        let short = Limits { bulk: 3, ..Limits::default() };
        assert!(Batch::one(br#"["GET","abc"]"#, &short).is_ok() && Batch::one(br#"["GET","abcd"]"#, &short).is_err());
    }

    #[test]
    fn replies_are_results_or_errors() {
        for (reply, json) in [
            ("+OK\r\n", r#"{"result":"OK"}"#),
            ("+PONG\r\n", r#"{"result":"PONG"}"#),
            ("$2\r\nOK\r\n", r#"{"result":"OK"}"#),
            ("$-1\r\n", r#"{"result":null}"#),
            ("*-1\r\n", r#"{"result":null}"#),
            (":-9223372036854775808\r\n", r#"{"result":-9223372036854775808}"#),
            ("$8\r\na\"\\\r\n\u{1}é\r\n", r#"{"result":"a\"\\\r\n\u0001é"}"#),
            ("*0\r\n", r#"{"result":[]}"#),
            ("*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n*0\r\n", r#"{"result":["a",null,[1,[]]]}"#),
            ("*2\r\n-ERR x\r\n+OK\r\n", r#"{"result":["ERR x","OK"]}"#),
            ("-WRONGTYPE no \"good\"\r\n", r#"{"error":"WRONGTYPE no \"good\""}"#),
            ("", r#"{"result":null}"#),
        ] {
            assert_eq!(result(reply, Encoding::Plain), json, "{reply:?}");
        }
    }

    #[test]
    fn texts_are_base64_on_request_but_for_an_ok_that_is_the_reply() {
        for (reply, json) in [
            ("+OK\r\n", r#"{"result":"OK"}"#),
            ("+PONG\r\n", r#"{"result":"UE9ORw=="}"#),
            ("$2\r\nOK\r\n", r#"{"result":"T0s="}"#),
            ("$0\r\n\r\n", r#"{"result":""}"#),
            ("*3\r\n+OK\r\n:7\r\n*1\r\n$3\r\nbar\r\n", r#"{"result":["T0s=",7,["YmFy"]]}"#),
            ("-ERR plain\r\n", r#"{"error":"ERR plain"}"#),
        ] {
            assert_eq!(result(reply, Encoding::Base64), json, "{reply:?}");
        }
        let mut out = Vec::new();
        for encoding in [Encoding::Base64, Encoding::Plain] {
            write_result(b"$2\r\n\xff\x00\r\n", encoding, &mut out).expect("a vector takes all");
        }
        assert_eq!(String::from_utf8_lossy(&out), "{\"result\":\"/wA=\"}{\"result\":\"\u{fffd}\\u0000\"}");
    }

    #[test]
    fn what_exec_answers_is_an_array_of_results() {
        let mut out = Vec::new();
        let reply = b"*3\r\n+OK\r\n-ERR x\r\n*1\r\n$2\r\nOK\r\n";
        write_results(reply, Encoding::Base64, &mut out).expect("a vector takes all");
        let json = r#"[{"result":"OK"},{"error":"ERR x"},{"result":["T0s="]}]"#;
        assert_eq!(String::from_utf8_lossy(&out), json);
        out.clear();
        write_results(b"*0\r\n", Encoding::Plain, &mut out).expect("a vector takes all");
        assert_eq!(out, b"[]");
    }

    #[test]
    fn a_reply_may_be_nested_as_deep_as_it_likes() {
        let depth = 100_000;
        let reply = format!("{}:1\r\n", "*1\r\n".repeat(depth));
        let json = result(&reply, Encoding::Plain);
        assert_eq!(json, format!("{{\"result\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)));
    }

    #[test]
    fn no_more_is_made_of_a_reply_than_is_taken() {
        for (letter, encoding) in
            [(1, Encoding::Plain), (0xff, Encoding::Plain), (b'"', Encoding::Plain), (1, Encoding::Base64)]
        {
            let reply = [b"$100000\r\n".as_slice(), &[letter; 100_000], b"\r\n"].concat();
            let mut room = [0; 1000];
            let mut out = &mut room[..];
            assert!(write_result(&reply, encoding, &mut out).is_err(), "{letter} {encoding:?}");
            assert!(out.len() < 6, "{letter} {encoding:?}: {} bytes were left", out.len());
        }
    }
}
