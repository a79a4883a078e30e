//! Every command: whatever is sent, the server stands, each request has one reply, and the store is whole afterwards.

#![no_main]

use std::net::SocketAddr;

use cloakroom::clock::{Clock, ManualClock, Ttl};
use cloakroom::command::{self, Client, Flow};
use cloakroom::config::Config;
use cloakroom::engine::Engine;
use cloakroom::resp::{Limits, Parser};
use cloakroom::store::Store;
use libfuzzer_sys::fuzz_target;

/// Requests that are run of one input: as many as fit a fast case.
const REQUESTS_MAX: usize = 200;

/// Commands that would touch more than memory, or take long by design.
const LEFT_OUT: [&str; 6] = ["SHUTDOWN", "DEBUG", "ACL", "CONFIG", "EVAL", "EVAL_RO"];

/// Where the reply ends that the bytes begin with; `None` if it is not whole or not well-formed.
fn reply_end(bytes: &[u8], depth: usize) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let mut end = line + 2;
    let number = || std::str::from_utf8(&bytes[1..line]).ok()?.parse::<i64>().ok();
    let elements = match *bytes.first()? {
        b'+' | b'-' | b'_' | b'#' | b',' | b'(' => 0,
        b':' => number().map(|_| 0)?,
        b'$' | b'=' => {
            if let Ok(length) = usize::try_from(number()?) {
                end += length + 2;
                (bytes.get(end - 2..end)? == b"\r\n").then_some(())?;
            }
            0
        }
        b'*' | b'~' | b'>' => number()?.max(0),
        b'%' => number()? * 2,
        _ => return None,
    };
    for _ in 0..elements {
        end += reply_end(bytes.get(end..)?, depth + 1)?;
    }
    (depth < 64).then_some(end)
}

fuzz_target!(|input: &[u8]| {
    let clock = ManualClock::default();
    let engine = Engine::new(Config::default(), Clock::from(clock.clone()), 1, command::COUNT);
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let peer = engine.clients.enter(here(50000), here(6379), 8, clock.now());
    let mut client = Client::new(&engine, peer, 0, true);
    let (mut parser, mut out, mut at) = (Parser::new(), Vec::new(), 0);
    for _ in 0..REQUESTS_MAX {
        let Ok(Some(len)) = parser.parse(&input[at..], &Limits::default()) else { break };
        let args = parser.args(&input[at..]);
        at += len;
        let Some(name) = args.get(0) else { continue };
        if LEFT_OUT.iter().any(|left_out| name.eq_ignore_ascii_case(left_out.as_bytes())) {
            continue;
        }
        out.clear();
        let flow = command::run(&engine, &mut client, args, None, clock.now(), &mut out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            let end = reply_end(rest, 0);
            let shown = || String::from_utf8_lossy(&out).into_owned();
            rest = &rest[end.unwrap_or_else(|| panic!("no reply: {:?}", shown()))..];
        }
        // Who waits would be served by somebody else; there is nobody.
        if !matches!(flow, Flow::Go) {
            break;
        }
        clock.advance(Ttl(u64::from(*input.first().unwrap_or(&0))));
    }
    command::forget(&engine, &mut client, clock.now());
    let stores: Vec<Store> = engine.all_stores().cloned().collect();
    Store::validate(&stores);
});
