//! A load client: keep-alive connections of an ordinary HTTP client that send one request over and over, all on one
//! thread.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::measure::pin_thread;

/// Requests a second over `connections` for about `span`, from the core of that number if one is given. Panics on any
/// answer but 200.
pub(crate) fn load(
    address: SocketAddr,
    request: &Request<Bytes>,
    connections: usize,
    span: Duration,
    core: Option<&str>,
) -> f64 {
    let request = request.clone();
    let (core, alone) = (core.map(str::to_owned), core.is_some());
    let worker = std::thread::spawn(move || {
        if let Some(core) = core {
            pin_thread(&core);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..connections {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                streams.push(stream);
            }
            let begin = Instant::now();
            let end = begin + span;
            // On a core of its own the client never sleeps: waking it would be work of the server's that no client on
            // another machine makes.
            let awake = tokio::spawn(async move {
                if alone {
                    loop {
                        tokio::task::yield_now().await;
                    }
                }
            });
            let mut tasks = JoinSet::new();
            for stream in streams {
                tasks.spawn(connection(stream, request.clone(), end));
            }
            let answered: u32 = tasks.join_all().await.into_iter().sum();
            let rate = f64::from(answered) / begin.elapsed().as_secs_f64();
            awake.abort();
            rate
        })
    });
    worker.join().unwrap()
}

async fn connection(stream: TcpStream, request: Request<Bytes>, end: Instant) -> u32 {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut answered = 0;
    while Instant::now() < end {
        sender.ready().await.unwrap();
        let response = sender.send_request(request.clone().map(Full::new)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        std::hint::black_box(response.into_body().collect().await.unwrap().to_bytes());
        answered += 1;
    }
    drop(sender);
    connection.await.unwrap().unwrap();
    answered
}
