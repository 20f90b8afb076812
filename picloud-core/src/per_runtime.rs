//! One of something for each runtime.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use tokio::runtime::{Handle, Id};
use tokio::sync::watch;

use crate::{Error, ErrorKind, Result};

/// Keeps one value for each runtime that asks, and lets go of it when that runtime ends.
///
/// For connections: a socket belongs to the runtime that opened it, and a service call is polled on the runtime of whoever
/// waits for it, an executor thread or the host's own. So each has its own, opened, used and dropped there.
pub struct PerRuntime<T: Send + Sync + 'static> {
    inner: Arc<Inner<T>>,
    closing: watch::Sender<bool>,
}

struct Inner<T> {
    values: RwLock<HashMap<Id, Arc<T>>>,
    on_end: fn(&T),
}

impl<T: Send + Sync + 'static> PerRuntime<T> {
    /// Nothing yet. `on_end` is told when a value is let go of, while others may still hold it.
    pub fn new(on_end: fn(&T)) -> Self {
        let inner = Arc::new(Inner { values: RwLock::default(), on_end });
        PerRuntime { inner, closing: watch::Sender::new(false) }
    }

    /// The value of the runtime that this is called on, made if there is none.
    ///
    /// # Errors
    /// `no_runtime` outside of one; those of `make`.
    pub fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Unsupported, "no_runtime", "this call needs a tokio runtime")
                .caused_by(error)
        })?;
        let id = runtime.id();
        if let Some(value) = self.inner.values.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(value.clone());
        }
        // Not under the lock. Two calls on one runtime may both make one; the first stays.
        let made = Arc::new(make()?);
        let mut values = self.inner.values.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = values.get(&id) {
            return Ok(first.clone());
        }
        values.insert(id, made.clone());
        drop(values);
        // Not under the lock either: a runtime that is ending drops the task at once, and with it the keeper, which takes it.
        let keeper = Keeper { inner: Arc::downgrade(&self.inner), runtime: id };
        runtime.spawn(keep(keeper, self.closing.subscribe()));
        Ok(made)
    }

    /// Lets go of all of them.
    pub fn close(&self) {
        self.closing.send_replace(true);
        let values = std::mem::take(&mut *self.inner.values.write().unwrap_or_else(PoisonError::into_inner));
        values.into_values().for_each(|value| (self.inner.on_end)(&value));
    }
}

/// Ends with its runtime, as every task does, and takes the value along: no one else can use what is in it.
struct Keeper<T> {
    inner: Weak<Inner<T>>,
    runtime: Id,
}

impl<T> Drop for Keeper<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            let value = inner.values.write().unwrap_or_else(PoisonError::into_inner).remove(&self.runtime);
            if let Some(value) = value {
                (inner.on_end)(&value);
            }
        }
    }
}

async fn keep<T>(keeper: Keeper<T>, mut closing: watch::Receiver<bool>) {
    // An error means that the owner is gone: the end as well.
    let _ = closing.wait_for(|closing| *closing).await;
    drop(keeper);
}

impl<T: Send + Sync + 'static> fmt::Debug for PerRuntime<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runtimes = self.inner.values.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("PerRuntime").field("runtimes", &runtimes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn each_runtime_has_its_own_and_takes_it_along() {
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        let values = PerRuntime::new(|value: &usize| {
            ENDED.fetch_add(*value, Ordering::Relaxed);
        });
        let (one, two) = (runtime(), runtime());
        let of =
            |runtime: &tokio::runtime::Runtime, value| runtime.block_on(async { values.get(|| Ok(value)) });
        assert_eq!(*of(&one, 1).unwrap(), 1);
        assert_eq!(*of(&one, 7).unwrap(), 1);
        assert_eq!(*of(&two, 2).unwrap(), 2);
        drop(one);
        assert_eq!(ENDED.load(Ordering::Relaxed), 1);
        values.close();
        assert_eq!(ENDED.load(Ordering::Relaxed), 3);
        assert_eq!(values.get(|| Ok(0)).unwrap_err().code(), "no_runtime");
    }
}
