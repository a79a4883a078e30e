//! What is freed little by little.

/// What is freed little by little, besides what has died or was unlinked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lazily {
    /// `lazyfree-lazy-eviction`: what was evicted.
    pub evicted: bool,
    /// `lazyfree-lazy-server-del`: what something else took the place of.
    pub replaced: bool,
    /// `lazyfree-lazy-user-del`: what DEL deleted.
    pub deleted: bool,
}
