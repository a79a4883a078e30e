//! How many descriptors the process may have, and how many clients that leaves room for.
//!
//! As Redis does: the limit is raised as far as the system lets the process raise it, and when that is too little fewer
//! clients are let in than was asked for, with a warning. So a full house hears that it is full, in place of a server
//! that cannot accept.

use crate::config::{Config, Refusal};

/// Descriptors that are no client's: the standard streams, the log, files that are read, and what is about to be closed.
const OWN: u64 = 32;

/// Descriptors of each worker's runtime, and of the acceptor's.
const EACH_RUNTIME: u64 = 4;

/// Clients that there must be room for, over each protocol.
const LEAST: u64 = 8;

/// What is to be done about a limit.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Enough,
    /// Fewer clients than were asked for: RESP and HTTP.
    Fewer(u32, u32),
    /// Not enough for a server; so many are.
    None(u64),
}

/// How the limit looks before anything is done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Outlook {
    /// So many descriptors are enough, or nobody knows of a limit.
    Enough(Option<u64>),
    /// The limit, and the clients it leaves room for: RESP and HTTP.
    Fewer(u64, u32, u32),
    /// The limit, and the least that a server needs.
    None(u64, u64),
}

/// What a server with these settings would find, raising the limit as far as it may.
pub(super) fn outlook(config: &Config, workers: usize) -> Outlook {
    let Some(limit) = most() else { return Outlook::Enough(None) };
    match room(config, workers, limit) {
        Room::Enough => Outlook::Enough(Some(limit)),
        Room::Fewer(resp, http) => Outlook::Fewer(limit, resp, http),
        Room::None(least) => Outlook::None(limit, least),
    }
}

/// How far the limit can be raised. `None` where there is none, or none is known.
fn most() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).maximum
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Descriptors that a full server needs: for clients and calls upstream, and for itself.
fn needed(config: &Config, workers: usize) -> [u64; 2] {
    let upstream = config.upstream.as_ref().map_or(0, |_| u64::from(config.upstream_connections));
    let doors = (config.bind.0.len() + config.http_addresses().len()) as u64;
    let own = OWN + EACH_RUNTIME * (workers as u64 + 1) + 2 * doors + upstream;
    [u64::from(config.maxclients) + u64::from(config.http_maxclients), own]
}

/// What so many descriptors leave room for.
fn room(config: &Config, workers: usize, limit: u64) -> Room {
    let [clients, own] = needed(config, workers);
    let left = limit.saturating_sub(own);
    if left >= clients {
        return Room::Enough;
    }
    if left < 2 * LEAST {
        return Room::None(own + 2 * LEAST);
    }
    // Each protocol keeps its share, or the few that both must have.
    let resp = (left as u128 * u128::from(config.maxclients) / u128::from(clients)) as u64;
    let resp = resp.clamp(LEAST, left - LEAST);
    let fewer = |asked: u32, most: u64| asked.min(u32::try_from(most).unwrap_or(u32::MAX));
    Room::Fewer(fewer(config.maxclients, resp), fewer(config.http_maxclients, left - resp))
}

/// Raises the process's limit to what a full server needs, or lowers `maxclients` and `http-maxclients` to what the limit
/// leaves room for. `Err` is why there is no room for a server at all.
pub(super) fn make_room(config: &mut Config, workers: usize) -> Result<(), String> {
    let Some(limit) = raise(needed(config, workers).iter().sum()) else { return Ok(()) };
    match room(config, workers, limit) {
        Room::Enough => {}
        Room::Fewer(resp, http) => {
            tracing::warn!(
                "the limit of {limit} open files leaves room for maxclients {resp} and http-maxclients {http} in place of \
                 {} and {}: raise it (ulimit -n, LimitNOFILE) or ask for fewer",
                config.maxclients,
                config.http_maxclients
            );
            (config.maxclients, config.http_maxclients) = (resp, http);
        }
        Room::None(least) => {
            return Err(format!(
                "the limit of {limit} open files is too low for a server: raise it to {least} at least (ulimit -n, LimitNOFILE)"
            ));
        }
    }
    Ok(())
}

