//! Keys whatever their type: deleted, renamed, copied, moved and looked at.
//!
//! What concerns several keys happens under all their locks. A key that was signed out takes nothing, so before anything moves
//! the place it goes to is asked.

use super::connection::named_database;
use super::growth::growing;
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use super::{help, read};
use crate::error::{Error, Result};
use crate::resp::Args;
use crate::store::{Access, Class, Slot, Slots, Store};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Generic, ..Spec::BASE };
const NONE: Flags = Flags::NONE;
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const DENYOOM: Flags = Flags::DENYOOM;
const FAST: Flags = Flags::FAST;
const LOADING: Flags = Flags::LOADING;
const STALE: Flags = Flags::STALE;

/// Looks at the key, not at the value.
const LOOKS: &[&str] = &["RO"];
/// Removes the key without looking at the value.
const REMOVES: &[&str] = &["RM", "delete"];
/// Returns what was there and changes it.
const CHANGES: &[&str] = &["RW", "access", "update"];
/// The key of a subcommand.
const INSPECTED: Keys = Keys { first: 2, last: 2, ..Keys::ONE.with(LOOKS) };

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "COPY",
        run: copy,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::TWO.last_with(&["OW", "update"]),
        usage: "source destination [DB destination-db] [REPLACE]",
        since: "6.2.0",
        cost: "O(N) where N is the size of the value",
        summary: "Copies the value and the expiration of a key to another key.",
        ..ROW
    },
    Spec {
        name: "DEL",
        run: |ctx, args| del(ctx, args, false),
        arity: AtLeast(2),
        flags: WRITE,
        keys: Keys::ALL.with(REMOVES),
        usage: "key [key ...]",
        cost: "O(N) where N is the number of keys",
        tips: tips::SUM_OF_SHARDS,
        summary: "Deletes keys and returns how many there were.",
        ..ROW
    },
    Spec {
        name: "EXISTS",
        run: exists,
        arity: AtLeast(2),
        flags: READONLY.and(FAST),
        keys: Keys::ALL.with(LOOKS),
        usage: "key [key ...]",
        cost: "O(N) where N is the number of keys",
        tips: tips::SUM_OF_SHARDS,
        summary: "Returns how many of the keys exist.",
        ..ROW
    },
    Spec {
        name: "MOVE",
        run: move_key,
        arity: Exactly(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key db",
        summary: "Moves a key to another database.",
        ..ROW
    },
    Spec {
        name: "OBJECT",
        run: object,
        arity: AtLeast(2),
        flags: NONE,
        since: "2.2.3",
        summary: "Shows how values are kept.",
        subs: OBJECT,
        ..ROW
    },
    Spec {
        name: "RENAME",
        run: rename,
        arity: Exactly(3),
        flags: WRITE,
        keys: Keys::TWO.with(&["RW", "access", "delete"]).last_with(&["OW", "update"]),
        usage: "key newkey",
        summary: "Gives a key another name, in place of whatever has that name.",
        ..ROW
    },
    Spec {
        name: "RENAMENX",
        run: rename_nx,
        arity: Exactly(3),
        flags: WRITE.and(FAST),
        keys: Keys::TWO.with(&["RW", "access", "delete"]).last_with(&["OW", "insert"]),
        usage: "key newkey",
        summary: "Gives a key another name unless that name is taken.",
        ..ROW
    },
    Spec {
        name: "TOUCH",
        run: touch,
        arity: AtLeast(2),
        flags: READONLY.and(FAST),
        keys: Keys::ALL.with(LOOKS),
        usage: "key [key ...]",
        since: "3.2.1",
        cost: "O(N) where N is the number of keys",
        tips: tips::SUM_OF_SHARDS,
        summary: "Notes that keys are in use and returns how many of them exist.",
        ..ROW
    },
    Spec {
        name: "TYPE",
        run: type_of,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(LOOKS),
        usage: "key",
        summary: "Returns the type of the value at a key.",
        ..ROW
    },
    Spec {
        name: "UNLINK",
        run: |ctx, args| del(ctx, args, true),
        arity: AtLeast(2),
        flags: WRITE.and(FAST),
        keys: Keys::ALL.with(REMOVES),
        usage: "key [key ...]",
        since: "4.0.0",
        cost: "O(N) where N is the number of keys",
        tips: tips::SUM_OF_SHARDS,
        summary: "Deletes keys and returns how many there were; large collections are freed later.",
        ..ROW
    },
];

