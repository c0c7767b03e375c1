//! The verdict table: state, predicate, enter rule, exit rule, as data. First match wins.
//!
//! Predicates of outages ask only for conditions that are `False`: no `Unknown` makes an outage,
//! and worse evidence can only add matches. The deadlines of the enter rules lie in the conditions,
//! which turn `False` when an obligation is overdue and was looked at again; what stands here is
//! how long the predicate must then hold, and what must be seen before the state is left.

use super::{Condition, Conditions, State, Status};

/// A predicate over conditions.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// There is evidence against it.
    False(Condition),
    /// There is evidence for it.
    True(Condition),
    /// There is no evidence for it.
    NotTrue(Condition),
    /// There is no evidence against it.
    NotFalse(Condition),
    /// All of them.
    All(&'static [When]),
    /// One of them at least.
    Any(&'static [When]),
    /// A condition that `live` and `quiet` need is not `True`.
    NeedMissing,
    /// Nothing above matched.
    Otherwise,
}

impl When {
    /// Whether it holds.
    pub fn holds(&self, conditions: &Conditions) -> bool {
        match self {
            Self::False(condition) => conditions.status(*condition) == Status::False,
            Self::True(condition) => conditions.status(*condition) == Status::True,
            Self::NotTrue(condition) => conditions.status(*condition) != Status::True,
            Self::NotFalse(condition) => conditions.status(*condition) != Status::False,
            Self::All(parts) => parts.iter().all(|part| part.holds(conditions)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(conditions)),
            Self::NeedMissing => Condition::ALL.iter().any(|condition| {
                conditions.is_needed(*condition) && conditions.status(*condition) != Status::True
            }),
            Self::Otherwise => true,
        }
    }
}

/// How a state is entered once its predicate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enter {
    /// With the next judgement.
    AtOnce,
    /// At once from `live` or `quiet`, which are not kept without their evidence; from any other
    /// state when the predicate has held for `Parameters::indeterminate_after`.
    Missing,
}

/// What must be seen, with the predicate no longer holding, before a state is left for a better one.
/// A state with a predicate that holds is never hidden by one that only waits for its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing.
    AtOnce,
    /// That many heartbeat round trips; without heartbeat rows, as many answered probes with bytes
    /// on the stream behind them.
    RoundTrips(u64),
    /// That many committed heartbeat rows.
    Commits(u64),
    /// That many acknowledgements, or an empty sink after one.
    Acknowledgements(u64),
    /// That many canary echoes.
    Echoes(u64),
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The state.
    pub state: State,
    /// When it matches.
    pub when: When,
    /// How it is entered.
    pub enter: Enter,
    /// How it is left.
    pub exit: Exit,
}

const fn row(state: State, when: When, exit: Exit) -> Row {
    Row { state, when, enter: Enter::AtOnce, exit }
}

/// No replication connection, or a silent one.
const NO_STREAM: When =
    When::Any(&[When::False(Condition::StreamConnected), When::False(Condition::StreamBytes)]);

/// The table, in the order of judgement.
pub const TABLE: [Row; 21] = [
    // Left when a round trip was made or the amnesty is over: the condition knows both.
    row(State::SelfStalled, When::False(Condition::SelfRunning), Exit::AtOnce),
    // The condition stays False until an operator resets the position.
    row(State::PositionLost, When::False(Condition::PositionHeld), Exit::AtOnce),
    row(
        State::Starting,
        When::All(&[When::False(Condition::Begun), When::NotFalse(Condition::NoDefiniteError)]),
        Exit::AtOnce,
    ),
    // A stream that flows excuses a server that admits nobody new, but not one without any client: it
    // is shutting down, and sends heartbeats to the last.
    row(
        State::SourceUnreachable,
        When::All(&[
            When::False(Condition::SqlAdmits),
            When::Any(&[NO_STREAM, When::False(Condition::SqlAnswers)]),
        ]),
        Exit::RoundTrips(2),
    ),
    row(
        State::SourceHung,
        When::All(&[NO_STREAM, When::False(Condition::SqlAnswers)]),
        Exit::RoundTrips(2),
    ),
    row(State::WrongSource, When::False(Condition::SourceMatches), Exit::RoundTrips(1)),
    row(State::StreamDown, When::False(Condition::StreamConnected), Exit::RoundTrips(2)),
    row(State::StreamSilent, When::False(Condition::StreamBytes), Exit::RoundTrips(2)),
    row(State::SourceReadOnly, When::False(Condition::SourceWritable), Exit::Commits(2)),
    row(State::WritesBlocked, When::False(Condition::WritesCommit), Exit::Commits(2)),
    row(
        State::UpstreamReplicationBroken,
        When::False(Condition::UpstreamRuns),
        Exit::RoundTrips(2),
    ),
    row(State::SinkStalled, When::False(Condition::SinkMoves), Exit::Acknowledgements(2)),
    row(State::HeartbeatLost, When::False(Condition::HeartbeatSeen), Exit::RoundTrips(2)),
    // The exit rule of both, lag below 15 s for 10 s, lies in the condition. Catching up is no
    // fault and so hides none: canaries that were acknowledged are owed however late the rest is.
    row(
        State::CatchingUp,
        When::All(&[
            When::False(Condition::LagSmall),
            When::True(Condition::LagShrinks),
            When::NotFalse(Condition::CanariesArrive),
            When::NotFalse(Condition::CheckpointAdvances),
        ]),
        Exit::AtOnce,
    ),
    row(
        State::Lagging,
        When::All(&[When::False(Condition::LagSmall), When::NotTrue(Condition::LagShrinks)]),
        Exit::AtOnce,
    ),
    row(State::CanaryLost, When::False(Condition::CanariesArrive), Exit::Echoes(2)),
    row(State::CheckpointStuck, When::False(Condition::CheckpointAdvances), Exit::AtOnce),
    Row {
        state: State::Indeterminate,
        when: When::Any(&[
            When::NeedMissing,
            // Rows that flow prove no quiet, and need no proof of it; but they are not all there is
            // to say while others are known to be missing.
            When::All(&[
                When::True(Condition::HeartbeatsAllowed),
                When::Any(&[
                    When::False(Condition::Accounted),
                    When::All(&[
                        When::NotTrue(Condition::UserRows),
                        When::NotTrue(Condition::Accounted),
                    ]),
                ]),
            ]),
        ]),
        enter: Enter::Missing,
        exit: Exit::AtOnce,
    },
    row(State::QuietUnproven, When::NotTrue(Condition::HeartbeatsAllowed), Exit::AtOnce),
    row(State::Live, When::True(Condition::UserRows), Exit::AtOnce),
    row(State::Quiet, When::Otherwise, Exit::AtOnce),
];

/// The first row that matches, without any memory. The last row matches always.
pub fn classify(conditions: &Conditions) -> &'static Row {
    TABLE.iter().find(|row| row.when.holds(conditions)).unwrap_or(&TABLE[TABLE.len() - 1])
}
