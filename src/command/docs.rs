//! COMMAND: what the table says of itself, as clients and redis-cli ask for it.

use super::help;
use super::spec::tips;
use super::usage::{self, Argument};
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Found, Group, Keys, Spec, all, find, find_full, lookup};
use crate::error::{Error, Result};
use crate::glob;
use crate::resp::{Args, Reply};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec {
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::CONNECTION),
    group: Group::Server,
    since: "2.8.13",
    cost: "O(N) where N is the number of commands to look up",
    ..Spec::BASE
};

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "COMMAND",
    run: command,
    arity: AtLeast(1),
    tips: tips::ORDER_VARIES,
    cost: "O(N) where N is the total number of commands",
    summary: "Returns detailed information about all commands.",
    subs: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec { name: "COUNT", run: count, arity: Exactly(2), cost: "O(1)", summary: "Returns a count of commands.", ..ROW },
    Spec {
        name: "DOCS",
        run: docs,
        arity: AtLeast(2),
        usage: "[command-name [command-name ...]]",
        since: "7.0.0",
        tips: tips::ORDER_VARIES,
        summary: "Returns documentary information about one, multiple or all commands.",
        ..ROW
    },
    Spec {
        name: "GETKEYS",
        run: |ctx, args| keys(ctx, args, false),
        arity: AtLeast(3),
        secret: |args, at| is_secret_in(args, at, 2),
        usage: "command [arg [arg ...]]",
        cost: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names from an arbitrary command.",
        ..ROW
    },
    Spec {
        name: "GETKEYSANDFLAGS",
        run: |ctx, args| keys(ctx, args, true),
        arity: AtLeast(3),
        secret: |args, at| is_secret_in(args, at, 2),
        usage: "command [arg [arg ...]]",
        since: "7.0.0",
        cost: "O(N) where N is the number of arguments to the command",
        summary: "Extracts the key names and access flags for an arbitrary command.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "COMMAND", HELP),
        arity: Exactly(2),
        since: "5.0.0",
        cost: "O(1)",
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "INFO",
        run: info,
        arity: AtLeast(2),
        usage: "[command-name [command-name ...]]",
        tips: tips::ORDER_VARIES,
        summary: "Returns information about one, multiple or all commands.",
        ..ROW
    },
    Spec {
        name: "LIST",
        run: list,
        arity: AtLeast(2),
        usage: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        since: "7.0.0",
        tips: tips::ORDER_VARIES,
        cost: "O(N) where N is the total number of commands",
        summary: "Returns a list of command names.",
        ..ROW
    },
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];

/// Whether a word is secret in the request that begins at a position and is only spoken of. One that speaks of another in
/// its turn is secret as a whole: it makes no sense, and may go on like that for a million words.
pub(super) fn is_secret_in(args: Args<'_>, at: usize, begin: usize) -> bool {
    let request = args.tail(begin);
    let speaks_of_another = |found: &Found| {
        let container = found.container.map(|container| container.name);
        matches!(
            (container, found.spec.name),
            (Some("COMMAND"), "GETKEYS" | "GETKEYSANDFLAGS") | (Some("ACL"), "DRYRUN")
        )
    };
    at > begin
        && lookup(request).is_ok_and(|found| speaks_of_another(found) || (found.spec.secret)(request, at - begin))
}

fn command(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.array(all().count());
    all().for_each(|found| describe(&mut ctx.reply, found));
    Ok(())
}

