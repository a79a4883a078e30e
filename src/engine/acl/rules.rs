//! What a user may do: passwords, and selectors of commands, keys and channels.
//!
//! Rules are read as Redis reads them, one word after the other, and shown in the form in which they can be read
//! again. Passwords are kept as digests only.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Table;
use crate::glob;
use crate::resp::Args;

/// The digest of a password.
type Hash = [u8; 32];

/// Why a rule was not taken, in Redis' words. The rule itself is not repeated: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// No such command or category.
    Unknown,
    /// It is no rule.
    Syntax,
    /// A pattern of keys where all are allowed already.
    KeyAfterAll,
    /// A pattern of channels where all are allowed already.
    ChannelAfterAll,
    /// A password to remove that is not there.
    NoSuchPassword,
    /// A digest that is none.
    BadHash,
    /// The first argument of a subcommand.
    FirstArgument,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mistake::Unknown => "Unknown command or category name in ACL",
            Mistake::Syntax => "Syntax error",
            Mistake::KeyAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Mistake::ChannelAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Mistake::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Mistake::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Mistake::FirstArgument => "Allowing first-arg of a subcommand is not supported",
        })
    }
}

/// What a request would touch, as far as a user's rights depend on it.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The number of its command.
    pub number: usize,
    /// Whether anybody may run it: it is how clients say who they are.
    pub is_open: bool,
    /// Its words.
    pub args: Args<'a>,
    /// The position of its first argument.
    pub first: usize,
    /// Its keys.
    pub keys: &'a [Touch],
    /// Its channels: the position of each, and whether it is a pattern.
    pub channels: &'a [(usize, bool)],
}

/// What a request does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The position of the key.
    pub at: usize,
    /// Whether its value is told.
    pub reads: bool,
    /// Whether its value is changed.
    pub writes: bool,
}

/// What a user lacks. Of several selectors the one that came farthest tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command.
    Command,
    /// The key at a position.
    Key(usize),
    /// The channel at a position.
    Channel(usize),
}

/// All that is known of a user but the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    on: bool,
    no_password: bool,
    /// Whether what RESTORE brings is looked at closely, if anything was said about it.
    sanitize: Option<bool>,
    passwords: Vec<Hash>,
    root: Selector,
    selectors: Vec<Selector>,
}

impl Rules {
    /// A user who may do nothing, off.
    pub fn nothing(commands: usize, all_channels: bool) -> Rules {
        Rules {
            on: false,
            no_password: false,
            sanitize: None,
            passwords: Vec::new(),
            root: Selector::nothing(commands, all_channels),
            selectors: Vec::new(),
        }
    }

    /// A user who may do everything, without a password.
    pub fn everything(commands: usize) -> Rules {
        let mut rules = Rules::nothing(commands, true);
        rules.on = true;
        rules.no_password = true;
        rules.root.all_keys = true;
        rules.root.allow_all(true);
        rules
    }

    /// Whether the user may log in.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Whether any password will do.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    /// Whether nothing is forbidden.
    pub fn is_free(&self) -> bool {
        std::iter::once(&self.root).chain(&self.selectors).any(Selector::is_free)
    }

    /// Whether this password lets the user in. Takes the same time whichever of the passwords it is, or none.
    pub fn admits(&self, password: &[u8]) -> bool {
        let given = digest(password);
        self.on & (self.no_password | self.passwords.iter().fold(false, |found, own| found | same(own, &given)))
    }

    /// No password but this one; `None` for any.
    pub fn set_password(&mut self, password: Option<&[u8]>) {
        self.passwords = password.map(digest).into_iter().collect();
        self.no_password = password.is_none();
    }

