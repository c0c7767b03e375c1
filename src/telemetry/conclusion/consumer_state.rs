//! How one consumer does, by the newest canaries on their way to it.

use crate::telemetry::status::Consumer;
use crate::telemetry::words::{CanaryState, Indicator};

/// Canaries missed in a row after which a consumer is called silent, as the verdict has it.
const MISSES: usize = 2;

/// How one does; the order is from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConsumerState {
    /// Canaries in a row did not come back.
    Silent,
    /// Its echo queue can't be read.
    Unreadable,
    /// One of the newest canaries did not come back.
    Loses,
    /// None has come back so far.
    NoneYet,
    /// In maintenance.
    Rests,
    /// All is well.
    Echoes,
}

impl ConsumerState {
    /// By its newest canaries.
    pub(super) fn of(consumer: &Consumer) -> Self {
        let ended = |state: &CanaryState| {
            !matches!(state, CanaryState::Awaited | CanaryState::NotEvaluated)
        };
        let ended = consumer.recent.iter().map(|canary| canary.state).filter(ended);
        let misses = ended.clone().take_while(|state| *state == CanaryState::Lost).count();
        match () {
            () if consumer.maintenance_seconds_left.is_some() => Self::Rests,
            () if consumer.unreadable.is_some() => Self::Unreadable,
            () if misses >= MISSES => Self::Silent,
            () if ended.clone().any(|state| state == CanaryState::Lost) => Self::Loses,
            () if consumer.last.is_none() => Self::NoneYet,
            () => Self::Echoes,
        }
    }

    /// How it is shown, and in words.
    pub(super) const fn told(self) -> (Indicator, &'static str) {
        match self {
            Self::Silent => (Indicator::Broken, "silent"),
            Self::Unreadable => (Indicator::Unknown, "queue can't be read"),
            Self::Loses => (Indicator::Late, "lost a canary lately"),
            Self::NoneYet => (Indicator::Unknown, "no canary yet"),
            Self::Rests => (Indicator::Unwatched, "in maintenance"),
            Self::Echoes => (Indicator::Works, "echoes"),
        }
    }
}
