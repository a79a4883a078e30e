//! Lists, hashes, sorted sets, counters and a rate limiter's script under load: what a command costs beside Redis.

use std::io;
use std::time::Duration;

use crate::support::figures::{Figures, OURS, median};
use crate::support::load::{self, Load, Pick, Reply, Requests};
use crate::support::servers::{Cores, Kind, Peers, REDIS, Running};
use crate::support::words;
use crate::{CONNECTIONS, Options, failed, progress};

/// Keys of each kind, so few that they are all warm and so many that each is seldom asked for twice at once.
const KEYS: u64 = 1000;
/// Elements that a list, a hash or a sorted set begins with: small ones, as sessions, queues and limits have them.
const ELEMENTS: u64 = 10;
/// Bytes of an element or a field's value.
const ELEMENT: usize = 32;

/// Counts a hit in a window and says how many there have been and how long the window lasts.
const LIMITER: &str = "local hits = redis.call('INCR', KEYS[1])
if hits == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {hits, redis.call('PTTL', KEYS[1])}";
/// What SCRIPT LOAD answers to it.
const LIMITER_SHA: &str = "5cc49a70ab5ebb15e225b561f9442fad8051af8f";

/// Who speaks the protocol, but has strings alone.
const STRINGS_ONLY: [&str; 2] = ["mini-redis", "pogocache"];

/// What is asked.
struct Cell {
    name: &'static str,
    requests: fn(u64) -> Vec<Vec<u8>>,
}

const CELLS: [Cell; 8] = [
    Cell { name: "LPUSH, LPOP", requests: pushes_and_pops },
    Cell { name: "HSET", requests: |n| vec![hset(n)] },
    Cell { name: "HGETALL, 10 fields", requests: |n| vec![words::request(&["HGETALL", &name("hash", n)])] },
    Cell { name: "ZADD", requests: |n| vec![zadd(n)] },
    Cell { name: "ZRANGE, 10 members", requests: |n| vec![words::request(&["ZRANGE", &name("zset", n), "0", "9"])] },
    Cell { name: "INCR", requests: |n| vec![words::request(&["INCR", &name("counter", n)])] },
    Cell { name: "EVALSHA, a rate limiter", requests: |n| vec![limited(n)] },
    Cell { name: "GET, small", requests: |n| vec![words::request(&["GET", &name("counter", n)])] },
];

const DEPTHS: [usize; 2] = [1, 16];

/// What Redis takes is enough.
const GOAL: f64 = 1.0;

fn name(kind: &str, number: u64) -> String {
    format!("{kind}:{number:05}")
}

fn pushes_and_pops(number: u64) -> Vec<Vec<u8>> {
    let (key, element) = (name("list", number), words::value(ELEMENT));
    vec![words::request(&["LPUSH", &key, &element]), words::request(&["LPOP", &key])]
}

fn hset(number: u64) -> Vec<u8> {
    let field = format!("field:{}", number % ELEMENTS);
    words::request(&["HSET", &name("hash", number), &field, &words::value(ELEMENT)])
}

fn zadd(number: u64) -> Vec<u8> {
    let (score, member) = ((number * 7 % 100).to_string(), format!("member:{}", number % ELEMENTS));
    words::request(&["ZADD", &name("zset", number), &score, &member])
}

fn limited(number: u64) -> Vec<u8> {
    words::request(&["EVALSHA", LIMITER_SHA, "1", &name("limit", number), "60000"])
}

/// Everything that is asked for, as it is before the first round.
fn furnish(server: &Running) -> io::Result<()> {
    let mut lines = vec![words::request(&["SCRIPT", "LOAD", LIMITER])];
    for number in 0..KEYS {
        lines.push(words::request(&["SET", &name("counter", number), "1000"]));
        for at in 0..ELEMENTS {
            let (element, score) = (words::value(ELEMENT), at.to_string());
            lines.push(words::request(&["LPUSH", &name("list", number), &element]));
            lines.push(words::request(&["HSET", &name("hash", number), &format!("field:{at}"), &element]));
            lines.push(words::request(&["ZADD", &name("zset", number), &score, &format!("member:{at}")]));
        }
    }
    load::ask_all(server.address, lines)
}

struct Contender {
    name: &'static str,
    server: Running,
    /// For each cell and depth, CPU time of an operation in microseconds, one of each a round.
    costs: Vec<Vec<f64>>,
}

impl Contender {
    fn new(kind: &Kind) -> io::Result<Contender> {
        let server = kind.start(Cores::One)?;
        furnish(&server)?;
        Ok(Contender { name: kind.name, server, costs: vec![Vec::new(); CELLS.len() * DEPTHS.len()] })
    }

    fn measure(&mut self, at: usize, requests: &Requests, duration: Duration) -> io::Result<()> {
        let load = Load {
            address: self.server.address,
            connections: CONNECTIONS,
            depth: DEPTHS[at % DEPTHS.len()],
            duration,
            requests: requests.clone(),
            pick: Pick::Random,
            reply: Reply::NoError,
        };
        self.costs[at].push(load.run(|| self.server.process.cpu())?.micros());
        Ok(())
    }
}

/// Ours with one worker beside every server that has types; nobody is always the first.
pub fn compare(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    let ours = Kind::cloakroom(Some(1));
    let able = peers.resp.iter().filter(|kind| !STRINGS_ONLY.contains(&kind.name));
    let mut contenders = Vec::new();
    for kind in std::iter::once(&ours).chain(able) {
        contenders.push(Contender::new(kind).map_err(|error| failed(kind.name, error))?);
    }
    let requests: Vec<Requests> = CELLS.iter().map(|cell| (0..KEYS).flat_map(cell.requests).collect()).collect();
    let count = contenders.len();
    for round in 0..options.rounds {
        for at in 0..CELLS.len() * DEPTHS.len() {
            for turn in 0..count {
                let contender = &mut contenders[(round + turn) % count];
                let measured = contender.measure(at, &requests[at / DEPTHS.len()], options.duration());
                measured.map_err(|error| failed(contender.name, error))?;
            }
        }
        progress("types", round, options);
    }
    let base = contenders.iter().position(|contender| contender.name == REDIS);
    for at in 0..CELLS.len() * DEPTHS.len() {
        let what = format!("{}, depth {}", CELLS[at / DEPTHS.len()].name, DEPTHS[at % DEPTHS.len()]);
        let base = base.map(|base| median(&contenders[base].costs[at]));
        for contender in &contenders {
            let cost = median(&contender.costs[at]);
            let figure = figures.add("Types: server CPU per operation", &what, contender.name, cost, "µs");
            figure.over(REDIS, base);
            if contender.name == OURS {
                figure.ratio_at_most(GOAL, REDIS);
            }
        }
    }
    Ok(())
}
