//! The services that scripts and hosts reach, in one bundle.

use std::sync::Arc;

use crate::backend::Backend;
use crate::docs::DocsService;
use crate::files::FilesService;
use crate::http::{self, HttpService};
use crate::kv::KvService;
use crate::pubsub::PubsubService;
use crate::queue::QueueService;
use crate::secrets::{self, SecretsService};

/// One `Arc<dyn …>` per room. Cloning is cheap.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Services {
    /// Values under keys.
    pub kv: Arc<dyn KvService>,
    /// Documents, found by what is in them.
    pub docs: Arc<dyn DocsService>,
    /// Files, without their bytes.
    pub files: Arc<dyn FilesService>,
    /// Messages by topic.
    pub pubsub: Arc<dyn PubsubService>,
    /// Messages for one consumer.
    pub queue: Arc<dyn QueueService>,
    /// Requests to other servers. No backend's: off unless the host enables it
    /// ([`PicloudBuilder::http`](crate::PicloudBuilder)) or brings its own.
    pub http: Arc<dyn HttpService>,
    /// Secrets. Off unless the host gives a key ([`PicloudBuilder::secrets`](crate::PicloudBuilder)) or brings its own.
    pub secrets: Arc<dyn SecretsService>,
}

impl Services {
    /// A bundle of bare services: for backends. It asks for all of them, so that none is forgotten when one is added.
    pub fn new(
        kv: Arc<dyn KvService>,
        docs: Arc<dyn DocsService>,
        files: Arc<dyn FilesService>,
        pubsub: Arc<dyn PubsubService>,
        queue: Arc<dyn QueueService>,
    ) -> Self {
        let (http, secrets) = (Arc::new(http::NotEnabled), Arc::new(secrets::NotEnabled));
        Services { kv, docs, files, pubsub, queue, http, secrets }
    }

    /// The services of a backend, bare: the guard comes on top when [`Picloud`](crate::Picloud) starts.
    pub fn from_backend(backend: &dyn Backend) -> Self {
        let (files, pubsub, queue) = (backend.files(), backend.pubsub(), backend.queue());
        Services::new(backend.kv(), backend.docs(), files, pubsub, queue)
    }
}
