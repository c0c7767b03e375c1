//! Decode, encode and finalize from memory, on one core: what each stage costs by itself.

use std::time::Duration;

use stats_alloc::Region;
use tokio::runtime::Runtime;

use crate::data::Binlogs;
use crate::events::Events;
use crate::process::thread_cpu;
use crate::stages::{Stage, pass};
use crate::workload::{self, Workload};
use crate::{ALLOCATOR, Outcome, data, facts};

/// Each stage runs so often; the fastest counts, as everything else is disturbance.
const ROUNDS: u32 = 5;
const STAGES: [(Stage, &str); 5] = [
    (Stage::Check, "frame + crc32"),
    (Stage::Walk, "decode"),
    (Stage::Pack, "decode + encode + pack"),
    (Stage::Plain, "... + seal, base64"),
    (Stage::Seal, "... + seal, zstd + base64"),
];

pub(crate) fn run(runtime: &Runtime, names: &[String]) -> Outcome {
    facts::print("memory", names)?;
    for workload in workload::named(names, &["S", "M", "U", "W", "J", "B", "C"]) {
        let binlogs = runtime.block_on(data::binlogs(&workload))?;
        measure(&workload, &binlogs)?;
    }
    Ok(())
}

fn measure(workload: &Workload, binlogs: &Binlogs) -> Outcome {
    let events = Events::load(binlogs)?;
    println!(
        "{}: {}; {} rows, {} transactions, {} events, {} MB",
        workload.name,
        workload.what,
        binlogs.rows,
        binlogs.transactions,
        events.count(),
        events.bytes() / 1_000_000
    );
    println!(
        "  {:<26} {:>10} {:>12} {:>9} {:>12} {:>12}",
        "stage (a CPU second)", "rows/s", "trx/s", "MB/s", "ns a row", "allocs a row"
    );
    for (stage, name) in STAGES {
        let mut best = Duration::MAX;
        let mut allocations = 0;
        for _ in 0..ROUNDS {
            let region = Region::new(ALLOCATOR);
            let began = thread_cpu();
            let rows = pass(stage, events.iter())?;
            best = best.min(thread_cpu().saturating_sub(began));
            allocations = region.change().allocations;
            if stage != Stage::Check && rows != binlogs.rows {
                return Err(format!("{rows} rows came out of {}", binlogs.rows).into());
            }
        }
        print_line(name, best, allocations, binlogs, events.bytes());
    }
    println!();
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn print_line(name: &str, best: Duration, allocations: usize, binlogs: &Binlogs, bytes: usize) {
    let seconds = best.as_secs_f64();
    let rows = binlogs.rows as f64;
    println!(
        "  {name:<26} {:>10.0} {:>12.0} {:>9.0} {:>12.0} {:>12.4}",
        rows / seconds,
        binlogs.transactions as f64 / seconds,
        bytes as f64 / 1e6 / seconds,
        seconds * 1e9 / rows,
        allocations as f64 / rows,
    );
}
