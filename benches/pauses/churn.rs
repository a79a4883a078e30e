//! Churn: entries of random sizes that live five seconds, for an hour in fast forward, and what the process then holds.
//!
//! Each mix of sizes has a process of its own, so that its memory is its own: a store on a clock that is moved by hand,
//! swept as the janitor does it, with the allocator and without the huge pages, as in the binary. Every ten seconds of
//! that hour it tells how many bytes live and how many it holds more than before the first entry. The live ones are
//! counted in three ways: keys and values alone; entries as MEMORY USAGE has them; and everything that the store says
//! it uses, its tables included. The goal is for the second: an entry needs its header, but air is nobody's.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use cloakroom::clock::{ManualClock, Millis, Ttl};
use cloakroom::store::{Store, Sweep};

use crate::Options;
use crate::support::figures::{OURS, number};
use crate::support::words::Dice;

use super::rounds::Rounds;

/// The argument that makes this program one that lives through an hour.
const CHILD: &str = "--live-through";

/// Bytes held may be so many times the bytes that live.
const HELD_MAX: f64 = 1.25;

/// How long every entry lives.
const TTL: Ttl = Ttl::seconds(5);
/// How far the clock moves between two sweeps.
const STEP: Ttl = Ttl(10);
/// How often the child tells what it holds, and how much of the beginning does not count.
const TELL_EACH: u64 = 10;
const BEGINNING: u64 = 60;

/// The least and the most bytes of a value.
const LEAST: usize = 16;
const MOST: usize = 8192;

/// Of a hundred writes, those that write over a living entry, with another size.
const REWRITES: usize = 20;

/// How the sizes of values are spread.
#[derive(Clone, Copy)]
enum Mix {
    /// All sizes alike.
    Even,
    /// Each doubling as likely as the next: mostly small.
    Skewed,
    /// Nine of ten up to 128 bytes, one between four and eight kilobytes.
    Twofold,
    /// A third of the time small ones, then large ones, then small ones again.
    Shifting,
    /// The sizes of the skewed mix, ten times as many in the middle third.
    Surging,
}

const MIXES: &[(&str, Mix)] = &[
    ("even", Mix::Even),
    ("skewed", Mix::Skewed),
    ("twofold", Mix::Twofold),
    ("shifting", Mix::Shifting),
    ("surging", Mix::Surging),
];

impl Mix {
    /// A size; `third` says which third of the time it is.
    fn size(self, dice: &mut Dice, third: u64) -> usize {
        let between = |dice: &mut Dice, least: usize, most: usize| least + dice.below(most - least + 1);
        match self {
            Mix::Even => between(dice, LEAST, MOST),
            Mix::Skewed | Mix::Surging => {
                let doublings = (MOST / LEAST).ilog2() as usize;
                let least = LEAST << dice.below(doublings);
                between(dice, least, least * 2)
            }
            Mix::Twofold if dice.below(10) > 0 => between(dice, LEAST, 128),
            Mix::Twofold => between(dice, MOST / 2, MOST),
            Mix::Shifting if third == 1 => between(dice, MOST / 4, MOST),
            Mix::Shifting => between(dice, LEAST, 512),
        }
    }

    /// How many times the usual number of entries there are.
    fn times(self, third: u64) -> f64 {
        match self {
            // So that the most of them is what was asked for.
            Mix::Surging if third != 1 => 0.1,
            _ => 1.0,
        }
    }
}

/// What the child tells: seconds, entries, bytes counted in three ways, bytes held.
struct Line {
    second: u64,
    payload: f64,
    sizes: f64,
    used: f64,
    held: f64,
}

impl Line {
    fn read(line: &str) -> Option<Line> {
        let numbers = line.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let [second, payload, sizes, used, held] = numbers[..] else { return None };
        Some(Line { second, payload: payload as f64, sizes: sizes as f64, used: used as f64, held: held as f64 })
    }
}

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "entries of 5 s, 16 bytes to 8 KB, one in five written over, fast forward";
    let mut rounds = Rounds::new("churn", about, options);
    println!("{:20} {:>7} {:>12} {:>12} {:>12} {:>12}   most held at", "", "", "payload", "entries", "used", "held");
    for _ in 0..options.rounds {
        for (name, _) in MIXES {
            measure(name, options, &mut rounds)?;
        }
    }
    rounds.conclude(|_, figure| {
        if figure.what.ends_with("to live entries, most") {
            figure.at_most(HELD_MAX);
        }
    })
}

