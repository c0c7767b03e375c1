//! Other readers of the same binary logs, each as a program of its own, in one run. They count rows
//! as their API gives them, and do nothing else; binpulse encodes and packs them besides.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use binpulse::demo::Mysqld;

use crate::live::rate;
use crate::process::Pid;
use crate::replay::{serve, settings, stream};
use crate::workload::Workload;
use crate::{Outcome, data, facts, workload};

/// Rows of each: few, as some of them take long.
const ROWS: u64 = 200_000;

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("peers", names)?;
    println!("benches/peers/fetch.sh fetches those that are missing.\n");
    for workload in workload::named(names, &["S", "M"]) {
        let workload = Workload { rows: ROWS, ..workload };
        let binlogs = data::made(&workload).await?;
        let mysqld = serve(&binlogs).await?;
        println!("{}: {}; {} rows", workload.name, workload.what, binlogs.rows);
        println!(
            "  {:<34} {:>8} {:>8} {:>18} {:>9}",
            "reader", "wall s", "CPU s", "rows a CPU second", "peak MiB"
        );
        for (name, mut command) in peers() {
            command.args(["127.0.0.1", &mysqld.port().to_string(), &binlogs.rows.to_string()]);
            match watch(command)? {
                Some(used) => print_line(&name, binlogs.rows, used),
                None => println!("  {name:<34} not here"),
            }
        }
        let mut settings = settings(&mysqld);
        settings.push(("sink.kind", "null".to_owned()));
        settings.push(("message.compression", "none".to_owned()));
        let run = stream(&mysqld, settings, binlogs.rows).await?;
        let used = Used { wall: run.wall, cpu: run.cpu, peak_kib: run.peak_kib };
        print_line("binpulse, to the null sink", binlogs.rows, used);
        println!();
        stop(mysqld).await?;
    }
    Ok(())
}

async fn stop(mut mysqld: Mysqld) -> Outcome {
    Ok(mysqld.stop().await?)
}

/// Programs by their names.
fn peers() -> Vec<(String, Command)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (fetched, here) = (root.join(".deps/peers"), root.join("benches/peers"));
    let mut python = Command::new(fetched.join("python/bin/python3"));
    python.arg(here.join("python.py"));
    let mut zongji = Command::new("node");
    zongji.arg(here.join("zongji.cjs")).env("NODE_PATH", fetched.join("zongji/node_modules"));
    let crate_api = Command::new(fetched.join("mysql_async/release/peer-mysql-async"));
    vec![
        ("python-mysql-replication 1.0.17".to_owned(), python),
        ("@vlasky/zongji 0.9.0".to_owned(), zongji),
        ("mysql_async 0.37.1, its rows".to_owned(), crate_api),
    ]
}

/// What a program used, its start included.
#[derive(Debug, Clone, Copy)]
struct Used {
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
}

/// Runs a program to its end; `None` if it is not here, or has failed.
fn watch(mut command: Command) -> Outcome<Option<Used>> {
    let began = Instant::now();
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = spawned else { return Ok(None) };
    let pid = Pid::of(child.id());
    let (mut cpu, mut peak_kib) = (Duration::ZERO, 0);
    // Neither can be read once it has ended.
    let status = loop {
        cpu = cpu.max(pid.cpu());
        peak_kib = peak_kib.max(pid.resident_kib().0);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(status.success().then(|| Used { wall: began.elapsed(), cpu, peak_kib }))
}

fn print_line(name: &str, rows: u64, used: Used) {
    println!(
        "  {name:<34} {:>8.2} {:>8.2} {:>18.0} {:>9}",
        used.wall.as_secs_f64(),
        used.cpu.as_secs_f64(),
        rate(rows, used.cpu),
        used.peak_kib >> 10
    );
}
