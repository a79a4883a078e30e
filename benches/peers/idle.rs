//! What a server costs that has nothing to do: its memory, that of clients who say nothing, and the time until it
//! answers for the first time. Ours has the number of workers that it chooses itself.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::figures::{Figures, OURS, median};
use crate::support::process;
use crate::support::servers::{Cores, Kind, MINI_REDIS, Peers, REDIS};
use crate::{Options, failed};

/// Idle clients, if so many files may be open.
const CLIENTS: usize = 2000;
/// Files that are open besides: sockets of the runtime, pipes, /proc.
const OTHER_FILES: usize = 100;
/// Starts of each server.
const STARTS: usize = 10;
/// How long a start may take before it is given up.
const START_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether a server listens; an error of this size is in every figure.
const LOOK: Duration = Duration::from_micros(100);
/// How long a server may take to settle after the last client has come.
const SETTLE: Duration = Duration::from_millis(300);

/// What an idle client, an idle process, and a start are to cost at most: bytes, megabytes, milliseconds.
const CLIENT_GOAL: f64 = 1024.0;
const PROCESS_GOAL: f64 = 8.0;
const START_GOAL: f64 = 15.0;

/// What is measured of everybody.
struct Row {
    what: &'static str,
    unit: &'static str,
    goal: f64,
}

const ROWS: [Row; 3] = [
    Row { what: "resident memory of an idle process", unit: "MB", goal: PROCESS_GOAL },
    Row { what: "resident memory of an idle client", unit: "bytes", goal: CLIENT_GOAL },
    Row { what: "start to first PONG", unit: "ms", goal: START_GOAL },
];

/// Starts everybody, and lets them wait.
pub fn compare(_: &Options, peers: &Peers, figures: &mut Figures) -> io::Result<()> {
    let clients = CLIENTS.min(process::open_files().saturating_sub(OTHER_FILES));
    let ours = Kind::cloakroom(None);
    // mini-redis knows no PING and takes 250 clients.
    let others = peers.resp.iter().filter(|kind| kind.name != MINI_REDIS);
    let kinds: Vec<&Kind> = std::iter::once(&ours).chain(others).collect();
    let mut starts: Vec<Vec<f64>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..STARTS {
        for (kind, starts) in kinds.iter().zip(&mut starts) {
            starts.push(start(kind).map_err(|error| failed(kind.name, error))?.as_secs_f64() * 1e3);
        }
    }
    let mut measured = Vec::new();
    for (kind, starts) in kinds.iter().zip(starts) {
        let (process, client) = rest(kind, clients).map_err(|error| failed(kind.name, error))?;
        measured.push((kind.name, [process, client, median(&starts)]));
        eprintln!("idle: {} done", kind.name);
    }
    let base = measured.iter().find(|(name, _)| *name == REDIS).map(|(_, values)| *values);
    for (at, row) in ROWS.iter().enumerate() {
        for (name, values) in &measured {
            let figure = figures.add("idle", row.what, name, values[at], row.unit);
            figure.over(REDIS, base.map(|base| base[at]));
            if *name == OURS {
                figure.at_most(row.goal);
            }
        }
    }
    figures.conditions = format!("{clients} clients after one PING each; medians of {STARTS} starts");
    Ok(())
}

/// Resident megabytes of a process that has answered one PING, and the bytes that each idle client adds.
fn rest(kind: &Kind, clients: usize) -> io::Result<(f64, f64)> {
    let server = kind.start(Cores::All)?;
    // Stays, so that what comes with the first client is not divided among the others.
    let _first = ping(server.address)?;
    std::thread::sleep(SETTLE);
    let before = server.process.resident()?;
    let others = (0..clients).map(|_| ping(server.address)).collect::<io::Result<Vec<TcpStream>>>()?;
    std::thread::sleep(SETTLE);
    let after = server.process.resident()?;
    let client = after.saturating_sub(before) as f64 / others.len().max(1) as f64;
    Ok((before as f64 / 1e6, client))
}

/// The time from the start of a process to its first PONG.
fn start(kind: &Kind) -> io::Result<Duration> {
    let port = process::free_port()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let began = Instant::now();
    let _process = kind.launch(Cores::All, port)?;
    loop {
        match ping(address) {
            Ok(_) => return Ok(began.elapsed()),
            Err(error) if began.elapsed() > START_MAX => return Err(error),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// A client that has said PING and heard PONG.
fn ping(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_MAX))?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply)?;
    if &reply == b"+PONG\r\n" { Ok(stream) } else { Err(io::Error::other("no PONG")) }
}
