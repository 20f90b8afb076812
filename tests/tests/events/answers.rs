//! Answers of the store that are lost, and handlers that take long: neither keeps other events waiting.

use std::sync::atomic::{AtomicUsize, Ordering};

use picloud_core::catalog::Catalog;
use picloud_core::docs::DocsService;
use picloud_core::execution::ExecutionStore;
use picloud_core::files::FilesService;
use picloud_core::kv::KvService;
use picloud_core::outbox::{Claimed, Except, Outbox, OutboxRow, Promoted, Settlement, WorkerId};
use picloud_core::page::Page;
use picloud_core::pubsub::{Broadcast, PubsubService};
use picloud_core::queue::QueueService;
use picloud_core::secrets::SecretStore;
use picloud_core::{AppId, Clock, EventId, Timestamp, Transaction};
use tokio::sync::watch;

use super::*;

/// A memory backend of which some answers never arrive.
#[derive(Debug)]
struct Deaf {
    memory: MemoryBackend,
    outbox: Arc<DeafOutbox>,
}

/// What is done is done: only nobody hears of it.
#[derive(Debug)]
struct DeafOutbox {
    memory: Arc<dyn Outbox>,
    /// So many claims, and settlements, that did something are not answered.
    claims: AtomicUsize,
    settlements: AtomicUsize,
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "test.lost", "the answer was lost")
}

fn is_lost(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Outbox for DeafOutbox {
    async fn claim_except(&self, worker: WorkerId, limit: usize, except: &Except) -> Result<Vec<Claimed>> {
        let claimed = self.memory.claim_except(worker, limit, except).await?;
        if !claimed.is_empty() && is_lost(&self.claims) { Err(lost()) } else { Ok(claimed) }
    }
    async fn settle(&self, worker: WorkerId, settlements: &[Settlement]) -> Result<Vec<Settlement>> {
        let unknown = self.memory.settle(worker, settlements).await?;
        if is_lost(&self.settlements) { Err(lost()) } else { Ok(unknown) }
    }
    async fn give_back(&self, worker: WorkerId, held: &[EventId]) -> Result<usize> {
        self.memory.give_back(worker, held).await
    }
    async fn enqueue(&self, row: &OutboxRow) -> Result<()> {
        self.memory.enqueue(row).await
    }
    async fn fire(&self, row: &OutboxRow, scheduled_for: Timestamp) -> Result<bool> {
        self.memory.fire(row, scheduled_for).await
    }
    async fn beat(&self, worker: WorkerId) -> Result<bool> {
        self.memory.beat(worker).await
    }
    async fn take_over(&self, worker: WorkerId, lease: Duration, limit: usize) -> Result<Vec<Claimed>> {
        self.memory.take_over(worker, lease, limit).await
    }
    async fn retire(&self, worker: WorkerId) -> Result<()> {
        self.memory.retire(worker).await
    }
    async fn promote(&self, thoroughly: bool) -> Result<Promoted> {
        self.memory.promote(thoroughly).await
    }
    async fn next_due(&self) -> Result<Option<Duration>> {
        self.memory.next_due().await
    }
    async fn waiting(&self, app: AppId, limit: usize) -> Result<Vec<OutboxRow>> {
        self.memory.waiting(app, limit).await
    }
    async fn dead_letters(&self, app: AppId, options: &DeadLetterListOptions) -> Result<Page<DeadLetter>> {
        self.memory.dead_letters(app, options).await
    }
    async fn dead_letter(&self, app: AppId, id: EventId) -> Result<Option<DeadLetter>> {
        self.memory.dead_letter(app, id).await
    }
    async fn open_dead_letters(&self, app: AppId) -> Result<u64> {
        self.memory.open_dead_letters(app).await
    }
    async fn replay(&self, app: AppId, id: EventId, trigger_depth: u32) -> Result<()> {
        self.memory.replay(app, id, trigger_depth).await
    }
    async fn resolve(&self, app: AppId, id: EventId, resolution: Resolution) -> Result<()> {
        self.memory.resolve(app, id, resolution).await
    }
    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize> {
        self.memory.forget_dead_letters(before, limit).await
    }
    fn notices(&self) -> watch::Receiver<u64> {
        self.memory.notices()
    }
    fn stored(&self) -> watch::Receiver<u64> {
        self.memory.stored()
    }
    fn announce(&self) {
        self.memory.announce();
    }
}

#[async_trait]
impl Backend for Deaf {
    fn catalog(&self) -> Arc<dyn Catalog> {
        self.memory.catalog()
    }
    fn kv(&self) -> Arc<dyn KvService> {
        self.memory.kv()
    }
    fn docs(&self) -> Arc<dyn DocsService> {
        self.memory.docs()
    }
    fn files(&self) -> Arc<dyn FilesService> {
        self.memory.files()
    }
    fn pubsub(&self) -> Arc<dyn PubsubService> {
        self.memory.pubsub()
    }
    fn queue(&self) -> Arc<dyn QueueService> {
        self.memory.queue()
    }
    fn secrets(&self) -> Arc<dyn SecretStore> {
        self.memory.secrets()
    }
    fn broadcast(&self) -> Arc<dyn Broadcast> {
        self.memory.broadcast()
    }
    fn outbox(&self) -> Arc<dyn Outbox> {
        self.outbox.clone()
    }
    fn executions(&self) -> Arc<dyn ExecutionStore> {
        self.memory.executions()
    }
    async fn transaction(&self) -> Result<Box<dyn Transaction>> {
        self.memory.transaction().await
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.memory.clock()
    }
    async fn ready(&self) -> Result<()> {
        self.memory.ready().await
    }
}

/// A host whose store loses so many answers, with an app.
async fn deaf(claims: usize, settlements: usize) -> (Picloud, App, Arc<DeafOutbox>) {
    let memory = MemoryBackend::new();
    let outbox = Arc::new(DeafOutbox {
        memory: memory.outbox(),
        claims: AtomicUsize::new(claims),
        settlements: AtomicUsize::new(settlements),
    });
    let cloud = Picloud::builder(Deaf { memory, outbox: outbox.clone() }).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    (cloud, app, outbox)
}

async fn within_seconds(what: &str, is_so: impl AsyncFn() -> bool) {
    let so = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), so).await.expect(what);
}

