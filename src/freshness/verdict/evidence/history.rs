//! Whether the source's log still holds what we need, and its history what we have.

use std::time::{Duration, Instant};

use crate::change::GtidSet;
use crate::freshness::StreamFailure;
use crate::freshness::verdict::{Condition, Conditions, Reason, Status};

/// How long one sign waits for a second one.
const CONFIRM_WITHIN: Duration = Duration::from_mins(1);

/// What a server said of its GTID sets.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Sets<'a> {
    /// When it was asked: the sets say nothing of what was committed later.
    pub(in super::super) asked: Instant,
    /// `@@gtid_executed`.
    pub(in super::super) executed: Option<&'a GtidSet>,
    /// `@@gtid_purged`.
    pub(in super::super) purged: Option<&'a GtidSet>,
}

/// Purged by the source, and not known to be received. What was received is known heartbeat by
/// heartbeat: the stream may have brought it already.
#[derive(Debug)]
struct Unseen {
    gtids: GtidSet,
    /// The newest heartbeat that was sent by then. One with a greater number stands behind all of it.
    after: u64,
}

#[derive(Debug, Default)]
pub(in super::super) struct HistoryEvidence {
    accepted: bool,
    /// Received up to a round trip: committed for certain, so `gtid_executed` holds it. What came later
    /// may be on the stream and not yet in there (semi-sync, measured). The last round trip's and the
    /// one's before, for answers to questions that were asked between the two.
    committed: [Option<(Instant, GtidSet)>; 2],
    /// The newest heartbeat that was sent.
    sent: u64,
    unseen: Option<Unseen>,
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
    pub(in super::super) fn round_trip(&mut self, at: Instant, received: &GtidSet) {
        let [last, before] = &mut self.committed;
        *before = last.replace((at, received.clone()));
    }

    /// A heartbeat is being written.
    pub(in super::super) fn sent(&mut self, number: u64) {
        self.sent = self.sent.max(number);
    }

    /// A heartbeat arrived, and with it all that stands before it in the log.
    pub(in super::super) fn arrived(&mut self, number: u64, received: &GtidSet) {
        let Some(unseen) = &mut self.unseen else { return };
        unseen.gtids = unseen.gtids.subtract(received);
        if unseen.gtids.is_empty() {
            self.unseen = None;
        } else if number > unseen.after {
            let what = format!("the source purged {}, which were not read", unseen.gtids);
            self.lost.get_or_insert((Reason::Purged, what));
        }
    }

    pub(in super::super) fn refused(&mut self, at: Instant, failure: StreamFailure) {
        let (reason, what) = match failure {
            StreamFailure::Purged => {
                (Reason::Purged, "the source no longer has the binary log that comes next")
            }
            StreamFailure::Diverged => {
                (Reason::Diverged, "the source lacks transactions that were received from it")
            }
            StreamFailure::Ended
            | StreamFailure::Silent
            | StreamFailure::Sql(_)
            | StreamFailure::DuplicateReplica
            | StreamFailure::Halted => return,
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
            "the source was restored to an older state: its last heartbeat is {number}, but {last} \
             was received from it"
        );
        self.lost.get_or_insert((Reason::Diverged, what));
    }

