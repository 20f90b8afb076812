//! Files as a client sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use picloud_axum::{RouterConfig, files_router, router};
use picloud_core::authz::{AppRole, Principal, PrincipalKind};
use picloud_core::files::{BlobId, FilesystemBlobs, Upload};
use picloud_core::script::Bundle;
use picloud_core::{App, CollectionName, Picloud, PicloudConfig};
use picloud_memory::MemoryBackend;
use serde_json::Value;
use tower::ServiceExt;

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Folder(std::env::temp_dir().join(format!("picloud-files-{}", BlobId::new())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn cloud(folder: &Folder) -> (Picloud, App) {
    let mut config = PicloudConfig::default();
    config.files.max_file_bytes = 1_000_000;
    let blobs = Arc::new(FilesystemBlobs::open(&folder.0).unwrap());
    let cloud = Picloud::builder(MemoryBackend::new()).config(config).blobs(blobs).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    (cloud, app)
}

/// A request by somebody with this role in the app, or by nobody.
fn request(method: Method, path: &str, who: Option<(&App, AppRole)>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "example.com");
    if let Some((app, role)) = who {
        let principal = Principal::new(PrincipalKind::User, "1", "ada").member(app.id(), role);
        request = request.extension(Arc::new(principal));
    }
    request.body(body.into()).unwrap()
}

async fn send(routes: &Router, request: Request<Body>) -> Response<Body> {
    routes.clone().oneshot(request).await.unwrap()
}

async fn bytes(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_file_that_a_script_serves_streams() {
    let folder = Folder::new();
    let (cloud, app) = cloud(&folder).await;
    let source = "//! route GET /files/:id\nfiles::collection(\"things\").serve(ctx.request.params.id) ?? #{ statusCode: 404 }";
    app.deploy(&Bundle::new().file("serve", source).unwrap()).await.unwrap();
    let content: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
    let upload = Upload::new("a.bin", "application/x-test").unwrap();
    let file = app.files("things").unwrap().create(&upload, content.clone()).await.unwrap();
    let routes = router(&cloud, RouterConfig::default());
    let path = &format!("/files/{}", file.id);

    let whole = send(&routes, request(Method::GET, path, None, "")).await;
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(header(&whole, "content-length"), "500000");
    assert_eq!(header(&whole, "content-type"), "application/x-test");
    let etag = header(&whole, "etag").to_owned();
    assert_eq!(bytes(whole).await, content);

    let head = send(&routes, request(Method::HEAD, path, None, "")).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "500000"));
    assert!(bytes(head).await.is_empty());

    let mut part = request(Method::GET, path, None, "");
    part.headers_mut().insert("range", "bytes=100000-399999".parse().unwrap());
    let part = send(&routes, part).await;
    assert_eq!((part.status(), header(&part, "content-length")), (StatusCode::PARTIAL_CONTENT, "300000"));
    assert_eq!(bytes(part).await, content[100_000..400_000]);

    let mut known = request(Method::GET, path, None, "");
    known.headers_mut().insert("if-none-match", etag.parse().unwrap());
    let known = send(&routes, known).await;
    assert_eq!((known.status(), header(&known, "etag")), (StatusCode::NOT_MODIFIED, &*etag));
    assert!(bytes(known).await.is_empty());

    // Bytes that went bad break the response off.
    let shards = std::fs::read_dir(&folder.0).unwrap();
    for file in shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap()) {
        let mut wrong = content.clone();
        wrong[0] ^= 1;
        std::fs::write(file.unwrap().path(), wrong).unwrap();
    }
    let wrong = send(&routes, request(Method::GET, path, None, "")).await;
    assert!(wrong.into_body().collect().await.is_err());
}

