//! The session engine under every order of checks, fills, rolls, sign-ins, sign-outs and writes over RESP: no session of
//! one user is shown to another, and none after a sign-out.

use std::collections::HashMap;
use std::task::{Poll, Waker};

use cloakroom::clock::{ManualClock, Millis, Ttl};
use cloakroom::session::{
    Answer, Ended, Failure, Fill, LookUp, Outcome, Profile, SessionCache, Settings, SignOut, Source, SourceAnswer, Wait,
};
use cloakroom::store::Store;

/// Users, each with a login of its own at a time.
const USERS: usize = 3;
/// Steps of one case.
const STEPS_MAX: usize = 120;

struct World {
    clock: ManualClock,
    store: Store,
    sessions: SessionCache,
    /// The token that each user's browser has.
    jars: [String; USERS],
    /// By token: the login that it was minted for.
    minted: HashMap<String, usize>,
    /// Tokens that were signed out, and must show nobody.
    dead: Vec<String>,
    logins: usize,
    fills: Vec<(String, Fill)>,
    waits: Vec<(String, Wait)>,
    /// Sign-outs under way, and until when their fences stand: no call takes longer.
    leaving: Vec<(String, SignOut, Millis)>,
}

fn cookie(token: &str) -> Vec<u8> {
    format!("a=b; next-auth.session-token={token}; c=d").into_bytes()
}

