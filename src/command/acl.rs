//! ACL: users and what they may do; and the check of every request against its user's rules.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::words::Words as _;
use super::{Arity, Client, Ctx, Flags, Flow, Found, Group, Spec};
use super::{all, client_list, docs, find_full, help, lookup, wrong_count};
use crate::clock::Millis;
use crate::engine::acl::{Context, DEFAULT, Denied, Entry, Numbers, Rules, Selector, Table, Touch, User, Wish};
use crate::engine::{Engine, Peer, Slowlog, Topic};
use crate::error::{Error, Result};
use crate::num;
use crate::resp::{Args, Reply};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec {
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    group: Group::Server,
    since: "6.0.0",
    ..Spec::BASE
};
/// What anybody may ask.
const OPEN: Spec = Spec { flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE), ..ROW };

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "ACL",
    arity: AtLeast(2),
    flags: Flags::NONE,
    cost: "Depends on subcommand.",
    summary: "A container for Access List Control commands.",
    subs: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "CAT",
        run: cat,
        arity: AtLeast(2),
        usage: "[category]",
        summary: "Lists the ACL categories, or the commands inside a category.",
        ..OPEN
    },
    Spec {
        name: "DELUSER",
        run: del_user,
        arity: AtLeast(3),
        usage: "username [username ...]",
        cost: "O(1) amortized time considering the typical user.",
        tips: super::spec::tips::ALL_NODES,
        summary: "Deletes ACL users, and terminates their connections.",
        ..ROW
    },
    Spec {
        name: "DRYRUN",
        run: dry_run,
        arity: AtLeast(4),
        usage: "username command [arg [arg ...]]",
        since: "7.0.0",
        secret: |args, at| docs::is_secret_in(args, at, 3),
        summary: "Simulates the execution of a command by a user, without executing the command.",
        ..ROW
    },
    Spec {
        name: "GENPASS",
        run: gen_pass,
        arity: AtLeast(2),
        usage: "[bits]",
        summary: "Generates a pseudorandom, secure password that can be used to identify ACL users.",
        ..OPEN
    },
    Spec {
        name: "GETUSER",
        run: get_user,
        arity: Exactly(3),
        usage: "username",
        cost: "O(N). Where N is the number of password, command and pattern rules that the user has.",
        summary: "Lists the ACL rules of a user.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "ACL", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "LIST",
        run: list,
        arity: Exactly(2),
        cost: "O(N). Where N is the number of configured users.",
        summary: "Dumps the effective rules in ACL file format.",
        ..ROW
    },
    Spec {
        name: "LOAD",
        run: load,
        arity: Exactly(2),
        cost: "O(N). Where N is the number of configured users.",
        summary: "Reloads the rules from the configured ACL file.",
        ..ROW
    },
    Spec {
        name: "LOG",
        run: log,
        arity: AtLeast(2),
        usage: "[count | RESET]",
        cost: "O(N) with N being the number of entries shown.",
        summary: "Lists recent security events generated due to ACL rules.",
        ..ROW
    },
    Spec {
        name: "SAVE",
        run: save,
        arity: Exactly(2),
        cost: "O(N). Where N is the number of configured users.",
        tips: super::spec::tips::ALL_NODES,
        summary: "Saves the effective ACL rules in the configured ACL file.",
        ..ROW
    },
    Spec {
        name: "SETUSER",
        run: set_user,
        arity: AtLeast(3),
        usage: "username [rule [rule ...]]",
        cost: "O(N). Where N is the number of rules provided.",
        tips: super::spec::tips::ALL_NODES,
        secret: |_, at| at > 1,
        summary: "Creates and modifies an ACL user and its rules.",
        ..ROW
    },
    Spec {
        name: "USERS",
        run: users,
        arity: Exactly(2),
        cost: "O(N). Where N is the number of configured users.",
        summary: "Lists all ACL users.",
        ..ROW
    },
    Spec {
        name: "WHOAMI",
        run: who_am_i,
        arity: Exactly(2),
        summary: "Returns the authenticated username of the current connection.",
        ..OPEN
    },
];

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Reload users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Save the current config to the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];

