//! When keys expire: set, asked and removed, in seconds or milliseconds, from now or in Unix time.
//!
//! A length of time is added to the store's own clock, an instant in Unix time is translated at this door, so that a
//! wall clock which is set while the server runs moves neither. An instant that has passed deletes the key.

use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::clock::{Millis, Ttl};
use crate::error::{Error, Result};
use crate::resp::Args;
use crate::store::{Class, Slot};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Generic, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const FAST: Flags = Flags::FAST;

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "EXPIRE",
        run: expire,
        arity: AtLeast(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key seconds [NX | XX | GT | LT]",
        summary: "Sets in how many seconds a key expires.",
        ..ROW
    },
    Spec {
        name: "EXPIREAT",
        run: expire_at,
        arity: AtLeast(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key unix-time-seconds [NX | XX | GT | LT]",
        since: "1.2.0",
        summary: "Sets the Unix time in seconds at which a key expires.",
        ..ROW
    },
    Spec {
        name: "EXPIRETIME",
        run: expire_time,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key",
        since: "7.0.0",
        summary: "Returns the Unix time in seconds at which a key expires.",
        ..ROW
    },
    Spec {
        name: "PERSIST",
        run: persist,
        arity: Exactly(2),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key",
        since: "2.2.0",
        summary: "Removes the expiration of a key.",
        ..ROW
    },
    Spec {
        name: "PEXPIRE",
        run: pexpire,
        arity: AtLeast(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key milliseconds [NX | XX | GT | LT]",
        since: "2.6.0",
        summary: "Sets in how many milliseconds a key expires.",
        ..ROW
    },
    Spec {
        name: "PEXPIREAT",
        run: pexpire_at,
        arity: AtLeast(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key unix-time-milliseconds [NX | XX | GT | LT]",
        since: "2.6.0",
        summary: "Sets the Unix time in milliseconds at which a key expires.",
        ..ROW
    },
    Spec {
        name: "PEXPIRETIME",
        run: pexpire_time,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key",
        since: "7.0.0",
        summary: "Returns the Unix time in milliseconds at which a key expires.",
        ..ROW
    },
    Spec {
        name: "PTTL",
        run: pttl,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key",
        since: "2.6.0",
        tips: tips::VARIES,
        summary: "Returns in how many milliseconds a key expires.",
        ..ROW
    },
    Spec {
        name: "TTL",
        run: ttl,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key",
        tips: tips::VARIES,
        summary: "Returns in how many seconds a key expires.",
        ..ROW
    },
];

// ---- terms ------------------------------------------------------------------------------------------------------

/// How a number is meant as an expiration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// The option of SET and GETEX.
    option: &'static str,
    /// Milliseconds of one.
    unit: i64,
    /// Whether it counts from 1970 instead of from now.
    absolute: bool,
}

impl Term {
    /// Seconds from now.
    pub const SECONDS: Term = Term { option: "EX", unit: 1000, absolute: false };
    /// Milliseconds from now.
    pub const MILLIS: Term = Term { option: "PX", unit: 1, absolute: false };
    /// Unix time in seconds.
    pub const UNIX_SECONDS: Term = Term { option: "EXAT", unit: 1000, absolute: true };
    /// Unix time in milliseconds.
    pub const UNIX_MILLIS: Term = Term { option: "PXAT", unit: 1, absolute: true };

    /// The term of an option, in any case.
    pub fn named(option: &[u8]) -> Option<&'static Term> {
        const ALL: &[Term] = &[Term::SECONDS, Term::MILLIS, Term::UNIX_SECONDS, Term::UNIX_MILLIS];
        ALL.iter().find(|term| term.option.as_bytes().eq_ignore_ascii_case(option))
    }

    /// The instant that the word at a position means to a command that sets a value: it must be positive.
    pub fn deadline(&self, ctx: &Ctx<'_>, args: Args<'_>, at: usize) -> Result<Millis> {
        let amount = args.int(at)?;
        if amount <= 0 {
            return Err(invalid(ctx));
        }
        self.instant(ctx, amount)
    }

    /// The instant that an amount means, which may have passed. Refused is what Redis cannot say in 63 bits of Unix time.
    pub fn instant(&self, ctx: &Ctx<'_>, amount: i64) -> Result<Millis> {
        let span = amount.checked_mul(self.unit).ok_or_else(|| invalid(ctx))?;
        if self.absolute {
            // A time before 1970 has passed like 1970 itself.
            return Ok(ctx.engine.clock.from_wall(u64::try_from(span).unwrap_or(0)));
        }
        span.checked_add_unsigned(ctx.now.0).ok_or_else(|| invalid(ctx))?;
        let ttl = Ttl(span.unsigned_abs());
        Ok(if span < 0 { ctx.now - ttl } else { ctx.now + ttl })
    }
}

