//! What a host and a script see of files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use picloud_core::alloc::CountingAllocator;
use picloud_core::authz::{AppRole, Principal, PrincipalKind};
use picloud_core::execution::{HttpRequest, HttpResponse};
use picloud_core::files::{
    BlobId, BlobStore, ByteSource, FileChange, FilesystemBlobs, MemoryBlobs, Upload, sweep,
};
use picloud_core::script::Bundle;
use picloud_core::{App, Backend, Picloud, PicloudConfig};
use picloud_memory::MemoryBackend;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

async fn app() -> (Picloud, App) {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    (cloud, app)
}

async fn deploy(app: &App, source: &str) {
    app.deploy(&Bundle::new().file("test", source).unwrap()).await.unwrap();
}

/// What a script answers.
async fn answer(app: &App, source: &str) -> Value {
    deploy(app, source).await;
    app.script("test").unwrap().call(&json!({})).await.unwrap()
}

fn text(name: &str) -> Upload {
    Upload::new(name, "text/plain").unwrap()
}

#[tokio::test]
async fn a_script_creates_reads_changes_and_removes_files() {
    let (_cloud, app) = app().await;
    let told = answer(
        &app,
        r#"
        let things = files::collection("things");
        let one = things.create(#{ name: "one", content_type: "text/plain", data: "hello", metadata: #{ n: 1.0 } });
        let two = things.create(#{ name: "two", content_type: "a/b", data: blob(3, 7) });
        let updated = things.update(one.id, #{ name: "ONE", data: "hello!" });
        let typed = things.update(two.id, #{ content_type: "c/d" });
        #{
            keys: one.keys(),
            one: [one.name, one.content_type, one.size, one.sha256, one.metadata],
            updated: [updated.name, updated.size, updated.metadata, updated.created_at == one.created_at],
            typed: [typed.name, typed.content_type, typed.sha256 == two.sha256],
            text: things.get(one.id).as_string(),
            bytes: things.get(two.id) == blob(3, 7),
            head: things.head(one.id).size,
            missing: [things.get(crypto::uuid()), things.head(crypto::uuid()), things.delete(crypto::uuid())],
            listed: things.list().items.map(|file| file.name),
            page: things.list(#{ limit: 1 }).cursor != (),
            deleted: [things.delete(one.id), things.delete(one.id), things.get(one.id)],
        }
        "#,
    )
    .await;
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let keys = ["content_type", "created_at", "id", "metadata", "name", "sha256", "size", "updated_at"];
    let wanted = json!({
        "keys": keys,
        "one": ["one", "text/plain", 5, hello, { "n": 1.0 }],
        "updated": ["ONE", 6, { "n": 1.0 }, true],
        "typed": ["two", "c/d", true],
        "text": "hello!",
        "bytes": true,
        "head": 6,
        "missing": [null, null, false],
        "listed": ["ONE", "two"],
        "page": true,
        "deleted": [true, false, null],
    });
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn errors_have_codes_and_name_the_field() {
    let (_cloud, app) = app().await;
    let told = answer(
        &app,
        r#"
        let things = files::collection("things");
        let whole = #{ name: "x", content_type: "a/b", data: "" };
        fn without(map, key) { map.remove(key); map }
        fn changed(map, key, value) { map[key] = value; map }
        let errors = [];
        for key in ["name", "content_type", "data"] {
            try { things.create(without(whole, key)); } catch (e) { errors.push(e.message); }
        }
        let wrong = [
            changed(whole, "name", "a\nb"), changed(whole, "name", 7), changed(whole, "content_type", "text"),
            changed(whole, "content_type", "a/b\r\nset-cookie: x=y"), changed(whole, "data", 7),
            changed(whole, "metadata", [1]), changed(whole, "metadata", #{ a: blob(20000, 7) }), changed(whole, "mode", 7),
        ];
        for file in wrong {
            try { things.create(file); errors.push("stored"); } catch (e) { errors.push(e.code); }
        }
        try { things.create("x"); } catch (e) { errors.push(e.code); }
        try { things.update(crypto::uuid(), #{ data: "x" }); } catch (e) { errors.push(e.code); }
        try { things.get("x"); } catch (e) { errors.push(e.code); }
        try { things.list(#{ cursor: "x" }); } catch (e) { errors.push(e.code); }
        try { files::collection("a/b"); } catch (e) { errors.push(e.code); }
        errors.push(things.list().items.len());
        errors
        "#,
    )
    .await;
    let wanted = json!([
        "a new file needs the field name",
        "a new file needs the field content_type",
        "a new file needs the field data",
        "files.invalid_name",
        "invalid_argument",
        "files.invalid_content_type",
        "files.invalid_content_type",
        "invalid_argument",
        "files.invalid_metadata",
        "files.metadata_too_large",
        "files.unknown_field",
        "invalid_argument",
        "files.not_found",
        "files.invalid_id",
        "files.invalid_cursor",
        "collection.invalid_name",
        0,
    ]);
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn a_file_may_be_as_large_as_the_limit_and_no_larger() {
    let mut config = PicloudConfig::default();
    config.files.max_file_bytes = 1_000_000;
    let cloud = Picloud::builder(MemoryBackend::new()).config(config).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let told = answer(
        &app,
        r#"
        let things = files::collection("things");
        let file = things.create(#{ name: "x", content_type: "a/b", data: blob(1000000, 7) });
        let told = [things.get(file.id).len()];
        try { things.create(#{ name: "x", content_type: "a/b", data: blob(1000001, 7) }); } catch (e) { told.push(e.code); }
        try { things.update(file.id, #{ data: blob(1000001, 7) }); } catch (e) { told.push(e.code); }
        told
        "#,
    )
    .await;
    assert_eq!(told, json!([1_000_000, "files.too_large", "files.too_large"]));
}

async fn get(app: &App, path: &str, headers: &[(&'static str, &str)]) -> HttpResponse {
    let mut request = HttpRequest::new(Method::GET, path);
    for (name, value) in headers {
        request.headers.insert(*name, value.parse().unwrap());
    }
    app.request(request).await.unwrap()
}

const SERVE: &str = r#"
    //! route GET /files/:id
    //! route POST /files/:id
    let answer = files::collection("things").serve(ctx.request.params.id, #{ inline: "inline" in ctx.request.query })
        ?? #{ statusCode: 404 };
    if answer.statusCode == 200 { answer.headers["cache-control"] = "no-cache"; }
    answer
"#;

#[tokio::test]
async fn a_script_answers_with_a_file_and_its_parts() {
    let (_cloud, app) = app().await;
    deploy(&app, SERVE).await;
    let file = app.files("things").unwrap().create(&text("a.txt"), "0123456789").await.unwrap();
    let path = &format!("/files/{}", file.id);

    let whole = get(&app, path, &[]).await;
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, &b"0123456789"[..]));
    let header =
        |name| whole.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    assert_eq!(header("content-type"), "text/plain");
    assert_eq!(header("content-length"), "10");
    assert_eq!(header("content-disposition"), "attachment; filename=\"a.txt\"");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-cache");
    let etag = header("etag");
    assert_eq!(etag, format!("\"{}\"", file.sha256));

    let part = get(&app, path, &[("range", "bytes=3-5"), ("if-range", &etag)]).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &b"345"[..]));
    assert_eq!(part.headers.get("content-range").unwrap(), "bytes 3-5/10");
    let none = get(&app, path, &[("range", "bytes=10-")]).await;
    assert_eq!((none.status.as_u16(), none.body.len()), (416, 0));
    let known = get(&app, path, &[("if-none-match", &etag)]).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    let other = get(&app, path, &[("if-match", "\"x\"")]).await;
    assert_eq!(other.status.as_u16(), 412);

    let inline = get(&app, &format!("/files/{}", picloud_core::files::FileId::new()), &[]).await;
    assert_eq!(inline.status, StatusCode::NOT_FOUND);
    let mut request = HttpRequest::new(Method::GET, path);
    request.query = Some("inline".into());
    let inline = app.request(request).await.unwrap();
    assert_eq!(inline.headers.get("content-disposition").unwrap(), "inline; filename=\"a.txt\"");
}

#[tokio::test]
async fn a_response_has_a_body_or_a_file_and_only_one_that_was_served() {
    let (_cloud, app) = app().await;
    for wrong in [
        r#"#{ statusCode: 200, file: "x" }"#,
        r#"let f = files::collection("a"); let n = f.create(#{ name: "n", content_type: "a/b", data: "" }); let a = f.serve(n.id); a.body = 1; a"#,
    ] {
        deploy(&app, &format!("//! route GET /x\n{wrong}")).await;
        let failed = app.request(HttpRequest::new(Method::GET, "/x")).await.unwrap_err();
        assert_eq!(failed.code(), "script.failed");
    }
}

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Folder(std::env::temp_dir().join(format!("picloud-files-{}", BlobId::new())))
    }

    /// The one file in it.
    fn only_file(&self) -> PathBuf {
        let shards = std::fs::read_dir(&self.0).unwrap();
        let mut files: Vec<_> = shards
            .flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn on_disk(folder: &Folder, backend: MemoryBackend) -> Picloud {
    let mut config = PicloudConfig::default();
    config.files.root = Some(folder.0.clone());
    Picloud::builder(backend).config(config).start().await.unwrap()
}

async fn collect(mut source: Box<dyn ByteSource>) -> Result<Vec<u8>, (usize, String)> {
    let mut bytes = Vec::new();
    loop {
        match source.next().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err((bytes.len(), error.code().to_owned())),
        }
    }
}

#[tokio::test]
async fn files_outlive_the_process() {
    let (folder, backend) = (Folder::new(), MemoryBackend::new());
    let cloud = on_disk(&folder, backend.clone()).await;
    let app = cloud.create_app("shop").await.unwrap();
    let things = app.files("things").unwrap();
    let id = things.create(&text("a"), "first").await.unwrap().id;
    things.replace(id, FileChange::default(), &mut Bytes::from_static(b"second")).await.unwrap();
    cloud.shutdown(Duration::from_secs(5)).await;

    let cloud = on_disk(&folder, backend).await;
    let things = cloud.app(app.id()).files("things").unwrap();
    assert_eq!(things.get(id).await.unwrap().unwrap(), "second");
    // What was replaced is gone.
    folder.only_file();
    assert!(things.delete(id).await.unwrap());
    assert_eq!(things.get(id).await.unwrap(), None);
}

#[tokio::test]
async fn wrong_bytes_are_never_answered_as_a_whole() {
    let folder = Folder::new();
    let cloud = on_disk(&folder, MemoryBackend::new()).await;
    let app = cloud.create_app("shop").await.unwrap();
    deploy(&app, SERVE).await;
    let things = app.files("things").unwrap();
    let right: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let id = things.create(&text("a"), right.clone()).await.unwrap().id;
    let path = folder.only_file();
    let mut flipped = right.clone();
    flipped[199_999] ^= 1;
    let longer = [&right[..], b"x"].concat();
    for wrong in [&flipped, &right[..199_999].to_vec(), &longer, &Vec::new()] {
        std::fs::write(&path, wrong).unwrap();
        assert_eq!(things.get(id).await.unwrap_err().code(), "files.corrupted");
        let (_, source) = things.open(id).await.unwrap().unwrap();
        let (sent, code) = collect(source).await.unwrap_err();
        assert_eq!(code, "files.corrupted");
        assert!(sent < 200_000);
        // A part of it may be right, but nobody could tell.
        let mut request = HttpRequest::new(Method::GET, format!("/files/{id}"));
        request.headers.insert("range", "bytes=0-9".parse().unwrap());
        assert_eq!(app.request(request).await.unwrap_err().code(), "files.corrupted");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(things.get(id).await.unwrap_err().code(), "files.corrupted");
    std::fs::write(&path, &right).unwrap();
    assert_eq!(things.get(id).await.unwrap().unwrap(), right);
    let (_, source) = things.open(id).await.unwrap().unwrap();
    assert_eq!(collect(source).await.unwrap(), right);
}

#[tokio::test]
async fn who_reads_while_others_write_gets_one_or_the_other() {
    let folder = Folder::new();
    let cloud = on_disk(&folder, MemoryBackend::new()).await;
    let things = cloud.create_app("shop").await.unwrap().files("things").unwrap();
    let content = |n: u8| Bytes::from(vec![n; 150_000]);
    let id = things.create(&text("a"), content(0)).await.unwrap().id;
    let writer = tokio::spawn({
        let things = things.clone();
        async move {
            for n in 1..40 {
                things.replace(id, FileChange::default(), &mut content(n)).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let whole = things.get(id).await.unwrap().unwrap();
        assert!(whole.len() == 150_000 && whole.iter().all(|n| *n == whole[0]));
        let (_, source) = things.open(id).await.unwrap().unwrap();
        let streamed = collect(source).await.unwrap();
        assert!(streamed.len() == 150_000 && streamed.iter().all(|n| *n == streamed[0]));
    }
    writer.await.unwrap();
    assert_eq!(things.get(id).await.unwrap().unwrap(), content(39));
    folder.only_file();
}

#[tokio::test]
async fn a_script_handles_what_happens_to_files() {
    let (cloud, app) = app().await;
    let source = r#"
        //! on files letters:* create,delete
        docs::collection("seen").create(#{ kind: ctx.event.kind, what: ctx.event.files });
    "#;
    deploy(&app, source).await;
    let letters = app.files("letters:eu").unwrap();
    let file = letters.create(&text("a"), "hello").await.unwrap();
    letters.update(file.id, FileChange::default()).await.unwrap();
    letters.delete(file.id).await.unwrap();
    app.files("others").unwrap().create(&text("a"), "x").await.unwrap();
    cloud.run_until_idle().await.unwrap();
    let seen = app.docs("seen").unwrap().find(&json!({ "$sort": "what.op" })).await.unwrap();
    let seen: Vec<Value> = seen.items.iter().map(|found| found.data.to_value().unwrap()).collect();
    assert_eq!(seen.len(), 2);
    let told =
        json!({ "collection": "letters:eu", "id": file.id, "op": "create", "file": file, "prev_file": null });
    assert_eq!(seen[0], json!({ "kind": "files", "what": told }));
    assert_eq!(seen[1]["what"]["prev_file"]["sha256"], json!(file.sha256));
    assert_eq!(seen[1]["what"]["file"], Value::Null);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_files_as_they_were() {
    let (folder, backend) = (Folder::new(), MemoryBackend::new());
    let cloud = on_disk(&folder, backend.clone()).await;
    let app = cloud.create_app("shop").await.unwrap();
    let things = app.files("things").unwrap();
    let id = things.create(&text("a"), "before").await.unwrap().id;

    let tx = app.transaction().await.unwrap();
    let inside = tx.files("things").unwrap();
    inside.replace(id, FileChange::default(), &mut Bytes::from_static(b"after")).await.unwrap();
    assert_eq!(inside.get(id).await.unwrap().unwrap(), "after");
    inside.delete(id).await.unwrap();
    drop(tx);
    assert_eq!(things.get(id).await.unwrap().unwrap(), "before");

    let tx = app.transaction().await.unwrap();
    let inside = tx.files("things").unwrap();
    inside.replace(id, FileChange::default(), &mut Bytes::from_static(b"after")).await.unwrap();
    assert_eq!(things.get(id).await.unwrap().unwrap(), "before");
    tx.commit().await.unwrap();
    assert_eq!(things.get(id).await.unwrap().unwrap(), "after");

    // What nobody needs any more goes with the sweep, and nothing else.
    let blobs = FilesystemBlobs::open(&folder.0).unwrap();
    assert_eq!(sweep(&*backend.files(), &blobs, Duration::from_secs(3_600)).await.unwrap(), 0);
    assert_eq!(sweep(&*backend.files(), &blobs, Duration::ZERO).await.unwrap(), 2);
    folder.only_file();
    assert_eq!(things.get(id).await.unwrap().unwrap(), "after");
}

#[tokio::test]
async fn orphans_are_swept_by_the_clock() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let blobs = Arc::new(MemoryBlobs::default());
    let mut config = PicloudConfig::default();
    config.files.orphans_after = Duration::ZERO;
    let cloud = Picloud::builder(backend).config(config).blobs(blobs.clone()).start().await.unwrap();
    let things = cloud.create_app("shop").await.unwrap().files("things").unwrap();
    let kept = things.create(&text("a"), "kept").await.unwrap().id;
    let orphan = blobs.put(&mut Bytes::from_static(b"orphan"), 10).await.unwrap().blob;
    while blobs.get(orphan).await.unwrap().is_some() {
        clock.advance(Duration::from_secs(120));
        tokio::task::yield_now().await;
    }
    assert_eq!(things.get(kept).await.unwrap().unwrap(), "kept");
}

#[tokio::test]
async fn who_may_only_read_stores_nothing() {
    let blobs = Arc::new(MemoryBlobs::default());
    let cloud = Picloud::builder(MemoryBackend::new()).blobs(blobs.clone()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let file = app.files("things").unwrap().create(&text("a"), "x").await.unwrap();
    let bundle = Bundle::new()
        .file("read", format!("files::collection(\"things\").get(\"{}\").as_string()", file.id).as_str())
        .unwrap()
        .file(
            "write",
            "files::collection(\"things\").create(#{ name: \"x\", content_type: \"a/b\", data: \"x\" })",
        )
        .unwrap();
    app.deploy(&bundle).await.unwrap();
    let viewer = Principal::new(PrincipalKind::User, "v", "v").member(app.id(), AppRole::Viewer);
    let run = async |name: &str| {
        let script = app.script(name).unwrap();
        let mut invocation = script.invocation();
        invocation.principal = Some(Arc::new(viewer.clone()));
        script.execute(invocation).await.result
    };
    assert!(run("read").await.is_ok());
    assert!(run("write").await.unwrap_err().message.contains("forbidden"));
    assert_eq!(blobs.list(None, 10).await.unwrap().len(), 1);
}
