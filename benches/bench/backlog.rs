//! What is behind when it starts: how fast a backlog is caught up with, what that takes in memory,
//! and how long it takes until the first row leaves.

use std::time::Duration;

use crate::data::Binlogs;
use crate::delivery::Standin;
use crate::live::rate;
use crate::replay::{self, settings, stream};
use crate::{Outcome, aws, data, facts, workload};

/// Starts whose time is taken.
const STARTS: usize = 5;
/// Sizes, megabytes of binary log.
const BACKLOG: (&str, u64) = ("BINPULSE_BENCH_BACKLOG_MB", 300);
const TRANSACTION: (&str, u64) = ("BINPULSE_BENCH_TRANSACTION_MB", 270);

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("backlog", names)?;
    println!(
        "sizes     {}, {} (megabytes of binary log, by these variables)\n",
        [BACKLOG.0, &data::megabytes(BACKLOG.0, BACKLOG.1).to_string()].join("="),
        [TRANSACTION.0, &data::megabytes(TRANSACTION.0, TRANSACTION.1).to_string()].join("="),
    );
    println!(
        "{:<30} {:>6} {:>7} {:>8} {:>6} {:>7} {:>10} {:>9} {:>16}",
        "to SNS, standard, zstd",
        "MB",
        "wall s",
        "rows/s",
        "MB/s",
        "CPU s",
        "median MiB",
        "peak MiB",
        "half 1, 2 MiB"
    );
    for (what, name, (variable, fallback)) in [
        ("backlog of 100-row inserts", "M", BACKLOG),
        ("one transaction in the log", "L", TRANSACTION),
    ] {
        let megabytes = data::megabytes(variable, fallback);
        let workload = workload::of_megabytes(name, megabytes).ok_or("no such workload")?;
        let binlogs = data::made(&workload).await?;
        measure(what, &binlogs).await?;
    }
    Ok(())
}

async fn measure(what: &str, binlogs: &Binlogs) -> Outcome {
    let mysqld = replay::serve(binlogs).await?;
    let mut starts: Vec<Duration> = Vec::new();
    for round in 0..STARTS {
        let standin = Standin::start("bench").await?;
        let mut settings = settings(&mysqld);
        settings.push(("sns.topic", standin.arn.clone()));
        settings.push(("sns.region", aws::REGION.to_owned()));
        settings.push(("sns.endpoint_url", standin.url.clone()));
        // All of it once; after that, only the first row.
        let rows = if round == 0 { binlogs.rows } else { 1 };
        let run = stream(&mysqld, settings, rows).await?;
        starts.push(run.first);
        if round == 0 {
            println!(
                "{what:<30} {:>6} {:>7.2} {:>8.0} {:>6.0} {:>7.2} {:>10} {:>9} {:>16}",
                binlogs.bytes / 1_000_000,
                run.wall.as_secs_f64(),
                rate(binlogs.rows, run.wall),
                rate(binlogs.bytes / 1_000_000, run.wall),
                run.cpu.as_secs_f64(),
                run.steady_kib >> 10,
                run.peak_kib >> 10,
                growth(run.halves_kib),
            );
        }
    }
    starts.sort_unstable();
    let starts: Vec<_> = starts.iter().map(|start| start.as_millis().to_string()).collect();
    println!("  start to first row accepted: {} ms\n", starts.join(", "));
    Ok(())
}

/// Medians of the two halves of the time, and what the second has more.
#[expect(clippy::cast_precision_loss, reason = "KiB far below 2^53")]
fn growth([first, second]: [u64; 2]) -> String {
    let more = (second as f64 / first.max(1) as f64 - 1.0) * 100.0;
    format!("{}, {} ({more:+.0} %)", first >> 10, second >> 10)
}
