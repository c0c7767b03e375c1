//! The state that was found, with its reason, in words.

use std::time::Instant;

use super::Evaluator;
use crate::freshness::verdict::obligation::Obligation;
use crate::freshness::verdict::rule::ReasonOf;
use crate::freshness::verdict::{Condition, Reason, State, Verdict, words};

impl Evaluator {
    fn reason(&self, state: State, now: Instant) -> Option<Reason> {
        match state.row().reason {
            ReasonOf::Nothing => None,
            ReasonOf::History => self.history.reason(),
            ReasonOf::SqlElseStream => self.sql.reason().or_else(|| self.stream.reason()),
            ReasonOf::Silence => Some(Reason::Timeout),
            ReasonOf::Stream => self.stream.reason(),
            ReasonOf::Writes => Some(self.writes.reason()),
            ReasonOf::Sink => Some(self.sink.reason()),
            ReasonOf::Canaries => self.canaries.reason(),
            ReasonOf::EchoQueues if self.conditions.is_true(Condition::CanariesArrive) => None,
            ReasonOf::EchoQueues => self.canaries.unreadable_reason(now, &self.parameters),
            ReasonOf::Certificate => {
                let filtered =
                    self.accounting.certificate().is_some_and(|last| last.counts.filtered > 0);
                Some(if filtered { Reason::FilteredOnly } else { Reason::Empty })
            }
        }
    }

    pub(super) fn put_into_words(&self, now: Instant, state: State) -> Verdict {
        // While a state only waits for its exit, what caused it may no longer be at hand.
        let kept = || (self.verdict.state == state).then(|| self.verdict.reason.clone()).flatten();
        let reason = match self.reason(state, now) {
            _ if !self.hysteresis.holds(&self.conditions) => kept(),
            // Of evidence that is missing it is known each time why.
            None if state != State::Indeterminate => kept(),
            reason => reason,
        };
        let certificate = self.accounting.certificate().filter(|_| self.unlogged.is_empty());
        let is_late = matches!(state, State::CatchingUp | State::Lagging);
        let is_recovering = self.hysteresis.is_recovering(&self.conditions)
            || is_late && self.lag.has_closed(&self.parameters);
        let behind = self.obligations.suspicion_of(Obligation::Publish, now)
            || !self.sink.is_empty() && self.lag_is_behind_sink();
        Verdict {
            state,
            since: self.hysteresis.since(),
            is_recovering,
            evaluated_at: now,
            sentence: words::sentence(
                state,
                reason.as_ref(),
                is_recovering,
                &self.conditions,
                certificate,
            ),
            facts: words::missing(&self.conditions),
            hop: words::hop(state, behind, self.canaries.all_lost()),
            next_step: words::next_step(state, reason.as_ref(), is_recovering),
            reason,
            certificate: certificate.cloned(),
            conditions: self.conditions.iter().map(|(name, known)| (name, known.clone())).collect(),
        }
    }

    /// Whether the reader waits for the sink and not the other way round.
    fn lag_is_behind_sink(&self) -> bool {
        self.stream.connected_now() && !self.stream.flows()
    }
}
