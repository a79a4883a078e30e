//! Several sorted sets at once: what is in any, in all, or in the first alone. Plain sets may be among them; there every score
//! is one.
//!
//! All keys are locked together, so that the answer is of one moment.

use super::range::put_result;
use super::{DENYOOM, Pairs, READONLY, ROW, WRITE};
use crate::command::words::Words as _;
use crate::command::{Arity, Ctx, Flags, Keys, Spec};
use crate::config::Compact;
use crate::error::{Error, Result};
use crate::num;
use crate::resp::Args;
use crate::store::{Element, Object, Set, Slots, Store, Value, ZSet};

use Arity::AtLeast;

const READS: Flags = READONLY.and(Flags::MOVABLE_KEYS);
const STORES: Flags = WRITE.and(DENYOOM).and(Flags::MOVABLE_KEYS);

const SOURCES: Keys = Keys::counted(1);
const STORED_SOURCES: Keys = Keys::counted(2);
const STORED: Keys = Keys::ONE.with(&["OW", "update"]).and(&STORED_SOURCES);

const DIFF_COST: &str = "O(L + M*log(M)) where L is the number of members in all sets and M of those in the result";
const INTER_COST: &str =
    "O(N*K + M*log(M)) where N is the size of the smallest set, K the number of sets and M the size of the result";
const UNION_COST: &str = "O(L + M*log(M)) where L is the number of members in all sets and M of those in the result";

pub(in crate::command) const COMMANDS: &[Spec] = &[
    Spec {
        name: "ZDIFF",
        run: zdiff,
        arity: AtLeast(3),
        flags: READS,
        keys: SOURCES,
        usage: "numkeys key [key ...] [WITHSCORES]",
        since: "6.2.0",
        cost: DIFF_COST,
        summary: "Returns the members of the first sorted set that are in none of the others.",
        ..ROW
    },
    Spec {
        name: "ZDIFFSTORE",
        run: zdiffstore,
        arity: AtLeast(4),
        flags: STORES,
        keys: STORED,
        usage: "destination numkeys key [key ...]",
        since: "6.2.0",
        cost: DIFF_COST,
        summary: "Stores the members of the first sorted set that are in none of the others.",
        ..ROW
    },
    Spec {
        name: "ZINTER",
        run: zinter,
        arity: AtLeast(3),
        flags: READS,
        keys: SOURCES,
        usage: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        since: "6.2.0",
        cost: INTER_COST,
        summary: "Returns the members that are in all of several sorted sets.",
        ..ROW
    },
    Spec {
        name: "ZINTERCARD",
        run: zintercard,
        arity: AtLeast(3),
        flags: READS,
        keys: SOURCES,
        usage: "numkeys key [key ...] [LIMIT limit]",
        since: "7.0.0",
        cost: "O(N*K) where N is the size of the smallest set and K the number of sets",
        summary: "Returns how many members are in all of several sorted sets.",
        ..ROW
    },
    Spec {
        name: "ZINTERSTORE",
        run: zinterstore,
        arity: AtLeast(4),
        flags: STORES,
        keys: STORED,
        usage: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        since: "2.0.0",
        cost: INTER_COST,
        summary: "Stores the members that are in all of several sorted sets.",
        ..ROW
    },
    Spec {
        name: "ZUNION",
        run: zunion,
        arity: AtLeast(3),
        flags: READS,
        keys: SOURCES,
        usage: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        since: "6.2.0",
        cost: UNION_COST,
        summary: "Returns the members that are in any of several sorted sets.",
        ..ROW
    },
    Spec {
        name: "ZUNIONSTORE",
        run: zunionstore,
        arity: AtLeast(4),
        flags: STORES,
        keys: STORED,
        usage: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        since: "2.0.0",
        cost: UNION_COST,
        summary: "Stores the members that are in any of several sorted sets.",
        ..ROW
    },
];

const NOT_A_WEIGHT: Error = Error::refused("weight value is not a float");
const NEGATIVE_LIMIT: Error = Error::refused("LIMIT can't be negative");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Return,
    Count,
    Store,
}

#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number(one + other),
            // What is no number is not taken.
            Aggregate::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Aggregate::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// The number, or zero if it is none: infinity times zero, or less infinity.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

// ---- what is asked for ------------------------------------------------------------------------------------------