/// All categories, in Redis' order.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// What rules have to know of the table of commands.
static TABLE: Table = Table {
    command: |name| {
        let found = find_full(name)?;
        Some(Numbers { number: found.number, subs: found.spec.subs.len(), is_sub: found.container.is_some() })
    },
    category: |name| {
        let name = CATEGORIES.into_iter().find(|category| category.as_bytes() == name)?;
        // Who may use a container may use all that is in it.
        let numbers = |found: &Found| found.number..=found.number + found.spec.subs.len();
        Some(in_category(name).flat_map(numbers).collect())
    },
};

/// The commands and subcommands of a category.
fn in_category(name: &'static str) -> impl Iterator<Item = &'static Found> {
    let rows = all().flat_map(|found| std::iter::once(found).chain(found.subcommands()));
    rows.filter(move |found| found.spec.categories().any(|category| category == name))
}

// ---- the check --------------------------------------------------------------------------------------------------

/// Whether a client may run a request: it has logged in, and its user's rules allow it. What is denied is logged.
pub(super) fn admit(engine: &Engine, client: &Client, found: &Found, args: Args<'_>, now: Millis) -> Result<()> {
    let is_open = found.spec.flags.has(Flags::NO_AUTH);
    // A client from before the password was taken away needs none either.
    let is_stranger = match &client.user {
        Some(user) => user.is_gone(),
        None => !client.authenticated && engine.acl.needs_auth(),
    };
    if is_stranger && !is_open {
        return Err(Error::NoAuth);
    }
    let context = if client.is_in_multi() { Context::Multi } else { Context::Toplevel };
    let text = match denied(engine, client, found, args, context, now) {
        None => return Ok(()),
        Some(Denied::Command) => {
            format!("this user has no permissions to run the '{}' command", found.full_name())
        }
        Some(Denied::Key(_)) => "this user has no permissions to access one of the keys used as arguments".to_owned(),
        Some(Denied::Channel(_)) => {
            "this user has no permissions to access one of the channels used as arguments".to_owned()
        }
    };
    Err(Error::NoPerm(text))
}

/// Whether a client may still run what it had queued: its user may have lost rights meanwhile.
pub(super) fn admit_queued(engine: &Engine, client: &Client, found: &Found, args: Args<'_>, now: Millis) -> Result<()> {
    let why = match denied(engine, client, found, args, Context::Multi, now) {
        None => return Ok(()),
        Some(Denied::Command) => "no permission to execute the command or subcommand",
        Some(Denied::Key(_)) => "no permission to touch the specified keys",
        Some(Denied::Channel(_)) => "no permission to access one of the channels used as arguments",
    };
    Err(Error::NoPerm(format!(
        "ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no \
         longer allowed for the following reason: {why}"
    )))
}

/// Whether a client may run what its script runs; Redis' words if not.
#[cfg(feature = "server")]
pub(super) fn admit_scripted(
    engine: &Engine,
    client: &Client,
    found: &Found,
    args: Args<'_>,
    now: Millis,
) -> std::result::Result<(), &'static str> {
    match denied(engine, client, found, args, Context::Lua, now) {
        None => Ok(()),
        Some(Denied::Command) => Err("ERR The user executing the script can't run this command or subcommand"),
        Some(Denied::Key(_)) => Err(
            "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments",
        ),
        Some(Denied::Channel(_)) => {
            Err("ERR The user executing the script can't publish to the channel mentioned in the command")
        }
    }
}

/// Whether a client may run a command, as far as rights go.
#[cfg(feature = "server")]
pub(super) fn may_run(engine: &Engine, client: &Client, found: &Found, args: Args<'_>) -> bool {
    let user = client.user(engine);
    user.is_free() || check(&user.rules(), found, args).is_ok()
}