fn measure(name: &str, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([CHILD, name, &options.entries.to_string(), &options.duration.as_secs().to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut lines = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line?;
        lines.push(Line::read(&line).ok_or_else(|| io::Error::other(format!("the child says {line:?}")))?);
    }
    if !child.wait()?.success() {
        return Err(io::Error::other(format!("the child that lived through {name} failed")));
    }
    lines.retain(|line| line.second > BEGINNING);
    let most = lines.iter().max_by(|one, other| (one.held / one.sizes).total_cmp(&(other.held / other.sizes)));
    let Some(most) = most else {
        return Err(io::Error::other(format!("churn needs more than {BEGINNING} seconds, the first do not count")));
    };
    let megabytes = |bytes: f64| format!("{:.2} MB", bytes / 1e6);
    let [payload, sizes, used, held] = [most.payload, most.sizes, most.used, most.held].map(megabytes);
    println!("{name:20} {:>7} {payload:>12} {sizes:>12} {used:>12} {held:>12}   {} s", "", number(most.second as f64));
    let ratios = |live: fn(&Line) -> f64| lines.iter().map(move |line| line.held / live(line));
    let largest = |live| ratios(live).fold(0.0, f64::max);
    let mean = |live| ratios(live).sum::<f64>() / lines.len() as f64;
    rounds.note(&format!("{name}: held to live entries, most"), OURS, largest(|line| line.sizes), "×");
    rounds.note(&format!("{name}: held to live entries, mean"), OURS, mean(|line| line.sizes), "×");
    rounds.note(&format!("{name}: held to keys and values, most"), OURS, largest(|line| line.payload), "×");
    rounds.note(&format!("{name}: held to used_memory, most"), OURS, largest(|line| line.used), "×");
    Ok(())
}

// ---- the child ----------------------------------------------------------------------------------------------------

/// Lives through an hour, if this program was started for that; `None` if it was not.
pub fn live_through_if_asked() -> Option<io::Result<()>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [first, name, entries, seconds] = &words[..] else { return None };
    if first != CHILD {
        return None;
    }
    let mix = MIXES.iter().find(|(known, _)| known == name).map(|(_, mix)| *mix);
    let (Some(mix), Ok(entries), Ok(seconds)) = (mix, entries.parse(), seconds.parse()) else {
        return Some(Err(io::Error::other("a mix, entries and seconds are needed")));
    };
    Some(live_through(mix, entries, seconds))
}

fn live_through(mix: Mix, entries: u64, seconds: u64) -> io::Result<()> {
    let noise: Vec<u8> = {
        let mut dice = Dice::new(3);
        (0..MOST).map(|_| dice.roll() as u8).collect()
    };
    let before = resident()?;
    let clock = ManualClock::default();
    let store = Store::builder().clock(clock.clone()).build();
    let begun = clock.now();
    let mut churn = Churn { mix, dice: Dice::new(1), next: 0, recent: 0 };
    let steps = 1000 / STEP.0;
    for second in 1..=seconds {
        let third = (second - 1) * 3 / seconds;
        // What is written over adds no entry; the rest are to be as many as was asked for.
        let fresh = (100 - REWRITES) as f64 / 100.0;
        let writes = entries as f64 * mix.times(third) / TTL.duration().as_secs_f64() / fresh;
        churn.recent = (writes * fresh) as u64;
        for step in 0..steps {
            let due = |step: u64| (writes * step as f64 / steps as f64) as u64;
            for _ in due(step)..due(step + 1) {
                churn.write(&store, &noise, third)?;
            }
            clock.advance(STEP);
            while store.sweep(clock.now()) == Sweep::MoreDue {}
        }
        if second % TELL_EACH == 0 {
            assert_eq!(clock.now(), begun + Ttl::seconds(second), "the clock moves with the seconds");
            tell(&store, second, before, clock.now())?;
        }
    }
    Ok(())
}

/// Writes entries.
struct Churn {
    mix: Mix,
    dice: Dice,
    /// The number of the next new entry.
    next: u64,
    /// How many of the last ones may be written over; less than live.
    recent: u64,
}

impl Churn {
    fn write(&mut self, store: &Store, noise: &[u8], third: u64) -> io::Result<()> {
        let size = self.mix.size(&mut self.dice, third);
        let number = if self.dice.below(100) < REWRITES && self.recent > 0 && self.next > self.recent {
            self.next - 1 - self.dice.below(self.recent as usize) as u64
        } else {
            self.next += 1;
            self.next - 1
        };
        store.put(format!("churn:{number}").as_bytes(), &noise[..size], TTL).map_err(io::Error::other)
    }
}

/// Prints what lives and what is held.
fn tell(store: &Store, second: u64, before: u64, now: Millis) -> io::Result<()> {
    let (mut payload, mut sizes) = (0, 0);
    store.for_each(now, |value| {
        payload += value.name().len() + value.string().map_or(0, <[u8]>::len);
        sizes += value.size();
    });
    println!("{second} {payload} {sizes} {} {}", store.used_memory(), resident()?.saturating_sub(before));
    Ok(())
}

/// Bytes of memory that this process holds.
fn resident() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.ok_or_else(|| io::Error::other("an unreadable /proc/self/status"))? * 1024)
}
