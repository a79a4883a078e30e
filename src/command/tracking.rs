//! CLIENT TRACKING and its kin: clients that keep copies of what they read and are told when it changes.
//!
//! [`run`](super::run) asks here what surrounds a command while anybody tracks: the changes of a command are gathered, and
//! what it makes its own client hear comes behind its reply.

use super::words::Words as _;
use super::{Client, Ctx, Flags, Group, Spec};
use crate::engine::{Engine, Mode, Overlap};
use crate::error::{Error, Result};
use crate::resp::Args;

const SWITCHES_BCAST: Error = Error::refused(
    "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);
const SWITCHES_OPT: Error = Error::refused(
    "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);

// ---- what `run` asks ----------------------------------------------------------------------------------------------

/// Whether a command reads keys that are to be noted for its client.
pub(super) fn is_noted(client: &Client, spec: &Spec) -> bool {
    spec.flags.has(Flags::READONLY) && spec.group != Group::Scripting && client.peer.tracking().notes()
}

/// Notes the keys of a request.
pub(super) fn note(engine: &Engine, client: &Client, spec: &Spec, args: Args<'_>, now: crate::clock::Millis) {
    let store = engine.store(client.db());
    let key = |at| {
        let said = args.word(at);
        (store.canonical(said, now), said)
    };
    let keys: Vec<_> = spec.keys.positions(args).map(key).collect();
    engine.tracking.note(&client.peer, &keys);
}

/// Writes what a client is to hear before the reply of a command that may run now: what had to go to make room for it.
pub(super) fn catch_up(client: &Client, out: &mut Vec<u8>) {
    if client.peer.tracking().has(Mode::ON) {
        client.peer.collect(out);
    }
}

/// Ends what CLIENT CACHING has said, with the command behind it; in a transaction, with the transaction.
pub(super) fn end_caching(client: &Client, args: Args<'_>) {
    let goes_on = client.flow.is_open() || client.is_in_multi();
    if !goes_on && client.peer.tracking().has(Mode::CACHING) && !args.is(0, "CLIENT") {
        client.peer.drop_tracking(Mode::CACHING);
    }
}

// ---- commands -----------------------------------------------------------------------------------------------------

/// CLIENT TRACKING.
pub(super) fn tracking(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (mut mode, mut redirect, mut prefixes) = (Mode::NONE, 0, Vec::new());
    let mut at = 3;
    while at < args.len() {
        let has_value = at + 1 < args.len();
        if has_value && args.is(at, "REDIRECT") {
            if redirect != 0 {
                return Err(Error::refused("A client can only redirect to a single other client"));
            }
            let id = u64::try_from(args.int(at + 1)?).ok().filter(|id| ctx.engine.clients.get(*id).is_some());
            redirect = id.ok_or(Error::refused("The client ID you want redirect to does not exist"))?;
            at += 1;
        } else if has_value && args.is(at, "PREFIX") {
            prefixes.push(args.word(at + 1));
            at += 1;
        } else {
            let named =
                [("BCAST", Mode::BCAST), ("OPTIN", Mode::OPTIN), ("OPTOUT", Mode::OPTOUT), ("NOLOOP", Mode::NOLOOP)];
            let (_, option) = named.iter().find(|(name, _)| args.is(at, name)).ok_or(Error::Syntax)?;
            mode = mode.and(*option);
        }
        at += 1;
    }
    let peer = &ctx.client.peer;
    if args.is(2, "ON") {
        check(peer.tracking(), mode, !prefixes.is_empty())?;
        ctx.engine.tracking.enable(peer, mode, redirect, &prefixes).map_err(overlaps)?;
    } else if args.is(2, "OFF") {
        ctx.engine.tracking.disable(peer);
    } else {
        return Err(Error::Syntax);
    }
    ctx.reply.ok();
    Ok(())
}

/// Whether a client that tracks in one way may change to another.
fn check(old: Mode, new: Mode, has_prefixes: bool) -> Result<()> {
    let changes = |from: Mode, to: Mode| old.has(from) && new.has(to);
    if has_prefixes && !new.has(Mode::BCAST) {
        Err(Error::refused("PREFIX option requires BCAST mode to be enabled"))
    } else if old.has(Mode::ON) && old.has(Mode::BCAST) != new.has(Mode::BCAST) {
        Err(SWITCHES_BCAST)
    } else if new.has(Mode::BCAST) && new.has(Mode::OPTIN.and(Mode::OPTOUT)) {
        Err(Error::refused("OPTIN and OPTOUT are not compatible with BCAST"))
    } else if new.has(Mode::OPTIN) && new.has(Mode::OPTOUT) {
        Err(Error::refused("You can't specify both OPTIN mode and OPTOUT mode"))
    } else if changes(Mode::OPTOUT, Mode::OPTIN) || changes(Mode::OPTIN, Mode::OPTOUT) {
        Err(SWITCHES_OPT)
    } else {
        Ok(())
    }
}

fn overlaps(overlap: Overlap) -> Error {
    let [prefix, other] = [&overlap.prefix, &overlap.other].map(|text| String::from_utf8_lossy(text));
    let which = if overlap.is_old { "an existing prefix" } else { "another provided prefix" };
    let text =
        format!("Prefix '{prefix}' overlaps with {which} '{other}'. Prefixes for a single client must not overlap.");
    Error::Refused(text.into())
}

/// CLIENT CACHING.
pub(super) fn caching(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    const NOT_TRACKING: Error = Error::refused(
        "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    );
    const NOT_OPTIN: Error = Error::refused("CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
    const NOT_OPTOUT: Error =
        Error::refused("CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
    let mode = ctx.client.peer.tracking();
    match (args.is(2, "YES"), args.is(2, "NO")) {
        _ if !mode.has(Mode::ON) => return Err(NOT_TRACKING),
        (true, _) if !mode.has(Mode::OPTIN) => return Err(NOT_OPTIN),
        (_, true) if !mode.has(Mode::OPTOUT) => return Err(NOT_OPTOUT),
        (false, false) => return Err(Error::Syntax),
        _ => ctx.client.peer.add_tracking(Mode::CACHING),
    }
    ctx.reply.ok();
    Ok(())
}

/// CLIENT GETREDIR.
pub(super) fn get_redirect(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.int(redirect(&ctx.client.peer));
    Ok(())
}

/// Who is told in a client's place: 0 if nobody is, -1 if it does not track.
pub(super) fn redirect(peer: &crate::engine::Peer) -> i64 {
    if peer.tracking().has(Mode::ON) { peer.redirect() as i64 } else { -1 }
}

/// CLIENT TRACKINGINFO.
pub(super) fn info(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let peer = &ctx.client.peer;
    let mode = peer.tracking();
    let caching = |option| mode.has(option) && mode.has(Mode::CACHING);
    let flags = [
        (true, if mode.has(Mode::ON) { "on" } else { "off" }),
        (mode.has(Mode::BCAST), "bcast"),
        (mode.has(Mode::OPTIN), "optin"),
        (caching(Mode::OPTIN), "caching-yes"),
        (mode.has(Mode::OPTOUT), "optout"),
        (caching(Mode::OPTOUT), "caching-no"),
        (mode.has(Mode::NOLOOP), "noloop"),
        (mode.has(Mode::BROKEN), "broken_redirect"),
    ];
    let reply = &mut ctx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.iter().filter(|(is_set, _)| *is_set).count());
    flags.iter().filter(|(is_set, _)| *is_set).for_each(|(_, name)| reply.bulk(name.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(redirect(peer));
    reply.bulk(b"prefixes");
    let prefixes = ctx.engine.tracking.prefixes_of(peer);
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
