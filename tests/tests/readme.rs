//! The scripts of the README do what it says.

#![allow(clippy::unwrap_used)]

use http::Method;
use picloud_core::execution::HttpRequest;
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud};
use picloud_memory::MemoryBackend;

const README: &str = include_str!("../../README.md");

/// The blocks of the README that are scripts, in order.
fn scripts() -> Vec<&'static str> {
    README.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// An app with the `n`-th script of the README, named `script`.
async fn app_with(n: usize) -> App {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("readme").await.unwrap();
    app.deploy(&Bundle::new().file("script", scripts()[n]).unwrap()).await.unwrap();
    app
}

async fn answer(app: &App, method: Method, path: &str) -> String {
    let response = app.request(HttpRequest::new(method, path)).await.unwrap();
    String::from_utf8(response.body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_greeting_greets() {
    let app = app_with(0).await;
    assert_eq!(answer(&app, Method::GET, "/greet/ada").await, r#"{"language":"none","message":"hello ada"}"#);
}

#[tokio::test]
async fn the_counter_counts() {
    let app = app_with(1).await;
    answer(&app, Method::POST, "/counter/a").await;
    answer(&app, Method::POST, "/counter/a").await;
    assert_eq!(answer(&app, Method::GET, "/counter/a").await, r#"{"count":2,"name":"a"}"#);
}

#[tokio::test]
async fn the_patched_order_is_found() {
    let total: f64 = app_with(2).await.script("script").unwrap().call(&()).await.unwrap();
    assert_eq!(total, 15.5);
}

#[tokio::test]
async fn the_letter_is_read() {
    let text: String = app_with(3).await.script("script").unwrap().call(&()).await.unwrap();
    assert_eq!(text, "hello");
}

#[tokio::test]
async fn a_service_error_is_caught_by_its_code() {
    let app = app_with(5).await;
    app.kv("totals").unwrap().set("visits", "many").await.unwrap();
    let script = app.script("script").unwrap();
    let response = script.request(HttpRequest::new(Method::GET, "/")).await.unwrap();
    assert_eq!(response.status, http::StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_succeeds_is_the_answer() {
    let app = app_with(5).await;
    let count: i64 = app.script("script").unwrap().call(&()).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_handler_counts_each_order_once() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("readme").await.unwrap();
    app.deploy(&Bundle::new().file("script", scripts()[4]).unwrap()).await.unwrap();
    app.kv("orders").unwrap().set("a", &1).await.unwrap();
    app.kv("orders").unwrap().set("a", &2).await.unwrap();
    app.kv("orders").unwrap().set("b", &1).await.unwrap();
    cloud.run_until_idle().await.unwrap();
    assert_eq!(app.kv("totals").unwrap().get::<i64>("orders").await.unwrap(), Some(2));
}

#[tokio::test]
async fn the_price_is_that_of_the_module() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("readme").await.unwrap();
    let bundle = Bundle::new().file("prices", scripts()[7]).unwrap().file("price", scripts()[8]).unwrap();
    assert_eq!(app.deploy(&bundle).await.unwrap().warnings, [""; 0]);
    assert_eq!(answer(&app, Method::GET, "/price/200").await, r#"{"gross":238,"vat":19}"#);
}

#[tokio::test]
async fn a_room_is_for_those_who_are_logged_in() {
    let app = app_with(6).await;
    let refused = app.request(HttpRequest::new(Method::GET, "/rooms/lobby")).await.unwrap();
    assert_eq!(refused.status, http::StatusCode::UNAUTHORIZED);
    let script = app.script("script").unwrap();
    for (room, status) in [("lobby", 200), ("*", 404)] {
        let mut request = HttpRequest::new(Method::GET, "/rooms/x");
        request.params = vec![("room".into(), room.to_owned())];
        let mut invocation = script.invocation().request(request);
        invocation.principal = Some(std::sync::Arc::new(picloud_core::authz::Principal::caller("1", "ada")));
        let answer = script.execute(invocation).await.result.unwrap();
        let picloud_core::execution::Answer::Response(response) = answer else { panic!("{answer:?}") };
        assert_eq!((response.status.as_u16(), response.stream.is_some()), (status, status == 200), "{room}");
    }
}

#[test]
fn every_script_of_the_readme_is_tried_here() {
    assert_eq!(scripts().len(), 9);
}
