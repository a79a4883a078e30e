//! What this machine has for a server: files, memory, descriptors.

use std::path::Path;

use super::super::paint::bytes;
use super::Findings;
use crate::config::Config;
use crate::net::probe::{self, Outlook};
use crate::net::server::MEMORY_PERCENT;

pub(super) fn look(found: &mut Findings, config: &Config) {
    folder(found, config);
    snapshot(found, config);
    for (about, read) in probe::files(config) {
        match read {
            Ok(()) => {}
            Err(line) => found.refused(about, &line, "the file must be there, readable, and what its setting says"),
        }
    }
    memory(found, config);
    match probe::descriptors(config) {
        Outlook::Enough(None) => found.ok("open files", "no limit is known"),
        Outlook::Enough(Some(limit)) => {
            let (resp, http) = (config.maxclients, config.http_maxclients);
            found.ok("open files", format!("{limit} are enough for maxclients {resp} and http-maxclients {http}"));
        }
        Outlook::Fewer(limit, resp, http) => found.warn(
            "open files",
            format!("{limit} leave room for maxclients {resp} and http-maxclients {http} only"),
            "raise the limit (ulimit -Hn, LimitNOFILE), or ask for fewer clients",
        ),
        Outlook::None(limit, least) => found.problem(
            "open files",
            format!("{limit} are too few for a server"),
            format!("raise the limit to {least} at least (ulimit -Hn, LimitNOFILE)"),
        ),
    }
}

fn folder(found: &mut Findings, config: &Config) {
    let dir = if config.dir.is_empty() { Path::new(".") } else { Path::new(&config.dir) };
    let shown = dir.display();
    match probe::writable(dir) {
        Ok(()) => found.ok("dir", format!("{shown} can be written to")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            found.problem(
                "dir",
                format!("there is no folder {shown}"),
                format!("mkdir -p {shown}, or set dir to another"),
            );
        }
        Err(error) => found.problem(
            "dir",
            format!("{shown} cannot be written to: {error}"),
            "let the server's user write there, or set dir to another folder",
        ),
    }
}

/// The snapshot, which is read at a start whatever `save` says.
fn snapshot(found: &mut Findings, config: &Config) {
    match probe::snapshot(config) {
        Ok(None) => {}
        Ok(Some(entries)) => {
            let path = config.snapshot_path();
            found.ok("snapshot", format!("{} is whole and will be read: {entries} entries", path.display()));
        }
        // The folder has been told of.
        Err(_) if !config.directory().is_dir() => {}
        Err(line) => found.refused("snapshot", &line, "let the server's user read it, or put back a good copy"),
    }
}

fn memory(found: &mut Findings, config: &Config) {
    let Some((machine, place)) = probe::memory() else {
        if config.maxmemory_auto {
            found.warn("maxmemory", "nothing tells how much memory there is, so it is unlimited", "set maxmemory");
        }
        return;
    };
    let has = format!("{place} has {}", bytes(machine));
    let share = machine / 100 * MEMORY_PERCENT;
    let cure = format!("set maxmemory auto, which is {} here", bytes(share));
    match config.maxmemory {
        _ if config.maxmemory_auto => found.ok("maxmemory", format!("auto is {}; {has}", bytes(share))),
        0 => found.warn("maxmemory", format!("it is unlimited; {has}"), cure),
        most if most > machine => {
            found.problem("maxmemory", format!("{} are more than there is; {has}", bytes(most)), cure)
        }
        most if most > share => found.warn(
            "maxmemory",
            format!("{} leave little for the process itself and for what else runs; {has}", bytes(most)),
            cure,
        ),
        most => found.ok("maxmemory", format!("{}; {has}", bytes(most))),
    }
}