const OBJECT: &[Spec] = &[
    Spec {
        name: "ENCODING",
        run: object_encoding,
        arity: Exactly(3),
        flags: READONLY,
        keys: INSPECTED,
        usage: "key",
        since: "2.2.3",
        tips: tips::VARIES,
        summary: "Returns how the value at a key would be laid out in Redis.",
        ..ROW
    },
    Spec {
        name: "FREQ",
        run: object_freq,
        arity: Exactly(3),
        flags: READONLY,
        keys: INSPECTED,
        usage: "key",
        since: "4.0.0",
        tips: tips::VARIES,
        summary: "Returns the logarithmic count of accesses to a key.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: object_help,
        arity: Exactly(2),
        flags: LOADING.and(STALE),
        since: "6.2.0",
        summary: "Returns a text about the subcommands.",
        ..ROW
    },
    Spec {
        name: "IDLETIME",
        run: object_idletime,
        arity: Exactly(3),
        flags: READONLY,
        keys: INSPECTED,
        usage: "key",
        since: "2.2.3",
        tips: tips::VARIES,
        summary: "Returns the seconds since a key was last accessed.",
        ..ROW
    },
    Spec {
        name: "REFCOUNT",
        run: object_refcount,
        arity: Exactly(3),
        flags: READONLY,
        keys: INSPECTED,
        usage: "key",
        since: "2.2.3",
        tips: tips::VARIES,
        summary: "Returns the number of references to the value at a key, which is always one.",
        ..ROW
    },
];

const SAME_OBJECT: Error = Error::refused("source and destination objects are the same");

fn del(ctx: &mut Ctx<'_>, args: Args<'_>, unlinks: bool) -> Result<()> {
    let removed = match args.len() {
        2 => usize::from(ctx.store().with(args.word(1), ctx.now, |slot| delete(slot, unlinks))),
        _ => ctx.count_keys(args, |slot| delete(slot, unlinks)),
    };
    ctx.reply.count(removed);
    Ok(())
}

fn delete(slot: &mut Slot<'_>, unlinks: bool) -> bool {
    let removed = slot.delete(unlinks);
    if removed {
        slot.tell(Class::GENERIC, "del");
    }
    removed
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let found = match args.len() {
        2 => usize::from(ctx.reader().glance(args.word(1), |_| ()).is_some()),
        _ => ctx.count_keys(args, read::count),
    };
    ctx.reply.count(found);
    Ok(())
}

fn touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    // Whoever says TOUCH means it, CLIENT NO-TOUCH or not.
    let store = ctx.store();
    let found = match args.len() {
        2 => usize::from(store.get(args.word(1), ctx.now, |_| ()).is_some()),
        _ => ctx.count_keys(args, |slot| store.touch(slot)),
    };
    ctx.reply.count(found);
    Ok(())
}

fn type_of(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let name = ctx.reader().glance(args.word(1), |value| value.kind().name());
    ctx.reply.simple(name.unwrap_or("none"));
    Ok(())
}

// ---- to another key ---------------------------------------------------------------------------------------------

/// How a transfer went.
enum Transfer {
    /// There is nothing to transfer.
    NoSource,
    /// Both keys are the same.
    Same,
    /// The place is taken.
    Taken,
    /// It is there.
    Done,
}

/// How a value comes to another key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It stays where it was, too.
    Copy,
    /// Under another name.
    Rename,
    /// To another database.
    Move,
}

impl Way {
    /// The events of the key that it comes from, and of the one that it comes to.
    fn events(self) -> (Option<&'static str>, &'static str) {
        match self {
            Way::Copy => (None, "copy_to"),
            Way::Rename => (Some("rename_from"), "rename_to"),
            Way::Move => (Some("move_from"), "move_to"),
        }
    }
}

/// Brings the value of the first key to the second.
fn transfer(slots: &mut Slots<'_, '_>, way: Way, replace: bool) -> Result<Transfer> {
    if slots.same(0, 1) {
        return Ok(if slots.at(0).value().is_some() { Transfer::Same } else { Transfer::NoSource });
    }
    if slots.at(0).value().is_none() {
        if way == Way::Copy {
            // To copy is to read, which the others do not.
            slots.at(0).tell(Class::KEY_MISS, "keymiss");
        }
        return Ok(Transfer::NoSource);
    }
    if !replace && slots.at(1).value().is_some() {
        return Ok(Transfer::Taken);
    }
    slots.at(1).admits()?;
    let loose = match way {
        Way::Copy => slots.at(0).copied(),
        Way::Rename | Way::Move => slots.at(0).detach(),
    };
    if let Some(loose) = loose {
        slots.at(1).put_loose(loose)?;
        let (from, to) = way.events();
        if let Some(from) = from {
            slots.at(0).tell(Class::GENERIC, from);
        }
        slots.at(1).tell(Class::GENERIC, to);
    }
    Ok(Transfer::Done)
}

