//! CLIENT: who is connected, how each is treated, and who has to go.

use std::sync::atomic::Ordering;

use super::blocking;
use super::client_list::{self, Filter};
use super::help;
use super::spec::tips;
use super::tracking;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Flow, Group, Replies, Spec};
use crate::clock::Ttl;
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec {
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::CONNECTION),
    group: Group::Connection,
    ..Spec::BASE
};
const ADMIN: Spec = Spec { flags: ROW.flags.and(Flags::ADMIN), ..ROW };

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "CLIENT",
    arity: AtLeast(2),
    since: "2.4.0",
    cost: "Depends on subcommand.",
    summary: "A container for client connection commands.",
    group: Group::Connection,
    subs: SUBCOMMANDS,
    ..Spec::BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "CACHING",
        run: tracking::caching,
        arity: Exactly(3),
        usage: "<YES | NO>",
        since: "6.0.0",
        summary: "Says whether the keys of the next command are tracked.",
        ..ROW
    },
    Spec {
        name: "GETNAME",
        run: get_name,
        arity: Exactly(2),
        since: "2.6.9",
        summary: "Returns the name of the connection.",
        ..ROW
    },
    Spec {
        name: "GETREDIR",
        run: tracking::get_redirect,
        arity: Exactly(2),
        since: "6.0.0",
        summary: "Returns the client that is told of changed keys in the place of this one.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "CLIENT", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::CONNECTION),
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "ID",
        run: id,
        arity: Exactly(2),
        since: "5.0.0",
        summary: "Returns the unique client ID of the connection.",
        ..ROW
    },
    Spec {
        name: "INFO",
        run: info,
        arity: Exactly(2),
        since: "6.2.0",
        tips: tips::VARIES,
        summary: "Returns information about the connection.",
        ..ROW
    },
    Spec {
        name: "KILL",
        run: kill,
        arity: AtLeast(3),
        usage: "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | REPLICA | PUBSUB> | USER username | ADDR ip:port | \
                LADDR ip:port | SKIPME <YES | NO> | MAXAGE maxage> ...>",
        since: "2.4.0",
        cost: "O(N) where N is the number of client connections",
        summary: "Terminates open connections.",
        ..ADMIN
    },
    Spec {
        name: "LIST",
        run: list,
        arity: AtLeast(2),
        usage: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        since: "2.4.0",
        cost: "O(N) where N is the number of client connections",
        tips: tips::VARIES,
        summary: "Lists open connections.",
        ..ADMIN
    },
    Spec {
        name: "NO-EVICT",
        run: no_evict,
        arity: Exactly(3),
        usage: "<ON | OFF>",
        since: "7.0.0",
        summary: "Sets the client eviction mode of the connection.",
        ..ADMIN
    },
    Spec {
        name: "NO-TOUCH",
        run: no_touch,
        arity: Exactly(3),
        usage: "<ON | OFF>",
        since: "7.2.0",
        summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        ..ROW
    },
    Spec {
        name: "PAUSE",
        run: pause,
        arity: AtLeast(3),
        usage: "timeout [WRITE | ALL]",
        since: "3.0.0",
        summary: "Suspends commands processing.",
        ..ADMIN
    },
    Spec {
        name: "REPLY",
        run: reply,
        arity: Exactly(3),
        usage: "<ON | OFF | SKIP>",
        since: "3.2.0",
        summary: "Instructs the server whether to reply to commands.",
        ..ROW
    },
    Spec {
        name: "SETINFO",
        run: set_info,
        arity: Exactly(4),
        usage: "<LIB-NAME libname | LIB-VER libver>",
        since: "7.2.0",
        summary: "Sets information specific to the client or connection.",
        ..ROW
    },
    Spec {
        name: "SETNAME",
        run: set_name,
        arity: Exactly(3),
        usage: "connection-name",
        since: "2.6.9",
        summary: "Sets the connection name.",
        ..ROW
    },
    Spec {
        name: "TRACKING",
        run: tracking::tracking,
        arity: AtLeast(3),
        usage: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        since: "6.0.0",
        cost: "O(N) where N is the number of prefixes",
        summary: "Switches on or off that a client is told when keys change that it has read.",
        ..ROW
    },
    Spec {
        name: "TRACKINGINFO",
        run: tracking::info,
        arity: Exactly(2),
        since: "6.2.0",
        summary: "Returns how the keys are tracked that the connection reads.",
        ..ROW
    },
    Spec {
        name: "UNBLOCK",
        run: unblock,
        arity: AtLeast(3),
        usage: "client-id [TIMEOUT | ERROR]",
        since: "5.0.0",
        cost: "O(log N) where N is the number of client connections",
        summary: "Unblocks a client blocked by a blocking command from a different connection.",
        ..ADMIN
    },
    Spec {
        name: "UNPAUSE",
        run: unpause,
        arity: Exactly(2),
        since: "6.2.0",
        cost: "O(N) Where N is the number of paused clients",
        summary: "Resumes processing commands from paused clients.",
        ..ADMIN
    },
];

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Track the keys of the next command, or do not, in modes OPTIN and OPTOUT.",
    "GETREDIR",
    "    Return the ID of the client that invalidations are redirected to.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "    * ID <client-id>",
    "      Kill connections by client id.",
    "    * MAXAGE <maxage>",
    "      Kill connections older than the specified age.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control client-side caching that the server assists.",
    "TRACKINGINFO",
    "    Return how the connection tracks keys.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];

