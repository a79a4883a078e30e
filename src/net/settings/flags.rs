//! The command line: a file first, then flags, with as many words behind a flag as Redis takes.
//!
//! `--port 7000`, `--port=7000`, `"--port 7000"`, `--bind 127.0.0.1 -::1` and `--metrics` all mean what they seem to.
//! As with redis-server, the word behind a flag is its value even if it begins with two dashes. The words are
//! first brought into the form `--name=value`; clap takes it from there and writes the help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, ValueHint, ValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use super::{Settings, Stop, settable, shown};
use crate::config::{Change, Group, Kind, Lines, PARAMS, Param, find, nearest_of, words};

/// What the command line says.
#[derive(Debug)]
pub(super) struct Flags {
    pub switches: Vec<&'static str>,
    pub file: Option<PathBuf>,
    pub stdin: bool,
    pub settings: Settings,
    pub users: Vec<Vec<String>>,
}

/// Reads the arguments, without the program's name. Of the `switches`, which are no settings and take no value, it tells
/// which are there.
pub(super) fn read(args: impl IntoIterator<Item = OsString>, switches: &[&'static str]) -> Result<Flags, Stop> {
    let mut texts = Vec::new();
    for arg in args {
        texts.push(arg.into_string().map_err(|_| Stop::Problem("an argument is not UTF-8".to_owned()))?);
    }
    let line = plain(&texts, switches).map_err(Stop::Problem)?;
    if let Some(is_long) = line.help {
        return Err(Stop::Help { is_long });
    }
    // Values are judged where they are set, from wherever they come, and in the same words.
    let unjudged = command().mut_args(|arg| arg.value_parser(ValueParser::string()));
    let matches = unjudged.try_get_matches_from(line.args).map_err(|error| match error.kind() {
        ErrorKind::DisplayVersion => Stop::Answer(error.to_string()),
        _ => Stop::Problem(error.to_string().trim_end().to_owned()),
    })?;
    let mut settings = Vec::new();
    for param in PARAMS {
        let values = matches.get_many::<String>(param.name).unwrap_or_default();
        settings.extend(values.map(|value| (param, value.clone())));
    }
    let file = matches.get_one::<String>("config").map(PathBuf::from);
    if file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
        return Err(Stop::Problem("--config: a value is missing".to_owned()));
    }
    if file.is_some() && line.file.is_some() {
        return Err(Stop::Problem("there are two files: the first word and --config; one is enough".to_owned()));
    }
    Ok(Flags { switches: line.switches, file: line.file.or(file), stdin: line.stdin, settings, users: line.users })
}

/// The command line with each setting as one word, `--name=value`.
struct Line {
    switches: Vec<&'static str>,
    /// Whether help is asked for, and all of it.
    help: Option<bool>,
    file: Option<PathBuf>,
    stdin: bool,
    args: Vec<String>,
    users: Vec<Vec<String>>,
}

fn plain(texts: &[String], switches: &[&'static str]) -> Result<Line, String> {
    let args = vec!["cloakroom".to_owned()];
    let mut line = Line { switches: Vec::new(), help: None, file: None, stdin: false, args, users: Vec::new() };
    let mut at = 0;
    // The flag before, for the message about a word too many.
    let mut last: Option<&Param> = None;
    while let Some(text) = texts.get(at) {
        at += 1;
        let is_first = at == 1;
        match text.as_str() {
            "-" if is_first || at == texts.len() => line.stdin = true,
            "-v" => line.args.push("--version".to_owned()),
            "-h" | "--help" => line.help = Some(text == "--help"),
            "-V" | "--version" => line.args.push(text.clone()),
            // A user has as many words as it takes; they are rules, no settings.
            "--user" => {
                let rest = &texts[at..];
                let taken = rest.iter().position(|word| word.starts_with("--")).unwrap_or(rest.len());
                line.users.push(rest[..taken].to_vec());
                at += taken;
            }
            flag if let Some(switch) = switches.iter().find(|switch| flag.strip_prefix("--") == Some(switch)) => {
                line.switches.push(switch);
            }
            flag if flag.starts_with("--") => {
                let (name, value, taken) = split_flag(&flag[2..], &texts[at..])?;
                at += taken;
                last = find(name);
                line.args.push(format!("--{}={value}", last.map_or(name, |param| param.name)));
            }
            file if is_first && !file.starts_with('-') => line.file = Some(file.into()),
            flag if flag.len() > 1 && flag.starts_with('-') && last.is_none() => {
                return Err(format!("{}: there is no such flag; cloakroom --help shows what is taken", shown(flag)));
            }
            stray => {
                let behind = last.map(|param| format!(" behind --{}", param.name)).unwrap_or_default();
                // It may be the rest of a password that was not quoted.
                let word =
                    if last.is_some_and(Param::is_secret) { String::new() } else { format!(": {}", shown(stray)) };
                return Err(format!("a word too many{behind}{word}; cloakroom --help shows what is taken"));
            }
        }
    }
    Ok(line)
}

/// The name of a flag, its value, and how many of the following words are part of it.
fn split_flag<'a>(flag: &'a str, rest: &[String]) -> Result<(&'a str, String, usize), String> {
    let end = flag.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(flag.len());
    let (name, tail) = flag.split_at(end);
    let param = find(name);
    if matches!(name, "help" | "version") {
        return Err(format!("--{name} takes no value"));
    }
    if param.is_none() && name != "config" {
        let near = nearest_of(name, settable().chain(["config", "help", "version"]));
        let hint = near.map(|near| format!("; did you mean --{near}?")).unwrap_or_default();
        return Err(format!("--{name}: there is no such setting{hint}"));
    }
    if let Some(value) = tail.strip_prefix('=') {
        return Ok((name, value.to_owned(), 0));
    }
    if !tail.is_empty() {
        let words = words::split(tail).ok_or_else(|| format!("--{name}: the quotes do not balance"))?;
        return Ok((name, one_value(param, &words)?, 0));
    }
    let is_flag = |word: &String| word.starts_with("--");
    let ends = rest.first().is_none_or(is_flag);
    match param {
        Some(param) if ends && matches!(param.kind, Kind::Bool) => return Ok((name, "yes".to_owned(), 0)),
        // Redis takes it so, for command lines that were made of an empty list.
        Some(param) if ends && param.name == "save" => return Ok((name, String::new(), 0)),
        _ => {}
    }
    if rest.is_empty() {
        return Err(format!("--{name}: a value is missing"));
    }
    let more = match param {
        Some(param) if param.lines != Lines::Single => {
            let behind = &rest[1..];
            behind.iter().position(|word| is_flag(word) || word == "-").unwrap_or(behind.len())
        }
        _ => 0,
    };
    Ok((name, one_value(param, &rest[..=more])?, 1 + more))
}

