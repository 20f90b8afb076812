//! `//! index`: what a deployment declares, on both backends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use picloud_core::alloc::CountingAllocator;
use picloud_core::docs::filter::Path;
use picloud_core::docs::{
    DocData, DocId, DocsIndex, DocsService, Document, Filter, MAX_INDEXES, Patch, Query, WriteOptions,
};
use picloud_core::page::Page;
use picloud_core::script::{Bundle, Change, DeployReport, MAX_BUNDLE_INDEXES};
use picloud_core::{App, CallCx, CollectionName, Error, ErrorKind, Picloud, Result, async_trait};
use picloud_memory::MemoryBackend;
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// Runs a test on memory, then on Postgres.
async fn on_both(test: impl AsyncFn(&App)) {
    let schema = SchemaName::new(picloud_test_postgres::unused_schema()).unwrap();
    let config = PostgresConfig::default().schema(schema);
    let postgres = PostgresBackend::connect_url(&picloud_test_postgres::url(), config).await.unwrap();
    postgres.migrate().await.unwrap();
    let memory = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    for cloud in [memory, Picloud::builder(postgres).start().await.unwrap()] {
        test(&cloud.create_app("shop").await.unwrap()).await;
        cloud.shutdown(std::time::Duration::from_secs(5)).await;
    }
}

fn bundle(files: &[(&str, &str)]) -> Bundle {
    files.iter().fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source).unwrap())
}

async fn declared(app: &App, collection: &str) -> Vec<String> {
    let indexes = app.docs(collection).unwrap().indexes().await.unwrap();
    indexes.into_iter().map(|index| index.path.to_string()).collect()
}

/// What a report says of indexes.
fn told(report: &DeployReport) -> Vec<(String, Change)> {
    let told = |index: &picloud_core::script::DeployedIndex| format!("{} {}", index.collection, index.path);
    report.indexes.iter().map(|index| (told(index), index.change)).collect()
}

/// Lines that name indexes of a collection.
fn lines(collection: &str, fields: impl IntoIterator<Item = usize>) -> String {
    fields.into_iter().map(|n| format!("//! index {collection} f{n}\n")).collect()
}

#[tokio::test]
async fn what_scripts_and_modules_name_is_declared_once() {
    on_both(async |app| {
        let all = bundle(&[
            ("list", "//! route GET /list\n//! index orders total\n//! index orders customer.name\n1"),
            ("other", "//! route GET /other\n//! index orders total\n//! index people \"first name\"\n1"),
            ("people", "//! module\n//! index people age\nfn all() { }"),
        ]);
        let report = app.deploy(&all).await.unwrap();
        let names = ["orders total", "orders customer.name", "people first name", "people age"];
        assert_eq!(told(&report), names.map(|name| (name.to_owned(), Change::Added)));
        assert!(report.to_string().contains("\n  + index orders customer.name\n"), "{report}");
        assert_eq!(declared(app, "orders").await, ["customer.name", "total"]);
        assert_eq!(declared(app, "people").await, ["age", "first name"]);

        let again = app.deploy(&all).await.unwrap();
        assert_eq!(told(&again), names.map(|name| (name.to_owned(), Change::Kept)));
        assert!(!again.changed(), "{again}");

        // What the host dropped is missing again; that alone is a change, and no new revision.
        assert!(app.docs("orders").unwrap().drop_index("total").await.unwrap());
        let mended = app.deploy(&all).await.unwrap();
        assert_eq!(told(&mended)[0], ("orders total".to_owned(), Change::Added));
        assert!(mended.changed() && mended.revision == again.revision, "{mended}");
        assert_eq!(declared(app, "orders").await, ["customer.name", "total"]);
    })
    .await;
}