/// Refuses what would break the lines of CLIENT LIST: blanks, line ends and other unprintable bytes.
pub(super) fn check_label(text: &[u8], what: &str) -> Result<()> {
    if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(Error::Refused(format!("{what} cannot contain spaces, newlines or special characters.").into()))
}

/// A length of time in milliseconds, as PAUSE and WAIT take it.
pub(super) fn timeout(args: Args<'_>, at: usize) -> Result<Ttl> {
    let millis = args.int_or(at, Error::refused("timeout is not an integer or out of range"))?;
    u64::try_from(millis).map(Ttl).map_err(|_| Error::refused("timeout is negative"))
}

/// `ON` or `OFF`.
fn on_or_off(args: Args<'_>, at: usize) -> Result<bool> {
    match (args.is(at, "ON"), args.is(at, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(Error::Syntax),
    }
}

fn id(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.int(ctx.client.peer.id as i64);
    Ok(())
}

fn get_name(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let name = ctx.client.peer.labels().name;
    ctx.reply.bulk_or_null(Some(name.as_slice()).filter(|name| !name.is_empty()));
    Ok(())
}

fn set_name(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    check_label(args.word(2), "Client names")?;
    ctx.client.peer.label(|labels| labels.name = args.word(2).to_vec());
    ctx.reply.ok();
    Ok(())
}

fn set_info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let option = String::from_utf8_lossy(args.word(2));
    let is_name = args.is(2, "LIB-NAME");
    if !is_name && !args.is(2, "LIB-VER") {
        return Err(Error::Refused(format!("Unrecognized option '{option}'").into()));
    }
    check_label(args.word(3), &option)?;
    ctx.client.peer.label(|labels| {
        let label = if is_name { &mut labels.lib_name } else { &mut labels.lib_version };
        *label = args.word(3).to_vec();
    });
    ctx.reply.ok();
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let line = client_list::line(&ctx.client.peer, ctx.now);
    ctx.reply.verbatim("txt", &line);
    Ok(())
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let clients = &ctx.engine.clients;
    let peers = match args.len() {
        2 => clients.all(),
        4 if args.is(2, "TYPE") => {
            let kind = client_list::kind(args.word(3))?;
            clients.all().into_iter().filter(|peer| client_list::is_of_kind(peer, kind)).collect()
        }
        4.. if args.is(2, "ID") => {
            let ids: Result<Vec<i64>> =
                (3..args.len()).map(|at| args.int_or(at, Error::refused("Invalid client ID"))).collect();
            ids?.into_iter().filter_map(|id| clients.get(u64::try_from(id).ok()?)).collect()
        }
        _ => return Err(Error::Syntax),
    };
    // Who has been killed is gone, even if another worker has yet to close it; who asks is here.
    let here = peers.iter().filter(|peer| !peer.is_killed() || peer.id == ctx.client.peer.id);
    let lines: String = here.map(|peer| client_list::line(peer, ctx.now)).collect();
    ctx.reply.verbatim("txt", &lines);
    Ok(())
}

