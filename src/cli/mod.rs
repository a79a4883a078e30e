//! What people type: one row per subcommand, beside its arguments and what it does.
//!
//! The server is what is started when no subcommand is named, and nothing of the others is built for it. Help, man page
//! and completions come from the rows. Whatever goes wrong is one line that says the cure, on standard error.

mod bench;
mod check;
mod config;
mod copy;
mod figures;
mod paint;
mod papers;
mod serve;
mod session;
mod stats;
mod target;
mod top;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::nearest_of;
use crate::net::settings::{self, Stop};

/// Exit codes, as in sysexits and Redis: what could not be done, and arguments or settings that are wrong.
const FAILED: u8 = 1;
const BAD_SETTINGS: u8 = 2;
/// All went well, and still it is not what was hoped for: keys that stayed behind, a token without a session.
const LEFT_BEHIND: u8 = 3;

/// Columns of help.
const WIDTH: usize = 80;

/// What is wrong, in one line, and the exit code for it. With 0 nothing is: whoever reads no further has what it wanted.
#[derive(Debug)]
struct Problem {
    line: String,
    code: u8,
}

/// How a subcommand ended.
type Done = Result<ExitCode, Problem>;

impl Problem {
    /// Something that could not be done.
    fn failed(line: impl Into<String>) -> Problem {
        Problem { line: line.into(), code: FAILED }
    }

    /// Arguments or settings that are wrong.
    fn wrong(line: impl Into<String>) -> Problem {
        Problem { line: line.into(), code: BAD_SETTINGS }
    }
}

/// A subcommand.
struct Row {
    name: &'static str,
    /// One line.
    about: &'static str,
    /// What help says below the arguments.
    more: &'static str,
    way: Way,
}

/// How a subcommand is called.
enum Way {
    /// With arguments of its own.
    Own(fn(Command) -> Command, fn(&ArgMatches) -> Done),
    /// With the server's settings and these switches beside them: name and what it does.
    Settings(&'static [(&'static str, &'static str)], fn(Vec<OsString>) -> Result<ExitCode, Unserved>),
}

/// Why something that takes settings was not done.
enum Unserved {
    /// The settings say so.
    Stop(Stop),
    /// It went wrong.
    Problem(Problem),
}

impl From<Stop> for Unserved {
    fn from(stop: Stop) -> Unserved {
        Unserved::Stop(stop)
    }
}

impl From<Problem> for Unserved {
    fn from(problem: Problem) -> Unserved {
        Unserved::Problem(problem)
    }
}

/// All of them, in the order of help. The first is what is done when none is named.
const ROWS: &[Row] = &[
    serve::ROW,
    check::ROW,
    config::ROW,
    session::GET,
    session::SIGN_OUT,
    stats::ROW,
    top::ROW,
    bench::ROW,
    copy::IMPORT,
    copy::EXPORT,
    papers::COMPLETIONS,
    papers::MAN,
    HELP,
];

const HELP: Row = Row {
    name: "help",
    about: "Lists the subcommands, or says more about one",
    more: "",
    way: Way::Own(|command| command.arg(Arg::new("command").value_name("COMMAND").help("A subcommand.")), help),
};

/// Does what the arguments, without the program's name, ask for. Without a subcommand that is to serve until somebody
/// ends it.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let done = match named(&args) {
        Ok(Some(row)) => row.run(args[1..].to_vec()),
        Ok(None) => serve::ROW.run(args),
        Err(problem) => Err(problem),
    };
    done.unwrap_or_else(|problem| {
        if problem.code != 0 {
            complain(&problem.line);
        }
        ExitCode::from(problem.code)
    })
}

/// The subcommand that is named; `None` where the first word is a flag, a file or nothing.
fn named(args: &[OsString]) -> Result<Option<&'static Row>, Problem> {
    let Some(word) = args.first().and_then(|word| word.to_str()) else { return Ok(None) };
    if let Some(row) = find(word) {
        return Ok(Some(row));
    }
    // A file of settings, by its looks or because it is there.
    let is_name = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if word.is_empty() || word.starts_with('-') || !is_name || Path::new(word).exists() {
        return Ok(None);
    }
    Err(unknown(word))
}

fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

fn unknown(word: &str) -> Problem {
    let near = nearest_of(word, ROWS.iter().map(|row| row.name));
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let short: String = word.chars().take(40).collect();
    Problem::wrong(format!(
        "'{short}': there is neither such a subcommand nor such a file of settings{hint} (cloakroom help lists them)"
    ))
}

impl Row {
    fn run(&self, args: Vec<OsString>) -> Done {
        match &self.way {
            Way::Own(_, run) => {
                let words = std::iter::once(OsString::from(self.name)).chain(args);
                match self.command().try_get_matches_from(words) {
                    Ok(matches) => run(&matches),
                    Err(error) => match error.kind() {
                        ErrorKind::DisplayHelp => {
                            say(&error.to_string())?;
                            Ok(ExitCode::SUCCESS)
                        }
                        _ => Err(Problem::wrong(in_one_line(&error, self.name))),
                    },
                }
            }
            Way::Settings(_, run) => match run(args) {
                Ok(code) => Ok(code),
                Err(Unserved::Problem(problem)) => Err(problem),
                Err(Unserved::Stop(Stop::Problem(line))) => Err(Problem::wrong(line)),
                Err(Unserved::Stop(Stop::Answer(text))) => {
                    say(&text)?;
                    Ok(ExitCode::SUCCESS)
                }
                Err(Unserved::Stop(Stop::Help { is_long })) => {
                    let is_server = self.name == serve::ROW.name;
                    let mut command = if is_server { tree() } else { self.command() };
                    let help = if is_long { command.render_long_help() } else { command.render_help() };
                    say(&help.to_string())?;
                    Ok(ExitCode::SUCCESS)
                }
            },
        }
    }

