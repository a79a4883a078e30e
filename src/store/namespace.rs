//! Named caches for embedders: a prefix, a TTL and a policy under one name.

use super::{NameBuf, Store};
use crate::clock::{Millis, Ttl};
use crate::config::Namespace;
use crate::error::Result;

/// A namespace of a store, ready for use. Keys are given without the prefix.
///
/// ```
/// use cloakroom::store::Store;
///
/// let store = Store::new();
/// let sessions = store.cache("SESSION").expect("predefined");
/// sessions.put(b"a-token", br#"{"user":{"name":"alice"}}"#)?;
/// assert!(sessions.fetch(b"a-token").is_some());
/// assert_eq!(store.fetch(b"auth:session:a-token"), sessions.fetch(b"a-token"));
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    store: Store,
    namespace: Namespace,
}

impl Cache {
    pub(super) fn new(store: Store, namespace: Namespace) -> Cache {
        Cache { store, namespace }
    }

    /// Its settings.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let profiles = Store::new().cache("USER_PROFILE").expect("predefined");
    /// assert_eq!(profiles.namespace().prefix, b"user:");
    /// assert_eq!(profiles.namespace().ttl, Ttl::seconds(300));
    /// ```
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Stores a copy of `value` for the namespace's TTL, less its jitter. Errors as those of [`Store::put`].
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Ttl}};
    ///
    /// let hands = ManualClock::default();
    /// let store = Store::builder().clock(hands.clone()).build();
    /// let dashboards = store.cache("DASHBOARD").expect("predefined");
    /// dashboards.put(b"7", b"{}")?;
    /// hands.advance(Ttl::seconds(60));
    /// assert_eq!(dashboards.fetch(b"7"), None);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let name = self.name(key);
        let now = self.store.clock().now();
        let ttl = self.ttl(&name, now);
        self.store.put(&name, value, ttl)
    }

    /// A copy of the value; `None` if there is none.
    ///
    /// ```
    /// use cloakroom::Store;
    ///
    /// let profiles = Store::new().cache("USER_PROFILE").expect("predefined");
    /// profiles.put(b"7", b"alice")?;
    /// assert_eq!(profiles.fetch(b"7").as_deref(), Some(&b"alice"[..]));
    /// assert_eq!(profiles.fetch(b"8"), None);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn fetch(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.store.fetch(&self.name(key))
    }

    /// Removes the key; `false` if there was none. Under a fenced namespace it takes no writes for a while.
    ///
    /// ```
    /// use cloakroom::{Error, Store};
    ///
    /// let store = Store::new();
    /// let sessions = store.cache("SESSION").expect("predefined");
    /// sessions.put(b"a-token", b"{}")?;
    /// assert!(sessions.remove(b"a-token"));
    /// assert_eq!(sessions.put(b"a-token", b"{}"), Err(Error::Fenced));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn remove(&self, key: &[u8]) -> bool {
        self.store.remove(&self.name(key))
    }

    fn name(&self, key: &[u8]) -> NameBuf {
        if self.namespace.secret {
            self.store.secret_name(&self.namespace.prefix, key)
        } else {
            let mut name = NameBuf::from_slice(&self.namespace.prefix);
            name.extend_from_slice(key);
            name
        }
    }

    /// The TTL, shortened by up to the namespace's share of jitter so that what was stored together does not die
    /// together, but never to nothing. The name and the time decide.
    fn ttl(&self, name: &[u8], now: Millis) -> Ttl {
        let ttl = self.namespace.ttl.0;
        let spread = ((ttl as f64 * self.namespace.jitter.clamp(0.0, 1.0)) as u64).min(ttl.saturating_sub(1));
        let chance = self.store.hash(name) ^ now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ttl(ttl - chance.checked_rem(spread.saturating_add(1)).unwrap_or(0))
    }
}
