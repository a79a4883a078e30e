//! The engine's lock, and the points at which tests may let others run.
//!
//! Lock order: the engine's lock, then one shard of a store. It is safe to call the store under the engine's lock
//! because the store calls nobody back but the janitor's alarm, which only wakes a thread.

use parking_lot::{Mutex, MutexGuard};

/// Takes the lock.
#[cfg(not(test))]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// A point between two looks at shared state.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn step() {}

/// Takes the lock in a way that lets a scheduler of tests run others meanwhile.
#[cfg(test)]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    step();
    loop {
        match mutex.try_lock() {
            Some(guard) => return guard,
            None if HOOK.get().is_some() => step(),
            None => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// What a scheduler of tests does at each step.
    static HOOK: std::cell::Cell<Option<fn()>> = const { std::cell::Cell::new(None) };
}

/// A point between two looks at shared state, where a scheduler of tests may switch.
#[cfg(test)]
pub(super) fn step() {
    if let Some(hook) = HOOK.get() {
        hook();
    }
}

/// Sets what this thread does at each step.
#[cfg(test)]
pub(super) fn set_hook(hook: Option<fn()>) {
    HOOK.set(hook);
}
