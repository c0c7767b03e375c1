//! Rows that are missing: asked for, waited for, or given up. Parts of snapshots likewise, except that no
//! log has them: they can't be asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::ledger::Gap;
use tokio::task::{JoinError, JoinSet};

use super::config::GapPolicy;
use crate::lane::LaneKey;
use crate::lanes::order::LaneOrder;
use crate::lanes::parts::PartGap;
use crate::metrics::Metrics;

/// Replays of one gap before its lane halts, and the time for each.
const HEALS_MAX: u32 = 3;
const HEAL_WAIT: Duration = Duration::from_mins(1);
/// When a streamer that is away or busy is asked again.
const LATER: Duration = Duration::from_secs(5);

/// Rows asked for at a time, as many as a streamer publishes: behind them is another gap.
const HEAL_ROWS_MAX: u64 = 1_000_000;

/// Rows that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Their lane.
    pub lane: LaneKey,
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// When the row in front of them was committed, if it is known; microseconds since 1970 UTC.
    pub since_us: Option<i64>,
    /// When the row behind them was committed, likewise.
    pub until_us: Option<i64>,
}

/// Why rows could not be asked for, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HealError {
    /// The streamer is away, or busy.
    #[error("{0}")]
    Later(String),
    /// It refuses.
    #[error("{0}")]
    Refused(String),
}

/// Asks the streamer to publish rows again.
pub trait Heal: Send + Sync + 'static {
    /// Returns when the request was accepted, or why not.
    fn heal(
        &self,
        missing: Missing,
    ) -> Pin<Box<dyn Future<Output = Result<(), HealError>> + Send + '_>>;
}

/// A lane, the first and last number that are missing, and whether they were asked for.
pub(super) type Asked = (LaneKey, (u64, u64), Result<(), HealError>);

/// What is done about rows that are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum GapState {
    /// None are, as far as is known.
    #[default]
    None,
    /// They were asked for, so often, and are waited for until then.
    Asked { gap: (u64, u64), times: u32, until: Duration },
    /// Nothing more is delivered until they come.
    Halted { gap: (u64, u64) },
}

/// What a look at a lane found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing has changed.
    Nothing,
    /// A lane that was not known has begun, or rows that were missing have come.
    GoesOn,
    /// The lane goes on without these rows.
    Declared(Gap),
    /// These rows are to be asked for.
    Ask { first: u64, last: u64 },
}

impl GapState {
    /// Looks whether rows of the lane are missing for too long, and decides.
    pub(super) fn look<T>(
        &mut self,
        key: &LaneKey,
        order: &mut LaneOrder<T>,
        policy: GapPolicy,
        now: Duration,
        metrics: &Metrics,
    ) -> Found {
        let before = order.begun();
        let Some(gap) = order.missing(now) else {
            let has_come = match *self {
                Self::Asked { gap, .. } | Self::Halted { gap } => {
                    order.next().is_some_and(|next| next > gap.0)
                }
                Self::None => false,
            };
            if has_come {
                metrics.gaps_healed.inc();
                tracing::info!(lane = %key, "missing rows have come");
                *self = Self::None;
            }
            return if has_come || order.begun() != before {
                Found::GoesOn
            } else {
                Found::Nothing
            };
        };
        let Gap { first, last, is_proven } = gap;
        match (policy, &*self) {
            (GapPolicy::Declare, _) => {
                let rows = (last - first).saturating_add(1);
                metrics.rows.with_label_values(&["missing"]).inc_by(rows);
                tracing::error!(
                    lane = %key, first, last, is_proven, "rows are missing: the lane goes on without them"
                );
                order.absent(gap, now);
                *self = Self::None;
                Found::Declared(gap)
            }
            (_, Self::Halted { gap }) if *gap == (first, last) => Found::Nothing,
            // Some of the rows have come, or more are missing: an operator sees what is.
            (_, Self::Halted { gap }) if gap.0 == first => self.halt(key, first, last),
            (GapPolicy::Heal, Self::Asked { gap, times, until }) if gap.0 == first => {
                if now < *until {
                    return Found::Nothing;
                }
                let times = times + 1;
                if times > HEALS_MAX {
                    self.halt(key, first, last)
                } else {
                    self.ask(first, last, times, now)
                }
            }
            (GapPolicy::Heal, _) => self.ask(first, last, 1, now),
            (GapPolicy::Halt, _) => self.halt(key, first, last),
        }
    }

