//! Users and what they may do.
//!
//! This floor knows no command: rules name commands, and [`Table`], which the floor above fills in, tells their
//! numbers. A client holds its [`User`], whose rules may change under it at any time. The default user is every
//! client's until it logs in; while that one may do everything without a password, one flag says so and nobody looks
//! any further.

mod log;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::{Mutex, RwLock};

use super::{Charges, Oddity, Unusual};

pub use log::{Context, Entry, Log};
pub use rules::{Denied, Mistake, Rules, Selector, Touch, Wish, same_secret};

/// The name of the user that clients are before they say who they are.
pub const DEFAULT: &str = "default";

/// Bits of the guard: clients must log in; the default user may not do everything.
const NEEDS_AUTH: u8 = 1;
const LIMITED: u8 = 2;

/// What rules have to know of commands.
pub struct Table {
    /// The command of a lower-case full name, `get` or `config|get`.
    pub command: fn(&[u8]) -> Option<Numbers>,
    /// The numbers of a category's commands, by its lower-case name; `None` if there is no such category.
    pub category: fn(&[u8]) -> Option<Vec<usize>>,
}

/// The numbers of a command and its subcommands.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Its own number; those of its subcommands follow.
    pub number: usize,
    /// How many subcommands it has.
    pub subs: usize,
    /// Whether it is a subcommand itself.
    pub is_sub: bool,
}

impl Numbers {
    fn numbers(self) -> impl Iterator<Item = usize> {
        self.number..=self.number + self.subs
    }
}

/// A user, as clients hold one.
pub struct User {
    /// The name.
    pub name: Vec<u8>,
    is_free: AtomicBool,
    is_gone: AtomicBool,
    rules: RwLock<Arc<Rules>>,
}

impl User {
    fn new(name: &[u8], rules: Rules) -> User {
        let user = User {
            name: name.to_vec(),
            is_free: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            rules: RwLock::new(Arc::new(rules)),
        };
        user.is_free.store(user.rules().is_free(), Ordering::Relaxed);
        user
    }

    /// The rules as they are now.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }

    /// Whether nothing is forbidden.
    pub fn is_free(&self) -> bool {
        self.is_free.load(Ordering::Relaxed)
    }

    /// Whether the user was deleted. Whoever still is this one may do nothing.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    fn change(&self, rules: Rules) {
        // Never free in between unless both are.
        self.is_free.store(false, Ordering::Relaxed);
        let is_free = rules.is_free();
        *self.rules.write() = Arc::new(rules);
        self.is_free.store(is_free, Ordering::Relaxed);
    }

    fn delete(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        self.is_free.store(false, Ordering::Relaxed);
    }
}

/// All users.
pub struct Acl {
    /// What was denied lately.
    pub log: Log,
    commands: usize,
    default: Arc<User>,
    guard: AtomicU8,
    unusual: Arc<Unusual>,
    users: RwLock<BTreeMap<Vec<u8>, Arc<User>>>,
    /// Whether new users may use every channel; `acl-pubsub-default`.
    all_channels: AtomicBool,
    /// Held while users change.
    changes: Mutex<()>,
}

impl Acl {
    /// The default user alone, who may do everything. `commands` is how many commands there are.
    pub fn new(commands: usize, unusual: Arc<Unusual>, charges: Arc<Charges>) -> Acl {
        let default = Arc::new(User::new(DEFAULT.as_bytes(), Rules::everything(commands)));
        Acl {
            log: Log::new(charges),
            commands,
            guard: AtomicU8::new(0),
            unusual,
            users: RwLock::new([(default.name.clone(), default.clone())].into()),
            default,
            all_channels: AtomicBool::new(false),
            changes: Mutex::default(),
        }
    }

    /// Whether clients of the default user have to be looked at: they must log in, or may not do everything.
    pub fn is_guarded(&self) -> bool {
        self.guard.load(Ordering::Relaxed) != 0
    }

    /// Whether a client must log in first.
    pub fn needs_auth(&self) -> bool {
        self.guard.load(Ordering::Relaxed) & NEEDS_AUTH != 0
    }

    /// The user that clients are before they say who they are.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// The user of this name.
    pub fn user(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// The user of this name, if the password is right.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let found = self.user(name);
        let is_there = found.is_some();
        // Whoever does not exist takes as long as one who does, down to the count of who is in use.
        let user = found.unwrap_or_else(|| self.default.clone());
        let admitted = user.rules().admits(password);
        (is_there & admitted).then_some(user)
    }

