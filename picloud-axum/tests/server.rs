//! The server on the executor threads, over real connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use picloud_axum::{RouterConfig, Routes, ServeConfig, bind, router, serve};
use picloud_core::Picloud;
use picloud_core::script::Bundle;
use picloud_memory::MemoryBackend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Server {
    cloud: Picloud,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn cloud(source: &str) -> Picloud {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    cloud
}

async fn server(source: &str, config: ServeConfig) -> Server {
    let cloud = cloud(source).await;
    serving(&cloud, RouterConfig::default(), config)
}

fn serving(cloud: &Picloud, routes: impl Into<Routes>, config: ServeConfig) -> Server {
    let (cloud, routes) = (cloud.clone(), routes.into());
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn({
        let cloud = cloud.clone();
        async move { serve(&cloud, listener, routes, config, async { drop(stopped.await) }).await }
    });
    Server { cloud, address, stop, task }
}

const GET: &[u8] = b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn connections_spread_and_are_kept_alive() {
    let server = server("//! route GET /x\n1", ServeConfig::default()).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(TcpStream::connect(server.address).await.unwrap());
    }
    for _ in 0..3 {
        for stream in &mut streams {
            stream.write_all(GET).await.unwrap();
            assert!(answer(stream).await.starts_with("HTTP/1.1 200"));
        }
    }
    drop(server.stop);
    server.task.await.unwrap().unwrap();
    server.cloud.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_while_the_server_stops() {
    let server = server("//! route GET /x\nsleep(0.3); \"done\"", ServeConfig::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    while server.cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    drop(server.stop);
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(answer(&mut idle).await, "", "an idle connection is closed");
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let config = ServeConfig::default().drain(Duration::from_millis(100));
    let server = server("//! route GET /x\nsleep(20.0)", config).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    while server.cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    drop(server.stop);
    let stopped = tokio::time::timeout(Duration::from_secs(5), server.task).await;
    stopped.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_cut() {
    let config = ServeConfig::default().header_timeout(Duration::from_millis(100));
    let server = server("//! route GET /x\n1", config).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the server ends the connection");
    drop(server.stop);
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_closes_its_connection_ends_the_script_of_a_get() {
    let server = server("//! route GET /x\nsleep(20.0)", ServeConfig::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    while server.cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        while server.cloud.executor().in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(ended.await.is_ok(), "the script ends");
    drop(server.stop);
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_an_error() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = bind(listener.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

/// All that comes back on a connection that closes after one answer: head without its date, in order of lines, and body.
async fn whole(address: SocketAddr, request: &str) -> (Vec<String>, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines: Vec<_> =
        head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect();
    lines.sort();
    (lines, body.to_owned())
}

#[tokio::test]
async fn picloud_alone_answers_as_its_router_does() {
    let source = "//! route GET /x\n//! route POST /x\n//! route GET /files/*\n//! route POST /later async\n//! route GET /healthz-not\n\
                  #{ statusCode: 201, headers: #{ \"x-path\": ctx.request.path }, body: [ctx.request.method, ctx.request.body, ctx.request.query] }";
    let cloud = cloud(source).await;
    let alone = serving(&cloud, RouterConfig::default(), ServeConfig::default());
    let routed = serving(&cloud, router(&cloud, RouterConfig::default()), ServeConfig::default());
    let mut requests = Vec::new();
    for path in [
        "/x",
        "/x/",
        "//x?a=1&b=2",
        "/files/a/b",
        "/files",
        "/none",
        "/",
        "/%zz",
        "/a/../x",
        "/api",
        "/api/",
        "/api/v1/none",
        "/api/v2",
        "/apis",
        "/healthz",
        "/healthz/",
        "/healthz/x",
        "/%68ealthz",
        "/healthz-not",
        "/readyz",
        "/version",
        "/version?a",
        "/api/v1/execute/00000000-0000-7000-8000-000000000000",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST"] {
            requests.push(format!("{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"));
        }
    }
    let post = "POST /x HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-type: application/json\r\n";
    requests.push(format!("{post}content-length: 7\r\n\r\n{{\"a\":1}}"));
    requests.push(format!("{post}content-length: 0\r\n\r\n"));
    requests.push(format!("{post}content-length: 99999999\r\n\r\n"));
    requests.push(format!("{post}transfer-encoding: chunked\r\n\r\n7\r\n{{\"a\":1}}\r\n0\r\n\r\n"));
    requests.push(format!("{post}transfer-encoding: chunked\r\n\r\nnot a length\r\n"));
    for request in requests {
        let (one, other) = (whole(alone.address, &request).await, whole(routed.address, &request).await);
        assert_eq!(one, other, "{request}");
        assert!(one.0.iter().any(|line| line.starts_with("HTTP/1.1 ")), "{request}: {one:?}");
    }
    let later = "POST /later HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
    assert!(whole(alone.address, later).await.0.contains(&"HTTP/1.1 202 Accepted".to_owned()));
    for server in [alone, routed] {
        drop(server.stop);
        server.task.await.unwrap().unwrap();
    }
    cloud.shutdown(Duration::from_secs(1)).await;
}
