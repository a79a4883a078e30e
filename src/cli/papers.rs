//! `cloakroom completions` and `cloakroom man`: what shells and `man` want to know, made of the same rows as the help.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Done, HELP, Problem, ROWS, Row, Way, say, target};
use crate::net::settings;

const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

pub(super) const COMPLETIONS: Row = Row {
    name: "completions",
    about: "Prints completions for a shell",
    more: "In the file that the shell reads at its start:\n\n\
           bash: source <(cloakroom completions bash)\n\n\
           zsh, after compinit: source <(cloakroom completions zsh)\n\n\
           fish: cloakroom completions fish | source\n\n\
           PowerShell: cloakroom completions powershell | Out-String | Invoke-Expression",
    way: Way::Own(
        |command| {
            let shells = PossibleValuesParser::new(SHELLS);
            command.arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(shells).help("The shell."))
        },
        completions,
    ),
};

pub(super) const MAN: Row = Row {
    name: "man",
    about: "Prints the man page",
    more: "To read it: cloakroom man | man -l -",
    way: Way::Own(|command| command, man),
};

/// The whole command line with everything that each subcommand takes.
fn whole() -> Command {
    let command = settings::command().disable_help_subcommand(true);
    let command = ROWS.iter().fold(command, |command, row| command.subcommand(row.whole_command()));
    // What is written in its place is judged by `help` itself, which also knows what was perhaps meant.
    let names = PossibleValuesParser::new(ROWS.iter().map(|row| row.name));
    command.mut_subcommand(HELP.name, |help| help.mut_arg("command", |arg| arg.value_parser(names)))
}

fn completions(matches: &ArgMatches) -> Done {
    let shell: Shell = target::text(matches, "shell").unwrap_or_default().parse().map_err(Problem::wrong)?;
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut whole(), "cloakroom", &mut out);
    say(&String::from_utf8_lossy(&out))?;
    Ok(ExitCode::SUCCESS)
}

fn man(_: &ArgMatches) -> Done {
    say(&page().map_err(|error| Problem::failed(format!("cannot write a man page: {error}")))?)?;
    Ok(ExitCode::SUCCESS)
}

/// One page: the server's settings, then a section for each subcommand, with what it takes beside them.
fn page() -> std::io::Result<String> {
    let main = Man::new(super::tree());
    let mut out = Vec::new();
    main.render_title(&mut out)?;
    main.render_name_section(&mut out)?;
    main.render_synopsis_section(&mut out)?;
    main.render_description_section(&mut out)?;
    for row in ROWS {
        let command = row.command().disable_help_flag(true);
        out.extend_from_slice(format!(".SH \"CLOAKROOM {}\"\n", row.name.to_uppercase()).as_bytes());
        let mut part = Vec::new();
        let man = Man::new(command);
        man.render_description_section(&mut part)?;
        man.render_synopsis_section(&mut part)?;
        man.render_options_section(&mut part)?;
        if !row.more.is_empty() {
            man.render_extra_section(&mut part)?;
        }
        // What is a section of its own elsewhere is a paragraph here.
        let part = String::from_utf8_lossy(&part);
        for line in part.lines() {
            out.extend_from_slice(if line.starts_with(".SH") { b".PP" } else { line.as_bytes() });
            out.push(b'\n');
        }
    }
    main.render_options_section(&mut out)?;
    main.render_extra_section(&mut out)?;
    main.render_version_section(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}