fn count(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.count(all().count());
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if args.len() == 2 {
        return command(ctx, args);
    }
    ctx.reply.array(args.len() - 2);
    for name in args.tail(2).iter() {
        // One that is named often comes often.
        if ctx.reply.is_over() {
            break;
        }
        match find_full(name) {
            Some(found) => describe(&mut ctx.reply, found),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

/// The ten elements of COMMAND INFO.
fn describe(reply: &mut Reply<'_>, found: &Found) {
    let spec = found.spec;
    reply.array(10);
    reply.bulk(found.full_name().as_bytes());
    reply.int(spec.arity.number());
    statuses(reply, spec.flags.words());
    let keys = spec.keys;
    // Counted keys are found by looking at the request alone.
    let step = if keys.count_at > 0 { 0 } else { keys.step };
    for position in [keys.first, keys.last_in_row(), step] {
        reply.int(position.into());
    }
    let mark = reply.mark();
    let named = spec.categories().map(|name| reply.simple(&format!("@{name}"))).count();
    reply.set_from(mark, named);
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    key_specs(reply, spec);
    reply.set(spec.subs.len());
    found.subcommands().iter().for_each(|sub| describe(reply, sub));
}

fn statuses<'w>(reply: &mut Reply<'_>, words: impl Iterator<Item = &'w str>) {
    let mark = reply.mark();
    let count = words.map(|word| reply.simple(word)).count();
    reply.set_from(mark, count);
}

/// What the keys are for and where they lie; the last one is described apart where something else happens to it.
fn key_specs(reply: &mut Reply<'_>, spec: &Spec) {
    reply.set(spec.keys.runs().count());
    for keys in spec.keys.runs() {
        key_spec(reply, keys);
    }
}

fn key_spec(reply: &mut Reply<'_>, keys: Keys) {
    reply.map(3);
    reply.bulk(b"flags");
    statuses(reply, keys.access.iter().copied());
    // A last key counted from the start is given relative to the first one.
    let last = if keys.last < 0 { keys.last } else { keys.last - keys.first };
    if keys.option.is_some() {
        // Redis has no words for such a place either.
        for name in ["begin_search", "find_keys"] {
            reply.bulk(name.as_bytes());
            reply.map(2);
            reply.bulk(b"type");
            reply.bulk(b"unknown");
            reply.bulk(b"spec");
            reply.map(0);
        }
        return;
    }
    let begin: &[(&str, i8)] = &[("index", keys.first.max(keys.count_at))];
    let range: &[(&str, i8)] = &[("lastkey", last), ("keystep", keys.step), ("limit", 0)];
    let counted: &[(&str, i8)] = &[("keynumidx", 0), ("firstkey", 1), ("keystep", keys.step)];
    let find = if keys.count_at > 0 { ("find_keys", "keynum", counted) } else { ("find_keys", "range", range) };
    for (name, kind, pairs) in [("begin_search", "index", begin), find] {
        reply.bulk(name.as_bytes());
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(kind.as_bytes());
        reply.bulk(b"spec");
        reply.map(pairs.len());
        for (name, number) in pairs {
            reply.bulk(name.as_bytes());
            reply.int((*number).into());
        }
    }
}

fn docs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let mark = ctx.reply.mark();
    let mut count = 0;
    let mut tell = |reply: &mut Reply<'_>, found: &'static Found| {
        if reply.is_over() {
            return;
        }
        reply.bulk(found.full_name().as_bytes());
        document(reply, found);
        count += 1;
    };
    if args.len() == 2 {
        all().for_each(|found| tell(&mut ctx.reply, found));
    } else {
        args.tail(2).iter().filter_map(find_full).for_each(|found| tell(&mut ctx.reply, found));
    }
    ctx.reply.map_from(mark, count);
    Ok(())
}

/// The map that COMMAND DOCS has for a command.
fn document(reply: &mut Reply<'_>, found: &Found) {
    let spec = found.spec;
    let mark = reply.mark();
    let texts = [
        ("summary", spec.summary.trim_end_matches('.')),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.cost),
    ];
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    let mut pairs = texts.len();
    let arguments = usage::arguments(spec.usage);
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        document_arguments(reply, &arguments);
        pairs += 1;
    }
    if !spec.subs.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(spec.subs.len());
        for sub in found.subcommands() {
            reply.bulk(sub.full_name().as_bytes());
            document(reply, sub);
        }
        pairs += 1;
    }
    reply.map_from(mark, pairs);
}

fn document_arguments(reply: &mut Reply<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        let mark = reply.mark();
        let kind = argument.type_name();
        let mut pairs = vec![("name", argument.name.as_str()), ("type", kind)];
        if argument.parts().is_empty() {
            pairs.push(("display_text", &argument.name));
        }
        if let Some(token) = &argument.token {
            pairs.push(("token", token));
        }
        for (name, text) in &pairs {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        let mut count = pairs.len();
        if kind == "key" {
            reply.bulk(b"key_spec_index");
            reply.int(0);
            count += 1;
        }
        if argument.optional || argument.multiple {
            let flags = [(argument.optional, "optional"), (argument.multiple, "multiple")];
            reply.bulk(b"flags");
            statuses(reply, flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name));
            count += 1;
        }
        if !argument.parts().is_empty() {
            reply.bulk(b"arguments");
            document_arguments(reply, argument.parts());
            count += 1;
        }
        reply.map_from(mark, count);
    }
}

