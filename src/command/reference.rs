//! The table of commands in docs/commands.md, computed from the rows.

use std::fmt::Write as _;

use super::{Group, Spec};

/// The line before the table in docs/commands.md.
pub const COMMANDS_BEGIN: &str = "<!-- commands: generated from src/command -->";
/// The line after it.
pub const COMMANDS_END: &str = "<!-- end of commands -->";

/// The table, in Markdown: a line for each command, its subcommands among its arguments.
pub fn commands_reference() -> String {
    let mut out = String::from("\n| group | commands |\n|---|---|\n");
    for group in Group::ALL {
        let mut rows: Vec<&Spec> = super::all().map(|found| found.spec).filter(|spec| spec.group == group).collect();
        rows.sort_unstable_by_key(|spec| spec.name);
        if rows.is_empty() {
            continue;
        }
        let shown: Vec<String> = rows.into_iter().map(show).collect();
        let _ = writeln!(out, "| {} | {} |", group.name(), shown.join(", "));
    }
    out.push('\n');
    out
}

/// What a document has between the two marks, for a test to compare with [`commands_reference`].
pub fn commands_reference_in(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once(COMMANDS_BEGIN)?;
    let (table, _) = rest.split_once(COMMANDS_END)?;
    table.strip_prefix('\n')
}

/// `GET`, or `CLIENT` with its subcommands.
fn show(spec: &Spec) -> String {
    if spec.subs.is_empty() {
        return format!("`{}`", spec.name);
    }
    let mut subs: Vec<&str> = spec.subs.iter().map(|sub| sub.name).filter(|name| *name != "HELP").collect();
    subs.sort_unstable();
    format!("`{}` ({})", spec.name, subs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_found_between_its_marks() {
        let table = commands_reference();
        let page = format!("# x\n{COMMANDS_BEGIN}\n{table}{COMMANDS_END}\nrest");
        assert_eq!(commands_reference_in(&page), Some(table.as_str()));
        assert_eq!(commands_reference_in("nothing"), None);
        for found in super::super::all() {
            assert!(table.contains(&format!("`{}`", found.spec.name)), "{}", found.spec.name);
        }
    }
}
