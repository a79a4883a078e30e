//! SORT: the elements of a list, a set or a sorted set, ordered by what they are or by what other keys say of them.
//!
//! The elements are copied out first, as the keys that patterns lead to lie behind other locks.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::read::Reader;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::num;
use crate::resp::Args;
use crate::store::{Class, Element, End, Hash, List, Object, Value, wrong_type};

use Arity::AtLeast;

const ROW: Spec = Spec {
    group: Group::Generic,
    arity: AtLeast(2),
    cost: "O(N+M*log(M)) where N is the number of elements and M the number of those returned",
    ..Spec::BASE
};
const SORTS: Flags = Flags::MOVABLE_KEYS.and(Flags::SORTS).and(Flags::DANGEROUS);

/// Where the result goes, if it is to be kept.
const STORED: Keys = Keys::named("STORE", &[("BY", 1), ("GET", 1), ("LIMIT", 2)]).with(&["OW", "update"]);

/// What patterns lead to, and that.
const MORE: Keys = Keys::ELSEWHERE.and(&STORED);

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "SORT",
        run: sort,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(SORTS),
        keys: Keys::ONE.and(&MORE),
        usage: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE \
                destination]",
        summary: "Returns the elements of a list, a set or a sorted set in order, or keeps them at a key.",
        ..ROW
    },
    Spec {
        name: "SORT_RO",
        run: sort_ro,
        flags: Flags::READONLY.and(SORTS),
        keys: Keys::ONE.and(&Keys::ELSEWHERE),
        usage: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        since: "7.0.0",
        summary: "Returns the elements of a list, a set or a sorted set in order.",
        ..ROW
    },
];

const NOT_NUMBERS: Error = Error::refused("One or more scores can't be converted into double");

/// What a request asks for.
#[derive(Default)]
struct Options<'a> {
    by: Option<Pattern<'a>>,
    gets: Vec<Pattern<'a>>,
    /// The first element wanted, and how many.
    limit: Option<(i64, i64)>,
    descending: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Options<'a>> {
        let (mut options, mut at) = (Options::default(), 2);
        while at < args.len() {
            let behind = args.len() - at - 1;
            let words = if args.is(at, "ASC") {
                options.descending = false;
                1
            } else if args.is(at, "DESC") {
                options.descending = true;
                1
            } else if args.is(at, "ALPHA") {
                options.alpha = true;
                1
            } else if args.is(at, "LIMIT") && behind >= 2 {
                options.limit = Some((args.int(at + 1)?, args.int(at + 2)?));
                3
            } else if args.is(at, "STORE") && behind >= 1 && may_store {
                options.store = Some(args.word(at + 1));
                2
            } else if args.is(at, "BY") && behind >= 1 {
                // Once there is nothing to sort by, nothing is sorted.
                if !options.is_unsorted() {
                    options.by = Some(Pattern::of(args.word(at + 1)));
                }
                2
            } else if args.is(at, "GET") && behind >= 1 {
                options.gets.push(Pattern::of(args.word(at + 1)));
                2
            } else {
                return Err(Error::Syntax);
            };
            at += words;
        }
        Ok(options)
    }

    /// Whether elements are to stay in their own order.
    fn is_unsorted(&self) -> bool {
        matches!(self.by, Some(Pattern::Constant | Pattern::Element))
    }

    /// Which of so many elements are wanted.
    fn range(&self, len: usize) -> Range<usize> {
        let Some((offset, count)) = self.limit else { return 0..len };
        let start = usize::try_from(offset).unwrap_or(0).min(len);
        let count = usize::try_from(count).unwrap_or(len).min(len - start);
        start..start + count
    }
}

// ---- other keys -------------------------------------------------------------------------------------------------

