//! Other readers of the same binary logs, each as a program of its own, in one run. They count rows
//! as their API gives them, and do nothing else; binpulse encodes and packs them besides.

mod ages;
pub(crate) mod reader;

use std::time::Duration;

use binpulse_demo::Mysqld;

use crate::live::{medians, rate};
use crate::replay::{Run, serve_on, settings, stream};
use crate::workload::Workload;
use crate::{Outcome, data, facts, workload};
use reader::{Order, Program, Seen};

/// Rounds of binpulse; of the others one, as some of them take long.
const ROUNDS: usize = 3;
/// Those that do not get to the end of the logs in this time are stopped: the rate counts.
const SECONDS_MAX: u64 = 12;

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("peers", names)?;
    println!("`make peers` fetches them first (benches/peers/fetch.sh).\n");
    for workload in workload::named(names, &["S", "M"]) {
        throughput(&workload).await?;
    }
    ages::run().await
}

async fn throughput(workload: &Workload) -> Outcome {
    let binlogs = data::binlogs(workload).await?;
    let schema = ["CREATE DATABASE bench".to_owned(), "USE bench".to_owned()];
    let schema = [schema.to_vec(), (workload.setup)()].concat();
    let mysqld = serve_on(&data::server()?, &binlogs, &schema).await?;
    println!(
        "{}: {}; {} rows, of which each reads what it can in {SECONDS_MAX} s",
        workload.name, workload.what, binlogs.rows
    );
    println!(
        "  {:<36} {:>8} {:>9} {:>8} {:>10} {:>7} {:>12} {:>7} {:>9}",
        "reader", "start s", "rows", "wall s", "rows/s", "ratio", "rows/CPU s", "ratio", "peak MiB"
    );
    let base = own(&mysqld, "none", binlogs.rows).await?;
    base.print(&base);
    own(&mysqld, "zstd", binlogs.rows).await?.print(&base);
    for program in reader::all() {
        let name = program.name;
        if !program.is_fetched() {
            println!("  {name:<36} not fetched");
            continue;
        }
        let line = match (program.is_old, reader::old_server()?) {
            (false, _) => other(&mysqld, program, binlogs.rows).await,
            (true, Some(server)) => {
                let login = reader::OLD_LOGIN.map(str::to_owned).to_vec();
                let old = serve_on(&server, &binlogs, &[login, schema.clone()].concat()).await?;
                let line = other(&old, program, binlogs.rows).await;
                line.map(|line| Line { name: line.name + " (MySQL 8.0)", ..line })
            }
            (true, None) => Err(format!("{name}: there is no MySQL 8.0 here").into()),
        };
        match line {
            Ok(line) => line.print(&base),
            Err(error) => println!("  {error}"),
        }
    }
    println!();
    Ok(())
}

async fn own(mysqld: &Mysqld, compression: &str, rows: u64) -> Outcome<Line> {
    let mut runs = Vec::new();
    for _ in 0..ROUNDS {
        let mut settings = settings(mysqld);
        settings.push(("sink.kind", "null".to_owned()));
        settings.push(("message.compression", compression.to_owned()));
        runs.push(stream(mysqld, settings, rows).await?);
    }
    let run = medians(&runs);
    let name = format!("binpulse, null, {compression}");
    let Run { first: start, wall, cpu, peak_kib, .. } = run;
    Ok(Line { name, rows, start, wall, cpu, peak_kib })
}

async fn other(mysqld: &Mysqld, program: Program, rows: u64) -> Outcome<Line> {
    let order = Order {
        port: mysqld.port(),
        file: "binlog.000001",
        position: 4,
        rows,
        seconds: SECONDS_MAX,
        ages: false,
    };
    let mut reader = program.start(order)?;
    let start = reader.first().await?;
    let Seen { said, start, wall, cpu, peak_kib } = reader.finish(start).await?;
    Ok(Line { name: said.reader, rows: said.rows, start, wall, cpu, peak_kib })
}

/// A line of the table.
#[derive(Debug, Clone)]
struct Line {
    name: String,
    rows: u64,
    start: Duration,
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
}

impl Line {
    /// Prints it; ratios tell how many times fewer rows than binpulse without compression.
    fn print(&self, base: &Self) {
        let (by_wall, by_cpu) = (rate(self.rows, self.wall), rate(self.rows, self.cpu));
        println!(
            "  {:<36} {:>8.2} {:>9} {:>8.2} {:>10.0} {:>7.1} {:>12.0} {:>7.1} {:>9}",
            self.name,
            self.start.as_secs_f64(),
            self.rows,
            self.wall.as_secs_f64(),
            by_wall,
            rate(base.rows, base.wall) / by_wall,
            by_cpu,
            rate(base.rows, base.cpu) / by_cpu,
            self.peak_kib >> 10
        );
    }
}