/// What a client lacks for a request, which is logged and counted.
fn denied(
    engine: &Engine,
    client: &Client,
    found: &Found,
    args: Args<'_>,
    context: Context,
    now: Millis,
) -> Option<Denied> {
    let user = client.user(engine);
    if user.is_free() {
        return None;
    }
    // Who is gone may only become somebody else.
    let denied = match user.is_gone() && !found.spec.flags.has(Flags::NO_AUTH) {
        true => Denied::Command,
        false => check(&user.rules(), found, args).err()?,
    };
    client.peer.last_command.store(found.number as u32 + 1, Ordering::Relaxed);
    let block = engine.metrics.block(client.worker());
    let name;
    let (reason, object) = match denied {
        Denied::Command => {
            block.denied_commands.add(1);
            name = found.full_name();
            ("command", name.as_bytes())
        }
        Denied::Key(at) => {
            block.denied_keys.add(1);
            ("key", args.word(at))
        }
        Denied::Channel(at) => {
            block.denied_channels.add(1);
            ("channel", args.word(at))
        }
    };
    note(engine, client, (reason, context), object, &user.name, now);
    Some(denied)
}

/// Whether rules allow a request.
fn check(rules: &Rules, found: &Found, args: Args<'_>) -> std::result::Result<(), Denied> {
    wish(found, args, |wish| rules.check(wish))
}

/// Whether the client may read every key there is with a request that, besides the keys it names, reads others that
/// nobody can foresee, as SORT does.
pub fn may_read_all(ctx: &Ctx<'_>, args: Args<'_>) -> bool {
    let user = ctx.client.user(ctx.engine);
    user.is_free() || lookup(args).is_ok_and(|found| wish(found, args, |wish| user.rules().check_reading_all(wish)))
}

/// What a request would touch.
fn wish<R>(found: &Found, args: Args<'_>, ask: impl FnOnce(Wish<'_>) -> R) -> R {
    ask(Wish {
        number: found.number,
        is_open: found.spec.flags.has(Flags::NO_AUTH),
        args,
        first: 1 + usize::from(found.container.is_some()),
        keys: &touches(found.spec, args),
        channels: &channels(found, args),
    })
}

/// The keys of a request, and what it does with them.
fn touches(spec: &Spec, args: Args<'_>) -> SmallVec<[Touch; 8]> {
    let mut touches = SmallVec::new();
    for run in spec.keys.runs() {
        if run.count_at > 0 {
            let at = run.count_at as usize;
            let count = args.get(at).and_then(num::parse_i64).and_then(|count| usize::try_from(count).ok());
            // What announces more keys than it has is refused later, and has none at all until then.
            if count.is_none_or(|count| count > args.len() - 1 - at) {
                return SmallVec::new();
            }
        }
        let access = docs::access(run, args);
        let reads = access.contains(&"access");
        let writes = access.iter().any(|word| matches!(*word, "insert" | "update" | "delete"));
        touches.extend(run.positions(args).map(|at| Touch { at, reads, writes }));
    }
    touches
}

/// The channels of a request that a user must have a right to, and whether they are patterns. Leaving needs none.
fn channels(found: &Found, args: Args<'_>) -> SmallVec<[(usize, bool); 4]> {
    if !found.spec.flags.has(Flags::PUBSUB) || found.container.is_some() {
        return SmallVec::new();
    }
    match found.spec.name {
        "PUBLISH" | "SPUBLISH" => [(1, false)].into_iter().collect(),
        "SUBSCRIBE" | "SSUBSCRIBE" => (1..args.len()).map(|at| (at, false)).collect(),
        "PSUBSCRIBE" => (1..args.len()).map(|at| (at, true)).collect(),
        _ => SmallVec::new(),
    }
}

