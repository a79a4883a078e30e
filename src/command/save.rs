//! Snapshots by request, and the end of the server, which may begin with one. Writing them is the keeper's affair.

use super::words::Words as _;
use super::{Arity, Ctx, Flags, Flow, Group, Spec};
use crate::clock::Ttl;
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Server, ..Spec::BASE };
const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT);

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "BGSAVE",
        run: save_in_background,
        arity: AtLeast(1),
        flags: ADMIN.and(Flags::NO_ASYNC_LOADING),
        usage: "[SCHEDULE]",
        cost: "O(1)",
        summary: "Has a snapshot of all databases written while everybody goes on.",
        ..ROW
    },
    Spec {
        name: "LASTSAVE",
        run: last_save,
        arity: Exactly(1),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::ADMIN_CATEGORY),
        cost: "O(1)",
        tips: super::spec::tips::VARIES,
        summary: "Returns the Unix time of the last good snapshot.",
        ..ROW
    },
    Spec {
        name: "SAVE",
        run: save,
        arity: Exactly(1),
        flags: ADMIN.and(Flags::NO_ASYNC_LOADING).and(Flags::NO_MULTI),
        cost: "O(N) where N is the total number of keys in all databases",
        summary: "Writes a snapshot of all databases, and answers when it is on disk.",
        ..ROW
    },
    Spec {
        name: "SHUTDOWN",
        run: shut_down,
        arity: AtLeast(1),
        flags: ADMIN.and(Flags::STALE).and(Flags::LOADING).and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY),
        usage: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        cost: "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
        summary: "Shuts down the server, after a snapshot if save is set or asked for.",
        ..ROW
    },
];

/// How often who waits for its snapshot looks whether it is there.
const LOOK_EACH: Ttl = Ttl(10);

/// The client waits, and nobody else does.
fn save(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let engine = ctx.engine;
    let before = match ctx.client.begun.as_mut().and_then(|begun| begun.save.take()) {
        Some(before) => before,
        None => {
            let saves = engine.snapshots.standing().saves;
            engine.snapshots.keeper()?.begin(engine)?;
            saves
        }
    };
    let standing = engine.snapshots.standing().clone();
    let is_there = standing.saves > before;
    if !is_there && standing.began.is_some() {
        ctx.client.keep_for_later(engine, |begun| begun.save = Some(before));
        ctx.client.flow = Flow::Block(engine.clock.now() + LOOK_EACH);
        return Ok(());
    }
    ctx.client.end_turns();
    match is_there {
        true => ctx.reply.ok(),
        false => return Err(Error::Refused(standing.why.into_string().into())),
    }
    Ok(())
}

fn save_in_background(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match args.len() {
        1 => {}
        2 if args.is(1, "SCHEDULE") => {}
        _ => return Err(Error::Syntax),
    }
    ctx.engine.snapshots.keeper()?.begin(ctx.engine)?;
    ctx.reply.simple("Background saving started");
    Ok(())
}

fn last_save(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let last = ctx.engine.snapshots.standing().last_good;
    ctx.reply.int(last as i64);
    Ok(())
}

fn shut_down(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let [mut save, mut nosave, mut now, mut force, mut abort] = [false; 5];
    for at in 1..args.len() {
        match args.word(at).to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"now" => now = true,
            b"force" => force = true,
            b"abort" => abort = true,
            _ => return Err(Error::Syntax),
        }
    }
    if save && nosave || abort && (save || nosave || now || force) {
        return Err(Error::Syntax);
    }
    if abort {
        // A server that is asked to end cannot be asked to stay: there is nothing to wait for in between.
        return Err(Error::refused("No shutdown in progress."));
    }
    let engine = ctx.engine;
    let asked = (save || nosave).then_some(save);
    let before = std::mem::replace(&mut engine.snapshots.standing().at_end, asked);
    if engine.saves_at_end()
        && let Ok(keeper) = engine.snapshots.keeper()
    {
        // Now, while it can still be said that it failed. What changes from here on is written at the end.
        match keeper.save(engine) {
            Ok(()) => engine.snapshots.standing().settled = true,
            Err(_) if force => {}
            Err(_) => {
                engine.snapshots.standing().at_end = before;
                return Err(Error::refused("Errors trying to SHUTDOWN. Check logs."));
            }
        }
    }
    tracing::info!(client = ctx.client.peer.id, addr = %ctx.client.peer.addr, "shut down by a client");
    engine.shut_down();
    ctx.client.flow = Flow::Close;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use crate::engine::{Engine, Keeper};
    use crate::error::{Error, Result};

    /// Whose disk takes nothing.
    struct Broken;

    impl Keeper for Broken {
        fn save(&self, _: &Engine) -> Result<()> {
            Err(Error::refused("no room"))
        }
        fn begin(&self, _: &Engine) -> Result<()> {
            Ok(())
        }
        fn reload(&self, _: &Engine) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_shutdown_that_is_refused_changes_nothing() {
        let mut t = Transcript::with(&[("save", "")]);
        t.engine.snapshots.set_keeper(Broken);
        t.say("SHUTDOWN SAVE").hears("-ERR Errors trying to SHUTDOWN. Check logs.");
        assert!(!t.engine.saves_at_end(), "the end that comes later was told nothing");
        t.engine.configure(&[("save", "3600 1")], true).expect("known");
        t.engine.snapshots.standing().at_end = Some(true);
        t.say("SHUTDOWN").hears("-ERR Errors trying to SHUTDOWN. Check logs.");
        assert_eq!(t.engine.snapshots.standing().at_end, Some(true));
        t.say("SHUTDOWN NOSAVE");
        assert!(!t.engine.saves_at_end());
    }

    #[test]
    fn without_a_disk_there_is_nothing_to_ask_for() {
        let mut t = Transcript::start();
        t.say("SAVE").hears("-ERR there is no disk here that a snapshot could be written to");
        t.say("BGSAVE SCHEDULE").hears("-ERR there is no disk here that a snapshot could be written to");
        t.say("BGSAVE now").hears("-ERR syntax error");
        t.say("LASTSAVE").hears(":1700000000");
        t.say("MULTI").hears("+OK");
        t.say("SAVE").hears("-ERR Command not allowed inside a transaction");
        t.say("EXEC").hears_start("-EXECABORT ");
    }

    #[test]
    fn writes_are_refused_while_they_cannot_be_kept_and_reads_are_not() {
        let mut t = Transcript::with(&[("save", "3600 1"), ("stop-writes-on-bgsave-error", "yes")]);
        t.engine.begin_snapshot();
        t.engine.end_snapshot(false, false);
        t.say("SET k v").hears_start("-MISCONF Redis is configured to save RDB snapshots");
        t.say("GET k").hears("$-1");
        t.say("CONFIG SET stop-writes-on-bgsave-error no").hears("+OK");
        t.say("SET k v").hears("+OK");
    }
}
