//! Rows that are missing: asked for, waited for, or given up. Parts of snapshots likewise, except that no
//! log has them: their keys are read again, and the lane goes on behind them once that was published.

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

/// Parts of snapshots that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingParts {
    /// Their lane.
    pub lane: LaneKey,
    /// Number of the first of their rows, among those of the lane's parts.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// Their rows have keys behind this one; `None`: any.
    pub after: Option<String>,
    /// Their rows have keys up to this one; `None`: any.
    pub upto: Option<String>,
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

    /// Has the rows of these keys read from the table again. Returns when the topic has accepted them, or why
    /// that will not be.
    fn read_again(
        &self,
        missing: MissingParts,
    ) -> Pin<Box<dyn Future<Output = Result<(), HealError>> + Send + '_>>;
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Rows, first and last number.
    Rows((u64, u64)),
    /// Parts of snapshots.
    Parts(PartGap),
}

/// A lane, what of it is missing, and what became of the request for it.
pub(super) type Asked = (LaneKey, What, Result<(), HealError>);

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

/// Parts of snapshots that are missing: their lane waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PartsGap {
    gap: Option<PartGap>,
    state: PartsState,
    /// Requests for them that were in vain.
    times: u32,
}

/// What is done about parts that are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PartsState {
    /// Nothing was done yet.
    #[default]
    New,
    /// Their keys are being read again.
    Asked,
    /// They are asked for once more then.
    Later(Duration),
    /// The keys of these were read again, and that was published.
    Read(PartGap),
    /// Nothing behind them is delivered until they come.
    Halted,
}

/// What a look at a lane's parts found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PartsFound {
    /// Nothing has changed.
    Nothing,
    /// The lane goes on behind these parts: that is to be saved.
    Passed(PartGap),
    /// The keys of these parts are to be read again.
    Ask(PartGap),
}

impl PartsGap {
    /// The parts.
    pub(super) fn parts(&self) -> Option<&PartGap> {
        self.gap.as_ref()
    }

    /// A lane that is halted in front of parts.
    #[cfg(test)]
    pub(super) fn halted(first: u64, next: u64) -> Self {
        let gap = PartGap { attempt: 1, first, next, is_beginning: false };
        Self { gap: Some(gap), state: PartsState::Halted, times: 0 }
    }

    /// Whether an operator is needed.
    pub(super) fn is_halted(&self) -> bool {
        self.state == PartsState::Halted
    }

    /// Looks whether parts of the lane are missing for too long, and decides.
    pub(super) fn look<T>(
        &mut self,
        key: &LaneKey,
        order: &mut LaneOrder<T>,
        policy: GapPolicy,
        now: Duration,
        metrics: &Metrics,
    ) -> PartsFound {
        let Some(gap) = order.missing_parts(now) else {
            if self.gap.take().is_some() {
                metrics.gaps_healed.inc();
                tracing::info!(lane = %key, "missing parts of a snapshot have come");
                // What is read again still stands for what may be missing of it.
                if !matches!(self.state, PartsState::Asked | PartsState::Read(_)) {
                    *self = Self::default();
                }
            }
            return PartsFound::Nothing;
        };
        let (first, last) = (gap.first, gap.last());
        match (policy, self.state) {
            _ if gap.is_beginning => {
                tracing::info!(lane = %key, next = gap.next, "the lane begins with this part of a snapshot");
            }
            (GapPolicy::Declare, _) => {
                metrics.rows.with_label_values(&["missing"]).inc_by(gap.rows());
                tracing::error!(
                    lane = %key, first, last, "parts of a snapshot are missing: the lane goes on without them"
                );
            }
            (_, PartsState::Read(read)) if read.has(&gap) => {
                metrics.gaps_healed.inc();
                tracing::info!(
                    lane = %key, first, last,
                    "the keys of missing parts of a snapshot were read again: the lane goes on"
                );
            }
            (GapPolicy::Heal, PartsState::New | PartsState::Read(_)) => {
                (self.gap, self.state, self.times) = (Some(gap), PartsState::Asked, 0);
                tracing::warn!(
                    lane = %key, first, last, "parts of a snapshot are missing: their keys are to be read again"
                );
                return PartsFound::Ask(gap);
            }
            (GapPolicy::Heal, PartsState::Later(at)) if now >= at && self.times < HEALS_MAX => {
                (self.gap, self.state) = (Some(gap), PartsState::Asked);
                return PartsFound::Ask(gap);
            }
            (GapPolicy::Heal, PartsState::Asked) => return PartsFound::Nothing,
            (GapPolicy::Heal, PartsState::Later(at)) if now < at => return PartsFound::Nothing,
            (GapPolicy::Heal | GapPolicy::Halt, _) => {
                if self.gap != Some(gap) || self.state != PartsState::Halted {
                    tracing::error!(
                        lane = %key, first, last,
                        "parts of a snapshot are missing: nothing behind them is delivered until they have come"
                    );
                }
                (self.gap, self.state) = (Some(gap), PartsState::Halted);
                return PartsFound::Nothing;
            }
        }
        order.pass_parts(gap);
        *self = Self::default();
        PartsFound::Passed(gap)
    }

