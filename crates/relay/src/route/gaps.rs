//! Rows that are missing: asked for, waited for, or given up.

use std::pin::Pin;
use std::time::Duration;

use binpulse_client::ledger::Gap;
use tokio::task::JoinError;

use super::lane::{GapState, LaneState};
use super::store::LaneStore;
use super::{GapPolicy, Route};
use crate::lane::LaneKey;
use crate::metrics::Metrics;
use crate::target::receiver::Receive;

/// Replays of one gap before its lane halts, and the time for each.
const HEALS_MAX: u32 = 3;
const HEAL_WAIT: Duration = Duration::from_mins(1);

/// Rows asked for at a time.
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

/// Asks the streamer to publish rows again.
pub trait Heal: Send + Sync + 'static {
    /// Returns when the request was accepted, or why not.
    fn heal(
        &self,
        missing: Missing,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// A lane, the first and last number that are missing, and whether they were asked for.
pub(super) type Asked = (LaneKey, (u64, u64), Result<(), String>);

impl<R: Receive, S: LaneStore> Route<R, S> {
    pub(super) fn look_for_gaps(&mut self) {
        let now = self.now();
        let policy = match (self.parts.config.gap, &self.parts.heal) {
            (GapPolicy::Heal, None) => GapPolicy::Halt,
            (policy, _) => policy,
        };
        for (key, lane) in &mut self.lanes {
            let before = lane.order.next();
            let Some(gap) = lane.order.missing(now) else {
                if lane.order.next() != before {
                    self.touched.insert(key.clone());
                }
                let healed = match lane.gap {
                    GapState::Asked { gap, .. } | GapState::Halted { gap } => {
                        lane.order.next().is_some_and(|next| next > gap.0)
                    }
                    GapState::None => false,
                };
                if healed {
                    self.parts.metrics.gaps_healed.inc();
                    tracing::info!(lane = %key, "missing rows have come");
                    lane.gap = GapState::None;
                    self.touched.insert(key.clone());
                }
                continue;
            };
            let missing = (gap.first, gap.last.min(gap.first.saturating_add(HEAL_ROWS_MAX - 1)));
            match policy {
                GapPolicy::Declare => {
                    declare(key, lane, gap, now, &self.parts.metrics);
                    self.touched.insert(key.clone());
                }
                GapPolicy::Halt => halt(key, lane, (gap.first, gap.last)),
                GapPolicy::Heal => {
                    let (times, at) = match lane.gap {
                        GapState::Asked { gap, times, at } if gap.0 == missing.0 => (times, at),
                        GapState::Halted { gap } if gap.0 == missing.0 => continue,
                        GapState::Halted { .. } | GapState::Asked { .. } | GapState::None => (0, Duration::ZERO),
                    };
                    if times > 0 && now < at + HEAL_WAIT {
                        continue;
                    }
                    if times >= HEALS_MAX {
                        halt(key, lane, missing);
                        continue;
                    }
                    lane.gap = GapState::Asked { gap: missing, times: times + 1, at: now };
                    if let Some(heal) = self.parts.heal.clone() {
                        let key = key.clone();
                        let (since_us, until_us) = lane.committed_around();
                        let (first, last) = missing;
                        self.heals.spawn(async move {
                            let lane = key.clone();
                            let rows = Missing { lane, first, last, since_us, until_us };
                            (key, missing, heal.heal(rows).await)
                        });
                    }
                }
            }
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

fn declare(key: &LaneKey, lane: &mut LaneState, gap: Gap, now: Duration, metrics: &Metrics) {
    let Gap { first, last, is_proven } = gap;
    let rows = (last - first).saturating_add(1);
    metrics.rows.with_label_values(&["missing"]).inc_by(rows);
    tracing::error!(lane = %key, first, last, is_proven, "rows are missing: the lane goes on without them");
    lane.absent(first, last, now);
}

fn halt(key: &LaneKey, lane: &mut LaneState, gap: (u64, u64)) {
    if lane.gap != (GapState::Halted { gap }) {
        let (first, last) = gap;
        tracing::error!(
            lane = %key, first, last,
            "rows are missing: nothing behind them is delivered until they have come"
        );
        lane.gap = GapState::Halted { gap };
    }
}
