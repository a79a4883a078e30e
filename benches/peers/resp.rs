//! The Redis protocol under load: what a GET and a SET cost, one at a time and pipelined, and what a second worker adds.

use std::io;
use std::time::Duration;

use crate::support::figures::{Figures, OURS, median};
use crate::support::load::{self, Load, Outcome, Pick, Reply, Requests};
use crate::support::servers::{Cores, Kind, POGOCACHE, Peers, REDIS, Running};
use crate::support::words::{self, KEY, PLAIN, SECRET, VALUE};
use crate::{CONNECTIONS, Options, failed, progress};

/// Keys of the load.
const KEYS: u64 = 20_000;
/// Seconds for which entries live that are to be read: longer than any load, as only hits are compared.
const READ_TTL: &str = "600";

/// What is asked, how many requests at a time, and what it is to cost at most as a share of redis-server.
struct Cell {
    command: &'static str,
    depth: usize,
    goal: f64,
}

const CELLS: [Cell; 4] = [
    Cell { command: "GET", depth: 1, goal: 0.90 },
    Cell { command: "GET", depth: 16, goal: 0.55 },
    Cell { command: "SET", depth: 1, goal: 0.63 },
    Cell { command: "SET", depth: 16, goal: 0.33 },
];

/// What two workers may cost, as a share of what one costs: each looks for its clients in tables that both use.
const WORKERS_GOAL: f64 = 1.10;

impl Cell {
    fn name(&self) -> String {
        let ttl = if self.command == "SET" { " with TTL" } else { "" };
        format!("{}{ttl}, depth {}", self.command, self.depth)
    }
}

struct Contender {
    name: &'static str,
    /// Said behind what was measured, when a server is there more than once.
    suffix: &'static str,
    server: Running,
    load: RespLoad,
    /// For each cell, CPU time of an operation in microseconds and p99 of a batch, one of each a round.
    costs: [Vec<f64>; 4],
    tails: [Vec<f64>; 4],
}

impl Contender {
    fn new(kind: &Kind, suffix: &'static str, cores: Cores, load: &RespLoad) -> io::Result<Contender> {
        let server = kind.start(cores).map_err(|error| failed(kind.name, error))?;
        let (costs, tails) = Default::default();
        Ok(Contender { name: kind.name, suffix, server, load: load.clone(), costs, tails })
    }

    fn measure(&mut self, index: usize, duration: Duration) -> io::Result<()> {
        let outcome = self.run(&CELLS[index], duration).map_err(|error| failed(self.name, error))?;
        self.costs[index].push(outcome.micros());
        self.tails[index].push(outcome.latency.at(0.99).as_secs_f64() * 1e6);
        Ok(())
    }

    fn run(&self, cell: &Cell, duration: Duration) -> io::Result<Outcome> {
        let value = words::bulk(&words::value(VALUE));
        let (requests, reply) = match cell.command {
            "GET" => {
                let fill = numbers(KEYS).map(|n| set(self.load.prefix, n, READ_TTL));
                load::fill(self.server.address, fill, b"+OK\r\n")?;
                (self.load.gets.clone(), &value[..])
            }
            _ => (self.load.sets.clone(), &b"+OK\r\n"[..]),
        };
        let (reply, pick, depth) = (Reply::Bytes(reply), Pick::Random, cell.depth);
        let address = self.server.address;
        let load = Load { address, connections: CONNECTIONS, depth, duration, requests, pick, reply };
        load.run(|| self.server.process.cpu())
    }
}

/// GETs and SETs of the same keys.
#[derive(Clone)]
struct RespLoad {
    prefix: &'static str,
    gets: Requests,
    sets: Requests,
}

/// Requests for all keys under a prefix; what is written under load lives five or six seconds.
fn resp_load(prefix: &'static str) -> RespLoad {
    let get = |n| words::request(&["GET", &words::key(prefix, n, KEY)]);
    let brief = |n| set(prefix, n, if n % 2 == 0 { "5" } else { "6" });
    RespLoad { prefix, gets: (0..KEYS).map(get).collect(), sets: (0..KEYS).map(brief).collect() }
}

/// The numbers of keys, as an iterator that knows its length.
pub fn numbers(end: u64) -> impl ExactSizeIterator<Item = u64> + Send {
    (0..end as usize).map(|n| n as u64)
}

fn set(prefix: &str, number: u64, seconds: &str) -> Vec<u8> {
    words::request(&["SET", &words::key(prefix, number, KEY), &words::value(VALUE), "EX", seconds])
}

/// Lets everybody do everything once a round; nobody is always the first.
fn take_turns(part: &str, options: &Options, contenders: &mut [Contender]) -> io::Result<()> {
    let count = contenders.len();
    for round in 0..options.rounds {
        for index in 0..CELLS.len() {
            for turn in 0..count {
                contenders[(round + turn) % count].measure(index, options.duration())?;
            }
        }
        progress(part, round, options);
    }
    Ok(())
}

/// Everybody with one worker on one core. Ours twice: session keys are hashed before anything sees them, others not.
pub fn compare(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    let (secret, plain) = (resp_load(SECRET), resp_load(PLAIN));
    let ours = Kind::cloakroom(Some(1));
    let mut contenders = vec![
        Contender::new(&ours, "", Cores::One, &plain)?,
        Contender::new(&ours, ", session keys", Cores::One, &secret)?,
    ];
    for kind in &peers.resp {
        contenders.push(Contender::new(kind, "", Cores::One, &plain)?);
    }
    take_turns("RESP", options, &mut contenders)?;

    let costs_of = |name: &str| {
        let peer = contenders.iter().find(|contender| contender.name == name)?;
        Some(peer.costs.each_ref().map(|costs| median(costs)))
    };
    let (base, pogocache) = (costs_of(REDIS), costs_of(POGOCACHE));
    for (index, cell) in CELLS.iter().enumerate() {
        for contender in &contenders {
            let what = cell.name() + contender.suffix;
            let cost = median(&contender.costs[index]);
            let figure = figures.add("RESP: server CPU per operation", &what, contender.name, cost, "µs");
            figure.over(REDIS, base.map(|base| base[index]));
            if contender.name == OURS {
                figure.ratio_at_most(cell.goal, REDIS);
                if let Some(pogocache) = pogocache {
                    figure.and("≤ pogocache", cost <= pogocache[index]);
                }
            }
        }
    }
    for (index, cell) in CELLS.iter().enumerate() {
        for contender in &contenders {
            let (what, tail) = (cell.name() + contender.suffix, median(&contender.tails[index]));
            figures.add("RESP: p99 of a batch", &what, contender.name, tail, "µs");
        }
    }
    Ok(())
}

/// Ours with two workers beside ours with one. Both may run on every core, and the load keeps to one of them.
pub fn compare_workers(options: &Options, _: &Peers, figures: &mut Figures) -> io::Result<()> {
    let secret = resp_load(SECRET);
    let mut contenders = Vec::new();
    for workers in [1, 2] {
        contenders.push(Contender::new(&Kind::cloakroom(Some(workers)), "", Cores::All, &secret)?);
    }
    take_turns("workers", options, &mut contenders)?;
    for (index, cell) in CELLS.iter().enumerate() {
        let [one, two] = [0, 1].map(|at: usize| median(&contenders[at].costs[index]));
        let part = "RESP: server CPU per operation, one worker and two";
        figures.add(part, &cell.name(), "one worker", one, "µs").over("one worker", Some(one));
        let figure = figures.add(part, &cell.name(), OURS, two, "µs");
        figure.over("one worker", Some(one)).ratio_at_most(WORKERS_GOAL, "one worker");
    }
    Ok(())
}
