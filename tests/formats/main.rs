//! The formats beside what the real programs make of the same binary logs: Debezium's engine, Maxwell,
//! and the CloudEvents SDK for Python as a reader.
//!
//! Every difference is either in a list here, with the words that `docs/consume/formats.md` has for
//! it, or fails the test; and each that is listed must occur. What is not installed is named as
//! skipped: `benches/peers/fetch.sh` gets the programs.

mod cloudevents;
mod compare;
mod debezium;
mod maxwell;
mod oracle;
mod streamer;

use std::process::ExitCode;

use binpulse_demo::{Installed, Mysqld, Options, Server};
use tokio::runtime::Runtime;

/// How a test ended that did not fail.
enum Outcome {
    Passed(String),
    Skipped(String),
}

/// Type zoo of the captured logs, and what it lacks.
const ZOO: &str = include_str!("../fixtures/all_types/workload.sql");
const MORE: &str = include_str!("more.sql");

type Test = fn(&Runtime) -> Outcome;
const TESTS: &[(&str, Test)] = &[
    ("debezium::values", debezium::values),
    ("debezium::schemas", debezium::schemas),
    ("debezium::modes", debezium::modes),
    ("debezium::cloudevents", debezium::cloudevents),
    ("maxwell::documents", maxwell::documents),
    ("cloudevents::sdk", cloudevents::sdk),
    ("streamer::messages", streamer::messages),
];

fn main() -> ExitCode {
    let filters: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runtime = Runtime::new().expect("a runtime");
    let mut failed = 0;
    for (name, test) in TESTS {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter)) {
            continue;
        }
        let run = std::panic::AssertUnwindSafe(|| test(&runtime));
        match std::panic::catch_unwind(run) {
            Ok(Outcome::Passed(what)) => println!("test {name} ... ok, {what}"),
            Ok(Outcome::Skipped(why)) => println!("test {name} ... skipped: {why}"),
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }
    println!("formats: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The newest MySQL of a release, if it is here.
fn server(is_wanted: impl Fn(&Server) -> bool) -> Option<Server> {
    Installed::find().expect("the list of servers").servers.into_iter().find(is_wanted)
}

/// Statements of both files but those that `is_wanted` refuses.
fn statements(is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let both = ZOO.split(";\n").chain(MORE.split(";\n"));
    let statements = both.map(|statement| {
        let lines = statement.lines().filter(|line| !line.starts_with("-- "));
        lines.collect::<Vec<_>>().join("\n")
    });
    statements.filter(|statement| !statement.trim().is_empty() && is_wanted(statement)).collect()
}

/// A server with a log of its own.
fn start(runtime: &Runtime, server: &Server) -> Mysqld {
    runtime.block_on(Mysqld::start(server, Options::default())).expect("a server")
}

fn execute(runtime: &Runtime, mysqld: &Mysqld, statements: &[String]) {
    runtime.block_on(mysqld.execute(statements)).expect("statements");
}
