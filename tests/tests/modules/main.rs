//! Scripts that use each other: `import`, the graph of who imports whom, `scripts::invoke`, and what a deployment says
//! about them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod advice;
mod import;
mod invoke;
mod versions;

use picloud_core::alloc::CountingAllocator;
use picloud_core::execution::{Answer, Failure, Outcome};
use picloud_core::script::{Bundle, DeployError, DeployProblem, DeployReport};
use picloud_core::{App, Picloud, PicloudConfig};
use picloud_memory::MemoryBackend;
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

pub(crate) async fn cloud() -> Picloud {
    cloud_with(PicloudConfig::default()).await
}

pub(crate) async fn cloud_with(config: PicloudConfig) -> Picloud {
    Picloud::builder(MemoryBackend::new()).config(config).start().await.unwrap()
}

/// An app with these scripts.
pub(crate) async fn app_with(files: &[(&str, &str)]) -> App {
    let app = cloud().await.create_app("shop").await.unwrap();
    deploy(&app, files).await;
    app
}

pub(crate) fn bundle(files: &[(&str, &str)]) -> Bundle {
    files.iter().try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source)).unwrap()
}

pub(crate) async fn deploy(app: &App, files: &[(&str, &str)]) -> DeployReport {
    app.deploy(&bundle(files)).await.unwrap()
}

/// What is wrong with these scripts: file, line, code, message.
pub(crate) async fn problems(app: &App, files: &[(&str, &str)]) -> Vec<DeployProblem> {
    match app.deploy(&bundle(files)).await {
        Err(DeployError::Invalid(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn run(app: &App, script: &str) -> Outcome {
    let script = app.script(script).unwrap();
    script.execute(script.invocation()).await
}

pub(crate) async fn value(app: &App, script: &str) -> Value {
    match run(app, script).await.result {
        Ok(Answer::Value(value)) => value.to_value().unwrap(),
        other => panic!("{script}: {other:?}"),
    }
}

pub(crate) async fn failure(app: &App, script: &str) -> Failure {
    run(app, script).await.result.unwrap_err()
}
