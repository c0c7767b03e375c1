//! Benchmarks. None is a test: nothing fails for being slow. Each prints what it ran on, with what
//! data, and ratios that were taken in one run, beside the command that repeats it.
//!
//! ```text
//! cargo bench --bench bench -- memory [WORKLOAD...]     decode, encode and finalize from memory, on one core
//! cargo bench --bench bench -- live [WORKLOAD...]       MySQL to nowhere, beside a reader that only counts
//! cargo bench --bench bench -- delivery [WORKLOAD...]   MySQL to an SNS endpoint on loopback
//! cargo bench --bench bench -- backlog                  catching up, a large transaction, memory, start
//! cargo bench --bench bench -- scaling [KIND...]        tables, columns, lanes, cores
//! cargo bench --bench bench -- latency                  COMMIT to receipt at given rates
//! cargo bench --bench bench -- idle                     a minute in which nothing happens
//! cargo bench --bench bench -- snapshot                 a table, beside mysqldump, SELECT * and Debezium; changes meanwhile
//! cargo bench --bench bench -- relay [memory|drain|flat|latency]   messages opened and translated, drained by the relay,
//!                                                       its memory over 5 million rows, and the age of rows behind it
//! cargo bench --bench bench -- peers [WORKLOAD...]      other readers of the same logs, where they were fetched
//! ```
//!
//! `BINPULSE_BENCH_SCALE` (default 1) scales the number of rows. Workloads are made by a private
//! MySQL once, and kept in the user's cache folder.
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::needless_pass_by_value,
    reason = "topics' names have one case; nothing here is hot but what it calls"
)]

mod backlog;
mod counter;
mod data;
mod delivery;
mod events;
mod facts;
mod idle;
mod latency;
mod live;
mod memory;
mod peers;
mod process;
mod relay;
mod replay;
mod scaling;
mod snapshot;
mod stages;
mod workload;

#[path = "../../tests/support/aws/mod.rs"]
mod aws;

use std::alloc::System;
use std::error::Error;
use std::process::Command;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The system's allocator with counters, to tell how many allocations a row costs.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All but the peers, in the order in which they run.
const NAMES: [&str; 9] =
    ["memory", "live", "delivery", "backlog", "scaling", "latency", "idle", "snapshot", "relay"];

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (name, rest) = words.split_first().map_or(("all", &[][..]), |(name, rest)| (name, rest));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match name {
        "memory" => memory::run(&runtime, rest),
        "live" => runtime.block_on(live::run(rest)),
        "delivery" => runtime.block_on(delivery::run(rest)),
        "backlog" => runtime.block_on(backlog::run(rest)),
        "scaling" => runtime.block_on(scaling::run(rest)),
        "latency" => runtime.block_on(latency::run(rest)),
        "idle" => runtime.block_on(idle::run(rest)),
        "snapshot" => runtime.block_on(snapshot::run(rest)),
        "relay" => relay::run(&runtime, rest),
        "peers" => runtime.block_on(peers::run(rest)),
        "stand-in" => runtime.block_on(delivery::serve(rest)),
        "all" => all(),
        other => Err(format!("no benchmark `{other}`: {}, peers", NAMES.join(", ")).into()),
    }
}

/// Each by itself, so that none is measured in the memory that another left; then what they took.
fn all() -> Outcome {
    let mut summary = Vec::new();
    for name in NAMES {
        let began = Instant::now();
        let status = Command::new(std::env::current_exe()?).arg(name).status()?;
        summary.push((name, status, began.elapsed()));
    }
    facts::print("all", &[])?;
    for (name, status, took) in &summary {
        let state = if status.success() { "done".to_owned() } else { format!("FAILED, {status}") };
        println!("  {name:<10} {:>6.0} s  {state}", took.as_secs_f64());
    }
    match summary.iter().find(|(_, status, _)| !status.success()) {
        None => Ok(()),
        Some((name, ..)) => Err(format!("benchmark `{name}` did not run to its end").into()),
    }
}
