//! DUMP and RESTORE: values as bytes in Redis' own format, to be kept or brought to another server.

use super::expire::Term;
use super::growth::growing;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::rdb::{seal, unpacks, unseal};
use crate::resp::Args;
use crate::store::{Access, Class, Restored, restore as read_value};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Generic, since: "2.6.0", ..Spec::BASE };

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "DUMP",
        run: dump,
        arity: Exactly(2),
        flags: Flags::READONLY,
        keys: Keys::ONE,
        usage: "key",
        cost: "O(N) where N is the size of the value",
        tips: super::spec::tips::VARIES,
        summary: "Returns the value at a key as bytes that RESTORE takes.",
        ..ROW
    },
    Spec {
        name: "RESTORE",
        run: restore,
        arity: AtLeast(4),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::DANGEROUS),
        keys: Keys::ONE.with(&["OW", "update"]),
        usage: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        cost: "O(N) where N is the size of the value, and O(N log N) for a sorted set",
        summary: "Puts a value that DUMP returned under a key.",
        ..ROW
    },
    Spec {
        name: "RESTORE-ASKING",
        run: restore,
        arity: AtLeast(4),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::ASKING).and(Flags::DANGEROUS),
        keys: Keys::ONE.with(&["OW", "update"]),
        usage: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        since: "3.0.0",
        cost: "O(N) where N is the size of the value, and O(N log N) for a sorted set",
        summary: "The same as RESTORE, for tools that move slots of a cluster.",
        group: Group::Server,
        ..ROW
    },
];

fn dump(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let dumped = ctx.reader().get(args.word(1), |value| {
        let mut bytes = Vec::new();
        value.dump(&mut bytes);
        bytes
    });
    let sealed = dumped.map(|mut bytes| {
        seal(&mut bytes);
        bytes
    });
    ctx.reply.bulk_or_null(sealed.as_deref());
    Ok(())
}

/// The options of RESTORE.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    access: Option<Access>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options> {
        const IDLE: Error = Error::refused("Invalid IDLETIME value, must be >= 0");
        const FREQUENCY: Error = Error::refused("Invalid FREQ value, must be >= 0 and <= 255");
        let mut options = Options::default();
        let mut at = 4;
        while at < args.len() {
            let value = at + 1 < args.len();
            if args.is(at, "REPLACE") {
                options.replace = true;
            } else if args.is(at, "ABSTTL") {
                options.absolute = true;
            } else if value && args.is(at, "IDLETIME") && !matches!(options.access, Some(Access::Frequency(_))) {
                at += 1;
                options.access = Some(Access::Idle(u64::try_from(args.int(at)?).map_err(|_| IDLE)?));
            } else if value && args.is(at, "FREQ") && !matches!(options.access, Some(Access::Idle(_))) {
                at += 1;
                options.access = Some(Access::Frequency(u8::try_from(args.int(at)?).map_err(|_| FREQUENCY)?));
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    const TTL: Error = Error::refused("Invalid TTL value, must be >= 0");
    let options = Options::parse(args)?;
    let (store, now) = (ctx.store(), ctx.now);
    // Redis looks for the key before it looks at the payload.
    if !options.replace && store.peek(args.word(1), now, |_| ()).is_some() {
        return Err(Error::BusyKey);
    }
    let ttl = args.int(2)?;
    if ttl < 0 {
        return Err(TTL);
    }
    let payload = unseal(args.word(3)).ok_or(Error::refused("DUMP payload version or checksum are wrong"))?;
    let deadline = match ttl {
        0 => Millis::NEVER,
        ttl if options.absolute => Term::UNIX_MILLIS.instant(ctx, ttl)?,
        ttl => Term::MILLIS.instant(ctx, ttl)?,
    };
    let compact = ctx.engine.with_config(|config| config.compact);
    let most = ctx.engine.hot.bulk_max();
    // A few bytes may unpack to a hundred times as many, beside which the value is made.
    let unpacked = unpacks(payload, most).saturating_mul(2);
    growing(ctx.engine, now, |growth| growth.ask(unpacked))?;
    let value = read_value(payload, most, &compact).ok_or(Error::refused("Bad data format"))?;
    store.with(args.word(1), now, |slot| {
        if !options.replace && slot.value().is_some() {
            return Err(Error::BusyKey);
        }
        if deadline <= now {
            // It would be dead at once: what was there goes, and nothing comes.
            slot.admits()?;
            if slot.remove() {
                slot.tell(Class::GENERIC, "del");
            }
            return Ok(());
        }
        match value {
            Restored::String(bytes) => slot.put_bytes(&bytes, deadline)?,
            Restored::Object(object) => slot.put_object(object, deadline)?,
        }
        if let Some(access) = options.access {
            slot.set_access(access);
        }
        slot.tell(Class::GENERIC, "restore");
        Ok(())
    })?;
    ctx.reply.ok();
    Ok(())
}
