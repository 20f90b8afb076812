//! Memory and Postgres answer every query alike: random documents, random queries.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use picloud_core::docs::filter::Path;
use picloud_core::docs::{DocData, DocId, DocsService, Filter, MAX_INDEXES, Query};
use picloud_core::{AppId, Backend, CallCx, CollectionName, Json};
use picloud_memory::MemoryBackend;
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// Documents and queries of one round, and rounds: more than 10 000 pairs.
const DOCUMENTS: usize = 24;
const QUERIES: usize = 16;
const ROUNDS: u32 = 30;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(vec![json!(null), json!(true), json!(false), json!(0), json!(1), json!(2), json!(-1)]),
        2 => prop::sample::select(vec![
            json!(1.0), json!(1.5), json!(-0.0), json!(2.0), json!(1e300), json!(5e-324), json!(-1e-7), json!(1e16),
            json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0), json!(4_611_686_018_427_387_904_i64),
            json!(4.611_686_018_427_388e18), json!(i64::MAX), json!(i64::MIN), json!(9.223_372_036_854_775e18),
            json!(-9_223_372_036_854_775_808.0),
        ]),
        3 => prop::sample::select(vec![
            json!(""), json!("a"), json!("ab"), json!("b"), json!("B"), json!("10"), json!("9"), json!("ä"), json!("\u{ffee}"),
            json!("🦀"), json!("a\"b\\c"), json!("%_.*'"), json!("a\nb\u{1}"), json!("null"),
        ]),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        1 => ".{0,4}".prop_map(|text| json!(text.replace('\0', ""))),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "k \"'\\é"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(key(), inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

fn data() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(key(), value(), 0..4).prop_map(|map| json!(map))
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(key(), 1..4).prop_map(|keys| keys.join("."))
}

fn operators() -> impl Strategy<Value = Value> {
    let range = || {
        let operand = scalar().prop_filter("comparable", |value| !value.is_null());
        (prop::sample::select(vec!["$gt", "$gte", "$lt", "$lte"]), operand)
            .prop_map(|(operator, operand)| json!({ operator: operand }))
    };
    let equal = (prop::sample::select(vec!["$eq", "$ne", "$contains"]), value())
        .prop_map(|(operator, operand)| json!({ operator: operand }));
    let list = (prop::sample::select(vec!["$in", "$nin"]), prop::collection::vec(value(), 0..4))
        .prop_map(|(operator, operand)| json!({ operator: operand }));
    let text = (
        prop::sample::select(vec!["$contains", "$starts_with"]),
        prop::sample::select(vec!["", "a", "b", "%", "\"b"]),
    )
        .prop_map(|(operator, operand)| json!({ operator: operand }));
    let simple = prop_oneof![
        3 => range(),
        3 => equal,
        2 => list,
        2 => text,
        1 => any::<bool>().prop_map(|wanted| json!({ "$exists": wanted })),
        1 => (range(), range()).prop_map(|(one, two)| {
            let mut both = one.as_object().unwrap().clone();
            both.extend(two.as_object().unwrap().clone());
            Value::Object(both)
        }),
    ];
    simple.prop_recursive(2, 3, 1, |inner| inner.prop_map(|operators| json!({ "$not": operators })))
}

fn filter() -> impl Strategy<Value = Value> {
    // An empty object would be equality with one, too.
    let condition = prop_oneof![2 => operators(), 2 => value()];
    let leaf = prop::collection::btree_map(path(), condition, 1..3).prop_map(|map| json!(map));
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "$and": all })),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|any| json!({ "$or": any })),
            inner.prop_map(|not| json!({ "$not": not })),
        ]
    })
}

fn sort() -> impl Strategy<Value = Value> {
    let part =
        (path(), prop::sample::select(vec![1, -1])).prop_map(|(path, direction)| json!({ path: direction }));
    prop::collection::vec(part, 0..4).prop_map(Value::Array)
}

/// A filter, and what to sort by: one path in the way that an index serves, often.
fn filter_and_sort() -> impl Strategy<Value = (Value, Value)> {
    let direction = prop::sample::select(vec![1, -1]);
    let by_one = (prop_oneof![3 => key(), 1 => path()], operators(), filter(), 0..4, direction).prop_map(
        |(path, operators, filter, how, direction)| {
            let filter = match how {
                0 => json!({}),
                1 => filter,
                _ => json!({ path.clone(): operators }),
            };
            (filter, json!([{ path: direction }]))
        },
    );
    prop_oneof![1 => (filter(), sort()), 1 => by_one]
}

