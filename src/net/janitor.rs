//! The janitor: sleeps until the next deadline and reclaims what has died, a slice at a time.
//!
//! It lives on one worker among its clients. After each slice it yields, so that no client waits for more than one.

use std::hint::black_box;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::{Millis, Ttl};
use crate::engine::Engine;
use crate::store::{Store, Sweep};

/// The longest it sleeps. Deadlines wake it by themselves; this only bounds what a mistake could cost.
const NAP_MAX: Ttl = Ttl::seconds(1);

/// How often it looks whether it may work again, when DEBUG SET-ACTIVE-EXPIRE has told it not to.
const REST: Ttl = Ttl(100);

/// How often it is seen to that freed memory goes back to the system.
const GIVE_BACK_EACH: Ttl = Ttl(1_000);
/// Bytes that are worth it.
const WORTH: u64 = 1 << 20;
/// What is asked for and dropped at once, so that the allocator looks at what it keeps: enough not to come from what it
/// has at hand.
const NUDGE: usize = 1 << 20;

/// Has the allocator give back what this thread has freed. mimalloc keeps it for some milliseconds in case it is needed
/// again, and then only looks when somebody allocates; after a million entries died nobody may for hours.
pub(super) async fn give_back(engine: Arc<Engine>) {
    let (mut seen, mut owed) = (0, 0);
    loop {
        sleep(GIVE_BACK_EACH.duration()).await;
        let used = engine.used_memory();
        if used + WORTH <= seen {
            // Once more the next time: what was freed a moment ago is kept yet.
            (seen, owed) = (used, 2);
        }
        seen = seen.max(used);
        if owed > 0 {
            owed -= 1;
            drop(black_box(Vec::<u8>::with_capacity(NUDGE)));
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

/// Sweeps until nothing is due and tells when something will be.
async fn sweep(engine: &Engine) -> Millis {
    let mut next = Millis::NEVER;
    for store in engine.all_stores() {
        loop {
            match store.sweep(engine.clock.now()) {
                Sweep::MoreDue => tokio::task::yield_now().await,
                Sweep::Idle(due) => {
                    next = next.min(due);
                    break;
                }
            }
        }
    }
    next
}

fn next_due(engine: &Engine) -> Millis {
    engine.all_stores().map(Store::next_due).min().unwrap_or(Millis::NEVER)
}
