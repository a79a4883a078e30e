//! The lookup table, laid out by the compiler from the rows of all families, and what is found in it.

use super::{FAMILIES, Spec};
use crate::error::{Error, Result};
use crate::resp::Args;

/// Slots of the lookup table: a power of two, several times the number of commands, so that probes are short.
const SLOTS: usize = 1024;

/// Letters of the longest name that is looked up.
const NAME_MAX: usize = 32;

const TOP: usize = count(FAMILIES);

/// The table: a slot has the position of its command, one up, or zero.
static SLOT: [u16; SLOTS] = lay_out();
static TOP_LEVEL: [&Spec; TOP] = flatten();
/// The number of each top-level command; its subcommands have the numbers behind it.
static NUMBER: [u16; TOP] = number();

/// How many commands and subcommands there are.
pub const COUNT: usize = {
    let (mut sum, mut at) = (0, 0);
    let all = flatten();
    while at < TOP {
        sum += 1 + all[at].subs.len();
        at += 1;
    }
    sum
};

const fn count(families: &[&[Spec]]) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < families.len() {
        sum += families[at].len();
        at += 1;
    }
    sum
}

const fn flatten() -> [&'static Spec; TOP] {
    let mut all = [&FAMILIES[0][0]; TOP];
    let (mut family, mut filled) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            all[filled] = &FAMILIES[family][row];
            filled += 1;
            row += 1;
        }
        family += 1;
    }
    all
}

const fn number() -> [u16; TOP] {
    let all = flatten();
    let mut numbers = [0; TOP];
    let (mut at, mut next) = (0, 0);
    while at < TOP {
        numbers[at] = next;
        next += 1 + all[at].subs.len() as u16;
        at += 1;
    }
    numbers
}

const fn hash(name: &[u8]) -> usize {
    // The letters as one number: their low five bits, which are the same in both cases.
    let (mut word, mut at) = (name.len() as u64, 0);
    while at < name.len() {
        word = word.rotate_left(5) ^ (name[at] & 0x1f) as u64;
        at += 1;
    }
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

const fn lay_out() -> [u16; SLOTS] {
    let all = flatten();
    let mut slots = [0; SLOTS];
    let mut at = 0;
    while at < TOP {
        let mut slot = hash(all[at].name.as_bytes());
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = at as u16 + 1;
        at += 1;
    }
    slots
}

/// A command that was found, with its number.
#[derive(Clone, Copy)]
pub struct Found {
    /// Its row; a subcommand's own row where there is one.
    pub spec: &'static Spec,
    /// The row of its container, if it is a subcommand.
    pub container: Option<&'static Spec>,
    /// Its number, for counters.
    pub number: usize,
}

impl Found {
    /// The lower-case name, `container|sub` for a subcommand.
    pub fn full_name(&self) -> String {
        match self.container {
            Some(container) => format!("{}|{}", container.name, self.spec.name).to_lowercase(),
            None => self.spec.name.to_lowercase(),
        }
    }
}

/// The command of this name, in any case.
pub fn find(name: &[u8]) -> Option<Found> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut slot = hash(name);
    while let Some(at) = usize::from(SLOT[slot]).checked_sub(1) {
        let spec = TOP_LEVEL[at];
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(Found { spec, container: None, number: usize::from(NUMBER[at]) });
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

/// The command or subcommand of a full name, `get` or `client|list`.
pub fn find_full(name: &[u8]) -> Option<Found> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let found = find(parts.next()?)?;
    match parts.next() {
        Some(sub) => found.subcommand(sub),
        None => Some(found),
    }
}

impl Found {
    /// Its subcommands.
    pub fn subcommands(self) -> impl Iterator<Item = Found> {
        let row = move |(at, spec): (usize, &'static Spec)| Found {
            spec,
            container: Some(self.spec),
            number: self.number + 1 + at,
        };
        self.spec.subs.iter().enumerate().map(row)
    }

    /// The subcommand of this name, in any case.
    pub fn subcommand(self, name: &[u8]) -> Option<Found> {
        let at = self.spec.subs.iter().position(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Found { spec: &self.spec.subs[at], container: Some(self.spec), number: self.number + 1 + at })
    }
}

/// All commands, without their subcommands.
pub fn all() -> impl ExactSizeIterator<Item = Found> {
    let found =
        |(at, number): (usize, &u16)| Found { spec: TOP_LEVEL[at], container: None, number: usize::from(*number) };
    NUMBER.iter().enumerate().map(found)
}

/// The command or subcommand of a number.
pub fn numbered(number: usize) -> Option<Found> {
    all().find_map(|found| {
        let sub = number.checked_sub(found.number)?;
        match sub {
            0 => Some(found),
            _ => {
                let spec = found.spec.subs.get(sub - 1)?;
                Some(Found { spec, container: Some(found.spec), number })
            }
        }
    })
}

/// Which row a request's words mean, and whether their count fits.
pub(super) fn lookup(args: Args<'_>) -> Result<Found> {
    let Some(found) = find(&args[0]) else { return Err(unknown(args)) };
    let found = match args.get(1).filter(|_| !found.spec.subs.is_empty()) {
        None => found,
        Some(word) => found.subcommand(word).ok_or_else(|| {
            let given = String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned();
            Error::UnknownSubcommand(given, found.spec.name)
        })?,
    };
    if !found.spec.arity.admits(args.len()) {
        return Err(Error::Arity(found.full_name().into()));
    }
    Ok(found)
}

/// Redis' words for a subcommand that was given more words than it knows.
pub(super) fn wrong_count(container: &str, given: &[u8]) -> Error {
    let given = String::from_utf8_lossy(&given[..given.len().min(128)]);
    let text = format!("unknown subcommand or wrong number of arguments for '{given}'. Try {container} HELP.");
    Error::Refused(text.into())
}

/// Redis' words for a command that is not there, with as much of the request as it shows.
fn unknown(args: Args<'_>) -> Error {
    const SHOWN: usize = 128;
    let show = |word: &[u8], room: usize| String::from_utf8_lossy(&word[..word.len().min(room)]).into_owned();
    let mut rest = String::new();
    for word in args.iter().skip(1) {
        if rest.len() >= SHOWN {
            break;
        }
        let shown = show(word, SHOWN - rest.len());
        rest.push_str(&format!("'{shown}' "));
    }
    Error::UnknownCommand(format!("'{}', with args beginning with: {rest}", show(&args[0], SHOWN)))
}
