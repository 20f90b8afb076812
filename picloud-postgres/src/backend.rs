//! The backend, and how it is set up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use picloud_core::catalog::Catalog;
use picloud_core::docs::DocsService;
use picloud_core::execution::ExecutionStore;
use picloud_core::files::FilesService;
use picloud_core::kv::KvService;
use picloud_core::outbox::Outbox;
use picloud_core::pubsub::{Broadcast, PubsubService};
use picloud_core::queue::QueueService;
use picloud_core::secrets::SecretStore;
use picloud_core::{
    Backend, Clock, Error, ErrorKind, Result, SystemClock, Transaction, async_trait, jittered,
};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection as _, PgPool, Postgres, Row};

use crate::broadcast::{Live, PostgresBroadcast};
use crate::catalog::PostgresCatalog;
use crate::control::Control;
use crate::docs::PostgresDocs;
use crate::docs::indexes::Indexes;
use crate::error::{is_contended, of_connecting, of_database, of_setup};
use crate::executions::PostgresExecutions;
use crate::fault::{self, Commit};
use crate::files::PostgresFiles;
use crate::kv::PostgresKv;
use crate::lanes::Lanes;
use crate::notices::Notices;
use crate::outbox::PostgresOutbox;
use crate::pubsub::PostgresPubsub;
use crate::queue::{Freed, PostgresQueue};
use crate::schema::{self, SchemaName};
use crate::secrets::PostgresSecrets;
use crate::source::Source;
use crate::sql::Sql;
use crate::transaction::PostgresTransaction;

/// How often a write is tried that the database gave up for another one.
const ATTEMPTS: u32 = 4;

/// How a [`PostgresBackend`] is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// The schema that holds everything; nothing outside it is touched. Default: `picloud`.
    pub schema: SchemaName,
    /// Connections for each tokio runtime that calls services: each executor thread has one, the host has its own.
    /// Default: 4. Together with four for the backend itself this is what a process takes from the database's
    /// `max_connections`; as many again for transactions that the host has open at one time.
    pub connections_per_runtime: usize,
    /// The database is reached through a pooler that hands out a connection for one transaction at a time, such as
    /// `pgbouncer` with `pool_mode = transaction`. Then each call is a transaction of its own, statements are prepared
    /// anew each time, and instead of notifications there is polling: slower, but right. Default: false.
    pub pooler: bool,
    /// How often changes by other nodes are looked for, besides being notified of them; give or take a quarter. Default:
    /// 1 s.
    pub poll: Duration,
    /// How often expired and deleted entries are cleaned away. Default: 30 s.
    pub sweep: Duration,
    /// How long one statement may take before the database ends it. A call that gets no answer at all is given up five
    /// seconds later. Default: 30 s.
    pub statement_timeout: Duration,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        PostgresConfig {
            schema: SchemaName::default(),
            connections_per_runtime: 4,
            pooler: false,
            poll: Duration::from_secs(1),
            sweep: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

impl PostgresConfig {
    /// The same in another schema.
    #[must_use]
    pub fn schema(mut self, schema: SchemaName) -> Self {
        self.schema = schema;
        self
    }

    /// The same through a pooler.
    #[must_use]
    pub fn through_pooler(mut self) -> Self {
        self.pooler = true;
        self
    }
}

/// The backend on Postgres. Clones are the same backend.
///
/// Any number of processes may share one database: what one of them writes the others see, events are handled by
/// whichever has room, and what a process had that died is run again by another.
#[derive(Clone)]
pub struct PostgresBackend {
    inner: Arc<Inner>,
    // Ends the thread when the last backend goes.
    control: Arc<Control>,
}

/// What the parts of a backend share.
pub(crate) struct Inner {
    pub(crate) config: PostgresConfig,
    pub(crate) sql: Sql,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) notices: Notices,
    /// Keys of messages that were settled here, behind which others may wait.
    pub(crate) freed: Freed,
    pub(crate) live: Live,
    pub(crate) indexes: Indexes,
}