    /// Applies one rule. `all_channels` is what a user who is reset may subscribe to.
    pub fn apply(&mut self, rule: &[u8], table: &Table, all_channels: bool) -> Result<(), Mistake> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"" => {}
            b"on" => self.on = true,
            b"off" => self.on = false,
            b"sanitize-payload" => self.sanitize = Some(true),
            b"skip-sanitize-payload" => self.sanitize = Some(false),
            b"nopass" => self.set_password(None),
            b"resetpass" => {
                self.set_password(None);
                self.no_password = false;
            }
            b"clearselectors" => self.selectors.clear(),
            b"reset" => {
                *self = Rules { sanitize: Some(true), ..Rules::nothing(self.root.commands(), all_channels) };
            }
            [b'>' | b'#', ..] => {
                let hash = password(rule)?;
                if !self.passwords.contains(&hash) {
                    self.passwords.push(hash);
                }
                self.no_password = false;
            }
            [b'<' | b'!', ..] => {
                let hash = password(rule)?;
                let at = self.passwords.iter().position(|own| *own == hash).ok_or(Mistake::NoSuchPassword)?;
                self.passwords.remove(at);
            }
            [b'(', inner @ .., b')'] => {
                // The inner rules in their own letters.
                let inner = &rule[1..=inner.len()];
                let mut selector = Selector::nothing(self.root.commands(), all_channels);
                for rule in inner.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
                    // Redis takes such a one and cannot read the file that it then writes.
                    if rule.ends_with(b")") {
                        return Err(Mistake::Syntax);
                    }
                    selector.apply(rule, table)?;
                }
                self.selectors.push(selector);
            }
            _ => self.root.apply(rule, table)?,
        }
        Ok(())
    }

    /// Whether all that is wished for may be done.
    pub fn check(&self, wish: Wish<'_>) -> Result<(), Denied> {
        let mut denied = Denied::Command;
        for selector in std::iter::once(&self.root).chain(&self.selectors) {
            match selector.check(wish) {
                Ok(()) => return Ok(()),
                Err(other) => denied = denied.max(other),
            }
        }
        Err(denied)
    }

    /// Whether one selector allows what is wished for and, besides, reading every key there is, as SORT does by way
    /// of patterns.
    pub fn check_reading_all(&self, wish: Wish<'_>) -> bool {
        let reads_all = |selector: &Selector| {
            let any = |key: &KeyPattern| key.reads && key.pattern == b"*";
            selector.all_keys || selector.keys.iter().any(any)
        };
        std::iter::once(&self.root)
            .chain(&self.selectors)
            .any(|selector| reads_all(selector) && selector.check(wish).is_ok())
    }

    /// Whether the user may do something with a key: read its value, change it, or, with neither, know of it.
    pub fn allows_key(&self, key: &[u8], reads: bool, writes: bool) -> bool {
        let touch = Touch { at: 0, reads, writes };
        std::iter::once(&self.root).chain(&self.selectors).any(|selector| selector.allows_key(key, touch))
    }

    /// Whether the user may publish to or listen to a channel, or to a pattern of channels.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        std::iter::once(&self.root).chain(&self.selectors).any(|selector| selector.allows_channel(channel, is_pattern))
    }

    // ---- showing ----------------------------------------------------------------------------------------------

    /// The flags, by name.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let sanitize = self.sanitize.map(|yes| if yes { "sanitize-payload" } else { "skip-sanitize-payload" });
        [Some(if self.on { "on" } else { "off" }), self.no_password.then_some("nopass"), sanitize].into_iter().flatten()
    }

    /// The digests of the passwords, in hexadecimal.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|hash| crate::num::hex(hash))
    }

    /// What the user may do by rules of their own.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// What the user may do besides.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The rules that make such a user, separated by blanks.
    pub fn describe(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for flag in self.flags() {
            out.extend_from_slice(flag.as_bytes());
            out.push(b' ');
        }
        for hash in self.hashes() {
            out.push(b'#');
            out.extend_from_slice(hash.as_bytes());
            out.push(b' ');
        }
        self.root.describe(&mut out);
        for selector in &self.selectors {
            out.extend_from_slice(b" (");
            selector.describe(&mut out);
            out.push(b')');
        }
        out
    }
}

/// A set of commands, keys and channels that go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// A bit for each command by its number. The bits beyond the last command are set with all of them only, and so
    /// tell whether commands to come are allowed.
    bits: Box<[u64]>,
    /// First arguments with which a command is allowed that otherwise is not.
    first: Vec<(usize, Vec<u8>)>,
    /// Whether it began with all commands, and what came on top, in the order in which it came.
    all_at_first: bool,
    rules: Vec<String>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Vec<u8>>,
}

/// Keys, and what may be done to them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    reads: bool,
    writes: bool,
}

