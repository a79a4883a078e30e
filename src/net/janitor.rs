//! The janitor: sleeps until the next deadline and reclaims what has died, a slice at a time. It also sees off clients that
//! have been idle for too long.
//!
//! It lives on one worker among its clients. After each slice it yields, so that no client waits for more than one.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::here::resident;
use crate::clock::{Millis, Ttl};
use crate::engine::{Engine, Turn};
use crate::store::{SWEEP_MAX, Store, Sweep};

/// The longest it sleeps. Deadlines wake it by themselves; this only bounds what a mistake could cost.
const NAP_MAX: Ttl = Ttl::seconds(1);

/// How often it looks whether it may work again, when DEBUG SET-ACTIVE-EXPIRE has told it not to.
const REST: Ttl = Ttl(100);

/// Pieces of memory that are freed in a row meanwhile.
const FREED_AT_REST: usize = 256;

/// The worker it lives on.
const HOME: usize = 0;

/// How often it is seen to that freed memory goes back to the system.
const GIVE_BACK_EACH: Ttl = Ttl(1_000);
/// Bytes that are worth it.
const WORTH: u64 = 1 << 20;
/// What is asked for and dropped at once, so that the allocator looks at what it keeps: enough not to come from what it
/// has at hand.
const NUDGE: usize = 1 << 20;
/// The same for what all threads share: more than one of them keeps for itself. Nothing of it is ever touched.
const LARGE_NUDGE: usize = 32 << 20;

/// How often it is looked what the process really takes, once there is data to speak of, and while that changes fast.
const WEIGH_EACH: Ttl = Ttl(100);
const WEIGH_SOON: Ttl = Ttl(10);
/// The shares of `maxmemory` that data to speak of has, and that is a fast change.
const MUCH: u64 = 8;
const FAST: u64 = 128;

/// Compares what the process takes with what is counted, and tells who makes room: an allocator keeps what one thread
/// has freed of another's, and holes, and nobody who may be killed for it can do as if that were nothing. Then makes room
/// itself: what clients hold may be too much while nobody writes.
pub(super) async fn weigh(engine: Arc<Engine>) {
    let mut last = 0;
    loop {
        let limit = engine.hot.maxmemory();
        let has_much = engine.used_memory() > limit / MUCH || engine.is_wasteful() || last == 0;
        let weight = if limit > 0 && has_much { resident() } else { None };
        if limit == 0 || weight.is_some() {
            engine.weigh(weight.unwrap_or(0));
        }
        make_room(&engine).await;
        let is_fast = weight.is_some_and(|weight| weight.abs_diff(last) > limit / FAST);
        last = weight.unwrap_or(last);
        sleep(if is_fast { WEIGH_SOON } else { WEIGH_EACH }.duration()).await;
    }
}

/// Evicts, in slices between which clients have their turn, until there is room or nothing that may go.
async fn make_room(engine: &Engine) {
    while make_some_room(engine, HOME) {
        tokio::task::yield_now().await;
    }
}

/// Evicts a slice if there is less room than there has to be; whether it is worth going on.
pub(super) fn make_some_room(engine: &Engine, worker: usize) -> bool {
    if !engine.is_short() || engine.scripts.is_busy() {
        return false;
    }
    let turn = engine.enter(worker);
    let _gathering = engine.tracking.is_on().then(|| engine.tracking.gather(None));
    turn.is_inside() && engine.make_room(engine.clock.now())
}

/// Has the allocator give back what was freed. mimalloc keeps it for some milliseconds in case it is needed again, and then
/// only looks when somebody allocates; after a million entries died nobody may for hours.
pub(super) async fn give_back(engine: Arc<Engine>) {
    let (mut seen, mut owed) = (0, 0);
    loop {
        let is_wasteful = engine.is_wasteful();
        sleep(if is_wasteful { WEIGH_EACH } else { GIVE_BACK_EACH }.duration()).await;
        if is_wasteful {
            owed = owed.max(1);
        }
        engine.records().give_back();
        let used = engine.used_memory();
        if used + WORTH <= seen {
            // Once more the next time: what was freed a moment ago is kept yet.
            (seen, owed) = (used, 2);
        }
        seen = seen.max(used);
        if owed > 0 {
            owed -= 1;
            drop(black_box(Vec::<u8>::with_capacity(NUDGE)));
            // To give a gigabyte back takes some hundred milliseconds, which are nobody's here.
            tokio::task::spawn_blocking(|| drop(black_box(Vec::<u8>::with_capacity(LARGE_NUDGE))));
        }
    }
}

/// How often it is looked for clients that have been idle for `timeout`.
const IDLE_LOOK_EACH: Ttl = Ttl(1_000);
/// Clients that are looked at before others have their turn.
const IDLE_LOOK_MAX: usize = 512;