impl Inner {
    /// Rows of a statement that only reads. Repeated once on another connection if the one it was tried on had been idle
    /// and turned out to be broken: a database that was restarted is no reason to fail.
    pub(crate) async fn read_all(
        &self,
        source: &Source,
        query: impl Fn() -> Query<'static, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>> {
        let mut connection = source.acquire().await?;
        let may_be_stale = connection.may_be_stale();
        match connection.rows(query()).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && may_be_stale => {
                drop(connection);
                source.acquire().await?.rows(query()).await
            }
            answer => answer,
        }
    }

    /// Rows of a statement that writes. Repeated a few times when the database gave way to another transaction, which
    /// leaves nothing behind.
    pub(crate) async fn write(
        &self,
        query: impl Fn() -> Query<'static, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>> {
        for _ in 1..ATTEMPTS {
            match self.lanes.acquire().await?.rows(query()).await {
                Err(error) if is_contended(&error) => {}
                answer => return answer,
            }
        }
        self.lanes.acquire().await?.rows(query()).await
    }

    /// The same, around a commit at which a test may end the process.
    pub(crate) async fn commit(
        &self,
        commit: Commit,
        query: impl Fn() -> Query<'static, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>> {
        fault::point(commit, false);
        let rows = self.write(query).await?;
        fault::point(commit, true);
        Ok(rows)
    }

    /// One statement of a service that writes. Its connection is free again when it is answered.
    pub(crate) async fn write_once(
        &self,
        source: &Source,
        query: Query<'static, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>> {
        let mut connection = source.acquire().await?;
        fault::point(Commit::Write, false);
        let rows = connection.rows(query).await;
        fault::point(Commit::Write, true);
        rows
    }

    pub(crate) async fn check_schema(&self) -> Result<()> {
        let source = Source::Lanes(self.lanes.clone());
        let rows = self.read_all(&source, || self.sql.schema_version.query()).await?;
        let found = match rows.first() {
            Some(row) => row.try_get(0).map_err(of_database)?,
            None => None,
        };
        schema::check_version(&self.config.schema, found)
    }
}

/// How often a write is repeated that lost a race. Each time somebody else's write to the same place succeeded.
pub(crate) const WRITE_ATTEMPTS: u32 = 64;

/// The answer of a write that lost every one of them.
pub(crate) fn contended(code: &'static str, what: &str) -> Error {
    let message = format!("others wrote to the {what} {WRITE_ATTEMPTS} times during one write; try again");
    Error::new(ErrorKind::Unavailable, code, message)
}

