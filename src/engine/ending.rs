//! Pausing and ending: until when commands are held, and whether somebody wants the server to end.

use std::sync::atomic::Ordering;
use std::task::Waker;

use super::{Engine, Oddity};
use crate::clock::Millis;

impl Engine {
    /// Holds commands that write, or all, until then. A pause is never shortened or weakened by a second one.
    #[cfg_attr(doc, doc(hidden))]
    pub fn pause(&self, until: Millis, all: bool, now: Millis) {
        let mut pause = self.pause.lock();
        *pause = match *pause {
            (before, held) if now < before => (until.max(before), all || held),
            _ => (until, all),
        };
        self.unusual.set(Oddity::Paused, true);
    }

    /// Ends a pause.
    #[cfg_attr(doc, doc(hidden))]
    pub fn unpause(&self) {
        {
            let mut pause = self.pause.lock();
            *pause = Default::default();
            self.unusual.set(Oddity::Paused, false);
        }
        self.clients.ring_all();
    }

    /// Until when commands are held, and whether all are; `None` if none is.
    #[cfg_attr(doc, doc(hidden))]
    pub fn paused_until(&self, now: Millis) -> Option<(Millis, bool)> {
        if !self.unusual.is(Oddity::Paused) {
            return None;
        }
        let pause = self.pause.lock();
        if now >= pause.0 {
            self.unusual.set(Oddity::Paused, false);
            return None;
        }
        Some(*pause)
    }

    /// Whether a client has asked the server to end.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// assert!(!engine.is_to_end());
    /// engine.shut_down();
    /// assert!(engine.is_to_end());
    /// ```
    pub fn is_to_end(&self) -> bool {
        self.shutdown.load(Ordering::Relaxed)
    }

    /// Asks the server to end.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// engine.shut_down();
    /// assert!(engine.is_to_end());
    /// ```
    pub fn shut_down(&self) {
        self.shutdown.store(true, Ordering::Relaxed);
        if let Some(bell) = self.shutdown_bell.lock().take() {
            bell.wake();
        }
    }

    /// Whether the server was asked to end; if not, `waker` is woken when it is.
    #[cfg_attr(doc, doc(hidden))]
    pub fn is_shutting_down(&self, waker: &Waker) -> bool {
        *self.shutdown_bell.lock() = Some(waker.clone());
        self.shutdown.load(Ordering::Relaxed)
    }
}
