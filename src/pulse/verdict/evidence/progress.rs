//! How late we are and whether it gets better; and whether progress is saved.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::seconds;
use crate::pulse::verdict::obligation::{Obligation, Obligations};
use crate::pulse::verdict::{Condition, Conditions, LagSample, Parameters, Status};

/// Span over which a trend is judged, at least and at most.
const TREND_MIN: Duration = Duration::from_secs(5);
const TREND_MAX: Duration = Duration::from_secs(10);
/// Rise beyond that of the time that passed which is no noise.
const JUMP: Duration = Duration::from_secs(2);
/// Samples kept; one per tick fills the longest trend.
const SAMPLES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(in super::super) struct LagEvidence {
    samples: VecDeque<(Instant, LagSample)>,
    late: bool,
    below_since: Option<Instant>,
}

impl LagEvidence {
    pub(in super::super) fn sampled(
        &mut self,
        at: Instant,
        sample: LagSample,
        parameters: &Parameters,
    ) {
        let jumped = self.samples.back().is_some_and(|(last_at, last)| {
            let elapsed = at.saturating_duration_since(*last_at);
            let before = last.lag.unwrap_or_default();
            sample.lag.is_some_and(|lag| lag > before + elapsed + JUMP)
        });
        if jumped {
            // Lag grows by a second per second at most; what jumps is another backlog, with a trend
            // of its own.
            self.samples.clear();
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((at, sample));
        while self
            .samples
            .get(1)
            .is_some_and(|(second, _)| at.saturating_duration_since(*second) >= TREND_MAX)
        {
            self.samples.pop_front();
        }
        let Some(lag) = sample.lag else { return };
        if lag < parameters.lag_recovered {
            let since = *self.below_since.get_or_insert(at);
            let recovered = at.saturating_duration_since(since) >= parameters.lag_recovered_for;
            self.late &= !recovered;
        } else {
            self.below_since = None;
        }
        // Twice in a row, and with enough behind us to say whether it shrinks.
        let before = self.samples.iter().rev().nth(1).and_then(|(_, before)| before.lag);
        let judged = self.span() >= TREND_MIN;
        let twice = before.is_some_and(|before| before > parameters.lag_limit);
        self.late |= judged && twice && lag > parameters.lag_limit;
    }

    pub(in super::super) fn forgive(&mut self) {
        self.samples.clear();
        self.below_since = None;
    }

    /// Up to when all that was committed has been delivered.
    pub(in super::super) fn delivered_until(&self) -> Option<Instant> {
        let (at, sample) = self.samples.back()?;
        at.checked_sub(sample.lag?)
    }

    fn span(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some((first, _)), Some((last, _))) => last.saturating_duration_since(*first),
            _ => Duration::ZERO,
        }
    }

    /// Whether the gap closes, or one huge transaction moves.
    fn shrinks(&self) -> Status {
        let (Some((_, first)), Some((_, last))) = (self.samples.front(), self.samples.back())
        else {
            return Status::Unknown;
        };
        if self.span() < TREND_MIN {
            return Status::Unknown;
        }
        let moves = first.transaction_bytes > 0 && last.transaction_bytes > first.transaction_bytes;
        let shrinks = match (first.lag, last.lag) {
            (Some(first), Some(last)) => last + self.span() / 20 < first,
            _ => false,
        };
        if moves || shrinks { Status::True } else { Status::False }
    }

    pub(in super::super) fn apply(
        &self,
        now: Instant,
        parameters: &Parameters,
        conditions: &mut Conditions,
    ) {
        let last = self.samples.back();
        let (status, because) = match last {
            Some((at, _)) if now.saturating_duration_since(*at) > parameters.evidence_grace => {
                (Status::Unknown, "no report of the lag lately".to_owned())
            }
            Some((_, LagSample { lag: Some(lag), .. })) => {
                let status = if self.late { Status::False } else { Status::True };
                (status, format!("what is published now was committed {} ago", seconds(*lag)))
            }
            Some((_, LagSample { lag: None, .. })) | None => {
                (Status::Unknown, "nothing was received yet".to_owned())
            }
        };
        conditions.set(now, Condition::LagSmall, status, because);
        let shrinks = self.shrinks();
        let words = match shrinks {
            Status::True => "the gap closes, or one large transaction moves",
            Status::False => "the gap does not close",
            Status::Unknown => "too little was observed for a trend",
        };
        conditions.set(now, Condition::LagShrinks, shrinks, words);
    }
}

#[derive(Debug, Default)]
pub(in super::super) struct CheckpointEvidence {
    saved_at: Option<Instant>,
    error: Option<String>,
    /// Progress at the last save: acknowledgements and round trips.
    progress_then: u64,
    progress_now: u64,
}

impl CheckpointEvidence {
    pub(in super::super) fn saved(&mut self, at: Instant, obligations: &mut Obligations) {
        self.saved_at = Some(at);
        self.error = None;
        self.progress_then = self.progress_now;
        obligations.clear(Obligation::Checkpoint);
    }

    pub(in super::super) fn failed(&mut self, error: String) {
        self.error = Some(error);
    }

    /// Delivery has got this far; what is further than the last save is to be saved.
    pub(in super::super) fn progressed(
        &mut self,
        at: Instant,
        progress: u64,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        self.progress_now = progress;
        if progress > self.progress_then {
            obligations.begin(Obligation::Checkpoint, 0, at, parameters.checkpoint_limit);
        }
    }

    pub(in super::super) fn apply(
        &self,
        now: Instant,
        obligations: &Obligations,
        conditions: &mut Conditions,
    ) {
        let why = self.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        let (status, because) =
            match (obligations.overdue(Obligation::Checkpoint, now), self.saved_at) {
                (Some(open), _) => {
                    let age = seconds(open.age);
                    (Status::False, format!("delivery went on for {age} without a checkpoint{why}"))
                }
                (None, Some(saved)) => {
                    let age = seconds(now.saturating_duration_since(saved));
                    (Status::True, format!("the last checkpoint is {age} old{why}"))
                }
                (None, None) => (Status::Unknown, format!("no checkpoint was saved yet{why}")),
            };
        conditions.set(now, Condition::CheckpointAdvances, status, because);
    }
}
