//! The one hint that safe Rust has no word for: memory that is about to be read may be fetched meanwhile.
//!
//! This is the only file of the crate with unsafe code. The instruction reads nothing that a program could see, and
//! cannot fail, whatever the address; where there is no such instruction, nothing happens.
#![allow(unsafe_code)]

/// Bytes of a cache line on the machines that this is for.
const LINE: usize = 64;

/// Lines that are fetched for one call at most: more are under way in no core at once.
const LINES_MAX: usize = 16;

/// Fetches the first of these bytes, which are about to be read.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8], len: usize) {
    let end = len.min(bytes.len()).min(LINES_MAX * LINE);
    let mut at = 0;
    while at < end {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint that touches nothing; the address lies in `bytes` besides.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes[at..].as_ptr().cast()) };
        }
        at += LINE;
    }
}
