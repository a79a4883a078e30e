//! Session checks that miss: what the upstream's answer costs when it comes through a cache, and what happens when a
//! hundred clients ask for the same new session at once.

use std::io;
use std::time::{Duration, Instant};

use crate::http::{caches, warm};
use crate::support::figures::{Figures, OURS, median};
use crate::support::histogram::Histogram;
use crate::support::http::Client;
use crate::support::load::{Load, Outcome, Pick, Reply, Requests};
use crate::support::process;
use crate::support::servers::{NGINX, Peers, Running};
use crate::support::upstream::Upstream;
use crate::support::words;
use crate::{CONNECTIONS, Options, failed, progress};

/// CPU that a miss may add to what a hit costs, in microseconds.
const CPU_GOAL: f64 = 80.0;
/// Latency that a miss may add to the direct call, in microseconds.
const LATENCY_GOAL: f64 = 100.0;

/// New sessions for each second of load: more than are answered in one, so that nobody asks twice for the same.
const NEW_A_SECOND: f64 = 40_000.0;
/// Direct calls, and as many misses of everybody, for each second that a round may take.
const CALLS_A_SECOND: f64 = 1000.0;

/// Clients of a burst.
const BURST: usize = 100;
/// How long the upstream takes to answer them.
const SLOW: Duration = Duration::from_millis(80);
/// When the last of them is to have its answer, in milliseconds, and calls of the upstream until then.
const BURST_GOAL: f64 = 100.0;
const BURST_CALLS: f64 = 1.0;

/// All three measurements.
pub fn compare(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    compare_cpu(options, peers, figures)?;
    compare_latency(options, peers, figures)?;
    compare_bursts(options, peers, figures)
}

/// Numbers of tokens that nobody has asked for yet.
struct Fresh(u64);

impl Fresh {
    /// Far from the numbers that other loads use.
    fn new() -> Fresh {
        Fresh(1 << 32)
    }

    fn take(&mut self, count: usize) -> impl Iterator<Item = u64> + use<> {
        let first = self.0;
        self.0 += count as u64;
        first..self.0
    }
}

/// Server CPU of a miss, less that of a hit, at as many connections.
fn compare_cpu(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    let upstream = Upstream::start(Duration::ZERO, Some(process::LOAD_CORE))?;
    let folder = tempfile::tempdir()?;
    let servers = caches(peers, folder.path(), &upstream)?;
    let mut added: Vec<Vec<f64>> = servers.iter().map(|_| Vec::new()).collect();
    let (body, mut fresh) = (words::body(), Fresh::new());
    for round in 0..options.rounds {
        let count = (options.seconds * NEW_A_SECOND) as usize + CONNECTIONS;
        let known: Requests = fresh.take(CONNECTIONS).map(words::check).collect();
        let new: Requests = fresh.take(count).map(words::check).collect();
        for turn in 0..servers.len() {
            let at = (round + turn) % servers.len();
            let (name, server) = &servers[at];
            let run = |requests: &Requests, pick| -> io::Result<Outcome> {
                let load = Load {
                    address: server.address,
                    connections: CONNECTIONS,
                    depth: 1,
                    duration: options.duration(),
                    requests: requests.clone(),
                    pick,
                    reply: Reply::Body(body.as_bytes()),
                };
                load.run(|| server.process.cpu()).map_err(|error| failed(name, error))
            };
            warm(server.address, &known).map_err(|error| failed(name, error))?;
            let hit = run(&known, Pick::Random)?;
            let before = upstream.calls();
            let miss = run(&new, Pick::Once)?;
            let asked = upstream.calls() - before;
            if asked < miss.operations {
                let problem = format!("{} misses were only {asked} calls to the source", miss.operations);
                return Err(failed(name, io::Error::other(problem)));
            }
            added[at].push(miss.micros() - hit.micros());
        }
        progress("misses", round, options);
    }
    let added: Vec<f64> = added.iter().map(|added| median(added)).collect();
    let base = servers.iter().position(|(name, _)| *name == NGINX).map(|at| added[at]);
    for ((name, _), added) in servers.iter().zip(added) {
        let figure = figures.add("HTTP: what a miss adds", "server CPU, to a hit", name, added, "µs");
        figure.over(NGINX, base);
        if *name == OURS {
            figure.at_most(CPU_GOAL);
        }
    }
    Ok(())
}

