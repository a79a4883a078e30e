//! Clusters, which are not here: answered as by a server that is not part of one.

use super::spec::tips;
use super::{Arity, Ctx, Flags, Group, Spec};
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);
const READ_MODE: Flags = ANYTIME.and(Flags::FAST).and(Flags::CONNECTION);

const CLUSTER: Spec = Spec {
    run: no_cluster,
    arity: Exactly(2),
    flags: Flags::STALE,
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Says that this server is no cluster.",
    ..Spec::BASE
};
const ADMIN: Spec = Spec { flags: Flags::STALE.and(Flags::ADMIN), ..CLUSTER };
const CHANGE: Spec = Spec { flags: ADMIN.flags.and(Flags::NO_ASYNC_LOADING), ..CLUSTER };

pub(super) const COMMANDS: &[Spec] = &[
    Spec { name: "ASKING", arity: Exactly(1), flags: Flags::FAST.and(Flags::CONNECTION), ..CLUSTER },
    Spec {
        name: "CLUSTER",
        arity: AtLeast(2),
        flags: Flags::NONE,
        cost: "Depends on subcommand.",
        summary: "A container for Redis Cluster commands.",
        subs: SUBCOMMANDS,
        ..CLUSTER
    },
    Spec { name: "READONLY", arity: Exactly(1), flags: READ_MODE, ..CLUSTER },
    Spec { name: "READWRITE", arity: Exactly(1), flags: READ_MODE, ..CLUSTER },
];

const SUBCOMMANDS: &[Spec] = &[
    Spec { name: "ADDSLOTS", arity: AtLeast(3), usage: "slot [slot ...]", ..CHANGE },
    Spec {
        name: "ADDSLOTSRANGE",
        arity: AtLeast(4),
        usage: "start-slot end-slot [start-slot end-slot ...]",
        since: "7.0.0",
        ..CHANGE
    },
    Spec { name: "BUMPEPOCH", tips: tips::VARIES, ..CHANGE },
    Spec { name: "COUNT-FAILURE-REPORTS", arity: Exactly(3), usage: "node-id", tips: tips::VARIES, ..ADMIN },
    Spec { name: "COUNTKEYSINSLOT", arity: Exactly(3), usage: "slot", ..CLUSTER },
    Spec { name: "DELSLOTS", arity: AtLeast(3), usage: "slot [slot ...]", ..CHANGE },
    Spec {
        name: "DELSLOTSRANGE",
        arity: AtLeast(4),
        usage: "start-slot end-slot [start-slot end-slot ...]",
        since: "7.0.0",
        ..CHANGE
    },
    Spec { name: "FAILOVER", arity: AtLeast(2), usage: "[FORCE | TAKEOVER]", ..CHANGE },
    Spec { name: "FLUSHSLOTS", ..CHANGE },
    Spec { name: "FORGET", arity: Exactly(3), usage: "node-id", ..CHANGE },
    Spec { name: "GETKEYSINSLOT", arity: Exactly(4), usage: "slot count", tips: tips::VARIES, ..CLUSTER },
    Spec { name: "HELP", flags: ANYTIME, since: "5.0.0", ..CLUSTER },
    Spec { name: "INFO", tips: tips::VARIES, ..CLUSTER },
    Spec { name: "KEYSLOT", arity: Exactly(3), usage: "key", ..CLUSTER },
    Spec { name: "LINKS", since: "7.0.0", tips: tips::VARIES, ..CLUSTER },
    Spec { name: "MEET", arity: AtLeast(4), usage: "ip port [cluster-bus-port]", ..CHANGE },
    Spec { name: "MYID", ..CLUSTER },
    Spec { name: "MYSHARDID", since: "7.2.0", tips: tips::VARIES, ..CLUSTER },
    Spec { name: "NODES", tips: tips::VARIES, ..CLUSTER },
    Spec { name: "REPLICAS", arity: Exactly(3), usage: "node-id", since: "5.0.0", tips: tips::VARIES, ..ADMIN },
    Spec { name: "REPLICATE", arity: Exactly(3), usage: "node-id", ..CHANGE },
    Spec { name: "RESET", arity: AtLeast(2), flags: ADMIN.flags.and(Flags::NOSCRIPT), usage: "[HARD | SOFT]", ..ADMIN },
    Spec { name: "SAVECONFIG", ..CHANGE },
    Spec { name: "SET-CONFIG-EPOCH", arity: Exactly(3), usage: "config-epoch", ..CHANGE },
    Spec {
        name: "SETSLOT",
        arity: AtLeast(4),
        usage: "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
        ..CHANGE
    },
    Spec { name: "SHARDS", since: "7.0.0", tips: tips::VARIES, ..CLUSTER },
    Spec { name: "SLAVES", arity: Exactly(3), usage: "node-id", tips: tips::VARIES, ..ADMIN },
    Spec { name: "SLOTS", tips: tips::VARIES, ..CLUSTER },
];

fn no_cluster(_: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    Err(Error::refused("This instance has cluster support disabled"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;

    #[test]
    fn there_is_no_cluster() {
        let mut t = Transcript::start();
        for line in ["CLUSTER NODES", "CLUSTER HELP", "CLUSTER ADDSLOTS 1 2", "ASKING", "READONLY", "READWRITE"] {
            t.say(line).hears("-ERR This instance has cluster support disabled");
        }
        t.say("CLUSTER nosuch").hears("-ERR unknown subcommand 'nosuch'. Try CLUSTER HELP.");
        t.say("CLUSTER KEYSLOT").hears("-ERR wrong number of arguments for 'cluster|keyslot' command");
    }
}
