//! HTTP beside plain axum.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, Path};
use axum::routing::{get, post};
use bytes::Bytes;
use http::Request;
use picloud_axum::{RouterConfig, Routes, ServeConfig, bind, router, serve};
use picloud_core::{Picloud, PicloudConfig};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::load;
use crate::hello::{HELLO, cloud, runtime};
use crate::measure::{Goal, Table, in_turns, per_second, pin, unpin};

const ECHO: &str = "//! route POST /echo\nctx.request.body";
const CONNECTIONS: usize = 64;
const SPAN: Duration = Duration::from_millis(700);

fn plain() -> Router {
    Router::new()
        .route("/greet/{name}", get(async |Path(name): Path<String>| Json(format!("hello {name}"))))
        .route("/echo", post(async |Json(body): Json<serde_json::Value>| Json(body)))
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// On the executor threads of `cloud`.
    fn on_executors(runtime: &Runtime, cloud: &Picloud, routes: impl Into<Routes>) -> Self {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (cloud, routes) = (cloud.clone(), routes.into());
        let task = runtime.spawn(async move {
            serve(&cloud, listener, routes, ServeConfig::default(), async { drop(stopped.await) })
                .await
                .unwrap();
        });
        Server { address, stop, task }
    }

    /// In an ordinary runtime, as a host's own server.
    fn in_host(runtime: &Runtime, routes: Router) -> Self {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, routes)
                .with_graceful_shutdown(async { drop(stopped.await) })
                .await
                .unwrap();
        });
        Server { address, stop, task }
    }

    /// Requests a second from a client on that core, or wherever the system puts it.
    fn load(&self, request: &Request<Bytes>, core: Option<&str>) -> f64 {
        load(self.address, request, CONNECTIONS, SPAN, core)
    }

    fn stop(self, runtime: &Runtime) {
        drop(self.stop);
        runtime.block_on(self.task).unwrap();
    }
}

pub(crate) fn run(table: &mut Table) {
    let runtime = runtime();
    let (cloud, _app) = cloud(&runtime, &[("greet", HELLO), ("echo", ECHO)], PicloudConfig::default());
    let scripts = || router(&cloud, RouterConfig::default());
    let ours = Server::on_executors(&runtime, &cloud, RouterConfig::default());
    let bare = Server::on_executors(&runtime, &cloud, plain());
    let ours_in_host = Server::in_host(&runtime, scripts());
    let bare_in_host = Server::in_host(&runtime, plain());

    let greet = &Request::get("/greet/ada").header("host", "localhost").body(Bytes::new()).unwrap();
    let text = serde_json::json!({ "items": (0..28).map(|i| format!("a text of some length, number {i:03}")).collect::<Vec<_>>(), "n": 1.5 }).to_string();
    let echo = &Request::post("/echo")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Bytes::from(text.clone()))
        .unwrap();

    let mut beside = |what: &str, ours: &Server, bare: &Server, request, core, goal| {
        let [a, b] = in_turns(9, [&mut || ours.load(request, core), &mut || bare.load(request, core)]);
        table.row(what, per_second(a), per_second(b), a / b, " ×", goal);
    };
    let core = pin();
    let place = if core.is_some() {
        "the client on a core of its own"
    } else {
        "wherever the system puts the client"
    };
    let greeting =
        &format!("HTTP greet, served on the executors, beside plain axum served the same way, {place}");
    let echoing = &format!("HTTP echo of {} bytes of JSON, the same", text.len());
    let hosted = &format!("HTTP greet, router in a host's runtime, beside plain axum there, {place}");
    let scattered =
        "HTTP greet, served on the executors, client and server wherever the system puts them, the same";
    beside(greeting, &ours, &bare, greet, core, Goal::AtLeast(0.85));
    beside(echoing, &ours, &bare, echo, core, Goal::AtLeast(0.7));
    beside(hosted, &ours_in_host, &bare_in_host, greet, core, Goal::AtLeast(0.6));
    unpin();
    beside(scattered, &ours, &bare, greet, None, Goal::None);

    for server in [ours, bare, ours_in_host, bare_in_host] {
        server.stop(&runtime);
    }
    runtime.block_on(cloud.shutdown(Duration::from_secs(5)));
}
