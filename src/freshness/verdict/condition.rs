//! Conditions: what is known about each thing that a verdict depends on, in three values.
//!
//! All are put positively: `True` is well. `False` takes evidence; no evidence is `Unknown`, which
//! neither makes an outage nor lets the verdict be live or quiet.
//!
//! A new condition is a new row here, and the evidence that sets it, in `evidence/`.

use std::time::Instant;

use super::{Parameters, Topology};
pub use crate::telemetry::words::ConditionStatus as Status;
use crate::telemetry::words::StationKey;

/// When `live` and `quiet` need a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    Always,
    /// Where heartbeat rows are written.
    WithHeartbeats,
    /// Where canaries are echoed.
    WithConsumers,
    /// Where the stream comes from a replica.
    OnReplica,
    Never,
}

impl Needed {
    fn by(self, parameters: &Parameters) -> bool {
        match self {
            Self::Always => true,
            Self::WithHeartbeats => parameters.heartbeats,
            Self::WithConsumers => !parameters.consumers.is_empty(),
            Self::OnReplica => parameters.topology == Topology::Replica,
            Self::Never => false,
        }
    }
}

/// What is declared of a condition.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    needed: Needed,
    /// The station on the way of a row that it speaks for, in `/status`.
    speaks_for: Option<StationKey>,
    /// Told among the facts when it is false, needed or not.
    told: bool,
    /// A failure that time alone can't fix, so that the start does not wait for it.
    definite: bool,
}

/// Not needed, and told where it is.
const ROW: Row =
    Row { name: "", needed: Needed::Never, speaks_for: None, told: false, definite: false };

