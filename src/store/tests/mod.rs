//! What the store promises as a whole. The parts have their own tests beside them.

mod aliases;
mod collisions;
mod janitor;
mod memory;
mod model;
mod threads;
mod watch;

use super::*;
use crate::clock::Ttl;

/// Where most tests' time begins.
const NOW: Millis = Millis(1_700_000_000_000);

fn key(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn put(store: &Store, key: &[u8], deadline: Millis, now: Millis) {
    let put = store.write(key, b"v", now, |slot, fresh| slot.put(fresh.until(deadline)));
    assert_eq!(put, Ok(()));
}

fn text(store: &Store, key: &[u8], now: Millis) -> Option<String> {
    store.peek(key, now, |value| String::from_utf8_lossy(value.string().unwrap_or_default()).into_owned())
}

/// Little and repeatable chance (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}
