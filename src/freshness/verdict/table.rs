//! The verdict table: each state is one row, with its predicate, its rules of entry and exit, and its
//! words. First match wins.
//!
//! Predicates of outages ask only for conditions that are `False`: no `Unknown` makes an outage,
//! and worse evidence can only add matches. The deadlines of the enter rules lie in the conditions,
//! which turn `False` when an obligation is overdue and was looked at again; what stands here is
//! how long the predicate must then hold, and what must be seen before the state is left.
//!
//! A new state is a new row here, its alert in `alerts/`, the alert's runbook, and a case in the tests.

use std::fmt;

use super::rule::{At, Enter, Exit, Grade, Hop, ReasonOf, Text, When};
use super::{Condition, Conditions, Reason};
use crate::telemetry::{Aid, StateKind};
use Text::{ByReason, Naming, Plain};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The state.
    pub state: State,
    /// Its name in metrics, logs and the API.
    pub name: &'static str,
    /// What it means for those who wait for data.
    pub grade: Grade,
    /// What more is concluded from it in `/status`.
    pub kind: StateKind,
    /// When it matches.
    pub when: When,
    /// How it is entered.
    pub enter: Enter,
    /// How it is left.
    pub exit: Exit,
    /// The condition whose evidence it rests on.
    pub rests_on: Option<Condition>,
    /// Whose evidence says what it is more exactly.
    pub reason: ReasonOf,
    /// The first broken hop.
    pub at: At,
    /// What is so, in a few words.
    pub headline: Text,
    /// What is so again while the state only waits for its exit; `None`: it is left as soon as its
    /// evidence is.
    pub over: Option<Text>,
    /// What to do next.
    pub next: Text,
    /// What is waited for while the state only waits for its exit.
    pub wait: &'static str,
    /// What the next step asks for, to be shown beside it.
    pub aids: &'static [Aid],
    /// The alert that it raises, whose runbook says more.
    pub alert: fn(Option<&Reason>) -> Option<&'static str>,
}

/// What a row has that says nothing else.
const ROW: Row = Row {
    state: State::Indeterminate,
    name: "",
    grade: Grade::Outage,
    kind: StateKind::Usual,
    when: When::Otherwise,
    enter: Enter::AtOnce,
    exit: Exit::AtOnce,
    rests_on: None,
    reason: ReasonOf::Nothing,
    at: At::Hop(Hop::None),
    headline: Plain(""),
    over: None,
    next: Plain(""),
    wait: "Wait.",
    aids: &[],
    alert: |_| None,
};

/// No replication connection, or a silent one.
const NO_STREAM: When =
    When::Any(&[When::False(Condition::StreamConnected), When::False(Condition::StreamBytes)]);

const UNTIL_ROUND_TRIPS: &str =
    "Wait: this counts as over after two heartbeats that commit and come back.";
const UNTIL_COMMITS: &str =
    "Wait: the database counts as healthy after two heartbeats in a row that commit.";
const UNTIL_PUNCTUAL: &str =
    "Wait: delivery counts as on time when it has been less than 15 s late for 10 s.";

