//! The table of settings: what this server acts on, and, from `compat`, what it accepts for others' sake.

use super::compat::KEPT;
use super::param::{Change, Group, Home, Kind, Lines, Param};
use crate::clock::Ttl;

/// Every setting there is.
pub const PARAMS: &[Param] = &ALL;

/// A file for each group, as `--help` and docs/settings.md show them.
const GROUPS: [&[Param]; 7] =
    [network::ROWS, memory::ROWS, session::ROWS, limits::ROWS, persistence::ROWS, logging::ROWS, KEPT];

const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

static ALL: [Param; COUNT] = {
    let mut all = [Param::NETWORK; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            all[at] = GROUPS[group][row];
            at += 1;
            row += 1;
        }
        group += 1;
    }
    all
};

/// Redis' largest `int`, which bounds many of its settings.
pub(super) const INT_MAX: i64 = i32::MAX as i64;
/// Redis' largest `long`, which bounds its sizes.
pub(super) const LONG_MAX: u64 = i64::MAX as u64;
/// Redis lets no limit on requests go below a megabyte, so that commands of ordinary size always pass.
const REQUEST_MIN: u64 = 1 << 20;
/// Longer than an hour nobody waits for an upstream, and no answer is worth keeping without it.
const WAIT_MAX: Ttl = Ttl::seconds(3600);

/// The plain form of a value that may be left out.
fn optional<T: std::str::FromStr<Err = String> + ToString>(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { text.parse().map(|value: T| value.to_string()) }
}

/// The home of a row in a field of its own.
macro_rules! field {
    ($($field:ident).+) => {
        Home::Field { get: |config| config.$($field).+.show(), set: |config, text| config.$($field).+.read(text) }
    };
}

/// The home of a row that says up to where a collection is compact.
macro_rules! compact {
    ($field:ident) => {
        Home::Field { get: |config| config.compact.$field.show(), set: |config, text| config.compact.$field.read(text) }
    };
}

mod limits;
mod logging;
mod memory;
mod network;
mod persistence;
mod session;

const LONG: Kind = Kind::Int(0, i64::MAX);
const SIZE: Kind = Kind::Memory(0, LONG_MAX);

impl Param {
    const fn of(group: Group) -> Param {
        Param {
            name: "",
            aliases: &[],
            group,
            kind: Kind::Text,
            default: "",
            change: Change::Live,
            lines: Lines::Single,
            doc: "",
            home: Home::Kept,
        }
    }

    const NETWORK: Param = Param { change: Change::AtStart, ..Param::of(Group::Network) };
    const MEMORY: Param = Param::of(Group::Memory);
    const SESSION: Param = Param::of(Group::Session);
    const LIMITS: Param = Param::of(Group::Limits);
    const LOGGING: Param = Param::of(Group::Logging);
    const PERSISTENCE: Param = Param::of(Group::Persistence);
    pub(super) const COMPATIBILITY: Param = Param::of(Group::Compatibility);
}
