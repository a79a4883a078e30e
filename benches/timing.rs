//! Whether the time that a password takes tells anything about it: Welch's t over two classes of guesses, in random
//! order. Class one is wrong in its first byte, class two is right but for its last; and the same with digests whose
//! difference is early or late. As dudect does it: many measurements, the slow tail cropped, |t| below 4.5.
//!
//! ```sh
//! cargo bench --bench timing
//! cargo bench --bench timing -- 200000     # measurements of each class
//! ```

use std::hint::black_box;
use std::time::Instant;

use cloakroom::clock::{ManualClock, Ttl};
use cloakroom::engine::acl::Acl;
use cloakroom::session::{LookUp, SessionCache, Settings};
use cloakroom::store::Store;
use sha2::{Digest, Sha256};

/// Measurements of each class.
const EACH: usize = 1_000_000;
/// Of all measurements this share, the slowest, is left out: they are the machine's, not ours.
const CROPPED: f64 = 0.05;
/// Beyond this a difference is hardly chance.
const LIMIT: f64 = 4.5;
/// Nanoseconds a call that are let pass whatever t is: with a million measurements even where a name lies in a table shows,
/// and the clock of whoever is asked over a socket is a thousand times coarser.
const SLIGHT: f64 = 1.0;
/// Tokens of each class.
const TOKENS: usize = 1 << 14;
/// Calls that are timed together, as one is shorter than the clock is exact.
const CALLS: usize = 4;

/// Mean and variance as numbers come (Welford).
#[derive(Default)]
struct Class {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Class {
    fn add(&mut self, nanos: f64) {
        self.count += 1.0;
        let off = nanos - self.mean;
        self.mean += off / self.count;
        self.squares += off * (nanos - self.mean);
    }

    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// Times both classes in random order and answers Welch's t. What `pick` gives for a class is copied to the same place
/// before it is timed: where something lies takes a time of its own.
fn t<'g>(each: usize, mut pick: impl FnMut(usize) -> &'g [u8], mut call: impl FnMut(&[u8])) -> (f64, f64, f64) {
    let (mut dice, mut times) = (0x9e37_79b9_7f4a_7c15_u64, Vec::with_capacity(2 * each));
    let mut place = Vec::with_capacity(4096);
    for _ in 0..2 * each {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let class = (dice >> 40) as usize & 1;
        place.clear();
        place.extend_from_slice(pick(class));
        let began = Instant::now();
        (0..CALLS).for_each(|_| call(black_box(&place)));
        times.push((class, began.elapsed().as_nanos() as f64));
    }
    let mut sorted: Vec<f64> = times.iter().map(|(_, nanos)| *nanos).collect();
    sorted.sort_by(f64::total_cmp);
    let slowest = sorted[((1.0 - CROPPED) * sorted.len() as f64) as usize];
    let mut classes = [Class::default(), Class::default()];
    times.iter().filter(|(_, nanos)| *nanos <= slowest).for_each(|(class, nanos)| classes[*class].add(*nanos));
    let [one, two] = &classes;
    ((one.mean - two.mean) / (one.error() + two.error()).sqrt(), one.mean, two.mean)
}

fn tell(what: &str, (t, one, two): (f64, f64, f64)) -> bool {
    let (one, two) = (one / CALLS as f64, two / CALLS as f64);
    let (is_chance, is_slight) = (t.abs() < LIMIT, (one - two).abs() < SLIGHT);
    let verdict = if is_chance {
        ""
    } else if is_slight {
        "slight"
    } else {
        "DIFFERENT"
    };
    println!("{what:<58} {one:>7.1} ns {two:>7.1} ns  t = {t:>6.2}  {verdict}");
    is_chance || is_slight
}

/// A guess whose digest has its first byte in common with that of the password, or has not.
fn guess(password: &[u8], alike: bool) -> Vec<u8> {
    let own = Sha256::digest(password);
    let fits = |guess: &Vec<u8>| {
        let digest = Sha256::digest(guess);
        if alike { digest[..2] == own[..2] } else { digest[0] != own[0] }
    };
    (0u64..).map(|number| format!("guess-{number:026}").into_bytes()).find(fits).expect("one of 65536 or so")
}

fn main() {
    let each = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(EACH);
    println!("{each} measurements of each class, {CALLS} calls each, the slowest {CROPPED} cropped");
    let password = b"correct horse battery staple 123";
    let acl = Acl::new(300, Default::default(), Default::default());
    acl.set_default_password(std::str::from_utf8(password).expect("text"));
    let mut late = password.to_vec();
    *late.last_mut().expect("bytes") ^= 1;
    let mut early = password.to_vec();
    early[0] ^= 1;

    let judge = |guesses: [&[u8]; 2]| {
        t(
            each,
            |class| guesses[class],
            |guess| {
                black_box(acl.log_in(b"default", guess));
            },
        )
    };
    let mut fine = true;
    // The measure itself: the same guess in both classes.
    fine &= tell("AUTH: one guess twice, for comparison", judge([&early, &early]));
    fine &= tell("AUTH: wrong in the first byte, in the last", judge([&early, &late]));
    let (apart, alike) = (guess(password, false), guess(password, true));
    fine &= tell("AUTH: digest differs in its first byte, its third", judge([&apart, &alike]));
    let names: [&[u8]; 2] = [b"default", b"nobody!"];
    let by_name = |name: &[u8]| {
        black_box(acl.log_in(name, b"wrong wrong wrong"));
    };
    fine &= tell("AUTH: a user who is there, one who is not", t(each, |class| names[class], by_name));

    let clock = ManualClock::default();
    let settings = Settings::default();
    let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let sessions = SessionCache::new(answers.clone(), families, settings);
    answers.put(b"auth:session:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", b"{}", Ttl::seconds(86_400)).expect("room");
    let cookie = |token: &str| format!("next-auth.session-token={token}").into_bytes();
    // Many of each: where a single one lies in its table takes a time of its own, whatever it has in common with another.
    let early = |number: usize| cookie(&format!("{number:05}{}", "a".repeat(27)));
    let late = |number: usize| cookie(&format!("{}{number:05}", "a".repeat(27)));
    let cookies: [Vec<Vec<u8>>; 2] = [(0..TOKENS).map(early).collect(), (0..TOKENS).map(late).collect()];
    let check = |cookie: &[u8]| {
        let found = sessions.look_up(&sessions.tokens([cookie]), clock.now());
        assert!(!matches!(black_box(found), LookUp::Wait(_)));
    };
    for (what, [one, two]) in [
        ("session tokens: wrong at the beginning, for comparison", [0, 0]),
        ("session tokens: wrong at the beginning, at the end", [0, 1]),
    ] {
        let mut turn = 0;
        let pick = |class: usize| {
            turn += 1;
            &cookies[[one, two][class]][turn % TOKENS][..]
        };
        fine &= tell(what, t(each, pick, check));
    }
    assert!(fine, "a time that tells something");
}
