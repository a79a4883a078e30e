//! CONFIG: the table of settings, read and changed while the server runs.

use std::io;

use super::help;
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Spec};
use crate::config::{self, Config, Param, render_redis_conf};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::glob;
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec {
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    group: Group::Server,
    since: "2.0.0",
    ..Spec::BASE
};

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "CONFIG",
    arity: AtLeast(2),
    since: "2.0.0",
    cost: "Depends on subcommand.",
    summary: "A container for server configuration commands.",
    group: Group::Server,
    subs: SUBCOMMANDS,
    ..Spec::BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "GET",
        run: get,
        arity: AtLeast(3),
        usage: "parameter [parameter ...]",
        cost: "O(N) when N is the number of configuration parameters provided",
        summary: "Returns the effective values of configuration parameters.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "CONFIG", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "RESETSTAT",
        run: reset_stat,
        arity: Exactly(2),
        tips: tips::ALL_NODES,
        summary: "Resets the server's statistics.",
        ..ROW
    },
    Spec {
        name: "REWRITE",
        run: rewrite,
        arity: Exactly(2),
        since: "2.8.0",
        tips: tips::ALL_NODES,
        summary: "Persists the effective configuration to file.",
        ..ROW
    },
    Spec {
        name: "SET",
        run: set,
        arity: AtLeast(4),
        usage: "parameter value [parameter value ...]",
        cost: "O(N) when N is the number of configuration parameters provided",
        tips: tips::ALL_NODES,
        secret: is_secret,
        summary: "Sets configuration parameters in-flight.",
        ..ROW
    },
];

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

/// Whether a word of CONFIG SET is the value of a secret setting.
fn is_secret(args: Args<'_>, at: usize) -> bool {
    let name = || config::find(std::str::from_utf8(args.word(at - 1)).ok()?);
    at > 2 && at % 2 == 1 && name().is_some_and(Param::is_secret)
}

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let mut found: Vec<(String, String)> = Vec::new();
    let patterns = args.tail(2);
    ctx.engine.with_config(|config| {
        // Without a pattern's marks a word is a name, and finds what patterns do not.
        for name in patterns.iter().filter(|word| !word.iter().any(|byte| b"[*?".contains(byte))) {
            let name = String::from_utf8_lossy(name).into_owned();
            if let Some(value) = config.get(&name)
                && !found.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name))
            {
                found.push((name, value));
            }
        }
        let fits = |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes(), true));
        for (name, value) in config.matching(fits) {
            if !found.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                found.push((name.to_owned(), value));
            }
        }
    });
    ctx.reply.map(found.len());
    for (name, value) in found {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if !args.len().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    let text = |at: usize| {
        // Settings are text; what is none is no value of any of them.
        let name = String::from_utf8_lossy(args.word(at & !1));
        std::str::from_utf8(args.word(at)).map_err(|_| {
            let refusal = format!("CONFIG SET failed (possibly related to argument '{name}') - argument is not UTF-8");
            Error::Refused(refusal.into())
        })
    };
    let mut pairs = Vec::with_capacity(args.len() / 2 - 1);
    for at in (2..args.len()).step_by(2) {
        pairs.push((text(at)?, text(at + 1)?));
    }
    let changed = ctx.engine.configure(&pairs, ctx.client.is_local);
    let changed = changed.map_err(|refusal| Error::Refused(refusal.to_string().into()))?;
    if changed.iter().any(|param| param.name == "maxmemory") {
        // A limit that has come down is felt at once; what one command does not evict, the next ones will.
        ctx.engine.make_room(ctx.now);
    }
    ctx.reply.ok();
    Ok(())
}

fn reset_stat(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.engine.reset_stats();
    ctx.reply.ok();
    Ok(())
}

fn rewrite(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let mut config = ctx.engine.config();
    config.users = users(ctx.engine, &config)?;
    let Some(path) = &config.config_file else {
        return Err(Error::refused("The server is running without a config file"));
    };
    let write = || -> io::Result<()> {
        let old = ctx.engine.machine().read(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })?;
        let old = String::from_utf8(old).map_err(|_| io::Error::other("the file is not UTF-8"))?;
        ctx.engine.machine().replace(path, render_redis_conf(&old, &config).as_bytes())
    };
    write().map_err(|error| {
        tracing::warn!(%error, "CONFIG REWRITE failed");
        Error::Refused(format!("Rewriting config file: {error}").into())
    })?;
    ctx.reply.ok();
    Ok(())
}