/// The upstream asked directly, and through every cache with a new token each time, in turn over one connection each.
fn compare_latency(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    // Away from the client like everybody, so that to wake another core is part of the direct call too.
    let upstream = Upstream::start(Duration::ZERO, Some(process::SERVER_CORE))?;
    let folder = tempfile::tempdir()?;
    let servers = caches(peers, folder.path(), &upstream)?;
    let calls = ((options.seconds * CALLS_A_SECOND) as usize).max(1);
    let mut medians: Vec<Vec<f64>> = (0..=servers.len()).map(|_| Vec::new()).collect();
    let ask_all = |fresh: &mut Fresh| -> io::Result<Vec<f64>> {
        let addresses = std::iter::once(upstream.address()).chain(servers.iter().map(|(_, server)| server.address));
        let mut clients = addresses.map(Client::connect).collect::<io::Result<Vec<Client>>>()?;
        let mut times: Vec<Histogram> = clients.iter().map(|_| Histogram::new()).collect();
        for token in fresh.take(calls) {
            let request = words::check(token);
            for (client, times) in clients.iter_mut().zip(&mut times) {
                let began = Instant::now();
                client.ask(&request)?;
                times.record(began.elapsed());
            }
        }
        Ok(times.iter().map(|times| times.at(0.5).as_secs_f64() * 1e6).collect())
    };
    let mut fresh = Fresh::new();
    for _ in 0..options.rounds {
        // On a thread of its own, as this one stays where it is.
        let round = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                process::pin_this_thread(Some(process::LOAD_CORE));
                ask_all(&mut fresh)
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the client panicked")))
        })?;
        medians.iter_mut().zip(round).for_each(|(medians, round)| medians.push(round));
    }
    let direct = median(&medians[0]);
    let added = |at: usize| median(&medians[at + 1]) - direct;
    let base = servers.iter().position(|(name, _)| *name == NGINX).map(added);
    for (at, (name, _)) in servers.iter().enumerate() {
        let figure = figures.add("HTTP: what a miss adds", "latency, to the direct call (p50)", name, added(at), "µs");
        figure.over(NGINX, base);
        if *name == OURS {
            figure.at_most(LATENCY_GOAL);
        }
    }
    Ok(())
}

/// A hundred clients, one new token, and an upstream that takes its time.
fn compare_bursts(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    let upstream = Upstream::start(SLOW, Some(process::LOAD_CORE))?;
    let folder = tempfile::tempdir()?;
    let servers = caches(peers, folder.path(), &upstream)?;
    let mut calls: Vec<Vec<f64>> = servers.iter().map(|_| Vec::new()).collect();
    let mut lasts = calls.clone();
    for token in Fresh::new().take(options.rounds) {
        for (at, (name, server)) in servers.iter().enumerate() {
            let before = upstream.calls();
            let last = burst(server, &words::check(token)).map_err(|error| failed(name, error))?;
            lasts[at].push(last.as_secs_f64() * 1e3);
            calls[at].push((upstream.calls() - before) as f64);
        }
    }
    let part = "HTTP: 100 clients ask for one new session, the source takes 80 ms";
    let base = servers.iter().position(|(name, _)| *name == NGINX).map(|at| median(&lasts[at]));
    for (at, (name, _)) in servers.iter().enumerate() {
        let most = calls[at].iter().copied().fold(0.0, f64::max);
        let figure = figures.add(part, "calls of the source, at most", name, most, "calls");
        if *name == OURS {
            figure.at_most(BURST_CALLS);
        }
        let figure = figures.add(part, "the last answer", name, median(&lasts[at]), "ms");
        figure.over(NGINX, base);
        if *name == OURS {
            figure.at_most(BURST_GOAL);
        }
    }
    Ok(())
}

/// The time from the first request to the last answer.
fn burst(server: &Running, request: &[u8]) -> io::Result<Duration> {
    let connect = |_| Client::connect(server.address);
    let mut clients = (0..BURST).map(connect).collect::<io::Result<Vec<Client>>>()?;
    let began = Instant::now();
    clients.iter_mut().try_for_each(|client| client.send(request))?;
    let body = words::body();
    for client in &mut clients {
        if client.receive()? != body.as_bytes() {
            return Err(io::Error::other("an answer that is not the source's"));
        }
    }
    Ok(began.elapsed())
}
