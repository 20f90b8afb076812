//! Settings of the files room.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{BlobStore, FilesystemBlobs, MemoryBlobs};
use crate::{Error, Result, env};

/// Where bytes of files are kept, and how many a file may have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilesConfig {
    /// The folder for the bytes, as [`FilesystemBlobs`] keeps them. `None`: in memory, up to
    /// [`MemoryBlobs::DEFAULT_CAPACITY`], gone with the process. A store given to
    /// [`PicloudBuilder::blobs`](crate::PicloudBuilder::blobs) counts more. Default: `None`.
    pub root: Option<PathBuf>,
    /// Most bytes of one file. Default: 10 MiB.
    pub max_file_bytes: u64,
    /// How old bytes must be that no file refers to before they are removed. Far longer than any write takes: what is
    /// being written is referred to only at its end. Default: 1 h.
    pub orphans_after: Duration,
}

impl Default for FilesConfig {
    fn default() -> Self {
        FilesConfig { root: None, max_file_bytes: 10 << 20, orphans_after: Duration::from_secs(3_600) }
    }
}

impl FilesConfig {
    /// The defaults, changed by `PICLOUD_FILES_ROOT`. Empty counts as not set.
    pub fn from_env() -> Self {
        let root = env::parsed::<PathBuf>("PICLOUD_FILES_ROOT", "a folder");
        FilesConfig { root: root.filter(|root| !root.as_os_str().is_empty()), ..FilesConfig::default() }
    }

    /// The store that these settings ask for.
    pub(crate) async fn open(&self) -> Result<Arc<dyn BlobStore>> {
        let Some(root) = self.root.clone() else { return Ok(Arc::new(MemoryBlobs::default())) };
        let opened = tokio::task::spawn_blocking(move || FilesystemBlobs::open(root)).await;
        let opened =
            opened.map_err(|error| Error::internal("the folder was not opened").caused_by(error))??;
        Ok(Arc::new(opened))
    }
}
