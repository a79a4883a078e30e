//! The server as a whole: exchanging databases, watching it; and what is answered for those
//! who ask about modules, none of which are here.

use super::blocking;
use super::help;
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Spec, connection};
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Server, ..Spec::BASE };
const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE);
const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "DBSIZE",
        run: db_size,
        arity: Exactly(1),
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::KEYSPACE),
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        summary: "Returns the number of keys in the database.",
        ..ROW
    },
    Spec {
        name: "LOLWUT",
        run: lolwut,
        arity: AtLeast(1),
        flags: Flags::READONLY.and(Flags::FAST),
        usage: "[VERSION version]",
        since: "5.0.0",
        summary: "Displays the version.",
        ..ROW
    },
    Spec {
        name: "MONITOR",
        run: monitor,
        arity: Exactly(1),
        flags: ADMIN.and(Flags::LOADING),
        summary: "Listens for all requests received by the server in real-time.",
        ..ROW
    },
    Spec {
        name: "SWAPDB",
        run: swap_db,
        arity: Exactly(3),
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::KEYSPACE).and(Flags::DANGEROUS),
        usage: "index1 index2",
        since: "4.0.0",
        summary: "Swaps two databases.",
        ..ROW
    },
    Spec {
        name: "TIME",
        run: time,
        arity: Exactly(1),
        flags: ANYTIME.and(Flags::FAST),
        since: "2.6.0",
        tips: tips::VARIES,
        summary: "Returns the server time.",
        ..ROW
    },
    Spec {
        name: "MODULE",
        arity: AtLeast(2),
        since: "4.0.0",
        cost: "Depends on subcommand.",
        summary: "A container for module commands.",
        subs: &[
            Spec { name: "HELP", run: |ctx, _| help::answer(ctx, "MODULE", MODULE_HELP), since: "5.0.0", ..SUB_HELP },
            Spec {
                name: "LIST",
                run: nothing,
                arity: Exactly(2),
                flags: Flags::ADMIN.and(Flags::NOSCRIPT),
                since: "4.0.0",
                tips: tips::ORDER_VARIES,
                summary: "Returns all loaded modules: none.",
                ..ROW
            },
        ],
        ..ROW
    },
];

const SUB_HELP: Spec =
    Spec { arity: Exactly(2), flags: ANYTIME, summary: "Returns helpful text about the different subcommands.", ..ROW };
const MODULE_HELP: &[&str] = &["LIST", "    Return a list of loaded modules."];

fn db_size(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.count(ctx.store().len());
    Ok(())
}

fn swap_db(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let index = |at, refusal: Error| {
        let index = args.int_or(at, refusal.clone())?;
        i32::try_from(index).map(i64::from).map_err(|_| refusal)
    };
    let one = index(1, Error::refused("invalid first DB index"))?;
    let other = index(2, Error::refused("invalid second DB index"))?;
    let (one, other) = (connection::database(ctx.engine, one)?, connection::database(ctx.engine, other)?);
    ctx.engine.alone(ctx.client.worker(), ctx.now, |now| blocking::swap(ctx.engine, one, other, now))?;
    ctx.reply.ok();
    Ok(())
}

fn time(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let micros = ctx.engine.clock.wall_micros();
    ctx.reply.array(2);
    ctx.reply.bulk_display(micros / 1_000_000);
    ctx.reply.bulk_display(micros % 1_000_000);
    Ok(())
}

fn lolwut(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if args.len() > 2 && args.is(1, "VERSION") {
        args.int(2)?;
    }
    ctx.reply.verbatim("txt", &format!("Redis ver. {}\n", connection::REDIS_VERSION));
    Ok(())
}

fn monitor(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    if ctx.client.never_waits {
        return Err(Error::refused("MONITOR isn't allowed for DENY BLOCKING client"));
    }
    ctx.engine.clients.set_monitor(&ctx.client.peer, true);
    ctx.reply.ok();
    Ok(())
}

