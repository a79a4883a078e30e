//! What a setting is: its row, the kinds of values, and how a value is read.
//!
//! Reading turns what was written (`512mb`, `YES`, `5s`) into one plain form (`536870912`, `yes`, `5s`), so that rows
//! only ever see checked text. Refusals are Redis' own texts for Redis' kinds. No refusal repeats the value: it may
//! be a secret.

use std::fmt;

use super::Config;
use crate::clock::Ttl;

/// One setting. Its name is the `--flag`, the redis.conf directive, the TOML key and the CONFIG parameter;
/// `CLOAKROOM_` and the name in upper case with underscores is its environment variable.
#[derive(Clone, Copy)]
pub struct Param {
    /// Lower-case, with dashes.
    pub name: &'static str,
    /// Other names for the same setting, older ones of Redis mostly.
    pub aliases: &'static [&'static str],
    /// Where help and docs/settings.md list it.
    pub group: Group,
    /// What its values look like.
    pub kind: Kind,
    /// The value nobody has to write.
    pub default: &'static str,
    /// Whether CONFIG SET may change it.
    pub change: Change,
    /// What several lines with this name mean.
    pub lines: Lines,
    /// One or more sentences; the first stands alone in short help.
    pub doc: &'static str,
    pub(super) home: Home,
}

/// Where the value of a row lives.
#[derive(Clone, Copy)]
pub(super) enum Home {
    /// In a typed field.
    Field { get: fn(&Config) -> String, set: fn(&mut Config, &str) -> Result<(), String> },
    /// As text only: nothing here acts on it.
    Kept,
}

/// The headings of help and docs/settings.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Doors, addresses, who may come in.
    Network,
    /// What may stay.
    Memory,
    /// The session cache and its upstream.
    Session,
    /// Bounds for clients.
    Limits,
    /// What is told, and to whom.
    Logging,
    /// What is kept on disk.
    Persistence,
    /// Accepted so that Redis' clients, tools and files work; without effect.
    Compatibility,
}

impl Group {
    /// All of them, in the order of help and docs/settings.md.
    pub const ALL: [Group; 7] = [
        Group::Network,
        Group::Memory,
        Group::Session,
        Group::Limits,
        Group::Persistence,
        Group::Logging,
        Group::Compatibility,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Network => "Network",
            Group::Memory => "Memory",
            Group::Session => "Session",
            Group::Limits => "Limits",
            Group::Logging => "Logging",
            Group::Persistence => "Persistence",
            Group::Compatibility => "Compatibility",
        }
    }
}

/// When a setting may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// CONFIG SET changes it.
    Live,
    /// As `Live`, if `enable-protected-configs` lets the client.
    Protected,
    /// Only at start. CONFIG SET to the very value it has is accepted and changes nothing.
    AtStart,
}

/// What a second line or flag with the same name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Replaces the first; the setting takes one word.
    Single,
    /// Replaces the first; the setting takes several words.
    Words,
    /// Comes on top of the first; the setting takes several words, and none (`""`) clears it.
    Add,
}

/// What the values of a setting look like.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A whole number within bounds.
    Int(i64, i64),
    /// Bytes within bounds, with `k`, `kb`, `m`, `mb`, `g`, `gb` as Redis means them (1000 and 1024).
    Memory(u64, u64),
    /// Bytes within bounds, or `auto`.
    MemoryOrAuto(u64, u64),
    /// Bytes, or a share of `maxmemory` as a percentage.
    MemoryOrPercent,
    /// `yes` or `no`.
    Bool,
    /// A length of time with its unit: `500ms`, `5s`, `2m`, `1h`, `1d`; within bounds.
    Span(Ttl, Ttl),
    /// Any text.
    Text,
    /// Any text that must not be shown.
    Secret,
    /// A form of its own that must not be shown either: what help calls it, and its reader, which repeats none of it.
    SecretForm(&'static str, fn(&str) -> Result<String, String>),
    /// One of these.
    Choice(&'static [&'static str]),
    /// One or several of these.
    Flags(&'static [&'static str]),
    /// A form of its own: what help calls it, and its reader.
    Form(&'static str, fn(&str) -> Result<String, String>),
}

