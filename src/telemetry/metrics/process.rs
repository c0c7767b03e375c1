//! The process's own numbers, as Prometheus's client libraries name them, read from /proc.
//!
//! Not by the crate's `process` feature: it brings procfs, libc and flate2 for these seven numbers.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::scraped::{describe, family};

/// Clock ticks a second in /proc: USER_HZ, 100 on every architecture that Linux exports it for to
/// programs of today (man 7 time, "The software clock, HZ, and jiffies").
const TICKS_PER_SECOND: f64 = 100.0;

const NAMES: [(&str, &str, MetricType); 7] = [
    ("process_cpu_seconds_total", "CPU time used, user and system, seconds.", MetricType::COUNTER),
    ("process_resident_memory_bytes", "Resident memory, bytes.", MetricType::GAUGE),
    ("process_virtual_memory_bytes", "Virtual memory, bytes.", MetricType::GAUGE),
    ("process_open_fds", "Open file descriptors.", MetricType::GAUGE),
    ("process_max_fds", "Largest number of open file descriptors allowed.", MetricType::GAUGE),
    ("process_threads", "Threads.", MetricType::GAUGE),
    (
        "process_start_time_seconds",
        "When the process started, seconds since 1970 UTC.",
        MetricType::GAUGE,
    ),
];

/// Reads /proc at each scrape. What cannot be read is NaN, so that the series exist everywhere.
pub(super) struct Process {
    descriptions: Vec<Desc>,
}

impl Process {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let describe = |(name, help, _): &(&str, &str, MetricType)| describe(name, help, &[]);
        Ok(Self { descriptions: NAMES.iter().map(describe).collect::<Result<_, _>>()? })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let values = read();
        let families = NAMES.iter().zip(values);
        families
            .map(|((name, help, kind), value)| {
                family(name, help, *kind, [(Vec::new(), value.unwrap_or(f64::NAN))])
            })
            .collect()
    }
}

/// The values in the order of `NAMES`.
fn read() -> [Option<f64>; 7] {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let system = fs::read_to_string("/proc/stat").unwrap_or_default();
    let kilobytes = |name| Some(number(&status, name)? * 1024.0);
    // The name in parentheses may hold blanks and parentheses of its own.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    // `man 5 proc_pid_stat` counts from 1, and the first two fields are gone.
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    let cpu = || Some((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND);
    let started = || Some(number(&system, "btime")? + ticks(22)? / TICKS_PER_SECOND);
    #[expect(clippy::cast_precision_loss, reason = "a handful of descriptors")]
    let descriptors = || fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    [
        cpu(),
        kilobytes("VmRSS:"),
        kilobytes("VmSize:"),
        descriptors(),
        number(&limits, "Max open files"),
        number(&status, "Threads:"),
        started(),
    ]
}

/// The first number behind `name` at the start of a line.
fn number(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn all_numbers_of_this_process_are_read_and_plausible() {
        let [cpu, resident, virtual_memory, open, limit, threads, start] =
            read().map(|value| value.expect("Linux has them all"));
        assert!(cpu >= 0.0);
        assert!(resident > 100_000.0 && resident < virtual_memory);
        assert!(open >= 3.0 && open <= limit);
        assert!(threads >= 1.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.expect("after 1970").as_secs_f64() - start;
        assert!((-5.0..86_400.0).contains(&age), "{age} s old");
    }
}
