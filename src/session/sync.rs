//! The engine's locks, and the points at which tests may let others run.
//!
//! Lock order: the engine's lock, then one shard of a store. It is safe to call the store under the engine's lock
//! because the store calls nobody back but the janitor's alarm, which only wakes a thread.

use parking_lot::{Mutex, MutexGuard};

/// Takes locks, and passes the points between two looks at shared state. Outside of tests there is nothing to it.
#[derive(Default)]
pub(super) struct Steps {
    #[cfg(test)]
    hook: Mutex<Option<Hook>>,
}

/// What a test does at each step: let a scheduler choose who goes on, or do what somebody else may do just then.
#[cfg(test)]
pub(super) type Hook = std::sync::Arc<dyn Fn() + Send + Sync>;

#[cfg(not(test))]
impl Steps {
    /// Takes a lock.
    pub fn lock<'m, T>(&self, mutex: &'m Mutex<T>) -> MutexGuard<'m, T> {
        mutex.lock()
    }

    /// A point between two looks at shared state.
    #[inline(always)]
    pub fn step(&self) {}
}

#[cfg(test)]
impl Steps {
    /// Takes a lock in a way that lets a scheduler run others meanwhile.
    pub fn lock<'m, T>(&self, mutex: &'m Mutex<T>) -> MutexGuard<'m, T> {
        self.step();
        loop {
            match mutex.try_lock() {
                Some(guard) => return guard,
                None if self.hook.lock().is_some() => self.step(),
                None => std::thread::yield_now(),
            }
        }
    }

    /// A point where a scheduler may switch.
    pub fn step(&self) {
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// Sets what is done at each step.
    pub fn set(&self, hook: Option<Hook>) {
        *self.hook.lock() = hook;
    }
}
