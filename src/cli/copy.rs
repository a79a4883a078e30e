//! `cloakroom import` and `cloakroom export`: which servers are meant, and what is said in the end.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Done, LEFT_BEHIND, Problem, Row, Way, complain, say, target};
use crate::net::copy::Order;

const MORE: &str = "Exit codes: 0 all is copied, 1 it ended before all was, 2 the arguments are wrong, 3 some keys stayed \
    behind, which the last line counts by type. Keys in secret namespaces are hashed on their way in and cannot be turned \
    back on their way out.";

pub(super) const IMPORT: Row = Row {
    name: "import",
    about: "Copies a live Redis into a running cloakroom or a snapshot",
    more: MORE,
    way: Way::Own(import_arguments, |matches| copy(matches, true)),
};

pub(super) const EXPORT: Row = Row {
    name: "export",
    about: "Copies a running cloakroom into a live Redis",
    more: MORE,
    way: Way::Own(export_arguments, |matches| copy(matches, false)),
};

fn import_arguments(command: Command) -> Command {
    arguments(
        command,
        ["into", "URL|FILE"],
        [
            "The Redis: redis:// or rediss://[user:password@]host[:port][/database], or unix:///path. Without a database all are copied.",
            "Where to: redis:// and so on, or the name of a snapshot. [default: 127.0.0.1, with CLOAKROOM_PORT and \
             CLOAKROOM_REQUIREPASS]",
            "Overwrites keys, or the snapshot, that are there already.",
        ],
    )
}

fn export_arguments(command: Command) -> Command {
    arguments(
        command,
        ["from", "URL"],
        [
            "The Redis: redis:// or rediss://[user:password@]host[:port][/database], or unix:///path.",
            "Where from: redis:// and so on; with a database only that one. [default: 127.0.0.1, with CLOAKROOM_PORT and \
             CLOAKROOM_REQUIREPASS]",
            "Overwrites keys that are there already.",
        ],
    )
}

fn arguments(
    command: Command,
    [other, value]: [&'static str; 2],
    [given, help, replace]: [&'static str; 3],
) -> Command {
    target::trusted(command)
        .arg(Arg::new("address").value_name("URL").required(true).help(given))
        .arg(Arg::new("other").long(other).value_name(value).value_parser(NonEmptyStringValueParser::new()).help(help))
        .arg(Arg::new("replace").long("replace").action(ArgAction::SetTrue).help(replace))
}

fn copy(matches: &ArgMatches, imports: bool) -> Done {
    let (given, other) = (target::text(matches, "address").unwrap_or_default(), target::text(matches, "other"));
    let (own, trust, replace) = (target::own_redis(), target::trust(matches)?, matches.get_flag("replace"));
    let order = match imports {
        true => Order::import(given, other, own, &trust, replace),
        false => Order::export(given, other, own, &trust, replace),
    };
    let report = order.map_err(Problem::wrong)?.carry_out(std::env::vars_os()).map_err(Problem::failed)?;
    if report.is_whole() {
        say(&format!("{report}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    complain(&report.to_string());
    Ok(ExitCode::from(LEFT_BEHIND))
}