const COUNT: &str = "//! on kv orders\nkv::collection(\"seen\").increment(ctx.event.kv.key, 1); \
                     kv::collection(\"seen\").set(\"attempt\", ctx.event.attempt);";

#[tokio::test]
async fn an_event_whose_claim_was_not_answered_is_handled_nevertheless() {
    let (cloud, app, outbox) = deaf(2, 0).await;
    app.deploy(&bundle(&[("count", COUNT)])).await.unwrap();
    app.kv("orders").unwrap().set("42", &1).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), cloud.run_until_idle()).await.unwrap().unwrap();
    let seen = app.kv("seen").unwrap();
    assert_eq!(seen.get::<i64>("42").await.unwrap(), Some(1));
    assert_eq!(seen.get::<i64>("attempt").await.unwrap(), Some(1), "it had not begun");
    assert_eq!(outbox.claims.load(Ordering::Relaxed), 0);
    assert_eq!(outbox.waiting(app.id(), 10).await.unwrap(), []);
    cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_event_whose_settlement_was_not_answered_is_handled_once() {
    let (cloud, app, outbox) = deaf(0, 1).await;
    app.deploy(&bundle(&[("count", COUNT)])).await.unwrap();
    app.kv("orders").unwrap().set("42", &1).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), cloud.run_until_idle()).await.unwrap().unwrap();
    assert_eq!(app.kv("seen").unwrap().get::<i64>("42").await.unwrap(), Some(1));
    assert_eq!(outbox.settlements.load(Ordering::Relaxed), 0);
    cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn handlers_that_take_long_keep_no_others_waiting() {
    let mut config = PicloudConfig::default();
    config.dispatcher.max_in_flight = 8;
    let cloud = Picloud::builder(MemoryBackend::new()).config(config).start().await.unwrap();
    let (app, other) = (cloud.create_app("shop").await.unwrap(), cloud.create_app("other").await.unwrap());
    let slow =
        "//! on kv slow\n//! timeout 60\nkv::collection(\"slow-began\").increment(\"n\", 1); sleep(60.0);";
    app.deploy(&bundle(&[("slow", slow), ("note", NOTE)])).await.unwrap();
    other.deploy(&bundle(&[("note", NOTE)])).await.unwrap();
    for n in 0..40 {
        app.kv("slow").unwrap().set(&format!("{n}"), &n).await.unwrap();
    }
    let began = app.kv("slow-began").unwrap();
    within_seconds("slow handlers run", async || began.get::<i64>("n").await.unwrap() >= Some(5)).await;
    // Neither of the same app nor of another.
    for app in [&app, &other] {
        let seen = app.kv("seen").unwrap();
        for key in ["1", "2", "3"] {
            app.kv("orders").unwrap().set(key, &1).await.unwrap();
            within_seconds("it is handled", async || seen.get::<Value>(key).await.unwrap().is_some()).await;
        }
    }
    assert!(began.get::<i64>("n").await.unwrap() < Some(8), "the others did not wait for an end");
    cloud.shutdown(Duration::ZERO).await;
}
