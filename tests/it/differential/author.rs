//! Requests from a seed: sound ones, and ones that are wrong in every way that can be thought of.

/// Chance from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What the requests are made of. Lower-case words stand for a word of that sort, `{..}` for one of those inside it,
/// all others for themselves.
const REQUESTS: &[&str] = &[
    "GET key",
    "SET key value",
    "SET key value {NX XX}",
    "SET key value life",
    "SET key value life life",
    "SET key value set-option set-option",
    "SET key value set-option life set-option",
    "SETNX key value",
    "SETEX key seconds value",
    "PSETEX key millis value",
    "MGET keys",
    "MSET pairs",
    "MSETNX pairs",
    "GETSET key value",
    "GETDEL key",
    "GETEX key",
    "GETEX key life",
    "GETEX key {PERSIST KEEPTTL NX GET}",
    "GETEX key life {PERSIST KEEPTTL EX}",
    "APPEND key value",
    "STRLEN key",
    "SETRANGE key offset value",
    "GETRANGE key offset offset",
    "SUBSTR key offset offset",
    "INCR key",
    "DECR key",
    "INCRBY key integer",
    "DECRBY key integer",
    "INCRBYFLOAT key value",
    "SET key integer",
    "LCS key key",
    "LCS key key lcs-option",
    "LCS key key IDX lcs-option lcs-option",
    "DEL keys",
    "UNLINK keys",
    "EXISTS keys",
    "TOUCH keys",
    "TYPE key",
    "TTL key",
    "PTTL key",
    "EXPIRETIME key",
    "PEXPIRETIME key",
    "EXPIRE key seconds",
    "PEXPIRE key millis",
    "EXPIREAT key unix-seconds",
    "PEXPIREAT key unix-millis",
    "EXPIRE key seconds condition",
    "PEXPIRE key millis condition condition",
    "EXPIREAT key unix-seconds condition",
    "PEXPIREAT key unix-millis condition condition",
    "PERSIST key",
    "RENAME key key",
    "RENAMENX key key",
    "COPY key key",
    "COPY key key REPLACE",
    "COPY key key DB db",
    "COPY key key REPLACE DB db",
    "MOVE key db",
    "SELECT db",
    "KEYS pattern",
    "SCAN 0 COUNT 10000",
    "SCAN 0 COUNT 10000 scan-option",
    "SCAN 0 COUNT 10000 scan-option scan-option",
    "SCAN cursor scan-option",
    "RANDOMKEY",
    "OBJECT {ENCODING REFCOUNT IDLETIME FREQ} key",
    "OBJECT {HELP NOSUCH}",
];

/// The keys that there are.
pub const KEYS: &[&[u8]] =
    &[b"a", b"b", b"c", b"counter", b"", b"user:1", b"user:2", b"\xff\r\n\x00*[", b"auth:session"];

/// None begins with a zero byte: where Redis expects an option or a number that is an empty word, here it is not.
const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"9999",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"007",
    b"+5",
    b" 5",
    b"5 ",
    b"-0",
    b"3.0",
    b"0.1",
    b"-2.5e3",
    b"1e400",
    b"1e5000",
    b"1e-5000",
    b"0x1p3",
    b"nan",
    b"inf",
    b"-infinity",
    b"1.",
    b".5",
    b"3.141592653589793238462643",
    b"abc",
    b"ohmytext",
    b"mynewtext",
    b"hello world",
    b"\x7f\x00\xff\r\n\x80",
    b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHI",
    b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH",
];

const INTEGERS: &[&[u8]] = &[
    b"0",
    b"1",
    b"-1",
    b"2",
    b"10",
    b"1000",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"-9223372036854775807",
    b"9223372036854775808",
    b"99999999999999999999",
    b"",
    b"abc",
    b"1.5",
    b"01",
    b" 1",
    b"+1",
    b"-",
];