fn body(login: usize) -> String {
    format!(r#"{{"user":{{"name":"{login}"}},"expires":"2099-01-01T00:00:00.000Z"}}"#)
}

impl World {
    fn new() -> World {
        let settings = Settings { source: Source::Upstream, profile: Some(Profile::NextAuth), ..Settings::default() };
        let clock = ManualClock::default();
        let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
        let (families, store) = (stores.remove(1), stores.remove(0));
        let sessions = SessionCache::new(store.clone(), families, settings);
        let mut world = World {
            clock,
            store,
            sessions,
            jars: Default::default(),
            minted: HashMap::new(),
            dead: Vec::new(),
            logins: 0,
            fills: Vec::new(),
            waits: Vec::new(),
            leaving: Vec::new(),
        };
        (0..USERS).for_each(|who| world.sign_in(who));
        world
    }

    fn mint(&mut self, login: usize) -> String {
        let token = format!("token-{login}-{}", self.minted.len());
        self.minted.insert(token.clone(), login);
        token
    }

    /// A browser that comes with a token nobody has seen.
    fn sign_in(&mut self, who: usize) {
        self.logins += 1;
        self.jars[who] = self.mint(self.logins);
    }

    fn judge(&self, token: &str, answer: &Answer) {
        let text = String::from_utf8_lossy(&answer.body);
        if text.contains("\"user\"") {
            assert_eq!(text, body(self.minted[token]), "shown to {token}");
            assert!(!self.dead.iter().any(|dead| dead == token), "{token} is signed out and shows {text}");
            let now = self.clock.now();
            let is_leaving = self.leaving.iter().any(|(leaving, _, until)| leaving == token && now < *until);
            assert!(!is_leaving, "{token} is leaving and shows {text}");
        }
        for (_, value) in answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie")) {
            let line = String::from_utf8_lossy(value);
            if let Some(rolled) = line.strip_prefix("next-auth.session-token=") {
                let rolled = rolled.split(';').next().unwrap_or_default();
                if !rolled.is_empty() {
                    assert_eq!(self.minted.get(rolled), self.minted.get(token), "{token} is given {rolled}");
                }
            }
        }
    }

    fn check(&mut self, token: String) {
        let tokens = self.sessions.tokens([&cookie(&token)[..]]);
        match self.sessions.look_up(&tokens, self.clock.now()) {
            LookUp::Answer(answer) => self.judge(&token, &answer),
            LookUp::Fill(fill) => self.fills.push((token, fill)),
            LookUp::Wait(wait) => self.waits.push((token, wait)),
            LookUp::Pass(_) => {}
        }
    }

    fn land(&mut self, at: usize, how: u8) {
        if self.fills.is_empty() {
            return;
        }
        let (token, fill) = self.fills.swap_remove(at % self.fills.len());
        let login = self.minted[&token];
        let outcome = match how % 8 {
            0 => return drop(fill),
            1 => Outcome::Failed(Failure::Timeout),
            2 => Outcome::Answered(SourceAnswer::new(429, "")),
            3 => Outcome::Answered(SourceAnswer::new(200, "{}").with("content-type", "application/json")),
            4 | 5 => {
                let rolled = self.mint(login);
                let line = format!("next-auth.session-token={rolled}; Path=/; HttpOnly");
                let answer = SourceAnswer::new(200, body(login)).with("content-type", "application/json");
                if let Some(jar) = self.jars.iter_mut().find(|jar| **jar == token) {
                    *jar = rolled;
                }
                Outcome::Answered(answer.with("set-cookie", line))
            }
            _ => Outcome::Answered(SourceAnswer::new(200, body(login)).with("content-type", "application/json")),
        };
        let answer = self.sessions.complete(fill, outcome, self.clock.now());
        self.judge(&token, &answer);
    }

    fn poll(&mut self) {
        for (token, wait) in std::mem::take(&mut self.waits) {
            match self.sessions.poll_wait(&wait, Waker::noop(), self.clock.now()) {
                Poll::Ready(answer) => self.judge(&token, &answer),
                Poll::Pending => self.waits.push((token, wait)),
            }
        }
    }

    fn begin_sign_out(&mut self, token: String) {
        let tokens = self.sessions.tokens([&cookie(&token)[..]]);
        let sign_out = self.sessions.begin_sign_out(&tokens, self.clock.now());
        self.leaving.push((token, sign_out, self.clock.now() + self.sessions.settings().fence()));
    }

    fn end_sign_out(&mut self, at: usize, how: u8) {
        if self.leaving.is_empty() {
            return;
        }
        let (token, sign_out, _) = self.leaving.swap_remove(at % self.leaving.len());
        let deletes =
            SourceAnswer::new(200, r#"{"url":"/"}"#).with("set-cookie", "next-auth.session-token=; Max-Age=0; Path=/");
        let answer = match how % 3 {
            0 => Some(SourceAnswer::new(200, "{}")),
            1 => None,
            _ => Some(deletes),
        };
        if self.sessions.end_sign_out(sign_out, answer.as_ref(), self.clock.now()) == Ended::SignedOut {
            self.dead.push(token);
        }
    }

    fn step(&mut self, what: u8, how: u8) {
        let who = usize::from(how) % USERS;
        match what % 16 {
            0..5 => self.check(self.jars[who].clone()),
            5..8 => self.land(usize::from(how), how / 16),
            8 => self.poll(),
            9 => self.begin_sign_out(self.jars[who].clone()),
            10 => self.end_sign_out(usize::from(how), how / 16),
            11 => self.sign_in(who),
            12 => {
                // The application's own Redis client.
                let key = format!("auth:session:{}", self.jars[who]);
                let _ = self.store.remove(key.as_bytes());
            }
            13 => {
                let (key, login) = (format!("auth:session:{}", self.jars[who]), self.minted[&self.jars[who]]);
                // A token that was signed out takes no write; that is what the checks are to show.
                let _ = self.store.put(key.as_bytes(), body(login).as_bytes(), Ttl::seconds(5));
            }
            // Fences hold as long as anything may be under way that began before them, so calls end before they do.
            14 => self.clock.advance(Ttl(u64::from(how) * 8)),
            _ => {
                if let Some(dead) = self.dead.get(usize::from(how) % self.dead.len().max(1)).cloned() {
                    self.check(dead);
                }
            }
        }
    }
}

/// One case.
pub fn run(input: &[u8]) {
    let mut world = World::new();
    for pair in input.chunks_exact(2).take(STEPS_MAX) {
        world.step(pair[0], pair[1]);
    }
}
