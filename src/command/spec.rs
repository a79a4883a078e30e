//! The row that describes a command. Everything that is known of a command follows from its row.

use super::Ctx;
use crate::error::Result;
use crate::num;
use crate::resp::Args;

/// A command's function. It checks everything, acts, and answers last; an error rewinds what it wrote.
pub type Handler = fn(&mut Ctx<'_>, Args<'_>) -> Result<()>;

/// One command or subcommand.
pub struct Spec {
    /// Its name in upper case; of a subcommand, the second word alone.
    pub name: &'static str,
    /// Its function. Of a container, what runs when no subcommand is named.
    pub run: Handler,
    /// How many words it takes, the name and the container's name included.
    pub arity: Arity,
    /// What it does and where it may be used.
    pub flags: Flags,
    /// Which of its words are keys.
    pub keys: Keys,
    /// Its arguments as a person reads them.
    pub usage: &'static str,
    /// The Redis version that first had it.
    pub since: &'static str,
    /// What it costs, in Redis' notation.
    pub cost: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The group that COMMAND DOCS and the command table list it under.
    pub group: Group,
    /// Advice for clients and proxies, in the words of COMMAND INFO.
    pub tips: &'static [&'static str],
    /// Whether the word at a position is a password. Nobody keeps or shows such a word.
    pub secret: fn(Args<'_>, usize) -> bool,
    /// Its subcommands, if it is a container.
    pub subs: &'static [Spec],
}

impl Spec {
    /// What most rows share; each family has its own variant with the group filled in.
    pub const BASE: Spec = Spec {
        name: "",
        run: |_, _| Ok(()),
        arity: Arity::Exactly(1),
        flags: Flags::NONE,
        keys: Keys::NONE,
        usage: "",
        since: "1.0.0",
        cost: "O(1)",
        summary: "",
        group: Group::Generic,
        tips: &[],
        secret: |_, _| false,
        subs: &[],
    };

    /// Bytes that its reply may have, where one of what only reads may have so many. What changes data is not refused when it is
    /// done: it answers no more than it has taken out, once.
    #[inline]
    pub fn reply_max(&self, most: usize) -> usize {
        if self.flags.has(Flags::WRITE) { usize::MAX } else { most }
    }

    /// Whether it runs a script: those of the group that name keys hand them to one.
    pub fn runs_script(&self) -> bool {
        self.group == Group::Scripting && !self.keys.is_none()
    }

    /// The ACL categories it is in, in Redis' order and without the `@`.
    pub fn categories(&self) -> impl Iterator<Item = &'static str> {
        let flags = self.flags;
        // A container does nothing itself.
        let is = |group| self.group == group && self.subs.is_empty();
        let scripting = is(Group::Scripting);
        let generic = is(Group::Generic) && !flags.has(Flags::CONNECTION.and(Flags::SORTS));
        let admin = Flags::ADMIN.and(Flags::ADMIN_CATEGORY);
        [
            (flags.has(Flags::KEYSPACE) || generic, "keyspace"),
            (flags.has(Flags::READONLY) && !scripting, "read"),
            (flags.has(Flags::WRITE), "write"),
            (is(Group::Set) || flags.has(Flags::SORTS), "set"),
            (is(Group::SortedSet) || flags.has(Flags::SORTS), "sortedset"),
            (is(Group::List) || flags.has(Flags::SORTS), "list"),
            (is(Group::Hash), "hash"),
            (is(Group::String), "string"),
            (is(Group::Bitmap), "bitmap"),
            (flags.has(Flags::PUBSUB), "pubsub"),
            (flags.has(admin), "admin"),
            (flags.has(Flags::FAST), "fast"),
            (!flags.has(Flags::FAST), "slow"),
            (flags.has(Flags::BLOCKING), "blocking"),
            (flags.has(admin.and(Flags::DANGEROUS)), "dangerous"),
            (flags.has(Flags::CONNECTION), "connection"),
            (is(Group::Transactions), "transaction"),
            (scripting, "scripting"),
        ]
        .into_iter()
        .filter_map(|(is_in, name)| is_in.then_some(name))
    }
}

