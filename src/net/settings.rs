//! Settings from where people write them: a file, the environment, the command line, in rising rank.
//!
//! All names and values come from `config::PARAMS`; this module only knows the ways in. A mistake is one line
//! that names where it was made, the value unless it is a secret, and what would be right. Nothing is started here.

mod files;
mod flags;

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

pub use self::flags::{arguments, command};
use crate::config::{Config, Kind, Lines, PARAMS, Param, env_name, nearest_of};

/// What was read.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, which make sense together.
    pub config: Config,
    /// What was accepted but does nothing, for the log.
    pub warnings: Vec<String>,
    /// Whether the same can be read again: standard input can not.
    pub again: bool,
    /// Which of the switches that were asked after stand on the command line.
    pub switches: Vec<&'static str>,
    /// Where each setting was written, by its name, as often as it was.
    origins: Vec<(&'static str, Origin)>,
}

impl Loaded {
    /// The settings alone: what is told of how they were read is let go.
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Where a setting has its value from; `None` if nobody has set it.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.origins.iter().rev().find(|(own, _)| *own == name).map(|(_, origin)| origin)
    }
}

/// Why the server is not to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help is asked for, the short or the long one: [`command`] has it.
    Help {
        /// Whether all of it.
        is_long: bool,
    },
    /// The text that `--version` asked for: standard output, success.
    Answer(String),
    /// What is wrong, in one line: standard error, failure.
    Problem(String),
}

impl Stop {
    /// What is said of it.
    pub fn line(self) -> String {
        match self {
            Stop::Help { .. } => "help is not a setting".to_owned(),
            Stop::Answer(line) | Stop::Problem(line) => line,
        }
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In the environment.
    Env,
    /// In this file, `-` for standard input, on this line.
    Line(String, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Env => f.write_str("env"),
            Origin::Line(file, line) => write!(f, "{file}:{line}"),
        }
    }
}

/// Reads the settings. `args` are the arguments without the program's name, `env` all variables of the environment.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Stop> {
    load_beside(&[], args, env)
}

