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

/// Times both classes in random order and answers Welch's t.
fn t(each: usize, mut call: impl FnMut(usize)) -> (f64, f64, f64) {
    let (mut dice, mut times) = (0x9e37_79b9_7f4a_7c15_u64, Vec::with_capacity(2 * each));
    for _ in 0..2 * each {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let class = (dice >> 40) as usize & 1;
        let began = Instant::now();
        (0..CALLS).for_each(|_| call(class));
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
    let fine = t.abs() < LIMIT;
    println!("{what:<58} {one:>7.1} ns {two:>7.1} ns  t = {t:>6.2}  {}", if fine { "" } else { "DIFFERENT" });
    fine
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
    let acl = Acl::new(300, Default::default());
    acl.set_default_password(std::str::from_utf8(password).expect("text"));
    let mut late = password.to_vec();
    *late.last_mut().expect("bytes") ^= 1;
    let mut early = password.to_vec();
    early[0] ^= 1;

    let try_all = |guesses: [Vec<u8>; 2]| {
        let acl = &acl;
        move |class: usize| {
            black_box(acl.log_in(b"default", black_box(&guesses[class])));
        }
    };
    let mut fine = true;
    // The measure itself: the same guess in both classes.
    fine &= tell("AUTH: one guess twice, for comparison", t(each, try_all([early.clone(), early.clone()])));
    fine &= tell("AUTH: wrong in the first byte, in the last", t(each, try_all([early, late])));
    let guesses = [guess(password, false), guess(password, true)];
    fine &= tell("AUTH: digest differs in its first byte, its third", t(each, try_all(guesses)));
    let nobody = [b"default".to_vec(), b"nobody!".to_vec()];
    fine &= tell("AUTH: a user who is there, one who is not", {
        let (acl, guess) = (&acl, b"wrong wrong wrong".to_vec());
        t(each, move |class| {
            black_box(acl.log_in(black_box(&nobody[class]), &guess));
        })
    });

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
    let mut turn = 0;
    fine &= tell("session tokens: wrong at the beginning, at the end", {
        t(each, |class| {
            let tokens = sessions.tokens([&cookies[class][turn % TOKENS][..]]);
            turn += 1;
            let found = sessions.look_up(&tokens, clock.now());
            assert!(!matches!(black_box(found), LookUp::Wait(_)));
        })
    });
    assert!(fine, "a time that tells something");
}