/// Notes in ACL LOG that somebody was denied something. Names are kept as far as those of slow commands are.
fn note(
    engine: &Engine,
    client: &Client,
    (reason, context): (&'static str, Context),
    object: &[u8],
    user: &[u8],
    now: Millis,
) {
    let kept = |name: &[u8]| super::run::shown(engine, name, Slowlog::WORD_MAX).into_owned();
    let at = engine.clock.to_wall(now);
    let entry = Entry {
        id: 0,
        count: 1,
        reason,
        context,
        object: kept(object),
        user: kept(user),
        client: client_list::line(&client.peer, now).trim_end().to_owned(),
        created: at,
        updated: at,
    };
    engine.acl.log.push(entry, engine.hot.acllog_max());
}

/// Makes a client a user, if the password is right.
pub(super) fn log_in(ctx: &mut Ctx<'_>, args: Args<'_>, name: &[u8], password: &[u8]) -> Result<()> {
    let ip = ctx.client.peer.addr.ip();
    if let Some(wait) = ctx.engine.guesses.wait(ip, ctx.now) {
        ctx.engine.metrics.block(ctx.client.worker()).delayed_logins.add(1);
        return Err(Error::Guessing(wait.0.div_ceil(1000)));
    }
    let Some(user) = ctx.engine.acl.log_in(name, password) else {
        ctx.engine.guesses.note(ip, ctx.now);
        ctx.engine.metrics.block(ctx.client.worker()).auth_failures.add(1);
        let context = if ctx.client.never_waits { Context::Multi } else { Context::Toplevel };
        note(ctx.engine, ctx.client, ("auth", context), args.word(0), name, ctx.now);
        return Err(Error::WrongPass);
    };
    ctx.client.authenticated = true;
    ctx.client.set_user(Some(user).filter(|user| user.name != DEFAULT.as_bytes()));
    Ok(())
}

// ---- at start ---------------------------------------------------------------------------------------------------

/// Takes the users of the settings, or of the ACL file they name.
pub fn load_users(engine: &Engine) -> std::result::Result<(), String> {
    let (users, path) = engine.with_config(|config| (config.users.clone(), config.acl_path()));
    if users.is_empty() && path.is_none() {
        return Ok(());
    }
    if !users.is_empty() && path.is_some() {
        return Err("there are users in the settings and in an aclfile: name them in one place only".to_owned());
    }
    for user in &users {
        engine.acl.configure(user, &TABLE)?;
    }
    if let Some(path) = path {
        load_file(engine, &path)?;
    }
    for user in engine.acl.users().iter().filter(|user| !user.rules().is_on()) {
        let name = String::from_utf8_lossy(&user.name);
        tracing::warn!("user {name} is off: nobody can log in as this user until a rule says 'on'");
    }
    engine.with_config(|config| config.check_doors(engine.acl.needs_auth()))
}

/// Reads the ACL file again, if the settings name one, as ACL LOAD does. Answers whether there is one.
pub fn reload_users(engine: &Engine) -> std::result::Result<bool, String> {
    let Some(path) = engine.with_config(|config| config.acl_path()) else { return Ok(false) };
    let gone = load_file(engine, &path)?;
    engine.clients.all().iter().filter(|peer| is_one_of(peer, &gone)).for_each(|peer| peer.kill());
    Ok(true)
}

/// Takes the users of a file in place of all others, and answers who those were.
fn load_file(engine: &Engine, path: &Path) -> std::result::Result<Vec<Arc<User>>, String> {
    let (name, password) = engine.with_config(|config| (config.aclfile.clone(), config.requirepass.clone()));
    let text =
        engine.machine().read(path).map_err(|error| format!("Error loading ACLs, opening file '{name}': {error}"))?;
    engine.acl.load(&name, &text, &password, &TABLE)
}

// ---- handlers ---------------------------------------------------------------------------------------------------

fn cat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match args.len() {
        2 => {
            ctx.reply.array(CATEGORIES.len());
            CATEGORIES.iter().for_each(|name| ctx.reply.bulk(name.as_bytes()));
        }
        3 => {
            let given = args.word(2);
            let category = CATEGORIES.into_iter().find(|name| name.as_bytes().eq_ignore_ascii_case(given));
            let category = category.ok_or_else(|| {
                let given = String::from_utf8_lossy(&given[..given.len().min(128)]);
                Error::Refused(format!("Unknown category '{given}'").into())
            })?;
            ctx.reply.array(in_category(category).count());
            in_category(category).for_each(|found| ctx.reply.bulk(found.full_name().as_bytes()));
        }
        _ => return Err(wrong_count("ACL", args.word(1))),
    }
    Ok(())
}