    /// `requirepass`: the default user's only password, or none.
    pub fn set_default_password(&self, password: &str) {
        let _alone = self.changes.lock();
        let mut rules = (*self.default.rules()).clone();
        rules.set_password(Some(password.as_bytes()).filter(|password| !password.is_empty()));
        self.change_default(rules);
    }

    /// `acl-pubsub-default`
    pub fn set_all_channels(&self, yes: bool) {
        self.all_channels.store(yes, Ordering::Relaxed);
    }

    fn all_channels(&self) -> bool {
        self.all_channels.load(Ordering::Relaxed)
    }

    fn change_default(&self, rules: Rules) {
        let needs_auth = !rules.needs_no_password() || !rules.is_on();
        let guard = (u8::from(needs_auth) * NEEDS_AUTH) | (u8::from(!rules.is_free()) * LIMITED);
        let is_limited = guard & LIMITED != 0;
        // Guarded before the rules change, and never the other way round.
        self.guard.fetch_or(guard, Ordering::Relaxed);
        if is_limited {
            self.unusual.set(Oddity::Limited, true);
        }
        self.default.change(rules);
        self.guard.store(guard, Ordering::Relaxed);
        self.unusual.set(Oddity::Limited, is_limited);
    }

    /// ACL SETUSER: all rules or none, and the first that is wrong. Answers the rules before and after.
    pub fn set_user(&self, name: &[u8], words: &[&[u8]], table: &Table) -> Result<(Arc<User>, Arc<Rules>), String> {
        let words = merged(words)
            .map_err(|start| format!("Unmatched parenthesis in acl selector starting at '{}'.", shown(start)))?;
        let _alone = self.changes.lock();
        let user = self.user(name);
        let old = match &user {
            Some(user) => user.rules(),
            None => Arc::new(Rules::nothing(self.commands, self.all_channels())),
        };
        let mut rules = (*old).clone();
        for word in &words {
            rules
                .apply(word, table, self.all_channels())
                .map_err(|why| format!("Error in ACL SETUSER modifier '{}': {why}", shown(word)))?;
        }
        let user = match user {
            Some(user) if Arc::ptr_eq(&user, &self.default) => {
                self.change_default(rules);
                user
            }
            Some(user) => {
                user.change(rules);
                user
            }
            None => {
                let user = Arc::new(User::new(name, rules));
                self.users.write().insert(name.to_vec(), user.clone());
                user
            }
        };
        Ok((user, old))
    }

    /// Removes a user other than the default one. Who is connected as this user is the caller's to close.
    pub fn delete(&self, name: &[u8]) -> Option<Arc<User>> {
        let _alone = self.changes.lock();
        if name == DEFAULT.as_bytes() {
            return None;
        }
        let user = self.users.write().remove(name)?;
        user.delete();
        Some(user)
    }

    /// One line of a redis.conf at start: the words behind `user`.
    pub fn configure(&self, words: &[String], table: &Table) -> Result<(), String> {
        let (name, rules) = words.split_first().ok_or("user: a name is missing")?;
        rules::check_word(name.as_bytes()).map_err(|_| "user: spaces are not allowed in names".to_owned())?;
        // Only the default user is there already.
        let reset = (name == DEFAULT).then_some(b"reset".as_slice());
        let rules: Vec<&[u8]> = reset.into_iter().chain(rules.iter().map(|rule| rule.as_bytes())).collect();
        self.set_user(name.as_bytes(), &rules, table).map_err(|why| format!("user {name}: {why}"))?;
        Ok(())
    }

    /// Whether there are no users but the default one, with no other rights than `requirepass` gives.
    pub fn is_plain(&self, requirepass: &str) -> bool {
        let mut plain = Rules::everything(self.commands);
        plain.set_password(Some(requirepass.as_bytes()).filter(|password| !password.is_empty()));
        self.users.read().len() == 1 && *self.default.rules() == plain
    }

