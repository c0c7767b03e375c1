//! Whether the source's log still holds what we need, and its history what we have.

use std::time::{Duration, Instant};

use crate::change::GtidSet;
use crate::pulse::verdict::{Condition, Conditions, Reason, Status, StreamFailure};

/// How long one sign waits for a second one.
const CONFIRM_WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(in super::super) struct HistoryEvidence {
    accepted: bool,
    /// Received up to the last round trip: committed for certain, so `gtid_executed` holds it. What
    /// came later may be on the stream and not yet in there (semi-sync, measured).
    committed: GtidSet,
    /// The first sign of a loss.
    sign: Option<(Instant, Reason, String)>,
    /// Whether that sign is a refused dump.
    is_refusal: bool,
    lost: Option<(Reason, String)>,
}

impl HistoryEvidence {
    /// A dump began: the source took our position.
    pub(in super::super) fn accepted(&mut self) {
        self.accepted = true;
        self.sign = None;
    }

    /// A round trip was made with these received.
    pub(in super::super) fn round_trip(&mut self, received: &GtidSet) {
        self.committed.clone_from(received);
    }

    pub(in super::super) fn refused(&mut self, at: Instant, failure: StreamFailure) {
        let (reason, what) = match failure {
            StreamFailure::Purged => {
                (Reason::Purged, "the source no longer has the binary log that comes next")
            }
            StreamFailure::Diverged => {
                (Reason::Diverged, "the source lacks transactions that we have received")
            }
            StreamFailure::Ended
            | StreamFailure::Silent
            | StreamFailure::Timeout
            | StreamFailure::Refused
            | StreamFailure::Reset
            | StreamFailure::Dns
            | StreamFailure::Tls
            | StreamFailure::Auth
            | StreamFailure::Denied
            | StreamFailure::TooManyConnections
            | StreamFailure::Offline
            | StreamFailure::DuplicateReplica
            | StreamFailure::Halted
            | StreamFailure::Other(_) => return,
        };
        self.sign(at, reason, what.to_owned());
        self.is_refusal = true;
    }

    /// The counter in the heartbeat table, read before anything was written there again, and the last
    /// one that is known to have been committed and sent to us. A server that was put back gives the
    /// numbers of the transactions that it lost to new ones: a heartbeat and a canary suffice, and its
    /// GTID set then looks like ours. The counter only ever grows, so it tells.
    pub(in super::super) fn stored(&mut self, number: u64, completed: Option<u64>) {
        // Without a row somebody has cleared the table, which is no sign.
        let Some(last) = completed.filter(|last| 0 < number && number < *last) else { return };
        let what = format!(
            "the source was put back: its last heartbeat is {number}, and {last} had come from it"
        );
        self.lost.get_or_insert((Reason::Diverged, what));
    }

    /// What the source says of its own history.
    pub(in super::super) fn read(
        &mut self,
        at: Instant,
        executed: Option<&GtidSet>,
        purged: Option<&GtidSet>,
        received: &GtidSet,
    ) {
        if received.is_empty() {
            return;
        }
        let gone = purged.map(|purged| purged.subtract(received)).unwrap_or_default();
        if !gone.is_empty() {
            let what = format!("the source purged {gone}, which we have not received");
            self.lost.get_or_insert((Reason::Purged, what));
        }
        let lacking =
            executed.map(|executed| self.committed.subtract(executed)).unwrap_or_default();
        if !lacking.is_empty() {
            let what = format!("the source lacks {lacking}, which we have received");
            self.sign(at, Reason::Diverged, what);
        } else if executed.is_some()
            && !self.is_refusal
            && self.sign.as_ref().is_some_and(|(_, reason, _)| *reason == Reason::Diverged)
        {
            self.sign = None;
        }
    }

