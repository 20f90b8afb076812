//! Blocking work, a bounded number of pieces of it at once.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::PIECE_BYTES;
use crate::files::Checksum;
use crate::{Error, Result};

/// How many threads may be busy with the bytes of files at once, for each store: a disk is no faster with more, and what
/// waits here holds no thread.
const AT_ONCE: usize = 8;

/// Work that has begun.
#[derive(Debug)]
pub(in crate::files) struct Working<T>(JoinHandle<Result<T>>);

impl<T> Working<T> {
    /// What it came to.
    pub(in crate::files) async fn end(self) -> Result<T> {
        self.0
            .await
            .map_err(|error| Error::internal("work on the bytes of a file ended early").caused_by(error))?
    }
}

#[derive(Debug, Clone)]
pub(in crate::files) struct Pool(Arc<Semaphore>);

impl Default for Pool {
    fn default() -> Self {
        Pool(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Pool {
    /// Runs blocking work on the threads that the runtime of the caller has for it. Work that has begun goes on when the
    /// caller gives up.
    pub(in crate::files) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.begin(work).await?.end().await
    }

    /// As [`run`](Self::run), without waiting for the end.
    pub(in crate::files) async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Working<T>> {
        let permit = self.0.clone().acquire_owned().await;
        let permit = permit.map_err(|error| Error::internal("the pool is closed").caused_by(error))?;
        Ok(Working(tokio::task::spawn_blocking(move || {
            let answer = work();
            drop(permit);
            answer
        })))
    }

    /// The checksum of bytes: computed here if they are few.
    pub(in crate::files) async fn checksum(&self, bytes: &Bytes) -> Result<Checksum> {
        let of = |bytes: &[u8]| Checksum(Sha256::digest(bytes).into());
        if bytes.len() <= PIECE_BYTES {
            return Ok(of(bytes));
        }
        let bytes = bytes.clone();
        self.run(move || Ok(of(&bytes))).await
    }
}
