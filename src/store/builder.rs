//! How a store, or a family of stores that share one budget, is made.

use super::*;

/// Settings of a store, or of a family of stores that share one budget. [`Store::builder`] makes one.
///
/// ```
/// use cloakroom::{Store, clock::{ManualClock, Ttl}, config::Namespace};
///
/// let hands = ManualClock::default();
/// let store = Store::builder()
///     .clock(hands.clone())
///     .namespaces(Namespace::predefined())
///     .fence(Ttl::seconds(30))
///     .build();
/// assert_eq!(store.clock().now(), hands.now());
/// ```
#[must_use = "build() makes the store"]
pub struct Builder {
    clock: Clock,
    namespaces: Vec<Namespace>,
    fence: Ttl,
    key: Option<NamingKey>,
    hasher: SeedableRandomState,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            clock: Clock::system(),
            namespaces: Namespace::predefined(),
            fence: FENCE_DEFAULT,
            key: None,
            hasher: SeedableRandomState::with_seed(random_seed(), SharedSeed::global_random()),
        }
    }

    /// The clock that the conveniences for embedders ask; without this, the machine's.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Ttl}};
    ///
    /// let hands = ManualClock::default();
    /// let store = Store::builder().clock(hands.clone()).build();
    /// store.put(b"coat", b"blue", Ttl::seconds(5))?;
    /// hands.advance(Ttl(4_999));
    /// assert!(store.fetch(b"coat").is_some());
    /// hands.advance(Ttl(1));
    /// assert!(store.fetch(b"coat").is_none(), "dead at its very deadline");
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn clock(mut self, clock: impl Into<Clock>) -> Builder {
        self.clock = clock.into();
        self
    }

    /// The named namespaces; without this, the predefined ones.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl, config::Namespace};
    ///
    /// let menus = Namespace::new("MENU", "menu:", Ttl::seconds(3_600));
    /// let store = Store::builder().namespaces(vec![menus]).build();
    /// store.cache("MENU").expect("named above").put(b"monday", b"soup")?;
    /// assert_eq!(store.fetch(b"menu:monday").as_deref(), Some(&b"soup"[..]));
    /// assert!(store.cache("SESSION").is_none(), "not among them");
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn namespaces(mut self, namespaces: Vec<Namespace>) -> Builder {
        self.namespaces = namespaces;
        self
    }

    /// How long a key of a fenced namespace takes no writes after it was removed: longer than a call to whoever is asked for
    /// its value may take. Ten seconds without this; a [`SessionCache`](crate::SessionCache) tells
    /// [what it needs](crate::session::Settings::fence).
    ///
    /// ```
    /// use cloakroom::{Error, Store, clock::{ManualClock, Ttl}};
    ///
    /// let hands = ManualClock::default();
    /// let store = Store::builder().clock(hands.clone()).fence(Ttl::seconds(30)).build();
    /// let put = || store.put(b"auth:session:a-token", b"{}", Ttl::seconds(5));
    /// store.remove(b"auth:session:a-token");
    /// hands.advance(Ttl(29_999));
    /// assert_eq!(put(), Err(Error::Fenced));
    /// hands.advance(Ttl(1));
    /// assert_eq!(put(), Ok(()));
    /// ```
    pub fn fence(mut self, fence: Ttl) -> Builder {
        self.fence = fence;
        self
    }

    /// What secret names are hashed under; without this, a key that nobody else has and that ends with the store.
    ///
    /// ```
    /// use cloakroom::{Store, store::NamingKey};
    ///
    /// let key = NamingKey::random();
    /// let name = || {
    ///     let store = Store::builder().naming_key(key.clone()).build();
    ///     store.redacted(b"auth:session:a-token").into_owned()
    /// };
    /// assert_eq!(name(), name(), "what one has written down the next can match");
    /// ```
    pub fn naming_key(mut self, key: NamingKey) -> Builder {
        self.key = Some(key);
        self
    }

    /// The same hashes in each run, for tests of what depends on which shard a key falls into.
    #[cfg(test)]
    pub(super) fn hash_seed(mut self, seed: u64) -> Builder {
        self.hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        self
    }

    /// One store.
    ///
    /// ```
    /// use cloakroom::Store;
    ///
    /// assert!(Store::builder().build().is_empty());
    /// ```
    pub fn build(self) -> Store {
        let mut family = self.build_family(1);
        family.remove(0)
    }

    /// Several stores that share clock, namespaces and memory budget; keys of all of them can be opened
    /// [at once](Store::with_all).
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let databases = Store::builder().build_family(16);
    /// databases[0].put(b"coat", b"blue", Ttl::seconds(60))?;
    /// assert_eq!(databases[1].fetch(b"coat"), None);
    /// assert_eq!(databases[0].used_memory(), databases[1].used_memory());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn build_family(self, count: usize) -> Vec<Store> {
        let common = Arc::new(Common {
            changes: Arc::default(),
            clock: self.clock,
            hasher: self.hasher,
            names: Names::new(&self.namespaces, self.fence, &self.key.unwrap_or_else(NamingKey::random)),
            namespaces: self.namespaces,
            used: AtomicI64::new(0),
            access: access::Mode::default(),
            alarm: Alarm::default(),
            compact: value::Settings::default(),
            events: events::Events::default(),
            called: Called::default(),
            bin: Arc::default(),
            depot: Arc::default(),
        });
        let inner = |id| Inner {
            id,
            common: common.clone(),
            cells: OnceLock::new(),
            early_misses: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            duel: evict::Duel::default(),
        };
        (0..count).map(|id| Store { inner: Arc::new(inner(id)) }).collect()
    }
}

/// A seed from the system, so that nobody can foresee which keys collide.
fn random_seed() -> u64 {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the system has randomness");
    u64::from_ne_bytes(seed)
}

impl std::fmt::Debug for Builder {
    /// What is no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Builder { clock, namespaces, fence, .. } = self;
        let mut out = f.debug_struct("Builder");
        out.field("clock", clock).field("namespaces", namespaces).field("fence", fence).finish_non_exhaustive()
    }
}
