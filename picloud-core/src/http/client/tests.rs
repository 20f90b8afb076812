//! The client against servers on loopback, and against everything that it must not connect to.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex as StdMutex;

use http::{HeaderName, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::http::ssrf::Resolver;
use crate::http::ssrf::tests::{Line, Scripted, corpus};
use crate::http::{AllowedHosts, HostPolicy};
use crate::{AppId, CxInner, ErrorKind};

/// A server that answers what a function makes of a request, and keeps what it was sent.
struct Server {
    address: SocketAddr,
    seen: Arc<StdMutex<Vec<String>>>,
    accepted: watch::Receiver<usize>,
    open: watch::Receiver<usize>,
}

impl Server {
    /// An answer of nothing leaves the client waiting.
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer, |stream| async { Some(stream) })
    }

    fn on<S, F>(
        listener: TcpListener,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
        wrap: impl Fn(tokio::net::TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let (accepting, accepted) = watch::channel(0);
        let (opening, open) = watch::channel(0);
        let seen: Arc<StdMutex<Vec<String>>> = Arc::default();
        let (answer, opening, requests) = (Arc::new(answer), Arc::new(opening), seen.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                accepting.send_modify(|count| *count += 1);
                opening.send_modify(|count| *count += 1);
                let (answer, opening, requests) = (answer.clone(), opening.clone(), requests.clone());
                let stream = wrap(stream);
                tokio::spawn(async move {
                    if let Some(stream) = stream.await {
                        serve(stream, &*answer, &requests).await;
                    }
                    opening.send_modify(|count| *count -= 1);
                });
            }
        });
        Server { address, seen, accepted, open }
    }

    /// Says the same whatever it is asked.
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Server::start(move |_| answer.clone()).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn accepted(&self) -> usize {
        *self.accepted.borrow()
    }

    /// Completes when nobody is connected any more.
    async fn hung_up(&mut self) {
        tokio::time::timeout(Duration::from_secs(5), self.open.wait_for(|open| *open == 0))
            .await
            .unwrap()
            .unwrap();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &(dyn Fn(&str) -> Vec<u8> + Send + Sync),
    seen: &StdMutex<Vec<String>>,
) {
    let mut buffer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let whole = loop {
            let text = String::from_utf8_lossy(&buffer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
                if body.len() >= length {
                    break text;
                }
            }
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(count) => buffer.extend_from_slice(&piece[..count]),
            }
        };
        buffer.clear();
        let bytes = answer(&whole);
        seen.lock().unwrap().push(whole);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        if String::from_utf8_lossy(&bytes).contains("connection: close") {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} x\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

/// A client that may call these servers by their addresses, and otherwise what any may.
fn client(servers: &[&Server]) -> HttpClient {
    client_with(|config| config.allowed_addresses = servers.iter().map(|server| server.address).collect())
}

fn client_with(change: impl FnOnce(&mut HttpConfig)) -> HttpClient {
    let mut config = HttpConfig::default();
    config.root_certificates = vec![include_bytes!("certificates/authority.der").to_vec()];
    change(&mut config);
    HttpClient::new(config).unwrap()
}

fn cx() -> CallCx {
    CallCx::new(AppId::new())
}

fn get(url: impl Into<String>) -> OutboundRequest {
    OutboundRequest::new(Method::GET, url)
}

