//! The replication connection: does it stand, and do bytes come on it?

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{FAILURE_WINDOW, SqlEvidence, seconds};
use crate::freshness::verdict::obligation::{Obligation, Obligations};
use crate::freshness::verdict::probe_schedule::BURST_SPACING;
use crate::freshness::verdict::{Condition, Conditions, Parameters, Reason, Status};
use crate::freshness::{SqlFailure, StreamFailure, StreamSample};

/// How long a new connection must stand until an outage of the stream is over.
const STABLE_AFTER: Duration = Duration::from_secs(3);
/// Failures kept; two suffice to evaluate.
const FAILURES_MAX: usize = 16;

#[derive(Debug, Default)]
pub(in super::super) struct StreamEvidence {
    connected_since: Option<Instant>,
    lost_at: Option<Instant>,
    failures: VecDeque<(Instant, StreamFailure)>,
    /// First failure since the connection last was stable.
    suspected_at: Option<Instant>,
    down: bool,
    /// When our own deadline on bytes ended a connection; until bytes come.
    silent_at: Option<Instant>,
    /// Bytes came since; the silence is evaluated once all the same, however short the redial was.
    healed: bool,
    sample: Option<(Instant, StreamSample)>,
}

/// How long a look is waited for before the stream alone is evaluated: the last one may have been just
/// before, and its questions time out one after the other.
fn look_limit(parameters: &Parameters) -> Duration {
    BURST_SPACING + parameters.periods.probe_timeout * 2 + parameters.tick
}

impl StreamEvidence {
    pub(in super::super) fn connected(&mut self, at: Instant, obligations: &mut Obligations) {
        self.connected_since = Some(at);
        self.lost_at = None;
        obligations.clear(Obligation::StreamConnect);
        obligations.clear(Obligation::StreamBytes);
    }

    pub(in super::super) fn failed(
        &mut self,
        at: Instant,
        failure: StreamFailure,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        self.connected_since = None;
        self.lost_at.get_or_insert(at);
        obligations.clear(Obligation::StreamBytes);
        obligations.begin(Obligation::StreamConnect, 0, at, FAILURE_WINDOW);
        if failure == StreamFailure::Silent {
            self.silent_at.get_or_insert(at);
            obligations.clear(Obligation::StreamConnect);
            obligations.begin(Obligation::StreamConnect, 0, at, parameters.receive_deadline * 2);
            return;
        }
        self.suspected_at.get_or_insert(at);
        if matches!(failure, StreamFailure::Purged | StreamFailure::Diverged) {
            // The connection is fine, the position is not: that is evaluated elsewhere.
            return;
        }
        if self.failures.len() == FAILURES_MAX {
            self.failures.pop_front();
        }
        self.failures.push_back((at, failure));
        // Our own decision needs no second sign.
        self.down |= failure == StreamFailure::Halted;
    }

    pub(in super::super) fn sampled(
        &mut self,
        at: Instant,
        sample: StreamSample,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        let before = self.sample.replace((at, sample)).map(|(_, before)| before);
        let received = before.is_none_or(|before| before.bytes != sample.bytes);
        if let Some(last) = sample.last_receive.filter(|_| received) {
            // Those of the handshake prove nothing: it is the dump that was silent.
            let dumped = self.connected_since.is_some_and(|since| last > since);
            self.healed |= dumped && self.silent_at.is_some_and(|silent| last > silent);
            obligations.clear(Obligation::StreamBytes);
            if let Some(since) = self.connected_since {
                let waits = parameters.receive_deadline;
                obligations.begin(Obligation::StreamBytes, 0, last.max(since), waits);
            }
        } else if let Some(since) = self.connected_since {
            // No bytes on this connection yet: they are owed since it began.
            obligations.begin(Obligation::StreamBytes, 0, since, parameters.receive_deadline);
        }
        if sample.armed && before.is_some_and(|before| !before.armed) {
            // The reader was busy with what it had: its wait begins now.
            obligations.rearm_kind(Obligation::StreamBytes, at);
        }
        obligations.arm(Obligation::StreamBytes, sample.armed, at);
    }

    /// After we were frozen: what failed meanwhile counts no more. That we have halted is no failure of
    /// another's, and still so.
    pub(in super::super) fn reset(&mut self, at: Instant) {
        let halted = self.failures.pop_back().filter(|(_, last)| *last == StreamFailure::Halted);
        self.failures.clear();
        self.failures.extend(halted);
        self.suspected_at = None;
        (self.silent_at, self.healed) = (None, false);
        self.lost_at = self.lost_at.map(|_| at);
    }

    /// Whether the stream could bring something now.
    pub(in super::super) fn flows(&self) -> bool {
        self.connected_since.is_some() && self.sample.is_some_and(|(_, sample)| sample.armed)
    }

    pub(in super::super) fn connected_now(&self) -> bool {
        self.connected_since.is_some()
    }

    pub(in super::super) fn received_since(&self, at: Instant) -> bool {
        self.sample.is_some_and(|(_, sample)| sample.last_receive.is_some_and(|last| last > at))
    }

    /// When bytes last came.
    pub(in super::super) fn last_receive(&self) -> Option<Instant> {
        self.sample.and_then(|(_, sample)| sample.last_receive)
    }

    pub(in super::super) fn idle_at(&self) -> Option<Instant> {
        self.sample.and_then(|(_, sample)| sample.idle_at)
    }

    /// Whether something about the stream calls for a second look.
    pub(in super::super) fn suspected(&self) -> bool {
        self.suspected_at.is_some() || self.silent_at.is_some()
    }

