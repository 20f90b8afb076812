//! A Postgres for tests: started by the first test that asks, left running for the others, ended by
//! `scripts/postgres stop`.
//!
//! Without a server a test fails; it is never passed over.

#![allow(clippy::panic, reason = "a test without a server fails")]

use std::path::PathBuf;
use std::process::Command;

/// The URL of a running server: that of `PICLOUD_TEST_DATABASE_URL`, or of one that is started here.
///
/// # Panics
/// When there is none and none can be started.
pub fn url() -> String {
    if let Ok(url) = std::env::var("PICLOUD_TEST_DATABASE_URL") {
        return url;
    }
    run("start")
}

/// The URL of a pooler in transaction mode in front of that server: of `PICLOUD_TEST_POOLER_URL`, or started here.
///
/// # Panics
/// When there is none and none can be started.
pub fn pooler_url() -> String {
    std::env::var("PICLOUD_TEST_POOLER_URL").unwrap_or_else(|_| run("pooler"))
}

fn run(what: &str) -> String {
    let output = Command::new(script()).arg(what).output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) => panic!("no Postgres: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{} does not run: {error}", script().display()),
    };
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The name of a schema that nothing else uses.
pub fn unused_schema() -> String {
    format!("test_{}", uuid::Uuid::now_v7().simple())
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres")
}
