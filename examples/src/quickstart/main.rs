//! Serves a folder of scripts over HTTP, with everything in memory or in a Postgres database.
//!
//! `cargo run --release --bin quickstart` and follow what it prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod page;
mod terminal;
mod try_one;
mod watch;

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use picloud_axum::{RouterConfig, ServeConfig, bind, serve};
use picloud_core::alloc::CountingAllocator;
use picloud_core::backend::Backend;
use picloud_core::http::HttpConfig;
use picloud_core::script::{Bundle, DeployError, DeployReport};
use picloud_core::{App, Picloud, PicloudConfig};
use picloud_memory::MemoryBackend;
use picloud_postgres::PostgresBackend;
use terminal::TerminalSink;

// With it the memory of each script is bounded.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// How long scripts and connections may finish after Ctrl-C or SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Serve a folder of scripts over HTTP, with everything in memory or in a Postgres database.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000", env = "PICLOUD_BIND")]
    listen: SocketAddr,

    /// The folder of scripts.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"))]
    scripts: PathBuf,

    /// Deploy again whenever a file of the folder is saved.
    #[arg(long)]
    watch: bool,

    /// Keep everything in this Postgres database, such as postgres://localhost/mydb; its schema is brought up to date.
    /// Several processes on one database share the work.
    #[arg(long, value_name = "URL", env = "PICLOUD_DATABASE_URL", hide_env_values = true)]
    database: Option<String>,

    /// Answer one request with one script, print everything, and end.
    #[arg(long = "try", value_name = "FILE", requires = "request")]
    try_file: Option<PathBuf>,

    /// The request for --try, such as 'GET /greet/ada'.
    #[arg(long, value_name = "METHOD PATH", requires = "try_file")]
    request: Option<String>,

    /// The body of the request for --try.
    #[arg(long, value_name = "TEXT", requires = "request")]
    body: Option<String>,

    /// A header of the request for --try, such as 'content-type: text/plain'.
    #[arg(long, value_name = "NAME: VALUE", requires = "request")]
    header: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| {
            "warn,picloud_postgres=info,picloud_core::execution::writer=info,picloud::script=off".into()
        }))
        .with_writer(std::io::stderr)
        // Colours are for eyes, not for files.
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let backend: Arc<dyn Backend> = match &arguments.database {
        Some(url) => {
            let backend = PostgresBackend::connect(url).await?;
            backend.migrate().await?;
            Arc::new(backend)
        }
        None => Arc::new(MemoryBackend::new()),
    };
    let sink = TerminalSink::new(backend.executions());
    let cloud = Picloud::builder(backend)
        .config(PicloudConfig::from_env())
        .http(HttpConfig::from_env())
        .execution_log(sink)
        .start()
        .await?;
    let app = cloud.ensure_app("default").await?;
    let code = match (&arguments.try_file, &arguments.request) {
        (Some(file), Some(request)) => {
            try_one::run(&cloud, &app, file, request, arguments.body.as_deref(), &arguments.header).await
        }
        _ => serve_folder(&cloud, &app, &arguments).await.map(|()| ExitCode::SUCCESS),
    };
    cloud.shutdown(DRAIN).await;
    code
}

async fn serve_folder(cloud: &Picloud, app: &App, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let listener = bind(arguments.listen).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "{} is taken; stop the program that listens there, or choose another with --listen",
                arguments.listen
            )
        }
        _ => format!("cannot listen on {}: {error}", arguments.listen),
    })?;
    let address = listener.local_addr()?;
    // Before anybody is told where it listens: from then on it may be stopped.
    let stop = stop_signal()?;
    match deploy(app, &arguments.scripts).await {
        Ok(report) => print!("{}", page::welcome(&arguments.scripts, &report, address, arguments.watch)),
        // With --watch the first fix goes live like every later one.
        Err(DeployError::Invalid(problems)) => {
            eprint!("{}", page::mistakes(&problems));
            if !arguments.watch {
                return Err("nothing was deployed".into());
            }
            eprintln!("nothing is live yet; save the file and it will be, at http://{address}");
        }
        Err(error) => return Err(error.into()),
    }
    let watcher = if arguments.watch { Some(watch::start(app.clone(), &arguments.scripts)?) } else { None };
    let routes = RouterConfig::default().expose_errors(true);
    serve(cloud, listener, routes, ServeConfig::default().drain(DRAIN), stop).await?;
    if let Some(watcher) = watcher {
        watcher.stop().await;
    }
    Ok(())
}

/// Reads the folder and makes it live.
async fn deploy(app: &App, folder: &Path) -> Result<DeployReport, DeployError> {
    let folder = folder.to_owned();
    let bundle = tokio::task::spawn_blocking(move || Bundle::read(folder)).await;
    let bundle = bundle
        .map_err(|error| picloud_core::Error::internal("reading the folder panicked").caused_by(error))??;
    app.deploy(&bundle).await
}

/// Completes on Ctrl-C or SIGTERM, from now on.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let stopped = {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    };
    #[cfg(not(unix))]
    let stopped = async { drop(tokio::signal::ctrl_c().await) };
    Ok(async {
        stopped.await;
        eprintln!("\nstopping: requests under way may finish");
    })
}