    /// Whether the latest failure is one that only an operator ends.
    pub(in super::super) fn definite(&self) -> bool {
        self.failures.back().is_some_and(|(_, failure)| {
            !matches!(failure, StreamFailure::Sql(SqlFailure::TimedOut) | StreamFailure::Silent)
        })
    }

    pub(in super::super) fn reason(&self) -> Option<Reason> {
        self.failures.back()?.1.reason()
    }

    pub(in super::super) fn apply(
        &mut self,
        now: Instant,
        parameters: &Parameters,
        obligations: &Obligations,
        sql: &SqlEvidence,
        conditions: &mut Conditions,
    ) {
        self.judge_connection(now, parameters, obligations, sql, conditions);
        self.judge_bytes(now, parameters, obligations, sql, conditions);
    }

    fn judge_connection(
        &mut self,
        now: Instant,
        parameters: &Parameters,
        obligations: &Obligations,
        sql: &SqlEvidence,
        conditions: &mut Conditions,
    ) {
        let stands = self.connected_since.is_some_and(|since| {
            now.saturating_duration_since(since) >= STABLE_AFTER && self.received_since(since)
        });
        if stands {
            self.suspected_at = None;
            self.failures.clear();
            self.down = false;
        }
        self.failures
            .retain(|(at, _)| self.down || now.saturating_duration_since(*at) < FAILURE_WINDOW);
        let overdue = obligations.overdue(Obligation::StreamConnect, now).is_some();
        if self.failures.len() >= 2 || overdue {
            let since = self.suspected_at.or(self.lost_at).unwrap_or(now);
            self.down |= sql.decided_since(since, since)
                || now.saturating_duration_since(since) > look_limit(parameters);
        }
        let count = self.failures.len();
        let (status, because) = match (self.down, self.connected_since, self.lost_at) {
            (true, ..) if self.is_halted() => {
                (Status::False, "it has ended, and is not opened again before a restart".to_owned())
            }
            (true, ..) => (
                Status::False,
                format!("the replication connection failed {count} times, last: {}", self.last()),
            ),
            (false, Some(_), _) => {
                (Status::True, "the replication connection is established".to_owned())
            }
            (false, None, Some(lost)) if count > 0 || self.silent_at.is_some() => {
                let age = seconds(now.saturating_duration_since(lost));
                let was = conditions.status(Condition::StreamConnected);
                (
                    was,
                    format!("the replication connection ended {age} ago and is being opened again"),
                )
            }
            (false, None, _) => {
                (Status::Unknown, "the replication connection is not established yet".to_owned())
            }
        };
        conditions.set(now, Condition::StreamConnected, status, because);
    }

    fn is_halted(&self) -> bool {
        self.failures.back().is_some_and(|(_, failure)| *failure == StreamFailure::Halted)
    }

    fn last(&self) -> String {
        self.failures.back().map_or_else(
            || "no answer to the attempt to connect".to_owned(),
            |(_, failure)| failure.words(),
        )
    }

    fn judge_bytes(
        &mut self,
        now: Instant,
        parameters: &Parameters,
        obligations: &Obligations,
        sql: &SqlEvidence,
        conditions: &mut Conditions,
    ) {
        // From then on silence is not what a healthy stream does, and a look tells something.
        let healthy = parameters.periods.protocol_heartbeat;
        let silent = self.silent_at.map(|at| {
            let waited = now.saturating_duration_since(at);
            let began = at.checked_sub(parameters.receive_deadline).unwrap_or(at);
            (waited + parameters.receive_deadline, began)
        });
        let overdue =
            obligations.overdue(Obligation::StreamBytes, now).map(|open| (open.age, open.began));
        let (status, because) = match silent.or(overdue) {
            Some((age, began))
                if sql.decided_since(began + healthy, began)
                    || age > parameters.receive_deadline + look_limit(parameters) =>
            {
                (
                    Status::False,
                    format!("no bytes were received for {} while waiting for them", seconds(age)),
                )
            }
            Some((age, _)) => {
                let was = conditions.status(Condition::StreamBytes);
                (
                    was,
                    format!("no bytes were received for {}; this is being confirmed", seconds(age)),
                )
            }
            None => self.flow(now, parameters, conditions.is_false(Condition::SqlAnswers)),
        };
        conditions.set(now, Condition::StreamBytes, status, because);
        if self.healed && status == Status::False {
            self.healed = false;
            self.silent_at = None;
        }
    }

    fn flow(&self, now: Instant, parameters: &Parameters, mute: bool) -> (Status, String) {
        let Some((at, sample)) = self.sample else {
            return (Status::Unknown, "nothing was received yet".to_owned());
        };
        let age = now.saturating_duration_since(at);
        let gone = self.lost_at.map(|at| now.saturating_duration_since(at));
        match sample.last_receive {
            _ if age > parameters.evidence_grace => {
                (Status::Unknown, format!("no report of the reader for {}", seconds(age)))
            }
            None => (Status::Unknown, "nothing was received yet".to_owned()),
            Some(_) if gone.is_some_and(|gone| gone > FAILURE_WINDOW) => {
                (Status::Unknown, "there is no replication connection".to_owned())
            }
            // Behind a sink that makes us wait no byte is awaited, so that its absence says nothing.
            // But a source that gives no answer otherwise is not taken to send any.
            Some(last)
                if mute
                    && !sample.armed
                    && now.saturating_duration_since(last) > parameters.receive_deadline =>
            {
                let quiet = seconds(now.saturating_duration_since(last));
                (
                    Status::Unknown,
                    format!("reading is paused, and the last bytes were received {quiet} ago"),
                )
            }
            Some(last) => {
                let quiet = seconds(now.saturating_duration_since(last));
                (Status::True, format!("the last bytes were received {quiet} ago"))
            }
        }
    }
}