    /// Its command line, for its help. The settings are left to that of the server.
    fn command(&self) -> Command {
        let bin = format!("cloakroom {}", self.name);
        let command = Command::new(self.name).bin_name(&bin).about(self.about).term_width(WIDTH);
        let command = if self.more.is_empty() { command } else { command.after_help(self.more) };
        match &self.way {
            Way::Own(arguments, _) => arguments(command).disable_version_flag(true),
            Way::Settings(switches, _) => {
                let flags: String = switches.iter().map(|(name, _)| format!(" [--{name}]")).collect();
                let command = command.override_usage(format!("{bin} [FILE] [--SETTING VALUE]...{flags}"));
                let switch = |(name, help): &(&'static str, &'static str)| {
                    Arg::new(*name).long(*name).help(*help).action(ArgAction::SetTrue)
                };
                command.args(switches.iter().map(switch))
            }
        }
    }

    /// The same with all that it takes.
    fn whole_command(&self) -> Command {
        match &self.way {
            Way::Own(..) => self.command(),
            Way::Settings(..) => settings::arguments(self.command()),
        }
    }
}

/// The whole command line as its help shows it.
fn tree() -> Command {
    let command = settings::command().disable_help_subcommand(true);
    ROWS.iter().fold(command, |command, row| command.subcommand(Command::new(row.name).about(row.about)))
}

fn help(matches: &ArgMatches) -> Done {
    let text = match matches.get_one::<String>("command").map(|word| (word, find(word))) {
        Some((_, Some(row))) if row.name == serve::ROW.name => tree().render_long_help().to_string(),
        Some((_, Some(row))) => row.command().render_long_help().to_string(),
        Some((word, None)) => return Err(unknown(word)),
        None => {
            let mut text = String::from("Hand in a token, get the session back.\n\nUsage: cloakroom [COMMAND] ...\n\n");
            for row in ROWS {
                text.push_str(&format!("  {:<12} {}\n", row.name, row.about));
            }
            text + "\ncloakroom help COMMAND says more about one, cloakroom --help lists all settings.\n"
        }
    };
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What clap says in several lines, in one: what is wrong, what was perhaps meant, and where it stands.
fn in_one_line(error: &clap::Error, name: &str) -> String {
    let text = error.to_string();
    let what = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let what: Vec<&str> = what.split_whitespace().collect();
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedValue].into_iter().find_map(|kind| error.get(kind));
    let hint = match near {
        Some(ContextValue::String(near)) => format!("; did you mean {near}?"),
        Some(ContextValue::Strings(near)) if !near.is_empty() => format!("; did you mean {}?", near[0]),
        _ => String::new(),
    };
    format!("{}{hint} (cloakroom help {name} shows what is taken)", what.join(" "))
}

/// Prints to standard output, or says why that ends here.
fn say(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Problem { line: String::new(), code: 0 },
        _ => Problem::failed(format!("cannot write to standard output: {error}")),
    })
}

/// Says what is wrong, on standard error.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "cloakroom: {}", plain(line));
}

/// What a server or an argument says, without what a terminal would do rather than show.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The switch that asks for JSON.
fn json(command: Command) -> Command {
    command.arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Prints JSON, for machines."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_and_one_line_each_and_clap_finds_no_fault() {
        tree().debug_assert();
        for (at, row) in ROWS.iter().enumerate() {
            assert!(!row.about.contains('\n') && row.about.len() < 66, "{}", row.name);
            assert!(ROWS[..at].iter().all(|other| other.name != row.name), "{}", row.name);
            row.whole_command().debug_assert();
            let wide: Vec<_> = row.command().render_long_help().to_string().lines().map(str::to_owned).collect();
            let wide: Vec<_> = wide.iter().filter(|line| line.chars().count() > WIDTH).collect();
            assert!(wide.is_empty(), "{wide:#?}");
        }
    }

    #[test]
    fn only_the_first_word_names_a_subcommand() {
        let named = |words: &[&str]| {
            let args: Vec<OsString> = words.iter().map(Into::into).collect();
            named(&args).map(|row| row.map(|row| row.name)).map_err(|problem| problem.line)
        };
        assert_eq!(named(&["--port", "import"]), Ok(None));
        assert_eq!(named(&["import", "--help"]), Ok(Some("import")));
        for file in ["redis.conf", "/etc/none", "-", "", "src"] {
            assert_eq!(named(&[file]), Ok(None), "{file}");
        }
        assert!(named(&["chekc"]).is_err_and(|line| line.contains("did you mean check?")));
        assert!(named(&["start"]).is_err_and(|line| line.contains("neither")));
    }
}
