//! Settings as a TOML file: all of them with what they mean, for whoever begins one, and what is in force.
//!
//! Namespaces are tables and so come last. What two settings say of the same thing, as `session-ttl` and the namespace
//! of sessions do, is said once, so that changing one line changes it.

use std::fmt::Write;

use super::rewrite::as_written;
use super::{Config, Group, Kind, Namespace, PARAMS, Param};

/// Letters of a line of comment.
const WIDTH: usize = 98;

/// Where remarks begin, behind all lines of usual length.
const COLUMN: usize = 50;

/// A file of all settings with their defaults, each below what it means. Read, it changes nothing.
pub fn defaults_toml() -> String {
    let config = Config::default();
    let mut out = String::from("# Every setting of cloakroom with its default.\n");
    each_group(&mut out, |out, param| {
        let about = [param.doc, &values(param)].join(" ");
        comment(out, about.trim_end());
        let _ = writeln!(out, "{} = {}\n", param.name, literal(param, &as_written(param, &config)));
    });
    let namespaces = PARAMS.iter().find(|param| param.name == NAMESPACE).map_or("", |param| param.doc);
    heading(&mut out, "Namespaces");
    comment(&mut out, namespaces);
    tables(&mut out, &config, |_| String::new());
    out
}

/// The settings in force as a TOML file, each line with a remark behind it. Secrets are masked.
pub fn in_force_toml(config: &Config, remark: impl Fn(&Param) -> String) -> String {
    let mut out = String::new();
    each_group(&mut out, |out, param| {
        let line = format!("{} = {}", param.name, literal(param, &masked(param, config)));
        let _ = writeln!(out, "{line:<COLUMN$} # {}", remark(param));
    });
    heading(&mut out, "Namespaces");
    let remark = PARAMS.iter().find(|param| param.name == NAMESPACE).map(remark).unwrap_or_default();
    tables(&mut out, config, |_| format!(" # {remark}"));
    out
}

/// The value of a setting as people write it, or a mask if it is a secret that is set.
pub fn masked(param: &Param, config: &Config) -> String {
    match as_written(param, config) {
        value if param.is_secret() && !value.is_empty() => "***".to_owned(),
        value => value,
    }
}

const NAMESPACE: &str = "namespace";

fn each_group(out: &mut String, mut line: impl FnMut(&mut String, &Param)) {
    for group in Group::ALL {
        heading(out, group.title());
        for param in PARAMS.iter().filter(|param| param.group == group && !param.is_hidden() && param.name != NAMESPACE)
        {
            line(out, param);
        }
    }
}

fn heading(out: &mut String, title: &str) {
    let _ = writeln!(out, "\n## {title} {}\n", "#".repeat(WIDTH - 4 - title.len()));
}

/// The namespaces. What the settings of sessions say is left out of theirs.
fn tables(out: &mut String, config: &Config, remark: impl Fn(&Namespace) -> String) {
    for space in &config.namespaces.0 {
        let _ = writeln!(out, "[namespace.{}]{}", space.name, remark(space));
        match space.name == Namespace::SESSION {
            true => out.push_str("# Its prefix and its ttl are session-prefix and session-ttl.\n"),
            false => {
                let prefix = text(&String::from_utf8_lossy(&space.prefix));
                let _ = writeln!(out, "prefix = {prefix}\nttl = {}", text(&super::param::show_span(space.ttl)));
            }
        }
        let Namespace { secret, fence, login, jitter, .. } = space;
        let _ = writeln!(out, "secret = {secret}\nfence = {fence}\nlogin = {login}\njitter = {jitter}\n");
    }
}

/// What may stand there, where the documentation does not say.
fn values(param: &Param) -> String {
    match param.kind {
        Kind::Choice(names) => format!("One of: {}.", names.join(", ")),
        Kind::Flags(names) => format!("Some of: {}.", names.join(", ")),
        _ => String::new(),
    }
}

/// A value in TOML's own type for it.
fn literal(param: &Param, value: &str) -> String {
    match param.kind {
        Kind::Int(..) => value.to_owned(),
        Kind::Bool => if value == "yes" { "true" } else { "false" }.to_owned(),
        _ => text(value),
    }
}

/// A text in quotes: those of JSON are TOML's as well, but for one letter.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string().replace('\u{7f}', "\\u007f")
}

/// Lines of comment, broken between words.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_ascii_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > 1 {
            let _ = writeln!(out, "{line}");
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}