/// Turns for which CLIENT KILL waits until its victims are gone: some tens of milliseconds. Who is stuck is gone later.
const KILL_TURNS_MAX: u32 = 10_000;

/// A CLIENT KILL that waits for its victims to go.
pub(super) struct Kill {
    /// Those that may be there yet.
    victims: Vec<u64>,
    /// How many there were, and whether who asks is one of them.
    killed: usize,
    is_own: bool,
    turns: u32,
}

impl Kill {
    /// Has those closed whom a filter fits.
    fn begin(ctx: &Ctx<'_>, filter: &Filter) -> Kill {
        let mut kill = Kill { victims: Vec::new(), killed: 0, is_own: false, turns: 0 };
        for peer in ctx.engine.clients.all() {
            let is_me = peer.id == ctx.client.peer.id;
            if !filter.fits(&peer) || is_me && filter.skip_me {
                continue;
            }
            kill.killed += 1;
            if is_me {
                kill.is_own = true;
            } else {
                peer.kill();
                kill.victims.push(peer.id);
            }
        }
        kill
    }
}

/// Answers when they are gone, as whoever hears of it may count on it: a client that sends something meanwhile would have
/// it neither answered nor refused.
fn kill(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    // The old form kills by address, oneself too.
    let old_form = args.len() == 3;
    let mut kill = match ctx.client.begun.as_mut().and_then(|begun| begun.kill.take()) {
        Some(kill) => kill,
        None => match old_form {
            true => Kill::begin(ctx, &Filter::address(args.word(2))),
            false => Kill::begin(ctx, &Filter::read(ctx.engine, args.tail(2), ctx.now)?),
        },
    };
    kill.victims.retain(|id| ctx.engine.clients.get(*id).is_some());
    kill.turns += 1;
    if !kill.victims.is_empty() && kill.turns < KILL_TURNS_MAX && !ctx.client.never_waits {
        ctx.client.keep_for_later(ctx.engine, |begun| begun.kill = Some(kill));
        return Ok(());
    }
    ctx.client.end_turns();
    if kill.is_own {
        // Its answer goes out first.
        ctx.client.flow = Flow::Close;
    }
    match (old_form, kill.killed) {
        (true, 0) => return Err(Error::refused("No such client")),
        (true, _) => ctx.reply.ok(),
        (false, killed) => ctx.reply.count(killed),
    }
    Ok(())
}