/// The keys of the command that follows.
fn keys(ctx: &mut Ctx<'_>, args: Args<'_>, with_flags: bool) -> Result<()> {
    let request = args.tail(2);
    let sub = |found: &'static Found| request.get(1).and_then(|word| found.subcommand(word)).unwrap_or(found);
    let found = find(request.word(0)).map(sub).ok_or(Error::refused("Invalid command specified"))?;
    let spec = found.spec;
    // A container alone, or with a subcommand that it does not have.
    if !spec.subs.is_empty() {
        return Err(Error::refused("Invalid command specified"));
    }
    if !spec.keys.names_keys() {
        return Err(Error::refused("The command has no key arguments"));
    }
    if !spec.arity.admits(request.len()) {
        return Err(Error::refused("Invalid number of arguments specified for command"));
    }
    let reply = &mut ctx.reply;
    if !spec.keys.counts_fit(request) {
        // Only scripts need no keys.
        if spec.group != Group::Scripting {
            return Err(Error::refused("Invalid arguments specified for command"));
        }
        reply.array(0);
        return Ok(());
    }
    reply.array(spec.keys.positions(request).count());
    for run in spec.keys.runs() {
        let access = access(run, request);
        for position in run.positions(request) {
            if with_flags {
                reply.array(2);
            }
            reply.bulk(request.word(position));
            if with_flags {
                statuses(reply, access.iter().copied());
            }
        }
    }
    Ok(())
}

