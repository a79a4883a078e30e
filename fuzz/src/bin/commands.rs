#![no_main]

use cloakroom::command;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| cloakroom_fuzz::commands::run(input));

/// Words of the kinds that commands take.
const WORDS: &[&str] = &[
    "k",
    "l",
    "m",
    "k",
    "l",
    "m",
    "{k}1",
    "k*",
    "*",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "100",
    "1.5",
    "-0",
    "inf",
    "-inf",
    "nan",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e308",
    "(1",
    "[a",
    "+",
    "-",
    "a",
    "b",
    "x",
    "\"\"",
    "\"a b\"",
    "u8",
    "i64",
    "$",
    "0-0",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// xorshift
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// A request of a random command, with what its usage names or a word of the list above in each place.
fn request(dice: &mut Dice) -> String {
    let found = command::numbered(dice.below(command::COUNT)).expect("a number below their count");
    let mut line = found.full_name().replace('|', " ");
    for part in found.spec.usage.split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '-') {
        if part.is_empty() || dice.below(5) == 0 {
            continue;
        }
        line.push(' ');
        line.push_str(if part.bytes().any(|byte| byte.is_ascii_lowercase()) {
            WORDS[dice.below(WORDS.len())]
        } else {
            part
        });
    }
    line
}

// Half of the time a line or a word is changed, added or taken away; else any byte.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice(u64::from(seed) << 1 | 0x9e37_79b9_0000_0001);
    dice.below(2);
    if dice.below(4) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let text = String::from_utf8_lossy(&data[..size]).into_owned();
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    let at = dice.below(lines.len());
    match dice.below(6) {
        0 | 1 => lines.insert(at, request(&mut dice)),
        2 => drop(lines.remove(at)),
        3 => lines[at] = request(&mut dice),
        how => {
            let mut words: Vec<&str> = lines[at].split(' ').collect();
            let (place, word) = (dice.below(words.len()), WORDS[dice.below(WORDS.len())]);
            match how {
                4 => words[place] = word,
                _ => words.insert((place + 1).min(words.len()), word),
            }
            lines[at] = words.join(" ");
        }
    }
    let changed = lines.join("\r\n");
    let len = changed.len().min(max_size);
    data[..len].copy_from_slice(&changed.as_bytes()[..len]);
    len
});
