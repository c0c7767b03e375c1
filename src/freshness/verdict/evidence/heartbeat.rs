//! Heartbeat rows on their way from the commit to us, and the round trips that they complete.

use std::time::Instant;

use super::seconds;
use crate::freshness::verdict::obligation::{Obligation, Obligations};
use crate::freshness::verdict::{Condition, Conditions, Parameters, Status, Topology};

/// What heartbeats on their way depend on.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct HeartbeatContext {
    /// The stream stands, and its reader waits for bytes.
    pub(in super::super) stream_flows: bool,
    /// Writer and stream are not known to be on different servers.
    pub(in super::super) same_server: bool,
    /// When the source last said that it has sent all that it has.
    pub(in super::super) idle_at: Option<Instant>,
    /// All that was committed before this instant has been delivered, as far as lag tells.
    pub(in super::super) delivered_until: Option<Instant>,
    /// When the source last told of its own replication.
    pub(in super::super) upstream_at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(in super::super) struct HeartbeatEvidence {
    committed: Option<u64>,
    arrived: Option<u64>,
    last_round_trip: Option<(u64, Instant)>,
    /// Round trips since start, for the exit rules.
    pub(in super::super) round_trips: u64,
}

impl HeartbeatEvidence {
    pub(in super::super) fn committed(
        &mut self,
        at: Instant,
        number: u64,
        parameters: &Parameters,
        obligations: &mut Obligations,
    ) {
        self.committed = self.committed.max(Some(number));
        if self.arrived.is_none_or(|arrived| arrived < number) {
            obligations.begin(
                Obligation::HeartbeatSeen,
                number,
                at,
                parameters.periods.heartbeat_deadline,
            );
        }
        self.complete(at);
    }

    /// A row arrived. Only a strictly greater counter counts: abandoned writes commit late and out
    /// of order.
    pub(in super::super) fn arrived(
        &mut self,
        at: Instant,
        number: u64,
        obligations: &mut Obligations,
    ) {
        self.arrived = self.arrived.max(Some(number));
        obligations.meet(Obligation::HeartbeatSeen, number);
        self.complete(at);
    }

    /// A round trip is made when the newest row that is both committed and seen is a new one.
    fn complete(&mut self, at: Instant) {
        let (Some(committed), Some(arrived)) = (self.committed, self.arrived) else { return };
        let both = committed.min(arrived);
        if self.last_round_trip.is_none_or(|(last, _)| last < both) {
            self.last_round_trip = Some((both, at));
            self.round_trips += 1;
        }
    }

    /// The newest row that is both committed and seen.
    pub(in super::super) fn completed(&self) -> Option<u64> {
        self.last_round_trip.map(|(number, _)| number)
    }

    pub(in super::super) fn apply(
        &self,
        now: Instant,
        parameters: &Parameters,
        context: HeartbeatContext,
        obligations: &mut Obligations,
        conditions: &mut Conditions,
    ) {
        let armed = context.stream_flows && context.same_server;
        obligations.arm(Obligation::HeartbeatSeen, armed, now);
        let (status, because) = match obligations.overdue(Obligation::HeartbeatSeen, now) {
            Some(open) => {
                // Looked at again: evidence that is younger than the deadline says that the stream
                // is past the row.
                let deadline = open.began + open.allowed;
                let idle = context.idle_at.is_some_and(|idle| idle > deadline);
                let past = context
                    .delivered_until
                    .is_some_and(|until| until > open.began + parameters.tick);
                let what = format!(
                    "heartbeat {} committed {} ago and has not arrived",
                    open.number,
                    seconds(now.saturating_duration_since(open.began))
                );
                let was = conditions.status(Condition::HeartbeatSeen);
                let is_ours = upstream_excluded(now, deadline, open.began, parameters, context);
                (if armed && is_ours && (idle || past) { Status::False } else { was }, what)
            }
            None => match self.last_round_trip {
                Some((number, at)) => {
                    let age = now.saturating_duration_since(at);
                    let valid = age <= parameters.round_trip_validity();
                    let status = if valid { Status::True } else { Status::Unknown };
                    (
                        status,
                        format!("heartbeat {number} completed its round trip {} ago", seconds(age)),
                    )
                }
                None => {
                    (Status::Unknown, "no heartbeat has completed its round trip yet".to_owned())
                }
            },
        };
        conditions.set(now, Condition::HeartbeatSeen, status, because);
    }
}

/// Whether a heartbeat may be missed here. On a replica it comes by the source's own replication, which
/// has to be looked at first, after the row was written; but not for ever.
fn upstream_excluded(
    now: Instant,
    deadline: Instant,
    written: Instant,
    parameters: &Parameters,
    context: HeartbeatContext,
) -> bool {
    let looked = context.upstream_at.is_some_and(|at| at > written);
    let waited =
        now.saturating_duration_since(deadline) > parameters.periods.heartbeat_interval * 3;
    parameters.topology == Topology::Primary || looked || waited
}
