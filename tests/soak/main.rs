//! The soak: a random workload, random faults while it runs, and proof that nothing was lost.
//!
//! `make soak`, with the variables that `docs/develop/soak.md` lists. As one of the tests it runs for some
//! seconds with seeds of its own.

mod check;
mod collect;
mod copy;
mod endings;
mod faults;
mod plan;
mod report;
mod rss;
mod run;
mod script;
mod shrink;
mod snapshots;
mod stage;
mod standby;
mod truth;
mod workload;

#[path = "../support/aws/mod.rs"]
mod aws;
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/longest.rs"]
mod longest;
#[path = "../support/oracle.rs"]
mod oracle;
#[allow(dead_code, reason = "the live tests use more of it")]
#[path = "../support/proxy/mod.rs"]
mod proxy;
#[path = "../support/service.rs"]
mod service;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use libtest_mimic::{Arguments, Failed};

use crate::longest::timed;
use crate::plan::{Plan, Source, Topic, number};

/// Length of the soak that is one of the tests.
const SHORT: Duration = Duration::from_secs(20);
/// Length of those on other sources.
const SHORTER: Duration = Duration::from_secs(8);
/// Rows a second that are written beside the sessions' work.
const BUSY: u64 = 2_000;
/// Length of the one that must fail.
const SABOTAGED: Duration = Duration::from_secs(4);
/// Time for making a failure smaller, unless `SOAK_SHRINK_SECONDS` says otherwise.
const SHRINK_SECONDS: u64 = 300;

fn main() -> ExitCode {
    match number("SOAK_SECONDS") {
        Ok(None) => {}
        Ok(Some(seconds)) => return soak(Duration::from_secs(seconds)),
        Err(wrong) => return refuse(&wrong),
    }
    let trial = |name: &str, plan: Plan| {
        timed(name, move || outcome(&plan).map(drop).map_err(|(_, wrong)| Failed::from(wrong)))
    };
    // Two under as many writes as snapshots are promised to bear.
    let fifo = Plan { rate: BUSY, ..Plan::new(1, SHORT) };
    let standard = Plan { topic: Topic::Standard, lanes: 3, ..Plan::new(2, SHORT) };
    let on = |source| Plan { source, ..Plan::new(5, SHORTER) };
    let mariadb = Plan { rate: BUSY, topic: Topic::Standard, ..on(Source::Mariadb) };
    let trials = vec![
        trial("a_short_soak_loses_nothing_on_a_fifo_topic", fifo),
        trial("a_short_soak_loses_nothing_on_a_standard_topic", standard),
        trial("a_short_soak_loses_nothing_by_file_and_position", on(Source::Position)),
        trial("a_short_soak_loses_nothing_from_mariadb", mariadb),
        timed("a_message_that_the_topic_throws_away_is_found", sabotaged),
        timed("shrinking_keeps_exactly_what_a_failure_needs", || {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(shrink::keeps_exactly_what_a_failure_needs()).map_err(Failed::from)
        }),
    ];
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    longest::run(&arguments, trials).exit_code()
}

/// A message thrown away must be found.
fn sabotaged() -> Result<(), Failed> {
    let plan = Plan {
        topic: Topic::Standard,
        is_sabotaged: true,
        has_standby: false,
        has_endings: false,
        ..Plan::new(3, SABOTAGED)
    };
    match outcome(&plan) {
        Err((_, wrong)) if wrong.contains(": lost (") => Ok(()),
        other => Err(Failed::from(format!("rows were thrown away, and it said {other:?}"))),
    }
}

/// The long one, with a seed from the clock unless one is given.
fn soak(length: Duration) -> ExitCode {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = clock.map_or(1, |since| since.as_secs() % 1_000_000);
    let plan = Plan::from_environment(seed, length);
    let (shrink, runs) = (number("SOAK_SHRINK_SECONDS"), number("SOAK_RUNS"));
    let (plan, shrink, runs) = match (plan, shrink, runs) {
        (Ok(plan), Ok(shrink), Ok(runs)) => (plan, shrink.unwrap_or(SHRINK_SECONDS), runs),
        (Err(wrong), ..) | (_, Err(wrong), _) | (.., Err(wrong)) => return refuse(&wrong),
    };
    if let Some(runs) = runs {
        return several(&plan, runs);
    }
    let Err((faults, wrong)) = outcome(&plan) else { return ExitCode::SUCCESS };
    eprintln!("{wrong}");
    if shrink > 0 {
        smaller(&plan, faults, Duration::from_secs(shrink));
    }
    ExitCode::FAILURE
}

/// One after the other, and a table in the end. A failure ends none but its own.
fn several(plan: &Plan, runs: u64) -> ExitCode {
    let (mut lines, mut failed) = (Vec::new(), 0);
    for plan in (0..runs).map(|number| plan.of_several(number)) {
        match outcome(&plan) {
            Ok(line) => lines.push(line),
            Err((_, wrong)) => {
                eprintln!("{wrong}");
                lines.push(format!("| {} | failed: {plan} |", plan.seed));
                failed += 1;
            }
        }
    }
    println!("\n{}\n{}\n{failed} of {runs} failed", report::HEAD, lines.join("\n"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks for a smaller run that fails too, and says how to run it.
fn smaller(plan: &Plan, faults: u64, within: Duration) {
    println!("making it smaller, for up to {} s", within.as_secs());
    let Ok(runtime) = runtime() else { return };
    let fails = async |smaller: &Plan| {
        println!("trying {smaller}");
        !matches!(run::run(smaller).await, Ok(outcome) if outcome.wrong.is_empty())
    };
    match runtime.block_on(shrink::shrink(plan, faults, within, fails)) {
        Some(smaller) => eprintln!("seed {} fails with less too: {smaller}", plan.seed),
        None => eprintln!("seed {}: nothing could be left out: {plan}", plan.seed),
    }
}

fn refuse(wrong: &str) -> ExitCode {
    eprintln!("{wrong}");
    ExitCode::FAILURE
}

/// Runs it and prints the report; an error says after how many faults, what was wrong, and how to do
/// it again.
fn outcome(plan: &Plan) -> Result<String, (u64, String)> {
    println!("{plan}");
    let again = format!("again: {plan}");
    let runtime = runtime().map_err(|error| (0, error.to_string()))?;
    let outcome = runtime
        .block_on(run::run(plan))
        .map_err(|(faults, error)| (faults, format!("{error}\n{again}")))?;
    println!("{}", outcome.report);
    if outcome.wrong.is_empty() {
        return Ok(outcome.line);
    }
    Err((outcome.faults, format!("{}\n{again}", outcome.wrong.join("\n"))))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