impl Selector {
    fn nothing(commands: usize, all_channels: bool) -> Selector {
        Selector {
            bits: vec![0; commands.div_ceil(64)].into(),
            first: Vec::new(),
            all_at_first: false,
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// About how many commands there are.
    fn commands(&self) -> usize {
        self.bits.len() * 64
    }

    fn is_free(&self) -> bool {
        self.all_keys && self.all_channels && self.bits.iter().all(|word| *word == u64::MAX)
    }

    fn allow_all(&mut self, yes: bool) {
        self.bits.fill(if yes { u64::MAX } else { 0 });
        self.all_at_first = yes;
        self.first.clear();
        self.rules.clear();
    }

    fn allow(&mut self, number: usize, yes: bool) {
        if let Some(word) = self.bits.get_mut(number / 64) {
            let bit = 1 << (number % 64);
            *word = if yes { *word | bit } else { *word & !bit };
        }
        self.first.retain(|(command, _)| *command != number);
    }

    fn has(&self, number: usize) -> bool {
        self.bits.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    fn apply(&mut self, rule: &[u8], table: &Table) -> Result<(), Mistake> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allkeys" | b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            b"allcommands" | b"+@all" => self.allow_all(true),
            b"nocommands" | b"-@all" => self.allow_all(false),
            [b'~' | b'%', ..] => return self.add_key(rule),
            [b'&', ..] => {
                let pattern = &rule[1..];
                if self.all_channels {
                    return Err(Mistake::ChannelAfterAll);
                }
                check_word(pattern)?;
                if !self.channels.iter().any(|channel| channel == pattern) {
                    self.channels.push(pattern.to_vec());
                }
            }
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                let numbers = (table.category)(category).ok_or(Mistake::Unknown)?;
                let yes = *sign == b'+';
                numbers.into_iter().for_each(|number| self.allow(number, yes));
                self.note(&lower[1..], yes, table);
            }
            [b'+', name @ ..] => return self.add_command(name, table),
            [b'-', name @ ..] => {
                let command = (table.command)(name).ok_or(Mistake::Unknown)?;
                command.numbers().for_each(|number| self.allow(number, false));
                self.note(name, false, table);
            }
            _ => return Err(Mistake::Syntax),
        }
        Ok(())
    }

