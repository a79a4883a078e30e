//! SLOWLOG: commands that took long.

use super::help;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Spec};
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec {
    flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
    group: Group::Server,
    since: "2.2.12",
    ..Spec::BASE
};

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "SLOWLOG",
    arity: AtLeast(2),
    since: "2.2.12",
    cost: "Depends on subcommand.",
    summary: "A container for slow log commands.",
    group: Group::Server,
    subs: SUBCOMMANDS,
    ..Spec::BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "GET",
        run: get,
        arity: AtLeast(2),
        usage: "[count]",
        cost: "O(N) where N is the number of entries returned",
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        summary: "Returns the slow log's entries.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "SLOWLOG", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "6.2.0",
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "LEN",
        run: len,
        arity: Exactly(2),
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        summary: "Returns the number of entries in the slow log.",
        ..ROW
    },
    Spec {
        name: "RESET",
        run: reset,
        arity: Exactly(2),
        cost: "O(N) where N is the number of entries in the slowlog",
        tips: super::spec::tips::ALL_NODES,
        summary: "Clears all entries from the slow log.",
        ..ROW
    },
];

const HELP: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

/// How many SLOWLOG GET tells when it is not told.
const COUNT_DEFAULT: usize = 10;

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    const REFUSED: Error = Error::refused("count should be greater than or equal to -1");
    let count = match args.len() {
        2 => COUNT_DEFAULT,
        3 => match args.int_or(2, REFUSED)? {
            -1 => usize::MAX,
            count => usize::try_from(count).map_err(|_| REFUSED)?,
        },
        _ => return Err(super::wrong_count("SLOWLOG", args.word(1))),
    };
    let slow = ctx.engine.slowlog.newest(count);
    let reply = &mut ctx.reply;
    reply.array(slow.len());
    for entry in slow {
        reply.array(6);
        reply.int(entry.id as i64);
        reply.int(entry.at as i64);
        reply.int(entry.micros as i64);
        reply.array(entry.words.len());
        entry.words.iter().for_each(|word| reply.bulk(word));
        reply.bulk(entry.addr.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(())
}

fn len(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.count(ctx.engine.slowlog.len());
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.engine.slowlog.clear();
    ctx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;

    #[test]
    fn what_takes_long_is_kept_newest_first() {
        let mut t = Transcript::with(&[("enable-debug-command", "yes"), ("slowlog-log-slower-than", "100000")]);
        t.say("PING").hears("+PONG");
        t.say("CLIENT SETNAME foobar").hears("+OK");
        t.say("DEBUG SLEEP 0.2").hears("+OK");
        t.say("DEBUG SLEEP 0.3").hears("+OK");
        t.say("SLOWLOG LEN").hears(":2");
        t.say("SLOWLOG GET 1")
            .hears("*1 *6 :1 :1700000000 :300000 *3 $5 DEBUG $5 SLEEP $3 0.3 $15 127.0.0.1:50000 $6 foobar");
        t.say("SLOWLOG GET").hears_start("*2 *6 :1 ");
        t.say("SLOWLOG GET -1").hears_start("*2 ");
        t.say("SLOWLOG GET 0").hears("*0");
        t.say("CONFIG SET slowlog-max-len 1").hears("+OK");
        t.say("SLOWLOG LEN").hears(":1");
        t.say("SLOWLOG RESET").hears("+OK");
        t.say("SLOWLOG GET").hears("*0");
    }

    #[test]
    fn long_requests_are_cut() {
        let mut t = Transcript::with(&[("slowlog-log-slower-than", "0")]);
        let long = "A".repeat(129);
        t.say(&format!("COMMAND INFO {long} {}", "x ".repeat(40)));
        let text = t.say("SLOWLOG GET 1").text();
        assert!(text.contains(&format!("{}... (1 more bytes)", "A".repeat(128))), "{text}");
        assert!(text.contains("*32 ") && text.contains("... (12 more arguments)"), "{text}");
    }

    #[test]
    fn passwords_are_not_kept() {
        let mut t = Transcript::with(&[("slowlog-log-slower-than", "0")]);
        t.say("AUTH pa55word").hears_start("-ERR AUTH <password> called without any password");
        t.say("HELLO 2 AUTH default pa55word SETNAME me");
        t.say("CONFIG SET loglevel debug requirepass pa55word masterauth pa55word").hears("+OK");
        let text = t.say("SLOWLOG GET -1").text();
        assert!(!text.contains("pa55word"), "{text}");
        assert!(text.contains("$8 loglevel $5 debug $11 requirepass $10 (redacted) $10 masterauth $10 (redacted)"));
        assert!(text.contains("$5 HELLO $1 2 $4 AUTH $10 (redacted) $10 (redacted) $7 SETNAME $2 me"), "{text}");
    }

    #[test]
    fn refusals_are_redis_own() {
        let mut t = Transcript::start();
        t.say("SLOWLOG GET -2").hears("-ERR count should be greater than or equal to -1");
        t.say("SLOWLOG GET x").hears("-ERR count should be greater than or equal to -1");
        t.say("SLOWLOG GET 1 2")
            .hears("-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.");
        t.say("SLOWLOG LEN 1").hears("-ERR wrong number of arguments for 'slowlog|len' command");
        t.say("SLOWLOG nosuch").hears("-ERR unknown subcommand 'nosuch'. Try SLOWLOG HELP.");
        t.say("SLOWLOG HELP").hears_start("*12 +SLOWLOG <subcommand> ");
    }
}
