//! FLUSHALL and FLUSHDB: databases are emptied at once to the eyes of all, and their memory is freed little by little.
//!
//! What must stay has to be looked up, as a flush signs nobody in again. Where that is much it is prepared in turns. In a
//! transaction or a script it is done in one go whatever it takes.

use super::words::Words as _;
use super::{Arity, Client, Ctx, Flags, Group, Spec, spec::tips};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::resp::Args;
use crate::store::{Clearing, Lot, Store};

use Arity::AtLeast;

const ROW: Spec = Spec { group: Group::Server, ..Spec::BASE };
const FLAGS: Flags = Flags::WRITE.and(Flags::KEYSPACE).and(Flags::DANGEROUS);

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "FLUSHALL",
        run: flush_all,
        arity: AtLeast(1),
        flags: FLAGS,
        usage: "[ASYNC | SYNC]",
        cost: "O(N) where N is the total number of keys in all databases",
        tips: tips::ALL_SHARDS,
        summary: "Removes all keys from all databases.",
        ..ROW
    },
    Spec {
        name: "FLUSHDB",
        run: flush_db,
        arity: AtLeast(1),
        flags: FLAGS,
        usage: "[ASYNC | SYNC]",
        cost: "O(N) where N is the number of keys in the selected database",
        tips: tips::ALL_SHARDS,
        summary: "Removes all keys from the current database.",
        ..ROW
    },
];

/// Aliases and fences, which stay, of all databases that are emptied without preparing it: they take less than a millisecond.
const STAY_AT_ONCE: usize = 512;

/// Pieces of memory that are freed in a turn, in some 50 to 200 µs.
const FREED_IN_TURN: usize = 256;

/// A flush that others interrupt.
pub(super) struct Flush {
    /// Databases that are yet to be emptied, and how many of them are prepared.
    stores: Vec<Clearing>,
    prepared: usize,
    lot: Lot,
}

impl Flush {
    fn new(stores: &[Store], is_lazy: bool) -> Flush {
        let lot = if is_lazy { Lot::lazy() } else { Lot::default() };
        Flush { stores: stores.iter().map(Clearing::new).collect(), prepared: 0, lot }
    }

    /// Prepares some of it; `false` when it is best done now.
    fn prepare(&mut self) -> bool {
        let Some(store) = self.stores.get_mut(self.prepared) else { return false };
        self.prepared += usize::from(!store.prepare());
        true
    }

    /// Empties the databases.
    pub fn finish(&mut self, engine: &Engine) {
        for store in self.stores.drain(..) {
            store.finish(&self.lot);
        }
        engine.tell_flushed();
    }
}

/// Whether a flush is to be lazy: asked for, or set for those that say nothing.
fn is_lazy(ctx: &Ctx<'_>, args: Args<'_>) -> Result<bool> {
    match args.len() {
        1 => Ok(ctx.engine.with_config(|config| config.lazy_flush)),
        2 if args.is(1, "ASYNC") => Ok(true),
        2 if args.is(1, "SYNC") => Ok(false),
        _ => Err(Error::Syntax),
    }
}

fn flush_db(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let stores = |ctx: &Ctx<'_>| vec![ctx.store().clone()];
    flush(ctx, args, stores)
}

