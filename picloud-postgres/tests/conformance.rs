//! The Postgres backend keeps every contract.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use picloud_core::conformance::{self, Harness, World};
use picloud_core::{Backend, async_trait};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};

struct Postgres;

#[async_trait]
impl Harness for Postgres {
    async fn world(&self) -> World {
        let schema = SchemaName::new(picloud_test_postgres::unused_schema()).expect("a name");
        let config = PostgresConfig::default().schema(schema);
        let backend = PostgresBackend::connect_url(&picloud_test_postgres::url(), config.clone())
            .await
            .expect("a server");
        backend.migrate().await.expect("a schema");
        World::new(Arc::new(backend)).on_other_node(move || {
            let config = config.clone();
            async move {
                let other = PostgresBackend::connect_url(&picloud_test_postgres::url(), config).await;
                Arc::new(other.expect("a server")) as Arc<dyn Backend>
            }
        })
    }
}

fn main() {
    conformance::main(Postgres);
}
