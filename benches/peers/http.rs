//! Session checks that hit: what an answer costs, and how many a second there are.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::figures::{Figures, OURS, median};
use crate::support::http::Client;
use crate::support::load::{Load, Pick, Reply, Requests};
use crate::support::process;
use crate::support::servers::{self, NGINX, Peers, Running, VARNISH};
use crate::support::upstream::Upstream;
use crate::support::words;
use crate::{CONNECTIONS, Options, failed, progress};

/// Sessions whose checks are the load. Every round has its own, which are asked for once before it begins: a cache that
/// lets others wait while it asks for a session would otherwise be measured waiting.
const SESSIONS: u64 = 100;
/// Seconds after which sessions may expire, and be asked for again.
const LIFE: u64 = 4;

/// What a hit is to cost at most, and how many are to be answered a second at least, as shares of nginx.
const CPU_GOAL: f64 = 0.50;
const RATE_GOAL: f64 = 2.0;

/// Hyper that looks at nothing: the least that a server on it can cost.
const BARE: &str = "hyper alone";

/// The caches in front of an upstream: ours, and those that are there. What they write lies in the folder.
pub fn caches(
    peers: &Peers,
    folder: &std::path::Path,
    upstream: &Upstream,
) -> io::Result<Vec<(&'static str, Running)>> {
    let mut caches = vec![(OURS, servers::cloakroom("http", &["--upstream", &upstream.url()])?)];
    if let Some(program) = &peers.nginx {
        caches.push((NGINX, servers::nginx(program, folder, upstream.address())?));
    }
    if let Some(program) = &peers.varnish {
        caches.push((VARNISH, servers::varnish(program, folder, upstream.address())?));
    }
    Ok(caches)
}

/// Asks for everything once, so that it can be hit.
pub fn warm(address: SocketAddr, requests: &Requests) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    requests.iter().try_for_each(|request| client.ask(request).map(drop))
}

struct Contender {
    name: &'static str,
    server: Running,
    costs: Vec<f64>,
    rates: Vec<f64>,
    tails: Vec<f64>,
}

/// Everybody answers the same checks at as many connections.
pub fn compare(options: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    let upstream = Upstream::start(Duration::ZERO, Some(process::LOAD_CORE))?;
    let folder = tempfile::tempdir()?;
    let mut servers = caches(peers, folder.path(), &upstream)?;
    servers.push((BARE, servers::bare_hyper()?));
    let new = |(name, server)| Contender { name, server, costs: vec![], rates: vec![], tails: vec![] };
    let mut contenders: Vec<Contender> = servers.into_iter().map(new).collect();

    let body = words::body();
    let count = contenders.len();
    for round in 0..options.rounds {
        let requests: Requests = (0..SESSIONS).map(|n| words::check(round as u64 * SESSIONS + n)).collect();
        for turn in 0..count {
            let contender = &mut contenders[(round + turn) % count];
            let load = Load {
                address: contender.server.address,
                connections: CONNECTIONS,
                depth: 1,
                duration: options.duration(),
                requests: requests.clone(),
                pick: Pick::Random,
                reply: Reply::Body(body.as_bytes()),
            };
            warm(contender.server.address, &requests).map_err(|error| failed(contender.name, error))?;
            let before = upstream.calls();
            let outcome = load.run(|| contender.server.process.cpu()).map_err(|error| failed(contender.name, error))?;
            let asked = upstream.calls() - before;
            if asked > SESSIONS * (options.seconds as u64 / LIFE) {
                let problem = format!("{asked} calls to the source for {} answers", outcome.operations);
                return Err(failed(contender.name, io::Error::other(problem)));
            }
            contender.costs.push(outcome.micros());
            contender.rates.push(outcome.rate());
            contender.tails.push(outcome.latency.at(0.99).as_secs_f64() * 1e6);
        }
        progress("HTTP", round, options);
    }

    let nginx = contenders.iter().find(|contender| contender.name == NGINX);
    let base = nginx.map(|nginx| (median(&nginx.costs), median(&nginx.rates)));
    let part = "HTTP: a hit";
    for contender in &contenders {
        let figure = figures.add(part, "server CPU", contender.name, median(&contender.costs), "µs");
        figure.over(NGINX, base.map(|base| base.0));
        if contender.name == OURS {
            figure.ratio_at_most(CPU_GOAL, NGINX);
        }
        let figure =
            figures.add(part, "requests, more is better", contender.name, median(&contender.rates), "a second");
        figure.over(NGINX, base.map(|base| base.1));
        if contender.name == OURS {
            figure.ratio_at_least(RATE_GOAL, NGINX);
        }
        figures.add(part, "p99", contender.name, median(&contender.tails), "µs");
    }
    Ok(())
}
