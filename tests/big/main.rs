//! Big and odd: what is far larger, or far stranger, than everyday work. Every case runs the service
//! against a real MySQL 9.7 and a strict endpoint, compares what arrived with what the source says
//! (rows, and a checksum over all values), and holds the streamer's peak memory to its bound.
//!
//! The quick ones are tests. `make big` runs all, with the sizes that `docs/develop/big.md` tells.

mod cases;
mod received;
mod stage;

#[path = "../support/aws/mod.rs"]
mod aws;
#[path = "../support/longest.rs"]
mod longest;
#[path = "../soak/rss.rs"]
mod rss;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use binpulse_demo::Error;
use libtest_mimic::{Arguments, Failed};

use crate::cases::{CASES, Case};
use crate::longest::timed;
use crate::stage::Figures;

/// Most memory that the streamer may have had, whatever the case, without the pages of its own program.
const RSS_BYTES_MAX: u64 = 108 << 20;
/// Debug builds on busy machines take their time; a stream that hangs never ends.
const CASE_DEADLINE: Duration = Duration::from_mins(20);

/// Whether the sizes are the full ones.
fn is_whole() -> bool {
    std::env::var("BINPULSE_TEST_BIG").is_ok_and(|value| value == "1")
}

type Lines = Arc<Mutex<Vec<String>>>;

fn main() -> ExitCode {
    let whole = is_whole();
    let lines = Lines::default();
    let trials = CASES.iter().filter(|case| whole || case.is_quick).map(|case| {
        let (case, lines) = (*case, Arc::clone(&lines));
        timed(case.name, move || outcome(case, whole, &lines).map_err(Failed::from))
    });
    // One at a time: disk and memory are shared with others.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let conclusion = longest::run(&arguments, trials.collect());
    for line in lines.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{line}");
    }
    let left_out = CASES.iter().filter(|case| !whole && !case.is_quick).count();
    if left_out > 0 {
        println!("NOT RUN: {left_out} large cases; `make big` runs them");
    }
    conclusion.exit_code()
}

/// Runs a case, notes its figures, and judges its memory.
fn outcome(case: Case, whole: bool, lines: &Lines) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let limited = async { tokio::time::timeout(CASE_DEADLINE, (case.body)(whole)).await };
    let figures: Figures = match runtime.block_on(limited) {
        Ok(Ok(figures)) => figures,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("not done within {CASE_DEADLINE:?}")),
    };
    let mut line = format!("{:<58} ", case.name);
    let peak = figures.peak_rss_bytes >> 20;
    write!(line, "{:>9} rows {:>7} messages, peak RSS {peak} MiB", figures.rows, figures.messages)
        .expect("writing to a String cannot fail");
    if !figures.note.is_empty() {
        write!(line, "; {}", figures.note).expect("writing to a String cannot fail");
    }
    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    if figures.peak_rss_bytes == 0 {
        return Err("the streamer's memory could not be read".to_owned());
    }
    if figures.peak_rss_bytes >= RSS_BYTES_MAX {
        return Err(format!("peak RSS {peak} MiB, at most {} MiB", RSS_BYTES_MAX >> 20));
    }
    Ok(())
}

/// An error in words.
fn wrong<T>(words: impl Into<String>) -> Result<T, Error> {
    Err(Error::Message(words.into()))
}
