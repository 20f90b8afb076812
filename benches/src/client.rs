//! A load client: keep-alive connections that send one request over and over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests a second over `connections` for about `span`. Panics on any answer but 200.
pub(crate) fn load(address: SocketAddr, request: &[u8], connections: usize, span: Duration) -> f64 {
    let request: std::sync::Arc<[u8]> = request.into();
    let worker = std::thread::spawn(move || {
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
            let tasks: Vec<_> = streams
                .into_iter()
                .map(|stream| tokio::spawn(connection(stream, request.clone(), end)))
                .collect();
            let mut answered = 0_u64;
            for task in tasks {
                answered += task.await.unwrap();
            }
            #[allow(clippy::cast_precision_loss)]
            let answered = answered as f64;
            answered / begin.elapsed().as_secs_f64()
        })
    });
    worker.join().unwrap()
}

async fn connection(mut stream: TcpStream, request: std::sync::Arc<[u8]>, end: Instant) -> u64 {
    let mut buffer = vec![0; 16 * 1024];
    let mut answered = 0;
    while Instant::now() < end {
        stream.write_all(&request).await.unwrap();
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if complete(&buffer[..filled]) {
                break;
            }
        }
        answered += 1;
    }
    answered
}

/// Whether a whole answer is there: head, and as many bytes as it announced.
fn complete(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    let length = text
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .map(|n| n.trim().parse::<usize>().unwrap())
        })
        .unwrap_or(0);
    answer.len() >= head + 4 + length
}
