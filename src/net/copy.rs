//! `cloakroom import` and `cloakroom export`: what a live server holds, carried to another or into a snapshot.
//!
//! Keys are found with SCAN and carried as DUMP and RESTORE have them, each with what is left of its TTL, one value at a
//! time in memory. Both servers go on meanwhile, so that what changes while it is carried may arrive as it was before or
//! after. What cannot be carried is counted by type; no key is ever shown, as it may hold a token.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::{Address, Reply, Trust, Wire};
use super::keyfile::KeyFile;
use super::settings;
use super::snapshot;
use crate::clock::{Clock, Millis, Ttl};
use crate::command;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
use crate::rdb::unseal;
use crate::store::{Restored, STRING_MAX, restore};

/// Keys that are asked for at once: enough that nobody waits for the network, few enough to be bounded.
const BATCH: &str = "200";

/// What helps when a connection is lost.
const AGAIN: &str = "once it is well, the same again with --replace goes over what was copied";

/// Refusals after which going on would bring the same for every key.
const HOPELESS: [&str; 7] = ["NOAUTH", "NOPERM", "READONLY", "OOM", "MISCONF", "LOADING", "MOVED"];

/// What is to be done.
#[derive(Debug)]
pub struct Order {
    source: Address,
    target: Target,
    replace: bool,
}

#[derive(Debug)]
enum Target {
    Server(Address),
    File(PathBuf),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    copied: u64,
    /// What was there already and stayed.
    kept: u64,
    /// What died or was removed before its turn.
    gone: u64,
    /// What was refused: how many by type and reason.
    refused: BTreeMap<(String, String), u64>,
}

impl Report {
    /// Whether all that lived is now there.
    pub fn is_whole(&self) -> bool {
        self.kept == 0 && self.refused.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys copied", self.copied)?;
        if self.gone > 0 {
            write!(f, "; {} ended while they were copied", self.gone)?;
        }
        if self.kept > 0 {
            write!(f, "; {} were there already and stay as they are: --replace overwrites them", self.kept)?;
        }
        for ((kind, why), count) in &self.refused {
            write!(f, "; {count} of type {kind} not copied: {why}")?;
        }
        Ok(())
    }
}

impl Order {
    /// What a Redis at `given` holds, into `other`, which is an address or the name of a file. Without one it is `own`.
    /// Who is reached over TLS is known by this.
    pub fn import(
        given: &str,
        other: Option<&str>,
        own: Address,
        trust: &Trust,
        replace: bool,
    ) -> Result<Order, String> {
        let target = match other {
            None => Target::Server(own),
            Some(into) if into.contains("://") => Target::Server(Address::parse(into, trust)?),
            Some(file) => Target::File(file.into()),
        };
        Ok(Order { source: Address::parse(given, trust)?, target, replace })
    }

    /// What a server at `other` holds, or `own`, into the Redis at `given`. Who is reached over TLS is known by this.
    pub fn export(
        given: &str,
        other: Option<&str>,
        own: Address,
        trust: &Trust,
        replace: bool,
    ) -> Result<Order, String> {
        let source = other.map_or(Ok(own), |from| Address::parse(from, trust))?;
        Ok(Order { source, target: Target::Server(Address::parse(given, trust)?), replace })
    }