impl Kind {
    /// The plain form of what was written, or Redis' reason for refusing it.
    pub fn read(&self, text: &str) -> Result<String, String> {
        match *self {
            Kind::Int(min, max) => {
                let value = integer(text).ok_or("argument couldn't be parsed into an integer")?;
                within(value, min, max)
            }
            Kind::Memory(min, max) => {
                let value = bytes(text).ok_or("argument must be a memory value")?;
                within(value, min, max)
            }
            Kind::MemoryOrAuto(..) if text.eq_ignore_ascii_case("auto") => Ok("auto".to_owned()),
            Kind::MemoryOrAuto(min, max) => Kind::Memory(min, max).read(text),
            Kind::MemoryOrPercent => memory_or_percent(text),
            Kind::Bool => yes_or_no(text)
                .map(|yes| super::show_bool(yes).to_owned())
                .ok_or_else(|| "argument must be 'yes' or 'no'".to_owned()),
            Kind::Span(min, max) => {
                let span = read_span(text)
                    .ok_or("argument must be a length of time with its unit, such as 500ms, 5s, 2m or 1h")?;
                if span < min || span > max {
                    let (min, max) = (show_span(min), show_span(max));
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                Ok(show_span(span))
            }
            // A password may be any bytes that are text.
            Kind::Secret => Ok(text.to_owned()),
            Kind::Text => {
                // A NUL would end the text early wherever a C program reads it: in a file name, in a rewritten file.
                if text.contains('\0') {
                    return Err("argument must not contain a NUL byte".to_owned());
                }
                Ok(text.to_owned())
            }
            Kind::Choice(names) => one_of(text, names).map(str::to_owned).ok_or_else(|| choices(names)),
            Kind::Flags(names) => flags(text, names),
            Kind::Form(_, read) | Kind::SecretForm(_, read) => read(text),
        }
    }

    /// What help and docs/settings.md call such a value.
    pub fn label(&self) -> String {
        match self {
            Kind::Int(..) => "number".to_owned(),
            Kind::Memory(..) => "bytes".to_owned(),
            Kind::MemoryOrAuto(..) => "bytes or auto".to_owned(),
            Kind::MemoryOrPercent => "bytes or percent".to_owned(),
            Kind::Bool => "yes or no".to_owned(),
            Kind::Span(..) => "time".to_owned(),
            Kind::Text | Kind::Secret => "text".to_owned(),
            Kind::Choice(names) => names.join(", "),
            Kind::Flags(names) => format!("some of {}", names.join(", ")),
            Kind::Form(label, _) | Kind::SecretForm(label, _) => (*label).to_owned(),
        }
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Param").field(&self.name).finish()
    }
}

impl Param {
    /// Reads a value into `config`. On refusal, with the reason, `config` is as it was.
    pub(super) fn set(&'static self, config: &mut Config, text: &str) -> Result<(), String> {
        let plain = self.kind.read(text)?;
        match self.home {
            Home::Field { set, .. } => set(config, &plain),
            Home::Kept => {
                config.kept.insert(self.name, plain);
                Ok(())
            }
        }
    }

    /// The value in `config`, in its plain form.
    pub fn get(&self, config: &Config) -> String {
        match self.home {
            Home::Field { get, .. } => get(config),
            Home::Kept => config.kept.get(self.name).cloned().unwrap_or_default(),
        }
    }

    /// Whether `name` is this row's name or one of its others, in any case.
    pub fn answers_to(&self, name: &str) -> bool {
        self.names().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Its name and its other names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether the value must not be shown in errors, logs and dumps.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::SecretForm(..))
    }

    /// Whether nothing here acts on it.
    pub fn has_no_effect(&self) -> bool {
        matches!(self.home, Home::Kept)
    }

    /// Whether only an exact name finds it: Redis' own switches for its tests.
    pub fn is_hidden(&self) -> bool {
        super::compat::HIDDEN.contains(&self.name)
    }

    /// Its environment variable.
    pub fn env(&self) -> String {
        env_name(self.name)
    }

    /// The first sentence of its documentation.
    pub fn summary(&self) -> &'static str {
        match self.doc.find(". ") {
            Some(end) => &self.doc[..=end],
            None => self.doc,
        }
    }
}

/// The environment variable that stands for a setting's name.
pub fn env_name(name: &str) -> String {
    format!("CLOAKROOM_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// An integer as Redis reads one: no plus sign, no spaces, no leading zeros.
pub(super) fn integer(text: &str) -> Option<i64> {
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

/// A number of bytes with Redis' units.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// The shortest text that [`bytes`] reads back, as CONFIG REWRITE writes it.
pub(super) fn show_bytes(value: u64) -> String {
    for (unit, name) in [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")] {
        if value != 0 && value.is_multiple_of(unit) {
            return format!("{}{name}", value / unit);
        }
    }
    value.to_string()
}

/// A length of time with its unit; a bare `0` needs none.
pub(super) fn read_span(text: &str) -> Option<Ttl> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let value: u64 = digits.parse().ok()?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" if value == 0 => 1,
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    value.checked_mul(unit).map(Ttl)
}

/// The text that [`read_span`] reads back, in the largest unit up to a second that fits.
pub(super) fn show_span(span: Ttl) -> String {
    if span.0.is_multiple_of(1000) { format!("{}s", span.0 / 1000) } else { format!("{}ms", span.0) }
}

pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("yes") {
        Some(true)
    } else if text.eq_ignore_ascii_case("no") {
        Some(false)
    } else {
        None
    }
}

fn within<T: PartialOrd + fmt::Display>(value: T, min: T, max: T) -> Result<String, String> {
    if value < min || value > max {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(value.to_string())
}

fn memory_or_percent(text: &str) -> Result<String, String> {
    if let Some(value) = bytes(text) {
        return within(value, 0, i64::MAX as u64);
    }
    let share = text.strip_suffix('%').and_then(integer).filter(|share| *share >= 0);
    match share {
        // Redis keeps a percentage as a negative number, so that none is no percentage either.
        Some(0) => Ok("0".to_owned()),
        Some(share) if share > 100 => Err("percentage argument must be less or equal to 100".to_owned()),
        Some(share) => Ok(format!("{share}%")),
        None => Err("argument must be a memory or percent value".to_owned()),
    }
}

fn one_of(text: &str, names: &[&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| name.eq_ignore_ascii_case(text))
}

fn choices(names: &[&'static str]) -> String {
    format!("argument(s) must be one of the following: {}", names.join(", "))
}

/// Several of `names`, put in their order. The first stands for none of the others.
fn flags(text: &str, names: &[&'static str]) -> Result<String, String> {
    let mut given = Vec::new();
    for word in text.split(' ') {
        given.push(one_of(word, names).ok_or_else(|| choices(names))?);
    }
    let mut plain: Vec<_> = names[1..].iter().copied().filter(|name| given.contains(name)).collect();
    if plain.contains(&"save") && plain.contains(&"nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    if plain.is_empty() {
        plain.push(names[0]);
    }
    Ok(plain.join(" "))
}
