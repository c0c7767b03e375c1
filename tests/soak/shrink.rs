//! A failing run made smaller: faults, sessions and kinds of work are left out as long as it fails.

use std::time::{Duration, Instant};

use crate::plan::{Plan, Work};

/// A part of a run that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Fault(u64),
    Session(u64),
    Work(Work),
}

/// The smallest run that was found to fail within this time, and whether it is smaller at all. What
/// fails by the interleaving of sessions may pass by luck; such a part is kept then.
pub(crate) async fn shrink(
    plan: &Plan,
    faults_so_far: u64,
    within: Duration,
    fails: impl AsyncFn(&Plan) -> bool,
) -> Option<Plan> {
    let numbers = plan.faults.clone().unwrap_or_else(|| (0..faults_so_far).collect());
    let mut all: Vec<Part> = numbers.into_iter().map(Part::Fault).collect();
    all.extend(plan.sessions.iter().map(|number| Part::Session(*number)));
    all.extend(plan.work.iter().map(|work| Part::Work(*work)));
    let began = Instant::now();
    let is_over = || began.elapsed() >= within;
    let smallest = smallest(all.clone(), is_over, async |parts: &[Part]| {
        let smaller = with(plan, parts);
        // Nothing fails where nobody writes.
        !smaller.sessions.is_empty() && !smaller.work.is_empty() && fails(&smaller).await
    });
    let smallest = smallest.await;
    (smallest.len() < all.len()).then(|| with(plan, &smallest))
}

fn with(plan: &Plan, parts: &[Part]) -> Plan {
    let (mut faults, mut sessions, mut work) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Fault(number) => faults.push(*number),
            Part::Session(number) => sessions.push(*number),
            Part::Work(kind) => work.push(*kind),
        }
    }
    Plan { faults: Some(faults), sessions, work, ..plan.clone() }
}

/// Delta debugging: leaves out ever smaller pieces, until no piece can be left out, or time is over.
async fn smallest<T: Clone>(
    all: Vec<T>,
    is_over: impl Fn() -> bool,
    mut fails: impl AsyncFnMut(&[T]) -> bool,
) -> Vec<T> {
    let (mut left, mut pieces) = (all, 2);
    while left.len() > 1 {
        let size = left.len().div_ceil(pieces);
        let mut found = None;
        for from in (0..left.len()).step_by(size) {
            if is_over() {
                return left;
            }
            let to = (from + size).min(left.len());
            let without = [&left[..from], &left[to..]].concat();
            if fails(&without).await {
                found = Some(without);
                break;
            }
        }
        match found {
            Some(smaller) => {
                left = smaller;
                pieces = 2.max(pieces - 1);
            }
            None if pieces >= left.len() => break,
            None => pieces = (pieces * 2).min(left.len()),
        }
    }
    left
}

/// A failure that needs two parts of a hundred is shrunk to these two, in few attempts; and time ends
/// it with something that failed.
pub(crate) async fn keeps_exactly_what_a_failure_needs() -> Result<(), String> {
    for needed in [vec![7_u64], vec![3, 91], vec![0, 50, 99]] {
        let mut attempts = 0;
        let found = smallest(
            (0..100).collect(),
            || false,
            async |parts: &[u64]| {
                attempts += 1;
                needed.iter().all(|part| parts.contains(part))
            },
        );
        let found = found.await;
        if found != needed || attempts > 150 {
            return Err(format!("{needed:?}: {found:?} after {attempts} attempts"));
        }
    }
    let attempts = std::cell::Cell::new(0);
    let found = smallest(
        (0..100_u64).collect(),
        || attempts.get() == 3,
        async |parts: &[u64]| {
            attempts.set(attempts.get() + 1);
            parts.contains(&7)
        },
    );
    let found = found.await;
    if attempts.get() == 3 && found.contains(&7) && found.len() < 100 {
        Ok(())
    } else {
        Err(format!("out of time: {found:?}"))
    }
}
