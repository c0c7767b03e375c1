//! How late we are and whether it gets better; and whether progress is saved.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::seconds;
use crate::freshness::LagSample;
use crate::freshness::verdict::obligation::{Obligation, Obligations};
use crate::freshness::verdict::{Condition, Conditions, Parameters, Status};

/// Span over which a trend is evaluated, at least and at most.
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
    /// Whether the gap closes; kept until the samples have said otherwise for a while, since rows
    /// come in bursts and so does lag.
    trend: Trend,
}

/// Whether lag shrinks, as it is told.
#[derive(Debug)]
struct Trend {
    told: Status,
    /// The samples are of another backlog than what was told.
    is_stale: bool,
    /// Since when the samples contradict it.
    contradicted_since: Option<Instant>,
}

impl Default for Trend {
    fn default() -> Self {
        Self { told: Status::Unknown, is_stale: true, contradicted_since: None }
    }
}

impl Trend {
    /// Takes what the samples say now: the first word on a backlog at once, any other after `lasting`.
    fn advance(&mut self, at: Instant, sampled: Status, lasting: Duration) {
        if sampled == Status::Unknown {
            return;
        }
        if sampled == self.told {
            self.contradicted_since = None;
        } else {
            let since = *self.contradicted_since.get_or_insert(at);
            if !self.is_stale && at.saturating_duration_since(since) < lasting {
                return;
            }
            self.told = sampled;
            self.contradicted_since = None;
        }
        self.is_stale = false;
    }
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
            self.trend.is_stale = true;
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
        self.trend.advance(at, self.sampled_trend(), parameters.lag_recovered_for);
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
        let is_known = self.span() >= TREND_MIN;
        let twice = before.is_some_and(|before| before > parameters.lag_limit);
        self.late |= is_known && twice && lag > parameters.lag_limit;
    }

    pub(in super::super) fn reset(&mut self) {
        self.samples.clear();
        self.below_since = None;
        self.trend = Trend::default();
    }

    /// Up to when all that was committed has been delivered.
    pub(in super::super) fn delivered_until(&self) -> Option<Instant> {
        let (at, sample) = self.samples.back()?;
        at.checked_sub(sample.lag?)
    }

    /// Late until now, and no longer behind: what is left of it is the time that this must last.
    pub(in super::super) fn has_closed(&self, parameters: &Parameters) -> bool {
        let lag = self.samples.back().and_then(|(_, sample)| sample.lag);
        self.late && lag.is_some_and(|lag| lag < parameters.lag_recovered)
    }

    fn span(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some((first, _)), Some((last, _))) => last.saturating_duration_since(*first),
            _ => Duration::ZERO,
        }
    }

    /// Whether the gap closes, or one huge transaction moves, by the samples at hand.
    fn sampled_trend(&self) -> Status {
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
                (Status::Unknown, "no report of the lag recently".to_owned())
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
        // A gap that has closed shrinks no further, and is none that does not shrink.
        let has_closed = self.has_closed(parameters);
        let shrinks =
            if has_closed || !self.late && last.is_some() { Status::True } else { self.trend.told };
        let words = match shrinks {
            Status::True if has_closed => "the lag is gone",
            Status::True if !self.late => "there is no lag",
            Status::True => "the lag shrinks, or one large transaction is in progress",
            // What is told follows the samples only when they have said the same for a while.
            Status::False if self.sampled_trend() == Status::True => "the lag has begun to shrink",
            Status::False => "the lag does not shrink",
            Status::Unknown => "whether the lag shrinks is not known yet",
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told of lag that grows by a second a second, and falls by `fall` at once each `period`
    /// seconds, since rows come in bursts. One letter a second from the first that is late.
    fn told(from: f64, fall: f64, period: u32, seconds: u32) -> String {
        let (parameters, start) = (Parameters::default(), Instant::now());
        let mut evidence = LagEvidence::default();
        let mut conditions = Conditions::new(&parameters, start);
        let mut told = String::new();
        for second in 0..seconds {
            let now = start + Duration::from_secs(u64::from(second));
            let lag = from + f64::from(second) - fall * f64::from(second / period);
            let lag = Duration::from_secs_f64(lag.max(0.0));
            let sample = LagSample { lag: Some(lag), transaction_bytes: 0 };
            evidence.sampled(now, sample, &parameters);
            evidence.apply(now, &parameters, &mut conditions);
            if conditions.is_false(Condition::LagSmall) {
                let shrinks = conditions.status(Condition::LagShrinks) == Status::True;
                told.push(if shrinks { 'c' } else { 'l' });
            }
        }
        told
    }

    proptest! {
        #[test]
        fn bursts_do_not_make_a_stream_that_falls_behind_look_like_one_that_catches_up(
            part in 0.05..0.8_f64,
            period in 1..9_u32,
        ) {
            let told = told(0.0, part * f64::from(period), period, 600);
            prop_assert!(!told.is_empty() && told.chars().all(|it| it == 'l'), "{told}");
        }

        #[test]
        fn nor_one_that_catches_up_like_one_that_falls_behind(
            part in 2.0..20.0_f64,
            period in 1..6_u32,
        ) {
            let told = told(3_600.0, part * f64::from(period), period, 150);
            // The first word may come in the middle of a burst.
            let from = told.find('c').unwrap_or(told.len());
            prop_assert!(from <= 15 && !told[from..].contains('l'), "{told}");
        }
    }

    #[test]
    fn a_stream_that_no_longer_falls_behind_is_told_within_twenty_seconds() {
        let (parameters, start) = (Parameters::default(), Instant::now());
        let mut evidence = LagEvidence::default();
        let mut turned = None;
        for second in 0..120_u64 {
            let lag = if second < 60 { second } else { 60 - (second - 60) / 2 };
            let sample = LagSample { lag: Some(Duration::from_secs(lag)), transaction_bytes: 0 };
            evidence.sampled(start + Duration::from_secs(second), sample, &parameters);
            if evidence.trend.told == Status::True {
                turned.get_or_insert(second);
            }
        }
        assert!(turned.is_some_and(|second| (70..80).contains(&second)), "{turned:?}");
    }
}