/// The paths that queries sort by alone, as many as there may be indexes.
fn sorted_by_alone(queries: &[((Value, Value), usize)]) -> BTreeSet<Path> {
    let sorts = queries.iter().filter_map(|((_, sort), _)| match sort.as_array()?.as_slice() {
        [only] => Path::parse(only.as_object()?.keys().next()?).ok(),
        _ => None,
    });
    sorts.collect::<BTreeSet<_>>().into_iter().take(MAX_INDEXES).collect()
}

/// A collection of one backend, whose documents are known by the number in which they came.
struct Collection {
    docs: Arc<dyn DocsService>,
    cx: CallCx,
    name: CollectionName,
    ids: Vec<DocId>,
}

impl Collection {
    async fn fill(backend: &dyn Backend, all: &[Value]) -> Self {
        let (docs, cx) = (backend.docs(), CallCx::new(AppId::new()));
        let name = CollectionName::new("things").unwrap();
        let mut ids = Vec::new();
        for data in all {
            let data = DocData::new(Json::from_value(data).unwrap()).unwrap();
            ids.push(docs.create(&cx, &name, &data).await.unwrap().id);
        }
        Collection { docs, cx, name, ids }
    }

    /// The same with an index on every path that queries sort by alone.
    async fn indexed(backend: &dyn Backend, all: &[Value], paths: BTreeSet<Path>) -> Self {
        let (before, after) = all.split_at(all.len() / 2);
        let mut collection = Collection::fill(backend, before).await;
        let Collection { docs, cx, name, ids } = &mut collection;
        for path in paths {
            docs.declare_index(cx, name, &path).await.unwrap();
        }
        while !docs.indexes(cx, name).await.unwrap().iter().all(|index| index.is_complete) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for data in after {
            let data = DocData::new(Json::from_value(data).unwrap()).unwrap();
            ids.push(docs.create(cx, name, &data).await.unwrap().id);
        }
        collection
    }

    /// The numbers of the documents that a query finds, page by page, and how many match.
    async fn answer(&self, query: &Query, filter: &Filter) -> (Vec<Vec<usize>>, u64) {
        let (mut pages, mut next) = (Vec::new(), Some(query.clone()));
        while let Some(query_now) = next.take() {
            let page = self.docs.find(&self.cx, &self.name, &query_now).await.unwrap();
            let number = |id| self.ids.iter().position(|known| *known == id).unwrap();
            pages.push(page.items.iter().map(|document| number(document.id)).collect());
            next = page.cursor.map(|cursor| query.clone().with_cursor(cursor));
        }
        (pages, self.docs.count(&self.cx, &self.name, filter).await.unwrap())
    }
}

#[test]
fn memory_and_postgres_answer_every_query_alike() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let postgres = runtime.block_on(async {
        let schema = SchemaName::new(picloud_test_postgres::unused_schema()).unwrap();
        let config = PostgresConfig::default().schema(schema);
        let backend = PostgresBackend::connect_url(&picloud_test_postgres::url(), config).await.unwrap();
        backend.migrate().await.unwrap();
        backend
    });
    let memory = MemoryBackend::new();
    let round = (
        prop::collection::vec(data(), DOCUMENTS),
        prop::collection::vec((filter_and_sort(), 1..DOCUMENTS), QUERIES),
    );
    let config =
        Config { cases: ROUNDS, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let pairs = std::cell::Cell::new((0, 0));
    let outcome = TestRunner::new(config).run(&round, |(documents, queries)| {
        runtime.block_on(async {
            let one = Collection::fill(&memory, &documents).await;
            let two = Collection::fill(&postgres, &documents).await;
            // Half of the documents were there before, half came when the indexes were complete.
            let three = Collection::indexed(&postgres, &documents, sorted_by_alone(&queries)).await;
            for ((filter, sort), limit) in queries {
                let mut query = filter.clone();
                query["$sort"] = sort;
                query["$limit"] = json!(limit);
                let parsed = Query::parse(&Json::from_value(&query).unwrap()).unwrap();
                let filter = Filter::parse(&Json::from_value(&filter).unwrap()).unwrap();
                let (by_memory, by_postgres) =
                    (one.answer(&parsed, &filter).await, two.answer(&parsed, &filter).await);
                let (compared, found) = pairs.get();
                pairs.set((compared + documents.len(), found + usize::try_from(by_memory.1).unwrap()));
                let by_indexes = three.answer(&parsed, &filter).await;
                prop_assert_eq!(&by_memory, &by_indexes, "with indexes: {} of {}", query, json!(documents));
                prop_assert_eq!(by_memory, by_postgres, "{} of {}", query, json!(documents));
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (compared, found) = pairs.get();
    assert!(compared > 10_000, "{compared} pairs");
    // Queries that find nothing, or everything, would prove little.
    assert!(found * 10 > compared && found * 10 < compared * 9, "{found} of {compared} match");
    runtime.block_on(postgres.close());
}