    /// `~pattern`, `%R~pattern`, `%W~pattern`, `%RW~pattern`.
    fn add_key(&mut self, rule: &[u8]) -> Result<(), Mistake> {
        if self.all_keys {
            return Err(Mistake::KeyAfterAll);
        }
        let tilde = rule.iter().position(|byte| *byte == b'~').ok_or(Mistake::Syntax)?;
        let (reads, writes) = match rule[..tilde].to_ascii_lowercase().as_slice() {
            b"" | b"%rw" | b"%wr" => (true, true),
            b"%r" => (true, false),
            b"%w" => (false, true),
            _ => return Err(Mistake::Syntax),
        };
        let pattern = &rule[tilde + 1..];
        check_word(pattern)?;
        match self.keys.iter_mut().find(|key| key.pattern == pattern) {
            Some(key) => {
                key.reads |= reads;
                key.writes |= writes;
            }
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), reads, writes }),
        }
        Ok(())
    }

    /// `+command`, `+command|subcommand` or `+command|argument`; the name is lower-case.
    fn add_command(&mut self, name: &[u8], table: &Table) -> Result<(), Mistake> {
        if let Some(command) = (table.command)(name) {
            // What is allowed already needs no word more.
            if !command.numbers().all(|number| self.has(number)) {
                command.numbers().for_each(|number| self.allow(number, true));
                self.note(name, true, table);
            }
            return Ok(());
        }
        let bar = name.iter().rposition(|byte| *byte == b'|').ok_or(Mistake::Unknown)?;
        let command = (table.command)(&name[..bar]).ok_or(Mistake::Unknown)?;
        let argument = &name[bar + 1..];
        if command.is_sub {
            return Err(Mistake::FirstArgument);
        }
        if argument.is_empty() || !argument.is_ascii() {
            return Err(Mistake::Syntax);
        }
        // Redis takes blanks here, and reads what is behind them as further rules when it reads its file again.
        check_word(argument)?;
        if command.subs > 0 {
            return Err(Mistake::Unknown);
        }
        let number = command.number;
        if !self.has(number) && !self.first.iter().any(|(own, word)| *own == number && word == argument) {
            self.first.push((number, argument.to_vec()));
            self.note(name, true, table);
        }
        Ok(())
    }

    /// Remembers a rule about commands; earlier ones about the same commands have no effect any more.
    fn note(&mut self, name: &[u8], yes: bool, table: &Table) {
        let name = String::from_utf8_lossy(name);
        let before = self.rules.len();
        self.rules.retain(|rule| {
            let rest = rule[1..].strip_prefix(&*name);
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        let dropped = self.rules.len() < before;
        self.rules.push(format!("{}{name}", if yes { '+' } else { '-' }));
        if dropped {
            // Without them others may say nothing any more, as the second word of `-config +config`. What is shown is what a
            // reader of it would show.
            let mut again = Selector::nothing(self.commands(), false);
            again.allow_all(self.all_at_first);
            let known = self.rules.iter().all(|rule| again.apply(rule.as_bytes(), table).is_ok());
            debug_assert!(known && again.bits == self.bits && again.first == self.first, "{:?}", self.rules);
            if known {
                self.rules = again.rules;
            }
        }
    }

    fn check(&self, wish: Wish<'_>) -> Result<(), Denied> {
        if !wish.is_open && !self.has(wish.number) {
            let argument = wish.args.get(wish.first);
            let fits = |word: &[u8]| argument.is_some_and(|argument| argument.eq_ignore_ascii_case(word));
            if !self.first.iter().any(|(number, word)| *number == wish.number && fits(word)) {
                return Err(Denied::Command);
            }
        }
        let word = |at: usize| wish.args.get(at).unwrap_or_default();
        if let Some(touch) = wish.keys.iter().find(|touch| !self.allows_key(word(touch.at), **touch)) {
            return Err(Denied::Key(touch.at));
        }
        match wish.channels.iter().find(|(at, is_pattern)| !self.allows_channel(word(*at), *is_pattern)) {
            Some((at, _)) => Err(Denied::Channel(*at)),
            None => Ok(()),
        }
    }

    fn allows_key(&self, key: &[u8], touch: Touch) -> bool {
        let allows = |own: &KeyPattern| {
            (own.reads || !touch.reads) && (own.writes || !touch.writes) && glob::matches(&own.pattern, key, false)
        };
        self.all_keys || self.keys.iter().any(allows)
    }

    fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let allows = |own: &Vec<u8>| match is_pattern {
            // A pattern may reach what another does not, so it has to be the very one.
            true => own == channel,
            false => glob::matches(own, channel, false),
        };
        self.all_channels || self.channels.iter().any(allows)
    }

    // ---- showing ----------------------------------------------------------------------------------------------

    /// The rules about commands.
    pub fn describe_commands(&self) -> String {
        let mut out = String::from(if self.all_at_first { "+@all" } else { "-@all" });
        for rule in &self.rules {
            out.push(' ');
            out.push_str(rule);
        }
        out
    }

    /// The patterns of keys.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let show = |key: &KeyPattern| {
            let sign: &[u8] = match (key.reads, key.writes) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [sign, &key.pattern].concat()
        };
        self.keys.iter().map(show).collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|channel| [b"&", channel.as_slice()].concat()).collect::<Vec<_>>().join(&b' ')
    }

    fn describe(&self, out: &mut Vec<u8>) {
        let reset: &[u8] = if self.all_channels { b"" } else { b"resetchannels" };
        let commands = self.describe_commands().into_bytes();
        let parts = [self.describe_keys(), reset.to_vec(), self.describe_channels(), commands];
        out.extend(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' '));
    }
}

/// Patterns and names stand in lines that are split at blanks.
pub(super) fn check_word(word: &[u8]) -> Result<(), Mistake> {
    match word.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b)) {
        true => Err(Mistake::Syntax),
        false => Ok(()),
    }
}

fn digest(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

/// Whether two secrets are the same, in a time that tells nothing of either.
pub fn same_secret(one: &[u8], other: &[u8]) -> bool {
    same(&digest(one), &digest(other))
}

/// Whether two digests are the same, in a time that does not depend on where they differ.
fn same(one: &Hash, other: &Hash) -> bool {
    one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// The digest that a rule means: `>password`, `<password`, `#digest` or `!digest`.
fn password(rule: &[u8]) -> Result<Hash, Mistake> {
    let (sign, text) = rule.split_first().ok_or(Mistake::Syntax)?;
    if matches!(sign, b'>' | b'<') {
        return Ok(digest(text));
    }
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(Mistake::BadHash),
    };
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() {
        return Err(Mistake::BadHash);
    }
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(hash)
}
