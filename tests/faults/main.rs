//! The experiment: faults that must be told apart, and things that are none, on real servers.
//!
//! `make faults`, with `FAULTS` (part of a name), `FAULTS_ROUNDS`, `FAULTS_SEED`, `FAULTS_PACE`
//! (`default`, `short`) and `FAULTS_BEDS`. As one of the tests it stages a few with short periods.
//! See `docs/experiment.md`.

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

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/aws/mod.rs"]
mod aws;
#[allow(dead_code, reason = "the soak uses more of it")]
#[path = "../support/dice.rs"]
mod dice;
#[allow(dead_code, reason = "the live tests use more of it")]
#[path = "../support/proxy/mod.rs"]
mod proxy;
#[path = "../support/service.rs"]
mod service;

use std::process::ExitCode;

fn main() -> ExitCode {
    match run::Plan::from_environment() {
        Some(plan) => run::main(plan),
        None => ExitCode::SUCCESS,
    }
}