    /// One sign may be a race or a server on its way out; a second one is certain.
    fn sign(&mut self, at: Instant, reason: Reason, what: String) {
        let second = self.sign.as_ref().is_some_and(|(first, before, _)| {
            *before == reason && at.saturating_duration_since(*first) <= CONFIRM_WITHIN
        });
        if second {
            self.lost.get_or_insert((reason, what));
        } else {
            self.sign = Some((at, reason, what));
            self.is_refusal = false;
        }
    }

    /// The state poll answered after a dump was refused: the server lives, and says what it has.
    /// That confirms the refusal unless its sets contradict it. Having all that we know to be received
    /// contradicts no divergence: what came behind the last heartbeat is not known here, and it was the
    /// whole set that was refused.
    pub(in super::super) fn confirm(
        &mut self,
        executed: Option<&GtidSet>,
        purged: Option<&GtidSet>,
        received: &GtidSet,
    ) {
        let is_refusal = self.is_refusal;
        let Some((_, reason, what)) = self.sign.take_if(|(_, reason, _)| {
            let contradicted = match (reason, executed, purged) {
                (Reason::Purged, _, Some(purged)) => purged.is_subset_of(received),
                // What was lacking in a set, another set has to lack.
                (Reason::Diverged, None, _) => !is_refusal,
                (Reason::Diverged, Some(executed), _) => {
                    !is_refusal && received.is_subset_of(executed)
                }
                _ => false,
            };
            !contradicted || received.is_empty()
        }) else {
            return;
        };
        self.lost.get_or_insert((reason, what));
    }

    /// Since when there is a sign that is not confirmed.
    pub(in super::super) fn suspected_at(&self) -> Option<Instant> {
        self.sign.as_ref().filter(|_| self.lost.is_none()).map(|(at, ..)| *at)
    }

    pub(in super::super) fn reason(&self) -> Option<Reason> {
        self.lost.as_ref().map(|(reason, _)| reason.clone())
    }

    pub(in super::super) fn reset(&mut self) {
        *self = Self { accepted: self.accepted, ..Self::default() };
    }

    pub(in super::super) fn apply(&self, now: Instant, conditions: &mut Conditions) {
        let (status, because) = match (&self.lost, &self.sign) {
            (Some((_, what)), _) => (Status::False, what.clone()),
            (None, Some((_, _, what))) => {
                let was = conditions.status(Condition::PositionHeld);
                (was, format!("{what}; this is being confirmed"))
            }
            (None, None) if self.accepted => {
                (Status::True, "the source accepted our position".to_owned())
            }
            (None, None) => {
                (Status::Unknown, "the source has not seen our position yet".to_owned())
            }
        };
        conditions.set(now, Condition::PositionHeld, status, because);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divergence_behind_the_last_heartbeat_is_believed_although_all_that_is_known_is_there() {
        // Given all that came up to the last heartbeat, which the server that took over has
        let known: GtidSet = "00000000-0000-0000-0000-000000000001:1-7".parse().expect("a set");
        let mut history = HistoryEvidence::default();
        let now = Instant::now();
        history.accepted();
        history.round_trip(&known);

        // When it refuses our position, for what came behind that heartbeat
        history.refused(now, StreamFailure::Diverged);
        history.read(now, Some(&known), None, &known);
        assert!(history.suspected_at().is_some(), "a heartbeat there does not clear it");
        history.confirm(Some(&known), None, &known);

        // Then it is lost
        assert_eq!(history.reason(), Some(Reason::Diverged));
    }

    #[test]
    fn a_server_that_lacked_something_for_a_moment_is_cleared_when_it_has_it() {
        let known: GtidSet = "00000000-0000-0000-0000-000000000001:1-7".parse().expect("a set");
        let mut history = HistoryEvidence::default();
        let now = Instant::now();
        history.round_trip(&known);
        history.read(now, Some(&GtidSet::default()), None, &known);
        assert!(history.suspected_at().is_some());
        history.confirm(Some(&known), None, &known);
        history.read(now, Some(&known), None, &known);
        assert!(history.suspected_at().is_none() && history.reason().is_none());
    }
}
