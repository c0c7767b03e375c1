//! A short run of the fuzz targets: the kept corpus, and a bounded, seeded number of mutations of
//! it. `docs/develop/fuzzing.md` tells of the long runs.
//!
//! `BINPULSE_TEST_FUZZ_RUNS` is the number of mutations for each target; `BINPULSE_TEST_FUZZ_SEED`
//! the seed. With `BINPULSE_TEST_REGENERATE=1` the corpus gets the seeds, for a long run to begin
//! with.

#[path = "../support/longest.rs"]
mod longest;
mod mutate;

#[allow(unreachable_pub, dead_code, reason = "a crate of its own for cargo-fuzz")]
#[path = "../../fuzz/src/lib.rs"]
mod entries;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entries::{TARGETS, Target};
use libtest_mimic::{Arguments, Failed};
use longest::timed;
use mutate::Mutator;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Mutations for each target, and for each of those that are slow.
const RUNS: (u64, u64) = (20_000, 1_000);
/// Most bytes that one input may have allocated, all allocations added up.
const ALLOCATED_BYTES_MAX: usize = 64 << 20;
/// Longest mutated input.
const INPUT_BYTES_MAX: usize = 32 << 10;
/// One input takes milliseconds; what is not done after this long never will be.
const INPUT_DEADLINE: Duration = Duration::from_mins(2);

fn main() -> ExitCode {
    if std::env::var("BINPULSE_TEST_REGENERATE").is_ok() {
        TARGETS.iter().for_each(keep_seeds);
    }
    let mut trials: Vec<_> = TARGETS
        .iter()
        .map(|target| {
            timed(format!("{}_keeps_its_promises_on_any_bytes", target.name), || {
                outcome(*target).map_err(Failed::from)
            })
        })
        .collect();
    trials.push(timed("each_target_has_its_program", || has_programs().map_err(Failed::from)));
    // One at a time: what an input allocates is counted for the whole process.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    longest::run(&arguments, trials).exit_code()
}

/// Each target has a program for cargo-fuzz, and each program a target.
fn has_programs() -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).map_err(|e| e.to_string())?;
    for target in TARGETS {
        let path = format!("fuzz_targets/{}.rs", target.name);
        let program = fs::read_to_string(folder.join(&path)).map_err(|e| format!("{path}: {e}"))?;
        let call = format!("binpulse_fuzz::run(\"{}\", input)", target.name);
        if !program.contains(&call) {
            return Err(format!("{path} does not call {call}"));
        }
        if !manifest.contains(&format!("path = \"{path}\"")) {
            return Err(format!("fuzz/Cargo.toml does not name {path}"));
        }
    }
    let programs = fs::read_dir(folder.join("fuzz_targets")).map_err(|e| e.to_string())?.count();
    if programs == TARGETS.len() { Ok(()) } else { Err(format!("{programs} programs")) }
}

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name)
}

fn keep_seeds(target: &Target) {
    let folder = corpus(target);
    fs::create_dir_all(&folder).expect("a writable folder");
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:03}")), seed).expect("a writable folder");
    }
}

/// Seeds and kept inputs, always in the same order.
fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs = (target.seeds)();
    let Ok(entries) = fs::read_dir(corpus(target)) else { return inputs };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    inputs.extend(paths.iter().map(|path| fs::read(path).expect("a kept input")));
    inputs
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs a target on a thread of its own, which is watched.
fn outcome(target: Target) -> Result<(), String> {
    let inputs = inputs(&target);
    if inputs.is_empty() {
        return Err("it has no inputs".to_owned());
    }
    let runs = if target.is_slow { RUNS.1 } else { RUNS.0 };
    let runs = number("BINPULSE_TEST_FUZZ_RUNS").unwrap_or(runs);
    let seed = number("BINPULSE_TEST_FUZZ_SEED").unwrap_or(1);
    let current = Arc::new(Mutex::new(Vec::new()));
    let (done, watched) = mpsc::channel();
    let shown = Arc::clone(&current);
    std::thread::spawn(move || {
        let mut mutator = Mutator::new(seed);
        let kept = inputs.len() as u64;
        let mut taken = 0;
        for number in 0..kept + runs {
            let index = usize::try_from(number).unwrap_or(usize::MAX);
            let input = match inputs.get(index) {
                Some(input) => input.clone(),
                None => mutator.mutate(&inputs, INPUT_BYTES_MAX),
            };
            shown.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&input);
            let verdict = try_one(target.run, &input);
            let is_wrong = verdict.is_err();
            taken += verdict.as_ref().copied().unwrap_or_default();
            if done.send(verdict).is_err() || is_wrong {
                return;
            }
            // Inputs that are all refused at the door would prove nothing.
            if number + 1 == kept && taken == 0 {
                drop(done.send(Err("none of its kept inputs is accepted".to_owned())));
                return;
            }
        }
    });
    loop {
        let wrong = match watched.recv_timeout(INPUT_DEADLINE) {
            Ok(Ok(_)) => continue,
            Ok(Err(wrong)) => wrong,
            Err(RecvTimeoutError::Timeout) => "it does not end".to_owned(),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let input = current.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
        fs::write(&path, input.as_slice()).map_err(|error| error.to_string())?;
        return Err(format!("{wrong}; seed {seed}; the input is in {}", path.display()));
    }
}

fn try_one(run: fn(&[u8]) -> u64, input: &[u8]) -> Result<u64, String> {
    let region = Region::new(ALLOCATOR);
    let caught = catch_unwind(AssertUnwindSafe(|| run(input)));
    let allocated = region.change().bytes_allocated;
    let taken = caught.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("it panicked: {}", text.unwrap_or_default())
    })?;
    if allocated > ALLOCATED_BYTES_MAX {
        return Err(format!("{} bytes made it allocate {allocated}", input.len()));
    }
    Ok(taken)
}