    /// Carries everything over. The environment has the settings of a snapshot that is made.
    pub fn carry_out(self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Report, String> {
        let mut source = Wire::connect(&self.source, AGAIN)?;
        let mut sink: Box<dyn Sink> = match &self.target {
            Target::Server(address) => Box::new(Server::connect(address)?),
            Target::File(path) => Box::new(File::new(path, self.replace, env)?),
        };
        let mut report = Report::default();
        let databases = match self.source.database {
            Some(number) => vec![(number, size(&mut source, number)?)],
            None => databases(&mut source)?,
        };
        let bar = bar(databases.iter().map(|(_, size)| size).sum());
        for (number, _) in databases {
            let into = match &self.target {
                Target::Server(Address { database: Some(into), .. }) => *into,
                _ => number,
            };
            source.ask(&[b"SELECT", number.to_string().as_bytes()])?.ok().map_err(|why| self.source.trouble(&why))?;
            sink.select(into)?;
            self.carry_database(&mut source, sink.as_mut(), &mut report, &bar)?;
        }
        bar.finish_and_clear();
        sink.finish()?;
        Ok(report)
    }

    fn carry_database(
        &self,
        source: &mut Wire,
        sink: &mut dyn Sink,
        report: &mut Report,
        bar: &ProgressBar,
    ) -> Result<(), String> {
        let mut cursor = b"0".to_vec();
        // SCAN may show a key again, batches later, where the source's table grows meanwhile. What was copied before is not
        // there already by anybody else; a few bytes a key tell it.
        let (hasher, mut before) = (RandomState::new(), HashSet::new());
        loop {
            let answer = source.ask(&[b"SCAN", &cursor, b"COUNT", BATCH.as_bytes()])?;
            let (next, mut keys) = answer.scanned().map_err(|why| self.source.trouble(&why))?;
            keys.sort_unstable();
            keys.dedup();
            for key in &keys {
                source.send(&[b"PTTL", key])?;
                source.send(&[b"DUMP", key])?;
            }
            source.flush()?;
            let mut sent = Vec::new();
            for key in &keys {
                let (left, dump) = (source.receive()?, source.receive()?);
                for answer in [&left, &dump] {
                    if let Reply::Error(why) = answer {
                        return Err(self.source.trouble(why));
                    }
                }
                match (left, dump) {
                    // It had died, or it dies now: none lives for zero milliseconds.
                    (Reply::Int(-2 | 0), _) | (_, Reply::Bulk(None)) => report.gone += 1,
                    (Reply::Int(left), Reply::Bulk(Some(dump))) => {
                        sink.put(key, left.max(0) as u64, &dump, self.replace)?;
                        sent.push(key);
                    }
                    _ => return Err(format!("{} gives answers that are not Redis' own", self.source)),
                }
            }
            for (key, answer) in sent.iter().zip(sink.answers(sent.len())?) {
                if before.insert(hasher.hash_one(key)) || answer.as_ref().is_err_and(|why| !why.starts_with("BUSYKEY"))
                {
                    self.count(source, key, answer, report)?;
                }
            }
            bar.inc(keys.len() as u64);
            if next == b"0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Counts what became of a key.
    fn count(
        &self,
        source: &mut Wire,
        key: &[u8],
        answer: Result<(), String>,
        report: &mut Report,
    ) -> Result<(), String> {
        let Err(why) = answer else {
            report.copied += 1;
            return Ok(());
        };
        let code = why.split(' ').next().unwrap_or_default();
        if code == "BUSYKEY" {
            report.kept += 1;
            return Ok(());
        }
        if HOPELESS.contains(&code) {
            let target = match &self.target {
                Target::Server(address) => address.trouble(&why),
                Target::File(path) => format!("{}: {why}", path.display()),
            };
            return Err(format!("{target}; {report} before that"));
        }
        let kind = match source.ask(&[b"TYPE", key])? {
            Reply::Simple(kind) => kind,
            _ => "unknown".into(),
        };
        let why = match why.contains("Bad data format") || why.contains("DUMP payload") {
            true => "the target has no such type, or none so new".into(),
            false => why,
        };
        *report.refused.entry((kind, why)).or_default() += 1;
        Ok(())
    }
}

/// A bar on a terminal, and nothing elsewhere.
fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} keys, {per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The databases that hold something, and about how much.
fn databases(source: &mut Wire) -> Result<Vec<(usize, u64)>, String> {
    let text = match source.ask(&[b"INFO", b"keyspace"])? {
        Reply::Bulk(Some(text)) => String::from_utf8_lossy(&text).into_owned(),
        Reply::Error(why) => return Err(source.trouble(&why)),
        _ => String::new(),
    };
    let line = |line: &str| {
        let (number, rest) = line.strip_prefix("db")?.split_once(":keys=")?;
        Some((number.parse().ok()?, rest.split(',').next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn size(source: &mut Wire, number: usize) -> Result<u64, String> {
    source.ask(&[b"SELECT", number.to_string().as_bytes()])?.ok().map_err(|why| source.trouble(&why))?;
    match source.ask(&[b"DBSIZE"])? {
        Reply::Int(size) => Ok(size.max(0) as u64),
        Reply::Error(why) => Err(source.trouble(&why)),
        _ => Ok(0),
    }
}

/// Where keys are put.
trait Sink {
    fn select(&mut self, database: usize) -> Result<(), String>;
    /// Puts a key that has so many milliseconds left, or 0 for no end.
    fn put(&mut self, key: &[u8], left: u64, dump: &[u8], replace: bool) -> Result<(), String>;
    /// What became of the last so many, in order.
    fn answers(&mut self, count: usize) -> Result<Vec<Result<(), String>>, String>;
    fn finish(&mut self) -> Result<(), String>;
}

struct Server {
    wire: Wire,
}

impl Server {
    fn connect(address: &Address) -> Result<Server, String> {
        Ok(Server { wire: Wire::connect(address, AGAIN)? })
    }
}

impl Sink for Server {
    fn select(&mut self, database: usize) -> Result<(), String> {
        let answer = self.wire.ask(&[b"SELECT", database.to_string().as_bytes()])?;
        answer.ok().map_err(|why| {
            format!("{}: set databases to {} or more there, or name one to copy", self.wire.trouble(&why), database + 1)
        })
    }

    fn put(&mut self, key: &[u8], left: u64, dump: &[u8], replace: bool) -> Result<(), String> {
        let left = left.to_string();
        let words = [&b"RESTORE"[..], key, left.as_bytes(), dump, b"REPLACE"];
        self.wire.send(&words[..if replace { 5 } else { 4 }])
    }

    fn answers(&mut self, count: usize) -> Result<Vec<Result<(), String>>, String> {
        self.wire.flush()?;
        (0..count).map(|_| self.wire.receive().map(Reply::ok)).collect()
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A snapshot under way: an engine that serves nobody.
struct File {
    engine: Engine,
    path: PathBuf,
    database: usize,
    answers: Vec<Result<(), String>>,
}

impl File {
    fn new(path: &Path, replace: bool, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<File, String> {
        if path.exists() && !replace {
            return Err(format!("{} is there already: --replace overwrites it", path.display()));
        }
        let config: Config = match settings::load([], env) {
            Ok(loaded) => loaded.config,
            Err(stop) => return Err(stop.line()),
        };
        let keyfile = KeyFile::open(path.parent().unwrap_or(Path::new("")))?;
        let engine = Engine::with_key(config, Clock::system(), 1, command::COUNT, keyfile.key().clone());
        Ok(File { engine, path: path.to_path_buf(), database: 0, answers: Vec::new() })
    }

    fn put_now(&self, key: &[u8], left: u64, dump: &[u8]) -> Result<(), String> {
        let compact = self.engine.with_config(|config| config.compact);
        let value = unseal(dump).and_then(|payload| restore(payload, STRING_MAX, &compact)).ok_or("Bad data format")?;
        let now = self.engine.clock.now();
        let deadline = if left == 0 { Millis::NEVER } else { now + Ttl(left) };
        let put = self.engine.store(self.database).with(key, now, |slot| match value {
            Restored::String(bytes) => slot.put_bytes(&bytes, deadline),
            Restored::Object(object) => slot.put_object(object, deadline),
        });
        put.map_err(|error: Error| error.to_string())
    }
}

impl Sink for File {
    fn select(&mut self, database: usize) -> Result<(), String> {
        if database >= self.engine.databases() {
            return Err(format!("there is no database {database}: set CLOAKROOM_DATABASES to {}", database + 1));
        }
        self.database = database;
        Ok(())
    }

    fn put(&mut self, key: &[u8], left: u64, dump: &[u8], _: bool) -> Result<(), String> {
        let answer = self.put_now(key, left, dump);
        self.answers.push(answer);
        Ok(())
    }

    fn answers(&mut self, _: usize) -> Result<Vec<Result<(), String>>, String> {
        Ok(std::mem::take(&mut self.answers))
    }

    fn finish(&mut self) -> Result<(), String> {
        snapshot::write(&self.engine, &self.path, &AtomicBool::new(false)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_two_ends() {
        let own = || Address::own(7777, String::new());
        let order = Order::import("redis://old:6380/2", None, own(), &Trust::default(), false).expect("an order");
        assert_eq!((order.source.to_string(), order.source.database), ("old:6380".to_owned(), Some(2)));
        assert!(matches!(order.target, Target::Server(own) if own.to_string() == "127.0.0.1:7777"));
        let order = Order::import("redis://old", Some("a.rdb"), own(), &Trust::default(), false).expect("an order");
        assert!(matches!(order.target, Target::File(_)));
        let order =
            Order::export("redis://new", Some("redis://x:1"), own(), &Trust::default(), true).expect("an order");
        assert_eq!((order.source.to_string(), order.replace), ("x:1".to_owned(), true));
        assert!(
            Order::import("http://x", None, own(), &Trust::default(), false).is_err_and(|why| why.contains("redis://"))
        );
    }

    #[test]
    fn a_report_counts_by_type() {
        let mut report = Report { copied: 3, ..Report::default() };
        assert!(report.is_whole());
        report.refused.insert(("stream".into(), "no such type".into()), 2);
        assert_eq!(report.to_string(), "3 keys copied; 2 of type stream not copied: no such type");
        assert!(!report.is_whole());
    }
}
