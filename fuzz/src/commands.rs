//! Every command: whatever is sent, the server stands, what it replies is well-formed, and the store is whole afterwards.

use std::net::SocketAddr;

use cloakroom::clock::{Clock, ManualClock, Ttl};
use cloakroom::command::{self, Client, Flow};
use cloakroom::config::Config;
use cloakroom::engine::Engine;
use cloakroom::resp::{Limits, Parser};
use cloakroom::store::Store;

/// Requests that are run of one input: as many as fit a fast case.
const REQUESTS_MAX: usize = 100;

/// Commands that would touch more than memory, lift the limits that keep a case small, or take long by design.
const LEFT_OUT: &[&str] =
    &["SHUTDOWN", "DEBUG", "CONFIG", "EVAL", "EVAL_RO", "FUNCTION", "FCALL", "FCALL_RO", "SAVE", "BGSAVE", "SCRIPT"];

/// What a case may use.
const MEMORY: &str = "32mb";

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

/// A server without sockets and its one client.
pub struct Desk {
    pub engine: Engine,
    pub clock: ManualClock,
    client: Client,
    out: Vec<u8>,
    /// Whether the last request left the client able to send another.
    pub goes_on: bool,
}

impl Desk {
    pub fn new() -> Desk {
        let clock = ManualClock::default();
        let mut config = Config::default();
        for (name, value) in [("maxmemory", MEMORY), ("proto-max-bulk-len", "1mb"), ("databases", "2")] {
            config.set(name, value).expect("a setting");
        }
        let engine = Engine::new(config, Clock::from(clock.clone()), 1, command::COUNT);
        let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let peer = engine.clients.enter(here(50000), here(6379), 8, clock.now());
        let client = Client::new(&engine, peer, 0, true);
        Desk { engine, clock, client, out: Vec::new(), goes_on: true }
    }

    /// Runs the requests that lie in `bytes`, as many as there are and may be run.
    pub fn feed(&mut self, bytes: &[u8]) {
        let (mut parser, mut at) = (Parser::new(), 0);
        for _ in 0..REQUESTS_MAX {
            let Ok(Some(len)) = parser.parse(&bytes[at..], &Limits::default()) else { break };
            let args = parser.args(&bytes[at..]);
            at += len;
            let Some(name) = args.get(0) else { continue };
            if LEFT_OUT.iter().any(|left_out| name.eq_ignore_ascii_case(left_out.as_bytes())) {
                continue;
            }
            self.out.clear();
            let flow = command::run(&self.engine, &mut self.client, args, None, self.clock.now(), &mut self.out);
            let mut rest = &self.out[..];
            while !rest.is_empty() {
                let end = reply_end(rest, 0);
                rest = &rest[end.unwrap_or_else(|| panic!("no reply: {:?}", self.out.escape_ascii().to_string()))..];
            }
            // Who waits would be served by somebody else; there is nobody.
            self.goes_on = matches!(flow, Flow::Go);
            if !self.goes_on {
                break;
            }
        }
    }

    /// Sends one request and answers the reply to it.
    pub fn send(&mut self, words: &[&[u8]]) -> &[u8] {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.feed(&bytes);
        &self.out
    }

    pub fn validate(&self) {
        let stores: Vec<Store> = self.engine.all_stores().cloned().collect();
        Store::validate(&stores);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        command::forget(&self.engine, &mut self.client, true);
    }
}

/// One case: requests, with time passing where a line of dots stands between them.
pub fn run(input: &[u8]) {
    let mut desk = Desk::new();
    for part in input.split_inclusive(|byte| *byte == b'.') {
        desk.feed(part);
        if !desk.goes_on {
            break;
        }
        desk.clock.advance(Ttl(700));
    }
    desk.validate();
}