/// The users as a redis.conf has them: none if an ACL file has them, or there is nothing that `requirepass` does not say.
fn users(engine: &Engine, config: &Config) -> Result<Vec<Vec<String>>> {
    if !config.aclfile.is_empty() || engine.acl.is_plain(&config.requirepass) {
        return Ok(Vec::new());
    }
    let words = |line: Vec<u8>| {
        let line = String::from_utf8(line).ok()?;
        Some(line.split(' ').skip(1).map(str::to_owned).collect())
    };
    let users: Option<_> = engine.acl.lines().into_iter().map(words).collect();
    users.ok_or(Error::refused("Rewriting config file: the rules of a user are not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use crate::config::{PARAMS, Param};

    #[test]
    fn settings_are_read_by_name_and_by_pattern() {
        let mut t = Transcript::start();
        t.say("CONFIG GET maxmemory").hears("*2 $9 maxmemory $1 0");
        t.say("CONFIG GET MAXmemory maxmemory").hears("*2 $9 MAXmemory $1 0");
        t.say("CONFIG GET nosuch").hears("*0");
        t.say("CONFIG GET maxmemory maxmemory-s*").hears("*4 $9 maxmemory $1 0 $17 maxmemory-samples $1 5");
        t.say("CONFIG GET key-load-delay").hears("*2 $14 key-load-delay $1 0");
        t.say("CONFIG GET key-load-d*").hears("*0");
        t.say("CONFIG GET hash-max-ziplist-entries").hears("*2 $24 hash-max-ziplist-entries $3 512");
        t.say("CONFIG GET").hears("-ERR wrong number of arguments for 'config|get' command");
        t.say("HELLO 3");
        t.say("CONFIG GET maxmemory").hears("%1 $9 maxmemory $1 0");
        let shown = PARAMS.iter().filter(|param| !param.is_hidden()).flat_map(Param::names).count();
        t.say("CONFIG GET *").hears_start(&format!("%{shown} "));
    }

    #[test]
    fn a_refused_setting_changes_none_of_its_companions() {
        let mut t = Transcript::start();
        t.say("CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru").hears("+OK");
        t.say("CONFIG GET maxmemory").hears("*2 $9 maxmemory $9 104857600");
        assert_eq!(t.engine.hot.maxmemory(), 100 << 20);
        t.say("CONFIG SET maxmemory 1 maxmemory-policy nosuch").hears_start(
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of",
        );
        t.say("CONFIG GET maxmemory").hears("*2 $9 maxmemory $9 104857600");
        t.say("CONFIG SET maxmemory x").hears(
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value",
        );
        t.say("CONFIG SET nosuch 1").hears("-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'");
        t.say("CONFIG SET maxmemory 1 maxmemory").hears("-ERR syntax error");
        t.say("CONFIG SET maxmemory 0 MAXMEMORY 0")
            .hears("-ERR CONFIG SET failed (possibly related to argument 'MAXMEMORY') - duplicate parameter");
        t.say("CONFIG SET databases 3")
            .hears_start("-ERR CONFIG SET failed (possibly related to argument 'databases')");
        t.words(&[b"CONFIG", b"SET", b"requirepass", b"\xff"])
            .hears("-ERR CONFIG SET failed (possibly related to argument 'requirepass') - argument is not UTF-8");
        t.say("CONFIG SET maxmemory").hears("-ERR wrong number of arguments for 'config|set' command");
        t.say("CONFIG nosuch").hears("-ERR unknown subcommand 'nosuch'. Try CONFIG HELP.");
        t.say("CONFIG").hears("-ERR wrong number of arguments for 'config' command");
    }

    #[test]
    fn a_new_password_asks_only_new_clients() {
        let mut t = Transcript::start();
        t.say("CONFIG SET requirepass sesame").hears("+OK");
        t.say("PING").hears("+PONG");
        let mut other = t.enter();
        t.say_as(&mut other, "PING").hears("-NOAUTH Authentication required.");
        t.say("CONFIG SET requirepass ''").hears("+OK");
        t.say_as(&mut other, "PING").hears("+PONG");
    }

    #[test]
    fn counters_start_anew() {
        let mut t = Transcript::start();
        t.say("NOSUCH").hears_start("-ERR unknown command");
        t.say("CONFIG RESETSTAT").hears("+OK");
        let info = t.say("INFO everything").text();
        assert!(info.contains("total_error_replies:0") && !info.contains("errorstat_ERR"), "{info}");
        // What resets is itself the first thing counted.
        assert!(info.contains("cmdstat_config|resetstat:calls=1,"), "{info}");
    }

    #[test]
    fn a_rewritten_file_keeps_its_comments() {
        let mut t = Transcript::start();
        t.say("CONFIG REWRITE").hears("-ERR The server is running without a config file");

        let mut config = crate::config::Config::default();
        config.config_file = Some("cloakroom.conf".into());
        let mut t = Transcript::of(config);
        t.shelf.put("cloakroom.conf", "# mine\nmaxmemory 1mb\n");
        t.say("CONFIG SET maxmemory 2mb").hears("+OK");
        t.say("CONFIG REWRITE").hears("+OK");
        assert_eq!(t.shelf.text("cloakroom.conf"), "# mine\nmaxmemory 2mb\n");

        t.shelf.lock(true);
        t.say("CONFIG REWRITE").hears_start("-ERR Rewriting config file: ");
    }

    #[test]
    fn help_lists_what_there_is() {
        let mut t = Transcript::start();
        t.say("CONFIG HELP").hears_start(
            "*11 +CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +GET <pattern> +    Return",
        );
    }
}
