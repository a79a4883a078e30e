//! `Store::get` beside the caches that Rust programs embed, on their own kind of bench: two threads ask for keys that are
//! all there, by Zipf's law with an exponent of one, byte keys and values of 64 bytes.
//!
//! Rivals hold values that are copied out, which is the quickest that they can hand out; ours is read in place and copied
//! for the same end. Nothing expires in theirs unless it is said; ours checks the deadline of what it finds. What time it
//! is, the caller says: once, as the server does for a batch, or for each look-up, as the store's own conveniences do.

mod support;

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use cloakroom::clock::Ttl;
use cloakroom::store::Store;
use criterion::{Criterion, criterion_group, criterion_main};

use support::words::Dice;

const KEYS: usize = 100_000;
const THREADS: usize = 2;
/// Look-ups in the order in which each thread makes them, again and again.
const DRAWS: usize = 1 << 18;
const LONG: Duration = Duration::from_secs(86_400);

type Value = [u8; 64];

fn key(number: usize) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn value(number: usize) -> Value {
    [number as u8; 64]
}

/// The keys that a thread asks for.
fn draws(seed: u64) -> Vec<Vec<u8>> {
    let mut sum = 0.0;
    let upto: Vec<f64> = (1..=KEYS).map(|rank| (sum += 1.0 / rank as f64, sum).1).collect();
    let mut dice = Dice::new(seed);
    let draw = |_| (dice.roll() >> 11) as f64 / (1u64 << 53) as f64 * sum;
    // Ranks are spread over the keys, so that neighbours in popularity are none in memory.
    let spread = |rank: usize| rank * 7_919 % KEYS;
    (0..DRAWS).map(draw).map(|at| key(spread(upto.partition_point(|upto| *upto < at)))).collect()
}

/// Runs `get` on all threads side by side; the time is that of the last.
fn threads(rounds: u64, draws: &[Vec<Vec<u8>>], get: impl Fn(&[u8]) -> Option<Value> + Sync) -> Duration {
    let start = Barrier::new(THREADS);
    let run = |draws: &[Vec<u8>]| {
        start.wait();
        let began = Instant::now();
        for key in draws.iter().cycle().take(rounds as usize) {
            assert!(black_box(get(key)).is_some(), "every key is there");
        }
        began.elapsed()
    };
    std::thread::scope(|scope| {
        let run = &run;
        let runs: Vec<_> = draws.iter().map(|draws| scope.spawn(move || run(draws))).collect();
        runs.into_iter().map(|run| run.join().expect("a thread that looks up")).max().unwrap_or_default()
    })
}

fn hits(criterion: &mut Criterion) {
    let draws: Vec<_> = (0..THREADS).map(|thread| draws(thread as u64 + 1)).collect();
    let mut group = criterion.benchmark_group("hit of 64 bytes, zipf 1.0, 2 threads");

    let store = Store::new();
    for number in 0..KEYS {
        store.put(&key(number), &value(number), Ttl::seconds(LONG.as_secs())).expect("room for all");
    }
    let copy = |value: cloakroom::store::Value<'_>| value.string().ok()?.first_chunk::<64>().copied();
    group.bench_function("cloakroom, with a deadline", |bench| {
        bench.iter_custom(|rounds| {
            let now = store.clock().now();
            threads(rounds, &draws, |key| store.get(key, now, copy)?)
        });
    });
    group.bench_function("cloakroom, with a deadline, the clock read each time", |bench| {
        bench.iter_custom(|rounds| threads(rounds, &draws, |key| store.get(key, store.clock().now(), copy)?));
    });

    let cache = quick_cache::sync::Cache::<Vec<u8>, Value>::new(KEYS * 2);
    (0..KEYS).for_each(|number| cache.insert(key(number), value(number)));
    group.bench_function("quick_cache", |bench| {
        bench.iter_custom(|rounds| threads(rounds, &draws, |key| cache.get(key)));
    });

    let cache = moka::sync::Cache::<Vec<u8>, Value>::new(KEYS as u64 * 2);
    (0..KEYS).for_each(|number| cache.insert(key(number), value(number)));
    group.bench_function("moka", |bench| {
        bench.iter_custom(|rounds| threads(rounds, &draws, |key| cache.get(key)));
    });

    let cache = moka::sync::Cache::<Vec<u8>, Value>::builder().max_capacity(KEYS as u64 * 2).time_to_live(LONG).build();
    (0..KEYS).for_each(|number| cache.insert(key(number), value(number)));
    group.bench_function("moka, with a deadline", |bench| {
        bench.iter_custom(|rounds| threads(rounds, &draws, |key| cache.get(key)));
    });
    group.finish();
}

criterion_group!(benches, hits);
criterion_main!(benches);
