//! Probes over SQL: does the server answer those it knows, and does it admit newcomers?

use std::time::Instant;

use super::{FAILURE_WINDOW, seconds};
use crate::freshness::verdict::{Condition, Conditions, Parameters, Reason, Status, Topology};
use crate::freshness::{Connection, Probe, SqlFailure};

#[derive(Debug, Default)]
pub(in super::super) struct SqlEvidence {
    existing: Option<(Instant, Probe)>,
    fresh: Option<(Instant, Probe)>,
    /// Fresh connections that failed in a row, and of these the timed out.
    fresh_failures: u32,
    fresh_timeouts: u32,
    /// When a statement of the heartbeat writer was last answered.
    answered_at: Option<Instant>,
}

impl SqlEvidence {
    pub(in super::super) fn probed(&mut self, at: Instant, probe: Probe) {
        match (probe.connection, probe.result) {
            (Connection::Existing, _) => self.existing = Some((at, probe)),
            (Connection::Fresh, result) => {
                self.fresh = Some((at, probe));
                match result {
                    Ok(()) => (self.fresh_failures, self.fresh_timeouts) = (0, 0),
                    Err(SqlFailure::TimedOut) => {
                        self.fresh_timeouts = self.fresh_timeouts.saturating_add(1);
                        self.fresh_failures = 0;
                    }
                    Err(_) => {
                        self.fresh_failures = self.fresh_failures.saturating_add(1);
                        self.fresh_timeouts = 0;
                    }
                }
            }
        }
    }

    pub(in super::super) fn answered(&mut self, at: Instant) {
        self.answered_at = Some(at);
    }

    pub(in super::super) fn reset(&mut self) {
        *self = Self { answered_at: self.answered_at, ..Self::default() };
    }

    /// Whether a whole look, started at or after `at`, has ended. A standing connection that failed
    /// is gone: none is asked again before a fresh one has worked.
    pub(in super::super) fn looked_since(&self, at: Instant) -> bool {
        let fresh = self.fresh.as_ref().is_some_and(|(_, probe)| probe.started >= at);
        let existing = self.existing.as_ref();
        fresh && existing.is_none_or(|(_, probe)| probe.result.is_err() || probe.started >= at)
    }

    /// Whether a look says whose fault it is: one that was started at or after `at` and whose fresh
    /// connection worked; or one that was started at or after `began`, when what is in doubt was last
    /// well, and whose fresh connection failed in a way that a second failure confirms.
    pub(in super::super) fn decided_since(&self, at: Instant, began: Instant) -> bool {
        let failed = self.fresh.as_ref().filter(|(_, probe)| probe.result.is_err());
        let repeated = self.fresh_failures >= 2 || self.fresh_timeouts >= 2;
        match failed {
            Some((ended, _)) => {
                self.looked_since(began) && (repeated || self.existing_failed_about(*ended))
            }
            None => self.looked_since(at),
        }
    }

    /// Whether the server answered something that was asked at or after `at`.
    pub(in super::super) fn ok_since(&self, at: Instant) -> bool {
        let ok = |probe: &Option<(Instant, Probe)>| {
            probe.as_ref().is_some_and(|(_, probe)| probe.started >= at && probe.result.is_ok())
        };
        ok(&self.fresh) || ok(&self.existing) || self.answered_at.is_some_and(|ok| ok > at)
    }

    /// When something was last answered.
    pub(in super::super) fn last_answer(&self) -> Option<Instant> {
        [&self.existing, &self.fresh]
            .into_iter()
            .flatten()
            .filter(|(_, probe)| probe.result.is_ok())
            .map(|(at, _)| *at)
            .chain(self.answered_at)
            .max()
    }

    /// Whether a probe failed and is to be repeated.
    pub(in super::super) fn suspected(&self) -> bool {
        self.fresh_failures == 1 || self.fresh_timeouts > 0
    }

    pub(in super::super) fn reason(&self) -> Option<Reason> {
        Some(self.fresh.as_ref()?.1.result.err()?.reason())
    }

    pub(in super::super) fn apply(
        &self,
        now: Instant,
        parameters: &Parameters,
        conditions: &mut Conditions,
    ) {
        let (status, because) = self.admits(now, parameters);
        conditions.set(now, Condition::SqlAdmits, status, because);
        let (status, because) = self.answers(now, parameters);
        conditions.set(now, Condition::SqlAnswers, status, because);
    }

    fn admits(&self, now: Instant, parameters: &Parameters) -> (Status, String) {
        let Some((at, probe)) = &self.fresh else {
            return (Status::Unknown, "no new connection was tried yet".to_owned());
        };
        let age = now.saturating_duration_since(*at);
        if age > parameters.probe_validity() {
            return (Status::Unknown, format!("the last one was tried {} ago", seconds(age)));
        }
        match probe.result {
            Ok(()) => (Status::True, format!("a new connection worked {} ago", seconds(age))),
            Err(SqlFailure::TimedOut) => {
                (Status::Unknown, "a new connection got no answer".to_owned())
            }
            Err(failure) => {
                let confirmed = self.fresh_failures >= 2 || self.existing_failed_about(*at);
                let status = if confirmed { Status::False } else { Status::Unknown };
                (status, format!("a new connection failed: {}", failure.words()))
            }
        }
    }

    fn answers(&self, now: Instant, parameters: &Parameters) -> (Status, String) {
        if let Some((at, Probe { result: Err(SqlFailure::TimedOut), started, .. })) = &self.fresh
            && !self.ok_since(*started)
            && now.saturating_duration_since(*at) <= parameters.probe_validity()
        {
            let confirmed = self.fresh_timeouts >= 2 || self.existing_failed_about(*at);
            let status = if confirmed { Status::False } else { Status::Unknown };
            return (status, "neither existing nor new connections get an answer".to_owned());
        }
        if self.is_closed(now, parameters) {
            return (
                Status::False,
                "existing connections are gone, and new ones are not accepted".to_owned(),
            );
        }
        match self.last_answer() {
            Some(at) if now.saturating_duration_since(at) <= parameters.probe_validity() => {
                let age = seconds(now.saturating_duration_since(at));
                (Status::True, format!("the last query was answered {age} ago"))
            }
            Some(_) | None => (Status::Unknown, "no query was answered recently".to_owned()),
        }
    }

    /// Whether the server has let go of its clients: no connection stands, and nobody takes a new one.
    /// A server that shuts down does so at once, and keeps its dump threads for a while: their bytes
    /// prove nothing. Where the stream comes from another server, this one's end is not the source's.
    fn is_closed(&self, now: Instant, parameters: &Parameters) -> bool {
        let Some((at, probe)) = &self.fresh else { return false };
        let refused = matches!(probe.result, Err(SqlFailure::REFUSED | SqlFailure::BROKEN));
        let recent = now.saturating_duration_since(*at) <= parameters.probe_validity();
        let gone = self.existing.as_ref().is_none_or(|(_, probe)| probe.result.is_err());
        let confirmed = self.fresh_failures >= 2 || self.existing_failed_about(*at);
        let primary = parameters.topology == Topology::Primary;
        primary && refused && recent && gone && confirmed && !self.ok_since(probe.started)
    }

    /// Whether the standing connection failed at about that time too.
    fn existing_failed_about(&self, at: Instant) -> bool {
        self.existing.as_ref().is_some_and(|(existing, probe)| {
            let apart = at.max(*existing).saturating_duration_since(at.min(*existing));
            probe.result.is_err() && apart < FAILURE_WINDOW
        })
    }
}
