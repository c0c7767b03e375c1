//! Rows that are missing: asked for, waited for, or given up.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::ledger::Gap;
use tokio::task::{JoinError, JoinSet};

use super::store::LaneStore;
use super::{GapPolicy, Route};
use crate::lane::LaneKey;
use crate::lanes::order::LaneOrder;
use crate::metrics::Metrics;
use crate::target::receiver::Receive;

/// Replays of one gap before its lane halts, and the time for each.
const HEALS_MAX: u32 = 3;
const HEAL_WAIT: Duration = Duration::from_mins(1);

/// Asks the streamer to publish rows again.
pub trait Heal: Send + Sync + 'static {
    /// Rows `first` to `last` of a lane. Returns when the request was accepted, or why not.
    fn heal(
        &self,
        lane: LaneKey,
        first: u64,
        last: u64,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// A lane, the first and last number that are missing, and whether they were asked for.
pub(super) type Asked = (LaneKey, (u64, u64), Result<(), String>);

/// What is done about rows that are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum GapState {
    /// None are, as far as is known.
    #[default]
    None,
    /// They were asked for, so often, the last time then.
    Asked { gap: (u64, u64), times: u32, at: Duration },
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
        let before = order.next();
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
            return if has_come || order.next() != before { Found::GoesOn } else { Found::Nothing };
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
            (_, Self::Halted { .. }) => Found::Nothing,
            (GapPolicy::Heal, Self::Asked { gap, times, at }) if gap.0 == first => {
                if now < *at + HEAL_WAIT {
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

    fn ask(&mut self, first: u64, last: u64, times: u32, at: Duration) -> Found {
        *self = Self::Asked { gap: (first, last), times, at };
        Found::Ask { first, last }
    }

    fn halt(&mut self, key: &LaneKey, first: u64, last: u64) -> Found {
        tracing::error!(
            lane = %key, first, last, "rows are missing: nothing more of the lane is delivered"
        );
        *self = Self::Halted { gap: (first, last) };
        Found::Nothing
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
pub(super) fn spawn(
    heals: &mut JoinSet<Asked>,
    heal: &Arc<dyn Heal>,
    lane: &LaneKey,
    (first, last): (u64, u64),
) {
    let (heal, lane) = (Arc::clone(heal), lane.clone());
    heals.spawn(async move {
        let asked = heal.heal(lane.clone(), first, last).await;
        (lane, (first, last), asked)
    });
}

impl<R: Receive, S: LaneStore> Route<R, S> {
    pub(super) fn look_for_gaps(&mut self) {
        let now = self.now();
        let policy = policy(self.parts.config.gap, self.parts.heal.as_ref());
        for (key, lane) in &mut self.lanes {
            match lane.gap.look(key, &mut lane.order, policy, now, &self.parts.metrics) {
                Found::Nothing => continue,
                Found::GoesOn => {}
                Found::Declared(gap) => lane.requests.absent(gap.first, gap.last),
                Found::Ask { first, last } => {
                    if let Some(heal) = &self.parts.heal {
                        spawn(&mut self.heals, heal, key, (first, last));
                    }
                }
            }
            self.touched.insert(key.clone());
        }
    }
}

/// The streamer was asked to publish rows again.
pub(super) fn asked(asked: Result<Asked, JoinError>) {
    match asked {
        Ok((lane, (first, last), Ok(()))) => {
            tracing::info!(%lane, first, last, "asked for missing rows to be published again");
        }
        Ok((lane, (first, last), Err(error))) => {
            tracing::warn!(%lane, first, last, error, "missing rows can't be asked for");
        }
        Err(error) => tracing::error!(%error, "a request for a replay ended without an answer"),
    }
}