/// An empty list.
fn nothing(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.array(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::tests::Transcript;
    use crate::clock::Ttl;

    #[test]
    fn databases_change_places() {
        let mut t = Transcript::start();
        t.fill(0, 3);
        t.say("SWAPDB 0 1").hears("+OK");
        t.say("DBSIZE").hears(":0");
        t.say("SELECT 1").hears("+OK");
        t.say("DBSIZE").hears(":3");
        t.say("INFO keyspace").hears("$44 # Keyspace db1:keys=3,expires=3,avg_ttl=0 ");
        t.say("SWAPDB 0 0").hears("+OK");
        t.say("SWAPDB x 1").hears("-ERR invalid first DB index");
        t.say("SWAPDB 1 x").hears("-ERR invalid second DB index");
        t.say("SWAPDB 2147483648 1").hears("-ERR invalid first DB index");
        t.say("SWAPDB 0 9223372036854775807").hears("-ERR invalid second DB index");
        t.say("SWAPDB 1 77").hears("-ERR DB index is out of range");
    }

    #[test]
    fn the_wall_clock_is_told() {
        let mut t = Transcript::start();
        t.wait(Ttl(1234));
        t.say("TIME").hears("*2 $10 1700000001 $6 234000");
    }

    #[test]
    fn what_is_not_here_is_answered_as_by_a_server_that_does_not_use_it() {
        let mut t = Transcript::start();
        t.say("MODULE LIST").hears("*0");
        t.say("MODULE HELP").hears_start("*5 +MODULE <subcommand> ");
        t.say("MODULE LOAD x").hears("-ERR unknown subcommand 'LOAD'. Try MODULE HELP.");
        t.say("LOLWUT").hears("$17 Redis ver. 7.2.5\n");
        t.say("LOLWUT VERSION x").hears("-ERR value is not an integer or out of range");
    }

    #[test]
    fn a_client_may_end_the_server_and_hears_nothing() {
        let mut t = Transcript::start();
        t.say("SHUTDOWN nosuch").hears("-ERR syntax error");
        t.say("SHUTDOWN SAVE NOSAVE").hears("-ERR syntax error");
        t.say("SHUTDOWN ABORT NOW").hears("-ERR syntax error");
        t.say("SHUTDOWN ABORT").hears("-ERR No shutdown in progress.");
        assert!(!t.engine.is_shutting_down(Waker::noop()));
        t.say("SHUTDOWN NOSAVE").hears("");
        assert_eq!(t.client.flow, super::super::Flow::Close);
        assert!(t.engine.is_shutting_down(Waker::noop()));
    }

    #[test]
    fn a_monitor_sees_what_others_do_but_not_what_administrators_do() {
        let mut t = Transcript::start();
        let mut other = t.enter();
        t.say("MONITOR").hears("+OK");
        assert_eq!(t.client.peer.flags(), "O");
        t.say_as(&mut other, "SELECT 9").hears("+OK");
        t.say_as(&mut other, r#"ECHO "a\x00\"b""#).hears_start("$4 ");
        t.say_as(&mut other, "CONFIG SET requirepass sesame").hears("+OK");
        t.say_as(&mut other, "CONFIG SET requirepass ''").hears("+OK");
        t.say_as(&mut other, "HELLO 2 AUTH default sesame").hears_start("*14 ");
        t.say_as(&mut other, "NOSUCH").hears_start("-ERR ");
        let mut seen = Vec::new();
        t.client.peer.collect(&mut seen);
        assert_eq!(
            String::from_utf8_lossy(&seen),
            "+1700000000.000000 [0 127.0.0.1:50001] \"SELECT\" \"9\"\r\n\
             +1700000000.000000 [9 127.0.0.1:50001] \"ECHO\" \"a\\x00\\\"b\"\r\n\
             +1700000000.000000 [9 127.0.0.1:50001] \"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\"\r\n"
        );
        t.say("RESET").hears("+RESET");
        assert!(!t.engine.clients.has_monitors());
    }
}
