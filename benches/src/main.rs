//! One table of ratios: what picloud costs, each beside its limit measured in the same run.
//!
//! `scripts/bench` builds and runs it. Figures are medians of rounds that take turns with those of their limit, so
//! that a noisy machine disturbs both alike.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program for the terminal: it may fail loudly"
)]

mod client;
mod documents;
mod files;
mod hello;
mod json;
mod kv;
mod limits;
mod measure;
mod mixed;
mod postgres;
mod program;
mod waiting;
mod web;

use std::path::PathBuf;

use clap::Parser;
use picloud_core::alloc::CountingAllocator;

use measure::Table;

/// Measures something and adds its rows.
type Group = fn(&mut Table);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// Measure picloud beside its limits and print one table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the groups whose name contains this.
    #[arg(default_value = "")]
    only: String,

    /// Only sends this path of a server as often as it can, for ten seconds: ADDRESS/PATH.
    #[arg(long, value_name = "ADDRESS/PATH")]
    load: Option<String>,

    /// A Postgres server, for what is measured there; schemas named bench_… are left in it.
    #[arg(long, value_name = "URL")]
    database: Option<String>,

    /// Only handles this many events on the server, and prints how fast each 100 000 were.
    #[arg(long, value_name = "EVENTS", requires = "database")]
    drain: Option<u64>,

    /// Only writes to few keys from two processes for so many seconds, and looks whether the events tell one story.
    #[arg(long, value_name = "SECONDS", requires = "database")]
    mixed: Option<u64>,

    #[arg(long, hide = true)]
    mixed_schema: Option<String>,

    #[arg(long, hide = true, default_value_t = 0)]
    mixed_seed: u64,

    /// The quickstart program, for what is measured from outside.
    #[arg(long)]
    quickstart: Option<PathBuf>,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some((address, path)) = arguments.load.as_deref().and_then(|url| url.split_once('/')) {
        let request =
            http::Request::get(format!("/{path}")).header("host", "localhost").body(bytes::Bytes::new());
        let address = address.parse().unwrap();
        let rate = client::load(address, &request.unwrap(), 64, std::time::Duration::from_secs(10), None);
        println!("{}", measure::per_second(rate));
        return;
    }
    if let (Some(url), Some(rows)) = (&arguments.database, arguments.drain) {
        postgres::long_drain(url, rows);
        return;
    }
    if let (Some(url), Some(seconds)) = (&arguments.database, arguments.mixed) {
        match &arguments.mixed_schema {
            Some(schema) => mixed::work(url, schema, arguments.mixed_seed, seconds),
            None => mixed::run(url, seconds),
        }
        return;
    }
    let mut table = Table::default();
    let groups: [(&str, Group); 8] = [
        ("waiting", waiting::run),
        ("hello", hello::run),
        ("json", json::run),
        ("kv", kv::run),
        ("files", files::run),
        ("limits", limits::run),
        ("web", web::run),
        ("schedules", documents::schedules),
    ];
    for (name, group) in groups {
        if name.contains(&arguments.only) {
            eprintln!("measuring {name} …");
            group(&mut table);
        }
    }
    for (name, part) in postgres::PARTS {
        if let Some(url) = arguments.database.as_ref().filter(|_| name.contains(&arguments.only)) {
            eprintln!("measuring {name} …");
            postgres::run(url, part, &mut table);
        }
    }
    if let Some(quickstart) = arguments.quickstart.filter(|_| "program".contains(&arguments.only)) {
        eprintln!("measuring program …");
        program::run(&quickstart, &mut table);
    }
    print!("{table}");
}