/// Closes clients that have been idle for longer than `timeout`. Who waits, or only listens, is not idle.
pub(super) async fn see_off(engine: Arc<Engine>) {
    loop {
        sleep(IDLE_LOOK_EACH.duration()).await;
        let limit = Ttl::seconds(engine.hot.timeout());
        if limit == Ttl(0) {
            continue;
        }
        let now = engine.clock.now();
        let mut after = 0;
        while let Some(last) = engine.clients.visit(after, IDLE_LOOK_MAX, |peer| {
            let waits = peer.held.load(Ordering::Relaxed) || peer.monitor.load(Ordering::Relaxed);
            if now.since(Millis(peer.last_seen.load(Ordering::Relaxed))) >= limit && !waits && !peer.is_subscriber() {
                peer.kill();
            }
        }) {
            after = last;
            tokio::task::yield_now().await;
        }
    }
}

/// Sweeps all stores for as long as the server runs.
pub(super) async fn run(engine: Arc<Engine>) {
    let bell = Arc::new(Notify::new());
    let ring = bell.clone();
    engine.records().on_earlier(move || ring.notify_one());
    loop {
        if !engine.expires_actively() {
            while engine.records().free_some(FREED_AT_REST) {
                tokio::task::yield_now().await;
            }
            sleep(REST.duration()).await;
            continue;
        }
        // While awake it wants no bells.
        engine.records().plan(Millis(0));
        let next = sweep(&engine).await;
        engine.records().plan(next);
        // What was filed between the sweep and the plan rang no bell; one more look finds it.
        let now = engine.clock.now();
        if next_due(&engine) < next || next <= now {
            continue;
        }
        let nap = Ttl(next.since(now).0.min(NAP_MAX.0));
        tokio::select! {
            () = sleep(nap.duration()) => {}
            () = bell.notified() => {}
        }
    }
}

/// How much is swept before clients have their turn. To look at a dead entry costs a fraction of a microsecond, or some
/// hundreds of them where a hypervisor has to find the page again; so a slice is as large as the ones before allow.
struct Pace {
    most: usize,
}

impl Pace {
    /// What a client may have to wait for a slice.
    const SLICE: Duration = Duration::from_micros(50);
    /// The most reminders; with more, what is saved between slices is no longer worth speaking of.
    const MOST: usize = 4 * SWEEP_MAX;
    /// How long clients go first when even the smallest slice takes too long. Then memory does.
    const CLIENTS_FIRST: Duration = Duration::from_secs(1);
    /// What they get at a time: the shortest sleep that the runtime knows.
    const REST: Duration = Duration::from_millis(1);

    /// Learns from a slice that took so long; tells whether clients need more than a turn before the next one.
    fn learn(&mut self, took: Duration) -> bool {
        match took {
            _ if took < Self::SLICE / 4 => self.most = (self.most * 2).min(Self::MOST),
            _ if took <= Self::SLICE => {}
            _ if self.most == 1 => return true,
            _ => self.most /= 2,
        }
        false
    }
}

/// Sweeps until nothing is due and tells when something will be.
async fn sweep(engine: &Engine) -> Millis {
    let (mut pace, started) = (Pace { most: 1 }, Instant::now());
    loop {
        // Each has its slice in turn, so that no store waits for what dies in another, or for all that is to be freed.
        let (mut next, mut is_due) = (Millis::NEVER, false);
        for store in engine.all_stores() {
            let turn = have_a_turn(engine).await;
            let begun = Instant::now();
            let (due, now) = (store.next_due(), engine.clock.now());
            if due <= now {
                engine.metrics.shared().lag.took(now.since(due).0 * 1000);
            }
            let gathering = engine.tracking.is_on().then(|| engine.tracking.gather(None));
            let swept = store.sweep_some(now, pace.most);
            drop((gathering, turn));
            match swept {
                Sweep::MoreDue if pace.learn(begun.elapsed()) && started.elapsed() < Pace::CLIENTS_FIRST => {
                    is_due = true;
                    sleep(Pace::REST).await;
                }
                Sweep::MoreDue => {
                    is_due = true;
                    tokio::task::yield_now().await;
                }
                Sweep::Idle(due) => next = next.min(due),
            }
        }
        if !is_due {
            return next;
        }
    }
}

/// Waits until nobody is alone with the stores: what a transaction or a script works with does not go while it runs, though
/// it has died since it began.
async fn have_a_turn(engine: &Engine) -> Turn<'_> {
    loop {
        let turn = engine.enter(HOME);
        if turn.is_inside() && !engine.scripts.is_busy() {
            return turn;
        }
        drop(turn);
        sleep(REST.duration()).await;
    }
}

fn next_due(engine: &Engine) -> Millis {
    engine.all_stores().map(Store::next_due).min().unwrap_or(Millis::NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_as_large_as_the_time_for_them_allows() {
        let mut pace = Pace { most: 1 };
        let mut after = |slices: usize, took: Duration| {
            let asked_for_rest = (0..slices).filter(|_| pace.learn(took)).count();
            (pace.most, asked_for_rest)
        };
        let (quick, slow) = (Duration::from_micros(1), 3 * Pace::SLICE);
        assert_eq!(after(3, quick), (8, 0));
        assert_eq!(after(9, Pace::SLICE), (8, 0));
        assert_eq!(after(2, slow), (2, 0));
        assert_eq!(after(4, slow), (1, 3), "nothing smaller is left, so clients get more than a turn");
        assert_eq!(after(99, quick), (Pace::MOST, 0));
    }
}