#[tokio::test]
async fn files_go_in_and_out_by_their_ids() {
    let folder = Folder::new();
    let (cloud, app) = cloud(&folder).await;
    let letters = CollectionName::new("letters").unwrap();
    let routes = Router::new().nest("/letters", files_router(&cloud, letters, RouterConfig::default()));
    let editor = Some((&app, AppRole::Editor));

    let mut upload = request(Method::POST, "/letters/a%20b.txt", editor, vec![7; 300_000]);
    upload.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let created = send(&routes, upload).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let path = &format!("/letters/{}", header(&created, "location"));
    let file: Value = serde_json::from_slice(&bytes(created).await).unwrap();
    assert_eq!((&file["name"], &file["size"]), (&"a b.txt".into(), &300_000.into()));

    let got = send(&routes, request(Method::GET, path, editor, "")).await;
    assert_eq!((got.status(), header(&got, "content-type")), (StatusCode::OK, "text/plain"));
    assert_eq!(bytes(got).await, vec![7; 300_000]);

    let replaced = send(&routes, request(Method::PUT, path, editor, "other")).await;
    assert_eq!(replaced.status(), StatusCode::OK);
    let head = send(&routes, request(Method::HEAD, path, editor, "")).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "5"));

    let deleted = send(&routes, request(Method::DELETE, path, editor, "")).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let gone = send(&routes, request(method, path, editor, "")).await;
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn only_those_who_may_get_at_files_by_their_ids() {
    let folder = Folder::new();
    let (cloud, app) = cloud(&folder).await;
    let letters = CollectionName::new("letters").unwrap();
    let routes: Router = files_router(&cloud, letters, RouterConfig::default());
    let file = app.files("letters").unwrap().create(&Upload::new("a", "a/b").unwrap(), "x").await.unwrap();
    let path = &format!("/{}", file.id);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::POST] {
        let refused = send(&routes, request(method, path, None, "")).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    let mut caller = request(Method::GET, path, None, "");
    caller.extensions_mut().insert(Arc::new(Principal::new(PrincipalKind::Caller, "1", "ada")));
    assert_eq!(send(&routes, caller).await.status(), StatusCode::UNAUTHORIZED);
    let viewer = Some((&app, AppRole::Viewer));
    assert_eq!(send(&routes, request(Method::GET, path, viewer, "")).await.status(), StatusCode::OK);
    for method in [Method::PUT, Method::DELETE] {
        let refused = send(&routes, request(method, path, viewer, "")).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }
    let mut upload = request(Method::POST, "/b", viewer, "y");
    upload.headers_mut().insert("content-type", "a/b".parse().unwrap());
    assert_eq!(send(&routes, upload).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.files("letters").unwrap().get(file.id).await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn uploads_have_a_limit_and_a_type() {
    let folder = Folder::new();
    let (cloud, app) = cloud(&folder).await;
    let letters = CollectionName::new("letters").unwrap();
    let routes: Router = files_router(&cloud, letters, RouterConfig::default());
    let upload = |content_type: Option<&str>, body: Body| {
        let mut upload = request(Method::POST, "/a", Some((&app, AppRole::Editor)), body);
        if let Some(content_type) = content_type {
            upload.headers_mut().insert("content-type", content_type.parse().unwrap());
        }
        upload
    };
    let too_much = || {
        let pieces = (0..11).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7; 100_000])));
        Body::from_stream(futures_util::stream::iter(pieces))
    };
    for (content_type, body, status) in [
        (None, Body::from("x"), 422),
        (Some("text"), Body::from("x"), 422),
        (Some("a/b"), too_much(), 413),
        (Some("a/b"), Body::from(vec![7; 1_000_000]), 201),
    ] {
        assert_eq!(send(&routes, upload(content_type, body)).await.status().as_u16(), status);
    }
    let mut announced = upload(Some("a/b"), Body::empty());
    announced.headers_mut().insert("content-length", "1000001".parse().unwrap());
    assert_eq!(send(&routes, announced).await.status().as_u16(), 413);
    let files = app.files("letters").unwrap().list(&Default::default()).await.unwrap();
    assert_eq!(files.items.len(), 1);
}