/// Makes the conditions and the table of their rows.
macro_rules! conditions {
    ($($(#[doc = $doc:literal])+ $condition:ident { $($field:ident: $value:expr),+ $(,)? })+) => {
        /// Everything that a verdict depends on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Condition { $($(#[doc = $doc])+ $condition),+ }

        impl Condition {
            /// Every condition, from us through the source to the consumers.
            pub const ALL: &'static [Self] = &[$(Self::$condition),+];
        }

        #[allow(clippy::needless_update, reason = "a row may have something of everything")]
        static ROWS: [Row; Condition::ALL.len()] = [$(Row { $($field: $value,)+ ..ROW }),+];
    };
}

conditions! {
    /// We were not frozen lately.
    SelfRunning { name: "self_running", needed: Needed::Always }
    /// A first round trip was made, or the time for it is over.
    Begun { name: "begun", speaks_for: Some(StationKey::Stream), needed: Needed::Always }
    /// No failure that time alone can't fix is known; asked only while starting.
    NoDefiniteError { name: "no_definite_error" }
    /// The source holds what comes after our position, and all that we have.
    PositionHeld { name: "position_held", speaks_for: Some(StationKey::Stream), needed: Needed::Always, definite: true }
    /// New SQL connections are admitted.
    SqlAdmits { name: "sql_admits", speaks_for: Some(StationKey::Source), told: true, definite: true }
    /// The server answers SQL, be it with an error.
    SqlAnswers { name: "sql_answers", speaks_for: Some(StationKey::Source), told: true }
    /// The replication connection stands.
    StreamConnected { name: "stream_connected", speaks_for: Some(StationKey::Stream), needed: Needed::Always }
    /// Bytes come on it whenever we wait for them.
    StreamBytes { name: "stream_bytes", speaks_for: Some(StationKey::Stream), needed: Needed::Always }
    /// Writer and stream are on the same, allowed server.
    SourceMatches { name: "source_matches", speaks_for: Some(StationKey::Source), needed: Needed::WithHeartbeats }
    /// The source is not read-only.
    SourceWritable { name: "source_writable", speaks_for: Some(StationKey::Source), needed: Needed::WithHeartbeats, definite: true }
    /// Heartbeat rows commit.
    WritesCommit { name: "writes_commit", speaks_for: Some(StationKey::Source), needed: Needed::WithHeartbeats, definite: true }
    /// The source's own replication runs, if it has any.
    UpstreamRuns { name: "upstream_runs", speaks_for: Some(StationKey::Source), needed: Needed::OnReplica, told: true, definite: true }
    /// SNS acknowledges.
    SinkMoves { name: "sink_moves", speaks_for: Some(StationKey::Publish), needed: Needed::Always }
    /// Committed heartbeat rows arrive.
    HeartbeatSeen { name: "heartbeat_seen", speaks_for: Some(StationKey::Stream), needed: Needed::WithHeartbeats }
    /// We are not late.
    LagSmall { name: "lag_small", speaks_for: Some(StationKey::Stream), needed: Needed::Always }
    /// We are not late, or less and less so.
    LagShrinks { name: "lag_shrinks" }
    /// Canaries reach every consumer.
    CanariesArrive { name: "canaries_arrive", speaks_for: Some(StationKey::Delivery), needed: Needed::WithConsumers }
    /// The checkpoint is saved as delivery continues.
    CheckpointAdvances { name: "checkpoint_advances", speaks_for: Some(StationKey::Checkpoint), needed: Needed::Always }
    /// Every transaction between the last heartbeats is accounted for.
    /// Asked for on its own: `live` does without.
    Accounted { name: "accounted", speaks_for: Some(StationKey::Stream) }
    /// Configuration lets us write heartbeat rows.
    HeartbeatsAllowed { name: "heartbeats_allowed" }
    /// Users' rows were published lately. Never `False`: that none came is no fault.
    UserRows { name: "user_rows" }
    /// No operator holds back the rows of all tables.
    NotSuppressed { name: "not_suppressed" }
    /// No operator lets the rows of all tables wait.
    NotPaused { name: "not_paused" }
    /// The source's clock agrees with ours. No verdict depends on it.
    ClockAgrees { name: "clock_agrees", told: true }
}

impl Condition {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its name in metrics and the API.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The station on the way of a row that it speaks for, if any.
    pub fn speaks_for(self) -> Option<StationKey> {
        self.row().speaks_for
    }

    /// Whether its being false is a fault or a warning, needed or not.
    pub(super) fn is_told(self) -> bool {
        self.row().told
    }

    /// Whether time alone can't fix it, so that the start does not wait for it.
    pub(super) fn is_definite(self) -> bool {
        self.row().definite
    }
}

/// What is known about one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The value.
    pub status: Status,
    /// Since when it is that.
    pub since: Instant,
    /// The observation that says so, in words.
    pub because: String,
}

/// All conditions, and which of them `live` and `quiet` need.
#[derive(Debug, Clone)]
pub struct Conditions {
    known: Vec<Known>,
    needed: Vec<bool>,
}

impl Conditions {
    /// Nothing known as of `now`.
    pub fn new(parameters: &Parameters, now: Instant) -> Self {
        let unknown =
            Known { status: Status::Unknown, since: now, because: "nothing observed yet".into() };
        Self {
            known: vec![unknown; Condition::ALL.len()],
            needed: Condition::ALL
                .iter()
                .map(|condition| condition.row().needed.by(parameters))
                .collect(),
        }
    }

    /// What is known about a condition.
    pub fn known(&self, condition: Condition) -> &Known {
        &self.known[condition as usize]
    }

    /// Its value.
    pub fn status(&self, condition: Condition) -> Status {
        self.known(condition).status
    }

    /// Whether there is evidence against it.
    pub fn is_false(&self, condition: Condition) -> bool {
        self.status(condition) == Status::False
    }

    /// Whether there is evidence for it.
    pub fn is_true(&self, condition: Condition) -> bool {
        self.status(condition) == Status::True
    }

    /// Whether `live` and `quiet` need it.
    pub fn is_needed(&self, condition: Condition) -> bool {
        self.needed[condition as usize]
    }

    /// Every condition with what is known about it.
    pub fn iter(&self) -> impl Iterator<Item = (Condition, &Known)> {
        Condition::ALL.iter().copied().zip(&self.known)
    }

    /// Sets a condition; `since` moves only when its value changes.
    pub fn set(
        &mut self,
        now: Instant,
        condition: Condition,
        status: Status,
        because: impl Into<String>,
    ) {
        let known = &mut self.known[condition as usize];
        if known.status != status {
            known.status = status;
            known.since = now;
        }
        known.because = because.into();
    }
}