fn del_user(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let names = args.tail(2);
    if names.iter().any(|name| name == DEFAULT.as_bytes()) {
        return Err(Error::refused("The 'default' user cannot be removed"));
    }
    let gone: Vec<_> = names.iter().filter_map(|name| ctx.engine.acl.delete(name)).collect();
    close_clients(ctx, &gone);
    ctx.reply.count(gone.len());
    Ok(())
}

/// Closes the clients of users who are gone; who asked gets an answer first.
fn close_clients(ctx: &mut Ctx<'_>, gone: &[Arc<User>]) {
    for peer in ctx.engine.clients.all() {
        if !is_one_of(&peer, gone) {
            continue;
        }
        if peer.id == ctx.client.peer.id {
            ctx.client.flow = Flow::Close;
        } else {
            peer.kill();
        }
    }
}

/// Whether a client is logged in as one of these.
fn is_one_of(peer: &Peer, users: &[Arc<User>]) -> bool {
    peer.user().is_some_and(|user| users.iter().any(|other| Arc::ptr_eq(other, &user)))
}

fn dry_run(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let shown = |at: usize| String::from_utf8_lossy(args.word(at)).into_owned();
    let user = ctx.engine.acl.user(args.word(2));
    let user = user.ok_or_else(|| Error::Refused(format!("User '{}' not found", shown(2)).into()))?;
    let request = args.tail(3);
    let found = lookup(request).map_err(|error| match error {
        Error::Arity(_) => error,
        _ => Error::Refused(format!("Command '{}' not found", shown(3)).into()),
    })?;
    let (at, kind) = match check(&user.rules(), found, request) {
        Ok(()) => {
            ctx.reply.ok();
            return Ok(());
        }
        Err(Denied::Command) => {
            let text = format!("This user has no permissions to run the '{}' command", found.full_name());
            ctx.reply.bulk(text.as_bytes());
            return Ok(());
        }
        Err(Denied::Key(at)) => (at, "key"),
        Err(Denied::Channel(at)) => (at, "channel"),
    };
    let text: [&[u8]; 4] = [b"This user has no permissions to access the '", request.word(at), b"' ", kind.as_bytes()];
    ctx.reply.bulk(&text.concat());
    Ok(())
}

