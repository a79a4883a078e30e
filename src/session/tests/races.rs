//! Every order in which the steps of a fill, a wait, a sign-out and a Redis client's commands can come.
//!
//! First each call of the engine is one step, and all orders are gone through. Then shuttle chooses among the finer
//! steps: each time the engine takes a lock of its own, and each look at the store between them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::config::Policy;
use crate::session::sync::Hook;

/// All orders of steps in which each actor's own steps keep theirs.
fn orders(counts: &[usize]) -> Vec<Vec<usize>> {
    if counts.iter().all(|count| *count == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for actor in 0..counts.len() {
        if counts[actor] > 0 {
            let mut rest = counts.to_vec();
            rest[actor] -= 1;
            for mut order in orders(&rest) {
                order.insert(0, actor);
                all.push(order);
            }
        }
    }
    all
}

/// Somebody who checks: the first step looks up, the second is told the answer.
#[derive(Default)]
struct Asker {
    look: Option<LookUp>,
    answer: Option<Answer>,
}

impl Asker {
    fn step(&mut self, desk: &Desk, token: &str, rolled: &str) {
        if self.answer.is_some() {
            return;
        }
        let Some(look) = self.look.take() else {
            self.look = Some(desk.check(&cookie(token)));
            return;
        };
        self.answer = match look {
            LookUp::Answer(answer) => Some(answer),
            LookUp::Fill(fill) => Some(desk.complete(fill, signed_in("alice", rolled))),
            LookUp::Wait(wait) => match desk.shared(&wait) {
                Some(answer) => Some(answer),
                None => {
                    self.look = Some(LookUp::Wait(wait));
                    None
                }
            },
            LookUp::Pass(why) => panic!("{why:?}"),
        };
    }
}

/// How a session is ended in a run.
#[derive(Clone, Copy, PartialEq)]
enum End {
    SignOut,
    Refused,
    Del,
    /// An answer that deletes the cookie, on its way to the browser.
    Page,
}

/// What a run saw after the session was ended.
fn run(order: &[usize], end: End, warm: bool) -> String {
    let desk = Desk::upstream();
    if warm {
        desk.fill(&cookie("t0"), signed_in("alice", "t1"));
    }
    if order.len().is_multiple_of(2) && warm {
        desk.wait(Ttl::seconds(5));
    }
    let (mut first, mut second) = (Asker::default(), Asker::default());
    let mut sign_out = None;
    let mut ended = false;
    let mut sets = 0;
    for actor in order {
        let before = (first.answer.is_some(), second.answer.is_some());
        match actor {
            0 => first.step(&desk, if warm { "t1" } else { "t0" }, "t2"),
            1 => second.step(&desk, "t0", "t3"),
            2 if end == End::Del => {
                desk.redis_del("t0");
                ended = true;
            }
            2 if end == End::Page => {
                let tokens = desk.tokens(&cookie("t0"));
                desk.sessions.observe(&tokens, Passage::Page, 303, &deletes().headers, desk.now());
                ended = true;
            }
            2 => match sign_out.take() {
                None => sign_out = Some(desk.sessions.begin_sign_out(&desk.tokens(&cookie("t0")), desk.now())),
                Some(out) => {
                    let answer = if end == End::Refused { SourceAnswer::new(200, "{}") } else { deletes() };
                    desk.sessions.end_sign_out(out, Some(&answer), desk.now());
                    ended = end == End::SignOut;
                }
            },
            _ => {
                let set = desk.redis_set("t0", &body("alice"), Ttl::seconds(5));
                assert!(set.is_err() || !ended, "a write after the end: {order:?}");
                sets += usize::from(set.is_ok());
            }
        }
        let answered = (first.answer.is_some(), second.answer.is_some());
        for (asker, new) in [(&first, answered.0 && !before.0), (&second, answered.1 && !before.1)] {
            if new && ended && !matches!(asker.look, Some(LookUp::Answer(_))) {
                let answer = asker.answer.as_ref().unwrap();
                // An answer that was in hand before the end is not taken back; all others show nobody.
                let in_hand = answer.origin == Origin::Cache;
                assert!(in_hand || user(answer).is_none(), "{order:?}: {answer:?}");
                assert!(in_hand || set_cookies(answer).is_empty(), "{order:?}: {answer:?}");
            }
        }
    }
    let outcome = format!("{} {} {sets}", first.answer.is_some(), second.answer.is_some());
    // Who is left with a call that nobody ends has gone away.
    drop((first, second));
    for token in ["t0", "t1", "t2", "t3"] {
        let known = warm || token == "t0";
        match desk.check(&cookie(token)) {
            LookUp::Answer(answer) if ended => assert_eq!(user(&answer), None, "{order:?} {token}"),
            LookUp::Fill(_) if ended => assert!(!known || token > "t1", "{order:?} {token} is let through"),
            LookUp::Answer(answer) => assert_ne!(answer.origin, Origin::Fence, "{order:?} {token} stays locked out"),
            LookUp::Fill(_) => {}
            other => panic!("{order:?} {token}: {other:?}"),
        }
    }
    if ended {
        assert_eq!((desk.redis_get("t0"), desk.keys()), (None, 0), "{order:?}");
    }
    outcome
}

#[test]
fn no_order_of_steps_brings_a_session_back() {
    let mut outcomes = BTreeSet::new();
    let mut runs = 0;
    for end in [End::SignOut, End::Refused, End::Del, End::Page] {
        let steps = if matches!(end, End::Del | End::Page) { 1 } else { 2 };
        for warm in [false, true] {
            for sets in [0, 1] {
                for order in orders(&[2, 3, steps, sets]) {
                    outcomes.insert(run(&order, end, warm));
                    runs += 1;
                }
            }
        }
    }
    assert!(runs > 4000, "{runs}");
    assert!(outcomes.len() > 2, "the orders make a difference: {outcomes:?}");
}

/// Sets what is done at each finer step of the engine.
fn steps(desk: &Desk, hook: Option<Hook>) {
    desk.sessions.core.steps.set(hook);
}

/// One run under shuttle: two askers, one who ends the session, perhaps somebody who needs the memory, and after the end
/// nothing shows it.
fn scheduled(end: End, warm: bool, evicts: bool) {
    let desk = Arc::new(Desk::upstream());
    steps(&desk, Some(Arc::new(shuttle::thread::yield_now)));
    if warm {
        desk.fill(&cookie("t0"), signed_in("alice", "t1"));
    }
    let ended = Arc::new(AtomicBool::new(false));
    let asker = |token: &'static str, rolled: &'static str| {
        let (desk, ended) = (desk.clone(), ended.clone());
        shuttle::thread::spawn(move || {
            // Whoever begins after the end sees nobody, at once or after the source has been asked.
            let late = ended.load(Ordering::Relaxed);
            let answer = match desk.check(&cookie(token)) {
                LookUp::Answer(answer) => answer,
                LookUp::Fill(fill) => {
                    shuttle::thread::yield_now();
                    let late = ended.load(Ordering::Relaxed);
                    let answer = desk.complete(fill, signed_in("alice", rolled));
                    assert!(!late || user(&answer).is_none(), "a fill ended after the sign-out");
                    answer
                }
                LookUp::Wait(wait) => loop {
                    let late = ended.load(Ordering::Relaxed);
                    let waker = Context::from_waker(Waker::noop()).waker().clone();
                    match desk.sessions.poll_wait(&wait, &waker, desk.now()) {
                        Poll::Ready(answer) => {
                            assert!(!late || user(&answer).is_none(), "a wait ended after the sign-out");
                            break answer;
                        }
                        Poll::Pending => shuttle::thread::yield_now(),
                    }
                },
                other => panic!("{other:?}"),
            };
            assert!(!late || user(&answer).is_none(), "a check began after the sign-out");
        })
    };
    let threads = [asker("t0", "t2"), asker(if warm { "t1" } else { "t0" }, "t3")];
    let out = {
        let (desk, ended) = (desk.clone(), ended.clone());
        shuttle::thread::spawn(move || {
            if end == End::Del {
                desk.redis_del("t0");
            } else {
                let tokens = desk.tokens(&cookie("t0"));
                let out = desk.sessions.begin_sign_out(&tokens, desk.now());
                shuttle::thread::yield_now();
                desk.sessions.end_sign_out(out, Some(&deletes()), desk.now());
            }
            ended.store(true, Ordering::Relaxed);
        })
    };
    let evicting = evicts.then(|| {
        let desk = desk.clone();
        shuttle::thread::spawn(move || {
            for _ in 0..3 {
                Store::evict(std::slice::from_ref(&desk.answers), Policy::AllkeysLru, 5, || 7, desk.now());
                shuttle::thread::yield_now();
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    out.join().unwrap();
    evicting.into_iter().for_each(|thread| thread.join().unwrap());
    steps(&desk, None);
    for token in if warm { ["t0", "t1"] } else { ["t0", "t0"] } {
        assert_eq!(user(&desk.hit(&cookie(token))), None);
    }
    assert_eq!(desk.keys(), 0);
}

/// Schedules that shuttle tries for each of the eight settings.
const SCHEDULES: usize = 800;

#[test]
fn shuttle_finds_no_schedule_that_brings_a_session_back() {
    for end in [End::SignOut, End::Del] {
        for warm in [false, true] {
            for evicts in [false, true] {
                shuttle::check_random(move || scheduled(end, warm, evicts), SCHEDULES / 2);
                shuttle::check_pct(move || scheduled(end, warm, evicts), SCHEDULES / 2, 3);
            }
        }
    }
}

#[test]
fn shuttle_finds_no_schedule_in_which_two_checks_are_two_calls() {
    let run = || {
        let desk = Arc::new(Desk::upstream());
        steps(&desk, Some(Arc::new(shuttle::thread::yield_now)));
        let check = |desk: Arc<Desk>| {
            shuttle::thread::spawn(move || match desk.check(&cookie("t0")) {
                LookUp::Fill(fill) => user(&desk.complete(fill, signed_in("alice", "t1"))),
                LookUp::Answer(answer) => user(&answer),
                LookUp::Wait(wait) => loop {
                    if let Some(answer) = desk.shared(&wait) {
                        break user(&answer);
                    }
                    shuttle::thread::yield_now();
                },
                other => panic!("{other:?}"),
            })
        };
        let threads = [check(desk.clone()), check(desk.clone()), check(desk.clone())];
        for thread in threads {
            assert_eq!(thread.join().unwrap().as_deref(), Some("alice"));
        }
        steps(&desk, None);
        assert_eq!(desk.count("misses"), 1);
    };
    shuttle::check_random(run, SCHEDULES / 2);
    shuttle::check_pct(run, SCHEDULES / 2, 3);
}

/// Deletes the session in the middle of the end of its fill. `None`: the end has no such step.
fn del_at(step: usize) -> Option<Origin> {
    let desk = Arc::new(Desk::upstream());
    let fill = desk.miss(&cookie("t0"));
    let wait = desk.joins(&cookie("t0"));
    let (left, answers, now) = (AtomicUsize::new(step), desk.answers.clone(), desk.now());
    let deleted = Arc::new(AtomicBool::new(false));
    let came = deleted.clone();
    let del = move || {
        if left.load(Ordering::Relaxed) > 0 {
            left.fetch_sub(1, Ordering::Relaxed);
        } else if !came.swap(true, Ordering::Relaxed) {
            answers.with(b"auth:session:t0", now, |slot| slot.remove());
        }
    };
    steps(&desk, Some(Arc::new(del)));
    let answer = desk.complete(fill, signed_in("alice", "t1"));
    steps(&desk, None);
    if !deleted.load(Ordering::Relaxed) {
        return None;
    }
    assert_eq!((desk.keys(), desk.redis_get("t0")), (0, None), "step {step}");
    assert_eq!(desk.shared(&wait).unwrap().origin, Origin::Fence, "step {step}");
    for token in ["t0", "t1"] {
        assert!(token == "t1" || desk.hit(&cookie(token)).origin == Origin::Fence, "step {step}");
    }
    // Nor is the cookie kept that nobody was given.
    assert!(answer.origin != Origin::Fence || desk.families.is_empty(), "step {step}");
    Some(answer.origin)
}

#[test]
fn a_del_at_any_step_of_the_end_of_a_fill_is_a_sign_out() {
    let origins: Vec<Origin> = (0..).map_while(del_at).collect();
    // Only when all is stored, and who waits is told, it comes too late for the asker.
    let (last, before) = origins.split_last().unwrap();
    assert_eq!(*last, Origin::Source);
    assert!(before.len() >= 4 && before.iter().all(|origin| *origin == Origin::Fence), "{origins:?}");
}
