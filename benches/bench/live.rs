//! From a live MySQL to nowhere, beside the least that a reader can do and MySQL's own tool.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use binpulse_demo::{Folder, Mysqld};

use crate::counter::{Counted, count};
use crate::data::Binlogs;
use crate::process::Pid;
use crate::replay::{Run, serve, settings, stream};
use crate::workload::{self, Workload};
use crate::{Outcome, data, facts};

/// Rounds; in each, every reader reads everything once.
const ROUNDS: usize = 3;

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("live", names)?;
    for workload in workload::named(names, &["S", "M"]) {
        let binlogs = data::binlogs(&workload).await?;
        measure(&workload, &binlogs).await?;
    }
    Ok(())
}

async fn measure(workload: &Workload, binlogs: &Binlogs) -> Outcome {
    let mysqld = serve(binlogs).await?;
    let (mut counts, mut tools) = (Vec::new(), Vec::new());
    let (mut packed, mut plain) = (Vec::new(), Vec::new());
    let address = mysqld.address();
    // Once for the caches.
    tokio::task::block_in_place(|| count(&address))?;
    for _ in 0..ROUNDS {
        counts.push(tokio::task::block_in_place(|| count(&address))?);
        if let Some(run) = mysqlbinlog(&mysqld)? {
            tools.push(run);
        }
        for (runs, compression) in [(&mut plain, "none"), (&mut packed, "zstd")] {
            let mut settings = settings(&mysqld);
            settings.push(("sink.kind", "null".to_owned()));
            settings.push(("message.compression", compression.to_owned()));
            runs.push(stream(&mysqld, settings, binlogs.rows).await?);
        }
    }
    report(workload, binlogs, &counts, &tools, [("none", &plain), ("zstd", &packed)]);
    Ok(())
}

/// `mysqlbinlog --raw`, which copies events to files. `None` where there is none.
fn mysqlbinlog(mysqld: &Mysqld) -> Outcome<Option<Run>> {
    let Some(program) = &mysqld.server().mysqlbinlog else { return Ok(None) };
    let folder = Folder::create()?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(["--no-defaults", "--read-from-remote-server", "--raw", "--to-last-log"])
        .args(["--host=127.0.0.1", "--user=root", "--ssl-mode=DISABLED"])
        .arg(format!("--port={}", mysqld.port()))
        .arg(format!("--result-file={}/", folder.path().display()))
        .arg("binlog.000001")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = Pid::of(child.id());
    let mut cpu = Duration::ZERO;
    // Its clock can't be read once it has ended.
    let status = loop {
        cpu = cpu.max(pid.cpu());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if !status.success() {
        return Err(format!("mysqlbinlog ended with {status}").into());
    }
    Ok(Some(Run { wall: began.elapsed(), cpu, ..Run::default() }))
}

fn report(
    workload: &Workload,
    binlogs: &Binlogs,
    counts: &[Counted],
    tools: &[Run],
    runs: [(&str, &Vec<Run>); 2],
) {
    let base = median(counts.iter().map(|counted| counted.wall));
    let base_cpu = median(counts.iter().map(|counted| counted.cpu));
    println!(
        "{}: {}; {} rows, {} transactions, {} MB, {} packets of {} MB; medians of {ROUNDS}",
        workload.name,
        workload.what,
        binlogs.rows,
        binlogs.transactions,
        binlogs.bytes / 1_000_000,
        counts.first().map_or(0, |counted| counted.packets),
        counts.first().map_or(0, |counted| counted.bytes) / 1_000_000,
    );
    println!(
        "  {:<28} {:>8} {:>7} {:>8} {:>7} {:>10} {:>10} {:>9}",
        "reader", "wall s", "ratio", "CPU s", "ratio", "rows/s", "server s", "peak MiB"
    );
    let line = |name: &str, run: &Run| {
        println!(
            "  {name:<28} {:>8.3} {:>7.2} {:>8.2} {:>7.2} {:>10.0} {:>10.2} {:>9}",
            run.wall.as_secs_f64(),
            run.wall.as_secs_f64() / base.as_secs_f64(),
            run.cpu.as_secs_f64(),
            run.cpu.as_secs_f64() / base_cpu.as_secs_f64().max(0.01),
            rate(binlogs.rows, run.wall),
            run.server_cpu.as_secs_f64(),
            run.peak_kib >> 10,
        );
    };
    line("packet counter", &Run { wall: base, cpu: base_cpu, ..Run::default() });
    if !tools.is_empty() {
        line("mysqlbinlog --raw", &medians(tools));
    }
    for (compression, runs) in runs {
        line(&format!("binpulse, null, {compression}"), &medians(runs));
    }
    println!();
}

/// Rows a second.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) fn rate(rows: u64, wall: Duration) -> f64 {
    rows as f64 / wall.as_secs_f64()
}

/// Each figure's median.
pub(crate) fn medians(runs: &[Run]) -> Run {
    let of = |figure: fn(&Run) -> Duration| median(runs.iter().map(figure));
    Run {
        wall: of(|run| run.wall),
        start: of(|run| run.start),
        cpu: of(|run| run.cpu),
        server_cpu: of(|run| run.server_cpu),
        first: of(|run| run.first),
        peak_kib: runs.iter().map(|run| run.peak_kib).max().unwrap_or_default(),
        steady_kib: runs.iter().map(|run| run.steady_kib).max().unwrap_or_default(),
        halves_kib: runs.last().map(|run| run.halves_kib).unwrap_or_default(),
    }
}

pub(crate) fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