struct Options {
    /// One for each source, if there are any.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

impl Options {
    /// Reads what is behind so many sources.
    fn parse(args: Args<'_>, mut at: usize, sources: usize, what: (Operation, Purpose)) -> Result<Options> {
        let mut options =
            Options { weights: Vec::new(), aggregate: Aggregate::Sum, with_scores: false, limit: usize::MAX };
        let (operation, purpose) = what;
        let scores = operation != Operation::Diff && purpose != Purpose::Count;
        while at < args.len() {
            let left = args.len() - at;
            if scores && left > sources && args.is(at, "WEIGHTS") {
                let weight = |at| num::parse_f64(args.word(at)).ok_or(NOT_A_WEIGHT);
                options.weights = (at + 1..=at + sources).map(weight).collect::<Result<_>>()?;
                at += sources;
            } else if scores && left > 1 && args.is(at, "AGGREGATE") {
                at += 1;
                options.aggregate = match () {
                    () if args.is(at, "SUM") => Aggregate::Sum,
                    () if args.is(at, "MIN") => Aggregate::Min,
                    () if args.is(at, "MAX") => Aggregate::Max,
                    () => return Err(Error::Syntax),
                };
            } else if purpose == Purpose::Return && args.is(at, "WITHSCORES") {
                options.with_scores = true;
            } else if purpose == Purpose::Count && left > 1 && args.is(at, "LIMIT") {
                at += 1;
                let limit = args.int_or(at, NEGATIVE_LIMIT)?;
                let limit = usize::try_from(limit).map_err(|_| NEGATIVE_LIMIT)?;
                options.limit = if limit == 0 { usize::MAX } else { limit };
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

/// A key as a source of pairs.
#[derive(Clone, Copy)]
enum Source<'a> {
    Absent,
    Sorted(&'a ZSet),
    Plain(&'a Set),
}

impl<'a> Source<'a> {
    fn of(value: Option<Value<'a>>) -> Result<Source<'a>> {
        match value.map(Value::object) {
            None => Ok(Source::Absent),
            Some(Some(Object::ZSet(zset))) => Ok(Source::Sorted(zset)),
            Some(Some(Object::Set(set))) => Ok(Source::Plain(set)),
            Some(_) => Err(Error::WrongType),
        }
    }

    fn len(self) -> usize {
        match self {
            Source::Absent => 0,
            Source::Sorted(zset) => zset.len(),
            Source::Plain(set) => set.len(),
        }
    }

    fn score(self, member: Element<'_>) -> Option<f64> {
        match self {
            Source::Absent => None,
            Source::Sorted(zset) => member.with_bytes(|member| zset.score(member)),
            Source::Plain(set) => set.shares(member).then_some(1.0),
        }
    }

    fn iter(self) -> impl Iterator<Item = (Element<'a>, f64)> {
        let (sorted, plain) = match self {
            Source::Absent => (None, None),
            Source::Sorted(zset) => (Some(zset), None),
            Source::Plain(set) => (None, Some(set)),
        };
        let plain = plain.into_iter().flat_map(|set| set.iter().map(|member| (member, 1.0)));
        sorted.into_iter().flat_map(ZSet::iter).chain(plain)
    }
}

/// The sources and what is to be made of them.
struct Job<'a> {
    /// Each with its weight, in the order of the request.
    sources: Vec<(Source<'a>, f64)>,
    options: Options,
}

impl Job<'_> {
    /// The sources from the smallest to the largest: in this order, like Redis, since sums of floats depend on it.
    fn by_size(&self) -> Vec<(Source<'_>, f64)> {
        let mut sources = self.sources.clone();
        sources.sort_by_key(|(source, _)| source.len());
        sources
    }

    fn run(&self, operation: Operation) -> ZSet {
        // A large set keeps all that a score is until the result is done, the sign of a zero too.
        let (mut found, compact) = (ZSet::large(), Compact::default());
        match operation {
            Operation::Union => self.unite(|member, score| {
                member.with_bytes(|member| {
                    let sum = found.score(member).map_or(score, |sum| self.options.aggregate.of(sum, score));
                    found.set(member, sum, &compact);
                });
            }),
            Operation::Inter => self.intersect(|member, score| {
                member.with_bytes(|member| found.set(member, score, &compact));
                true
            }),
            Operation::Diff => self.subtract(|member, score| {
                member.with_bytes(|member| found.set(member, score, &compact));
            }),
        }
        found
    }

    /// Shows what is in any source, as often as it is.
    fn unite(&self, mut show: impl FnMut(Element<'_>, f64)) {
        for (source, weight) in self.by_size() {
            source.iter().for_each(|(member, score)| show(member, number(weight * score)));
        }
    }

    /// Shows what is in all sources, as long as `show` says that it wants more.
    fn intersect(&self, mut show: impl FnMut(Element<'_>, f64) -> bool) {
        let sources = self.by_size();
        let Some(((smallest, weight), others)) = sources.split_first() else { return };
        for (member, score) in smallest.iter() {
            let sum = others.iter().try_fold(number(weight * score), |sum, (other, weight)| {
                Some(self.options.aggregate.of(sum, other.score(member)? * weight))
            });
            if sum.is_some_and(|sum| !show(member, sum)) {
                return;
            }
        }
    }

    /// Shows what is in the first source alone.
    fn subtract(&self, mut show: impl FnMut(Element<'_>, f64)) {
        let Some(((first, _), others)) = self.sources.split_first() else { return };
        for (member, score) in first.iter() {
            if others.iter().all(|(other, _)| other.score(member).is_none()) {
                show(member, score);
            }
        }
    }
}

// ---- the commands -----------------------------------------------------------------------------------------------

fn zdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show(ctx, args, Operation::Diff)
}

fn zinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show(ctx, args, Operation::Inter)
}

fn zunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show(ctx, args, Operation::Union)
}

fn zdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    store(ctx, args, Operation::Diff, "zdiffstore")
}

fn zinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    store(ctx, args, Operation::Inter, "zinterstore")
}

fn zunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    store(ctx, args, Operation::Union, "zunionstore")
}

fn show(ctx: &mut Ctx<'_>, args: Args<'_>, operation: Operation) -> Result<()> {
    let run = |job: &Job<'_>| (job.run(operation), job.options.with_scores);
    let (found, with_scores) = work(ctx, args, 1, (operation, Purpose::Return), run, |_, found| Ok(found))?;
    let reply = &mut ctx.reply;
    let pairs = Pairs::begin(reply, found.len(), with_scores);
    found.iter().for_each(|(member, score)| pairs.show(reply, member, score));
    Ok(())
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, operation: Operation, event: &'static str) -> Result<()> {
    let compact = ctx.store().compact();
    let run = |job: &Job<'_>| job.run(operation).compacted(&compact);
    let len = work(ctx, args, 2, (operation, Purpose::Store), run, |slots, found| {
        put_result(&mut slots.at(0), found, event)
    })?;
    ctx.reply.count(len);
    Ok(())
}

fn zintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let run = |job: &Job<'_>| {
        let mut count = 0;
        job.intersect(|_, _| {
            count += 1;
            count < job.options.limit
        });
        count
    };
    let count = work(ctx, args, 1, (Operation::Inter, Purpose::Count), run, |_, count| Ok(count))?;
    ctx.reply.count(count);
    Ok(())
}

/// Opens all keys, does a job with the sources, and goes on with what comes of it. `at` is where the sources are counted; a
/// key before that is where something is to be stored, and is open at 0 then.
fn work<T, R>(
    ctx: &Ctx<'_>,
    args: Args<'_>,
    at: usize,
    what: (Operation, Purpose),
    run: impl FnOnce(&Job<'_>) -> T,
    then: impl FnOnce(&mut Slots<'_, '_>, T) -> Result<R>,
) -> Result<R> {
    let count = args.int(at)?;
    if count < 1 {
        let name = ctx.spec.name.to_lowercase();
        return Err(Error::Refused(format!("at least 1 input key is needed for '{name}' command").into()));
    }
    let first = at + 1;
    let count = usize::try_from(count).ok().filter(|count| *count <= args.len() - first).ok_or(Error::Syntax)?;
    // The types of the sources are looked at before the options are read.
    let options = Options::parse(args, first + count, count, what);
    let (store, reader) = (ctx.store(), ctx.reader());
    let stored = args.iter().skip(1).take(at - 1);
    let keys: Vec<(&Store, &[u8])> =
        stored.chain(args.iter().skip(first).take(count)).map(|key| (store, key)).collect();
    Store::with_all(&keys, ctx.now, |slots| {
        let places = at - 1..keys.len();
        places.clone().for_each(|place| reader.note(&mut slots.at(place)));
        let sources: Vec<Source<'_>> = places.map(|place| Source::of(slots.value(place))).collect::<Result<_>>()?;
        let options = options?;
        let weight = |at: usize| options.weights.get(at).copied().unwrap_or(1.0);
        let sources = sources.into_iter().enumerate().map(|(at, source)| (source, weight(at))).collect();
        let result = run(&Job { sources, options });
        then(slots, result)
    })
}