fn flush_all(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let stores = |ctx: &Ctx<'_>| ctx.engine.keyspaces().cloned().collect();
    flush(ctx, args, stores)
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>, stores: impl FnOnce(&Ctx<'_>) -> Vec<Store>) -> Result<()> {
    let (engine, worker) = (ctx.engine, ctx.client.worker());
    let is_lazy = is_lazy(ctx, args)?;
    let (mut flush, is_short) = match ctx.client.take_flush() {
        Some(flush) => (flush, false),
        None => {
            let stores = stores(ctx);
            let stay = stores.iter().map(Store::hidden).sum::<usize>();
            (Flush::new(&stores, is_lazy), stay <= STAY_AT_ONCE || ctx.client.never_waits)
        }
    };
    let mut has_more = !flush.stores.is_empty() && !is_short && flush.prepare();
    if !has_more && !flush.stores.is_empty() {
        let is_done = engine.alone(worker, ctx.now, |_| flush.finish(engine));
        // What was prepared is given up with the request.
        is_done.inspect_err(|_| ctx.client.end_turns())?;
    }
    if !has_more && !is_lazy {
        has_more = engine.records().free_some(FREED_IN_TURN) && !flush.lot.is_freed() && !ctx.client.never_waits;
    }
    if has_more {
        ctx.client.keep_for_later(engine, |begun| begun.flush = Some(flush));
        return Ok(());
    }
    ctx.client.end_turns();
    ctx.reply.ok();
    Ok(())
}

impl Client {
    fn take_flush(&mut self) -> Option<Flush> {
        self.begun.as_mut().and_then(|begun| begun.flush.take())
    }

    /// Ends the flush of a client that leaves, as it has asked for it all the same; `false` if a script must end first.
    #[cfg_attr(doc, doc(hidden))]
    pub fn finish_flush(&mut self, engine: &Engine) -> bool {
        let Some(mut flush) = self.take_flush() else { return true };
        let is_done = engine.alone(self.worker(), engine.clock.now(), |_| flush.finish(engine)).is_ok();
        if !is_done && let Some(begun) = &mut self.begun {
            begun.flush = Some(flush);
        }
        is_done
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use super::super::{Flow, run};
    use super::STAY_AT_ONCE;
    use crate::resp::Words;
    use crate::store::Look;

    #[test]
    fn databases_are_emptied_one_or_all() {
        let mut t = Transcript::start();
        t.fill(0, 3);
        t.fill(5, 2);
        t.say("DBSIZE").hears(":3");
        t.say("FLUSHDB").hears("+OK");
        t.say("DBSIZE").hears(":0");
        assert_eq!(t.engine.store(5).len(), 2);
        t.say("FLUSHALL SYNC").hears("+OK");
        assert!(t.engine.store(5).is_empty());
        t.say("FLUSHALL nosuch").hears("-ERR syntax error");
        t.say("FLUSHALL ASYNC SYNC").hears("-ERR syntax error");
        t.say("DBSIZE x").hears("-ERR wrong number of arguments for 'dbsize' command");
    }

    #[test]
    fn a_lazy_flush_is_freed_elsewhere_and_counted() {
        let mut t = Transcript::start();
        t.fill(0, 50);
        let filled = t.engine.used_memory();
        t.say("FLUSHDB ASYNC").hears("+OK");
        assert_eq!(t.engine.lazily_freed(), (50, 0));
        assert!(t.engine.used_memory() >= filled, "until it is freed it is in use");
        t.sweep();
        assert_eq!(t.engine.lazily_freed(), (0, 50));
        assert!(t.engine.used_memory() < filled);
        t.say("CONFIG RESETSTAT").hears("+OK");
        assert_eq!(t.engine.lazily_freed(), (0, 0));
    }

    /// Runs one turn of a request.
    fn turn(t: &mut Transcript, request: &[&str], out: &mut Vec<u8>) -> Flow {
        let mut words = Words::new();
        request.iter().for_each(|word| words.push(word.as_bytes()));
        run(&t.engine, &mut t.client, words.args(), None, t.clock.now(), out)
    }

    /// So many sign-outs that they are not looked up in one go.
    fn sign_out_many(t: &mut Transcript) {
        for number in 0..=STAY_AT_ONCE {
            t.say(&format!("DEL auth:session:{number}")).hears(":0");
        }
    }

    fn is_signed_out(t: &Transcript) -> bool {
        let is_fenced = |number| {
            let key = format!("auth:session:{number}");
            matches!(t.engine.store(0).look(key.as_bytes(), t.clock.now(), |_| ()), Look::Fenced(_))
        };
        (0..=STAY_AT_ONCE).all(is_fenced)
    }

    #[test]
    fn where_much_must_stay_a_flush_goes_in_turns() {
        let mut t = Transcript::start();
        t.fill(0, 5_000);
        t.fill(3, 9);
        sign_out_many(&mut t);
        let mut other = t.enter();
        let (mut out, mut turns) = (Vec::new(), 1);
        while turn(&mut t, &["FLUSHALL", "ASYNC"], &mut out) == Flow::Again {
            turns += 1;
            t.say_as(&mut other, "SET meanwhile v").hears("+OK");
            t.say_as(&mut other, "DBSIZE").hears(":5001");
            t.say_as(&mut other, &format!("DEL auth:session:{turns} auth:session:new:{turns}")).hears(":0");
            assert!(is_signed_out(&t));
        }
        assert!(turns > STAY_AT_ONCE / 48, "{turns} turns");
        assert_eq!(out, b"+OK\r\n");
        assert!(t.client.begun.is_none());
        t.say("DBSIZE").hears(":0");
        assert!(t.engine.store(3).is_empty() && is_signed_out(&t));
        assert!((2..=turns).all(|turn| t.say(&format!("SET auth:session:new:{turn} v")).text().starts_with("-FENCED")));

        // In a transaction it is one piece.
        t.fill(0, 5_000);
        t.say("MULTI");
        t.say("FLUSHDB");
        t.say("DBSIZE");
        t.say("EXEC").hears("*2 +OK :0");
        assert!(is_signed_out(&t));

        // Who leaves has asked for it all the same.
        t.fill(0, 5_000);
        assert_eq!(turn(&mut t, &["FLUSHALL"], &mut out), Flow::Again);
        assert!(!t.engine.store(0).is_empty());
        t.client.forget_transaction(&t.engine);
        assert!(t.engine.store(0).is_empty() && is_signed_out(&t));
    }

    #[test]
    fn a_flush_that_a_script_keeps_out_is_refused_and_leaves_nothing_begun() {
        let mut t = Transcript::start();
        t.fill(0, 5_000);
        sign_out_many(&mut t);
        let mut out = Vec::new();
        assert_eq!(turn(&mut t, &["FLUSHALL"], &mut out), Flow::Again);
        // As while a script of this worker rests, so that others hear that it takes long.
        t.engine.set_resting(0, true);
        while turn(&mut t, &["FLUSHALL"], &mut out) == Flow::Again {}
        t.engine.set_resting(0, false);
        assert!(out.starts_with(b"-BUSY "), "{}", String::from_utf8_lossy(&out));
        assert!(t.client.begun.is_none());
        t.say("DBSIZE").hears(":5000");
        t.say("FLUSHALL").hears("+OK");
        t.say("DBSIZE").hears(":0");
    }

    #[test]
    fn a_flush_that_is_not_lazy_is_answered_when_it_is_freed() {
        let mut t = Transcript::start();
        let empty = t.engine.used_memory();
        let members: Vec<String> = (0..20_000).map(|number| format!("member:{number}")).collect();
        for key in ["a", "b"] {
            let words = ["SADD", key].into_iter().chain(members.iter().map(String::as_str));
            t.words(&words.map(str::as_bytes).collect::<Vec<_>>()).hears(":20000");
        }
        let (mut out, mut turns) = (Vec::new(), 1);
        while turn(&mut t, &["FLUSHALL", "SYNC"], &mut out) == Flow::Again {
            turns += 1;
            assert!(t.engine.store(0).is_empty(), "it is empty from the first turn on");
        }
        assert!(turns > 20, "{turns} turns");
        assert_eq!(out, b"+OK\r\n");
        assert!(t.engine.used_memory() < empty + 40_000);
        assert_eq!(t.engine.lazily_freed(), (0, 0));
    }
}
