//! How long each test took. The longest are told at the end, where `tests/run.py` finds them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

/// So many are told.
const TOLD: usize = 10;

static TOOK: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// A test that is timed.
pub(crate) fn timed(
    name: impl Into<String>,
    body: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = name.into();
    let told = name.clone();
    Trial::test(name, move || {
        let _watch = Watch { began: Instant::now(), name: told };
        body()
    })
}

/// Runs the tests, and tells which took longest.
pub(crate) fn run(arguments: &Arguments, trials: Vec<Trial>) -> Conclusion {
    let conclusion = libtest_mimic::run(arguments, trials);
    let mut took = std::mem::take(&mut *TOOK.lock().unwrap_or_else(PoisonError::into_inner));
    took.sort_by(|one, other| other.cmp(one));
    if !took.is_empty() {
        println!("took longest:");
    }
    for (time, name) in took.iter().take(TOLD) {
        println!("{:8.1} s  {name}", time.as_secs_f64());
    }
    conclusion
}

/// Its drop is the end of a test, also of one that panics.
struct Watch {
    began: Instant,
    name: String,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let entry = (self.began.elapsed(), std::mem::take(&mut self.name));
        TOOK.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}
