//! What a host and a script see of documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use picloud_core::alloc::CountingAllocator;
use picloud_core::authz::{AppRole, Principal, PrincipalKind};
use picloud_core::docs::WriteOptions;
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud};
use picloud_memory::MemoryBackend;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

async fn app() -> (Picloud, App) {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    (cloud, app)
}

/// What a script answers.
async fn answer(app: &App, source: &str) -> Value {
    app.deploy(&Bundle::new().file("test", source).unwrap()).await.unwrap();
    app.script("test").unwrap().call(&json!({})).await.unwrap()
}

#[tokio::test]
async fn a_script_creates_finds_changes_and_removes_documents() {
    let (_cloud, app) = app().await;
    let told = answer(
        &app,
        r#"
        let things = docs::collection("things");
        let one = things.create(#{ name: "one", tags: ["a", "b"], n: 1 });
        let two = things.create(#{ name: "two", tags: ["b"], n: 2.5 });
        let patched = things.patch(one.id, #{ name: "ONE", "$inc": #{ n: 10 }, "$push": #{ tags: "c" } });
        let updated = things.update(two.id, #{ name: "TWO", tags: [], n: 3 }, #{ if_version: 1 });
        #{
            read: things.get(one.id).data,
            versions: [one.version, patched.version, updated.version],
            missing: things.get("00000000-0000-7000-8000-000000000000"),
            found: things.find(#{ tags: "c", n: #{ "$gte": 11 } }).map(|found| found.data.name),
            sorted: things.find(#{ "$sort": #{ n: -1 }, "$select": ["n"] }).map(|found| found.data),
            first: things.find_one(#{ "$sort": "name", "$limit": 5 }).data.name,
            none: things.find_one(#{ name: "three" }),
            all: things.find().len(),
            count: [things.count(), things.count(#{ n: 3 })],
            listed: things.list(#{ limit: 1 }).items.len(),
            deleted: [things.delete(one.id), things.delete(one.id)],
        }
        "#,
    )
    .await;
    let wanted = json!({
        "read": { "name": "ONE", "tags": ["a", "b", "c"], "n": 11 },
        "versions": [1, 2, 2],
        "missing": null,
        "found": ["ONE"],
        "sorted": [{ "n": 11 }, { "n": 3 }],
        "first": "ONE",
        "none": null,
        "all": 2,
        "count": [2, 1],
        "listed": 1,
        "deleted": [true, false],
    });
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn a_script_walks_through_pages() {
    let (_cloud, app) = app().await;
    let told = answer(
        &app,
        r#"
        let things = docs::collection("things");
        for n in 0..5 { things.create(#{ n: n }); }
        let seen = [];
        let query = #{ "$sort": #{ n: -1 }, "$limit": 2 };
        loop {
            let page = things.find_page(query);
            for found in page.items { seen.push(found.data.n); }
            if page.cursor == () { break; }
            query["$cursor"] = page.cursor;
        }
        seen
        "#,
    )
    .await;
    assert_eq!(told, json!([4, 3, 2, 1, 0]));
}

#[tokio::test]
async fn errors_have_codes_that_a_script_can_catch() {
    let (_cloud, app) = app().await;
    let told = answer(
        &app,
        r#"
        let things = docs::collection("things");
        let thing = things.create(#{ name: "x" });
        let codes = [];
        let missing = "00000000-0000-7000-8000-000000000000";
        try { things.update(missing, #{}); } catch (e) { codes.push(e.code); }
        try { things.update(thing.id, #{}, #{ if_version: 7 }); } catch (e) { codes.push(e.code); }
        try { things.create([1]); } catch (e) { codes.push(e.code); }
        try { things.create("x"); } catch (e) { codes.push(e.message); }
        try { things.get("x"); } catch (e) { codes.push(e.code); }
        try { things.patch(thing.id, #{ "$inc": #{ name: 1 } }); } catch (e) { codes.push(e.code); }
        try { things.find(#{ a: #{ "$regex": "x" } }); } catch (e) { codes.push(e.code); }
        try { things.find(#{ "$cursor": "x" }); } catch (e) { codes.push(e.code); }
        try { things.count(#{ "$limit": 1 }); } catch (e) { codes.push(e.code); }
        try { things.delete(thing.id, #{ version: 1 }); } catch (e) { codes.push(e.code); }
        try { docs::collection("a/b"); } catch (e) { codes.push(e.code); }
        codes
        "#,
    )
    .await;
    let wanted = json!([
        "docs.not_found",
        "docs.version_mismatch",
        "docs.not_an_object",
        "the data of a document is an object, not a string",
        "docs.invalid_id",
        "docs.not_a_number",
        "docs.invalid_query",
        "docs.invalid_cursor",
        "docs.invalid_query",
        "invalid_argument",
        "collection.invalid_name",
    ]);
    assert_eq!(told, wanted);
}

/// What a script may store it may also find, in an answer that nests deeper.
#[tokio::test]
async fn data_that_nests_as_deep_as_it_may_is_found() {
    let (_cloud, app) = app().await;
    let inside = format!("{}1{}", "[".repeat(63), "]".repeat(63));
    let deepest: Value = serde_json::from_str(&format!("{{\"a\":{inside}}}")).unwrap();
    app.docs("things").unwrap().create(&deepest).await.unwrap();
    let told = answer(
        &app,
        r#"
        let things = docs::collection("things");
        let found = things.find_page().items[0];
        things.create(found.data);
        things.find().len()
        "#,
    )
    .await;
    assert_eq!(told, json!(2));
}

#[tokio::test]
async fn a_handler_is_told_what_happened_to_a_document() {
    let (cloud, app) = app().await;
    let handler = r#"
        //! on docs orders:* update,delete
        docs::collection("seen").create(#{ kind: ctx.event.kind, what: ctx.event.docs });
    "#;
    app.deploy(&Bundle::new().file("handler", handler).unwrap()).await.unwrap();
    let orders = app.docs("orders:eu").unwrap();
    let order = orders.create(&json!({ "n": 1 })).await.unwrap();
    orders.patch(order.id, &json!({ "n": 2 }), &WriteOptions::default()).await.unwrap();
    app.docs("others").unwrap().create(&json!({})).await.unwrap();
    orders.delete(order.id, &WriteOptions::default()).await.unwrap();
    cloud.run_until_idle().await.unwrap();
    let seen = app.docs("seen").unwrap().find(&json!({ "$sort": "what.op" })).await.unwrap();
    let seen: Vec<Value> = seen.items.iter().map(|seen| seen.data.to_value().unwrap()).collect();
    let event = |op: &str, data: Value, prev: Value| {
        let what =
            json!({ "collection": "orders:eu", "id": order.id, "op": op, "data": data, "prev_data": prev });
        json!({ "kind": "docs", "what": what })
    };
    assert_eq!(
        seen,
        [
            event("delete", Value::Null, json!({ "n": 2 })),
            event("update", json!({ "n": 2 }), json!({ "n": 1 })),
        ]
    );
}

#[tokio::test]
async fn documents_and_values_commit_together() {
    let (_cloud, app) = app().await;
    let tx = app.transaction().await.unwrap();
    let order = tx.docs("orders").unwrap().create(&json!({ "n": 1 })).await.unwrap();
    tx.kv("latest").unwrap().set("order", &order.id).await.unwrap();
    assert_eq!(app.docs("orders").unwrap().get(order.id).await.unwrap(), None);
    tx.commit().await.unwrap();
    assert_eq!(app.docs("orders").unwrap().get(order.id).await.unwrap(), Some(order));
}

#[tokio::test]
async fn who_may_only_read_does_not_write() {
    let (_cloud, app) = app().await;
    let bundle = Bundle::new().file("read", "docs::collection(\"things\").find()").unwrap();
    let bundle = bundle.file("write", "docs::collection(\"things\").create(#{}).version").unwrap();
    app.deploy(&bundle).await.unwrap();
    let viewer = Principal::new(PrincipalKind::User, "v", "v").member(app.id(), AppRole::Viewer);
    for (name, may) in [("read", true), ("write", false)] {
        let script = app.script(name).unwrap();
        let mut invocation = script.invocation();
        invocation.principal = Some(Arc::new(viewer.clone()));
        assert_eq!(script.execute(invocation).await.result.is_ok(), may, "{name}");
    }
    assert_eq!(app.docs("things").unwrap().count(&json!({})).await.unwrap(), 0);
}