/// How an element leads to a key, or to a field of a hash.
enum Pattern<'a> {
    /// To itself.
    Element,
    /// To nothing: there is no place for the element.
    Constant,
    /// To a key, whose name has the element in the middle.
    Key { before: &'a [u8], behind: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn of(word: &'a [u8]) -> Pattern<'a> {
        if word == b"#" {
            return Pattern::Element;
        }
        let Some(star) = word.iter().position(|byte| *byte == b'*') else { return Pattern::Constant };
        let (before, behind) = (&word[..star], &word[star + 1..]);
        let arrow = behind.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < behind.len());
        match arrow {
            Some(at) => Pattern::Key { before, behind: &behind[..at], field: Some(&behind[at + 2..]) },
            None => Pattern::Key { before, behind, field: None },
        }
    }

    /// What the element leads to, if that is there.
    fn find<'e>(&self, reader: Reader<'_>, element: &'e [u8]) -> Option<Cow<'e, [u8]>> {
        match self {
            Pattern::Element => Some(Cow::Borrowed(element)),
            Pattern::Constant => None,
            Pattern::Key { before, behind, field } => {
                let key = [before, element, behind].concat();
                let found = reader.get(&key, |value| match field {
                    Some(field) => value.collection().ok().and_then(|hash| field_of(hash, field)),
                    None => value.string().ok().map(<[u8]>::to_vec),
                });
                found.flatten().map(Cow::Owned)
            }
        }
    }
}

fn field_of(hash: &Hash, field: &[u8]) -> Option<Vec<u8>> {
    hash.get(field).map(Element::to_vec)
}

// ---- elements ---------------------------------------------------------------------------------------------------

/// What is sorted, in the order that it has by itself.
struct Elements {
    all: Vec<Vec<u8>>,
    /// Whether there is no such order.
    is_set: bool,
}

impl Elements {
    fn of(value: Value<'_>, mut room: Room) -> Result<Elements> {
        let mut copy = |element: Element<'_>| room.copy(element);
        let (all, is_set) = match value.object() {
            Some(Object::List(list)) => (list.iter().map(copy).collect::<Result<_>>()?, false),
            Some(Object::Set(set)) => (set.iter().map(copy).collect::<Result<_>>()?, true),
            Some(Object::ZSet(zset)) => (zset.iter().map(|(member, _)| copy(member)).collect::<Result<_>>()?, false),
            Some(Object::Hash(_)) | None => return wrong_type(),
        };
        Ok(Elements { all, is_set })
    }
}

/// Bytes that may be gathered at once, of many elements and of what these lead to, which may be the same for all.
struct Room(usize);

impl Room {
    /// Takes room for something that is so large where it lies, and has so many bytes elsewhere.
    fn take(&mut self, place: usize, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(place + bytes).ok_or(Error::OutOfMemory)?;
        Ok(())
    }

    /// A copy of an element.
    fn copy(&mut self, element: Element<'_>) -> Result<Vec<u8>> {
        let copy = element.to_vec();
        self.take(size_of::<Vec<u8>>(), copy.len())?;
        Ok(copy)
    }

    /// Takes a text in.
    fn text(&mut self, text: Cow<'_, [u8]>) -> Result<Vec<u8>> {
        self.take(0, text.len())?;
        Ok(text.into_owned())
    }
}

/// What an element is ordered by.
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
    Itself,
}

impl Weight {
    fn of(
        alpha: bool,
        reader: Reader<'_>,
        by: Option<&Pattern<'_>>,
        element: &[u8],
        room: &mut Room,
    ) -> Result<Weight> {
        room.take(size_of::<(Weight, Vec<u8>)>(), 0)?;
        let found = by.map(|by| by.find(reader, element));
        match (alpha, found) {
            (true, None) => Ok(Weight::Itself),
            (true, Some(text)) => Ok(Weight::Text(text.map(|text| room.text(text)).transpose()?)),
            (false, None) => number(element).map(Weight::Number),
            (false, Some(None)) => Ok(Weight::Number(0.0)),
            (false, Some(Some(text))) => number(&text).map(Weight::Number),
        }
    }

    fn compare(&self, element: &[u8], other: &Weight, other_element: &[u8]) -> Ordering {
        match (self, other) {
            (Weight::Number(one), Weight::Number(other)) => {
                one.partial_cmp(other).unwrap_or(Ordering::Equal).then_with(|| element.cmp(other_element))
            }
            (Weight::Text(one), Weight::Text(other)) => one.cmp(other),
            _ => element.cmp(other_element),
        }
    }
}