/// The words of a value as one text.
fn one_value(param: Option<&Param>, words: &[String]) -> Result<String, String> {
    match words {
        [word] => Ok(word.clone()),
        words if param.is_some_and(|param| param.lines != Lines::Single) => Ok(words::join(words)),
        _ => {
            let name = param.map_or("config", |param| param.name);
            Err(format!("--{name} takes one value; put quotes around one that has spaces"))
        }
    }
}

/// The command line of the server, for its help and what is made of that. No value is checked by it.
pub fn command() -> Command {
    let command = Command::new("cloakroom")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Hand in a token, get the session back: a session cache and a Redis-like store in one process.")
        .override_usage(
            "cloakroom [FILE] [--SETTING VALUE]...\n       cloakroom COMMAND (cloakroom help COMMAND says more)",
        )
        .after_help("--help says more and lists the settings of Redis that are accepted without effect.")
        .after_long_help(
            "FILE is TOML if it ends in .toml, else a redis.conf; - reads a redis.conf from standard input. The \
             environment outranks the file, flags outrank both.\n\n\
             BYTES are a number or, say, 64mb (kb, mb, gb). TIME has its unit: 500ms, 5s, 2m, 1h or 1d. CONFIG SET is \
             a command for Redis clients: redis-cli config set session-ttl 10s.",
        )
        .term_width(80);
    arguments(command)
}

/// The same command with a flag for each setting.
pub fn arguments(mut command: Command) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("TOML file or redis.conf; also taken as the first word, or from CLOAKROOM_CONFIG.")
        .help_heading(Group::Network.title());
    command = command.arg(file);
    for group in Group::ALL {
        for param in PARAMS.iter().filter(|param| param.group == group) {
            command = command.arg(arg(param));
        }
    }
    command
}

/// Names that fit beside a flag.
const CHOICES_MAX: usize = 3;

fn arg(param: &'static Param) -> Arg {
    let short_default = match param.default {
        "" => String::new(),
        // Long defaults would drown the rest; the reference has them.
        long if long.len() > 24 => String::new(),
        text => format!(" [{text}]"),
    };
    let change = match param.change {
        Change::Live => "CONFIG SET changes it",
        Change::Protected => "CONFIG SET changes it where allowed",
        Change::AtStart => "read at start",
    };
    let choices = match param.kind {
        // Fewer stand in the place of the value.
        Kind::Choice(names) if names.len() > CHOICES_MAX => format!("\n[one of: {}]", names.join(", ")),
        Kind::Flags(names) => format!("\n[some of: {}]", names.join(", ")),
        _ => String::new(),
    };
    let default = words::quote(param.default);
    let long = format!("{}{choices}\n[default: {default}] [env: {}] [{change}]", param.doc, param.env());
    let arg = Arg::new(param.name)
        .long(param.name)
        .aliases(param.aliases)
        .value_name(value_name(param))
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .help(format!("{}{short_default}", param.summary()))
        .long_help(long)
        .help_heading(param.group.title())
        .hide_short_help(param.group == Group::Compatibility)
        .hide(param.is_hidden())
        // Nothing here is split by spaces; a value is a whole text.
        .num_args(1);
    // For completions alone: help has said it already, and nothing is checked by it.
    let one_of = |names: &'static [&'static str]| PossibleValuesParser::new(names);
    match param.kind {
        Kind::Choice(names) => arg.value_parser(one_of(names)).hide_possible_values(true),
        Kind::Bool => arg.value_parser(one_of(&["yes", "no"])).hide_possible_values(true),
        Kind::Text | Kind::Form(..) => arg,
        _ => arg.value_hint(ValueHint::Other),
    }
}

fn value_name(param: &Param) -> String {
    match &param.kind {
        Kind::Int(..) => "N".to_owned(),
        Kind::Bool => "yes|no".to_owned(),
        Kind::Choice(names) if names.len() <= CHOICES_MAX => names.join("|"),
        Kind::Choice(_) => "NAME".to_owned(),
        Kind::Flags(_) => "NAMES".to_owned(),
        kind => kind.label().to_uppercase().replace(' ', "-"),
    }
}