fn pause(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let all = match args.len() {
        3 => true,
        4 if args.is(3, "ALL") => true,
        4 if args.is(3, "WRITE") => false,
        4 => return Err(Error::refused("CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(super::wrong_count("CLIENT", args.word(1))),
    };
    let timeout = timeout(args, 2)?;
    ctx.engine.pause(ctx.now + timeout, all, ctx.now);
    ctx.reply.ok();
    Ok(())
}

fn unpause(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.engine.unpause();
    ctx.reply.ok();
    Ok(())
}

fn reply(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if args.is(2, "ON") {
        ctx.client.replies = Replies::On;
        ctx.reply.ok();
    } else if args.is(2, "OFF") {
        ctx.client.replies = Replies::Off;
    } else if args.is(2, "SKIP") {
        if ctx.client.replies != Replies::Off {
            ctx.client.replies = Replies::SkipNext;
        }
    } else {
        return Err(Error::Syntax);
    }
    Ok(())
}

fn no_evict(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.client.peer.no_evict.store(on_or_off(args, 2)?, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}

fn no_touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.client.set_no_touch(on_or_off(args, 2)?);
    ctx.reply.ok();
    Ok(())
}

fn unblock(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match args.len() {
        3 => {}
        4 if args.is(3, "TIMEOUT") || args.is(3, "ERROR") => {}
        4 => return Err(Error::refused("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(super::wrong_count("CLIENT", args.word(1))),
    }
    let unblocked =
        u64::try_from(args.int(2)?).is_ok_and(|id| blocking::unblock(ctx.engine, id, args.is(3, "ERROR"), ctx.now));
    ctx.reply.int(i64::from(unblocked));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use super::*;

    #[test]
    fn a_client_has_a_number_and_a_name() {
        let mut t = Transcript::start();
        t.say("CLIENT ID").hears(":1");
        t.say("CLIENT GETNAME").hears("$-1");
        t.say("CLIENT SETNAME door").hears("+OK");
        t.say("CLIENT GETNAME").hears("$4 door");
        t.say("CLIENT SETNAME ''").hears("+OK");
        t.say("CLIENT GETNAME").hears("$-1");
        t.say("CLIENT SETNAME 'a b'").hears("-ERR Client names cannot contain spaces, newlines or special characters.");
        t.say("CLIENT SETINFO lib-name 'a b'")
            .hears("-ERR lib-name cannot contain spaces, newlines or special characters.");
        t.say("CLIENT SETINFO nosuch b").hears("-ERR Unrecognized option 'nosuch'");
        t.say("CLIENT ID x").hears("-ERR wrong number of arguments for 'client|id' command");
        t.say("CLIENT").hears("-ERR wrong number of arguments for 'client' command");
        t.say("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none")
            .hears("-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.");
        t.say("CLIENT HELP")
            .hears_start("*58 +CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +CACHING");
    }

    #[test]
    fn a_line_of_the_list_has_redis_fields_in_redis_order() {
        let mut t = Transcript::start();
        t.say("CLIENT SETNAME door").hears("+OK");
        t.say("CLIENT SETINFO LIB-NAME ioredis").hears("+OK");
        t.say("CLIENT SETINFO LIB-VER 5.0").hears("+OK");
        t.say("CLIENT NO-TOUCH ON").hears("+OK");
        t.say("SELECT 9").hears("+OK");
        t.wait(Ttl::seconds(7));
        let text = t.say("CLIENT INFO").text();
        let (head, tail) = text.split_once("tot-mem=").expect("the field");
        assert_eq!(
            head.split_once(' ').expect("a length").1,
            "id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name=door age=7 idle=7 flags=T db=9 sub=0 psub=0 \
             ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 "
        );
        assert!(
            tail.ends_with("events=r cmd=client|info user=default redir=-1 resp=2 lib-name=ioredis lib-ver=5.0\n"),
            "{tail}"
        );
    }

    #[test]
    fn the_list_can_be_narrowed() {
        let mut t = Transcript::start();
        let _others = [t.enter(), t.enter()];
        let mut ids = |line: &str| -> Vec<String> {
            let text = t.say(line).text();
            text.split("id=").skip(1).map(|rest| rest.split(' ').next().unwrap_or("").to_owned()).collect()
        };
        assert_eq!(ids("CLIENT LIST"), ["1", "2", "3"]);
        assert_eq!(ids("CLIENT LIST TYPE NORMAL"), ["1", "2", "3"]);
        assert_eq!(ids("CLIENT LIST TYPE pubsub"), [""; 0]);
        assert_eq!(ids("CLIENT LIST ID 3 1 99"), ["3", "1"]);
        t.say("CLIENT LIST TYPE nosuch").hears("-ERR Unknown client type 'nosuch'");
        t.say("CLIENT LIST ID").hears("-ERR syntax error");
        t.say("CLIENT LIST ID x").hears("-ERR Invalid client ID");
        t.say("CLIENT LIST nosuch").hears("-ERR syntax error");
    }

    #[test]
    fn clients_can_be_told_to_go() {
        let mut t = Transcript::start();
        let others = [t.enter(), t.enter(), t.enter()];
        let killed = |others: &[super::super::Client]| others.iter().map(|c| c.peer.is_killed()).collect::<Vec<_>>();
        t.say("CLIENT KILL 127.0.0.1:1").hears("-ERR No such client");
        t.say("CLIENT KILL 127.0.0.1:50001").hears("+OK");
        assert_eq!(killed(&others), [true, false, false]);
        t.say("CLIENT KILL ID 3 ADDR 127.0.0.1:50001").hears(":0");
        t.say("CLIENT KILL ID 3").hears(":1");
        assert_eq!(killed(&others), [true, true, false]);
    }

    #[test]
    fn killing_oneself_still_answers() {
        let mut t = Transcript::start();
        t.say("CLIENT KILL ID 1 SKIPME yes").hears(":0");
        assert_eq!(t.client.flow, Flow::Go);
        t.say("CLIENT KILL ID 1 SKIPME no").hears(":1");
        assert_eq!(t.client.flow, Flow::Close);
        t.say("CLIENT KILL 127.0.0.1:50000").hears("+OK");
        assert_eq!(t.client.flow, Flow::Close);
    }

    #[test]
    fn filters_narrow_together() {
        let mut t = Transcript::start();
        t.wait(Ttl::seconds(10));
        let young = t.enter();
        t.say("CLIENT KILL MAXAGE 5 SKIPME no USER default TYPE normal LADDR 127.0.0.1:6379").hears(":1");
        assert!(!young.peer.is_killed());
        t.say("CLIENT KILL TYPE replica SKIPME no").hears(":0");
        t.say("CLIENT KILL ID x SKIPME no").hears("-ERR client-id should be greater than 0");
        t.say("CLIENT KILL ID 0 SKIPME no").hears("-ERR client-id should be greater than 0");
        t.say("CLIENT KILL TYPE nosuch SKIPME no").hears("-ERR Unknown client type 'nosuch'");
        t.say("CLIENT KILL USER nosuch SKIPME no").hears("-ERR No such user 'nosuch'");
        t.say("CLIENT KILL SKIPME maybe ID 1").hears("-ERR syntax error");
        t.say("CLIENT KILL ADDR a ID").hears("-ERR syntax error");
        t.say("CLIENT KILL").hears("-ERR wrong number of arguments for 'client|kill' command");
    }

    #[test]
    fn a_pause_can_be_ended() {
        let mut t = Transcript::start();
        t.say("CLIENT PAUSE 1000 WRITE").hears("+OK");
        t.say("PING").hears("+PONG");
        t.say("FLUSHALL").hears("");
        assert!(matches!(t.client.flow, Flow::Hold(_)));
        assert_eq!(t.client.peer.flags(), "b");
        t.say("CLIENT UNPAUSE").hears("+OK");
        t.say("FLUSHALL").hears("+OK");
        assert_eq!(t.client.peer.flags(), "N");
        t.say("CLIENT PAUSE x").hears("-ERR timeout is not an integer or out of range");
        t.say("CLIENT PAUSE -1").hears("-ERR timeout is negative");
        t.say("CLIENT PAUSE 1 nosuch").hears("-ERR CLIENT PAUSE mode must be WRITE or ALL");
        t.say("CLIENT PAUSE 1000").hears("+OK");
        t.say("PING").hears("");
        t.wait(Ttl(1000));
        t.say("PING").hears("+PONG");
    }

    #[test]
    fn replies_can_be_done_without() {
        let mut t = Transcript::start();
        t.say("CLIENT REPLY SKIP").hears("");
        t.say("PING").hears("");
        t.say("PING").hears("+PONG");
        t.say("CLIENT REPLY SKIP").hears("");
        t.say("CLIENT REPLY ON").hears("+OK");
        t.say("PING").hears("+PONG");
        t.say("CLIENT REPLY OFF").hears("");
        t.say("CLIENT REPLY SKIP").hears("");
        t.say("NOSUCH").hears("");
        t.say("CLIENT REPLY ON").hears("+OK");
        t.say("CLIENT REPLY nosuch").hears("-ERR syntax error");
    }

    #[test]
    fn switches_of_a_client() {
        let mut t = Transcript::start();
        t.say("CLIENT NO-EVICT ON").hears("+OK");
        assert_eq!(t.client.peer.flags(), "e");
        t.say("CLIENT NO-EVICT nosuch").hears("-ERR syntax error");
        t.say("CLIENT NO-EVICT OFF").hears("+OK");
        t.say("CLIENT NO-TOUCH ON").hears("+OK");
        assert!(t.client.no_touch);
        t.say("RESET").hears("+RESET");
        assert!(!t.client.no_touch && t.client.peer.flags() == "N");
        t.say("CLIENT UNBLOCK 1").hears(":0");
        t.say("CLIENT UNBLOCK 1 ERROR").hears(":0");
        t.say("CLIENT UNBLOCK 1 nosuch").hears("-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        t.say("CLIENT UNBLOCK x").hears("-ERR value is not an integer or out of range");
    }
}
