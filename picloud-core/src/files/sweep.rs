//! The sweep: bytes that no record names, left by crashes and by transactions.

use std::collections::HashSet;
use std::time::Duration;

use super::{BlobId, BlobStore, FilesService};
use crate::Result;

/// How many are asked about at once: a longer statement would hold others up.
const BATCH: usize = 1_000;

/// Removes bytes that no record names, and what is left of writes that did not come to their end, if they are at least so
/// old; answers how many.
///
/// `older_than` must be far longer than a write takes, [`FilesConfig::orphans_after`](super::FilesConfig::orphans_after) say:
/// bytes are stored before the record that names them. Any number of processes may sweep at once.
///
/// # Errors
/// Those of both stores. Nothing that is named is removed, whatever fails.
pub async fn sweep(records: &dyn FilesService, blobs: &dyn BlobStore, older_than: Duration) -> Result<u64> {
    let mut failed = None;
    let mut removed = blobs.remove_unfinished(older_than).await.unwrap_or_else(|error| {
        failed = Some(error);
        0
    });
    let mut after = None;
    loop {
        let batch = blobs.list(after, BATCH).await?;
        let Some(last) = batch.last() else { return failed.map_or(Ok(removed), Err) };
        after = Some(last.id);
        let old = batch.iter().filter(|blob| blob.age >= older_than);
        let old: Vec<BlobId> = old.map(|blob| blob.id).collect();
        if old.is_empty() {
            continue;
        }
        let used: HashSet<BlobId> = records.in_use(&old).await?.into_iter().collect();
        for orphan in old.iter().filter(|id| !used.contains(id)) {
            // One that cannot be removed does not keep the others.
            match blobs.delete(*orphan).await {
                Ok(was_there) => removed += u64::from(was_there),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
    }
}
