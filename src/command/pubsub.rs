//! Pub/Sub: who hears which channels, and what is said there.
//!
//! Confirmations are replies that look like messages. Each is written while no message can come, behind all that came
//! before, so that a client never hears a channel it was told it has left.

use std::borrow::Cow;

use super::help;
use super::words::Words as _;
use super::{Arity, Client, Ctx, Flags, Found, Group, Keys, Spec};
use crate::engine::{Engine, Topic};
use crate::error::{Error, Result};
use crate::resp::{Args, Reply};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec {
    flags: Flags::PUBSUB.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    group: Group::PubSub,
    ..Spec::BASE
};
const PUBLISHES: Spec = Spec {
    flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::MAY_REPLICATE),
    ..ROW
};
const ASKS: Spec = Spec { flags: Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE), ..ROW };

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "PSUBSCRIBE",
        run: |ctx, args| subscribe(ctx, args, &PATTERNS),
        arity: AtLeast(2),
        usage: "pattern [pattern ...]",
        since: "2.0.0",
        cost: "O(N) where N is the number of patterns",
        summary: "Listens to all channels whose names match patterns.",
        ..ROW
    },
    Spec {
        name: "PUBLISH",
        run: publish,
        arity: Exactly(3),
        usage: "channel message",
        since: "2.0.0",
        cost: "O(N+M) where N is the number of clients that hear it and M is the number of all patterns",
        summary: "Sends a message to all who listen to a channel.",
        ..PUBLISHES
    },
    Spec {
        name: "PUBSUB",
        run: |_, _| Err(Error::Arity("pubsub".into())),
        arity: AtLeast(2),
        flags: Flags::NONE,
        since: "2.8.0",
        cost: "Depends on subcommand.",
        summary: "A container for commands that tell what is listened to.",
        subs: SUBCOMMANDS,
        ..ROW
    },
    Spec {
        name: "PUNSUBSCRIBE",
        run: |ctx, args| unsubscribe(ctx, args, &PATTERNS),
        arity: AtLeast(1),
        usage: "[pattern [pattern ...]]",
        since: "2.0.0",
        cost: "O(N) where N is the number of patterns",
        summary: "Stops listening to channels that match patterns, all of them unless some are named.",
        ..ROW
    },
    Spec {
        name: "SPUBLISH",
        run: publish_shard,
        arity: Exactly(3),
        keys: Keys::ONE.but_not_keys(),
        usage: "shardchannel message",
        since: "7.0.0",
        cost: "O(N) where N is the number of clients that hear it",
        summary: "Sends a message to all who listen to a shard channel.",
        ..PUBLISHES
    },
    Spec {
        name: "SSUBSCRIBE",
        run: ssubscribe,
        arity: AtLeast(2),
        keys: Keys::ALL.but_not_keys(),
        usage: "shardchannel [shardchannel ...]",
        since: "7.0.0",
        cost: "O(N) where N is the number of channels",
        summary: "Listens to shard channels.",
        ..ROW
    },
    Spec {
        name: "SUBSCRIBE",
        run: |ctx, args| subscribe(ctx, args, &CHANNELS),
        arity: AtLeast(2),
        usage: "channel [channel ...]",
        since: "2.0.0",
        cost: "O(N) where N is the number of channels",
        summary: "Listens to channels.",
        ..ROW
    },
    Spec {
        name: "SUNSUBSCRIBE",
        run: |ctx, args| unsubscribe(ctx, args, &SHARDS),
        arity: AtLeast(1),
        keys: Keys::ALL.but_not_keys(),
        usage: "[shardchannel [shardchannel ...]]",
        since: "7.0.0",
        cost: "O(N) where N is the number of channels",
        summary: "Stops listening to shard channels, all of them unless some are named.",
        ..ROW
    },
    Spec {
        name: "UNSUBSCRIBE",
        run: |ctx, args| unsubscribe(ctx, args, &CHANNELS),
        arity: AtLeast(1),
        usage: "[channel [channel ...]]",
        since: "2.0.0",
        cost: "O(N) where N is the number of channels",
        summary: "Stops listening to channels, all of them unless some are named.",
        ..ROW
    },
];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "CHANNELS",
        run: |ctx, args| list(ctx, args, Topic::Channel),
        arity: AtLeast(2),
        usage: "[pattern]",
        since: "2.8.0",
        cost: "O(N) where N is the number of channels that somebody listens to",
        summary: "Returns the channels that somebody listens to.",
        ..ASKS
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "PUBSUB", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "6.2.0",
        summary: "Returns a text about the subcommands.",
        ..ROW
    },
    Spec {
        name: "NUMPAT",
        run: count_patterns,
        arity: Exactly(2),
        since: "2.8.0",
        summary: "Returns how many different patterns are listened to.",
        ..ASKS
    },
    Spec {
        name: "NUMSUB",
        run: |ctx, args| audiences(ctx, args, Topic::Channel),
        arity: AtLeast(2),
        usage: "[channel [channel ...]]",
        since: "2.8.0",
        cost: "O(N) where N is the number of channels",
        summary: "Returns how many clients listen to each of some channels.",
        ..ASKS
    },
    Spec {
        name: "SHARDCHANNELS",
        run: |ctx, args| list(ctx, args, Topic::Shard),
        arity: AtLeast(2),
        usage: "[pattern]",
        since: "7.0.0",
        cost: "O(N) where N is the number of shard channels that somebody listens to",
        summary: "Returns the shard channels that somebody listens to.",
        ..ASKS
    },
    Spec {
        name: "SHARDNUMSUB",
        run: |ctx, args| audiences(ctx, args, Topic::Shard),
        arity: AtLeast(2),
        usage: "[shardchannel [shardchannel ...]]",
        since: "7.0.0",
        cost: "O(N) where N is the number of channels",
        summary: "Returns how many clients listen to each of some shard channels.",
        ..ASKS
    },
];

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    List the channels that have subscribers, those that match <pattern> if given.",
    "NUMPAT",
    "    Count the different patterns that have subscribers.",
    "NUMSUB [<channel> ...]",
    "    Count the subscribers of each channel; those of patterns are not among them.",
    "SHARDCHANNELS [<pattern>]",
    "    List the shard channels that have subscribers, those that match <pattern> if given.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Count the subscribers of each shard channel.",
];

