//! What the gate is made of. `tests/schedules.rs` makes it of what shuttle controls, under the same names.

pub use std::hint::spin_loop;
pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub use parking_lot::{Condvar, Mutex, MutexGuard};

/// How often one looks whether others are still inside before sleeping: most batches take a few microseconds.
pub const LOOKS: usize = 200;
