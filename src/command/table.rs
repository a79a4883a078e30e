//! The lookup table, laid out by the compiler from the rows of all families, and what is found in it.

use super::{FAMILIES, Spec};
use crate::error::{Error, Result};
use crate::resp::Args;

/// Slots of the lookup table: a power of two, several times the number of commands, so that probes are short.
const SLOTS: usize = 1024;

/// Letters of the longest name that is looked up.
const NAME_MAX: usize = 32;

const TOP: usize = count(FAMILIES);

/// All commands, each with its subcommands behind it: a command's number is its position.
static ROWS: [Found; COUNT] = rows();
/// The table: where in [`ROWS`] a name is.
static SLOT: [Slot; SLOTS] = lay_out();

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

const fn rows() -> [Found; COUNT] {
    let all = flatten();
    let mut rows = [Found { spec: all[0], container: None, number: 0 }; COUNT];
    let (mut at, mut next) = (0, 0);
    while at < TOP {
        let (spec, mut sub) = (all[at], 0);
        rows[next] = Found { spec, container: None, number: next };
        next += 1;
        while sub < spec.subs.len() {
            rows[next] = Found { spec: &spec.subs[sub], container: Some(spec), number: next };
            next += 1;
            sub += 1;
        }
        at += 1;
    }
    rows
}

/// A name in the table.
#[derive(Clone, Copy)]
struct Slot {
    /// Its [`letters`].
    letters: u64,
    /// The position of its row, one up, or zero where no name is.
    row: u16,
    len: u8,
    /// Whether no other name of this length has these letters.
    is_clear: bool,
}

impl Slot {
    const EMPTY: Slot = Slot { letters: 0, row: 0, len: 0, is_clear: false };

    const fn new(name: &[u8], row: usize) -> Slot {
        let (mut is_clear, mut at) = (name.len() <= size_of::<u64>(), 0);
        while at < name.len() {
            is_clear &= name[at].is_ascii_uppercase();
            at += 1;
        }
        Slot { letters: letters(name), row: row as u16 + 1, len: name.len() as u8, is_clear }
    }
}

/// The first and the last letters of a name as one number that is the same in both cases. Up to eight are all of them.
const fn letters(name: &[u8]) -> u64 {
    let word = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => (u32::from_le_bytes(*last) as u64) << 32 | u32::from_le_bytes(*first) as u64,
        _ if name.is_empty() => 0,
        _ => (name[0] as u64) << 16 | (name[name.len() / 2] as u64) << 8 | name[name.len() - 1] as u64,
    };
    // The bit that tells small letters from capitals.
    word & !0x2020_2020_2020_2020
}

/// The slot where the search for a name begins.
const fn first_slot(letters: u64, len: usize) -> usize {
    let word = (letters ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

const fn lay_out() -> [Slot; SLOTS] {
    let rows = rows();
    let mut slots = [Slot::EMPTY; SLOTS];
    let mut row = 0;
    while row < COUNT {
        if rows[row].container.is_none() {
            let fresh = Slot::new(rows[row].spec.name.as_bytes(), row);
            let mut slot = first_slot(fresh.letters, fresh.len as usize);
            while slots[slot].row != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = fresh;
        }
        row += 1;
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
#[inline(always)]
pub fn find(name: &[u8]) -> Option<&'static Found> {
    if name.len() > NAME_MAX {
        return None;
    }
    let letters = letters(name);
    let mut at = first_slot(letters, name.len());
    loop {
        let slot = &SLOT[at];
        let found = &ROWS[usize::from(slot.row).checked_sub(1)?];
        let is_like_it = slot.letters == letters && usize::from(slot.len) == name.len();
        if is_like_it && (slot.is_clear || found.spec.name.as_bytes().eq_ignore_ascii_case(name)) {
            return Some(found);
        }
        at = (at + 1) % SLOTS;
    }
}

/// The command or subcommand of a full name, `get` or `client|list`.
pub fn find_full(name: &[u8]) -> Option<&'static Found> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let found = find(parts.next()?)?;
    match parts.next() {
        Some(sub) => found.subcommand(sub),
        None => Some(found),
    }
}

impl Found {
    /// Its subcommands.
    pub fn subcommands(&self) -> &'static [Found] {
        &ROWS[self.number + 1..][..self.spec.subs.len()]
    }

    /// The subcommand of this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Found> {
        self.subcommands().iter().find(|sub| sub.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// All commands, without their subcommands.
pub fn all() -> impl Iterator<Item = &'static Found> {
    ROWS.iter().filter(|found| found.container.is_none())
}

/// The command or subcommand of a number.
pub fn numbered(number: usize) -> Option<&'static Found> {
    ROWS.get(number)
}

/// Which row a request's words mean, and whether their count fits.
#[inline(always)]
pub(super) fn lookup(args: Args<'_>) -> Result<&'static Found> {
    let Some(mut found) = find(&args[0]) else { return Err(unknown(args)) };
    if !found.spec.subs.is_empty()
        && let Some(word) = args.get(1)
    {
        found = found.subcommand(word).ok_or_else(|| unknown_subcommand(found, word))?;
    }
    if !found.spec.arity.admits(args.len()) {
        return Err(Error::Arity(found.full_name().into()));
    }
    Ok(found)
}

#[cold]
fn unknown_subcommand(container: &Found, word: &[u8]) -> Error {
    let given = String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned();
    Error::UnknownSubcommand(given, container.spec.name)
}

/// Redis' words for a subcommand that was given more words than it knows.
pub(super) fn wrong_count(container: &str, given: &[u8]) -> Error {
    let given = String::from_utf8_lossy(&given[..given.len().min(128)]);
    let text = format!("unknown subcommand or wrong number of arguments for '{given}'. Try {container} HELP.");
    Error::Refused(text.into())
}

/// Redis' words for a command that is not there, with as much of the request as it shows.
#[cold]
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
