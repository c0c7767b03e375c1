//! What canaries carry of the verdict.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::verdict::{Certificate, State};

/// A verdict that was judged longer ago is not in force: its loop does not move.
const IN_FORCE_FOR: Duration = Duration::from_secs(15);

/// What freshness concludes, for the watermark.
#[derive(Debug, Clone, Default)]
pub struct Watermark {
    /// The verdict in force; `None` while nobody judges.
    pub verdict: Option<State>,
    /// The newest certificate, and when it was evaluated, microseconds since 1970 UTC.
    pub certificate: Option<(Certificate, i64)>,
}

/// Who is asked for it, with each canary's row. It must answer from memory, at once.
#[derive(Clone)]
pub struct WatermarkProvider(Arc<dyn Fn() -> Watermark + Send + Sync>);

impl WatermarkProvider {
    /// Asks `watermark`.
    pub fn new(watermark: impl Fn() -> Watermark + Send + Sync + 'static) -> Self {
        Self(Arc::new(watermark))
    }

    /// The watermark as of now.
    pub fn now(&self) -> Watermark {
        (self.0)()
    }
}

impl fmt::Debug for WatermarkProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatermarkProvider")
    }
}

impl Watermark {
    /// As of `now`, of what was concluded last.
    pub(super) fn of(
        verdict: State,
        evaluated_at: Instant,
        certificate: Option<Certificate>,
        now: Instant,
    ) -> Self {
        let is_in_force = now.saturating_duration_since(evaluated_at) <= IN_FORCE_FOR;
        Self {
            verdict: is_in_force.then_some(verdict),
            certificate: certificate.map(|proof| {
                let at_us = judged_at_us(&proof, now);
                (proof, at_us)
            }),
        }
    }
}

/// By the wall clock of now and the monotonic age.
fn judged_at_us(certificate: &Certificate, now: Instant) -> i64 {
    let age = now.saturating_duration_since(certificate.evaluated_at).as_micros();
    crate::platform::wall_us().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))
}
