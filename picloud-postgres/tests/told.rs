//! What a backend says in the log: nothing on an empty database, and when a database went away and came back, that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use picloud_core::ErrorKind;
use picloud_postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use picloud_test_postgres::{unused_schema, url};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The log of the whole process: the backend's thread is not the test's.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let log = Log::default();
        let writer = log.clone();
        let filter = tracing_subscriber::EnvFilter::new("picloud_postgres=info");
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    async fn has(&self, line: &str) {
        let begin = Instant::now();
        while !self.text().contains(line) {
            assert!(begin.elapsed() < Duration::from_secs(30), "no {line:?} in {}", self.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The database by a URL of its own, which can be switched off.
async fn behind_a_switch() -> (String, watch::Sender<bool>) {
    let url = url();
    let server = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = url.replace(&server, &listener.local_addr().unwrap().to_string());
    let (switch, is_off) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (server, mut is_off) = (server.clone(), is_off.clone());
            tokio::spawn(async move {
                if *is_off.borrow() {
                    return;
                }
                let mut server = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = is_off.wait_for(|is_off| *is_off) => {}
                }
            });
        }
    });
    (front, switch)
}

#[tokio::test]
async fn a_first_start_warns_of_nothing_and_an_outage_has_a_beginning_and_an_end() {
    let log = Log::start();
    let (front, switch) = behind_a_switch().await;
    let schema = SchemaName::new(unused_schema()).unwrap();
    let config = PostgresConfig::default().schema(schema.clone());
    let backend = PostgresBackend::connect_url(&front, config).await.unwrap();
    // It looks for indexes to fill before the schema is there.
    let mut aside = PgConnection::connect(&url()).await.unwrap();
    let looked = format!(
        "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE state = 'idle' AND query LIKE '%{schema}.docs_indexes%')"
    );
    let begin = Instant::now();
    while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(looked.clone())).fetch_one(&mut aside).await.unwrap() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not look");
    }
    backend.migrate().await.unwrap();
    assert_eq!(log.text(), "");

    switch.send_replace(true);
    log.has("not listening to other processes").await;
    switch.send_replace(false);
    log.has("the database is back: ").await;
    assert_eq!(log.text().lines().count(), 2, "{}", log.text());
}

#[tokio::test]
async fn what_keeps_a_host_from_connecting_is_told_with_what_would_be_right() {
    let told = async |url: &str| {
        let error = PostgresBackend::connect(url).await.unwrap_err();
        (error.kind(), error.to_string())
    };
    let url = url();
    let (server, _) = url.rsplit_once('/').unwrap();
    let place = server.split('@').nth(1).unwrap();

    let (kind, text) = told(&format!("{server}/nobody_made_it")).await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.starts_with("postgres.no_database: there is no database \"nobody_made_it\""), "{text}");
    assert!(
        text.contains(place) && text.contains("`createdb -h") && text.contains("nobody_made_it`"),
        "{text}"
    );

    let (kind, text) = told(&format!("postgres://stranger:hush@{place}/postgres")).await;
    assert_eq!(kind, ErrorKind::Unauthenticated);
    assert!(text.starts_with("postgres.login_refused: ") && text.contains("\"stranger\""), "{text}");
    assert!(text.contains(place) && !text.contains("hush"), "{text}");

    let (kind, text) = told("postgres://me:hush@127.0.0.1:1/mine").await;
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.starts_with("postgres.unavailable: the database \"mine\" on 127.0.0.1:1 "), "{text}");
    assert!(text.contains("refused") && text.contains("is Postgres running there?"), "{text}");
    assert!(!text.contains("hush"), "{text}");
}
