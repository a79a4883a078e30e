//! DEBUG: switches and looks inside, for tests. Only where `enable-debug-command` lets a client.
//!
//! What crashes, leaks or corrupts a server on purpose is not here.

use sha2::{Digest as _, Sha256};

use super::help;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Flow, Group, Spec, connection};
use crate::clock::{Millis, Ttl};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::num;
use crate::resp::{Args, Version};
use crate::store::{Element, Hash, List, Lot, Restored, STRING_MAX, Set, Store, Type, Value, ZSet, restore};

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "DEBUG",
    run: debug,
    arity: Arity::AtLeast(2),
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    usage: "subcommand [argument [argument ...]]",
    cost: "O(N) where N is what the subcommand looks at",
    summary: "A container for debugging commands.",
    group: Group::Server,
    ..Spec::BASE
}];

const NOT_ALLOWED: Error = Error::refused(
    "DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
     connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Change the replication IDs of the instance.",
    "    Dangerous: should be used only for testing the replication subsystem.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "HTSTATS <dbid>",
    "    Return hash table statistics of the specified Redis database.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PANIC [<message>]",
    "    Panic while serving this client, which ends it and no other.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "RELOAD [option ...]",
    "    Write a snapshot and read it again in the place of all there is. Options are:",
    "    * NOFLUSH: fail if there is anything that would come twice.",
    "    * MERGE: replace what is there twice.",
    "    * NOSAVE: read the last snapshot.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Setting it to 1 lets scripts run commands that are not for scripts.",
    "SLEEP <seconds>",
    "    Stop serving this client for <seconds>. Decimals allowed.",
    "JMAP, PAUSE-CRON, QUICKLIST-PACKED-THRESHOLD, REPLYBUFFER, SET-SKIP-CHECKSUM-VALIDATION",
    "    Accepted without effect: there is nothing here that they would change.",
];

/// Keys that POPULATE makes at once: beyond it a typing mistake would end the server.
const POPULATE_MAX: i64 = 10_000_000;

/// The longest SLEEP; more would be a client that never comes back.
const SLEEP_MAX: Ttl = Ttl::seconds(86_400);

fn debug(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if !ctx.engine.with_config(|config| config.enable_debug_command.allows(ctx.client.is_local)) {
        return Err(NOT_ALLOWED);
    }
    match (args.word(1).to_ascii_lowercase().as_slice(), args.len()) {
        (b"help", 2) => help::answer(ctx, "DEBUG", HELP),
        (b"sleep", 3) => sleep(ctx, args),
        (b"set-active-expire", 3) => {
            ctx.engine.set_active_expire(args.word(2) != b"0");
            done(ctx)
        }
        (b"set-disable-deny-scripts", 3) => {
            ctx.engine.scripts.let_run_all(args.word(2) != b"0");
            done(ctx)
        }
        (b"change-repl-id", 2) => {
            ctx.engine.change_replication_id();
            done(ctx)
        }
        (b"object", 3) => object(ctx, args),
        (b"digest", 2) => digest(ctx),
        (b"digest-value", _) => digest_values(ctx, args),
        (b"error", 3) => {
            let text = String::from_utf8_lossy(args.word(2)).into_owned();
            ctx.reply.raw_error(&text);
            Ok(())
        }
        (b"log", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(&ctx.engine.records().redacted(args.word(2))));
            done(ctx)
        }
        (b"panic", 2) => panic!("DEBUG PANIC"),
        (b"panic", 3) => panic!("DEBUG PANIC: {}", String::from_utf8_lossy(args.word(2))),
        (b"protocol", 3) => protocol(ctx, args.word(2)),
        (b"populate", 3..=5) => populate(ctx, args),
        (b"htstats", 3..) => table_stats(ctx, args),
        (b"reload", _) => reload(ctx, args),
        (b"loadaof" | b"restart", _) => Err(Error::refused("there is no append-only file to load")),
        (b"quicklist-packed-threshold", 3) => {
            num::parse_memory(args.word(2))
                .filter(|bytes| *bytes < 4 << 30)
                .ok_or(Error::refused("argument must be a memory value bigger than 1 and smaller than 4gb"))?;
            done(ctx)
        }
        (b"replybuffer", 4) if args.is(2, "PEAK-RESET-TIME") || args.is(2, "RESIZING") => done(ctx),
        (b"jmap", 2) | (b"pause-cron" | b"set-skip-checksum-validation", 3) => done(ctx),
        _ => Err(super::wrong_count("DEBUG", args.word(1))),
    }
}