fn rename(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let keys = [(ctx.store(), args.word(1)), (ctx.store(), args.word(2))];
    match Store::with_all(&keys, ctx.now, |slots| transfer(slots, Way::Rename, true))? {
        Transfer::NoSource => return Err(Error::NoSuchKey),
        Transfer::Same | Transfer::Taken | Transfer::Done => ctx.reply.ok(),
    }
    Ok(())
}

fn rename_nx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let keys = [(ctx.store(), args.word(1)), (ctx.store(), args.word(2))];
    match Store::with_all(&keys, ctx.now, |slots| transfer(slots, Way::Rename, false))? {
        Transfer::NoSource => return Err(Error::NoSuchKey),
        Transfer::Same | Transfer::Taken => ctx.reply.int(0),
        Transfer::Done => ctx.reply.int(1),
    }
    Ok(())
}

fn move_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let target = ctx.engine.store(named_database(ctx.engine, args, 2)?);
    if std::ptr::eq(target, ctx.store()) {
        return Err(SAME_OBJECT);
    }
    let keys = [(ctx.store(), args.word(1)), (target, args.word(1))];
    let moved = Store::with_all(&keys, ctx.now, |slots| transfer(slots, Way::Move, false))?;
    ctx.reply.int(i64::from(matches!(moved, Transfer::Done)));
    Ok(())
}

fn copy(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (mut target, mut replace) = (ctx.store(), false);
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "REPLACE") {
            replace = true;
            at += 1;
        } else if args.is(at, "DB") && at + 1 < args.len() {
            target = ctx.engine.store(named_database(ctx.engine, args, at + 1)?);
            at += 2;
        } else {
            return Err(Error::Syntax);
        }
    }
    let keys = [(ctx.store(), args.word(1)), (target, args.word(2))];
    let same = std::ptr::eq(target, ctx.store()) && keys[0].1 == keys[1].1;
    let copied = match same {
        true => Transfer::Same,
        false => growing(ctx.engine, ctx.now, |growth| {
            Store::with_all(&keys, ctx.now, |slots| {
                growth.ask(slots.at(0).value().map_or(0, |value| value.size()))?;
                transfer(slots, Way::Copy, replace)
            })
        })?,
    };
    match copied {
        Transfer::Same => return Err(SAME_OBJECT),
        Transfer::NoSource | Transfer::Taken => ctx.reply.int(0),
        Transfer::Done => ctx.reply.int(1),
    }
    Ok(())
}

// ---- OBJECT -----------------------------------------------------------------------------------------------------

const HELP: &[&str] = &[
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

const NOT_LFU: Error = Error::refused(
    "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);
const IS_LFU: Error = Error::refused(
    "An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at \
     runtime LRU and LFU data will take some time to adjust.",
);

/// OBJECT alone is refused for its arity before it comes here.
fn object(_: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    Err(Error::Arity("object".into()))
}

fn object_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    help::answer(ctx, "OBJECT", HELP)
}

fn object_encoding(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let encoding = ctx.store().inspect(args.word(2), ctx.now, |value| value.encoding());
    ctx.reply.bulk_or_null(encoding.map(str::as_bytes));
    Ok(())
}

fn object_refcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match ctx.store().inspect(args.word(2), ctx.now, |_| ()) {
        Some(()) => ctx.reply.int(1),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn object_freq(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match accessed(ctx, args) {
        Some(Access::Frequency(count)) => ctx.reply.int(i64::from(count)),
        Some(Access::Idle(_) | Access::Both(..)) => return Err(NOT_LFU),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn object_idletime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match accessed(ctx, args) {
        Some(Access::Idle(seconds) | Access::Both(seconds, _)) => {
            ctx.reply.int(i64::try_from(seconds).unwrap_or(i64::MAX))
        }
        Some(Access::Frequency(_)) => return Err(IS_LFU),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// What is known of the accesses to a subcommand's key.
fn accessed(ctx: &Ctx<'_>, args: Args<'_>) -> Option<Access> {
    let store = ctx.store();
    store.inspect(args.word(2), ctx.now, |value| store.access(value.access(), ctx.now))
}