    fn ask(&mut self, first: u64, last: u64, times: u32, now: Duration) -> Found {
        let last = last.min(first.saturating_add(HEAL_ROWS_MAX - 1));
        *self = Self::Asked { gap: (first, last), times, until: now + HEAL_WAIT };
        Found::Ask { first, last }
    }

    /// The streamer could not be asked for these rows: it is asked again soon, and that counts for nothing.
    pub(super) fn not_asked(&mut self, rows: (u64, u64), now: Duration) {
        if let Self::Asked { gap, times, until } = self
            && *gap == rows
        {
            (*times, *until) = (times.saturating_sub(1), now + LATER);
        }
    }

    fn halt(&mut self, key: &LaneKey, first: u64, last: u64) -> Found {
        tracing::error!(
            lane = %key, first, last, "rows are missing: nothing behind them is delivered until they have come"
        );
        *self = Self::Halted { gap: (first, last) };
        Found::Nothing
    }
}

/// Parts of snapshots that are missing, of which was told: their lane is halted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PartsGap(Option<PartGap>);

impl PartsGap {
    /// The parts.
    pub(super) fn parts(&self) -> Option<&PartGap> {
        self.0.as_ref()
    }

    /// Looks whether parts of the lane are missing for too long, and decides. The parts behind which the
    /// lane goes on, if it does: that is to be saved.
    pub(super) fn look<T>(
        &mut self,
        key: &LaneKey,
        order: &mut LaneOrder<T>,
        policy: GapPolicy,
        now: Duration,
        metrics: &Metrics,
    ) -> Option<PartGap> {
        let Some(gap) = order.missing_parts(now) else {
            if self.0.take().is_some() {
                metrics.gaps_healed.inc();
                tracing::info!(lane = %key, "missing parts of a snapshot have come");
            }
            return None;
        };
        let (first, last) = (gap.first, gap.last());
        if gap.is_beginning {
            tracing::info!(lane = %key, next = gap.next, "the lane begins with this part of a snapshot");
        } else if policy == GapPolicy::Declare {
            metrics.rows.with_label_values(&["missing"]).inc_by(gap.rows());
            tracing::error!(
                lane = %key, first, last, "parts of a snapshot are missing: the lane goes on without them"
            );
        } else {
            if self.0 != Some(gap) {
                tracing::error!(
                    lane = %key, first, last,
                    "parts of a snapshot are missing: nothing behind them is delivered until they have come"
                );
            }
            self.0 = Some(gap);
            return None;
        }
        order.pass_parts(gap);
        self.0 = None;
        Some(gap)
    }
}

/// Who can't ask for missing rows halts.
pub(super) fn policy(wanted: GapPolicy, heal: Option<&Arc<dyn Heal>>) -> GapPolicy {
    match (wanted, heal) {
        (GapPolicy::Heal, None) => GapPolicy::Halt,
        (wanted, _) => wanted,
    }
}

/// Asks for missing rows, as a task.
pub(super) fn spawn(heals: &mut JoinSet<Asked>, heal: &Arc<dyn Heal>, missing: Missing) {
    let heal = Arc::clone(heal);
    heals.spawn(async move {
        let (lane, rows) = (missing.lane.clone(), (missing.first, missing.last));
        (lane, rows, heal.heal(missing).await)
    });
}

/// The streamer was asked to publish rows again; where it could not be, its lane's gap (`gap_of`) is
/// told.
pub(super) fn asked<'a>(
    asked: Result<Asked, JoinError>,
    now: Duration,
    gap_of: impl FnOnce(&LaneKey) -> Option<&'a mut GapState>,
) {
    match asked {
        Ok((lane, (first, last), Ok(()))) => {
            tracing::info!(%lane, first, last, "asked for missing rows to be published again");
        }
        Ok((lane, (first, last), Err(error))) => {
            tracing::warn!(%lane, first, last, %error, "missing rows can't be asked for");
            if matches!(error, HealError::Later(_))
                && let Some(gap) = gap_of(&lane)
            {
                gap.not_asked((first, last), now);
            }
        }
        Err(error) => tracing::error!(%error, "a request for a replay ended without an answer"),
    }
}