/// A number as C's `strtod` takes it: blanks before it are let pass, nothing at all is zero, and what follows a NUL is
/// not seen.
fn number(text: &[u8]) -> Result<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    num::parse_f64(&text[blanks..]).ok_or(NOT_NUMBERS)
}

fn sort(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let options = Options::parse(args, true)?;
    run(ctx, args, &options)
}

fn sort_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let options = Options::parse(args, false)?;
    run(ctx, args, &options)
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, options: &Options<'_>) -> Result<()> {
    let forbidden = match (&options.by, options.gets.as_slice()) {
        (Some(Pattern::Key { .. }), _) => Some("BY"),
        (_, [_, ..]) => Some("GET"),
        _ => None,
    };
    if let Some(option) = forbidden.filter(|_| !super::may_read_all(ctx, args)) {
        let text = format!("{option} option of SORT denied due to insufficient ACL permissions.");
        return Err(Error::Refused(text.into()));
    }
    let reader = ctx.reader();
    let most = ctx.engine.hot.gathered_max();
    let found = reader.get(args.word(1), |value| Elements::of(value, Room(most))).transpose()?;
    let Elements { all, is_set } = found.unwrap_or(Elements { all: Vec::new(), is_set: false });
    // What is kept, or decides what a script does, must not depend on the order that a set happens to have.
    let is_any_order = is_set && (options.store.is_some() || ctx.is_scripted);
    let wanted = in_order(options, reader, all, is_any_order, Room(most))?;

    let Some(destination) = options.store else {
        let reply = &mut ctx.reply;
        // Here it changes nothing, and all elements may lead to the same.
        reply.bound(ctx.engine.hot.reply_max());
        reply.array(wanted.len() * options.gets.len().max(1));
        for element in &wanted {
            if options.gets.is_empty() {
                reply.bulk(element);
            }
            for get in &options.gets {
                if reply.is_over() {
                    return Ok(());
                }
                reply.bulk_or_null(get.find(reader, element).as_deref());
            }
        }
        return Ok(());
    };
    let (mut list, compact) = (List::default(), ctx.store().compact());
    for element in &wanted {
        if options.gets.is_empty() {
            list.push(End::Right, element, &compact);
        }
        for get in &options.gets {
            // What is not there is kept as nothing, as a list has no nulls.
            list.push(End::Right, &get.find(reader, element).unwrap_or_default(), &compact);
            if list.size() > most {
                return Err(Error::OutOfMemory);
            }
        }
    }
    let len = list.len();
    ctx.store().with(destination, ctx.now, |slot| -> Result<()> {
        if len > 0 {
            slot.put_object(list, Millis::NEVER)?;
            slot.tell(Class::LIST, "sortstore");
        } else if slot.value().is_some() {
            slot.remove();
            slot.tell(Class::GENERIC, "del");
        }
        Ok(())
    })?;
    ctx.reply.count(len);
    Ok(())
}

/// The elements that are wanted, in the order that is.
fn in_order(
    options: &Options<'_>,
    reader: Reader<'_>,
    all: Vec<Vec<u8>>,
    is_any_order: bool,
    mut room: Room,
) -> Result<Vec<Vec<u8>>> {
    let range = options.range(all.len());
    let (mut by, mut alpha) = (options.by.as_ref(), options.alpha);
    if options.is_unsorted() {
        if !is_any_order {
            return Ok(slice(all, range, options.descending));
        }
        (by, alpha) = (None, true);
    }
    let weigh = |element: Vec<u8>| Weight::of(alpha, reader, by, &element, &mut room).map(|weight| (weight, element));
    let mut weighed = all.into_iter().map(weigh).collect::<Result<Vec<(Weight, Vec<u8>)>>>()?;
    weighed.sort_by(|(weight, element), (other, other_element)| {
        let order = weight.compare(element, other, other_element);
        if options.descending { order.reverse() } else { order }
    });
    let sorted = weighed.into_iter().map(|(_, element)| element).collect();
    Ok(slice(sorted, range, false))
}

/// A part of the elements, counted from the end if that is wanted.
fn slice(mut all: Vec<Vec<u8>>, range: Range<usize>, backwards: bool) -> Vec<Vec<u8>> {
    if backwards {
        all.reverse();
    }
    all.truncate(range.end);
    all.drain(..range.start);
    all
}
