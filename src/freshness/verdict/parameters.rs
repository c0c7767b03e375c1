//! Intervals and deadlines of the freshness model, and the rules between them.

use std::sync::Arc;
use std::time::Duration;

use crate::freshness::{Conflict, Periods};

/// Which server the stream comes from, next to the one that heartbeats are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Topology {
    /// The same server, which takes the users' writes.
    #[default]
    Primary,
    /// A replica of it: the identities differ, and its own replication must run.
    Replica,
}

/// What a consumer owes of the canaries through an operator's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAccount {
    /// `consumer/path`.
    pub name: Arc<str>,
    /// Who owes it.
    pub consumer: Arc<str>,
    /// The path.
    pub path: Arc<str>,
}

/// Every interval and limit that a verdict depends on. The letters are those of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The periods and deadlines that tasks go by as well.
    pub periods: Periods,
    /// `T_rx`: longest silence of the stream while we wait for its bytes.
    pub receive_deadline: Duration,
    /// V: time between two evaluations.
    pub tick: Duration,
    /// Time between two probes when nothing is suspected.
    pub probe_interval: Duration,
    /// How long writer and stream may be on different servers, as in a failover.
    pub identity_grace: Duration,
    /// Longest time in `starting`.
    pub start_limit: Duration,
    /// Longest time in `self_stalled` after we ran again.
    pub grace_period: Duration,
    /// How long evidence that ought to have been renewed is still believed.
    pub evidence_grace: Duration,
    /// Time without all needed evidence until `indeterminate`, when we were not live or quiet
    /// before (else it is entered at once). At least `2H + T_hb`: no certificate can exist sooner.
    pub indeterminate_after: Duration,
    /// Lag beyond which we are late.
    pub lag_limit: Duration,
    /// Lag below which we have caught up.
    pub lag_recovered: Duration,
    /// How long it must stay below.
    pub lag_recovered_for: Duration,
    /// Oldest durable checkpoint allowed while delivery advances.
    pub checkpoint_limit: Duration,
    /// How long a published user row makes a database live.
    pub user_row_recent: Duration,
    /// Whether heartbeat rows are written.
    pub heartbeats: bool,
    /// Where the stream comes from.
    pub topology: Topology,
    /// Consumers that echo canaries; none when canaries are off.
    pub consumers: Vec<Arc<str>>,
    /// Their accounts of paths through operators' tables.
    pub path_accounts: Vec<PathAccount>,
}

impl Default for Parameters {
    fn default() -> Self {
        let (seconds, periods) = (Duration::from_secs, Periods::default());
        Self {
            periods,
            receive_deadline: periods.stream_silence(),
            tick: seconds(1),
            probe_interval: seconds(15),
            identity_grace: seconds(15),
            start_limit: seconds(60),
            grace_period: seconds(10),
            evidence_grace: seconds(10),
            indeterminate_after: seconds(15),
            lag_limit: seconds(30),
            lag_recovered: seconds(15),
            lag_recovered_for: seconds(10),
            checkpoint_limit: seconds(120),
            user_row_recent: seconds(60),
            heartbeats: true,
            topology: Topology::Primary,
            consumers: Vec::new(),
            path_accounts: Vec::new(),
        }
    }
}

impl Parameters {
    /// The given periods, and defaults for the rest.
    pub fn of(periods: Periods) -> Self {
        Self { periods, receive_deadline: periods.stream_silence(), ..Self::default() }
    }

    /// Checks the rules between the parameters; the first one broken is the error. Raises
    /// `indeterminate_after` to `2H + T_hb` where it is less.
    pub fn checked(mut self) -> Result<Self, Conflict> {
        if let Some(conflict) = self.periods.conflicts().into_iter().next() {
            return Err(conflict);
        }
        let rules = [
            (
                self.receive_deadline >= self.periods.protocol_heartbeat * 2,
                ("receive_deadline", self.receive_deadline),
                ("protocol_heartbeat", self.periods.protocol_heartbeat),
                "the deadline must be at least twice the period, or one late heartbeat is a fault",
            ),
            (
                !self.tick.is_zero() && self.tick * 2 <= self.receive_deadline,
                ("tick", self.tick),
                ("receive_deadline", self.receive_deadline),
                "the verdict must be evaluated at least twice in the shortest deadline",
            ),
        ];
        if let Some((_, (left, left_value), (right, right_value), rule)) =
            rules.into_iter().find(|(holds, ..)| !holds)
        {
            return Err(Conflict::Pair { left, left_value, right, right_value, rule });
        }
        let certificate = self.periods.heartbeat_interval * 2 + self.periods.heartbeat_deadline;
        self.indeterminate_after = self.indeterminate_after.max(certificate);
        Ok(self)
    }

    /// Longest gap between two of our own ticks that is not a freeze.
    pub fn pause_limit(&self) -> Duration {
        self.tick * 3
    }

    /// How long a round trip is believed: the next one is due within `H + W + T_hb`.
    pub(super) fn round_trip_validity(&self) -> Duration {
        self.periods.heartbeat_interval
            + self.periods.write_deadline
            + self.periods.heartbeat_deadline
            + self.evidence_grace
    }

    /// How long a certificate is believed: each is evaluated one heartbeat late.
    pub(super) fn certificate_validity(&self) -> Duration {
        self.periods.heartbeat_interval + self.round_trip_validity()
    }

    /// How long a canary's echo is believed.
    pub(super) fn echo_validity(&self) -> Duration {
        self.periods.canary_interval + self.periods.canary_deadline + self.evidence_grace
    }

    /// How long a probe's result is believed.
    pub(super) fn probe_validity(&self) -> Duration {
        self.probe_interval * 2 + self.evidence_grace
    }
}
