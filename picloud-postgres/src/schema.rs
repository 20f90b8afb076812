//! The schema: its name, and how it is brought up to date.

use std::fmt;

use picloud_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::error::of_database;

/// The name of a schema: `[a-z_][a-z0-9_]{0,62}`, so that it needs no quotes and nothing in it can end a statement.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// Checks a name.
    ///
    /// # Errors
    /// `postgres.invalid_schema`, quoting the name and saying what is allowed.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let begins = |b: u8| b.is_ascii_lowercase() || b == b'_';
        let fits = text.len() <= 63
            && text.bytes().next().is_some_and(begins)
            && text.bytes().all(|b| begins(b) || b.is_ascii_digit());
        if fits && !text.starts_with("pg_") {
            return Ok(SchemaName(text));
        }
        Err(Error::invalid(
            "postgres.invalid_schema",
            format!(
                "a schema is named by 1 to 63 of a-z, 0-9 and '_', does not begin with a digit or pg_, and this is {:?}",
                text.chars().take(80).collect::<String>()
            ),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A statement for this schema: `{s}` in the text becomes its name.
    pub(crate) fn fill(&self, template: &str) -> String {
        template.replace("{s}", &self.0)
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        SchemaName("picloud".into())
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A step of the schema. Never edited once it has been released: databases have it.
pub(crate) struct Migration {
    pub(crate) version: i32,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// Every step, in order.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "first", text: include_str!("../migrations/0001_first.sql") },
    Migration { version: 2, name: "docs", text: include_str!("../migrations/0002_docs.sql") },
    Migration { version: 3, name: "files", text: include_str!("../migrations/0003_files.sql") },
    Migration { version: 4, name: "queue", text: include_str!("../migrations/0004_queue.sql") },
    Migration { version: 5, name: "imports", text: include_str!("../migrations/0005_imports.sql") },
    Migration { version: 6, name: "secrets", text: include_str!("../migrations/0006_secrets.sql") },
    Migration { version: 7, name: "ephemeral", text: include_str!("../migrations/0007_ephemeral.sql") },
    Migration { version: 8, name: "docs indexes", text: include_str!("../migrations/0008_docs_indexes.sql") },
    Migration { version: 9, name: "comments", text: include_str!("../migrations/0009_comments.sql") },
];

/// The version of a schema that is up to date.
pub(crate) fn latest() -> i32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

impl Migration {
    pub(crate) fn checksum(&self) -> Vec<u8> {
        Sha256::digest(self.text.as_bytes()).to_vec()
    }
}

/// Brings the schema up to date, in one transaction. Processes that do so at the same time wait for each other: the lock
/// is the transaction's, since one of the session would break through a pooler.
pub(crate) async fn migrate(connection: &mut PgConnection, schema: &SchemaName) -> Result<()> {
    let mut tx = connection.begin().await.map_err(of_database)?;
    // A step may take long in a large database, and so may the wait for another process that takes it.
    let patience = "SET LOCAL statement_timeout = '10min'; SET LOCAL client_min_messages = 'warning'";
    sqlx::raw_sql(patience).execute(&mut *tx).await.map_err(of_database)?;
    // None of these statements is named, so that they work through a pooler.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('picloud migrations ' || $1, 0))")
        .persistent(false)
        .bind(schema.as_str())
        .execute(&mut *tx)
        .await
        .map_err(of_database)?;
    let mine = sqlx::query("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
        .persistent(false)
        .bind(schema.as_str())
        .fetch_one(&mut *tx)
        .await
        .and_then(|row| row.try_get::<bool, _>(0))
        .map_err(of_database)?;
    if !mine {
        // Not `IF NOT EXISTS`, which asks for the right to create one even if there is nothing to create.
        let create = schema.fill("CREATE SCHEMA {s}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *tx).await.map_err(of_database)?;
    }
    let begin = schema.fill(
        "CREATE TABLE IF NOT EXISTS {s}.migrations (
             version integer PRIMARY KEY, name text NOT NULL, checksum bytea NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now()
         );",
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *tx).await.map_err(of_database)?;
    let known = schema.fill("SELECT version, checksum FROM {s}.migrations ORDER BY version");
    let known: Vec<(i32, Vec<u8>)> = sqlx::query(AssertSqlSafe(known))
        .persistent(false)
        .fetch_all(&mut *tx)
        .await
        .map_err(of_database)?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<sqlx::Result<_>>()
        .map_err(of_database)?;
    for (version, checksum) in &known {
        match MIGRATIONS.iter().find(|migration| migration.version == *version) {
            None => return Err(too_new(schema, *version)),
            Some(migration) if migration.checksum() != *checksum => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "postgres.edited_migration",
                    format!(
                        "migration {version} ({}) of schema {schema} is not the one that this version of picloud has",
                        migration.name
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    let done = |migration: &Migration| known.iter().any(|(version, _)| *version == migration.version);
    for migration in MIGRATIONS.iter().filter(|migration| !done(migration)) {
        sqlx::raw_sql(AssertSqlSafe(schema.fill(migration.text)))
            .execute(&mut *tx)
            .await
            .map_err(of_database)?;
        let note = schema.fill("INSERT INTO {s}.migrations (version, name, checksum) VALUES ($1, $2, $3)");
        sqlx::query(AssertSqlSafe(note))
            .persistent(false)
            .bind(migration.version)
            .bind(migration.name)
            .bind(migration.checksum())
            .execute(&mut *tx)
            .await
            .map_err(of_database)?;
    }
    tx.commit().await.map_err(of_database)
}

fn too_new(schema: &SchemaName, version: i32) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "postgres.newer_schema",
        format!(
            "schema {schema} has migration {version}; this version of picloud knows {} at most",
            latest()
        ),
    )
}

/// Whether a schema whose latest migration is `found` can be worked with.
pub(crate) fn check_version(schema: &SchemaName, found: Option<i32>) -> Result<()> {
    match found {
        Some(version) if version == latest() => Ok(()),
        Some(version) if version > latest() => Err(too_new(schema, version)),
        found => Err(not_migrated().with("schema", schema).with("found", found.unwrap_or(0))),
    }
}

/// The schema is missing or older than this version.
pub(crate) fn not_migrated() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "postgres.not_migrated",
        "the schema is missing or not up to date; call PostgresBackend::migrate",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_migrations_are_as_they_were() {
        let checksums: Vec<_> = MIGRATIONS
            .iter()
            .map(|migration| {
                let hex: String = migration.checksum().iter().map(|byte| format!("{byte:02x}")).collect();
                (migration.version, hex)
            })
            .collect();
        let known =
            [DOCS, FILES, QUEUE, IMPORTS, SECRETS, EPHEMERAL, DOCS_INDEXES, COMMENTS].map(str::to_owned);
        assert_eq!(checksums[0], (1, FIRST.to_owned()));
        assert_eq!(checksums[1..].iter().map(|(_, sum)| sum.clone()).collect::<Vec<_>>(), known);
    }

    const IMPORTS: &str = "df335e3e25fc63a54417c4569d094d67d0cf9d23d6e6c01adcb18570a5dfb9fc";
    const DOCS_INDEXES: &str = "2cc9bf6501e9ddcf2b69c062f9ae931e5f13ab7ada65575476b325cddf4b44fd";
    const COMMENTS: &str = "d194d4da27fe603e9c12a463045ed0bc208d8295c33636ddace1f237ed4bbe23";
    const EPHEMERAL: &str = "02b5ba0ca7dd0b14b1eee19af01c7bcede9f87d1c9449933a55e96b3e49b714f";
    const DOCS: &str = "f95a04d64806c50c5a15905b8a8301da048ddea9298d6b0715a7739578f1e49e";
    const FILES: &str = "8cfde03cc6e13c5bdf4ff64a6d39e870c079f657a6d4d3eda32585bf96fd0a90";
    const QUEUE: &str = "bbcc313e10fd8e230fb3ebe142a56101a7680e366c9944fe546678657590dc19";
    const SECRETS: &str = "30c6b3327aee135841158f90b80e2f65179740f561cd623d6ec0845ca6d4ced5";
    const FIRST: &str = "e86d7efc6752e1ff8ec133eacfe695fbfcced788ed8042c150e22811ecd081b3";

    #[test]
    fn versions_grow_by_one() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=latest()).collect::<Vec<_>>());
    }

    #[test]
    fn a_name_that_could_end_a_statement_is_refused() {
        for wrong in ["", "a;b", "A", "1a", "a-b", "\"a\"", "pg_x", "a b", &"a".repeat(64)] {
            assert_eq!(SchemaName::new(wrong).unwrap_err().code(), "postgres.invalid_schema", "{wrong:?}");
        }
        assert_eq!(SchemaName::new("_tenant_7").unwrap().as_str(), "_tenant_7");
    }
}
