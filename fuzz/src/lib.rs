//! What is fuzzed: one function for each kind of bytes from outside.
//!
//! Each takes any bytes, and panics if the code under it breaks a promise: it must not panic, hang,
//! or allocate without bound, and what it accepts must be of the right kind. The targets of
//! cargo-fuzz and `tests/fuzz` (which replays the kept corpus and mutates it, a bounded and seeded
//! number of times) call the same functions; `docs/develop/fuzzing.md` says how to run them.

mod answers;
mod cells;
mod events;
mod files;
mod gtids;
mod json;
mod log;
mod messages;
mod payloads;
mod rows;
mod seeds;
mod statements;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the target, and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What it does with an input; how much of it was taken for good: rows, sets, files, answers.
    pub run: fn(&[u8]) -> u64,
    /// Inputs to begin with, made of the captured logs and of examples.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Inputs that cost more than others: fewer of them are tried by `tests/fuzz`.
    pub is_slow: bool,
}

const fn target(name: &'static str, run: fn(&[u8]) -> u64, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, is_slow: false }
}

const fn slow(name: &'static str, run: fn(&[u8]) -> u64, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, is_slow: true }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("checkpoint", files::checkpoint, seeds::checkpoint),
    target("config", files::config, seeds::config),
    slow("events", events::events, seeds::events),
    target("frame", answers::frame, seeds::frame),
    target("gtid", gtids::gtid, seeds::gtid),
    target("gtid_event", gtids::event, seeds::gtid_event),
    target("json", json::document, seeds::json),
    target("json_diff", json::diff, seeds::json_diff),
    slow("log_file", events::file, seeds::log_file),
    target("message", messages::message, seeds::message),
    target("payload", payloads::payload, seeds::payload),
    target("quarantine", files::quarantine, seeds::quarantine),
    target("row_image", rows::row_image, seeds::row_image),
    slow("sns_answer", answers::sns, seeds::sns_answer),
    slow("sqs_answer", answers::sqs, seeds::sqs_answer),
    target("statement", statements::statement, seeds::statement),
    target("table_map", rows::table_map, seeds::table_map),
];

/// The target of this name.
///
/// # Panics
/// If there is none: a mistake in a target of cargo-fuzz.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let _taken = (target.expect("a target of this name").run)(input);
}
