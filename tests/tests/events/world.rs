//! The world of a test: a cloud on a clock that it moves, with two apps.

use super::*;

pub(crate) struct World {
    pub(crate) backend: MemoryBackend,
    pub(crate) clock: TestClock,
    pub(crate) cloud: Picloud,
    /// The two of every test: what one does the other must not notice.
    pub(crate) app: App,
    pub(crate) other: App,
}

/// The newest dead letters.
pub(crate) async fn letters_of(app: &App) -> Vec<DeadLetter> {
    app.dead_letters(&DeadLetterListOptions::default()).await.unwrap().items
}

impl World {
    pub(crate) async fn new() -> Self {
        World::with(PicloudConfig::default(), None).await
    }

    pub(crate) async fn with(config: PicloudConfig, people: Option<People>) -> Self {
        let (backend, clock) = MemoryBackend::with_test_clock();
        let mut builder = Picloud::builder(backend.clone()).config(config);
        if let Some(people) = people {
            builder = builder.principals(people);
        }
        let cloud = builder.start().await.unwrap();
        let app = cloud.create_app("shop").await.unwrap();
        let other = cloud.create_app("other").await.unwrap();
        World { backend, clock, cloud, app, other }
    }

    pub(crate) async fn deploy(&self, files: &[(&str, &str)]) {
        self.app.deploy(&bundle(files)).await.unwrap();
    }

    pub(crate) async fn settle(&self) {
        self.cloud.run_until_idle().await.unwrap();
    }

    pub(crate) async fn after(&self, duration: Duration) {
        self.clock.advance(duration);
        self.settle().await;
    }

    /// The records of the app, by attempt: threads hand theirs over in no order.
    pub(crate) async fn records(&self) -> Vec<ExecutionRecord> {
        self.cloud.execution_log().flush().await;
        let mut records = self.backend.execution_records(self.app.id());
        records.sort_by_key(|record| record.attempt);
        records
    }

    pub(crate) async fn statuses(&self) -> Vec<ExecutionStatus> {
        self.records().await.iter().map(|record| record.status).collect()
    }

    pub(crate) async fn seen(&self, key: &str) -> Option<Value> {
        self.app.kv("seen").unwrap().get(key).await.unwrap()
    }
}

pub(crate) fn bundle(files: &[(&str, &str)]) -> Bundle {
    files.iter().try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source)).unwrap()
}

/// Writes what it was told under the name of the key.
pub(crate) const NOTE: &str =
    "//! on kv orders\nkv::collection(\"seen\").set(ctx.event.kv.key, ctx.event.kv);";

/// A host's people, whose roles change.
#[derive(Debug, Clone, Default)]
pub(crate) struct People(Arc<Mutex<BTreeMap<String, Result<Principal>>>>);

impl People {
    pub(crate) fn put(&self, id: &str, principal: Result<Principal>) {
        self.0.lock().unwrap().insert(id.to_owned(), principal);
    }
}

#[async_trait]
impl PrincipalResolver for People {
    async fn resolve(&self, _headers: &http::HeaderMap) -> Result<Option<Principal>> {
        Ok(None)
    }

    async fn by_id(&self, id: &str) -> Result<Option<Principal>> {
        self.0.lock().unwrap().get(id).cloned().transpose()
    }
}
