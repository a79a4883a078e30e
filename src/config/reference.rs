//! docs/settings.md, the page of settings, computed from the table.

use std::fmt::Write;

use super::{Change, Group, PARAMS, Param};

/// The line before the page in docs/settings.md.
pub const REFERENCE_BEGIN: &str = "<!-- settings: generated from src/config -->";
/// The line after it.
pub const REFERENCE_END: &str = "<!-- end of settings -->";

/// The page: a table for each group, in Markdown.
pub fn reference() -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let _ = write!(out, "\n### {}\n\n", group.title());
        out.push_str("| setting | value | default | changes | |\n|---|---|---|---|---|\n");
        for param in PARAMS.iter().filter(|param| param.group == group && !param.is_hidden()) {
            line(&mut out, param);
        }
    }
    out
}

/// What a document has between the two marks, for a test to compare with [`reference()`].
pub fn reference_in(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once(REFERENCE_BEGIN)?;
    let (page, _) = rest.split_once(REFERENCE_END)?;
    page.strip_prefix('\n')
}

fn line(out: &mut String, param: &Param) {
    let names: Vec<String> = param.names().map(|name| format!("`{name}`")).collect();
    let default = match param.default {
        "" => String::new(),
        text => format!("`{}`", cell(text)),
    };
    let change = match param.change {
        Change::Live => "live",
        Change::Protected => "live, protected",
        Change::AtStart => "at start",
    };
    let label = cell(&param.kind.label());
    let _ = writeln!(out, "| {} | {label} | {default} | {change} | {} |", names.join(", "), cell(param.doc));
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;")
}
