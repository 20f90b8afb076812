//! References that are counted on one thread.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// Something shared by threads, held by many on one of them: cloning counts on this thread only. Two threads that
/// count in one place wait for each other, which costs more than a short script.
#[allow(
    clippy::redundant_allocation,
    reason = "the extra allocation is made once per thread, to be counted there"
)]
pub(crate) struct Held<T: ?Sized>(Rc<Arc<T>>);

impl<T: ?Sized> Held<T> {
    pub(crate) fn new(shared: Arc<T>) -> Self {
        Held(Rc::new(shared))
    }
}

impl<T: ?Sized> Clone for Held<T> {
    fn clone(&self) -> Self {
        Held(Rc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Held<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}
