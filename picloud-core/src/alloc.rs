//! Counting memory, so that one execution cannot use all of it.
//!
//! A library cannot choose the allocator of a program. A host opts in with two lines; without them
//! `max_memory` cannot be enforced, [`Picloud`](crate::Picloud) warns loudly at start and halves the limits on
//! the sizes of strings, arrays and maps.
//!
//! ```
//! use picloud_core::alloc::CountingAllocator;
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator = CountingAllocator::system();
//!
//! # fn main() {
//! assert!(picloud_core::alloc::is_counting());
//! # }
//! ```
#![allow(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; every method forwards to the allocator inside"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Const-initialised and without a destructor: reading it allocates nothing and works until the thread ends.
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// Bytes allocated less bytes freed by this thread. Only differences mean anything: memory may be freed by
/// another thread than the one that allocated it.
#[inline]
pub(crate) fn live() -> i64 {
    LIVE.with(Cell::get)
}

#[inline]
fn count(bytes: i64) {
    // `try_with`: the allocator is called while thread-locals are torn down, too.
    let _ = LIVE.try_with(|live| live.set(live.get().wrapping_add(bytes)));
}

/// Whether this program's allocator counts.
pub fn is_counting() -> bool {
    let before = live();
    let probe = std::hint::black_box(vec![0_u8; 64]);
    let counted = live() != before;
    drop(probe);
    counted
}

/// An allocator that counts what each thread allocates and frees, and leaves the work to another.
///
/// Costs about a nanosecond per call.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAllocator<A = System>(A);

impl CountingAllocator<System> {
    /// Counts on top of the system's allocator.
    pub const fn system() -> Self {
        CountingAllocator(System)
    }
}

impl<A> CountingAllocator<A> {
    /// Counts on top of `inner`.
    pub const fn new(inner: A) -> Self {
        CountingAllocator(inner)
    }
}

// SAFETY: each method hands its arguments on unchanged to an allocator that upholds the contract, and returns
// what that returned. The counter is thread-local, allocates nothing and cannot unwind.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, handed on.
        let pointer = unsafe { self.0.alloc(layout) };
        if !pointer.is_null() {
            count(layout.size() as i64);
        }
        pointer
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, handed on.
        let pointer = unsafe { self.0.alloc_zeroed(layout) };
        if !pointer.is_null() {
            count(layout.size() as i64);
        }
        pointer
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { self.0.dealloc(pointer, layout) };
        count(-(layout.size() as i64));
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, handed on.
        let moved = unsafe { self.0.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            count(new_size as i64 - layout.size() as i64);
        }
        moved
    }
}
