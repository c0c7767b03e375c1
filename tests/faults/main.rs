//! The experiment: faults that must be told apart, and things that are none, on real servers.
//!
//! `make faults`, with `FAULTS` (part of a name), `FAULTS_ROUNDS`, `FAULTS_SEED`, `FAULTS_PACE`
//! (`default`, `short`) and `FAULTS_BEDS`. As one of the tests it stages a few with short periods.
//! See `docs/develop/experiment.md`.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each injector knows its own kinds of fault, and passes the others on"
)]

mod baselines;
mod catalogue;
mod load;
mod pace;
mod pages;
mod report;
mod run;
mod shim;
mod stage;
mod trial;
mod watch;

#[path = "../support/aws/mod.rs"]
mod aws;
#[allow(dead_code, reason = "the soak uses more of it")]
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/longest.rs"]
mod longest;
#[allow(dead_code, reason = "the live tests use more of it")]
#[path = "../support/proxy/mod.rs"]
mod proxy;
#[path = "../support/service.rs"]
mod service;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed};

use crate::catalogue::Kind;
use crate::load::Load;
use crate::longest::timed;

fn main() -> ExitCode {
    match run::Plan::from_environment() {
        Some(plan) => run::main(&plan),
        None => a_few(),
    }
}

/// The ones that are among the tests: some of each hop, and what is none.
fn a_few() -> ExitCode {
    let trial = |name: &str, kind, load| {
        timed(name, move || run::one_with_short_periods(kind, load).map_err(Failed::from))
    };
    let trials = vec![
        trial("a_killed_source_is_unreachable", Kind::SourceKilled, Load::Quiet),
        trial("a_stopped_source_hangs", Kind::SourceFrozen, Load::Filtered),
        trial("a_half_open_stream_is_silent_and_heals", Kind::HalfOpen, Load::Quiet),
        trial("a_read_only_source_is_told", Kind::ReadOnly, Load::Busy),
        trial("a_full_binary_log_volume_is_told", Kind::DiskFull, Load::Quiet),
        trial("errors_of_sns_are_told", Kind::SnsErrors, Load::Busy),
        trial("a_lost_transaction_is_counted", Kind::TransactionLost, Load::Quiet),
        trial("a_killed_dump_thread_is_no_fault", Kind::DumpKilledOnce, Load::Quiet),
        trial("a_step_of_our_clock_is_no_fault", Kind::OwnClockAhead, Load::Busy),
    ];
    let arguments = Arguments::from_args();
    let threads = arguments.test_threads.map_or(4, |threads| threads.min(4));
    let arguments = Arguments { test_threads: Some(threads), ..arguments };
    longest::run(&arguments, trials).exit_code()
}
