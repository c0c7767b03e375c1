//! Conditions: what is known about each thing that a verdict depends on, in three values.
//!
//! All are put positively: `True` is well. `False` takes evidence; no evidence is `Unknown`, which
//! neither makes an outage nor lets the verdict be live or quiet.

use std::time::Instant;

use super::{Parameters, Topology};

/// Value of a condition, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// There is evidence against it.
    False,
    /// There is no evidence.
    Unknown,
    /// There is evidence for it.
    True,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::False, Self::Unknown, Self::True];

    /// Its name in metrics and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::False => "false",
            Self::Unknown => "unknown",
            Self::True => "true",
        }
    }
}

macro_rules! conditions {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal),+ $(,)?) => {
        /// Everything that a verdict depends on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Condition { $($(#[doc = $doc])+ $variant),+ }

        impl Condition {
            /// Every condition, from us through the source to the consumers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in metrics and the API.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

conditions! {
    /// We were not frozen lately.
    SelfRunning => "self_running",
    /// A first round trip was made, or the time for it is over.
    Begun => "begun",
    /// No failure that time alone can't mend is known; asked only while starting.
    NoDefiniteError => "no_definite_error",
    /// The source holds what comes after our position, and all that we have.
    PositionHeld => "position_held",
    /// New SQL connections are admitted.
    SqlAdmits => "sql_admits",
    /// The server answers SQL, be it with an error.
    SqlAnswers => "sql_answers",
    /// The replication connection stands.
    StreamConnected => "stream_connected",
    /// Bytes come on it whenever we wait for them.
    StreamBytes => "stream_bytes",
    /// Writer and stream are on the same, allowed server.
    SourceMatches => "source_matches",
    /// The source is not read-only.
    SourceWritable => "source_writable",
    /// Heartbeat rows commit.
    WritesCommit => "writes_commit",
    /// The source's own replication runs, if it has any.
    UpstreamRuns => "upstream_runs",
    /// SNS acknowledges.
    SinkMoves => "sink_moves",
    /// Committed heartbeat rows arrive.
    HeartbeatSeen => "heartbeat_seen",
    /// We are not late.
    LagSmall => "lag_small",
    /// We are not late, or less and less so.
    LagShrinks => "lag_shrinks",
    /// Canaries reach every consumer.
    CanariesArrive => "canaries_arrive",
    /// The checkpoint is saved as delivery goes on.
    CheckpointAdvances => "checkpoint_advances",
    /// Every transaction between the last heartbeats is accounted for.
    Accounted => "accounted",
    /// Configuration lets us write heartbeat rows.
    HeartbeatsAllowed => "heartbeats_allowed",
    /// Users' rows were published lately. Never `False`: that none came is no fault.
    UserRows => "user_rows",
    /// The source's clock agrees with ours. No verdict depends on it.
    ClockAgrees => "clock_agrees",
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
            needed: Condition::ALL.iter().map(|condition| condition.needed(parameters)).collect(),
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

impl Condition {
    /// Whether `live` and `quiet` need it. [`Condition::Accounted`] is asked for on its own: `live`
    /// does without.
    fn needed(self, parameters: &Parameters) -> bool {
        match self {
            Self::SelfRunning
            | Self::Begun
            | Self::PositionHeld
            | Self::StreamConnected
            | Self::StreamBytes
            | Self::SinkMoves
            | Self::LagSmall
            | Self::CheckpointAdvances => true,
            Self::SourceMatches
            | Self::SourceWritable
            | Self::WritesCommit
            | Self::HeartbeatSeen => parameters.heartbeats,
            Self::UpstreamRuns => parameters.topology == Topology::Replica,
            Self::CanariesArrive => !parameters.consumers.is_empty(),
            Self::NoDefiniteError
            | Self::SqlAdmits
            | Self::SqlAnswers
            | Self::LagShrinks
            | Self::Accounted
            | Self::HeartbeatsAllowed
            | Self::UserRows
            | Self::ClockAgrees => false,
        }
    }
}