/// The same where these switches, which are no settings and take no value, may stand among the flags.
pub fn load_beside(
    switches: &[&'static str],
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Stop> {
    load_with(switches, args, env, &mut std::io::stdin())
}

/// As [`load_beside`], with what `-` reads.
fn load_with(
    switches: &[&'static str],
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    input: &mut dyn Read,
) -> Result<Loaded, Stop> {
    let flags = flags::read(args, switches)?;
    let env = read_env(env).map_err(Stop::Problem)?;
    let mut reader = Reader::default();
    let again = !flags.stdin;
    let file = flags.file.clone().or(env.file);
    reader.read(file, flags.stdin.then_some(input), &env.settings, &flags).map_err(Stop::Problem)?;
    let mut warnings = reader.warnings();
    warnings.extend(env.warnings);
    let Reader { config, origins, .. } = reader;
    Ok(Loaded { config, warnings, again, switches: flags.switches, origins })
}

/// Settings as they are gathered, source after source.
#[derive(Default)]
struct Reader {
    config: Config,
    /// Where each value was written.
    origins: Vec<(&'static str, Origin)>,
    /// Directives that no row answers to, in the order of their first line.
    unknown: Vec<String>,
    /// Files read for an `include`.
    included: usize,
}

type Settings = Vec<(&'static Param, String)>;

impl Reader {
    fn read(
        &mut self,
        file: Option<PathBuf>,
        input: Option<&mut dyn Read>,
        env: &Settings,
        flags: &flags::Flags,
    ) -> Result<(), String> {
        if let Some(path) = file {
            self.file(&path)?;
            self.config.config_file = Some(std::path::absolute(&path).unwrap_or(path));
        }
        if let Some(input) = input {
            self.stdin(input)?;
        }
        for (param, value) in env {
            self.apply(&Origin::Env, param, value)?;
        }
        for (param, value) in &flags.settings {
            self.apply(&Origin::Flag, param, value)?;
        }
        for user in &flags.users {
            self.config.add_user(user).map_err(|why| format!("--user: {why}"))?;
        }
        self.config.check()
    }

    /// Sets one value, or says where it was written and what would be right.
    fn apply(&mut self, origin: &Origin, param: &'static Param, value: &str) -> Result<(), String> {
        let before = param.get(&self.config);
        let joined;
        let whole = if param.lines == Lines::Add && !before.is_empty() && !value.is_empty() {
            joined = format!("{before} {value}");
            &joined
        } else {
            value
        };
        self.config.set(param.name, whole).map_err(|refusal| {
            let place = match origin {
                Origin::Flag => format!("--{}", param.name),
                Origin::Env => param.env(),
                Origin::Line(file, line) => format!("{file}:{line}: {}", param.name),
            };
            let value = if param.is_secret() { String::new() } else { format!(" {}", shown(value)) };
            format!("{place}{value}: {}{}", refusal.reason(), cure(param, refusal.reason()))
        })?;
        self.origins.push((param.name, origin.clone()));
        Ok(())
    }

    /// One line for all that was accepted and does nothing.
    fn warnings(&self) -> Vec<String> {
        let fresh = Config::default();
        let idle = |param: &&Param| param.has_no_effect() && param.get(&self.config) != param.get(&fresh);
        let idle: Vec<&str> = PARAMS.iter().filter(idle).map(|param| param.name).collect();
        let mut parts = Vec::new();
        if !self.unknown.is_empty() {
            parts.push(format!("unknown and ignored: {}", self.unknown.join(", ")));
        }
        if !idle.is_empty() {
            parts.push(format!("without effect here: {}", idle.join(", ")));
        }
        if parts.is_empty() { Vec::new() } else { vec![format!("settings {}", parts.join("; "))] }
    }
}

/// What Redis' own texts leave open.
fn cure(param: &Param, reason: &str) -> String {
    match param.kind {
        _ if reason.contains("must be between") => String::new(),
        Kind::Int(min, max) => format!(" (a whole number from {min} to {max})"),
        Kind::Memory(..) => " (bytes such as 1048576, 64mb or 1gb)".to_owned(),
        Kind::MemoryOrAuto(..) => " (bytes such as 1048576, 64mb or 1gb, or auto)".to_owned(),
        _ => String::new(),
    }
}

/// A value in quotes, in one line and not too long. What stands before an @ may be a password.
fn shown(value: &str) -> String {
    if value.contains('@') {
        return "'…'".to_owned();
    }
    const SHOWN_MAX: usize = 64;
    let start: String = value.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    let more = if value.chars().nth(SHOWN_MAX).is_some() { "…" } else { "" };
    format!("'{start}{more}'")
}

struct Env {
    file: Option<PathBuf>,
    settings: Settings,
    warnings: Vec<String>,
}

const PREFIX: &str = "CLOAKROOM_";

/// The variables that begin with `CLOAKROOM_`. One that stands for nothing may be a mistake, or may be meant for a program
/// that uses this server, so it is said and no reason to stay down.
fn read_env(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Env, String> {
    let mut env = Env { file: None, settings: Vec::new(), warnings: Vec::new() };
    let mut vars: Vec<_> = vars.into_iter().collect();
    // The environment has no order of its own; which mistake is told should not be left to chance.
    vars.sort();
    for (name, value) in vars {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if name == "CLOAKROOM_CONFIG" {
            env.file = Some(value.into());
            continue;
        }
        let Some(value) = value.to_str() else { return Err(format!("{name}: the value is not UTF-8")) };
        if is_service_link(name, value) {
            continue;
        }
        let named = |param: &&Param| param.names().any(|own| env_name(own) == name);
        let Some(param) = PARAMS.iter().find(named) else {
            let near = nearest_of(&name[PREFIX.len()..], settable().chain(["config"]));
            let hint = near.map(|near| format!("; did you mean {}?", env_name(near))).unwrap_or_default();
            env.warnings.push(format!("{name}: there is no such setting{hint}"));
            continue;
        };
        env.settings.push((param, value.to_owned()));
    }
    Ok(env)
}

/// Whether Kubernetes made this variable for a service that happens to be called "cloakroom".
fn is_service_link(name: &str, value: &str) -> bool {
    let rest = &name[PREFIX.len()..];
    let of_port = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    rest.starts_with("SERVICE_")
        || rest.strip_prefix("PORT_").is_some_and(of_port)
        || (rest == "PORT" && (value.starts_with("tcp://") || value.starts_with("udp://")))
}

/// The names worth suggesting.
fn settable() -> impl Iterator<Item = &'static str> {
    PARAMS.iter().filter(|param| !param.is_hidden()).flat_map(Param::names)
}

#[cfg(test)]
mod tests;
