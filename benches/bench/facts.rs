//! What a result was taken on.

use std::fs;
use std::process::Command;

use crate::{Outcome, data};

/// Says how many rows the table of the benchmark `snapshot` has.
pub(crate) const ROWS_VARIABLE: &str = "BINPULSE_BENCH_ROWS";

/// Prints machine, versions, and the command that repeats the benchmark.
pub(crate) fn print(benchmark: &str, arguments: &[String]) -> Outcome {
    let server = data::server()?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpu, "model name").unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = field(&memory, "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    println!("# {benchmark}");
    println!("machine   {model}, {cores} cores, {} GiB, Linux {}", memory_kib >> 20, kernel.trim());
    println!(
        "versions  binpulse {}, {} {}, {}",
        env!("CARGO_PKG_VERSION"),
        server.name,
        server.version,
        rustc.unwrap_or_else(|_| "rustc unknown".to_owned())
    );
    println!("load      {} (1, 5, 15 minutes, at the start)", load.join(" "));
    let rows = std::env::var(ROWS_VARIABLE).map(|rows| format!("{ROWS_VARIABLE}={rows} "));
    println!(
        "repeat    {}BINPULSE_BENCH_SCALE={} cargo bench --locked --bench bench -- {benchmark} {}\n",
        rows.unwrap_or_default(),
        data::scale(),
        arguments.join(" ")
    );
    Ok(())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}