/// Lets others go first, a little longer each time, up to some milliseconds.
pub(crate) async fn give_way(attempt: u32) {
    if attempt >= 2 {
        tokio::time::sleep(jittered(Duration::from_micros(128) * attempt.min(20))).await;
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("config", &self.config)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl PostgresBackend {
    /// Connects by a URL such as `postgres://user:password@host:5432/database`, with the default settings.
    ///
    /// # Errors
    /// `postgres.invalid_url`, and those of [`connect_with`](Self::connect_with).
    pub async fn connect(url: &str) -> Result<Self> {
        PostgresBackend::connect_url(url, PostgresConfig::default()).await
    }

    /// Connects by a URL, with settings.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_url(url: &str, config: PostgresConfig) -> Result<Self> {
        // The URL may hold a password: it is not repeated.
        let options = url.parse::<PgConnectOptions>().map_err(|error| {
            Error::invalid(
                "postgres.invalid_url",
                "a database URL reads postgres://user:password@host:5432/database",
            )
            .caused_by(error)
        })?;
        PostgresBackend::connect_with(options, config).await
    }

    /// Connects, and makes sure that the database answers. The schema is not looked at: [`migrate`](Self::migrate) brings
    /// it up to date.
    ///
    /// # Errors
    /// `postgres.unavailable` when the database does not answer, `postgres.no_database` when the server has none of this
    /// name, `postgres.login_refused` for a wrong user or password, `postgres.failed` when it refuses for another reason. Each
    /// names the database's place and what would be right, never the password.
    pub async fn connect_with(options: PgConnectOptions, config: PostgresConfig) -> Result<Self> {
        let mut options = options.disable_statement_logging();
        if options.get_application_name().is_none() {
            options = options.application_name("picloud");
        }
        if config.pooler {
            // A statement prepared on one connection of the database is not known on the next. And a pooler refuses a
            // setting that it does not know; no float is ever read as text here.
            options = options.statement_cache_capacity(0).extra_float_digits(None);
        } else {
            let limit = config.statement_timeout.as_millis().to_string();
            // Compiling a statement takes longer than any of ours should.
            options = options.options([("statement_timeout", limit.as_str()), ("jit", "off")]);
        }
        let most = config.connections_per_runtime.max(1);
        let lanes = Lanes::new(options, most, config.statement_timeout, config.pooler);
        let inner = Arc::new(Inner {
            sql: Sql::new(&config.schema, !config.pooler),
            notices: Notices::new(&config.schema),
            live: Live::new(),
            indexes: Indexes::default(),
            lanes: Arc::new(lanes),
            freed: Freed::default(),
            config,
        });
        let first =
            inner.lanes.connect().await.map_err(|error| of_connecting(error, inner.lanes.options()))?;
        first.close().await.map_err(of_database)?;
        let control = Arc::new(Control::start(&inner)?);
        Ok(PostgresBackend { inner, control })
    }

    /// As [`connect_with`](Self::connect_with), with the options of a pool of the host's. The pool itself is not used:
    /// its connections remain the host's.
    ///
    /// # Errors
    /// As [`connect_with`](Self::connect_with).
    pub async fn from_pool(pool: &PgPool, config: PostgresConfig) -> Result<Self> {
        PostgresBackend::connect_with((*pool.connect_options()).clone(), config).await
    }

    /// Brings the schema up to date: creates it, or adds what is new. Any number of processes may do so at once. All of it
    /// is one transaction.
    ///
    /// # Errors
    /// `postgres.newer_schema` and `postgres.edited_migration` when the schema is not one of this version's; those of the
    /// database.
    pub async fn migrate(&self) -> Result<()> {
        let mut connection = self.inner.lanes.connect().await?;
        schema::migrate(&mut connection, &self.inner.config.schema).await.map_err(of_setup)?;
        connection.close().await.map_err(of_database)
    }
}

impl fmt::Debug for PostgresBackend {
    /// Says nothing of how the database is reached: that may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackend").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for PostgresBackend {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(PostgresCatalog(self.inner.clone()))
    }

    fn kv(&self) -> Arc<dyn KvService> {
        Arc::new(PostgresKv::new(self.inner.clone(), Source::Lanes(self.inner.lanes.clone())))
    }

    fn docs(&self) -> Arc<dyn DocsService> {
        Arc::new(PostgresDocs::new(self.inner.clone(), Source::Lanes(self.inner.lanes.clone())))
    }

    fn files(&self) -> Arc<dyn FilesService> {
        Arc::new(PostgresFiles::new(self.inner.clone(), Source::Lanes(self.inner.lanes.clone())))
    }

    fn pubsub(&self) -> Arc<dyn PubsubService> {
        Arc::new(PostgresPubsub::new(self.inner.clone(), Source::Lanes(self.inner.lanes.clone())))
    }

    fn queue(&self) -> Arc<dyn QueueService> {
        Arc::new(PostgresQueue::new(self.inner.clone(), Source::Lanes(self.inner.lanes.clone())))
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(PostgresSecrets(self.inner.clone()))
    }

    fn broadcast(&self) -> Arc<dyn Broadcast> {
        Arc::new(PostgresBroadcast(self.inner.clone()))
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::new(PostgresOutbox(self.inner.clone()))
    }

    fn executions(&self) -> Arc<dyn ExecutionStore> {
        Arc::new(PostgresExecutions(self.inner.clone()))
    }

    async fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(PostgresTransaction::begin(&self.inner).await?))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    fn schema_version(&self) -> u32 {
        schema::latest().unsigned_abs()
    }

    async fn ready(&self) -> Result<()> {
        self.inner.check_schema().await
    }

    async fn close(&self) {
        self.control.end().await;
        self.inner.lanes.close();
    }
}