fn gen_pass(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    const BITS_MAX: i64 = 4096;
    let bits = match args.len() {
        2 => 256,
        3 => args.int(2)?,
        _ => return Err(wrong_count("ACL", args.word(1))),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        let text = "ACL GENPASS argument must be the number of bits for the output password, a positive number up to";
        return Err(Error::Refused(format!("{text} {BITS_MAX}").into()));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    ctx.reply.bulk(&num::hex(&bytes).as_bytes()[..digits]);
    Ok(())
}

fn get_user(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let Some(user) = ctx.engine.acl.user(args.word(2)) else {
        ctx.reply.null();
        return Ok(());
    };
    let rules = user.rules();
    let reply = &mut ctx.reply;
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(rules.flags().count());
    rules.flags().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(rules.hashes().len());
    rules.hashes().for_each(|hash| reply.bulk(hash.as_bytes()));
    describe(reply, rules.root());
    reply.bulk(b"selectors");
    reply.array(rules.selectors().len());
    for selector in rules.selectors() {
        reply.map(3);
        describe(reply, selector);
    }
    Ok(())
}

/// The three fields of a selector.
fn describe(reply: &mut Reply<'_>, selector: &Selector) {
    reply.bulk(b"commands");
    reply.bulk(selector.describe_commands().as_bytes());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys());
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

fn list(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let lines = ctx.engine.acl.lines();
    ctx.reply.array(lines.len());
    lines.iter().for_each(|line| ctx.reply.bulk(line));
    Ok(())
}

/// Redis' words where no ACL file is named.
const NO_FILE: Error = Error::refused(
    "This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
     users in the Redis configuration.",
);

fn load(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let path = ctx.engine.with_config(|config| config.acl_path()).ok_or(NO_FILE)?;
    let gone = load_file(ctx.engine, &path).map_err(|text| Error::Refused(text.into()))?;
    close_clients(ctx, &gone);
    ctx.reply.ok();
    Ok(())
}

fn save(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let path = ctx.engine.with_config(|config| config.acl_path()).ok_or(NO_FILE)?;
    let mut text = ctx.engine.acl.lines().join(&b'\n');
    text.push(b'\n');
    ctx.engine.machine().replace(&path, &text).map_err(|error| {
        tracing::warn!(%error, "ACL SAVE failed");
        Error::refused("There was an error trying to save the ACLs. Please check the server logs for more information")
    })?;
    ctx.reply.ok();
    Ok(())
}

fn log(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    /// How many are told when nobody says.
    const COUNT_DEFAULT: i64 = 10;
    let count = match args.len() {
        2 => COUNT_DEFAULT,
        3 if args.is(2, "RESET") => {
            ctx.engine.acl.log.clear();
            ctx.reply.ok();
            return Ok(());
        }
        3 => args.int(2)?,
        _ => return Err(wrong_count("ACL", args.word(1))),
    };
    let entries = ctx.engine.acl.log.newest(usize::try_from(count).unwrap_or(0));
    let now = ctx.engine.clock.to_wall(ctx.now);
    let reply = &mut ctx.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk(b"count");
        reply.int(entry.count as i64);
        reply.bulk(b"reason");
        reply.bulk(entry.reason.as_bytes());
        reply.bulk(b"context");
        reply.bulk(entry.context.name().as_bytes());
        reply.bulk(b"object");
        reply.bulk(&entry.object);
        reply.bulk(b"username");
        reply.bulk(&entry.user);
        reply.bulk(b"age-seconds");
        reply.double(now.saturating_sub(entry.updated) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(entry.client.as_bytes());
        reply.bulk(b"entry-id");
        reply.int(entry.id as i64);
        reply.bulk(b"timestamp-created");
        reply.int(entry.created as i64);
        reply.bulk(b"timestamp-last-updated");
        reply.int(entry.updated as i64);
    }
    Ok(())
}

fn set_user(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let name = args.word(2);
    if name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b)) {
        return Err(Error::refused("Usernames can't contain spaces or null characters"));
    }
    let rules: Vec<&[u8]> = args.tail(3).iter().collect();
    let set = ctx.engine.acl.set_user(name, &rules, &TABLE);
    let (user, _) = set.map_err(|text| Error::Refused(text.into()))?;
    close_subscribers(ctx, &user);
    ctx.reply.ok();
    Ok(())
}

/// Closes the clients of a user who hear what the user may hear no longer; who asked gets an answer first.
fn close_subscribers(ctx: &mut Ctx<'_>, user: &Arc<User>) {
    if ctx.engine.pubsub.is_empty() {
        return;
    }
    let rules = user.rules();
    for peer in ctx.engine.clients.all() {
        if !peer.is_subscriber() || !client_list::is_user(&peer, user) {
            continue;
        }
        let keeps = |topic: Topic| {
            let names = ctx.engine.pubsub.heard_by(&peer, topic);
            names.iter().all(|name| rules.allows_channel(name, topic == Topic::Pattern))
        };
        if [Topic::Channel, Topic::Pattern, Topic::Shard].into_iter().all(keeps) {
            continue;
        }
        if peer.id == ctx.client.peer.id {
            ctx.client.flow = Flow::Close;
        } else {
            peer.kill();
        }
    }
}

fn users(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let users = ctx.engine.acl.users();
    ctx.reply.array(users.len());
    users.iter().for_each(|user| ctx.reply.bulk(&user.name));
    Ok(())
}

fn who_am_i(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.bulk(&ctx.client.user(ctx.engine).name);
    Ok(())
}