#[cfg(test)]
mod tests {
    use binpulse_client::ledger::Waits;

    use super::*;
    use crate::lanes::order::{Entry, Rows};
    use crate::lanes::parts::Part;

    #[test]
    fn a_streamer_that_is_away_or_busy_is_asked_again_until_it_answers() {
        let lane = LaneKey { stream: "s".into(), epoch: 1, lane: "a.b#0".into() };
        let mut order = LaneOrder::new(1, None, false, Waits::default(), Duration::ZERO);
        order.offer(Rows { first: 3, count: 1, snapshot: (0, 0), content: () }, Duration::ZERO);
        order.watermark(4, Duration::ZERO);
        let metrics = Metrics::new("test").expect("metrics");
        let mut state = GapState::None;
        let mut look = |state: &mut GapState, now| {
            state.look(&lane, &mut order, GapPolicy::Heal, now, &metrics)
        };
        let ask = Found::Ask { first: 1, last: 2 };
        let mut now = Duration::from_mins(10);
        for _ in 0..20 {
            assert_eq!(look(&mut state, now), ask);
            state.not_asked((1, 2), now);
            assert_eq!(look(&mut state, now), Found::Nothing);
            now += LATER;
        }
        // It answers, and nothing comes.
        for _ in 0..HEALS_MAX {
            assert_eq!(look(&mut state, now), ask);
            now += HEAL_WAIT;
        }
        assert_eq!(look(&mut state, now), Found::Nothing);
        assert_eq!(state, GapState::Halted { gap: (1, 2) });
    }

    #[test]
    fn lost_parts_halt_their_lane_or_are_given_up_by_setting_and_are_counted() {
        let lane = LaneKey { stream: "s".into(), epoch: 1, lane: "a.b#0".into() };
        let (waits, metrics) = (Waits::default(), Metrics::new("test").expect("metrics"));
        let missing = metrics.rows.with_label_values(&["missing"]);
        let (zero, then) = (Duration::ZERO, waits.gap);
        let part =
            |number| Part { attempt: 1, number, attempt_first: 1, anchor: 1, rows: 2, content: () };
        for policy in [GapPolicy::Heal, GapPolicy::Halt] {
            let mut order = LaneOrder::new(1, None, true, waits, zero);
            let mut gap = PartsGap::default();
            order.offer_part(part(5), zero);
            assert_eq!(
                (order.take(zero), gap.look(&lane, &mut order, policy, zero, &metrics)),
                (None, None)
            );
            assert_eq!(gap.look(&lane, &mut order, policy, then, &metrics), None);
            assert_eq!(gap.parts().map(|gap| (gap.first, gap.last())), Some((1, 4)));
            assert_eq!(order.take(then), None, "the lane waits");
            let healed = metrics.gaps_healed.get();
            order.offer_part(part(1), then);
            order.offer_part(part(3), then);
            assert_eq!(std::iter::from_fn(|| order.take(then)).count(), 3);
            assert_eq!(gap.look(&lane, &mut order, policy, then, &metrics), None);
            assert_eq!((gap.parts(), metrics.gaps_healed.get() - healed), (None, 1));
        }
        let mut order = LaneOrder::new(1, None, true, waits, zero);
        let mut gap = PartsGap::default();
        order.offer_part(part(5), zero);
        assert_eq!(gap.look(&lane, &mut order, GapPolicy::Declare, zero, &metrics), None);
        let passed = gap.look(&lane, &mut order, GapPolicy::Declare, then, &metrics);
        assert_eq!(passed.map(|gap| (gap.attempt, gap.first, gap.next)), Some((1, 1, 5)));
        assert_eq!((missing.get(), order.take(then)), (4, Some(Entry::Part(part(5)))));
        // Where a lane begins that was not known, nothing is missing.
        let mut order = LaneOrder::new(0, None, true, waits, zero);
        order.offer_part(part(5), zero);
        assert_eq!((order.missing(waits.first), order.take(waits.first)), (None, None));
        let begun = gap.look(&lane, &mut order, GapPolicy::Halt, waits.first, &metrics);
        assert_eq!(begun.map(|gap| (gap.attempt, gap.next)), Some((1, 5)));
        assert_eq!((missing.get(), order.take(then)), (4, Some(Entry::Part(part(5)))));
    }
}
