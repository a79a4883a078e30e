//! How a store, or a family of stores that share one budget, is made.

use super::*;

/// Settings of a store, or of a family of stores that share one budget.
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

    /// The clock that the conveniences for embedders ask.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Builder {
        self.clock = clock.into();
        self
    }

    /// The named namespaces; without this, the predefined ones.
    pub fn namespaces(mut self, namespaces: Vec<Namespace>) -> Builder {
        self.namespaces = namespaces;
        self
    }

    /// How long a key of a fenced namespace takes no writes after it was removed.
    pub fn fence(mut self, fence: Ttl) -> Builder {
        self.fence = fence;
        self
    }

    /// What secret names are hashed under; without this, a key that nobody else has and that ends with the store.
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
    pub fn build(self) -> Store {
        let mut family = self.build_family(1);
        family.remove(0)
    }

    /// Several stores that share clock, namespaces and memory budget.
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
