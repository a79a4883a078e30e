//! LATENCY: events that took longer than `latency-monitor-threshold`, and how long each command takes.

use std::fmt::Write as _;

use super::help;
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Found, Group, Spec, all, find_full};
use crate::engine::Event;
use crate::error::{Error, Result};
use crate::resp::{Args, Reply};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec {
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    group: Group::Server,
    since: "2.8.13",
    tips: tips::NODES_DIFFER,
    ..Spec::BASE
};

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "LATENCY",
    arity: AtLeast(2),
    since: "2.8.13",
    cost: "Depends on subcommand.",
    summary: "A container for latency diagnostics commands.",
    group: Group::Server,
    subs: SUBCOMMANDS,
    ..Spec::BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "DOCTOR",
        run: doctor,
        arity: Exactly(2),
        summary: "Returns a human-readable latency analysis report.",
        ..ROW
    },
    Spec {
        name: "GRAPH",
        run: graph,
        arity: Exactly(3),
        usage: "event",
        summary: "Returns a latency graph for an event.",
        ..ROW
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "LATENCY", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        tips: &[],
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "HISTOGRAM",
        run: histogram,
        arity: AtLeast(2),
        usage: "[command [command ...]]",
        since: "7.0.0",
        cost: "O(N) where N is the number of commands with latency information being retrieved.",
        summary: "Returns the cumulative distribution of latencies of a subset or all commands.",
        ..ROW
    },
    Spec {
        name: "HISTORY",
        run: history,
        arity: Exactly(3),
        usage: "event",
        summary: "Returns timestamp-latency samples for an event.",
        ..ROW
    },
    Spec {
        name: "LATEST",
        run: latest,
        arity: Exactly(2),
        summary: "Returns the latest latency samples for all events.",
        ..ROW
    },
    Spec {
        name: "RESET",
        run: reset,
        arity: AtLeast(2),
        usage: "[event [event ...]]",
        tips: tips::ALL_NODES,
        summary: "Resets the latency data for one or more events.",
        ..ROW
    },
];

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
];

const DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may \
    use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space \
    mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n";

fn latest(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let events = ctx.engine.latency.events();
    ctx.reply.array(events.len());
    for (name, event) in events {
        let (second, millis) = event.samples.back().copied().unwrap_or_default();
        ctx.reply.array(4);
        ctx.reply.bulk(name.as_bytes());
        for number in [second, millis, event.max] {
            ctx.reply.int(number as i64);
        }
    }
    Ok(())
}

fn history(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let event = ctx.engine.latency.event(args.word(2)).unwrap_or_default();
    ctx.reply.array(event.samples.len());
    for (second, millis) in event.samples {
        ctx.reply.array(2);
        ctx.reply.int(second as i64);
        ctx.reply.int(millis as i64);
    }
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let names: Vec<&[u8]> = args.tail(2).iter().collect();
    ctx.reply.count(ctx.engine.latency.reset(&names));
    Ok(())
}

fn graph(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let name = String::from_utf8_lossy(args.word(2));
    let Some(event) = ctx.engine.latency.event(args.word(2)) else {
        return Err(Error::Refused(format!("No samples available for event '{name}'").into()));
    };
    let now = ctx.engine.clock.to_wall(ctx.now) / 1000;
    ctx.reply.verbatim("txt", &draw(&name, &event, now));
    Ok(())
}