fn done(ctx: &mut Ctx<'_>) -> Result<()> {
    ctx.reply.ok();
    Ok(())
}

/// Writes a snapshot and reads it in the place of all there is. Without a disk that is done value by value, in memory.
fn reload(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (mut saves, mut flushes, mut merges) = (true, true, false);
    for at in 2..args.len() {
        match args.word(at).to_ascii_lowercase().as_slice() {
            b"nosave" => saves = false,
            b"noflush" => flushes = false,
            b"merge" => merges = true,
            _ => {
                return Err(Error::refused("DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
            }
        }
    }
    let (engine, worker) = (ctx.engine, ctx.client.worker());
    let is_empty = || engine.functions.bytes() == 0 && engine.all_stores().all(Store::is_empty);
    if !flushes && !merges && !is_empty() {
        return Err(Error::refused("Error trying to load the RDB dump, check server logs."));
    }
    match engine.snapshots.keeper() {
        Err(_) => engine.alone(worker, ctx.now, |now| reload_in_memory(engine, now))??,
        Ok(keeper) => engine.alone(worker, ctx.now, |_| {
            if saves {
                keeper.save(engine)?;
            }
            if flushes {
                engine.flush(engine.keyspaces(), &Lot::default());
                engine.functions.flush();
            }
            keeper.reload(engine)
        })??,
    }
    done(ctx)
}

fn reload_in_memory(engine: &Engine, now: Millis) -> Result<()> {
    let compact = engine.with_config(|config| config.compact);
    for store in engine.all_stores() {
        let mut dumps = Vec::new();
        store.for_each(now, |value| {
            let mut bytes = Vec::new();
            value.dump(&mut bytes);
            dumps.push((value.name().to_vec(), bytes, value.deadline()));
        });
        for (name, bytes, deadline) in dumps {
            let value = restore(&bytes, STRING_MAX, &compact).ok_or(Error::refused("a value that cannot be read"))?;
            store.with(&name, now, |slot| match value {
                Restored::String(bytes) => slot.put_bytes(&bytes, deadline),
                Restored::Object(object) => slot.put_object(object, deadline),
            })?;
        }
    }
    Ok(())
}

/// Other clients go on; a server that stood still would be no test of it.
fn sleep(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let seconds = args.float(2)?.max(0.0);
    let ttl = Ttl((seconds * 1000.0) as u64);
    ctx.client.flow = Flow::Sleep(ttl.min(SLEEP_MAX));
    done(ctx)
}

fn object(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let store = ctx.store();
    let seen = store.peek(args.word(2), ctx.now, |value| {
        let idle = store.access(value.access(), ctx.now).idle().unwrap_or(0);
        let length = match value.kind() {
            Type::String => serialized(value.string().unwrap_or_default()),
            _ => {
                let mut dumped = Vec::new();
                value.dump(&mut dumped);
                dumped.len() - 1
            }
        };
        // Where it lies is nobody's business.
        format!(
            "Value at:0x000000000000 refcount:1 encoding:{} serializedlength:{length} lru:{} lru_seconds_idle:{idle}",
            value.encoding(),
            value.access()
        )
    });
    ctx.reply.simple(&seen.ok_or(Error::NoSuchKey)?);
    Ok(())
}

/// Bytes that a string takes in Redis' files, uncompressed.
fn serialized(bytes: &[u8]) -> usize {
    match num::parse_i64(bytes) {
        Some(-128..=127) => 2,
        Some(-32_768..=32_767) => 3,
        Some(number) if i32::try_from(number).is_ok() => 5,
        _ => {
            let head = match bytes.len() {
                0..64 => 1,
                64..16_384 => 2,
                _ => 5,
            };
            head + bytes.len()
        }
    }
}

/// A digest under way: the same mixture as Redis', of SHA-256 cut to the same 20 bytes, so that two states of one
/// server compare; with another server's digest it does not.
#[derive(Default)]
struct Digest([u8; 20]);

impl Digest {
    fn xor(&mut self, bytes: &[u8]) {
        let hash = Sha256::digest(bytes);
        self.0.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.xor(bytes);
        let hash = Sha256::digest(self.0);
        self.0.copy_from_slice(&hash[..20]);
    }

    fn mixed(&mut self, element: Element<'_>) {
        element.with_bytes(|bytes| self.mix(bytes));
    }

    fn value(&mut self, value: Value<'_>) {
        self.mix(&(value.kind() as u32).to_be_bytes());
        match value.kind() {
            Type::String => self.mix(value.string().unwrap_or_default()),
            Type::List => {
                value.collection::<List>().into_iter().flat_map(List::iter).for_each(|element| self.mixed(element))
            }
            // Members and fields have no order, so what each adds must not depend on one.
            Type::Set => {
                for member in value.collection::<Set>().into_iter().flat_map(Set::iter) {
                    member.with_bytes(|member| self.xor(member));
                }
            }
            Type::ZSet => {
                for (member, score) in value.collection::<ZSet>().into_iter().flat_map(ZSet::iter) {
                    let mut pair = Digest::default();
                    pair.mixed(member);
                    pair.mix(&score.to_be_bytes());
                    self.xor(&pair.0);
                }
            }
            Type::Hash => {
                for (field, text) in value.collection::<Hash>().into_iter().flat_map(Hash::iter) {
                    let mut pair = Digest::default();
                    pair.mixed(field);
                    pair.mixed(text);
                    self.xor(&pair.0);
                }
            }
        }
        if value.deadline() != Millis::NEVER {
            self.xor(b"!!expire!!");
        }
    }

    fn hex(&self) -> String {
        num::hex(&self.0)
    }
}

fn digest(ctx: &mut Ctx<'_>) -> Result<()> {
    let mut sum = Digest::default();
    for db in 0..ctx.engine.databases() {
        let store = ctx.engine.store(db);
        if store.is_empty() {
            continue;
        }
        sum.mix(&(db as u32).to_be_bytes());
        // Entries come in no order, so they are only ever added by exclusive or.
        store.for_each(ctx.now, |value| {
            let mut entry = Digest::default();
            entry.mix(value.name());
            entry.value(value);
            sum.xor(&entry.0);
        });
    }
    // As in Redis, nothing at all is all zeros.
    ctx.reply.simple(&sum.hex());
    Ok(())
}

fn digest_values(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.reply.array(args.len() - 2);
    for key in args.tail(2).iter() {
        let mut digest = Digest::default();
        let _ = ctx.store().peek(key, ctx.now, |value| digest.value(value));
        ctx.reply.simple(&digest.hex());
    }
    Ok(())
}

fn protocol(ctx: &mut Ctx<'_>, kind: &[u8]) -> Result<()> {
    let reply = &mut ctx.reply;
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double_display("3.141"),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.int(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.attribute(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.version() == Version::Resp2 => {
            return Err(Error::refused("RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", "This is a verbatim\nstring"),
        _ => {
            return Err(Error::refused(
                "Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

fn populate(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    const RANGE: Error = Error::refused("value is out of range, must be positive");
    let count = args.int_or(2, RANGE)?;
    let size = if args.len() > 4 { args.int_or(4, RANGE)? } else { 0 };
    if !(0..=POPULATE_MAX).contains(&count) || !(0..=ctx.engine.hot.bulk_max() as i64).contains(&size) {
        return Err(RANGE);
    }
    let prefix = args.get(3).unwrap_or(b"key");
    for number in 0..count {
        let key = [prefix, format!(":{number}").as_bytes()].concat();
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size as usize, 0);
        }
        ctx.store().with(&key, ctx.now, |slot| match slot.value() {
            Some(_) => Ok(()),
            None => slot.put_bytes(&value, Millis::NEVER),
        })?;
    }
    done(ctx)
}

fn table_stats(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let db = connection::database(ctx.engine, args.int(2)?).map_err(|_| Error::refused("Out of range database"))?;
    let (keys, expires) = Store::count(ctx.engine.store(db));
    let table = |title: &str, count: usize| match count {
        0 => format!("[{title}]\nNo stats available for empty dictionaries\n"),
        _ => format!("[{title}]\n number of elements: {count}\n"),
    };
    let text = table("Dictionary HT", keys) + &table("Expires HT", expires);
    ctx.reply.verbatim("txt", &text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use super::*;

    #[test]
    fn only_those_may_whom_the_setting_lets() {
        const REFUSED: &str = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
            you can run it from a local connection, otherwise you need to set this option in the configuration file, \
            and then restart the server.";
        Transcript::with(&[]).say("DEBUG HELP").hears(REFUSED);
        let mut t = Transcript::with(&[("enable-debug-command", "local")]);
        t.say("DEBUG JMAP").hears("+OK");
        t.client.is_local = false;
        t.say("DEBUG JMAP").hears(REFUSED);
    }

    #[test]
    fn sleeping_keeps_this_client_waiting() {
        let mut t = Transcript::start();
        t.say("DEBUG SLEEP 0.25").hears("+OK");
        assert_eq!(t.client.flow, Flow::Sleep(Ttl(250)));
        t.say("DEBUG SLEEP -1").hears("+OK");
        assert_eq!(t.client.flow, Flow::Sleep(Ttl(0)));
        t.say("DEBUG SLEEP 1e30").hears("+OK");
        assert_eq!(t.client.flow, Flow::Sleep(SLEEP_MAX));
        t.say("DEBUG SLEEP x").hears("-ERR value is not a valid float");
        t.say("DEBUG SLEEP").hears("-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.");
    }

    #[test]
    fn every_type_of_the_protocol_can_be_seen() {
        let mut t = Transcript::start();
        t.say("DEBUG PROTOCOL double").hears("$5 3.141");
        t.say("DEBUG PROTOCOL map").hears("*6 :0 :0 :1 :1 :2 :0");
        t.say("DEBUG PROTOCOL attrib").hears("$39 Some real reply following the attribute");
        t.say("DEBUG PROTOCOL push").hears("-ERR RESP2 is not supported by this command");
        t.say("DEBUG PROTOCOL nosuch").hears_start("-ERR Wrong protocol type name. Please use one of the following: ");
        t.say("HELLO 3");
        for (kind, reply) in [
            ("string", "$11 Hello World"),
            ("integer", ":12345"),
            ("double", ",3.141"),
            ("bignum", "(1234567999999999999999999999999999999"),
            ("null", "_"),
            ("array", "*3 :0 :1 :2"),
            ("set", "~3 :0 :1 :2"),
            ("map", "%3 :0 #f :1 #t :2 #f"),
            ("attrib", "|1 $14 key-popularity *2 $7 key:123 :90 $39 Some real reply following the attribute"),
            ("push", ">2 $16 server-cpu-usage :42 $40 Some real reply following the push reply"),
            ("verbatim", "=29 txt:This is a verbatim\nstring"),
            ("true", "#t"),
            ("false", "#f"),
        ] {
            t.say(&format!("DEBUG PROTOCOL {kind}")).hears(reply);
        }
    }

    #[test]
    fn a_digest_follows_the_content_and_nothing_else() {
        let mut t = Transcript::start();
        let zeros = format!("+{}", "0".repeat(40));
        t.say("DEBUG DIGEST").hears(&zeros);
        t.say("DEBUG DIGEST-VALUE a").hears(&format!("*1 {zeros}"));
        t.say("DEBUG POPULATE 100").hears("+OK");
        let all = t.say("DEBUG DIGEST").text();
        assert_eq!((all.len(), t.say("DEBUG DIGEST").text()), (41, all.clone()));
        let one = t.say("DEBUG DIGEST-VALUE key:7").text();
        t.engine.store(0).put(b"key:7", b"value:7", Ttl(100)).expect("a write");
        assert_ne!(t.say("DEBUG DIGEST").text(), all);
        assert_ne!(t.say("DEBUG DIGEST-VALUE key:7").text(), one);
        t.wait(Ttl(100));
        t.say("DEBUG POPULATE 100").hears("+OK");
        t.say("DEBUG DIGEST").hears(&all);
        t.say("DEBUG POPULATE 3 other 5").hears("+OK");
        t.say("DBSIZE").hears(":103");
        assert_eq!(t.engine.store(0).fetch(b"other:2").as_deref(), Some(&b"value"[..]));
        t.say("DEBUG POPULATE -1").hears("-ERR value is out of range, must be positive");
    }

    #[test]
    fn an_object_is_described() {
        let mut t = Transcript::start();
        t.engine.store(0).put(b"k", b"v", Ttl::seconds(9)).expect("a write");
        t.say("DEBUG OBJECT k")
            .hears_start("+Value at:0x000000000000 refcount:1 encoding:embstr serializedlength:2 lru:");
        t.say("DEBUG OBJECT nosuch").hears("-ERR no such key");
        assert_eq!(
            ["1", "300", "70000", "99999999999", &"x".repeat(100)].map(|text| serialized(text.as_bytes())),
            [2, 3, 5, 12, 102]
        );
    }

    #[test]
    fn switches_and_refusals() {
        let mut t = Transcript::start();
        t.say("DEBUG SET-ACTIVE-EXPIRE 0").hears("+OK");
        assert!(!t.engine.expires_actively());
        t.say("DEBUG SET-ACTIVE-EXPIRE 1").hears("+OK");
        assert!(t.engine.expires_actively());
        let before = t.engine.replication_id();
        t.say("DEBUG CHANGE-REPL-ID").hears("+OK");
        assert_ne!(t.engine.replication_id(), before);
        t.say(r#"DEBUG ERROR "CUSTOM a\r\nb""#).hears("-CUSTOM a  b");
        assert_eq!(t.engine.metrics.codes()["CUSTOM"], 1);
        t.say("DEBUG REPLYBUFFER RESIZING 0").hears("+OK");
        t.say("DEBUG QUICKLIST-PACKED-THRESHOLD 200b").hears("+OK");
        t.say("DEBUG QUICKLIST-PACKED-THRESHOLD x")
            .hears("-ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        t.say("DEBUG RELOAD").hears("+OK");
        t.say("DEBUG RELOAD NOFLUSH").hears("+OK");
        t.say("DEBUG RELOAD NOSAVE noflush MERGE").hears("+OK");
        t.say("DEBUG RELOAD X").hears("-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
        t.say("DEBUG LOADAOF").hears("-ERR there is no append-only file to load");
        t.say("DEBUG HTSTATS 77").hears("-ERR Out of range database");
        t.say("DEBUG HTSTATS 0").hears_start("$113 [Dictionary HT]\nNo stats available");
        t.say("SET a 1").hears("+OK");
        t.say("DEBUG RELOAD NOFLUSH").hears("-ERR Error trying to load the RDB dump, check server logs.");
        t.say("DEBUG nosuch")
            .hears("-ERR unknown subcommand or wrong number of arguments for 'nosuch'. Try DEBUG HELP.");
        t.say("DEBUG HELP").hears_start("*43 +DEBUG <subcommand> ");
    }
}
