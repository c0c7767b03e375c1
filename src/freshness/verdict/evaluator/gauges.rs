//! What the evaluator tells metrics.

use std::time::{Duration, Instant};

use super::Evaluator;
use crate::freshness::clock_offset::Offset;
use crate::freshness::verdict::{Condition, State, Verdict};

impl Evaluator {
    /// The last verdict.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The conditions that `live` and `quiet` need.
    pub fn needed(&self) -> impl Iterator<Item = Condition> {
        let all = Condition::ALL.iter().copied();
        all.filter(|condition| self.conditions.is_needed(*condition))
    }

    /// Every state, and whether it holds: exactly one does.
    #[cfg(feature = "testing")]
    pub fn states(&self) -> impl Iterator<Item = (State, bool)> {
        State::ALL.into_iter().map(|state| (state, state == self.verdict.state))
    }

    /// How often each state followed another.
    pub fn transitions(&self) -> impl Iterator<Item = (State, State, u64)> {
        self.transitions.iter().map(|((from, to), count)| (*from, *to, *count))
    }

    /// Age of the oldest open obligation of each name; zero where none is open.
    pub fn obligation_ages(&self, now: Instant) -> impl Iterator<Item = (&'static str, Duration)> {
        self.obligations.ages(now)
    }

    /// Transactions and holes that were found missing since start.
    pub fn unaccounted_total(&self) -> u64 {
        self.accounting.unaccounted_total()
    }

    /// The source's clock against ours.
    #[cfg(feature = "testing")]
    pub fn clock_offset(&self, now: Instant) -> Option<Offset> {
        self.clock.offset(now)
    }

    /// How often we were frozen since start.
    pub fn self_pauses(&self) -> u64 {
        self.pause.count
    }
}