/// Advice that several rows give.
pub mod tips {
    /// Every shard is to run it, and all must succeed.
    pub const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
    /// Every node is to run it, and all must succeed.
    pub const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
    /// Keys may lie on several shards, whose answers are added up.
    pub const SUM_OF_SHARDS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
    /// The same request may be answered differently.
    pub const VARIES: &[&str] = &["nondeterministic_output"];
    /// The same request may be answered in another order.
    pub const ORDER_VARIES: &[&str] = &["nondeterministic_output_order"];
    /// Every shard is to run it, and its answers mean something only one by one.
    pub const SHARDS_DIFFER: &[&str] =
        &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
    /// Every node is to run it, and its answers mean something only one by one.
    pub const NODES_DIFFER: &[&str] =
        &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
}

/// How many words a command takes, its own name included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly so many.
    Exactly(u8),
    /// So many or more.
    AtLeast(u8),
}

impl Arity {
    /// Whether so many words fit.
    pub fn admits(self, words: usize) -> bool {
        match self {
            Arity::Exactly(count) => words == usize::from(count),
            Arity::AtLeast(count) => words >= usize::from(count),
        }
    }

    /// As COMMAND INFO writes it: negative for "at least".
    pub fn number(self) -> i64 {
        match self {
            Arity::Exactly(count) => i64::from(count),
            Arity::AtLeast(count) => -i64::from(count),
        }
    }
}

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