fn invalid(ctx: &Ctx<'_>) -> Error {
    Error::InvalidExpire(ctx.spec.name)
}

// ---- setting ----------------------------------------------------------------------------------------------------

/// The conditions of EXPIRE and its relatives. All that are named must hold.
#[derive(Clone, Copy, Default)]
struct Conditions {
    /// NX: the key has no expiration.
    unset: bool,
    /// XX: the key has one.
    set: bool,
    /// GT: the new one is later.
    later: bool,
    /// LT: the new one is sooner.
    sooner: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Conditions> {
        let mut named = Conditions::default();
        for at in 3..args.len() {
            let flag = match () {
                () if args.is(at, "NX") => &mut named.unset,
                () if args.is(at, "XX") => &mut named.set,
                () if args.is(at, "GT") => &mut named.later,
                () if args.is(at, "LT") => &mut named.sooner,
                () => {
                    let option = String::from_utf8_lossy(args.word(at));
                    return Err(Error::Refused(format!("Unsupported option {option}").into()));
                }
            };
            *flag = true;
        }
        if named.unset && (named.set || named.later || named.sooner) {
            return Err(Error::refused("NX and XX, GT or LT options at the same time are not compatible"));
        }
        if named.later && named.sooner {
            return Err(Error::refused("GT and LT options at the same time are not compatible"));
        }
        Ok(named)
    }

    /// Whether a key that dies at `old` may be told to die at `new`. A key without expiration dies later than any.
    fn hold(self, old: Millis, new: Millis) -> bool {
        let is_set = old != Millis::NEVER;
        !(self.unset && is_set || self.set && !is_set || self.later && new <= old || self.sooner && new >= old)
    }
}

fn expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    set_deadline(ctx, args, &Term::SECONDS)
}

fn pexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    set_deadline(ctx, args, &Term::MILLIS)
}

fn expire_at(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    set_deadline(ctx, args, &Term::UNIX_SECONDS)
}

fn pexpire_at(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    set_deadline(ctx, args, &Term::UNIX_MILLIS)
}

fn set_deadline(ctx: &mut Ctx<'_>, args: Args<'_>, term: &Term) -> Result<()> {
    let conditions = Conditions::parse(args)?;
    let new = term.instant(ctx, args.int(2)?)?;
    let done = ctx.store().with(args.word(1), ctx.now, |slot| {
        let holds = slot.deadline().is_some_and(|old| conditions.hold(old, new));
        if holds {
            change_deadline(slot, new);
        }
        holds
    });
    ctx.reply.int(i64::from(done));
    Ok(())
}

fn persist(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let done = ctx.store().with(args.word(1), ctx.now, |slot| {
        let is_set = slot.deadline().is_some_and(|old| old != Millis::NEVER);
        if is_set {
            change_deadline(slot, Millis::NEVER);
        }
        is_set
    });
    ctx.reply.int(i64::from(done));
    Ok(())
}

/// Sets when a key dies, and tells of it: that it was, that it dies no more, or, if the instant has passed, that the key is
/// gone.
pub(super) fn change_deadline(slot: &mut Slot<'_>, deadline: Millis) {
    let Some(old) = slot.deadline() else { return };
    if old == Millis::NEVER && deadline == Millis::NEVER {
        return;
    }
    slot.set_deadline(deadline);
    match slot.deadline() {
        None => slot.tell(Class::GENERIC, "del"),
        Some(Millis::NEVER) => slot.tell(Class::GENERIC, "persist"),
        Some(_) => slot.tell(Class::GENERIC, "expire"),
    }
}

// ---- asking -----------------------------------------------------------------------------------------------------

fn ttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    tell(ctx, args, |ctx, deadline| in_seconds(deadline.since(ctx.now).0))
}

fn pttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    tell(ctx, args, |ctx, deadline| deadline.since(ctx.now).0)
}

fn expire_time(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    tell(ctx, args, |ctx, deadline| in_seconds(ctx.engine.clock.to_wall(deadline)))
}

fn pexpire_time(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    tell(ctx, args, |ctx, deadline| ctx.engine.clock.to_wall(deadline))
}

/// Seconds, rounded to the nearest as Redis does.
fn in_seconds(millis: u64) -> u64 {
    millis.saturating_add(500) / 1000
}

/// Answers what a deadline is in some unit; -1 for a key without one, -2 for no key.
fn tell(ctx: &mut Ctx<'_>, args: Args<'_>, show: impl FnOnce(&Ctx<'_>, Millis) -> u64) -> Result<()> {
    let answer = match ctx.reader().glance(args.word(1), |value| value.deadline()) {
        None => -2,
        Some(Millis::NEVER) => -1,
        Some(deadline) => i64::try_from(show(ctx, deadline)).unwrap_or(i64::MAX),
    };
    ctx.reply.int(answer);
    Ok(())
}