const OFFSETS: &[&[u8]] = &[
    b"0",
    b"1",
    b"2",
    b"3",
    b"-1",
    b"-2",
    b"-3",
    b"5",
    b"-5",
    b"40",
    b"100",
    b"600",
    b"1048575",
    b"1048576",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"x",
];

const TIMES: &[&[u8]] = &[
    b"0",
    b"-1",
    b"-1000000",
    b"9223372036854775807",
    b"9223372036854775",
    b"9223372036854776",
    b"-9223372036854775",
    b"-9223372036854775808",
    b"9223370000000000000",
    b"-9223372036854776",
    b"abc",
    b"",
    b"1.5",
    b"99999999999999999999",
];

const PATTERNS: &[&[u8]] = &[
    b"*",
    b"a",
    b"",
    b"?",
    b"user:*",
    b"user:[12]",
    b"user:[^1]",
    b"[a-c]",
    b"\\a",
    b"**",
    b"*:*",
    b"nosuch",
    b"[",
    b"a\\",
    b"",
    b"?*[",
    b"\xff*",
];

const CURSORS: &[&[u8]] = &[
    b"",
    b"0",
    b"00",
    b"+0",
    b"-0",
    b"-1",
    b"+",
    b"-",
    b"--1",
    b" 0",
    b"0 ",
    b"x",
    b"18446744073709551615",
    b"18446744073709551616",
];

const DBS: &[&[u8]] = &[
    b"0",
    b"0",
    b"0",
    b"1",
    b"1",
    b"2",
    b"15",
    b"16",
    b"-1",
    b"abc",
    b"",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"99999999999999999999",
];

/// Makes requests from a seed.
pub struct Author {
    dice: Dice,
    /// When it began, in Unix milliseconds.
    began: u64,
}

impl Author {
    pub fn new(seed: u64, began: u64) -> Author {
        Author { dice: Dice(seed), began }
    }

    pub fn request(&mut self) -> Vec<Vec<u8>> {
        loop {
            let words = self.any_request();
            if !is_hasty(&words) {
                return words;
            }
        }
    }

