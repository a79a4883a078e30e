//! MEMORY: what keys and the server take.

use super::help;
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::engine::Charge;
use crate::error::{Error, Result};
use crate::resp::Args;

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Server, since: "4.0.0", ..Spec::BASE };

/// The allocator of the binary.
pub(super) const ALLOCATOR: &str = if cfg!(feature = "server") { "mimalloc" } else { "libc" };

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "MEMORY",
    arity: AtLeast(2),
    cost: "Depends on subcommand.",
    summary: "A container for memory diagnostics commands.",
    subs: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "DOCTOR",
        run: doctor,
        arity: Exactly(2),
        tips: tips::SHARDS_DIFFER,
        summary: "Outputs a memory problems report.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "MEMORY", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "MALLOC-STATS",
        run: malloc_stats,
        arity: Exactly(2),
        tips: tips::SHARDS_DIFFER,
        summary: "Returns the allocator statistics.",
        ..ROW
    },
    Spec {
        name: "PURGE",
        run: purge,
        arity: Exactly(2),
        tips: tips::ALL_SHARDS,
        summary: "Asks the allocator to release memory.",
        ..ROW
    },
    Spec {
        name: "STATS",
        run: stats,
        arity: Exactly(2),
        tips: tips::SHARDS_DIFFER,
        summary: "Returns details about memory usage.",
        ..ROW
    },
    Spec {
        name: "USAGE",
        run: usage,
        arity: AtLeast(3),
        flags: Flags::READONLY,
        keys: Keys { first: 2, last: 2, ..Keys::ONE }.with(&["RO"]),
        usage: "key [SAMPLES count]",
        cost: "O(N) where N is the number of samples.",
        summary: "Estimates the memory usage of a key.",
        ..ROW
    },
];

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

fn usage(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    for at in (3..args.len()).step_by(2) {
        if !args.is(at, "SAMPLES") || at + 1 == args.len() || args.int(at + 1)? < 0 {
            return Err(Error::Syntax);
        }
    }
    // A block is counted whole, so there is nothing to sample.
    match ctx.store().peek(args.word(2), ctx.now, |value| value.size()) {
        Some(bytes) => ctx.reply.count(bytes),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let (used, limit) = (ctx.engine.used_memory(), ctx.engine.hot.maxmemory());
    let text = if limit > 0 && used > limit / 10 * 9 {
        "More than 90% of maxmemory are in use: entries are evicted soon, or writes refused.\n"
    } else if ctx.engine.peak_memory() > used.saturating_mul(3) / 2 {
        "The peak of memory use was more than half as high again as what is in use now. This is harmless.\n"
    } else {
        "No memory problem was found.\n"
    };
    ctx.reply.verbatim("txt", text);
    Ok(())
}

fn malloc_stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    ctx.reply.bulk(b"Stats not supported for the current allocator");
    Ok(())
}

fn purge(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    // The allocator gives pages back by itself; there is no call to hurry it.
    ctx.reply.ok();
    Ok(())
}

fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let engine = ctx.engine;
    let (used, peak) = (engine.used_memory(), engine.peak_memory());
    let keys: usize = engine.keyspaces().map(|store| store.len()).sum();
    let overhead = super::info::overhead(engine);
    let dataset = used.saturating_sub(overhead);
    let counts = [
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", 0),
        ("clients.normal", engine.charges().clients()),
        ("lua.caches", engine.charges().of(Charge::Lua) + engine.charges().of(Charge::Texts)),
        ("overhead.total", overhead),
        ("keys.count", keys as u64),
        ("keys.bytes-per-key", used.checked_div(keys as u64).unwrap_or(0)),
        ("dataset.bytes", dataset),
    ];
    let data_percent = if used == 0 { 100.0 } else { dataset as f64 * 100.0 / used as f64 };
    let percent = if peak == 0 { 100.0 } else { used as f64 * 100.0 / peak as f64 };
    let shares = [("dataset.percentage", data_percent), ("peak.percentage", percent)];
    ctx.reply.map(counts.len() + shares.len());
    for (name, number) in counts {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.int(number as i64);
    }
    for (name, share) in shares {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.double(share);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use crate::clock::Ttl;

    #[test]
    fn a_key_takes_the_bytes_of_its_block() {
        let mut t = Transcript::start();
        t.say("MEMORY USAGE a").hears("$-1");
        t.engine.store(0).put(b"a", &[b'x'; 1000], Ttl::seconds(9)).expect("a write");
        let text = t.say("MEMORY USAGE a SAMPLES 0").text();
        let bytes: u64 = text.trim_start_matches(':').parse().expect("a number");
        assert!((1001..1100).contains(&bytes), "{text}");
        t.say("MEMORY USAGE").hears("-ERR wrong number of arguments for 'memory|usage' command");
        t.say("MEMORY USAGE a SAMPLES").hears("-ERR syntax error");
        t.say("MEMORY USAGE a SAMPLES x").hears("-ERR value is not an integer or out of range");
        t.say("MEMORY USAGE a SAMPLES -1").hears("-ERR syntax error");
    }

    #[test]
    fn the_server_tells_what_it_takes() {
        let mut t = Transcript::start();
        t.engine.store(3).put(b"a", b"b", Ttl::seconds(9)).expect("a write");
        let used = t.engine.used_memory();
        t.say("MEMORY STATS").hears_start(&format!("*22 $14 peak.allocated :{used} $15 total.allocated :{used} "));
        t.say("MEMORY DOCTOR").hears("$29 No memory problem was found.\n");
        t.say("CONFIG SET maxmemory 1").hears("+OK");
        t.say("MEMORY DOCTOR").hears_start("$84 More than 90% of maxmemory");
        t.say("MEMORY PURGE").hears("+OK");
        t.say("MEMORY MALLOC-STATS").hears("$45 Stats not supported for the current allocator");
        t.say("MEMORY HELP").hears_start("*14 +MEMORY <subcommand> ");
        t.say("MEMORY nosuch").hears("-ERR unknown subcommand 'nosuch'. Try MEMORY HELP.");
    }
}
