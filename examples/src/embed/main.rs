//! An existing axum application that lets its customers script it.
//!
//! The shop has routes, state and a login of its own. Adding picloud took the lines marked with a number. Try it:
//! `cargo run --bin embed`.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use picloud_axum::{RouterConfig, router};
use picloud_core::alloc::CountingAllocator;
use picloud_core::authz::{Principal, PrincipalResolver};
use picloud_core::script::Bundle;
use picloud_core::{CallCx, Picloud, ScriptModule};
use picloud_memory::MemoryBackend;
use serde::{Deserialize, Serialize};

// 1. Bounds the memory of each script.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// A shop whose customers script it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
}

/// The shop's own state.
#[derive(Debug, Clone, Default)]
struct Shop {
    stock: Arc<Mutex<HashMap<String, i64>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    item: String,
    count: i64,
}

impl Shop {
    fn in_stock(&self, item: &str) -> i64 {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner).get(item).copied().unwrap_or(0)
    }

    async fn take(&self, order: &Order) -> Result<i64, picloud_core::Error> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        let left = stock.entry(order.item.clone()).or_default();
        if order.count < 1 || order.count > *left {
            return Err(picloud_core::Error::invalid(
                "shop.not_enough",
                format!("{} of {} are left", left, order.item),
            ));
        }
        *left -= order.count;
        Ok(*left)
    }
}

/// The shop's own login: a token for each customer.
#[derive(Debug)]
struct Login;

fn customer(headers: &http::HeaderMap) -> Option<&'static str> {
    match headers.get("authorization")?.to_str().ok()? {
        "Bearer ada-token" => Some("ada"),
        "Bearer bob-token" => Some("bob"),
        _ => None,
    }
}

// 2. The login decides who a script sees as `ctx.principal`.
#[async_trait]
impl PrincipalResolver for Login {
    async fn resolve(&self, headers: &http::HeaderMap) -> picloud_core::Result<Option<Principal>> {
        Ok(customer(headers).map(|name| Principal::caller(name, name)))
    }

    async fn by_id(&self, id: &str) -> picloud_core::Result<Option<Principal>> {
        Ok(Some(Principal::caller(id, id)))
    }
}

// 3. What scripts can call: `shop::in_stock("tea")`, `shop::order(#{ item: "tea", count: 2 })`.
fn shop_module(shop: &Shop) -> ScriptModule {
    let (looking, ordering) = (shop.clone(), shop.clone());
    ScriptModule::new("shop")
        .doc("The shop's stock.")
        .function("in_stock(item: string) -> int", move |_cx: CallCx, item: String| looking.in_stock(&item))
        .async_function("order(order: #{ item, count }) -> int", move |_cx: CallCx, order: Order| {
            let shop = ordering.clone();
            async move { shop.take(&order).await }
        })
}

/// What a customer wrote.
const SCRIPT: &str = r#"
//! route GET /stock/:item
//! route POST /orders

if ctx.request.method == "GET" {
    let item = ctx.request.params.item;
    return #{ item: item, in_stock: shop::in_stock(item) };
}

if ctx.principal == () {
    throw #{ statusCode: 401, body: #{ error: "log in to order" } };
}
try {
    let left = shop::order(ctx.request.body);
    let orders = kv::collection("orders").increment(ctx.principal.id, 1);
    #{ customer: ctx.principal.name, left: left, orders: orders }
} catch (problem) {
    // Needs the `return`: unlike `try`, a `catch` block has no value.
    return #{ statusCode: 409, body: #{ error: problem.message } }
}
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    let shop = Shop::default();
    shop.stock.lock().unwrap_or_else(PoisonError::into_inner).insert("tea".into(), 10);

    // 4. Start picloud beside the application, and deploy what the customer wrote.
    let cloud = Picloud::builder(MemoryBackend::new())
        .principals(Login)
        .script_module(shop_module(&shop))
        .start()
        .await?;
    let app = cloud.create_app("shop").await?;
    let report = app.deploy(&Bundle::new().file("orders", SCRIPT)?).await?;

    let application = Router::new()
        .route("/", get(async || "the shop's own page\n"))
        .route("/admin/stock/{item}", get(stock))
        // 5. Mount it.
        .nest("/scripts", router(&cloud, RouterConfig::default()))
        .with_state(shop);

    let listener = tokio::net::TcpListener::bind(arguments.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another with --listen", arguments.listen)
    })?;
    let address = listener.local_addr()?;
    print!("the shop is open on http://{address}\n\n{report}");
    println!("\nTry:");
    println!("  curl -i http://{address}/");
    println!("  curl -i http://{address}/scripts/stock/tea");
    println!(
        "  curl -i http://{address}/scripts/orders -H 'content-type: application/json' -d '{{\"item\": \"tea\", \"count\": 2}}'"
    );
    println!(
        "  curl -i http://{address}/scripts/orders -H 'authorization: Bearer ada-token' -H 'content-type: application/json' -d '{{\"item\": \"tea\", \"count\": 2}}'"
    );
    println!("  curl -i http://{address}/admin/stock/tea");
    axum::serve(listener, application)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    // 6. Let scripts finish, then end.
    cloud.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// A handler that knows nothing of picloud.
async fn stock(State(shop): State<Shop>, Path(item): Path<String>) -> Json<i64> {
    Json(shop.in_stock(&item))
}