    /// A request for parts was answered.
    fn asked(&mut self, gap: PartGap, answer: &Result<(), HealError>, now: Duration) {
        if self.state != PartsState::Asked {
            return;
        }
        self.state = match answer {
            Ok(()) => PartsState::Read(gap),
            Err(HealError::Later(_)) => PartsState::Later(now + LATER),
            Err(HealError::Refused(_)) => {
                self.times += 1;
                PartsState::Later(now + HEAL_WAIT)
            }
        };
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
        (lane, What::Rows(rows), heal.heal(missing).await)
    });
}

/// The same with parts of a lane's snapshots.
pub(super) fn spawn_parts<T>(
    heals: &mut JoinSet<Asked>,
    heal: &Arc<dyn Heal>,
    lane: &LaneKey,
    order: &LaneOrder<T>,
    gap: PartGap,
) {
    let (heal, lane, (after, upto)) = (Arc::clone(heal), lane.clone(), order.range(gap));
    heals.spawn(async move {
        let (first, last) = (gap.first, gap.last());
        let missing = MissingParts { lane: lane.clone(), first, last, after, upto };
        (lane, What::Parts(gap), heal.read_again(missing).await)
    });
}

/// The streamer was asked to publish rows again; what is known of its lane's gaps (`gaps_of`) is told.
pub(super) fn asked<'a>(
    asked: Result<Asked, JoinError>,
    now: Duration,
    gaps_of: impl FnOnce(&LaneKey) -> Option<(&'a mut GapState, &'a mut PartsGap)>,
) {
    let (lane, what, answer) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            return tracing::error!(%error, "a request for a replay ended without an answer");
        }
    };
    let gaps = gaps_of(&lane);
    match (what, answer) {
        (What::Rows((first, last)), Ok(())) => {
            tracing::info!(%lane, first, last, "asked for missing rows to be published again");
        }
        (What::Rows((first, last)), Err(error)) => {
            tracing::warn!(%lane, first, last, %error, "missing rows can't be asked for");
            if matches!(error, HealError::Later(_))
                && let Some((gap, _)) = gaps
            {
                gap.not_asked((first, last), now);
            }
        }
        (What::Parts(gap), answer) => {
            if let Err(error) = &answer {
                let (first, last) = (gap.first, gap.last());
                tracing::warn!(%lane, first, last, %error, "keys of missing parts are not read again");
            }
            if let Some((_, parts)) = gaps {
                parts.asked(gap, &answer, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use binpulse_client::ledger::Waits;

    use super::*;
    use crate::lanes::order::{Entry, Rows};
    use crate::lanes::parts::{Chunk, Part};

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

    fn part(number: u64) -> Part<()> {
        let (attempt, attempt_first, anchor, chunk) = (1, 1, 1, Chunk::default());
        Part { attempt, number, attempt_first, anchor, rows: 2, chunk, content: () }
    }

    const NOTHING: PartsFound = PartsFound::Nothing;

    #[test]
    fn lost_parts_halt_their_lane_or_are_given_up_by_setting_and_are_counted() {
        let lane = LaneKey { stream: "s".into(), epoch: 1, lane: "a.b#0".into() };
        let (waits, metrics) = (Waits::default(), Metrics::new("test").expect("metrics"));
        let missing = metrics.rows.with_label_values(&["missing"]);
        let (zero, then) = (Duration::ZERO, waits.gap);
        let policy = GapPolicy::Halt;
        let mut order = LaneOrder::new(1, None, true, waits, zero);
        let mut gap = PartsGap::default();
        order.offer_part(part(5), zero);
        assert_eq!(order.take(zero), None);
        assert_eq!(gap.look(&lane, &mut order, policy, zero, &metrics), NOTHING);
        assert_eq!((gap.parts(), gap.is_halted()), (None, false));
        assert_eq!(gap.look(&lane, &mut order, policy, then, &metrics), NOTHING);
        assert_eq!(gap.parts().map(|gap| (gap.first, gap.last())), Some((1, 4)));
        assert_eq!((order.take(then), gap.is_halted()), (None, true), "the lane waits");
        order.offer_part(part(1), then);
        order.offer_part(part(3), then);
        assert_eq!(std::iter::from_fn(|| order.take(then)).count(), 3);
        assert_eq!(gap.look(&lane, &mut order, policy, then, &metrics), NOTHING);
        assert_eq!((gap, metrics.gaps_healed.get()), (PartsGap::default(), 1));

        let mut order = LaneOrder::new(1, None, true, waits, zero);
        let mut gap = PartsGap::default();
        order.offer_part(part(5), zero);
        assert_eq!(gap.look(&lane, &mut order, GapPolicy::Declare, zero, &metrics), NOTHING);
        let passed = gap.look(&lane, &mut order, GapPolicy::Declare, then, &metrics);
        assert_eq!(passed, PartsFound::Passed(lost(1, 5)));
        assert_eq!((missing.get(), order.take(then)), (4, Some(Entry::Part(part(5)))));
        // Where a lane begins that was not known, nothing is missing.
        let mut order = LaneOrder::new(0, None, true, waits, zero);
        order.offer_part(part(5), zero);
        assert_eq!((order.missing(waits.first), order.take(waits.first)), (None, None));
        let begun = gap.look(&lane, &mut order, GapPolicy::Halt, waits.first, &metrics);
        assert!(matches!(begun, PartsFound::Passed(gap) if gap.next == 5), "{begun:?}");
        assert_eq!((missing.get(), order.take(then)), (4, Some(Entry::Part(part(5)))));
    }

    fn lost(first: u64, next: u64) -> PartGap {
        PartGap { attempt: 1, first, next, is_beginning: false }
    }

    #[test]
    fn keys_of_lost_parts_are_read_again_and_the_lane_goes_on_when_that_is_published() {
        let lane = LaneKey { stream: "s".into(), epoch: 1, lane: "a.b#0".into() };
        let (waits, metrics) = (Waits::default(), Metrics::new("test").expect("metrics"));
        let mut order = LaneOrder::new(1, None, true, waits, Duration::ZERO);
        let mut gap = PartsGap::default();
        let look = |gap: &mut PartsGap, order: &mut _, now| {
            gap.look(&lane, order, GapPolicy::Heal, now, &metrics)
        };
        order.offer_part(part(5), Duration::ZERO);
        assert_eq!(look(&mut gap, &mut order, Duration::ZERO), NOTHING);
        let mut now = waits.gap;
        assert_eq!(look(&mut gap, &mut order, now), PartsFound::Ask(lost(1, 5)));
        // It is asked once, and again while the streamer is away or busy: that counts for nothing.
        for _ in 0..20 {
            assert_eq!(look(&mut gap, &mut order, now), NOTHING);
            gap.asked(lost(1, 5), &Err(HealError::Later(String::new())), now);
            assert_eq!(look(&mut gap, &mut order, now), NOTHING);
            now += LATER;
            assert_eq!(look(&mut gap, &mut order, now), PartsFound::Ask(lost(1, 5)));
        }
        assert!(!gap.is_halted() && order.take(now).is_none(), "the lane waits");
        // One of them comes meanwhile: less is missing than was read again.
        order.offer_part(part(1), now);
        assert_eq!(order.take(now), Some(Entry::Part(part(1))));
        gap.asked(lost(1, 5), &Ok(()), now);
        now += waits.gap;
        assert_eq!(look(&mut gap, &mut order, now), NOTHING, "it waits anew for the rest");
        now += waits.gap;
        assert_eq!(look(&mut gap, &mut order, now), PartsFound::Passed(lost(3, 5)));
        assert_eq!(order.take(now), Some(Entry::Part(part(5))));
        assert_eq!(metrics.rows.with_label_values(&["missing"]).get(), 0);

        // Three refusals halt the lane.
        let mut gap = PartsGap::default();
        order.offer_part(part(9), now);
        assert_eq!(look(&mut gap, &mut order, now), NOTHING);
        now += waits.gap;
        for _ in 0..HEALS_MAX {
            assert_eq!(look(&mut gap, &mut order, now), PartsFound::Ask(lost(7, 9)));
            gap.asked(lost(7, 9), &Err(HealError::Refused(String::new())), now);
            assert!(!gap.is_halted());
            now += HEAL_WAIT;
        }
        assert_eq!(look(&mut gap, &mut order, now), NOTHING);
        assert!(gap.is_halted());
        // And they may come after all.
        order.offer_part(part(7), now);
        assert_eq!(std::iter::from_fn(|| order.take(now)).count(), 2);
        assert_eq!(look(&mut gap, &mut order, now), NOTHING);
        assert_eq!(gap, PartsGap::default());
    }
}
