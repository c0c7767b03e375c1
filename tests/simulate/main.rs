//! The whole service under simulation: `docs/develop/simulation.md`.
//!
//! `SIMULATE_SEED=n` runs one seed and tells what happens, `SIMULATE_SEEDS=n` so many from
//! `SIMULATE_FROM` on, with `SIMULATE_KIND` those of one kind. With `SIMULATE_HOURS=n` faults come one in a
//! few minutes, for so many hours of each seed.

#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    reason = "a model: what it does not know is one case, and texts are made to be given away"
)]

mod answers;
#[path = "../support/dice.rs"]
mod dice;
mod failover;
mod faults;
#[path = "../support/aws/form.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with tests that read more of a form")]
mod form;
mod log;
mod machine;
mod operator;
mod oracle;
mod runbook;
mod server;
mod session;
mod sns;
mod sql;
mod sqs;
mod value;
mod workload;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use world::{Report, kind_of, simulate};

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The first panic on this thread since the last call.
fn take_panic() -> Option<String> {
    PANIC.take()
}

/// Seeds that a run without words takes.
const SEEDS: u64 = 240;
/// Of these, so many run twice, and must do the same.
const TWICE: u64 = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() -> ExitCode {
    // As the test harness is asked for its list.
    if std::env::args().any(|argument| argument == "--list") {
        println!("simulate: test");
        return ExitCode::SUCCESS;
    }
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |told| {
        PANIC.with_borrow_mut(|panic| {
            panic.get_or_insert(told.to_string());
        });
        usual(told);
    }));
    if std::env::var_os("SIMULATE_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_env("SIMULATE_LOG");
        let format = tracing_subscriber::fmt().without_time().with_writer(std::io::stderr);
        format.with_env_filter(filter).init();
    }
    if let Some(seed) = number("SIMULATE_SEED") {
        let report = simulate(seed, true);
        println!("{report:?}");
        return if report.wrong.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    many(number("SIMULATE_FROM").unwrap_or(1), number("SIMULATE_SEEDS").unwrap_or(SEEDS))
}

/// Runs seeds on all processors, until one fails.
fn many(from: u64, count: u64) -> ExitCode {
    let began = Instant::now();
    let (next, reports) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let kind = std::env::var("SIMULATE_KIND").ok();
    let is_meant = |seed| kind.as_ref().is_none_or(|kind| *kind == kind_of(seed));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    if !is_meant(seed) {
                        continue;
                    }
                    let mut report = simulate(seed, false);
                    if seed < from + TWICE && report.wrong.is_none() {
                        let again = simulate(seed, false);
                        if again.digest != report.digest {
                            report.wrong = Some("the seed does not do the same twice".to_owned());
                        }
                    }
                    if report.wrong.is_some() {
                        // The others finish what they have begun.
                        next.store(from + count, Ordering::Relaxed);
                    }
                    reports.lock().expect("no panic").push(report);
                }
            });
        }
    });
    let reports = reports.into_inner().expect("no panic");
    tell(&reports, began.elapsed())
}

fn tell(reports: &[Report], took: Duration) -> ExitCode {
    let simulated: Duration = reports.iter().map(|report| report.simulated).sum();
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "simulate: {} seeds, {:.2} simulated hours in {:.1} s; {} rows, {} repeated, {} saves, {} \
         processes",
        reports.len(),
        simulated.as_secs_f64() / 3_600.0,
        took.as_secs_f64(),
        sum(|report| report.rows),
        sum(|report| report.repeats),
        sum(|report| report.saves),
        sum(|report| report.processes)
    );
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (what, count) in reports.iter().flat_map(|report| &report.counts) {
        *counts.entry(what).or_default() += count;
    }
    let counts: Vec<_> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!("  {}", counts.join(", "));
    let mut failed = reports.iter().filter(|report| report.wrong.is_some()).peekable();
    if failed.peek().is_none() {
        return ExitCode::SUCCESS;
    }
    for report in failed {
        let Report { seed, setting, .. } = report;
        let wrong = report.wrong.as_deref().unwrap_or_default();
        println!(
            "seed {seed} fails {wrong}\n  {setting:?}\n  again, with what happens: SIMULATE_SEED={seed} make simulate"
        );
    }
    ExitCode::FAILURE
}
