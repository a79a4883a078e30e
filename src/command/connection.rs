//! The client's connection: who it is, what it speaks, which database it means.

use super::acl::log_in;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Flow, Group, Replies, Spec, pubsub};
use crate::engine::Engine;
use crate::engine::acl::DEFAULT;
use crate::error::{Error, Result};
use crate::resp::{Args, Version};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Connection, ..Spec::BASE };
const QUICK: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::CONNECTION);

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "AUTH",
        run: auth,
        arity: AtLeast(2),
        flags: QUICK.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        usage: "[username] password",
        secret: |_, at| at > 0,
        cost: "O(N) where N is the number of passwords defined for the user",
        summary: "Authenticates the connection.",
        ..ROW
    },
    Spec {
        name: "ECHO",
        run: echo,
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::CONNECTION),
        usage: "message",
        summary: "Returns the given string.",
        ..ROW
    },
    Spec {
        name: "HELLO",
        run: hello,
        arity: AtLeast(1),
        flags: QUICK.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        usage: "[protover [AUTH username password] [SETNAME clientname]]",
        secret: behind_auth,
        since: "6.0.0",
        summary: "Handshakes with the server.",
        ..ROW
    },
    Spec {
        name: "PING",
        run: ping,
        arity: AtLeast(1),
        flags: Flags::FAST.and(Flags::CONNECTION),
        usage: "[message]",
        tips: super::spec::tips::ALL_SHARDS,
        summary: "Returns the server's liveliness response.",
        ..ROW
    },
    Spec {
        name: "QUIT",
        run: quit,
        arity: AtLeast(1),
        flags: QUICK.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        summary: "Closes the connection.",
        ..ROW
    },
    Spec {
        name: "RESET",
        run: reset,
        arity: Exactly(1),
        flags: QUICK.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        since: "6.2.0",
        summary: "Resets the connection.",
        ..ROW
    },
    Spec {
        name: "SELECT",
        run: select,
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::CONNECTION),
        usage: "index",
        summary: "Changes the selected database.",
        ..ROW
    },
];

/// The words behind an AUTH option.
fn behind_auth(args: Args<'_>, at: usize) -> bool {
    (1..=2).any(|back| at > back && args.is(at - back, "AUTH"))
}

/// What HELLO says to a client that has yet to authenticate.
const NOAUTH_HELLO: Error = Error::NoAuthYet(
    "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option \
     can be used to authenticate the client and select the RESP protocol version at the same time",
);

/// The version of Redis whose commands and texts these are.
pub const REDIS_VERSION: &str = "7.2.5";

fn ping(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if args.len() < 3 && ctx.client.version == Version::Resp2 && ctx.client.peer.is_subscriber() {
        // A client that listens expects nothing but what looks like messages.
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(args.word(1));
        return Ok(());
    }
    match args.len() {
        1 => ctx.reply.simple("PONG"),
        2 => ctx.reply.bulk(args.word(1)),
        _ => return Err(Error::Arity("ping".into())),
    }
    Ok(())
}

fn echo(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.reply.bulk(args.word(1));
    Ok(())
}

fn quit(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    // Before it hears the answer nobody finds it any more.
    ctx.engine.leave(&ctx.client.peer);
    ctx.client.flow = Flow::Close;
    ctx.reply.ok();
    Ok(())
}

fn select(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let db = named_database(ctx.engine, args, 1)?;
    ctx.client.select(db);
    ctx.reply.ok();
    Ok(())
}

/// The number of the database that a word names.
pub(super) fn named_database(engine: &Engine, args: Args<'_>, at: usize) -> Result<usize> {
    let number = args.int(at)?;
    match i32::try_from(number) {
        Ok(_) => database(engine, number),
        Err(_) => Err(Error::refused("value is out of range, value must between -2147483648 and 2147483647")),
    }
}

/// A database number that exists.
pub(super) fn database(engine: &Engine, number: i64) -> Result<usize> {
    let db = usize::try_from(number).ok().filter(|db| *db < engine.databases());
    db.ok_or(Error::refused("DB index is out of range"))
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let client = &mut *ctx.client;
    client.forget_transaction(ctx.engine);
    client.select(0);
    ctx.engine.pubsub.leave(&client.peer);
    ctx.engine.tracking.disable(&client.peer);
    ctx.engine.tracking.quietly(|| {
        pubsub::catch_up(client, &mut ctx.reply);
        client.speak(Version::Resp2);
    });
    client.authenticated = !ctx.engine.acl.needs_auth();
    client.set_user(None);
    client.set_no_touch(false);
    client.replies = Replies::On;
    ctx.engine.clients.set_monitor(&client.peer, false);
    client.peer.no_evict.store(false, std::sync::atomic::Ordering::Relaxed);
    client.peer.clear_name();
    ctx.reply.simple("RESET");
    Ok(())
}

fn auth(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match args.len() {
        2 if ctx.engine.acl.default_user().rules().needs_no_password() => Err(Error::refused(
            "AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        )),
        2 => log_in(ctx, args, DEFAULT.as_bytes(), args.word(1)),
        3 => log_in(ctx, args, args.word(1), args.word(2)),
        _ => Err(Error::Syntax),
    }?;
    ctx.reply.ok();
    Ok(())
}

fn hello(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let mut version = ctx.client.version;
    if args.len() > 1 {
        version = match args.int_or(1, Error::refused("Protocol version is not an integer or out of range"))? {
            2 => Version::Resp2,
            3 => Version::Resp3,
            _ => return Err(Error::NoProto),
        };
    }
    let (mut login, mut name) = (None, None);
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "AUTH") && at + 2 < args.len() {
            login = Some((args.word(at + 1), args.word(at + 2)));
            at += 3;
        } else if args.is(at, "SETNAME") && at + 1 < args.len() {
            name = Some(args.word(at + 1));
            super::client::check_label(args.word(at + 1), "Client names")?;
            at += 2;
        } else {
            let option = String::from_utf8_lossy(args.word(at)).into_owned();
            return Err(Error::Refused(format!("Syntax error in HELLO option '{option}'").into()));
        }
    }
    if let Some((user, password)) = login {
        log_in(ctx, args, user, password)?;
    }
    if !ctx.client.authenticated {
        return Err(NOAUTH_HELLO);
    }
    if let Some(name) = name {
        ctx.client.peer.label(|labels| labels.name = name.to_vec());
        ctx.engine.cut_clients(ctx.client.worker());
    }
    let (client, reply) = (&mut *ctx.client, &mut ctx.reply);
    if version != client.version {
        let change = || {
            // What was pushed before is in the old protocol, and so comes before the answer in the new one.
            pubsub::catch_up(client, reply);
            client.speak(version);
        };
        ctx.engine.tracking.quietly(|| ctx.engine.pubsub.quietly(change));
    }
    greet(ctx);
    Ok(())
}

fn greet(ctx: &mut Ctx<'_>) {
    let reply = &mut ctx.reply;
    reply.set_version(ctx.client.version);
    let number = if ctx.client.version == Version::Resp3 { 3 } else { 2 };
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(number);
    reply.bulk(b"id");
    reply.int(ctx.client.peer.id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}