// ---- subscribing ------------------------------------------------------------------------------------------------

/// What a kind of subscription is called in confirmations.
struct Names {
    topic: Topic,
    begins: &'static str,
    ends: &'static str,
}

const CHANNELS: Names = Names { topic: Topic::Channel, begins: "subscribe", ends: "unsubscribe" };
const PATTERNS: Names = Names { topic: Topic::Pattern, begins: "psubscribe", ends: "punsubscribe" };
const SHARDS: Names = Names { topic: Topic::Shard, begins: "ssubscribe", ends: "sunsubscribe" };

/// Whether a client of RESP2 that listens may send this.
pub(super) fn is_allowed(spec: &Spec) -> bool {
    const ALSO: [&str; 3] = ["PING", "QUIT", "RESET"];
    spec.name.ends_with("SUBSCRIBE") || ALSO.contains(&spec.name)
}

/// What it is told that sends anything else.
pub(super) fn not_allowed(found: &Found) -> Error {
    let text = format!(
        "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        found.full_name()
    );
    Error::Refused(text.into())
}

/// Writes what was pushed so far. To be called where nothing can be pushed meanwhile.
pub(super) fn catch_up(client: &Client, reply: &mut Reply<'_>) {
    // Inside of a transaction's replies nothing else can stand.
    if client.peer.has_mail() && !client.never_waits {
        let mut mail = Vec::new();
        client.peer.collect(&mut mail);
        reply.raw(&mail);
    }
}

fn confirm(client: &mut Client, reply: &mut Reply<'_>, what: &str, name: Option<&[u8]>, count: usize) {
    catch_up(client, reply);
    client.pushed = true;
    reply.push(3);
    reply.bulk(what.as_bytes());
    reply.bulk_or_null(name);
    reply.count(count);
}

fn subscribe(ctx: &mut Ctx<'_>, args: Args<'_>, names: &Names) -> Result<()> {
    let (engine, peer) = (ctx.engine, ctx.client.peer.clone());
    for name in args.iter().skip(1) {
        let (client, reply) = (&mut *ctx.client, &mut ctx.reply);
        engine.pubsub.subscribe(&peer, names.topic, &stored_name(engine, names.topic, name), |count| {
            confirm(client, reply, names.begins, Some(name), count);
        });
    }
    Ok(())
}

/// Unlike the older two it has no place in a transaction.
fn ssubscribe(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if ctx.client.never_waits {
        return Err(Error::refused("SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    subscribe(ctx, args, &SHARDS)
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, names: &Names) -> Result<()> {
    let (engine, peer) = (ctx.engine, ctx.client.peer.clone());
    let (client, reply) = (&mut *ctx.client, &mut ctx.reply);
    let mut leave = |name: &[u8], stored: &[u8]| {
        let told = |left| confirm(client, reply, names.ends, Some(name), left);
        engine.pubsub.unsubscribe(&peer, names.topic, stored, told);
    };
    if args.len() > 1 {
        args.iter().skip(1).for_each(|name| leave(name, &stored_name(engine, names.topic, name)));
        return Ok(());
    }
    let all = engine.pubsub.heard_by(&peer, names.topic);
    all.iter().for_each(|name| leave(name, name));
    if all.is_empty() {
        engine.pubsub.count(&peer, names.topic, |left| confirm(client, reply, names.ends, None, left));
    }
    Ok(())
}

/// The name that is listened to. Who wants to hear of a token's key means the key as it is stored, of which events tell.
fn stored_name<'a>(engine: &'a Engine, topic: Topic, name: &'a [u8]) -> Cow<'a, [u8]> {
    match topic == Topic::Channel && name.starts_with(b"__keyspace@") {
        true => engine.records().redacted(name),
        false => Cow::Borrowed(name),
    }
}

// ---- publishing -------------------------------------------------------------------------------------------------

fn publish(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.reply.count(ctx.engine.pubsub.publish(args.word(1), args.word(2)));
    Ok(())
}

fn publish_shard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.reply.count(ctx.engine.pubsub.publish_shard(args.word(1), args.word(2)));
    Ok(())
}

// ---- PUBSUB -----------------------------------------------------------------------------------------------------

fn list(ctx: &mut Ctx<'_>, args: Args<'_>, topic: Topic) -> Result<()> {
    if args.len() > 3 {
        return Err(super::wrong_count("PUBSUB", args.word(1)));
    }
    let names = ctx.engine.pubsub.matching(topic, args.get(2));
    ctx.reply.array(names.len());
    for name in names {
        ctx.reply.bulk(&ctx.engine.records().redacted(&name));
    }
    Ok(())
}

fn count_patterns(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.count(ctx.engine.pubsub.topics(Topic::Pattern));
    Ok(())
}

fn audiences(ctx: &mut Ctx<'_>, args: Args<'_>, topic: Topic) -> Result<()> {
    let names = args.iter().skip(2);
    ctx.reply.array(names.len().saturating_mul(2));
    for name in names {
        ctx.reply.bulk(name);
        ctx.reply.count(ctx.engine.pubsub.audience(topic, name));
    }
    Ok(())
}
