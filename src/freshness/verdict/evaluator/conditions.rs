//! The conditions that follow from all that was observed.

use std::time::Instant;

use super::{Evaluator, Frozen};
use crate::freshness::verdict::evidence::HeartbeatContext;
use crate::freshness::verdict::verdict::Progress;
use crate::freshness::verdict::{Condition, Status};

/// Certain difference of the clocks that is worth a warning.
const CLOCK_LIMIT_US: u64 = 5_000_000;

impl Evaluator {
    pub(super) fn progress(&mut self, now: Instant) -> Progress {
        if !self.parameters.heartbeats
            && let Some(answer) = self.sql.last_answer()
            && self.substitutes.1.is_none_or(|last| answer > last)
            && self.stream.received_since(answer)
        {
            self.substitutes = (self.substitutes.0 + 1, Some(now));
        }
        Progress {
            round_trips: self.heartbeat.round_trips + self.substitutes.0,
            commits: self.writes.commits,
            acknowledged: self.sink.acknowledged(),
            sink_empty: self.sink.is_empty(),
            echoes: self.canaries.echoes,
        }
    }

    pub(super) fn set_conditions(&mut self, now: Instant, progress: &Progress) {
        self.set_self(now);
        let parameters = &self.parameters;
        let conditions = &mut self.conditions;
        self.sql.apply(now, parameters, conditions);
        self.stream.apply(now, parameters, &self.obligations, &self.sql, conditions);
        self.identity.apply(now, parameters, conditions);
        self.history.apply(now, conditions);
        self.writes.apply(now, parameters, &self.sql, &self.stream, conditions);
        let context = HeartbeatContext {
            stream_flows: self.stream.flows(),
            same_server: self.identity.agrees(parameters),
            idle_at: self.stream.idle_at(),
            // What a silent stream was like before tells nothing of now.
            delivered_until: self.lag.delivered_until().min(self.stream.last_receive()),
            upstream_at: self.writes.upstream_at(),
        };
        self.heartbeat.apply(now, parameters, context, &mut self.obligations, conditions);
        self.sink.apply(now, parameters, &self.obligations, conditions);
        self.lag.apply(now, parameters, conditions);
        self.canaries.apply(now, parameters, conditions);
        self.checkpoint.apply(now, &self.obligations, conditions);
        self.set_proof(now);
        self.set_start(now, progress);
    }

    fn set_self(&mut self, now: Instant) {
        if let Some(lasted) = self.pause.runtime_stands(now, &self.parameters) {
            self.frozen = Some(Frozen { resumed: now, lasted, first: None });
        }
        if let Some(frozen) = self.frozen {
            let round_trip =
                frozen.first.is_some_and(|first| self.heartbeat.completed() >= Some(first));
            let over =
                now.saturating_duration_since(frozen.resumed) >= self.parameters.grace_period;
            if round_trip || over {
                self.frozen = None;
                self.reset(now);
            }
        }
        let (status, because) = match self.frozen {
            Some(frozen) => {
                let lasted = frozen.lasted.as_secs_f64();
                (Status::False, format!("binpulse was suspended for {lasted:.1} s"))
            }
            None => (Status::True, "binpulse's own clock runs evenly".to_owned()),
        };
        self.conditions.set(now, Condition::SelfRunning, status, because);
    }

    fn set_proof(&mut self, now: Instant) {
        let certificate = self.accounting.certificate().filter(|certificate| {
            let age = now.saturating_duration_since(certificate.evaluated_at);
            age <= self.parameters.certificate_validity()
        });
        let (status, because) = match certificate {
            // What is not in the log is in no certificate either.
            _ if !self.unlogged.is_empty() => {
                let names = self.unlogged.join(", ");
                (Status::Unknown, format!("changes of {names} are not in the binary log"))
            }
            None => (Status::Unknown, "there is no recent certificate".to_owned()),
            Some(certificate) if certificate.unaccounted.is_empty() => {
                let (from, to) = (certificate.from.number, certificate.to.number);
                (
                    Status::True,
                    format!(
                        "all transactions between heartbeats {from} and {to} are accounted for"
                    ),
                )
            }
            Some(certificate) => {
                (Status::False, format!("the stream did not deliver {}", certificate.unaccounted))
            }
        };
        let wrote = certificate.is_some_and(|certificate| certificate.counts.user > 0);
        self.conditions.set(now, Condition::Accounted, status, because);

        let row = self.sink.last_user_row().map(|at| now.saturating_duration_since(at));
        let (status, because) = match row {
            Some(age) if age <= self.parameters.user_row_recent => {
                let age = age.as_secs_f64();
                (Status::True, format!("a user's row was published {age:.1} s ago"))
            }
            _ if wrote => (Status::True, "users wrote between the last two heartbeats".to_owned()),
            // That none came is no evidence against anything.
            Some(_) | None => (Status::Unknown, "no user's row was published recently".to_owned()),
        };
        self.conditions.set(now, Condition::UserRows, status, because);
        let (status, because) = match &self.suppressed {
            Some(by) => (Status::False, format!("an operator holds them back: {by}")),
            None => (Status::True, "no control holds back all tables".to_owned()),
        };
        self.conditions.set(now, Condition::NotSuppressed, status, because);
        let (status, because) = match &self.paused {
            Some(by) => (Status::False, format!("an operator lets them wait: {by}")),
            None => (Status::True, "no pause is of all tables".to_owned()),
        };
        self.conditions.set(now, Condition::NotPaused, status, because);
        let allowed = if self.parameters.heartbeats { Status::True } else { Status::False };
        self.conditions.set(now, Condition::HeartbeatsAllowed, allowed, "by configuration");
        let (status, because) = match self.clock.offset(now) {
            None => (Status::Unknown, "the source's clock was not read yet".to_owned()),
            Some(offset) => {
                let certain = offset.certain_us();
                let status = if certain > CLOCK_LIMIT_US { Status::False } else { Status::True };
                (status, format!("the source's clock differs by {} us", offset.offset_us))
            }
        };
        self.conditions.set(now, Condition::ClockAgrees, status, because);
    }

    fn set_start(&mut self, now: Instant, progress: &Progress) {
        let age = now.saturating_duration_since(self.started);
        let (status, because) = if progress.round_trips > 0 {
            (Status::True, "the first round trip is complete")
        } else if age >= self.parameters.start_limit {
            (Status::True, "the start-up period is over")
        } else {
            (Status::False, "no round trip is complete yet")
        };
        self.conditions.set(now, Condition::Begun, status, because);
        let stream = self.conditions.is_false(Condition::StreamConnected) && self.stream.definite();
        let mut failed = Condition::ALL.iter().filter(|condition| condition.is_definite());
        let definite = failed.find(|condition| self.conditions.is_false(**condition));
        let (status, because) = match definite {
            Some(condition) => (Status::False, self.conditions.known(*condition).because.clone()),
            None if stream => {
                let known = self.conditions.known(Condition::StreamConnected);
                (Status::False, known.because.clone())
            }
            None if self.sink.definite() => {
                (Status::False, self.conditions.known(Condition::SinkMoves).because.clone())
            }
            None => (Status::True, "no permanent error".to_owned()),
        };
        self.conditions.set(now, Condition::NoDefiniteError, status, because);
    }
}
