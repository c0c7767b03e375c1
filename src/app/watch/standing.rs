//! What canaries carry of the verdict.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, read};
use crate::pipeline::{Judge, Standing};
use crate::pulse::verdict::Certificate;

/// A verdict that was judged longer ago is not in force: its loop stands still.
const IN_FORCE_FOR: Duration = Duration::from_secs(15);

/// Reads the last conclusion for each canary.
pub(in crate::app) fn standing(view: &Shared) -> Judge {
    let view = Arc::clone(view);
    Judge::new(move || {
        let (verdict, now) = (read(&view).verdict, Instant::now());
        let is_in_force = now.saturating_duration_since(verdict.judged_at) <= IN_FORCE_FOR;
        Standing {
            verdict: is_in_force.then_some(verdict.state),
            certificate: verdict.certificate.map(|proof| {
                let at_us = judged_at_us(&proof, now);
                (proof, at_us)
            }),
        }
    })
}

/// By the wall clock of now and the monotonic age.
fn judged_at_us(certificate: &Certificate, now: Instant) -> i64 {
    let age = now.saturating_duration_since(certificate.judged_at).as_micros();
    chrono::Utc::now().timestamp_micros().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))
}