/// The samples of an event as columns of four rows, each with its age written downwards below it.
fn draw(name: &str, event: &Event, now: u64) -> String {
    const COLUMNS: usize = 80;
    const ROWS: u64 = 4;
    let samples: Vec<(u64, u64)> = event.samples.iter().rev().take(COLUMNS).rev().copied().collect();
    let high = samples.iter().map(|(_, millis)| *millis).max().unwrap_or(0);
    let low = samples.iter().map(|(_, millis)| *millis).min().unwrap_or(0);
    let mut out = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", event.max);
    out.push_str(&"-".repeat(COLUMNS));
    out.push('\n');
    let span = (high - low).max(1);
    for row in (0..ROWS).rev() {
        let cells = samples.iter().map(|(_, millis)| {
            // Steps of a third of a row, as deep as the three marks can show.
            let steps = (millis - low) * (ROWS * 3 - 1) / span;
            match steps.checked_sub(row * 3) {
                None => ' ',
                Some(0) => '_',
                Some(1) => 'o',
                Some(_) if steps / 3 == row => '#',
                Some(_) => '|',
            }
        });
        let line: String = cells.collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let ages: Vec<String> = samples.iter().map(|(second, _)| age(now.saturating_sub(*second))).collect();
    out.push('\n');
    for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        let line: String = ages.iter().map(|age| age.chars().nth(row).unwrap_or(' ')).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How long ago, in the largest unit that fits.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let threshold = ctx.engine.hot.latency_threshold();
    let events = ctx.engine.latency.events();
    let mut out = String::new();
    if threshold == 0 && events.is_empty() {
        out.push_str(DISABLED);
    } else if events.is_empty() {
        out.push_str("No latency spike was observed so far.\n");
    } else {
        out.push_str("Latency spikes were observed:\n\n");
        for (at, (name, event)) in events.iter().enumerate() {
            let count = event.samples.len().max(1) as u64;
            let sum: u64 = event.samples.iter().map(|(_, millis)| millis).sum();
            let _ = writeln!(
                out,
                "{}. {name}: {count} latency spikes (average {}ms). Worst all time event {}ms.",
                at + 1,
                sum / count,
                event.max
            );
        }
        let slower = ctx.engine.hot.slower_than();
        if slower.is_none_or(|micros| micros > threshold * 1000) {
            let _ = writeln!(
                out,
                "\n- To see which commands they were: CONFIG SET slowlog-log-slower-than {}",
                threshold * 1000
            );
        } else {
            out.push_str("\n- SLOWLOG GET shows which commands they were.\n");
        }
    }
    ctx.reply.verbatim("txt", &out);
    Ok(())
}

fn histogram(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let mark = ctx.reply.mark();
    let metrics = &ctx.engine.metrics;
    let mut told = 0;
    let mut tell = |reply: &mut Reply<'_>, found: &Found| {
        let [calls, ..] = metrics.command(found.number);
        if calls == 0 {
            return;
        }
        told += 1;
        reply.bulk(found.full_name().as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(calls as i64);
        reply.bulk(b"histogram_usec");
        distribution(reply, &metrics.distribution(found.number));
    };
    let wanted: Vec<&Found> = match args.len() {
        2 => all().collect(),
        _ => args.tail(2).iter().filter_map(find_full).collect(),
    };
    for found in wanted {
        // One that is named often comes often.
        if ctx.reply.is_over() {
            break;
        }
        tell(&mut ctx.reply, found);
        if found.container.is_none() {
            found.subcommands().iter().for_each(|sub| tell(&mut ctx.reply, sub));
        }
    }
    ctx.reply.map_from(mark, told);
    Ok(())
}

/// Microseconds and how many calls took at most so many, where the number grows.
fn distribution(reply: &mut Reply<'_>, steps: &[u64]) {
    let mark = reply.mark();
    let (mut before, mut pairs) = (0, 0);
    for (step, count) in steps.iter().enumerate() {
        if *count > before {
            reply.int(1 << step);
            reply.int(*count as i64);
            before = *count;
            pairs += 1;
        }
    }
    reply.map_from(mark, pairs);
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use crate::clock::Ttl;

    fn watched() -> Transcript {
        Transcript::with(&[("enable-debug-command", "yes"), ("latency-monitor-threshold", "200")])
    }

    #[test]
    fn events_over_the_threshold_are_kept() {
        let mut t = watched();
        t.say("LATENCY LATEST").hears("*0");
        t.say("DEBUG SLEEP 0.1").hears("+OK");
        t.say("DEBUG SLEEP 0.3").hears("+OK");
        t.wait(Ttl::seconds(2));
        t.say("DEBUG SLEEP 0.5").hears("+OK");
        t.wait(Ttl::seconds(2));
        t.say("DEBUG SLEEP 0.4").hears("+OK");
        t.say("LATENCY HISTORY command").hears("*3 *2 :1700000000 :300 *2 :1700000002 :500 *2 :1700000004 :400");
        t.say("LATENCY LATEST").hears("*1 *4 $7 command :1700000004 :400 :500");
        t.say("LATENCY GRAPH command").hears(
            "$161 command - high 500 ms, low 300 ms (all time high 500 ms)\n----------------------------------------\
             ----------------------------------------\n #\n |\n |#\n_||\n\n420\nsss\n",
        );
        t.say("LATENCY DOCTOR").hears_start("$");
        t.say("LATENCY RESET nosuch").hears(":0");
        t.say("LATENCY RESET").hears(":1");
        t.say("LATENCY LATEST").hears("*0");
        t.say("LATENCY HISTORY command").hears("*0");
        t.say("LATENCY GRAPH command").hears("-ERR No samples available for event 'command'");
    }

    #[test]
    fn a_histogram_has_what_was_called() {
        let mut t = Transcript::start();
        t.say("CONFIG RESETSTAT").hears("+OK");
        t.say("LATENCY HISTOGRAM").hears("*2 $16 config|resetstat *4 $5 calls :1 $14 histogram_usec *2 :1 :1");
        t.say("CLIENT ID");
        t.say("CLIENT GETNAME");
        t.say("PING");
        t.say("PING");
        t.say("LATENCY HISTOGRAM nosuch").hears("*0");
        t.say("LATENCY HISTOGRAM client|id").hears("*2 $9 client|id *4 $5 calls :1 $14 histogram_usec *2 :1 :1");
        t.say("LATENCY HISTOGRAM client").hears_start("*4 $14 client|getname *4 ");
        t.say("HELLO 3");
        t.say("LATENCY HISTOGRAM ping nosuch").hears("%1 $4 ping %2 $5 calls :2 $14 histogram_usec %1 :1 :2");
    }

    #[test]
    fn refusals_are_redis_own() {
        let mut t = Transcript::start();
        t.say("LATENCY DOCTOR").hears_start("$288 I'm sorry, Dave, I can't do that.");
        t.say("LATENCY HELP xxx").hears("-ERR wrong number of arguments for 'latency|help' command");
        t.say("LATENCY nosuch").hears("-ERR unknown subcommand 'nosuch'. Try LATENCY HELP.");
        t.say("LATENCY HELP").hears_start("*17 +LATENCY <subcommand> ");
    }
}
