//! What an entry weighs: growth of resident memory while a fresh server is filled with entries that live an hour.

use std::io;

use crate::support::figures::{Figures, OURS};
use crate::support::load;
use crate::support::servers::{Cores, Kind, Peers, REDIS};
use crate::support::words::{self, KEY, PLAIN, SECRET, VALUE};
use crate::{Options, failed, resp};

/// Entries of one size, and what each is to weigh at most.
struct Size {
    what: &'static str,
    prefix: &'static str,
    key: usize,
    value: usize,
    goal: f64,
    /// Whether peers hold such keys: a `secret` namespace is ours alone.
    peers: bool,
}

const SIZES: [Size; 3] = [
    Size { what: "343 + 300 bytes", prefix: PLAIN, key: KEY, value: VALUE, goal: 700.0, peers: true },
    Size { what: "343 + 300 bytes, session keys", prefix: SECRET, key: KEY, value: VALUE, goal: 400.0, peers: false },
    Size { what: "15 + 32 bytes", prefix: "", key: 15, value: 32, goal: 80.0, peers: true },
];

/// Weighs everybody's entries of every size, one server at a time.
pub fn compare(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    let ours = Kind::cloakroom(Some(1));
    for size in &SIZES {
        let mut weights = Vec::new();
        for kind in std::iter::once(&ours).chain(peers.resp.iter().filter(|kind| size.peers || kind.name == REDIS)) {
            let weight = weight(kind, size, options.entries).map_err(|error| failed(kind.name, error))?;
            weights.push((kind.name, weight));
        }
        let base = weights.iter().find(|(name, _)| *name == REDIS).map(|(_, weight)| *weight);
        for (name, weight) in weights {
            let figure = figures.add("memory of an entry with a TTL", size.what, name, weight, "bytes");
            figure.over(REDIS, base);
            if name == OURS {
                figure.at_most(size.goal);
            }
        }
        eprintln!("memory: {} done", size.what);
    }
    figures.conditions = format!("{} entries", options.entries);
    Ok(())
}

fn weight(kind: &Kind, size: &Size, entries: u64) -> io::Result<f64> {
    let server = kind.start(Cores::One)?;
    let value = words::value(size.value);
    let set = |n| words::request(&["SET", &words::key(size.prefix, n, size.key), &value, "EX", "3600"]);
    // One connection and one entry first, so that what a server makes only once is not counted.
    load::fill(server.address, std::iter::once(set(entries)), b"+OK\r\n")?;
    let before = server.process.resident()?;
    load::fill(server.address, resp::numbers(entries).map(set), b"+OK\r\n")?;
    Ok(server.process.resident()?.saturating_sub(before) as f64 / entries as f64)
}