/// Refuses more clients than descriptors can be had for, in Redis' words. The limit is raised where it may be.
pub(super) fn judge(before: &Config, after: &Config, workers: usize) -> Result<(), Refusal> {
    let asked = [
        ("maxclients", before.maxclients, after.maxclients),
        ("http-maxclients", before.http_maxclients, after.http_maxclients),
    ];
    let Some((name, ..)) = asked.into_iter().find(|(_, before, after)| after > before) else { return Ok(()) };
    let Some(limit) = raise(needed(after, workers).iter().sum()) else { return Ok(()) };
    fits(after, workers, limit).map_err(|most| {
        let why = "The operating system is not able to handle the specified number of clients, try with";
        Refusal::Value(name.to_owned(), format!("{why} {}", if name == "maxclients" { most.0 } else { most.1 }))
    })
}

/// Whether so many descriptors suffice; otherwise the most clients of each protocol that could be asked for alone.
fn fits(config: &Config, workers: usize, limit: u64) -> Result<(), (u64, u64)> {
    let [clients, own] = needed(config, workers);
    if clients + own <= limit {
        return Ok(());
    }
    let beside = |others: u32| limit.saturating_sub(own + u64::from(others));
    Err((beside(config.http_maxclients), beside(config.maxclients)))
}

/// Raises the limit to so many descriptors, or as far as it goes. `None` where there is none, or none is known.
#[cfg(target_os = "linux")]
fn raise(wanted: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let has = getrlimit(Resource::Nofile);
    let now = has.current?;
    if now >= wanted {
        return Some(now);
    }
    let goal = has.maximum.map_or(wanted, |most| most.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(goal), maximum: has.maximum }) {
        Ok(()) => Some(goal),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files to {goal}");
            Some(now)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn raise(_wanted: u64) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_leaves_each_protocol_its_share() {
        let mut config = Config::default();
        let [clients, own] = needed(&config, 2);
        assert_eq!(clients, 18_000);
        assert_eq!(room(&config, 2, clients + own), Room::Enough);
        assert_eq!(room(&config, 2, clients + own - 9), Room::Fewer(9_995, 7_996));
        assert_eq!(room(&config, 2, own + 16), Room::Fewer(8, 8));
        assert_eq!(room(&config, 2, own + 15), Room::None(own + 16));
        // Who asks for few gets what it asked for, or the few that there must be.
        config.http_maxclients = 2;
        assert_eq!(room(&config, 2, own + 100), Room::Fewer(92, 2));
        config.maxclients = u32::MAX;
        assert_eq!(room(&config, 2, u64::from(u32::MAX)), Room::Fewer(u32::MAX - own as u32 - 8, 2));
    }

    #[test]
    fn more_clients_than_there_are_descriptors_are_refused_with_the_most_that_may_be() {
        let mut config = Config::default();
        let [clients, own] = needed(&config, 2);
        assert_eq!(fits(&config, 2, clients + own), Ok(()));
        assert_eq!(fits(&config, 2, clients + own - 1), Err((9_999, 7_999)));
        config.maxclients = 9_999;
        assert_eq!(fits(&config, 2, clients + own - 1), Ok(()));
        assert_eq!(fits(&config, 2, own), Err((0, 0)));
        // What is not more than before is never refused: it was let in.
        config.maxclients = u32::MAX;
        assert_eq!(judge(&config, &config, 2), Ok(()));
        let refusal = judge(&Config::default(), &config, 2).map_err(|refusal| refusal.to_string());
        assert!(refusal.is_err_and(|text| text.contains("argument 'maxclients') - The operating system is not able")));
    }

    #[test]
    fn a_full_server_needs_no_more_than_systems_grant() {
        // Twenty thousand is the least that common systems let a process raise its limit to.
        let [clients, own] = needed(&Config::default(), 64);
        assert!(clients + own < 20_000, "{clients} + {own}");
    }
}