fn with_headers(mut request: OutboundRequest, headers: &[(&'static str, &'static str)]) -> OutboundRequest {
    for (name, value) in headers {
        request.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request
}

async fn refused(client: &HttpClient, url: &str) -> Error {
    client.send(&cx(), get(url)).await.unwrap_err()
}

fn category(error: &Error) -> Option<&str> {
    error.context().find(|(name, _)| *name == "category").map(|(_, category)| category)
}

/// Answers every name of the corpus.
fn corpus_names(guard: &Guard, lines: &[Line]) -> Arc<dyn Resolver> {
    let names = lines.iter().filter_map(|line| {
        let target = guard.check_url(&line.url).ok()?;
        let addresses = line.resolves?.split(',').map(str::trim).filter_map(|address| address.parse().ok());
        let host: &'static str = Box::leak(target.host().to_owned().into_boxed_str());
        Some((host, vec![addresses.collect()]))
    });
    Arc::new(Scripted::new(names))
}

#[tokio::test]
async fn nothing_of_the_corpus_is_ever_connected_to() {
    let lines: Vec<Line> = corpus().into_iter().filter(|line| line.verdict != "ok").collect();
    assert!(lines.len() >= 150);
    let names = corpus_names(&Guard::new(), &lines);
    let client = client_with(|config| config.resolver = names);
    let _ = client.client().unwrap();
    let pool = client.pools.get(|| unreachable!()).unwrap();
    let attempts = || pool.current.lock().unwrap().1.attempts.load(Ordering::Relaxed);
    for line in lines {
        let before = attempts();
        let error = refused(&client, &line.url).await;
        let (code, kind) = line.expected();
        assert_eq!((error.code(), category(&error)), (&*code, kind), "{:?}", line.url);
        assert!(client.names.released.lock().unwrap().is_empty(), "{:?} reached the connector", line.url);
        if line.resolves.is_none() {
            assert_eq!(attempts(), before, "{:?} reached the connector", line.url);
        }
    }
}

#[tokio::test]
async fn no_redirect_into_the_corpus_is_followed() {
    let lines: Vec<Line> = corpus()
        .into_iter()
        .filter(|line| !matches!(line.verdict, "ok" | "invalid_url") && line.url.is_ascii())
        .collect();
    assert!(lines.len() >= 100);
    let names = corpus_names(&Guard::new(), &lines);
    let to = lines.iter().map(|line| line.url.clone()).collect::<Vec<_>>();
    let server = Server::start(move |request| {
        let index: usize = request.split(' ').nth(1).unwrap()[1..].parse().unwrap();
        redirect([301, 302, 303, 307, 308][index % 5], &to[index])
    })
    .await;
    let client = client_with(|config| {
        config.resolver = names;
        config.allowed_addresses = vec![server.address];
    });
    for (index, line) in lines.iter().enumerate() {
        let error = refused(&client, &server.url(&format!("/{index}"))).await;
        let (code, kind) = line.expected();
        assert_eq!((error.code(), category(&error)), (&*code, kind), "{:?}", line.url);
        assert!(error.context().any(|hop| hop == ("redirect", "1")), "{error}");
    }
    assert!(client.names.released.lock().unwrap().is_empty());
    assert_eq!(server.accepted(), 1, "one connection, to where it was allowed");
}

#[tokio::test]
async fn a_server_that_would_answer_is_not_connected_to() {
    let inside = Server::saying(ok("secret")).await;
    let outside = Server::saying(redirect(302, &inside.url("/"))).await;
    let names = Scripted::new([("inside.example", vec![vec![Ipv4Addr::LOCALHOST.into()]])]);
    let client = client_with(|config| {
        config.allowed_addresses = vec![outside.address];
        config.resolver = Arc::new(names);
    });
    let by_name = format!("http://inside.example:{}/", inside.address.port());
    let by_number = format!("http://2130706433:{}/", inside.address.port());
    for url in [inside.url("/"), by_name, by_number, outside.url("/")] {
        let error = refused(&client, &url).await;
        assert_eq!(category(&error), Some("loopback"), "{url}: {error}");
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }
    assert_eq!(inside.accepted(), 0);
}

#[tokio::test]
async fn a_name_that_is_rebound_between_requests_is_refused() {
    let server = Server::saying("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    let answers = vec![vec![Ipv4Addr::LOCALHOST.into()], vec![metadata]];
    let client = client_with(|config| {
        config.allow_private = true;
        config.resolver = Arc::new(Scripted::new([("rebound.example", answers)]));
    });
    let url = format!("http://rebound.example:{}/", server.address.port());
    assert_eq!(client.send(&cx(), get(&*url)).await.unwrap().status, StatusCode::OK);
    assert_eq!(category(&refused(&client, &url).await), Some("cloud metadata"));
    let released: HashSet<IpAddr> = client.names.released.lock().unwrap().iter().copied().collect();
    assert_eq!(released, HashSet::from([Ipv4Addr::LOCALHOST.into()]));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_is_made_to_what_was_checked_and_kept() {
    let server = Server::saying(ok("hello")).await;
    // A second look-up would be refused: there must be none.
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    let answers = vec![vec![Ipv4Addr::LOCALHOST.into()], vec![metadata]];
    let client = client_with(|config| {
        config.allow_private = true;
        config.resolver = Arc::new(Scripted::new([("kept.example", answers)]));
    });
    let url = format!("http://kept.example:{}/", server.address.port());
    for _ in 0..3 {
        assert_eq!(client.send(&cx(), get(&*url)).await.unwrap().body, "hello");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let server =
        Server::saying("HTTP/1.1 404 Nope\r\nX-Answer: a\r\nx-answer: b\r\ncontent-length: 4\r\n\r\nnone")
            .await;
    let mut inner = CxInner::new(AppId::new());
    inner.script = Some((crate::ScriptId::new(), "hooks/früh (1)".into()));
    let mut request = with_headers(
        OutboundRequest::new(Method::POST, server.url("/a%20b?x=1#part")),
        &[("x-one", "1"), ("x-one", "2"), ("content-type", "text/plain")],
    );
    request.query = vec![("a b".into(), "c&d".into()), ("e".into(), String::new())];
    request.body = "body".into();
    let response = client(&[&server]).send(&inner.into(), request).await.unwrap();
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(response.headers.get_all("x-answer").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(response.body, "none");
    let seen = server.seen().remove(0);
    let version = env!("CARGO_PKG_VERSION");
    assert!(seen.starts_with("POST /a%20b?x=1&a+b=c%26d&e= HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
    for header in [
        format!("host: {}", server.address),
        "x-one: 1".to_owned(),
        "x-one: 2".to_owned(),
        "content-type: text/plain".to_owned(),
        "content-length: 4".to_owned(),
        format!("user-agent: picloud/{version} (script hooks/fr_h__1_)"),
    ] {
        assert!(seen.contains(&format!("\r\n{header}\r\n")), "{header} is not in {seen}");
    }
    assert!(!seen.contains("accept-encoding"), "nothing is decompressed, so nothing is asked for: {seen}");
}

#[tokio::test]
async fn redirects_are_followed_as_browsers_do() {
    let server = Server::start(|request| match request.split(' ').nth(1).unwrap() {
        "/303" => redirect(303, "/end?303"),
        "/307" => redirect(307, "/end?307"),
        _ => ok("end"),
    })
    .await;
    let client = client(&[&server]);
    let secret = [("authorization", "Bearer x"), ("content-type", "text/plain")];
    for path in ["/303", "/307"] {
        let mut request = with_headers(OutboundRequest::new(Method::POST, server.url(path)), &secret);
        request.body = "body".into();
        assert_eq!(client.send(&cx(), request).await.unwrap().body, "end");
    }
    let seen = server.seen();
    assert!(seen[1].starts_with("GET /end?303 ") && seen[1].ends_with("\r\n\r\n"), "{}", seen[1]);
    assert!(!seen[1].contains("content-type"), "{}", seen[1]);
    assert!(seen[3].starts_with("POST /end?307 ") && seen[3].ends_with("\r\n\r\nbody"), "{}", seen[3]);
    assert!(
        seen.iter().all(|request| request.contains("authorization: Bearer x")),
        "the same origin: {seen:?}"
    );
}

#[tokio::test]
async fn credentials_do_not_go_to_another_origin_and_do_not_come_back() {
    let home = Arc::new(StdMutex::new(String::new()));
    let back = home.clone();
    let away = Server::start(move |_| redirect(307, &back.lock().unwrap())).await;
    let to = away.url("/away");
    let server = Server::start(
        move |request| {
            if request.starts_with("POST /end") { ok("end") } else { redirect(307, &to) }
        },
    )
    .await;
    *home.lock().unwrap() = server.url("/end");
    let mut request = with_headers(
        OutboundRequest::new(Method::POST, server.url("/start")),
        &[
            ("authorization", "secret"),
            ("cookie", "secret"),
            ("x-api-key", "secret"),
            ("accept", "text/plain"),
        ],
    );
    request.body = "body".into();
    client(&[&server, &away]).send(&cx(), request).await.unwrap();
    assert!(server.seen()[0].contains("x-api-key: secret"));
    for seen in [&away.seen()[0], &server.seen()[1]] {
        assert!(!seen.contains("secret"), "{seen}");
        assert!(seen.contains("accept: text/plain") && seen.ends_with("body"), "{seen}");
    }
}

#[tokio::test]
async fn redirects_have_an_end() {
    let server = Server::start(|request| {
        let number: u32 = request.split(' ').nth(1).unwrap()[1..].parse().unwrap();
        redirect(302, &format!("/{}", number + 1))
    })
    .await;
    let client = client(&[&server]);
    assert_eq!(refused(&client, &server.url("/0")).await.code(), "http.too_many_redirects");
    assert_eq!(server.seen().len(), 6, "the request and five redirects");
    let mut request = get(server.url("/0"));
    request.max_redirects = 0;
    let response = client.send(&cx(), request).await.unwrap();
    assert_eq!(
        (response.status, &response.headers["location"]),
        (StatusCode::FOUND, &HeaderValue::from_static("/1"))
    );
    let mut request = get(server.url("/0"));
    request.max_redirects = 6;
    assert_eq!(client.send(&cx(), request).await.unwrap_err().code(), "http.invalid_option");
}

#[tokio::test]
async fn a_redirect_without_a_place_is_an_answer() {
    let server = Server::saying("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(client(&[&server]).send(&cx(), get(server.url("/"))).await.unwrap().status, StatusCode::FOUND);
}

#[tokio::test]
async fn an_app_calls_the_hosts_on_its_list_at_every_hop() {
    let server = Server::start(|request| {
        if request.starts_with("GET /away") { redirect(302, "http://other.example/") } else { ok("") }
    })
    .await;
    let hosts = AllowedHosts::only_listed();
    let policy = hosts.clone();
    let client = client_with(|config| {
        config.allowed_addresses = vec![server.address];
        config.hosts = Arc::new(policy);
    });
    let cx = cx();
    let code = async |path: &str| match client.send(&cx, get(server.url(path))).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().to_owned(),
    };
    assert_eq!(code("/").await, "http.host_not_allowed");
    hosts.set(cx.app(), ["127.0.0.1"]).unwrap();
    assert_eq!(code("/").await, "ok");
    assert_eq!(code("/away").await, "http.host_not_allowed");
    hosts.set(cx.app(), ["*"]).unwrap();
    assert!(hosts.allows(cx.app(), "any.example"));
    assert!(client.names.released.lock().unwrap().is_empty());
    assert!(hosts.set(cx.app(), ["a/b"]).is_err());
    hosts.clear(cx.app());
    assert_eq!(code("/").await, "http.host_not_allowed");
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_and_no_further() {
    let mut announced = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 1000001\r\n\r\n").await;
    let endless: Vec<u8> = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()]
        .into_iter()
        .chain(std::iter::repeat_n(
            [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat(),
            200,
        ))
        .flatten()
        .collect();
    let mut chunked = Server::saying(endless).await;
    let exact = Server::saying(ok(&"x".repeat(1_000_000))).await;
    let client = client_with(|config| {
        config.allowed_addresses = vec![announced.address, chunked.address, exact.address];
        config.max_response_bytes = 1_000_000;
    });
    for server in [&mut announced, &mut chunked] {
        let error = refused(&client, &server.url("/")).await;
        assert_eq!((error.code(), error.kind()), ("http.response_too_large", ErrorKind::TooLarge));
        server.hung_up().await;
    }
    assert_eq!(client.send(&cx(), get(exact.url("/"))).await.unwrap().body.len(), 1_000_000);
    let head = OutboundRequest::new(Method::HEAD, announced.url("/"));
    assert_eq!(client.send(&cx(), head).await.unwrap().body.len(), 0, "what is not sent has no size");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent() {
    let server = Server::saying(ok("")).await;
    let client = client_with(|config| {
        config.allowed_addresses = vec![server.address];
        config.max_request_bytes = 10;
    });
    let mut request = OutboundRequest::new(Method::POST, server.url("/"));
    request.body = vec![0; 11].into();
    assert_eq!(client.send(&cx(), request).await.unwrap_err().code(), "http.request_too_large");
    let mut request = get(server.url("/"));
    let long = HeaderValue::from_str(&"x".repeat(40_000)).unwrap();
    request.headers.append("x-a", long.clone());
    request.headers.append("x-b", long);
    assert_eq!(client.send(&cx(), request).await.unwrap_err().code(), "http.headers_too_large");
    assert_eq!(refused(&client, &server.url(&"x".repeat(9_000))).await.code(), "http.invalid_url");
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn headers_of_an_answer_are_bounded() {
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(150));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(70_000));
    for (answer, code) in [(many, "http.bad_response"), (long, "http.headers_too_large")] {
        let server = Server::saying(answer).await;
        assert_eq!(refused(&client(&[&server]), &server.url("/")).await.code(), code);
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for answer in ["hello\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nshort"]
    {
        let server = Server::saying(answer).await;
        assert_eq!(
            refused(&client(&[&server]), &server.url("/")).await.code(),
            "http.bad_response",
            "{answer}"
        );
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = client_with(|config| config.allowed_addresses = vec![nobody]);
    assert_eq!(refused(&client, &format!("http://{nobody}/")).await.code(), "http.connect_failed");
}

#[tokio::test]
async fn waiting_has_an_end_and_hangs_up() {
    let short = Duration::from_millis(50);
    let mut silent = Server::saying("").await;
    let mut slow = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin").await;
    for server in [&mut silent, &mut slow] {
        // By its own limit.
        let client = client(&[server]);
        let mut request = get(server.url("/"));
        request.timeout = Some(short);
        let error = client.send(&cx(), request).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("http.timeout", ErrorKind::Timeout));
        server.hung_up().await;
        // By the deadline of the call.
        let mut inner = CxInner::new(AppId::new());
        inner.deadline = Some(Instant::now() + short);
        assert_eq!(
            client.send(&inner.into(), get(server.url("/"))).await.unwrap_err().code(),
            "http.timeout"
        );
        server.hung_up().await;
        // By the host's limit, which none can be longer than.
        let client = client_with(|config| {
            config.allowed_addresses = vec![server.address];
            config.timeout = short;
        });
        assert_eq!(refused(&client, &server.url("/")).await.code(), "http.timeout");
        let mut request = get(server.url("/"));
        request.timeout = Some(short * 2);
        assert_eq!(client.send(&cx(), request).await.unwrap_err().code(), "http.invalid_option");
    }
}

#[tokio::test]
async fn whoever_gives_up_hangs_up() {
    let mut server = Server::saying("").await;
    let client = Arc::new(client(&[&server]));
    let (url, sender) = (server.url("/"), client.clone());
    let task = tokio::spawn(async move { sender.send(&cx(), get(url)).await });
    server.open.wait_for(|open| *open == 1).await.unwrap();
    task.abort();
    server.hung_up().await;
}

#[tokio::test]
async fn an_app_has_so_many_requests_under_way() {
    let mut server = Server::saying("").await;
    let client = Arc::new(client_with(|config| {
        config.allowed_addresses = vec![server.address];
        config.max_requests_per_app = 2;
        config.timeout = Duration::from_secs(5);
    }));
    let (cx, url) = (cx(), server.url("/"));
    let send = || {
        let (client, cx, url) = (client.clone(), cx.clone(), url.clone());
        tokio::spawn(async move { client.send(&cx, get(url)).await })
    };
    let waiting = [send(), send()];
    server.accepted.wait_for(|count| *count == 2).await.unwrap();
    let error = send().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.kind()), ("http.too_many_requests", ErrorKind::Unavailable));
    waiting.iter().for_each(|task| task.abort());
    server.hung_up().await;
    assert_eq!(client.usage.enter(cx.app()).map(drop), Ok(()));
}

#[test]
fn each_runtime_has_connections_of_its_own() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (servers, one, two) = (runtime(), runtime(), runtime());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = servers.block_on(Server::saying(ok("hello")));
    let serving = std::thread::spawn(move || servers.block_on(stopped));
    let client = client(&[&server]);
    let ask = |runtime: &tokio::runtime::Runtime| {
        runtime.block_on(async { client.send(&cx(), get(server.url("/"))).await }).unwrap().body
    };
    assert_eq!((ask(&one), ask(&one)), ("hello".into(), "hello".into()));
    assert_eq!(server.accepted(), 1);
    // The driver of that connection ends with its runtime; nobody may be given it.
    drop(one);
    assert_eq!(ask(&two), "hello");
    assert_eq!(server.accepted(), 2);
    let three = runtime();
    assert_eq!(ask(&three), "hello");
    assert_eq!(server.accepted(), 3);
    drop((two, three));
    stop.send(()).unwrap();
    let _ = serving.join().unwrap();
}

#[tokio::test]
async fn connections_that_nobody_uses_do_not_add_up() {
    let server = Server::saying(ok("")).await;
    let names: Vec<&'static str> =
        (0..300).map(|number| &*Box::leak(format!("n{number}.example").into_boxed_str())).collect();
    let answers = names.iter().map(|name| (*name, vec![vec![Ipv4Addr::LOCALHOST.into()]]));
    let client = client_with(|config| {
        config.allow_private = true;
        config.resolver = Arc::new(Scripted::new(answers));
    });
    for name in names {
        let url = format!("http://{name}:{}/", server.address.port());
        client.send(&cx(), get(url)).await.unwrap();
    }
    let mut open = server.open.clone();
    let few = open.wait_for(|open| *open <= CONNECTIONS_PER_POOL);
    tokio::time::timeout(Duration::from_secs(5), few).await.unwrap().unwrap();
    assert_eq!(server.accepted(), 300);
}

#[tokio::test]
async fn a_certificate_has_to_hold_for_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let chain = vec![CertificateDer::from(include_bytes!("certificates/server.der").to_vec())];
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(include_bytes!("certificates/server.key.der").to_vec());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key.unwrap())
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = Server::on(
        listener,
        |_| ok("secure"),
        move |stream| {
            let accepting = acceptor.accept(stream);
            async move { accepting.await.ok() }
        },
    );
    let here = || vec![vec![Ipv4Addr::LOCALHOST.into()]];
    let client = client_with(|config| {
        config.allow_private = true;
        config.resolver = Arc::new(Scripted::new([("secure.example", here()), ("other.example", here())]));
    });
    let url = |host: &str| format!("https://{host}:{}/", server.address.port());
    assert_eq!(client.send(&cx(), get(url("secure.example"))).await.unwrap().body, "secure");
    assert_eq!(refused(&client, &url("other.example")).await.code(), "http.tls_failed");
    assert_eq!(refused(&client, &url("127.0.0.1")).await.code(), "http.tls_failed");
}