    fn any_request(&mut self) -> Vec<Vec<u8>> {
        let pattern = self.dice.pick(REQUESTS);
        let mut words = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (sort, behind) = match rest.strip_prefix('{') {
                Some(choice) => {
                    let (choice, behind) = choice.split_once('}').expect("a closed choice");
                    (self.dice.pick(&choice.split(' ').collect::<Vec<_>>()), behind)
                }
                None => rest.split_once(' ').unwrap_or((rest, "")),
            };
            rest = behind.trim_start();
            self.write(sort, &mut words);
        }
        if self.dice.one_in(12) {
            self.spoil(&mut words);
        }
        words
    }

    /// Takes a word away, puts one in or exchanges two; the command's name stays.
    fn spoil(&mut self, words: &mut Vec<Vec<u8>>) {
        let at = 1 + self.dice.below(words.len());
        match self.dice.below(3) {
            0 if at < words.len() => {
                words.remove(at);
            }
            1 if at < words.len() => {
                let other = 1 + self.dice.below(words.len() - 1);
                words.swap(at, other);
            }
            _ => words.insert(at, self.dice.pick(VALUES).to_vec()),
        }
    }

    /// Writes one word of a sort, or as many as it takes.
    fn write(&mut self, sort: &str, words: &mut Vec<Vec<u8>>) {
        let word = match sort {
            "key" => self.dice.pick(KEYS).to_vec(),
            "value" => self.value(),
            "integer" => self.dice.pick(INTEGERS).to_vec(),
            "offset" => self.dice.pick(OFFSETS).to_vec(),
            "pattern" => self.dice.pick(PATTERNS).to_vec(),
            "cursor" => self.dice.pick(CURSORS).to_vec(),
            "db" => self.dice.pick(DBS).to_vec(),
            "keys" => {
                let count = 1 + self.dice.below(4);
                return (0..count).for_each(|_| self.write("key", words));
            }
            "pairs" => {
                let count = 1 + self.dice.below(4);
                return (0..count).for_each(|_| {
                    self.write("key", words);
                    self.write("value", words);
                });
            }
            "seconds" | "millis" | "unix-seconds" | "unix-millis" => self.time(sort),
            "life" => {
                let (option, sort) = self.dice.pick(&[
                    &("EX", "seconds"),
                    &("PX", "millis"),
                    &("EXAT", "unix-seconds"),
                    &("PXAT", "unix-millis"),
                ]);
                words.push(self.option(option));
                self.time(sort)
            }
            "set-option" => match self.dice.below(3) {
                0 => return self.write("life", words),
                _ => {
                    let option = self.dice.pick(&["NX", "XX", "GET", "GET", "KEEPTTL", "PERSIST", "EX"]);
                    self.option(option)
                }
            },
            "condition" => {
                let option = self.dice.pick(&["NX", "XX", "GT", "LT", "YY\r\n"]);
                self.option(option)
            }
            "lcs-option" => match self.dice.below(3) {
                0 => {
                    words.push(self.option("MINMATCHLEN"));
                    self.dice.pick(INTEGERS).to_vec()
                }
                _ => {
                    let option = self.dice.pick(&["LEN", "IDX", "WITHMATCHLEN", "WITHMATCHLEN", "MINMATCHLEN"]);
                    self.option(option)
                }
            },
            "scan-option" => {
                let (option, values) = self.dice.pick(&[
                    &("MATCH", PATTERNS),
                    &("TYPE", &[b"string", b"STRING", b"hash", b"nosuch"]),
                    &("COUNT", &[b"10000", b"9223372036854775807", b"0", b"-1", b"x"]),
                    &("NOSUCH", VALUES),
                ]);
                words.push(self.option(option));
                self.dice.pick(values).to_vec()
            }
            literal => self.option(literal),
        };
        words.push(word);
    }

    /// An option's or a command's name in some case.
    fn option(&mut self, name: &str) -> Vec<u8> {
        if self.dice.one_in(2) { name.into() } else { name.to_lowercase().into_bytes() }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.dice.below(8) {
            // Of two letters, so that there is something in common.
            0 => {
                let len = self.dice.below(40);
                (0..len).map(|_| b"xy"[self.dice.below(2)]).collect()
            }
            1 => vec![b'x'; self.dice.below(700)],
            _ => self.dice.pick(VALUES).to_vec(),
        }
    }

    /// A time that makes no sense, has passed, or is so far off and so odd that no two are near each other: which of two
    /// is later must not depend on when each server read its clock.
    fn time(&mut self, sort: &str) -> Vec<u8> {
        if self.dice.one_in(3) {
            return self.dice.pick(TIMES).to_vec();
        }
        let ahead = 1_000_000 + self.dice.roll() % 1_000_000_000_000;
        let passed = self.dice.one_in(6);
        let unix = if passed { self.began - ahead % 1_000_000_000 } else { self.began + ahead };
        let number = match sort {
            "seconds" => ahead / 1_000,
            "millis" => ahead,
            "unix-seconds" => unix / 1_000,
            _ => unix,
        };
        number.to_string().into_bytes()
    }
}

/// Whether a request, out of joint, gives a key so short a life that the one server may see it die before the other.
fn is_hasty(words: &[Vec<u8>]) -> bool {
    let is = |at: usize, names: &[&str]| names.iter().any(|name| words[at].eq_ignore_ascii_case(name.as_bytes()));
    let is_soon = |at: usize| {
        let time = words.get(at).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        time.is_some_and(|time: u64| (1..100_000).contains(&time))
    };
    let by_command = is(0, &["SETEX", "PSETEX", "EXPIRE", "PEXPIRE"]) && is_soon(2);
    by_command || (2..words.len()).any(|at| is(at, &["EX", "PX"]) && is_soon(at + 1))
}