/// What a request does to a run of keys. That of two commands depends on their options: SET looks at what was there if it
/// is asked to, and BITFIELD may only read.
pub(super) fn access(keys: Keys, request: Args<'_>) -> &'static [&'static str] {
    if !keys.access.contains(&"variable_flags") {
        keys.access
    } else if request.is(0, "BITFIELD") {
        if only_gets(request) { &["RO", "access"] } else { &["RW", "access", "update"] }
    } else if (3..request.len()).any(|at| request.is(at, "GET")) {
        &["RW", "access", "update"]
    } else {
        &["OW", "update"]
    }
}

/// Whether a BITFIELD reads and no more; one that is not understood is taken to write.
fn only_gets(request: Args<'_>) -> bool {
    let mut at = 2;
    while at < request.len() {
        let behind = request.len() - at - 1;
        at += match () {
            () if request.is(at, "GET") && behind >= 2 => 3,
            () if request.is(at, "OVERFLOW") && behind >= 1 => 2,
            () => return false,
        };
    }
    true
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let filter = match args.len() {
        2 => None,
        5 if args.is(2, "FILTERBY") => Some((args.word(3), args.word(4))),
        _ => return Err(Error::Syntax),
    };
    type Test<'t> = Box<dyn Fn(&Found) -> bool + 't>;
    let fits: Test<'_> = match filter {
        None => Box::new(|_| true),
        Some((kind, text)) if kind.eq_ignore_ascii_case(b"pattern") => {
            Box::new(|found| glob::matches(text, found.full_name().as_bytes(), true))
        }
        Some((kind, text)) if kind.eq_ignore_ascii_case(b"aclcat") => {
            Box::new(|found| found.spec.categories().any(|name| name.as_bytes().eq_ignore_ascii_case(text)))
        }
        // There are no modules, so none of them has a command.
        Some((kind, _)) if kind.eq_ignore_ascii_case(b"module") => Box::new(|_| false),
        Some(_) => return Err(Error::Syntax),
    };
    let mark = ctx.reply.mark();
    let rows = all().flat_map(|found| std::iter::once(found).chain(found.subcommands()));
    let count = rows.filter(|found| fits(found)).map(|found| ctx.reply.bulk(found.full_name().as_bytes())).count();
    ctx.reply.array_from(mark, count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use super::*;

    #[test]
    fn a_command_is_described_in_ten_elements() {
        let mut t = Transcript::start();
        t.say("COMMAND INFO memory|usage nosuch client|nosuch ping|x").hears(
            "*4 *10 $12 memory|usage :-3 *1 +readonly :2 :2 :1 *2 +@read +@slow *0 *1 *6 $5 flags *1 +RO $12 \
             begin_search *4 $4 type $5 index $4 spec *2 $5 index :2 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 \
             lastkey :0 $7 keystep :1 $5 limit :0 *0 $-1 $-1 $-1",
        );
        t.say("HELLO 3");
        t.say("COMMAND INFO select")
            .hears("*1 *10 $6 select :2 ~3 +loading +stale +fast :0 :0 :0 ~2 +@fast +@connection ~0 ~0 ~0");
        t.say("COMMAND INFO config")
            .hears_start("*1 *10 $6 config :-2 ~0 :0 :0 :0 ~1 +@slow ~0 ~0 ~5 *10 $10 config|get");
        let count = all().count();
        t.say("COMMAND COUNT").hears(&format!(":{count}"));
        t.say("COMMAND").hears_start(&format!("*{count} *10 "));
        t.say("COMMAND INFO").hears_start(&format!("*{count} *10 "));
        t.say("COMMAND DOCS").hears_start(&format!("%{count} $4 auth %5 "));
    }

    #[test]
    fn a_command_is_documented() {
        let mut t = Transcript::start();
        t.say("COMMAND DOCS nosuch").hears("*0");
        t.say("COMMAND DOCS select nosuch").hears(
            "*2 $6 select *10 $7 summary $29 Changes the selected database $5 since $5 1.0.0 $5 group $10 connection \
             $10 complexity $4 O(1) $9 arguments *1 *6 $4 name $5 index $4 type $7 integer $12 display_text $5 index",
        );
        t.say("COMMAND DOCS client|list").hears_start("*2 $11 client|list *10 $7 summary ");
        let text = t.say("COMMAND DOCS slowlog").text();
        assert!(text.contains("$11 subcommands *8 $11 slowlog|get *10 "), "{text}");
        assert!(
            text.contains(
                "$9 arguments *1 *8 $4 name $5 count $4 type $7 integer $12 display_text $5 count $5 \
                               flags *1 +optional"
            ),
            "{text}"
        );
    }

    #[test]
    fn keys_are_found_in_a_request() {
        let mut t = Transcript::start();
        t.say("COMMAND GETKEYS memory usage a samples 5").hears("*1 $1 a");
        t.say("COMMAND GETKEYSANDFLAGS MEMORY USAGE a").hears("*1 *2 $1 a *1 +RO");
        t.say("COMMAND GETKEYSANDFLAGS set k v").hears("*1 *2 $1 k *2 +OW +update");
        t.say("COMMAND GETKEYSANDFLAGS set k v get").hears("*1 *2 $1 k *3 +RW +access +update");
        t.say("COMMAND GETKEYSANDFLAGS mset a b c d").hears("*2 *2 $1 a *2 +OW +update *2 $1 c *2 +OW +update");
        t.say("COMMAND GETKEYSANDFLAGS rename a b").hears("*2 *2 $1 a *3 +RW +access +delete *2 $1 b *2 +OW +update");
        t.say("COMMAND GETKEYS ping a").hears("-ERR The command has no key arguments");
        t.say("COMMAND GETKEYS object nosuch a").hears("-ERR Invalid command specified");
        t.say("COMMAND GETKEYS LMPOP 3 a b LEFT").hears("*3 $1 a $1 b $4 LEFT");
        for line in ["LMPOP 4 a b LEFT", "LMPOP 0 a LEFT", "ZUNIONSTORE to x a", "ZINTER -1 a b"] {
            t.say(&format!("COMMAND GETKEYS {line}")).hears("-ERR Invalid arguments specified for command");
        }
        // How many keys there are is read as C's atoi reads.
        for line in ["LMPOP 1.5 a LEFT", "LMPOP 01a a LEFT", "LMPOP 4294967297 a LEFT", "EVAL x +1 a", "ZUNION 1x a"] {
            t.say(&format!("COMMAND GETKEYS {line}")).hears("*1 $1 a");
        }
        for line in ["LMPOP a1 a LEFT", "LMPOP 99999999999999999999 a LEFT", "LMPOP -- a LEFT"] {
            t.say(&format!("COMMAND GETKEYS {line}")).hears("-ERR Invalid arguments specified for command");
        }
        t.say("COMMAND GETKEYS nosuch a").hears("-ERR Invalid command specified");
        t.say("COMMAND GETKEYS memory usage").hears("-ERR Invalid number of arguments specified for command");
        t.say("COMMAND GETKEYS").hears("-ERR wrong number of arguments for 'command|getkeys' command");
    }

    #[test]
    fn names_are_listed_and_filtered() {
        let mut t = Transcript::start();
        let rows: usize = all().map(|found| 1 + found.spec.subs.len()).sum();
        t.say("COMMAND LIST").hears_start(&format!("*{rows} $4 auth "));
        t.say("COMMAND LIST FILTERBY PATTERN CONFIG|*re*").hears("*2 $16 config|resetstat $14 config|rewrite");
        t.say("COMMAND LIST filterby aclcat scripting").hears_start(match cfg!(feature = "server") {
            true => "*21 $4 eval $7 evalsha ",
            false => "*0",
        });
        t.say("COMMAND LIST FILTERBY ACLCAT nosuch").hears("*0");
        t.say("COMMAND LIST FILTERBY MODULE nosuch").hears("*0");
        for line in ["COMMAND LIST x", "COMMAND LIST FILTERBY x", "COMMAND LIST FILTERBY x y"] {
            t.say(line).hears("-ERR syntax error");
        }
        t.say("COMMAND nosuch").hears("-ERR unknown subcommand 'nosuch'. Try COMMAND HELP.");
        t.say("COMMAND HELP").hears_start("*21 +COMMAND <subcommand> ");
    }
}
