//! Whether SNS acknowledges what it is given, and how long ago a user's row was.

use std::time::Instant;

use super::seconds;
use crate::freshness::SinkSample;
use crate::freshness::verdict::obligation::{Obligation, Obligations};
use crate::freshness::verdict::{Condition, Conditions, Parameters, Reason, Status};
use crate::sink::Class;

/// Refusals in a row after which one that time does not fix is believed.
const REFUSALS: u32 = 3;

#[derive(Debug, Default)]
pub(in super::super) struct SinkEvidence {
    sample: Option<(Instant, SinkSample)>,
    /// The last failure of a stall, kept for its reason until the sink is well.
    failure: Option<Class>,
    /// Since when calls are permitted again.
    permitted: Option<Instant>,
}

impl SinkEvidence {
    pub(in super::super) fn sampled(
        &mut self,
        at: Instant,
        sample: SinkSample,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        let moved =
            self.sample.is_none_or(|(_, before)| before.acknowledged != sample.acknowledged);
        // With each acknowledgement the next message's time begins: throttled but moving is lag.
        let owed = sample.oldest_unacknowledged.filter(|_| !sample.is_withheld);
        if moved || owed.is_none() {
            obligations.clear(Obligation::Publish);
        }
        if self.sample.is_some_and(|(_, before)| before.is_withheld) {
            self.permitted = Some(at);
        }
        if let Some(oldest) = owed {
            let began = Some(oldest).max(sample.last_acknowledged).max(self.permitted);
            let began = began.unwrap_or(oldest);
            obligations.begin(Obligation::Publish, 0, began, parameters.periods.publish_deadline);
        }
        self.failure = sample.failure;
        self.sample = Some((at, sample));
    }

    pub(in super::super) fn acknowledged(&self) -> u64 {
        self.sample.map_or(0, |(_, sample)| sample.acknowledged)
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.sample.is_some_and(|(_, sample)| sample.oldest_unacknowledged.is_none())
    }

    pub(in super::super) fn last_user_row(&self) -> Option<Instant> {
        self.sample.and_then(|(_, sample)| sample.last_user_row)
    }

    pub(in super::super) fn definite(&self) -> bool {
        self.sample.is_some_and(|(_, sample)| refused(&sample))
    }

    pub(in super::super) fn reason(&self) -> Reason {
        match self.failure {
            Some(Class::Throttled) => Reason::Throttled,
            Some(Class::ServerError | Class::Unknown) => Reason::ServerError,
            Some(Class::Denied | Class::Credentials) => Reason::Denied,
            Some(Class::NotFound) => Reason::NotFound,
            Some(Class::Refused) => Reason::MessageRefused,
            Some(Class::TooLarge) => Reason::TooLarge,
            // Nothing failed and nothing was answered.
            Some(Class::Timeout | Class::Unreachable) | None => Reason::Timeout,
        }
    }

    pub(in super::super) fn apply(
        &self,
        now: Instant,
        parameters: &Parameters,
        obligations: &Obligations,
        conditions: &mut Conditions,
    ) {
        let (status, because) = self.moves(now, parameters, obligations);
        conditions.set(now, Condition::SinkMoves, status, because);
    }

    fn moves(
        &self,
        now: Instant,
        parameters: &Parameters,
        obligations: &Obligations,
    ) -> (Status, String) {
        let Some((at, sample)) = self.sample else {
            return (Status::Unknown, "the sink has not reported yet".to_owned());
        };
        let age = now.saturating_duration_since(at);
        if age > parameters.evidence_grace {
            return (Status::Unknown, format!("no report of the sink for {}", seconds(age)));
        }
        if refused(&sample) {
            let times = sample.failures_in_a_row;
            let what = self.reason().name();
            return (Status::False, format!("SNS refused {times} times in a row: {what}"));
        }
        if sample.is_withheld && sample.oldest_unacknowledged.is_some() {
            return (Status::Unknown, "the lease permits no calls now".to_owned());
        }
        if let Some(open) = obligations.overdue(Obligation::Publish, now) {
            // At start it is the topic's own answer that is owed, and no message yet.
            let age = seconds(open.age);
            return (Status::False, format!("nothing was acknowledged for {age}"));
        }
        match (sample.last_acknowledged, sample.oldest_unacknowledged) {
            (Some(last), _) => {
                let age = seconds(now.saturating_duration_since(last));
                (Status::True, format!("the last acknowledgement came {age} ago"))
            }
            (None, Some(_)) => (Status::Unknown, "the first message is in flight".to_owned()),
            (None, None) => (Status::True, "no message is waiting".to_owned()),
        }
    }
}

fn refused(sample: &SinkSample) -> bool {
    let lasting =
        matches!(sample.failure, Some(Class::Denied | Class::Credentials | Class::NotFound));
    lasting && sample.failures_in_a_row >= REFUSALS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_refused_for_what_it_is_is_not_told_as_too_large() {
        let told =
            |class| SinkEvidence { failure: Some(class), ..SinkEvidence::default() }.reason();
        assert_eq!(told(Class::Refused), Reason::MessageRefused);
        assert_eq!(told(Class::TooLarge), Reason::TooLarge);
        assert_eq!(told(Class::Unknown), Reason::ServerError);
        assert_eq!(told(Class::Credentials), Reason::Denied);
    }
}
