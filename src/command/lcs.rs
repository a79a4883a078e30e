//! LCS: the longest common subsequence of two strings.
//!
//! The strings are copied out, as comparing them takes time in proportion to both lengths multiplied and nobody else
//! should wait for it.

use super::read::Reader;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::AtLeast;

const ROW: Spec = Spec { group: Group::String, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "LCS",
    run: lcs,
    arity: AtLeast(3),
    flags: READONLY,
    keys: Keys::TWO,
    usage: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    since: "7.0.0",
    cost: "O(N*M) where N and M are the lengths of the strings",
    summary: "Finds the longest common subsequence of two strings.",
    ..ROW
}];

const NOT_STRINGS: Error = Error::refused("The specified keys must contain string values");
const BOTH: Error = Error::refused("If you want both the length and indexes, please just use IDX.");
const TOO_MUCH: Error = Error::refused("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const NO_MEMORY: Error = Error::refused("Insufficient memory, failed allocating transient memory for LCS");

/// Bytes that the table may take.
#[derive(Clone, Copy)]
struct Memory {
    /// As Redis has it.
    bulk: usize,
    /// What any command may gather where `maxmemory` is set.
    gathered: usize,
}

impl Memory {
    fn of(engine: &Engine) -> Memory {
        let gathered = if engine.hot.maxmemory() > 0 { engine.hot.gathered_max() } else { usize::MAX };
        Memory { bulk: engine.hot.bulk_max(), gathered }
    }

    fn least(self) -> usize {
        self.bulk.min(self.gathered)
    }

    /// Whether there may be so many cells.
    fn check(self, size: usize) -> Result<()> {
        let are_within = |bytes: usize| size <= bytes / size_of::<u32>();
        match (are_within(self.bulk), are_within(self.gathered)) {
            (true, true) => Ok(()),
            (false, _) => Err(TOO_MUCH),
            (true, false) => Err(Error::OutOfMemory),
        }
    }
}

/// What the client wants to know.
#[derive(Clone, Copy, Default)]
struct Wish {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: i64,
}

impl Wish {
    fn parse(args: Args<'_>) -> Result<Wish> {
        let mut wish = Wish::default();
        let mut at = 3;
        while at < args.len() {
            if args.is(at, "LEN") {
                wish.len = true;
            } else if args.is(at, "IDX") {
                wish.idx = true;
            } else if args.is(at, "WITHMATCHLEN") {
                wish.with_match_len = true;
            } else if args.is(at, "MINMATCHLEN") && at + 1 < args.len() {
                at += 1;
                wish.min_match_len = args.int(at)?;
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        if wish.len && wish.idx { Err(BOTH) } else { Ok(wish) }
    }
}

fn lcs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    // A string with more bytes than fit in one line of the table needs too much memory whatever the other one is.
    let memory = Memory::of(ctx.engine);
    let reader = ctx.reader();
    let [one, other] = [1, 2].map(|at| copy(reader, args.word(at), memory.least() / size_of::<u32>()));
    let (one, other) = (one?, other?);
    let wish = Wish::parse(args)?;
    let table = Table::fill(&one, &other, memory)?;

    let reply = &mut ctx.reply;
    if wish.idx {
        let mut matches = table.matches(&one, &other);
        matches.retain(|found| found.len as i64 >= wish.min_match_len);
        reply.map(2);
        reply.bulk(b"matches");
        reply.array(matches.len());
        for Match { one, other, len } in matches {
            reply.array(if wish.with_match_len { 3 } else { 2 });
            for start in [one, other] {
                reply.array(2);
                reply.count(start);
                reply.count(start + len - 1);
            }
            if wish.with_match_len {
                reply.count(len);
            }
        }
        reply.bulk(b"len");
        reply.count(table.len());
    } else if wish.len {
        reply.count(table.len());
    } else {
        let mut common = Vec::with_capacity(table.len());
        for Match { one: start, len, .. } in table.matches(&one, &other).iter().rev() {
            common.extend_from_slice(&one[*start..start + len]);
        }
        reply.bulk(&common);
    }
    Ok(())
}

/// A copy of a string, of no more of it than `room` bytes; nothing if there is no key.
fn copy(reader: Reader<'_>, key: &[u8], room: usize) -> Result<Vec<u8>> {
    let found = reader.get(key, |value| value.string().map(|bytes| bytes[..bytes.len().min(room)].to_vec()));
    found.transpose().map_err(|_| NOT_STRINGS).map(Option::unwrap_or_default)
}

/// Bytes that both strings have in a row.
#[derive(Debug, PartialEq, Eq)]
struct Match {
    /// Where they begin in the first string.
    one: usize,
    /// And in the other.
    other: usize,
    len: usize,
}

/// For each pair of beginnings of both strings, the length of their longest common subsequence.
struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    /// Fills a table that takes no more memory than it may.
    fn fill(one: &[u8], other: &[u8], memory: Memory) -> Result<Table> {
        let width = other.len() + 1;
        let size = width.checked_mul(one.len() + 1).ok_or(TOO_MUCH)?;
        memory.check(size)?;
        let mut cells = Vec::new();
        cells.try_reserve_exact(size).map_err(|_| NO_MEMORY)?;
        cells.resize(width, 0);
        for (row, byte) in one.iter().enumerate() {
            let above = row * width;
            cells.push(0);
            for (column, candidate) in other.iter().enumerate() {
                let left = cells[above + width + column];
                cells.push(match byte == candidate {
                    true => cells[above + column] + 1,
                    false => left.max(cells[above + column + 1]),
                });
            }
        }
        Ok(Table { cells, width })
    }

    fn at(&self, one: usize, other: usize) -> u32 {
        self.cells[one * self.width + other]
    }

    /// The length of the subsequence.
    fn len(&self) -> usize {
        self.cells.last().map_or(0, |len| *len as usize)
    }

    /// The subsequence as ranges of both strings, from the end backwards. Of several of the same length it is the one
    /// that Redis finds: where two ways are equal, it goes back in the other string.
    fn matches(&self, one: &[u8], other: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut row, mut column) = (one.len(), other.len());
        while row > 0 && column > 0 {
            if one[row - 1] == other[column - 1] {
                (row, column) = (row - 1, column - 1);
                match matches.last_mut() {
                    Some(last) if last.one == row + 1 && last.other == column + 1 => {
                        *last = Match { one: row, other: column, len: last.len + 1 };
                    }
                    _ => matches.push(Match { one: row, other: column, len: 1 }),
                }
            } else if self.at(row - 1, column) > self.at(row, column - 1) {
                row -= 1;
            } else {
                column -= 1;
            }
        }
        matches
    }
}
