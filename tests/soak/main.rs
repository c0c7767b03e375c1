//! The soak: a random workload, random faults while it runs, and proof that nothing was lost.
//!
//! `make soak`, with `SOAK_SECONDS`, `SOAK_SEED`, `SOAK_TOPIC` (`fifo`, `standard`) and
//! `SOAK_LANES`. As one of the
//! tests it runs for some seconds with a seed of its own. See `docs/soak.md`.

mod check;
mod collect;
mod copy;
mod faults;
mod report;
mod rss;
mod run;
mod stage;
mod truth;
mod workload;

#[path = "../support/aws/mod.rs"]
mod aws;
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/oracle.rs"]
mod oracle;
#[allow(dead_code, reason = "the live tests use more of it")]
#[path = "../support/proxy/mod.rs"]
mod proxy;
#[path = "../support/service.rs"]
mod service;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::run::Plan;
use crate::stage::Topic;

/// Length of the soak that is one of the tests.
const SHORT: Duration = Duration::from_secs(20);
/// Length of the one that must fail.
const SABOTAGED: Duration = Duration::from_secs(4);

fn main() -> ExitCode {
    if let Some(seconds) = number("SOAK_SECONDS") {
        return soak(Duration::from_secs(seconds));
    }
    let trial = |name: &str, topic, lanes, seed| {
        Trial::test(name, move || {
            let plan = Plan { seed, topic, lanes, length: SHORT, sabotaged: false };
            outcome(plan).map_err(Failed::from)
        })
    };
    let sabotaged = |topic| {
        let plan = Plan { seed: 3, topic, lanes: 1, length: SABOTAGED, sabotaged: true };
        match outcome(plan) {
            Err(wrong) if wrong.contains(": lost (") => Ok(()),
            other => Err(Failed::from(format!("rows were thrown away, and it said {other:?}"))),
        }
    };
    let trials = vec![
        trial("a_short_soak_loses_nothing_on_a_fifo_topic", Topic::Fifo, 1, 1),
        trial("a_short_soak_loses_nothing_on_a_standard_topic", Topic::Standard, 3, 2),
        Trial::test("a_message_that_the_topic_throws_away_is_found", move || {
            sabotaged(Topic::Standard)
        }),
    ];
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The long one, with a seed from the clock unless one is given.
fn soak(length: Duration) -> ExitCode {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let by_clock = || clock.map_or(1, |since| since.as_secs() % 1_000_000);
    let seed = number("SOAK_SEED").unwrap_or_else(by_clock);
    let topic = match std::env::var("SOAK_TOPIC").as_deref() {
        Ok("standard") => Topic::Standard,
        _ => Topic::Fifo,
    };
    let lanes = number("SOAK_LANES").unwrap_or(1);
    match outcome(Plan { seed, topic, lanes, length, sabotaged: false }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

/// Runs it and prints the report; an error says what was wrong, and how to do it again.
fn outcome(plan: Plan) -> Result<(), String> {
    println!("seed {} ({:?} topic), {} s", plan.seed, plan.topic, plan.length.as_secs());
    let again = format!(
        "again: make soak SOAK_SEED={} SOAK_SECONDS={} SOAK_TOPIC={} SOAK_LANES={}",
        plan.seed,
        plan.length.as_secs(),
        format!("{:?}", plan.topic).to_lowercase(),
        plan.lanes
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(run::run(plan)).map_err(|error| format!("{error}\n{again}"))?;
    println!("{}", outcome.report);
    if outcome.wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n{again}", outcome.wrong.join("\n")))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