    /// What the source says of its own history. `received`: what the stream is known to have brought or
    /// was started after; `None` while that is not known.
    pub(in super::super) fn read(
        &mut self,
        at: Instant,
        sets: Sets<'_>,
        received: Option<&GtidSet>,
    ) {
        if let Some((purged, received)) = sets.purged.zip(received) {
            let gtids = purged.subtract(received);
            if !gtids.is_empty() && self.unseen.is_none() {
                self.unseen = Some(Unseen { gtids, after: self.sent });
            }
        }
        let mut committed = self.committed.iter().flatten();
        let committed = committed.find(|(since, _)| *since <= sets.asked);
        let Some((executed, (_, committed))) = sets.executed.zip(committed) else { return };
        let lacking = committed.subtract(executed);
        if !lacking.is_empty() {
            let what = format!("the source lacks {lacking}, which were received from it");
            self.sign(at, Reason::Diverged, what);
        } else if !self.is_refusal
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
    pub(in super::super) fn confirm(&mut self, sets: Sets<'_>, received: &GtidSet) {
        let is_refusal = self.is_refusal;
        let Some((_, reason, what)) = self.sign.take_if(|(_, reason, _)| {
            let contradicted = match (reason, sets.executed, sets.purged) {
                (Reason::Purged, _, Some(purged)) => purged.is_subset_of(received),
                // What was lacking in a set, another set has to lack: only reading it tells.
                (Reason::Diverged, ..) => !is_refusal,
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

    pub(in super::super) fn apply(&self, now: Instant, conditions: &mut Conditions) {
        let (status, because) = match (&self.lost, &self.sign) {
            (Some((_, what)), _) => (Status::False, what.clone()),
            (None, Some((_, _, what))) => {
                let was = conditions.status(Condition::PositionHeld);
                (was, format!("{what}; this is being confirmed"))
            }
            (None, None) if self.accepted => {
                (Status::True, "the source accepted the position".to_owned())
            }
            (None, None) => {
                (Status::Unknown, "the position was not sent to the source yet".to_owned())
            }
        };
        conditions.set(now, Condition::PositionHeld, status, because);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> GtidSet {
        format!("00000000-0000-0000-0000-000000000001:{text}").parse().expect("a set")
    }

    fn executed(asked: Instant, executed: &GtidSet) -> Sets<'_> {
        Sets { asked, executed: Some(executed), purged: None }
    }

    fn purged(asked: Instant, purged: &GtidSet) -> Sets<'_> {
        Sets { asked, executed: None, purged: Some(purged) }
    }

    #[test]
    fn a_divergence_behind_the_last_heartbeat_is_believed_although_all_that_is_known_is_there() {
        // Given all that came up to the last heartbeat, which the server that took over has
        let known = set("1-7");
        let mut history = HistoryEvidence::default();
        let now = Instant::now();
        history.accepted();
        history.round_trip(now, &known);

        // When it refuses our position, for what came behind that heartbeat
        history.refused(now, StreamFailure::Diverged);
        history.read(now, executed(now, &known), Some(&known));
        assert!(history.suspected_at().is_some(), "a heartbeat there does not clear it");
        history.confirm(executed(now, &known), &known);

        // Then it is lost
        assert_eq!(history.reason(), Some(Reason::Diverged));
    }

    #[test]
    fn a_server_that_lacked_something_for_a_moment_is_cleared_when_it_has_it() {
        let known = set("1-7");
        let mut history = HistoryEvidence::default();
        let now = Instant::now();
        history.round_trip(now, &known);
        history.read(now, executed(now, &GtidSet::default()), Some(&known));
        assert!(history.suspected_at().is_some());
        history.confirm(executed(now, &known), &known);
        history.read(now, executed(now, &known), Some(&known));
        assert!(history.suspected_at().is_none() && history.reason().is_none());
    }

    #[test]
    fn an_answer_that_is_older_than_a_round_trip_does_not_lack_what_came_with_it() {
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(5));
        let mut history = HistoryEvidence::default();
        history.round_trip(first, &set("1-7"));
        history.round_trip(second, &set("1-9"));
        let told = second + Duration::from_secs(1);
        for _ in 0..3 {
            // Asked between the two, and before both
            history.read(told, executed(first, &set("1-7")), Some(&set("1-9")));
            let before = first.checked_sub(Duration::from_secs(1)).expect("an instant");
            history.read(told, executed(before, &set("1-5")), Some(&set("1-9")));
        }
        assert!(history.suspected_at().is_none() && history.reason().is_none());
        history.read(told, executed(first, &set("1-6")), Some(&set("1-9")));
        history.read(told, executed(second, &set("1-8")), Some(&set("1-9")));
        assert_eq!(history.reason(), Some(Reason::Diverged));
    }

    #[test]
    fn what_was_purged_is_lost_only_if_a_heartbeat_behind_it_comes_without_it() {
        let now = Instant::now();
        let after = |arrivals: &[(u64, &str)]| {
            let mut history = HistoryEvidence::default();
            history.accepted();
            history.sent(4);
            // The stream brought 8 and 9 already, which is known with the next heartbeat.
            history.read(now, purged(now, &set("1-9")), Some(&set("1-7")));
            history.read(now, purged(now, &set("1-9")), Some(&set("1-7")));
            for (number, received) in arrivals {
                history.arrived(*number, &set(received));
            }
            history.reason()
        };
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[(4, "1-8")]), None, "it was written before the answer");
        assert_eq!(after(&[(4, "1-8"), (5, "1-10")]), None);
        assert_eq!(after(&[(5, "1-10"), (6, "1-11")]), None);
        assert_eq!(after(&[(4, "1-8"), (5, "1-8:10")]), Some(Reason::Purged));
        // Nothing is known to be missing before it is known what the stream began after.
        let mut history = HistoryEvidence::default();
        history.read(now, purged(now, &set("1-9")), None);
        history.arrived(1, &set("10"));
        assert_eq!(history.reason(), None);
    }
}
