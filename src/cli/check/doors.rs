//! Whether the doors can be opened, or who is there already.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::target::GONE;
use super::Findings;
use crate::config::Config;
use crate::net::client::{Address, Reply, Wire};
use crate::net::http::ELSEWHERE;
use crate::net::probe::{self, Door, Way};

/// How long whoever listens at a port may take to say something.
const PATIENCE: Duration = Duration::from_millis(700);

pub(super) fn look(found: &mut Findings, config: &Config) {
    let mut doors = probe::doors(config);
    // What is said of port 0 is that it needs no looking at.
    if doors.is_empty() {
        found.ok("ports", "free ones are picked when it starts");
    }
    for door in &mut doors {
        let Door { way, place, address, setting, trouble } = door;
        let about = format!("{setting} ({})", way.name());
        match trouble {
            None => found.ok(&about, format!("{place} is free")),
            Some(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let who = address.map_or(Who::Unknown, |address| who(address, *way, config));
                match who {
                    Who::Cloakroom(name) => found.warn(
                        &about,
                        format!("{place} is in use: {name} answers there"),
                        format!(
                            "it runs already: nothing is to be done, or stop it first, or choose another {setting}"
                        ),
                    ),
                    Who::Other(name) => found.problem(
                        &about,
                        format!("{place} is in use: {name} answers there"),
                        format!("stop it, or choose another {setting}"),
                    ),
                    Who::Unknown => found.problem(
                        &about,
                        format!("{place} is in use"),
                        format!("stop what listens there, or choose another {setting}"),
                    ),
                }
            }
            Some(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let cure = match address {
                    Some(_) => "choose a port from 1024 on, or let it: setcap cap_net_bind_service=+ep",
                    None => "choose a folder that it may write to",
                };
                found.problem(&about, format!("{place}: {error}"), format!("{cure} ({setting})"));
            }
            Some(error) => {
                let cure = match address {
                    Some(_) => "bind an address that this machine has; one with a dash before it may be missing",
                    None => "make the folder first",
                };
                found.problem(&about, format!("{place}: {error}"), cure);
            }
        }
    }
}

enum Who {
    Cloakroom(String),
    Other(String),
    Unknown,
}

/// Who seems to listen at an address where a door of this kind is to be. It is spoken to in the door's own language first: a
/// server that runs well logs who speaks another.
fn who(address: SocketAddr, way: Way, config: &Config) -> Who {
    if way == Way::Http
        && let Ok(heard) = probe::answer_to_get(address, PATIENCE)
        && heard.starts_with(b"HTTP/")
    {
        return match String::from_utf8_lossy(&heard).contains(ELSEWHERE) {
            true => Who::Cloakroom("cloakroom's HTTP port".to_owned()),
            false => Who::Other("an HTTP server".to_owned()),
        };
    }
    let Ok(heard) = probe::answer_to_ping(address, PATIENCE) else { return Who::Unknown };
    let heard = String::from_utf8_lossy(&heard);
    match &*heard {
        heard if heard.starts_with("-ERR this is the HTTP port") => Who::Cloakroom("cloakroom's HTTP port".to_owned()),
        heard if heard.starts_with("HTTP/") => Who::Other("an HTTP server".to_owned()),
        heard if heard.starts_with("+PONG") => named(address, ""),
        heard if heard.starts_with("-NOAUTH") => named(address, &config.requirepass),
        heard if heard.starts_with(['-', '+']) => Who::Other("a Redis".to_owned()),
        _ => Who::Unknown,
    }
}

/// What a server of Redis' protocol calls itself.
fn named(address: SocketAddr, password: &str) -> Who {
    let to = Address::at(address.ip().to_string(), address.port(), password.to_owned());
    let info = Wire::connect_within(&to, GONE, PATIENCE, PATIENCE).and_then(|mut wire| wire.ask(&[b"INFO", b"server"]));
    let Ok(Reply::Bulk(Some(info))) = info else {
        return Who::Other("a Redis, or a cloakroom with another password,".to_owned());
    };
    let info = String::from_utf8_lossy(&info);
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    match (field("cloakroom_version"), field("redis_version")) {
        (Some(version), _) => Who::Cloakroom(format!("cloakroom {version}")),
        (None, Some(version)) => Who::Other(format!("Redis {version}")),
        _ => Who::Other("a Redis".to_owned()),
    }
}