#[tokio::test]
async fn no_index_is_dropped_with_its_line() {
    on_both(async |app| {
        app.deploy(&bundle(&[("a", "//! route GET /a\n//! index orders total\n1")])).await.unwrap();
        let without = app.deploy(&bundle(&[("a", "//! route GET /a\n1")])).await.unwrap();
        assert_eq!(told(&without), []);
        app.deploy(&bundle(&[])).await.unwrap();
        assert_eq!(declared(app, "orders").await, ["total"]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_deployment_declares_nothing() {
    on_both(async |app| {
        let index = "//! index orders total\n";
        for wrong in ["let x = ;", "//! route GET /x/:a\n//! route GET /x/:b\n1", "//! index orders a..b\n1"]
        {
            app.deploy(&bundle(&[("a", &format!("{index}{wrong}"))])).await.unwrap_err();
        }
        assert_eq!(declared(app, "orders").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn more_than_a_collection_may_have_are_mistakes_of_the_bundle() {
    on_both(async |app| {
        let one = lines("orders", 0..5);
        let two = lines("orders", 3..10) + lines("people", 0..MAX_INDEXES).as_str();
        let error = app.deploy(&bundle(&[("one", &one), ("two", &two)])).await.unwrap_err();
        let problems: Vec<_> =
            error.problems().iter().map(|p| (p.file.as_str(), p.position, &*p.code)).collect();
        let at = |line| Some(picloud_core::execution::Position { line, column: 18 });
        // The two above eight; those that both name count once.
        let code = "docs.too_many_indexes";
        assert_eq!(problems, [("two.rhai", at(6), code), ("two.rhai", at(7), code)]);
        assert_eq!(declared(app, "orders").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_bundle_names_so_many_and_no_more() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let source: String =
        (0..MAX_BUNDLE_INDEXES / MAX_INDEXES).map(|n| lines(&format!("c{n}"), 0..MAX_INDEXES)).collect();
    assert_eq!(app.deploy(&bundle(&[("a", &source)])).await.unwrap().indexes.len(), MAX_BUNDLE_INDEXES);
    let error = app.deploy(&bundle(&[("a", &source), ("b", &lines("more", 0..1))])).await.unwrap_err();
    assert_eq!(error.problems()[0].code, "docs.too_many_indexes");
    assert_eq!(declared(&app, "more").await, [""; 0]);
}

#[tokio::test]
async fn a_collection_that_is_full_is_a_warning_and_the_deployment_stands() {
    on_both(async |app| {
        let orders = app.docs("orders").unwrap();
        for n in 0..MAX_INDEXES - 1 {
            orders.declare_index(&format!("mine{n}")).await.unwrap();
        }
        let source = "//! route GET /a\n//! index orders a\n//! index orders b\n//! index orders mine0\n//! index people c\n1";
        let report = app.deploy(&bundle(&[("a", source)])).await.unwrap();
        let kept = ("orders mine0".to_owned(), Change::Kept);
        let added = |name: &str| (name.to_owned(), Change::Added);
        assert_eq!(told(&report), [added("orders a"), kept, added("people c")]);
        assert_eq!(report.warnings.len(), 1, "{report}");
        let warning = &report.warnings[0];
        assert!(warning.starts_with("a.rhai:3:18: the index \"b\" of orders was not declared"), "{warning}");
        assert!(warning.contains("\"mine6\", \"a\""), "{warning}");
        assert!(app.script("a").is_ok());

        orders.drop_index("mine1").await.unwrap();
        let mended = app.deploy(&bundle(&[("a", source)])).await.unwrap();
        assert_eq!((told(&mended)[1].clone(), mended.warnings.len()), (added("orders b"), 0));
    })
    .await;
}

/// A backend that cannot declare indexes just now.
#[derive(Debug)]
struct Broken {
    inner: Arc<dyn DocsService>,
    lists: bool,
}

fn broken<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unavailable, "backend.unavailable", "the database is away"))
}

#[async_trait]
impl DocsService for Broken {
    async fn create(&self, _: &CallCx, _: &CollectionName, _: &DocData) -> Result<Document> {
        broken()
    }

    async fn get(&self, _: &CallCx, _: &CollectionName, _: DocId) -> Result<Option<Document>> {
        broken()
    }

    async fn update(
        &self,
        _: &CallCx,
        _: &CollectionName,
        _: DocId,
        _: &DocData,
        _: &WriteOptions,
    ) -> Result<Document> {
        broken()
    }

    async fn patch(
        &self,
        _: &CallCx,
        _: &CollectionName,
        _: DocId,
        _: &Patch,
        _: &WriteOptions,
    ) -> Result<Document> {
        broken()
    }

    async fn delete(&self, _: &CallCx, _: &CollectionName, _: DocId, _: &WriteOptions) -> Result<bool> {
        broken()
    }

    async fn find(&self, _: &CallCx, _: &CollectionName, _: &Query) -> Result<Page<Document>> {
        broken()
    }

    async fn count(&self, _: &CallCx, _: &CollectionName, _: &Filter) -> Result<u64> {
        broken()
    }

    async fn declare_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<()> {
        if path.to_string() == "fine" {
            self.inner.declare_index(cx, collection, path).await
        } else {
            broken()
        }
    }

    async fn drop_index(&self, _: &CallCx, _: &CollectionName, _: &Path) -> Result<bool> {
        broken()
    }

    async fn indexes(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<DocsIndex>> {
        if self.lists { self.inner.indexes(cx, collection).await } else { broken() }
    }
}

#[tokio::test]
async fn a_backend_that_fails_is_one_warning_and_the_deployment_stands() {
    for lists in [true, false] {
        let replace = move |mut services: picloud_core::Services| {
            services.docs = Arc::new(Broken { inner: services.docs.clone(), lists });
            services
        };
        let cloud = Picloud::builder(MemoryBackend::new()).services(replace).start().await.unwrap();
        let app = cloud.create_app("shop").await.unwrap();
        let source = "//! route GET /a\n//! index a fine\n//! index b first\n//! index b second\n\"live\"";
        let report = app.deploy(&bundle(&[("a", source)])).await.unwrap();
        assert_eq!(report.warnings.len(), 1, "{report}");
        let place =
            if lists { "a.rhai:3:13: the index \"first\"" } else { "a.rhai:2:13: the index \"fine\"" };
        assert!(report.warnings[0].starts_with(place) && report.warnings[0].contains("away"), "{report}");
        assert_eq!(report.indexes.len(), usize::from(lists));
        let answer: String = app.script("a").unwrap().call(&json!({})).await.unwrap();
        assert_eq!(answer, "live");
    }
}
