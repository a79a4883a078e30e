//! Replication, which is not here: answered as by a server that has no replicas and waits for none.

use super::client;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Spec};
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Server, ..Spec::BASE };
const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE);
const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);
const SYNC: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING).and(Flags::NO_MULTI);

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "FAILOVER",
        run: failover,
        arity: AtLeast(1),
        flags: ADMIN,
        usage: "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        since: "6.2.0",
        summary: "Refuses to hand over to a replica: there is none.",
        ..ROW
    },
    Spec {
        name: "PSYNC",
        run: no_replicas,
        arity: AtLeast(3),
        flags: SYNC,
        usage: "replicationid offset [FAILOVER]",
        since: "2.8.0",
        summary: "Refuses a replica: data is not sent to others.",
        ..ROW
    },
    Spec {
        name: "REPLCONF",
        run: no_replicas,
        arity: AtLeast(1),
        flags: ADMIN.and(Flags::LOADING).and(Flags::ALLOW_BUSY),
        usage: "[option value [option value ...]]",
        since: "3.0.0",
        summary: "Refuses a replica: data is not sent to others.",
        ..ROW
    },
    Spec {
        name: "REPLICAOF",
        run: replica_of,
        arity: Exactly(3),
        flags: ADMIN.and(Flags::NO_ASYNC_LOADING),
        usage: "<host port | NO ONE>",
        since: "5.0.0",
        summary: "Keeps the server a master; it cannot be a replica.",
        ..ROW
    },
    Spec {
        name: "ROLE",
        run: role,
        arity: Exactly(1),
        flags: Flags::NOSCRIPT.and(ANYTIME).and(Flags::FAST).and(Flags::ADMIN_CATEGORY),
        since: "2.8.12",
        summary: "Returns the replication role.",
        ..ROW
    },
    Spec {
        name: "SLAVEOF",
        run: replica_of,
        arity: Exactly(3),
        flags: ADMIN.and(Flags::NO_ASYNC_LOADING),
        usage: "<host port | NO ONE>",
        summary: "Keeps the server a master; it cannot be a replica.",
        ..ROW
    },
    Spec {
        name: "SYNC",
        run: no_replicas,
        arity: Exactly(1),
        flags: SYNC,
        summary: "Refuses a replica: data is not sent to others.",
        ..ROW
    },
    Spec {
        name: "WAIT",
        run: wait,
        arity: Exactly(3),
        flags: Flags::NOSCRIPT.and(Flags::CONNECTION),
        usage: "numreplicas timeout",
        since: "3.0.0",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        summary: "Returns the number of replicas that have acknowledged earlier writes: none.",
        group: Group::Generic,
        ..ROW
    },
    Spec {
        name: "WAITAOF",
        run: wait_aof,
        arity: Exactly(4),
        flags: Flags::NOSCRIPT.and(Flags::CONNECTION),
        usage: "numlocal numreplicas timeout",
        since: "7.2.0",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        summary: "Returns the number of append-only files that have earlier writes: none.",
        group: Group::Generic,
        ..ROW
    },
];

fn role(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.array(3);
    ctx.reply.bulk(b"master");
    ctx.reply.int(0);
    ctx.reply.array(0);
    Ok(())
}

fn replica_of(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if !(args.is(1, "NO") && args.is(2, "ONE")) {
        return Err(Error::refused("this server cannot be a replica: it keeps no copy of another's data"));
    }
    ctx.reply.ok();
    Ok(())
}

fn wait(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    args.int(1)?;
    client::timeout(args, 2)?;
    // Without replicas the answer is known, and waiting would not change it.
    ctx.reply.int(0);
    Ok(())
}

fn wait_aof(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let local = args.int(1)?;
    if !(0..=1).contains(&local) {
        return Err(Error::refused("value is out of range, value must between 0 and 1"));
    }
    if args.int(2)? < 0 {
        return Err(Error::refused("value is out of range, must be positive"));
    }
    client::timeout(args, 3)?;
    if local > 0 {
        return Err(Error::refused("WAITAOF cannot be used when numlocal is set but appendonly is disabled."));
    }
    ctx.reply.array(2);
    ctx.reply.int(0);
    ctx.reply.int(0);
    Ok(())
}

fn failover(_: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let [mut aborts, mut names, mut times, mut forces] = [false; 4];
    let mut at = 1;
    while at < args.len() {
        if args.is(at, "TIMEOUT") && at + 1 < args.len() && !times {
            if args.int(at + 1)? <= 0 {
                return Err(Error::refused("FAILOVER timeout must be greater than 0"));
            }
            times = true;
            at += 2;
        } else if args.is(at, "ABORT") && args.len() == 2 {
            aborts = true;
            at += 1;
        } else if args.is(at, "TO") && at + 2 < args.len() && !names {
            args.int(at + 2)?;
            names = true;
            at += 3;
        } else if args.is(at, "FORCE") && !forces {
            forces = true;
            at += 1;
        } else {
            return Err(Error::Syntax);
        }
    }
    Err(match (aborts, forces && !(names && times)) {
        (true, _) => Error::refused("No failover in progress."),
        (_, true) => Error::refused("FAILOVER with force option requires both a timeout and target HOST and IP."),
        _ => Error::refused("FAILOVER requires connected replicas."),
    })
}

fn no_replicas(_: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    Err(Error::refused("this server has no replicas: it does not send its data to others"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;

    #[test]
    fn there_are_no_replicas() {
        let mut t = Transcript::start();
        t.say("ROLE").hears("*3 $6 master :0 *0");
        t.say("WAIT 1 100").hears(":0");
        t.say("WAIT x 1").hears("-ERR value is not an integer or out of range");
        t.say("WAIT 1 -1").hears("-ERR timeout is negative");
        t.say("WAIT 0 x").hears("-ERR timeout is not an integer or out of range");
        t.say("REPLICAOF no one").hears("+OK");
        t.say("SLAVEOF NO ONE").hears("+OK");
        t.say("REPLICAOF localhost 6379").hears_start("-ERR this server cannot be a replica");
        t.say("WAITAOF 0 1 100").hears("*2 :0 :0");
        t.say("WAITAOF 1 0 0").hears("-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
        t.say("WAITAOF 2 0 0").hears("-ERR value is out of range, value must between 0 and 1");
        t.say("WAITAOF 0 -1 0").hears("-ERR value is out of range, must be positive");
        t.say("WAITAOF 0 0 -1").hears("-ERR timeout is negative");
        t.say("FAILOVER").hears("-ERR FAILOVER requires connected replicas.");
        t.say("FAILOVER TO localhost 6379 TIMEOUT 10").hears("-ERR FAILOVER requires connected replicas.");
        t.say("FAILOVER ABORT").hears("-ERR No failover in progress.");
        t.say("FAILOVER TIMEOUT 0").hears("-ERR FAILOVER timeout must be greater than 0");
        t.say("FAILOVER FORCE")
            .hears("-ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
        t.say("FAILOVER TO localhost").hears("-ERR syntax error");
        t.say("FAILOVER ABORT TIMEOUT 10").hears("-ERR syntax error");
        for line in ["SYNC", "PSYNC ? -1", "REPLCONF listening-port 6380", "REPLCONF"] {
            t.say(line).hears("-ERR this server has no replicas: it does not send its data to others");
        }
    }
}
