//! The wrong backend: the memory backend, with one part replaced.

use std::sync::Arc;

use picloud_core::catalog::Catalog;
use picloud_core::conformance::{Harness, World};
use picloud_core::docs::DocsService;
use picloud_core::execution::ExecutionStore;
use picloud_core::files::FilesService;
use picloud_core::kv::KvService;
use picloud_core::outbox::Outbox;
use picloud_core::pubsub::{Broadcast, PubsubService};
use picloud_core::queue::QueueService;
use picloud_core::secrets::SecretStore;
use picloud_core::{Backend, Clock, Result, Transaction, async_trait};
use picloud_memory::MemoryBackend;

use crate::catalog::WrongCatalog;
use crate::docs::WrongDocs;
use crate::executions::WrongExecutions;
use crate::files::WrongFiles;
use crate::kv::WrongKv;
use crate::outbox::WrongOutbox;
use crate::pubsub::{WrongBroadcast, WrongPubsub};
use crate::queue::WrongQueue;
use crate::secrets::WrongSecrets;
use crate::transaction::WrongTransactions;
use crate::{Wrong, outbox, transaction};

/// Worlds that are right but for one thing.
pub(crate) struct WrongWorlds(pub(crate) Option<Wrong>);

#[async_trait]
impl Harness for WrongWorlds {
    async fn world(&self) -> World {
        let (memory, clock) = MemoryBackend::with_test_clock();
        let backend = Arc::new(WrongBackend::new(memory, self.0));
        let world = World::new(backend.clone()).on_pass_time(move |duration| {
            clock.advance(duration);
            async {}
        });
        match self.0 {
            // What a wrong service would have stored is made up when it is looked at.
            Some(Wrong::Kv(_)) => world.on_outbox_rows(move |app| {
                let backend = backend.clone();
                async move { backend.kv.outbox_rows(app).await }
            }),
            Some(Wrong::Tx(transaction::Wrong::VersionsRepeat)) => world.on_outbox_rows(move |app| {
                let backend = backend.clone();
                async move { transaction::with_one_version(&*backend.memory.outbox(), app).await }
            }),
            _ => world,
        }
    }
}

#[derive(Debug)]
struct WrongBackend {
    memory: MemoryBackend,
    kv: Arc<WrongKv>,
    docs: Arc<WrongDocs>,
    files: Arc<WrongFiles>,
    pubsub: Arc<WrongPubsub>,
    queue: Arc<WrongQueue>,
    secrets: Arc<WrongSecrets>,
    broadcast: Arc<WrongBroadcast>,
    catalog: Arc<WrongCatalog>,
    outbox: Arc<WrongOutbox>,
    executions: Arc<WrongExecutions>,
    transactions: WrongTransactions,
}

impl WrongBackend {
    fn new(memory: MemoryBackend, wrong: Option<Wrong>) -> Self {
        let in_kv = match wrong {
            Some(Wrong::Kv(wrong)) => Some(wrong),
            _ => None,
        };
        let in_docs = match wrong {
            Some(Wrong::Docs(wrong)) => Some(wrong),
            _ => None,
        };
        let in_files = match wrong {
            Some(Wrong::Files(wrong)) => Some(wrong),
            _ => None,
        };
        let in_catalog = match wrong {
            Some(Wrong::Catalog(wrong)) => Some(wrong),
            _ => None,
        };
        let in_outbox = match wrong {
            Some(Wrong::Outbox(wrong)) => Some(wrong),
            Some(Wrong::Tx(transaction::Wrong::EventsAreNotNoticed)) => Some(outbox::Wrong::NothingIsNoticed),
            _ => None,
        };
        let in_pubsub = match wrong {
            Some(Wrong::Pubsub(wrong)) => Some(wrong),
            _ => None,
        };
        let in_queue = match wrong {
            Some(Wrong::Queue(wrong)) => Some(wrong),
            _ => None,
        };
        let in_secrets = match wrong {
            Some(Wrong::Secrets(wrong)) => Some(wrong),
            _ => None,
        };
        let in_executions = match wrong {
            Some(Wrong::Executions(wrong)) => Some(wrong),
            _ => None,
        };
        let in_transactions = match wrong {
            Some(Wrong::Tx(wrong)) => Some(wrong),
            _ => None,
        };
        let kv = Arc::new(WrongKv::new(memory.clone(), in_kv));
        let docs = Arc::new(WrongDocs::new(memory.docs(), in_docs));
        let files = Arc::new(WrongFiles::new(memory.files(), in_files));
        let pubsub = Arc::new(WrongPubsub::new(memory.clone(), in_pubsub));
        let queue = Arc::new(WrongQueue::new(memory.clone(), in_queue));
        WrongBackend {
            broadcast: Arc::new(WrongBroadcast::new(memory.clone(), in_pubsub)),
            catalog: Arc::new(WrongCatalog::new(memory.catalog(), in_catalog)),
            outbox: Arc::new(WrongOutbox::new(&memory, in_outbox)),
            secrets: Arc::new(WrongSecrets::new(memory.secrets(), in_secrets)),
            executions: Arc::new(WrongExecutions::new(memory.executions(), in_executions)),
            transactions: WrongTransactions::new(
                memory.clone(),
                kv.clone(),
                docs.clone(),
                files.clone(),
                pubsub.clone(),
                queue.clone(),
                in_transactions,
            ),
            kv,
            docs,
            files,
            pubsub,
            queue,
            memory,
        }
    }
}

#[async_trait]
impl Backend for WrongBackend {
    fn catalog(&self) -> Arc<dyn Catalog> {
        self.catalog.clone()
    }

    fn kv(&self) -> Arc<dyn KvService> {
        self.kv.clone()
    }

    fn docs(&self) -> Arc<dyn DocsService> {
        self.docs.clone()
    }

    fn files(&self) -> Arc<dyn FilesService> {
        self.files.clone()
    }

    fn pubsub(&self) -> Arc<dyn PubsubService> {
        self.pubsub.clone()
    }

    fn queue(&self) -> Arc<dyn QueueService> {
        self.queue.clone()
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        self.secrets.clone()
    }

    fn broadcast(&self) -> Arc<dyn Broadcast> {
        self.broadcast.clone()
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        self.outbox.clone()
    }

    fn executions(&self) -> Arc<dyn ExecutionStore> {
        self.executions.clone()
    }

    async fn transaction(&self) -> Result<Box<dyn Transaction>> {
        self.transactions.begin().await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.memory.clock()
    }

    async fn ready(&self) -> Result<()> {
        self.memory.ready().await
    }
}