    /// A line for every user, as files have them.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let line = |user: Arc<User>| [b"user ", user.name.as_slice(), b" ", &user.rules().describe()].concat();
        self.users().into_iter().map(line).collect()
    }

    /// Takes the users of a file in place of all there are, or says all that is wrong with it. Answers those who are no
    /// longer there or not as they were, never the default one; who is connected as one of them is the caller's to
    /// close.
    ///
    /// A default user that the file does not name may do everything, with `requirepass` as password.
    pub fn load(&self, file: &str, text: &[u8], requirepass: &str, table: &Table) -> Result<Vec<Arc<User>>, String> {
        let mut users: BTreeMap<Vec<u8>, Rules> = BTreeMap::new();
        let mut errors = String::new();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let at = at + 1;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let [b"user", name, rules @ ..] = words.as_slice() else {
                errors += &format!("{file}:{at} should start with user keyword followed by the username. ");
                continue;
            };
            let shown_name = String::from_utf8_lossy(name);
            if rules::check_word(name).is_err() {
                errors += &format!("'{file}:{at}: username '{shown_name}' contains invalid characters. ");
                continue;
            }
            if users.contains_key(*name) {
                errors += &format!("WARNING: Duplicate user '{shown_name}' found on line {at}. ");
                continue;
            }
            let Ok(rules) = merged(rules) else {
                errors += &format!("{file}:{at}: Unmatched parenthesis in selector definition. ");
                continue;
            };
            let mut user = Rules::nothing(self.commands, self.all_channels());
            for rule in &rules {
                match user.apply(rule.trim_ascii(), table, self.all_channels()) {
                    Ok(()) => {}
                    // Names of commands are no secrets.
                    Err(why @ Mistake::Unknown) => {
                        let rule = shown(rule);
                        errors += &format!("{file}:{at}: Error in applying operation '{rule}': {why}. ");
                    }
                    Err(why) => {
                        errors += &format!("{file}:{at}: {why}. ");
                        break;
                    }
                }
            }
            users.insert(name.to_vec(), user);
        }
        if !errors.is_empty() {
            return Err(
                errors + "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
            );
        }
        let _alone = self.changes.lock();
        let default = users.remove(DEFAULT.as_bytes()).unwrap_or_else(|| {
            let mut rules = Rules::everything(self.commands);
            rules.set_password(Some(requirepass.as_bytes()).filter(|password| !password.is_empty()));
            rules
        });
        let keep = |name: &[u8], rules: &Rules| self.user(name).filter(|user| *user.rules() == *rules);
        let mut fresh: BTreeMap<_, _> = users
            .into_iter()
            .map(|(name, rules)| match keep(&name, &rules) {
                Some(user) => (name, user),
                None => (name.clone(), Arc::new(User::new(&name, rules))),
            })
            .collect();
        fresh.insert(self.default.name.clone(), self.default.clone());
        self.change_default(default);
        let mut users = self.users.write();
        let mut old = std::mem::replace(&mut *users, fresh);
        old.retain(|name, user| users.get(name).is_none_or(|same| !Arc::ptr_eq(same, user)));
        drop(users);
        let old: Vec<_> = old.into_values().collect();
        old.iter().for_each(|user| user.delete());
        Ok(old)
    }
}

/// Rules as single words, those of a selector put together again where it was split at its blanks; or the word with the
/// parenthesis that does not close.
fn merged<'a>(words: &[&'a [u8]]) -> Result<Vec<std::borrow::Cow<'a, [u8]>>, &'a [u8]> {
    let mut merged = Vec::with_capacity(words.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        if let Some((start, mut selector)) = open.take() {
            selector.push(b' ');
            selector.extend_from_slice(word);
            match word.ends_with(b")") {
                true => merged.push(selector.into()),
                false => open = Some((start, selector)),
            }
        } else if word.starts_with(b"(") && !word.ends_with(b")") {
            open = Some((word, word.to_vec()));
        } else {
            merged.push((*word).into());
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(merged),
    }
}

/// A rule as an error may show it: of a password no more than that it was one.
fn shown(rule: &[u8]) -> String {
    // In a selector, which has no passwords, one may stand by mistake.
    let begins = |pair: &[u8]| matches!(pair, [b'(' | b' ', b'>' | b'<' | b'#' | b'!']);
    let secret = match rule {
        [b'>' | b'<' | b'#' | b'!', ..] => Some(0),
        [b'(', ..] => rule.windows(2).position(begins).map(|at| at + 1),
        _ => None,
    };
    match secret {
        Some(at) => format!("{}(redacted)", String::from_utf8_lossy(&rule[..=at])),
        None => String::from_utf8_lossy(rule).into_owned(),
    }
}
