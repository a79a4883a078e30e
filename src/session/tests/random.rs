//! Users at random against a simple model: what is shown to a token is its own login's, and nothing after a sign-out.
//!
//! The model knows which login the source minted a token for. That is all that may ever be shown to it, and only cookies
//! of that login may be handed to it. `CLOAKROOM_CASES` sets the number of steps; the seed of a run is in its messages.

use std::collections::HashMap;

use super::*;
use crate::config::Policy;

/// Steps in all of a normal test run, and in one run of the model; each run has a seed of its own.
const CASES: usize = 75_000;
const STEPS: usize = 150;

/// The model holds tokens of a login for one family only as long as the engine surely links them.
const LINKED: Ttl = Ttl::seconds(50);

/// A generator that is good enough to choose steps (xorshift64*).
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A user's browser: the login that its cookies are of, newest last.
#[derive(Default)]
struct Browser {
    login: usize,
    jar: Vec<String>,
}

/// A sign-out under way.
struct Leaving {
    token: String,
    /// The tokens that are surely fenced by it.
    family: Vec<String>,
    begun: Millis,
    sign_out: SignOut,
}

struct World {
    seed: u64,
    dice: Dice,
    desk: Desk,
    browsers: Vec<Browser>,
    /// By token: the login that the source minted it for.
    minted: HashMap<String, usize>,
    /// By token: when the engine last linked it to its family.
    linked: HashMap<String, Millis>,
    /// By token: when it was last named by an answer, which is how long a link of it lives at least.
    named: HashMap<String, Millis>,
    /// By token: until when it shows nobody.
    dead: HashMap<String, Millis>,
    logins: usize,
    fills: Vec<(usize, String, Fill)>,
    waits: Vec<(usize, String, Wait)>,
    sign_outs: Vec<Leaving>,
    /// Answers that showed a session, so that a run in which nothing happens is noticed.
    shown: usize,
    /// What proxies were told without anything being made.
    told: u64,
    /// What happened, told when the run fails.
    story: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            seed,
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            desk: Desk::upstream(),
            browsers: Vec::new(),
            minted: HashMap::new(),
            linked: HashMap::new(),
            named: HashMap::new(),
            dead: HashMap::new(),
            logins: 0,
            fills: Vec::new(),
            waits: Vec::new(),
            sign_outs: Vec::new(),
            shown: 0,
            told: 0,
            story: Vec::new(),
        };
        for _ in 0..3 {
            world.browsers.push(Browser::default());
            world.sign_in(world.browsers.len() - 1);
        }
        world
    }

    fn note(&mut self, what: &str, token: &str) {
        let at = self.desk.now().since(ManualClock::default().now()).0;
        self.story.push(format!("{at:>7} ms: {what} {token}"));
    }

    fn mint(&mut self, login: usize) -> String {
        let token = format!("{login}-{}", self.minted.len());
        self.minted.insert(token.clone(), login);
        token
    }

    /// What the source says to a token: it believes every token it ever minted, as NextAuth does.
    fn says(&mut self, token: &str, roll: bool) -> SourceAnswer {
        let login = self.minted[token];
        let rolled = if roll { self.mint(login) } else { String::new() };
        signed_in(&login.to_string(), &rolled).with("set-cookie", format!("next-auth.csrf-token=of-{token}"))
    }

    /// A token that the browser of this user may send now.
    fn token(&mut self, who: usize) -> String {
        let now = self.desk.now();
        let linked = &self.linked;
        let newest = self.browsers[who].jar.last().cloned();
        self.browsers[who].jar.retain(|token| {
            Some(token) == newest.as_ref() || linked.get(token).is_some_and(|since| now.since(*since) < LINKED)
        });
        let jar = &self.browsers[who].jar;
        let at = if self.dice.one_in(3) { self.dice.below(jar.len()) } else { jar.len() - 1 };
        jar[at].clone()
    }

    /// Whether this token shows nobody: it was signed out, or is being signed out.
    fn is_dead(&self, token: &String) -> bool {
        let leaves = self.sign_outs.iter().any(|leaving| leaving.family.contains(token));
        leaves || self.dead.get(token).is_some_and(|until| self.desk.now() < *until)
    }

    /// What a sign-out that took place means: these tokens are dead for longer than any run lasts, whether or not
    /// the engine knows when their session ends.
    fn signed_out(&mut self, token: &str, family: Vec<String>) {
        for token in family {
            self.dead.insert(token, Millis::NEVER);
        }
        self.forget_links(token);
    }

    /// Judges an answer to a token, and puts its cookie into the jar.
    fn judge(&mut self, who: usize, token: &String, answer: &Answer, is_fill: bool) {
        let (login, now, seed) = (self.minted[token], self.desk.now(), self.seed);
        // Nothing is linked by what was not stored: by a call that came too late, or one that failed over a SET.
        let said = answer.cache_status();
        let links = is_fill && (said.contains("; stored;") || said.contains("fwd=bypass"));
        self.note(&format!("{:?}, {:?} with {:?} to", answer.origin, user(answer), set_cookies(answer)), token);
        // A proxy is told the same; now and then, as it takes as long as all the rest.
        if self.shown.is_multiple_of(4) {
            let told = self.desk.verdict(&cookie(token), answer.clone());
            let name = Some(super::verify::text(&told, "x-session-name")).filter(|name| !name.is_empty());
            assert_eq!(name, user(answer), "seed {seed}: a proxy is told of {token}: {told:?}");
            assert_eq!(told.status == 200, name.is_some(), "seed {seed}: {told:?}");
        }
        if let Some(name) = user(answer) {
            assert_eq!(name, login.to_string(), "seed {seed}: another's session for {token}: {answer:?}");
            assert!(!self.is_dead(token), "seed {seed}: {token} is signed out");
            self.shown += 1;
            if links {
                self.linked.insert(token.to_owned(), now);
                self.named.insert(token.to_owned(), now);
            }
        }
        for line in set_cookies(answer) {
            let pair = line.split(';').next().unwrap();
            if let Some(owner) = pair.strip_prefix("next-auth.csrf-token=of-") {
                assert!(is_fill && owner == token, "seed {seed}: {token} is given the csrf cookie of {owner}");
                continue;
            }
            let rolled = pair.strip_prefix("next-auth.session-token=").unwrap().to_owned();
            assert_eq!(self.minted.get(&rolled), Some(&login), "seed {seed}: {token} is given {rolled}");
            assert!(!self.is_dead(token), "seed {seed}: {token} is given {rolled}");
            if self.browsers[who].login == login {
                if links {
                    self.linked.entry(rolled.clone()).or_insert(now);
                    self.named.entry(rolled.clone()).or_insert(now);
                }
                self.browsers[who].jar.retain(|known| *known != rolled);
                self.browsers[who].jar.push(rolled);
            }
        }
    }

    fn check(&mut self, who: usize) {
        let token = self.token(who);
        if let Some(name) = self.desk.at_hand(&cookie(&token)) {
            let seed = self.seed;
            assert_eq!(name, self.minted[&token].to_string(), "seed {seed}: another's session for {token}");
            assert!(!self.is_dead(&token), "seed {seed}: {token} is signed out");
            self.told += 1;
        }
        match self.desk.check(&cookie(&token)) {
            LookUp::Answer(answer) => self.judge(who, &token, &answer, false),
            LookUp::Fill(fill) => {
                self.note("fill begun by", &token);
                self.fills.push((who, token, fill));
            }
            LookUp::Wait(wait) => {
                self.note("wait begun by", &token);
                self.waits.push((who, token, wait));
            }
            LookUp::Pass(why) => panic!("seed {}: {why:?}", self.seed),
        }
    }

    fn land(&mut self) {
        if self.fills.is_empty() {
            return;
        }
        let at = self.dice.below(self.fills.len());
        let (who, token, fill) = self.fills.swap_remove(at);
        let roll = !self.dice.one_in(4);
        let answer = match self.dice.below(20) {
            0 => {
                self.note("fill dropped of", &token);
                return drop(fill);
            }
            1 => self.desk.fail(fill, Failure::Timeout),
            2 => self.desk.complete(fill, SourceAnswer::new(429, "")),
            3 => {
                // A back-end that fails says that nobody is signed in. The family is forgotten for it.
                self.note("the source says nobody to", &token);
                self.forget_links(&token);
                let gone = SourceAnswer::new(200, "{}");
                self.desk.complete(fill, gone)
            }
            _ => {
                let answer = self.says(&token, roll);
                self.desk.complete(fill, answer)
            }
        };
        self.judge(who, &token, &answer, true);
    }

    /// Who waits is woken when the call has ended, not later.
    fn wake(&mut self) {
        for (who, token, wait) in std::mem::take(&mut self.waits) {
            match self.desk.shared(&wait) {
                Some(answer) => self.judge(who, &token, &answer, false),
                None => self.waits.push((who, token, wait)),
            }
        }
    }

    fn poll(&mut self) {
        if self.waits.is_empty() {
            return;
        }
        let at = self.dice.below(self.waits.len());
        if let Some(answer) = self.desk.shared(&self.waits[at].2) {
            let (who, token, _) = self.waits.swap_remove(at);
            self.judge(who, &token, &answer, false);
        }
    }

    fn sign_in(&mut self, who: usize) {
        self.logins += 1;
        let login = self.logins;
        let fresh = self.mint(login);
        let before = self.browsers[who].jar.last().map_or(String::new(), |token| cookie(token));
        if let Some(token) = self.browsers[who].jar.last().cloned() {
            self.forget_links(&token);
        }
        let callback = signed_in(&login.to_string(), &fresh);
        self.note(&format!("sign-in over {before}, now"), &fresh);
        self.desk.sessions.observe(
            &self.desk.tokens(&before),
            Passage::SignIn,
            200,
            &callback.headers,
            self.desk.now(),
        );
        self.browsers[who] = Browser { login, jar: vec![fresh] };
    }

    fn update(&mut self, who: usize) {
        let token = self.token(who);
        let tokens = self.desk.tokens(&cookie(&token));
        self.note("update by", &token);
        let refused = self.desk.sessions.admit(&tokens, Passage::Update, self.desk.now());
        if let Some(answer) = refused {
            return self.judge(who, &token, &answer, false);
        }
        if self.dice.one_in(2) {
            self.check(who);
        }
        let outcome = Outcome::Answered(self.says(&token, true));
        let answer = self.desk.sessions.passed(&tokens, Passage::Update, outcome, self.desk.now());
        self.judge(who, &token, &answer, true);
    }

    /// The tokens of this login that the engine surely knows to be one family with this one.
    fn family(&self, token: &str) -> Vec<String> {
        let now = self.desk.now();
        let linked = |token: &&String| self.linked.get(*token).is_some_and(|since| now.since(*since) < LINKED);
        let login = self.minted[token];
        let jars = self.browsers.iter().filter(|browser| browser.login == login).flat_map(|browser| &browser.jar);
        let mut family: Vec<String> = jars.filter(linked).cloned().collect();
        if self.linked.get(token).is_none_or(|since| now.since(*since) >= LINKED) {
            family.clear();
        }
        family.push(token.to_owned());
        family
    }

    fn forget_links(&mut self, token: &str) {
        let login = self.minted[token];
        let minted = &self.minted;
        self.linked.retain(|token, _| minted[token] != login);
        // What is linked later would be one family, and what is forgotten here would not be of it.
        for browser in self.browsers.iter_mut().filter(|browser| browser.login == login) {
            let newest = browser.jar.pop().unwrap();
            browser.jar = vec![newest];
        }
    }

    fn begin_sign_out(&mut self, who: usize) {
        let token = self.token(who);
        self.note("sign-out begun by", &token);
        let (family, begun) = (self.family(&token), self.desk.now());
        let sign_out = self.desk.sessions.begin_sign_out(&self.desk.tokens(&cookie(&token)), begun);
        self.sign_outs.push(Leaving { token, family, begun, sign_out });
    }

    fn end_sign_out(&mut self) {
        if self.sign_outs.is_empty() {
            return;
        }
        let at = self.dice.below(self.sign_outs.len());
        let Leaving { token, mut family, sign_out, .. } = self.sign_outs.swap_remove(at);
        let refused = SourceAnswer::new(200, "{}");
        let answer = match self.dice.below(4) {
            0 => Some(refused),
            1 => None,
            _ => Some(deletes()),
        };
        let ended = self.desk.sessions.end_sign_out(sign_out, answer.as_ref(), self.desk.now());
        self.note(&format!("sign-out ended, {ended:?}, of"), &token);
        if ended == Ended::SignedOut {
            family.extend(self.family(&token));
            self.signed_out(&token, family);
        }
    }

    fn sign_out_at_once(&mut self, who: usize) {
        let token = self.token(who);
        let family = self.family(&token);
        let by_page = self.dice.one_in(2);
        self.note(
            &format!("sign-out at once, of {family:?}, {} by", if by_page { "on a page" } else { "asked for" }),
            &token,
        );
        if by_page {
            let (tokens, now) = (self.desk.tokens(&cookie(&token)), self.desk.now());
            let seen = self.desk.sessions.observe(&tokens, Passage::Page, 303, &deletes().headers, now);
            assert_eq!(seen, Observed::Ended);
        } else {
            assert_eq!(self.desk.sign_out(&cookie(&token), Some(&deletes())), Ended::SignedOut);
        }
        self.signed_out(&token, family);
    }

    fn del(&mut self, who: usize) {
        let token = self.token(who);
        self.note("DEL", &token);
        self.desk.redis_del(&token);
        let now = self.desk.now();
        let fence = now + self.desk.sessions.settings().fence();
        // The name may be a link, which dies in its time.
        let until = self.named.get(&token).map_or(fence, |since| fence.min(*since + LINKED));
        if until > now {
            let known = self.dead.entry(token.clone()).or_insert(until);
            *known = until.max(*known);
        }
        // While a sign-out stands on the name, the removal is of this token alone; if the sign-out is refused, the
        // removal goes on and has parted the token from its family.
        let login = self.minted[&token];
        if self.sign_outs.iter().any(|leaving| self.minted[&leaving.token] == login) {
            self.forget_links(&token);
        }
    }

    /// Lets time pass. Nothing is longer under way than the source may take.
    fn wait(&mut self, most: usize) {
        let ttl = Ttl(self.dice.below(most) as u64);
        let timeout = self.desk.sessions.settings().timeout;
        while self.sign_outs.iter().any(|leaving| leaving.begun + timeout <= self.desk.now() + ttl) {
            self.end_sign_out();
        }
        while self.fills.iter().any(|(_, _, fill)| fill.started() + timeout <= self.desk.now() + ttl) {
            self.land();
        }
        self.wake();
        self.desk.wait(ttl);
    }

    fn step(&mut self) {
        let who = self.dice.below(self.browsers.len());
        match self.dice.below(100) {
            0..40 => self.check(who),
            40..62 => self.land(),
            62..74 => self.poll(),
            74..77 => self.begin_sign_out(who),
            77..80 => self.end_sign_out(),
            80..82 => self.sign_out_at_once(who),
            82..83 => self.del(who),
            83..86 => self.sign_in(who),
            86..88 => self.update(who),
            88..89 => {
                let token = self.token(who);
                let login = self.browsers[who].login.to_string();
                self.note("SET", &token);
                let _ = self.desk.redis_set(&token, &body(&login), Ttl::seconds(5));
            }
            89..90 => {
                self.note("FLUSHALL", "");
                self.desk.answers.clear();
            }
            90..91 if self.dice.one_in(2) => {
                self.note("eviction", "");
                let chance = self.dice.below(usize::MAX) as u64;
                Store::evict(
                    std::slice::from_ref(&self.desk.answers),
                    Policy::AllkeysLru,
                    5,
                    || chance,
                    self.desk.now(),
                );
            }
            90..91 => {
                self.desk.answers.sweep_now();
                self.desk.families.sweep_now();
            }
            91..92 => {
                let token = self.token(who);
                self.note("clear", &token);
                self.desk.sessions.clear(&self.desk.tokens(&cookie(&token)), self.desk.now());
            }
            92..99 => self.wait(3_000),
            _ => self.wait(70_000),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}:\n{}", self.seed, self.story.join("\n"));
        }
    }
}

#[test]
fn a_token_is_shown_its_own_login_and_nothing_after_a_sign_out() {
    let cases = std::env::var("CLOAKROOM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let first = std::env::var("CLOAKROOM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut told, mut shown, mut hits, mut fenced, mut stale, mut waits) = (0, 0, 0, 0, 0, 0);
    for run in 0..cases.div_ceil(STEPS) as u64 {
        let mut world = World::new(first + run);
        for _ in 0..STEPS {
            world.step();
        }
        shown += world.shown;
        told += world.told;
        hits += world.desk.count("hits");
        fenced += world.desk.count("fenced");
        stale += world.desk.count("stale");
        waits += world.desk.count("waits");
        (world.fills, world.waits, world.sign_outs) = Default::default();
        Store::validate(&[world.desk.answers.clone(), world.desk.families.clone()]);
    }
    let busy = cases as u64 / 100;
    assert!(shown as u64 > busy && hits > busy && fenced > busy, "{shown} shown, {hits} hits, {fenced} fenced");
    assert!(stale > busy / 20 && waits > busy / 2 && told > busy, "{stale} stale, {waits} waits, {told} told");
}