macro_rules! flags {
    ($($(#[doc = $doc:literal])+ $name:ident = $bit:expr, $text:expr;)+) => {
        impl Flags {
            $($(#[doc = $doc])+ pub const $name: Flags = Flags(1 << $bit);)+

            /// Every flag with the word that COMMAND INFO has for it; none for those that are only ours.
            pub const NAMES: &[(Flags, Option<&'static str>)] = &[$((Flags::$name, $text),)+];
        }
    };
}

flags! {
    /// Changes data.
    WRITE = 0, Some("write");
    /// Only reads data.
    READONLY = 1, Some("readonly");
    /// May need memory, so it is refused when there is none left.
    DENYOOM = 2, Some("denyoom");
    /// For administrators.
    ADMIN = 3, Some("admin");
    /// Belongs to Pub/Sub.
    PUBSUB = 4, Some("pubsub");
    /// Not from scripts.
    NOSCRIPT = 5, Some("noscript");
    /// May wait.
    BLOCKING = 6, Some("blocking");
    /// Works while data is being loaded.
    LOADING = 7, Some("loading");
    /// Works on a replica whose master is away.
    STALE = 8, Some("stale");
    /// Not shown by MONITOR: it carries passwords.
    SKIP_MONITOR = 9, Some("skip_monitor");
    /// Not kept by SLOWLOG: it carries passwords.
    SKIP_SLOWLOG = 10, Some("skip_slowlog");
    /// Takes constant or logarithmic time.
    FAST = 11, Some("fast");
    /// Runs before the client has authenticated.
    NO_AUTH = 12, Some("no_auth");
    /// Not while data is being loaded beside what there is.
    NO_ASYNC_LOADING = 13, Some("no_async_loading");
    /// Not inside MULTI.
    NO_MULTI = 14, Some("no_multi");
    /// Keys must be found by looking at the arguments.
    MOVABLE_KEYS = 15, Some("movablekeys");
    /// Runs while a script is busy.
    ALLOW_BUSY = 16, Some("allow_busy");
    /// May end up in a replica even if it writes nothing itself.
    MAY_REPLICATE = 17, None;
    /// Touches the whole keyspace.
    KEYSPACE = 18, None;
    /// Concerns the connection.
    CONNECTION = 19, None;
    /// May do harm without being for administrators.
    DANGEROUS = 20, None;
    /// In the categories of what is for administrators, but open to all.
    ADMIN_CATEGORY = 21, None;
    /// Needs no keys, though it may have some.
    NO_MANDATORY_KEYS = 24, Some("no_mandatory_keys");
    /// Meant for nodes of a cluster.
    ASKING = 23, Some("asking");
    /// Works on all types that have elements.
    SORTS = 22, None;
}

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// Both sets together.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Those of this set that are not in the other.
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// The words that COMMAND INFO has for those set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.iter().filter(move |(flag, _)| self.has(*flag)).filter_map(|(_, word)| *word)
    }

    /// Whether any of these is set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

/// Which words are keys: from the first to the last in steps, as COMMAND INFO describes it. A negative `last` counts
/// from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The first key's position, 0 for none.
    pub first: i8,
    /// The last key's position.
    pub last: i8,
    /// From one key to the next.
    pub step: i8,
    /// What happens to them, as COMMAND GETKEYSANDFLAGS says.
    pub access: &'static [&'static str],
    /// What happens to the last one, where that is something else.
    pub last_access: Option<&'static [&'static str]>,
    /// Where the word is that says how many keys follow it, 0 where they are not counted.
    pub count_at: i8,
    /// The option that names a key, if any does, and the others with the number of words behind them.
    pub option: Option<(&'static str, &'static [(&'static str, usize)])>,
    /// More keys.
    pub also: Option<&'static Keys>,
}

impl Keys {
    /// No keys.
    pub const NONE: Keys =
        Keys { first: 0, last: 0, step: 0, access: &[], last_access: None, count_at: 0, option: None, also: None };
    /// One key, which is read.
    pub const ONE: Keys = Keys { first: 1, last: 1, step: 1, access: &["RO", "access"], ..Keys::NONE };
    /// Two keys, which are read.
    pub const TWO: Keys = Keys { first: 1, last: 2, step: 1, access: &["RO", "access"], ..Keys::NONE };
    /// All words are keys, which are read.
    pub const ALL: Keys = Keys { first: 1, last: -1, step: 1, access: &["RO", "access"], ..Keys::NONE };
    /// Key, value, key, value.
    pub const PAIRS: Keys = Keys { first: 1, last: -1, step: 2, access: &["OW", "update"], ..Keys::NONE };

    /// As many keys as the word at a position says, behind it.
    pub const fn counted(at: i8) -> Keys {
        Keys { count_at: at, step: 1, access: &["RO", "access"], ..Keys::NONE }
    }

    /// The key behind an option, wherever it stands, among others that have so many words behind them.
    pub const fn named(option: &'static str, others: &'static [(&'static str, usize)]) -> Keys {
        Keys { option: Some((option, others)), step: 1, ..Keys::NONE }
    }

    /// Keys that the request does not name: what is there at other keys leads to them.
    pub const ELSEWHERE: Keys = Keys { access: &["RO", "access"], ..Keys::named("", &[]) };

    /// The same keys and others.
    pub const fn and(self, also: &'static Keys) -> Keys {
        Keys { also: Some(also), ..self }
    }

    /// The same keys, changed: read and written.
    pub const fn writes(self) -> Keys {
        Keys { access: &["RW", "update"], ..self }
    }

    /// The same keys with other access words.
    pub const fn with(self, access: &'static [&'static str]) -> Keys {
        Keys { access, ..self }
    }

    /// The same keys, the last with access words of its own.
    pub const fn last_with(self, access: &'static [&'static str]) -> Keys {
        Keys { last_access: Some(access), ..self }
    }

    /// Whether there are none, whatever the request.
    pub const fn is_none(self) -> bool {
        self.first == 0 && self.count_at == 0 && self.option.is_none()
    }

    /// The last key of those that follow each other, whatever happens to them.
    pub fn last_in_row(self) -> i8 {
        let row = self.also.filter(|also| also.first > 0 && also.first == self.last + self.step);
        row.map_or(self.last, |also| also.last)
    }

    /// The same words where keys would be, though they name none: channels of shards go where keys of their name would.
    pub const fn but_not_keys(self) -> Keys {
        Keys { access: &["not_key"], ..self }
    }

    /// Whether any of the words can be a key.
    pub fn names_keys(self) -> bool {
        !self.is_none() && !self.access.contains(&"not_key")
    }

    /// The same keys in runs that have one set of access words each.
    pub fn runs(self) -> impl Iterator<Item = Keys> {
        let alone = Keys { last_access: None, also: None, ..self };
        let (head, tail) = match self.last_access {
            None => (alone, None),
            Some(access) => {
                let tail = Keys { first: self.last, access, ..alone };
                (Keys { last: self.last - self.step, ..alone }, Some(tail))
            }
        };
        let also = std::iter::successors(self.also, |also| also.also);
        let also = also.map(|also| Keys { last_access: None, also: None, ..*also });
        std::iter::once(head).filter(|head| !head.is_none()).chain(tail).chain(also)
    }

    /// The positions of the keys in a request, run by run.
    pub fn positions(self, request: Args<'_>) -> impl Iterator<Item = usize> {
        self.runs().filter(|run| run.names_keys()).flat_map(move |run| run.run_positions(request))
    }

    /// Whether the numbers of keys that a request tells are numbers of keys that it has.
    pub fn counts_fit(self, request: Args<'_>) -> bool {
        self.runs().filter(|run| run.count_at > 0).all(|run| {
            let at = usize::from(run.count_at.unsigned_abs());
            let count = usize::try_from(request.get(at).map_or(0, num::leading_i32));
            count.is_ok_and(|count| count > 0 && count < request.len().saturating_sub(at))
        })
    }

    fn run_positions(self, request: Args<'_>) -> impl Iterator<Item = usize> + use<> {
        let words = request.len() as i64;
        let (first, last) = match self.count_at {
            _ if let Some((option, others)) = self.option => match option_value(request, option, others) {
                Some(at) => (at as i64, at as i64),
                None => (0, -1),
            },
            0 => {
                let last = if self.last < 0 { words + i64::from(self.last) } else { i64::from(self.last) };
                (i64::from(self.first), if self.first == 0 { -1 } else { last })
            }
            at => {
                let count = i64::from(request.get(at as usize).map_or(0, num::leading_i32));
                (i64::from(at) + 1, i64::from(at) + count.max(0))
            }
        };
        (first..=last.min(words - 1)).step_by(self.step.max(1) as usize).map(|position| position as usize)
    }
}

/// The position of the word behind an option. Of several such options the last one counts.
fn option_value(request: Args<'_>, option: &str, others: &[(&str, usize)]) -> Option<usize> {
    let is = |at: usize, name: &str| request.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let (mut found, mut at) = (None, 2);
    while at < request.len() {
        if !option.is_empty() && is(at, option) && at + 1 < request.len() {
            found = Some(at + 1);
            at += 1;
        } else if let Some((_, words)) = others.iter().find(|(name, _)| is(at, name)) {
            at += words;
        }
        at += 1;
    }
    found
}

/// The groups of commands, with Redis' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys whatever their type.
    Generic,
    /// Strings.
    String,
    /// Bits of strings.
    Bitmap,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Publishers and subscribers.
    PubSub,
    /// Several commands at once.
    Transactions,
    /// The client's connection.
    Connection,
    /// The server.
    Server,
    /// Scripts and functions.
    Scripting,
    /// Several servers.
    Cluster,
}

impl Group {
    /// All of them, in the order of the table in docs/commands.md.
    pub const ALL: [Group; 13] = [
        Group::Generic,
        Group::String,
        Group::Bitmap,
        Group::List,
        Group::Set,
        Group::SortedSet,
        Group::Hash,
        Group::PubSub,
        Group::Transactions,
        Group::Scripting,
        Group::Connection,
        Group::Server,
        Group::Cluster,
    ];

    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::Cluster => "cluster",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Words;

    #[test]
    fn key_positions_count_from_either_end() {
        let positions = |keys: Keys, line: &str| {
            let words: Words = line.split(' ').map(str::as_bytes).collect();
            keys.positions(words.args()).collect::<Vec<_>>()
        };
        assert_eq!(positions(Keys::ONE, "get a b"), [1]);
        assert_eq!(positions(Keys::ALL, "del a b c"), [1, 2, 3]);
        assert_eq!(positions(Keys::PAIRS, "mset a 1 b 2"), [1, 3]);
        assert_eq!(positions(Keys::NONE, "ping a b c d"), [0usize; 0]);
        assert_eq!(positions(Keys::TWO, "rename a"), [1]);
        assert_eq!(positions(Keys::ALL.but_not_keys(), "ssubscribe a"), [0usize; 0]);
        const COUNTED: Keys = Keys::counted(2);
        assert_eq!(positions(COUNTED, "eval text 2 a b c"), [3, 4]);
        assert_eq!(positions(COUNTED, "eval text 9 a"), [3]);
        assert_eq!(positions(COUNTED, "eval text x a"), [0usize; 0]);
        assert_eq!(positions(Keys::ONE.and(&COUNTED), "zunionstore to 2 a b"), [1, 3, 4]);
        const NAMED: Keys = Keys::named("STORE", &[("BY", 1)]);
        assert_eq!(positions(Keys::ONE.and(&NAMED), "sort a by store x y store b"), [1, 7]);
        assert_eq!(positions(Keys::ONE.and(&NAMED), "sort a STORE b store c store"), [1, 5]);
        assert_eq!(positions(Keys::ONE.and(&NAMED), "sort a by"), [1]);
        assert_eq!(Keys::TWO.runs().collect::<Vec<_>>(), [Keys::TWO]);
        let runs: Vec<_> = Keys::TWO.last_with(&["OW"]).runs().map(|run| (run.first, run.last, run.access)).collect();
        assert_eq!(runs, [(1, 1, Keys::ONE.access), (2, 2, &["OW"])]);
    }
}