/// Makes the states and the table of their rows, in the order of evaluation.
macro_rules! states {
    ($($(#[doc = $doc:literal])+ $state:ident { $($field:ident: $value:expr),+ $(,)? })+) => {
        /// What freshness concludes. Exactly one holds at any time; their order is that of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum State { $($(#[doc = $doc])+ $state),+ }

        impl State {
            /// Every state, in the order of the table.
            pub const ALL: [Self; [$(stringify!($state)),+].len()] = [$(Self::$state),+];
        }

        /// The table, in the order of evaluation.
        pub static TABLE: [Row; State::ALL.len()] =
            [$(Row { state: State::$state, $($field: $value,)+ ..ROW }),+];
    };
}

states! {
    /// We ourselves were frozen and judge nobody.
    SelfStalled {
        name: "self_stalled",
        grade: Grade::Unknown,
        kind: StateKind::Blind,
        // Left when a round trip was made or the grace period is over: the condition knows both.
        when: When::False(Condition::SelfRunning),
        rests_on: Some(Condition::SelfRunning),
        headline: Plain("binpulse itself was suspended, and gives no verdict until it has looked again"),
        next: Plain(
            "Look at this machine: CPU throttling, memory pressure, a suspended virtual machine.",
        ),
        alert: |_| Some("BinpulseFreshnessUnknown"),
    }

    /// What comes after our position can't be had, or the source lost what we have.
    PositionLost {
        name: "position_lost",
        kind: StateKind::PositionLost,
        // The condition stays False until an operator resets the position.
        when: When::False(Condition::PositionHeld),
        rests_on: Some(Condition::PositionHeld),
        reason: ReasonOf::History,
        at: At::Hop(Hop::Stream),
        headline: Plain("The stream cannot continue from its position"),
        next: ByReason(|reason| match reason {
            Some(Reason::Purged) => {
                "Put a server that still has the logs first in source.hosts. If none has: rows are \
                 lost, tell the consumers, and begin a new epoch as the runbook says."
            }
            Some(_) | None => {
                "Find out whether the source was restored or replaced. Begin a new epoch, as the \
                 runbook says, only when the consumers know that history changed."
            }
        }),
        alert: |_| Some("BinpulsePositionLost"),
    }

    /// Nothing is known yet.
    Starting {
        name: "starting",
        grade: Grade::Unknown,
        kind: StateKind::Blind,
        when: When::All(&[
            When::False(Condition::Begun),
            When::NotFalse(Condition::NoDefiniteError),
        ]),
        rests_on: Some(Condition::Begun),
        headline: Plain("Starting"),
        next: Plain(
            "Wait: within a minute a heartbeat comes back, or the cause is named here.",
        ),
        alert: |_| Some("BinpulseFreshnessUnknown"),
    }

    /// The source refuses connections, or can't be reached.
    SourceUnreachable {
        name: "source_unreachable",
        // A stream that flows excuses a server that admits nobody new, but not one without any
        // client: it is shutting down, and sends heartbeats to the last.
        when: When::All(&[
            When::False(Condition::SqlAdmits),
            When::Any(&[NO_STREAM, When::False(Condition::SqlAnswers)]),
        ]),
        exit: Exit::RoundTrips(2),
        rests_on: Some(Condition::SqlAdmits),
        reason: ReasonOf::SqlElseStream,
        at: At::Hop(Hop::Source),
        headline: Plain("The database can't be reached"),
        over: Some(Plain("The database can be reached again")),
        next: ByReason(|reason| match reason {
            Some(Reason::Auth) => {
                "Check the account: password, lock, expiry. `binpulse check` names the statement."
            }
            Some(Reason::TooManyConnections) => {
                "Raise max_connections, or find out what uses them."
            }
            Some(Reason::Dns | Reason::Tls) => "Check the host name, DNS and certificates.",
            Some(_) | None => "Check that mysqld runs and that its port can be reached.",
        }),
        wait: UNTIL_ROUND_TRIPS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseSourceDown"),
    }

    /// The source accepts but answers nothing.
    SourceHung {
        name: "source_hung",
        when: When::All(&[NO_STREAM, When::False(Condition::SqlAnswers)]),
        exit: Exit::RoundTrips(2),
        rests_on: Some(Condition::SqlAnswers),
        reason: ReasonOf::Silence,
        at: At::Hop(Hop::Source),
        headline: Plain("The database hangs"),
        over: Some(Plain("The database answers again")),
        next: Plain(
            "Check the database's machine and the network to it: packets are dropped, or mysqld is \
             frozen.",
        ),
        wait: UNTIL_ROUND_TRIPS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseSourceDown"),
    }

    /// Writer and stream are on different servers.
    WrongSource {
        name: "wrong_source",
        when: When::False(Condition::SourceMatches),
        exit: Exit::RoundTrips(1),
        rests_on: Some(Condition::SourceMatches),
        at: At::Hop(Hop::Source),
        headline: Plain("The stream comes from the wrong server"),
        over: Some(Plain("The stream comes from the right server again")),
        next: Plain(
            "A failover moved the address: let the stream reconnect, and fence the old primary.",
        ),
        wait: UNTIL_ROUND_TRIPS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseWrongSource"),
    }

    /// SQL works, the replication connection does not.
    StreamDown {
        name: "stream_down",
        when: When::False(Condition::StreamConnected),
        exit: Exit::RoundTrips(2),
        rests_on: Some(Condition::StreamConnected),
        reason: ReasonOf::Stream,
        at: At::Hop(Hop::Stream),
        headline: Plain("The database works, but the replication connection does not"),
        over: Some(Plain("The replication connection works again")),
        next: ByReason(|reason| match reason {
            Some(Reason::Denied) => "GRANT REPLICATION SLAVE to the stream's account.",
            Some(Reason::Auth) => {
                "Check the replication account: password, lock, expiry. `binpulse check` names the \
                 statement."
            }
            Some(Reason::Halted) => {
                "Delivery has halted: `halted` in /status names the reason and what fixes it; then \
                 restart."
            }
            Some(Reason::DuplicateReplica) => {
                "Find the second streamer that uses this stream's replica UUID, and stop one."
            }
            Some(_) | None => "Look in the server's log for who ends the dump thread.",
        }),
        wait: UNTIL_ROUND_TRIPS,
        aids: &[Aid::Source],
        alert: |reason| match reason {
            Some(Reason::Halted) => Some("BinpulseHalted"),
            Some(_) | None => Some("BinpulseStreamStalled"),
        },
    }

    /// SQL works, the replication connection is up and says nothing.
    StreamSilent {
        name: "stream_silent",
        when: When::False(Condition::StreamBytes),
        exit: Exit::RoundTrips(2),
        rests_on: Some(Condition::StreamBytes),
        at: At::Hop(Hop::Stream),
        headline: Plain("The database works, but the replication connection is silent"),
        over: Some(Plain("The replication connection receives data again")),
        next: Plain(
            "It is being opened again; if that recurs, look for a firewall that drops idle \
             connections.",
        ),
        wait: UNTIL_ROUND_TRIPS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseStreamStalled"),
    }

    /// The source takes no writes, by its own settings.
    SourceReadOnly {
        name: "source_read_only",
        when: When::False(Condition::SourceWritable),
        exit: Exit::Commits(2),
        rests_on: Some(Condition::SourceWritable),
        at: At::Hop(Hop::Source),
        headline: Plain("The database is read-only"),
        over: Some(Plain("The database accepts writes again")),
        next: Plain("Find out whether a failover is under way; else SET GLOBAL read_only = OFF."),
        wait: UNTIL_COMMITS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseSourceWritesBlocked"),
    }

    /// Writes hang or are refused by locks, a full disk, a missing semi-sync acknowledgement.
    WritesBlocked {
        name: "writes_blocked",
        when: When::False(Condition::WritesCommit),
        exit: Exit::Commits(2),
        rests_on: Some(Condition::WritesCommit),
        reason: ReasonOf::Writes,
        at: At::Hop(Hop::Source),
        headline: Plain("Writes to the database are blocked"),
        over: Some(Plain("Writes to the database commit again")),
        next: ByReason(|reason| match reason {
            Some(Reason::Semisync) => {
                "Bring the semi-sync replica back, or lower rpl_semi_sync_source_timeout."
            }
            Some(Reason::GlobalReadLock) => {
                "Find the session that holds FLUSH TABLES WITH READ LOCK: a backup, most likely."
            }
            Some(Reason::MetadataLock) => "Find the holder in performance_schema.metadata_locks.",
            Some(Reason::RowLock) => "Find the holder in performance_schema.data_locks.",
            Some(Reason::DiskFull) => {
                "Look at the disk of the binary log. If it is full, free space: writes resume within \
                 60 s. Do not KILL the waiting statements: that aborts the server."
            }
            Some(_) | None => {
                "Look at SHOW PROCESSLIST for what the writers wait for. Do not KILL them."
            }
        }),
        wait: UNTIL_COMMITS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseSourceWritesBlocked"),
    }

    /// The source is a replica that no longer replicates.
    UpstreamReplicationBroken {
        name: "upstream_replication_broken",
        when: When::False(Condition::UpstreamRuns),
        exit: Exit::RoundTrips(2),
        rests_on: Some(Condition::UpstreamRuns),
        at: At::Hop(Hop::Source),
        headline: Plain("The source is a replica that no longer replicates"),
        over: Some(Plain("The source replicates again")),
        next: Plain(
            "Find the error with SHOW REPLICA STATUS on the source, fix it, and START REPLICA \
             there.",
        ),
        wait: UNTIL_ROUND_TRIPS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseSourceDown"),
    }

    /// SNS takes nothing.
    SinkStalled {
        name: "sink_stalled",
        when: When::False(Condition::SinkMoves),
        exit: Exit::Acknowledgements(2),
        rests_on: Some(Condition::SinkMoves),
        reason: ReasonOf::Sink,
        at: At::Hop(Hop::Publish),
        headline: Plain("SNS accepts no messages"),
        over: Some(Plain("SNS accepts messages again")),
        next: ByReason(|reason| match reason {
            Some(Reason::Denied) => "Check the IAM policy, the KMS key and the credentials.",
            Some(Reason::NotFound) => "Check the topic's ARN and region.",
            Some(Reason::Throttled) => "Ask for a higher SNS quota, or pack more.",
            Some(Reason::MessageRefused) => "Look in the log for what SNS refuses, and why.",
            Some(Reason::TooLarge) => {
                "Raise the topic's MaximumMessageSize, or choose another value of sink.oversize."
            }
            Some(_) | None => "Check the endpoint, the network to it, and AWS's status page.",
        }),
        wait: "Wait: SNS counts as healthy after two acknowledgements, or when nothing waits.",
        aids: &[Aid::Topic],
        alert: |_| Some("BinpulseSinkStalled"),
    }

    /// A heartbeat row was committed and did not come.
    HeartbeatLost {
        name: "heartbeat_lost",
        when: When::False(Condition::HeartbeatSeen),
        exit: Exit::RoundTrips(2),
        rests_on: Some(Condition::HeartbeatSeen),
        at: At::Hop(Hop::Stream),
        headline: Plain("A committed row did not come through the binary log"),
        over: Some(Plain("Committed rows come through the binary log again")),
        next: Plain(
            "Look for binlog-ignore-db, binlog-do-db or sql_log_bin=0 on the heartbeat schema.",
        ),
        wait: UNTIL_ROUND_TRIPS,
        aids: &[Aid::Source],
        alert: |_| Some("BinpulseStreamStalled"),
    }

    /// Late, and getting better.
    CatchingUp {
        name: "catching_up",
        grade: Grade::Late,
        // The exit rule of both, lag below 15 s for 10 s, lies in the condition. Catching up is no
        // fault and so hides none: canaries that were acknowledged are owed however late the rest is.
        when: When::All(&[
            When::False(Condition::LagSmall),
            When::True(Condition::LagShrinks),
            When::NotFalse(Condition::CanariesArrive),
            When::NotFalse(Condition::CheckpointAdvances),
        ]),
        rests_on: Some(Condition::LagSmall),
        at: At::StreamOrPublish,
        headline: Plain("Changes are late, and the lag shrinks"),
        over: Some(Plain("Caught up")),
        next: Plain("Wait; check the rate if it takes long."),
        wait: UNTIL_PUNCTUAL,
        alert: |_| Some("BinpulseCatchUpTooLong"),
    }

    /// Late, and not getting better.
    Lagging {
        name: "lagging",
        when: When::All(&[
            When::False(Condition::LagSmall),
            When::NotTrue(Condition::LagShrinks),
        ]),
        rests_on: Some(Condition::LagSmall),
        at: At::StreamOrPublish,
        headline: Plain("Changes are late"),
        over: Some(Plain("Caught up")),
        next: Plain("Compare the rate of commits with that of publishing; check the SNS quotas."),
        wait: UNTIL_PUNCTUAL,
        aids: &[Aid::Topic],
        alert: |_| Some("BinpulseLagging"),
    }

    /// SNS acknowledged canaries that did not arrive.
    CanaryLost {
        name: "canary_lost",
        when: When::False(Condition::CanariesArrive),
        exit: Exit::Echoes(2),
        rests_on: Some(Condition::CanariesArrive),
        reason: ReasonOf::Canaries,
        at: At::DeliveryOrConsumers,
        headline: Naming(
            |names| format!("SNS accepts messages that do not reach {names}"),
            "SNS accepts messages that do not arrive",
        ),
        over: Some(Naming(
            |names| format!("SNS delivers messages to {names} again"),
            "SNS delivers messages again",
        )),
        next: Naming(
            |names| {
                format!(
                    "Check the subscription of {names}: that it exists, its filter policy, the \
                     queue's policy and its dead-letter queue."
                )
            },
            "Check the subscription, its filter policy, the queue's policy and its dead-letter \
             queue.",
        ),
        wait: "Wait: delivery counts as healthy after two canaries that come back.",
        aids: &[Aid::Subscriptions, Aid::Queues, Aid::Maintenance, Aid::Replay],
        alert: |_| Some("BinpulseCanaryLost"),
    }

    /// The checkpoint is not saved while delivery continues.
    CheckpointStuck {
        name: "checkpoint_stuck",
        kind: StateKind::Unsaved,
        when: When::False(Condition::CheckpointAdvances),
        rests_on: Some(Condition::CheckpointAdvances),
        headline: Plain("Progress is not being saved"),
        over: Some(Plain("Progress is being saved again")),
        next: Plain("Check the checkpoint's store: disk, permissions, fencing."),
        aids: &[Aid::Checkpoint],
        alert: |_| Some("BinpulseCheckpointStuck"),
    }

    /// Needed evidence is missing.
    Indeterminate {
        name: "indeterminate",
        grade: Grade::Unknown,
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
        reason: ReasonOf::EchoQueues,
        headline: Plain("It is not known whether the database is quiet or down"),
        next: ByReason(|reason| match reason {
            Some(Reason::EchoUnreadable(_)) => {
                "Check the queue's URL in canary.echo, the network to SQS, and that \
                 sqs:ReceiveMessage and sqs:DeleteMessage are allowed on it; `binpulse check` tries \
                 both."
            }
            Some(_) | None => "See which evidence is missing below, and why.",
        }),
        aids: &[Aid::Queues],
        alert: |reason| match reason {
            Some(Reason::EchoUnreadable(_)) => Some("BinpulseEchoUnreadable"),
            Some(_) | None => Some("BinpulseFreshnessUnknown"),
        },
    }

    /// All is well, and an operator holds back the rows of all tables.
    SuppressedByOperator {
        name: "suppressed_by_operator",
        grade: Grade::Intended,
        when: When::False(Condition::NotSuppressed),
        rests_on: Some(Condition::NotSuppressed),
        headline: Plain("An operator holds back the rows of all tables"),
        over: Some(Plain("Rows of all tables are published again")),
        next: Plain(
            "Nothing, as long as that is wanted: `binpulse controls` shows by whom and why. \
             `binpulse release` ends it.",
        ),
        alert: |_| Some("BinpulseSuppressed"),
    }

    /// All is well, and an operator lets the rows of all tables wait.
    PausedByOperator {
        name: "paused_by_operator",
        grade: Grade::Intended,
        when: When::False(Condition::NotPaused),
        rests_on: Some(Condition::NotPaused),
        headline: Plain("An operator has paused all tables"),
        over: Some(Plain("Rows of all tables are published again")),
        next: Plain(
            "Nothing, as long as that is wanted: `binpulse controls` shows by whom, why and until \
             when. `binpulse release` ends it, and sends what waits.",
        ),
        alert: |_| Some("BinpulseSuppressed"),
    }

    /// All is well as far as it can be seen without heartbeat rows.
    QuietUnproven {
        name: "quiet_unproven",
        grade: Grade::Unproven,
        when: When::NotTrue(Condition::HeartbeatsAllowed),
        headline: Plain("Nothing is wrong, but without heartbeat rows silence can't be proven"),
        next: Plain("Allow heartbeat rows if silence is to be proven."),
    }

    /// All is well, and users write.
    Live {
        name: "live",
        grade: Grade::Healthy,
        when: When::True(Condition::UserRows),
        rests_on: Some(Condition::UserRows),
        headline: Plain("Rows flow"),
        next: Plain("Nothing."),
    }

    /// All is well, nobody writes, and that is proven.
    Quiet {
        name: "quiet",
        grade: Grade::Healthy,
        when: When::Otherwise,
        reason: ReasonOf::Certificate,
        headline: Plain("The database is quiet"),
        next: Plain("Nothing."),
    }
}

impl State {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Its name in metrics, logs and the API.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it means for those who wait for data. The order is from worst to best.
    pub fn grade(self) -> Grade {
        self.row().grade
    }

    /// What more is concluded from it in `/status`.
    pub fn kind(self) -> StateKind {
        self.row().kind
    }

    /// Whether it says that data flows, or that there is none: `live` and `quiet`.
    pub fn is_healthy(self) -> bool {
        self.grade() == Grade::Healthy
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first row that matches, without any memory. The last row matches always.
pub fn classify(conditions: &Conditions) -> &'static Row {
    TABLE.iter().find(|row| row.when.holds(conditions)).unwrap_or(&TABLE[TABLE.len() - 1])
}
