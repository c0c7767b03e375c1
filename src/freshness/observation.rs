//! What is observed. Every task reports in these words, and whoever concludes something reads them: the
//! round trips, the verdict's evaluator, the metrics. Every value was measured by the one who reports; nothing is
//! asked back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::verdict::certificate::Span;
use super::{SqlFailure, StreamFailure};
use crate::change::{GtidSet, Uuid};
use crate::sink::FailureClass;

/// A step in a canary's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Its row is inserted.
    Insert,
    /// Every column of it is changed.
    Update,
    /// It is removed.
    Delete,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Delete];

    /// Lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    pub(super) fn bit(self) -> u8 {
        match self {
            Self::Insert => 1,
            Self::Update => 2,
            Self::Delete => 4,
        }
    }
}

/// One step of one canary: a message of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryStep {
    /// The path through an operator's table; `None`: the built-in canary.
    pub path: Option<Arc<str>>,
    /// Number of the canary, of its path.
    pub number: u64,
    /// The step.
    pub phase: Phase,
}

/// Who is told. Called from the tasks: it must return at once.
pub type Observer = Arc<dyn Fn(Observation) + Send + Sync>;

/// One report. The instant at which it was made goes beside it, on our monotonic clock. Every turn of a
/// task reports at least one, so they are also the sign that it turns.
#[derive(Debug, Clone)]
pub enum Observation {
    /// The verdict loop's own clocks, once per tick, before each evaluation.
    Tick(Clocks),
    /// A task on the runtime that all other tasks share is running: once per second.
    RuntimeTick,
    /// We stop: nothing that is on its way to us is awaited any more.
    Stopping,

    /// The replication connection's counters, sampled once per tick.
    Stream(StreamSample),
    /// A dump began: the server accepted our position.
    StreamConnected {
        /// The server's UUID, if it has one.
        server: Option<Uuid>,
    },
    /// A dump could not begin, or ended.
    StreamFailed(StreamFailure),
    /// How late the stream is, sampled once per tick.
    Lag(LagSample),
    /// A heartbeat row arrived, and with it what stood between it and the one before.
    HeartbeatArrived(Box<Span>),

    /// A heartbeat's write is sent.
    HeartbeatStarted {
        /// Its number; each is larger than the one before.
        number: u64,
    },
    /// A heartbeat is committed. It may follow a reported time-out of the same row: the write was
    /// answered after all.
    HeartbeatCommitted {
        /// Its number.
        number: u64,
    },
    /// No heartbeat could be written, or its fate is not known yet.
    HeartbeatFailed {
        /// Its number; `None` when it was not even tried.
        number: Option<u64>,
        /// The family of causes.
        reason: SqlFailure,
        /// The words, for people.
        message: String,
    },
    /// The last heartbeat's write is still out; no other begins.
    HeartbeatPending {
        /// What the server says that the writing session does, if a second session could ask:
        /// `Waiting for global read lock` and the like.
        server_state: Option<String>,
    },
    /// The number in the table, read in a new session before anything is written with it.
    HeartbeatStored {
        /// The number; 0 without a row.
        number: u64,
        /// The server that said so, with the same question: a proxy may ask another than the one that
        /// takes the writes.
        server: Option<Uuid>,
    },
    /// What the server says of itself, asked with each write.
    Facts(Facts),
    /// What the server had executed when it was asked in the writer's session, after a heartbeat's
    /// commit was answered and before the next is sent.
    Executed(Box<Executed>),

    /// A step of a canary's life begins.
    CanaryStarted(CanaryStep),
    /// A step of a canary's life is committed.
    CanaryCommitted {
        /// Which.
        step: CanaryStep,
    },
    /// A canary could not be written, or not to its end.
    CanaryFailed {
        /// The path through an operator's table; `None`: the built-in canary.
        path: Option<Arc<str>>,
        /// The family of causes.
        reason: SqlFailure,
        /// The words, for people.
        message: String,
    },
    /// The topic has all messages of a canary: their echoes are owed from now on.
    CanaryOwed {
        /// The path through an operator's table; `None`: the built-in canary.
        path: Option<Arc<str>>,
        /// Its number.
        number: u64,
    },
    /// All of a canary is back.
    CanaryReturned {
        /// The account that it is back on: the consumer's name; of a path `consumer/path`.
        account: Arc<str>,
        /// Its number.
        number: u64,
    },

    /// An echo queue was read. What came was told before.
    EchoRead {
        /// The consumer.
        consumer: Arc<str>,
    },
    /// A canary message came back.
    Echoed {
        /// The consumer.
        consumer: Arc<str>,
        /// Which step of which canary.
        step: CanaryStep,
        /// Whether it carries what this process gave that message.
        is_genuine: bool,
    },
    /// A message came that is no canary of this stream.
    EchoIgnored {
        /// Why.
        kind: Ignored,
    },
    /// An echo queue could not be read, or messages in it not be deleted.
    EchoFailed {
        /// The consumer.
        consumer: Arc<str>,
        /// The words, for people.
        message: String,
    },
    /// A consumer is taken out of evaluation until then; `None` takes it back in.
    Maintenance {
        /// Whom.
        consumer: Arc<str>,
        /// When it ends by itself.
        until: Option<Instant>,
    },

    /// A query on the established connection, or a fresh connection and a query on it.
    Probe(Probe),
    /// Answers of the state poll; what could not be had is `None`.
    StatePoll(Box<StatePoll>),
    /// A look at the source's own replication.
    Upstream(Upstream),
    /// Databases that are published, and that the source does not write to its binary log.
    Unlogged(Vec<String>),

    /// An operator holds back the rows of all tables: who, and why. `None`: nobody does any more.
    Suppressed(Option<String>),
    /// An operator lets the rows of all tables wait: who, and why. `None`: nobody does any more.
    Paused(Option<String>),

    /// The sink's counters, sampled once per tick.
    Sink(SinkSample),
    /// A checkpoint is durable.
    CheckpointSaved,
    /// A checkpoint could not be saved; it is tried again.
    CheckpointFailed {
        /// Why, in words.
        error: String,
    },
}

/// The loop's clocks beside the monotonic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Time since boot, suspended time included (`CLOCK_BOOTTIME`).
    pub boot: Duration,
    /// Real time since 1970 UTC.
    pub real: Duration,
}

/// Counters of the replication connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSample {
    /// Bytes received since start, over all connections.
    pub bytes: u64,
    /// When the last ones came.
    pub last_receive: Option<Instant>,
    /// Whether the reader waits for bytes now, and not for the pipeline behind it.
    pub armed: bool,
    /// When the last protocol heartbeat came: the server had sent all that it had.
    pub idle_at: Option<Instant>,
}

/// How late the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LagSample {
    /// Age of the commit that is now read or published, the later of the two; zero when the source
    /// is idle at our position. `None` when nothing was received yet.
    pub lag: Option<Duration>,
    /// Bytes read of the transaction that is now open, zero between transactions.
    pub transaction_bytes: u64,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// `@@server_uuid`, or `mariadb-<server_id>`.
    pub server_uuid: String,
    /// `@@read_only`.
    pub read_only: bool,
    /// `@@super_read_only`; false where there is none.
    pub super_read_only: bool,
    /// Its clock.
    pub clock: ClockSample,
}

impl Facts {
    /// The server's UUID; MariaDB's names are none.
    pub fn server(&self) -> Option<Uuid> {
        self.server_uuid.parse().ok()
    }

    /// Whether it takes no writes of accounts without special privileges.
    pub fn takes_no_writes(&self) -> bool {
        self.read_only || self.super_read_only
    }
}

/// One question for the source's clock. All in microseconds of real time since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockSample {
    /// Our clock when the question went out.
    pub sent_us: i64,
    /// The source's clock in the answer.
    pub source_us: i64,
    /// Our clock when the answer came.
    pub received_us: i64,
}

/// What was read in the writer's session after a heartbeat's commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Executed {
    /// The heartbeat's number.
    pub number: u64,
    /// The server as of then.
    pub facts: Facts,
    /// `@@gtid_executed`; `None` without GTIDs.
    pub executed: Option<GtidSet>,
    /// `@@gtid_purged`; `None` without GTIDs.
    pub purged: Option<GtidSet>,
}

/// What a message of an echo queue is that is no canary of this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// A canary of another stream.
    OtherStream,
    /// Something well formed that is no canary.
    OtherKind,
    /// It could not be opened.
    Malformed,
}

impl Ignored {
    /// All, for label values.
    pub const ALL: [Self; 3] = [Self::OtherStream, Self::OtherKind, Self::Malformed];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherStream => "other_stream",
            Self::OtherKind => "other_kind",
            Self::Malformed => "malformed",
        }
    }
}

/// Which connection a probe used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connection {
    /// One that stood already.
    Existing,
    /// One made for the probe: name, TCP, TLS, login.
    Fresh,
}

/// A probe's result; its deadline is [`super::Periods::probe_timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Over which connection.
    pub connection: Connection,
    /// When it was started.
    pub started: Instant,
    /// How it ended.
    pub result: Result<(), SqlFailure>,
}

/// Answers of the state poll.
#[derive(Debug, Clone, Default)]
pub struct StatePoll {
    /// When the first question was asked: the answers say nothing of what came later.
    pub asked: Option<Instant>,
    /// `@@server_uuid` of the server that answered.
    pub server: Option<Uuid>,
    /// `@@read_only OR @@super_read_only OR @@innodb_read_only`.
    pub read_only: Option<bool>,
    /// `@@gtid_executed`.
    pub executed: Option<GtidSet>,
    /// `@@gtid_purged`.
    pub purged: Option<GtidSet>,
    /// STATE of the blocked writer in the process list, as its own account reads it.
    pub writer_state: Option<String>,
}

/// The source's own replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// It replicates from nobody.
    None,
    /// Its threads run.
    Running,
    /// One does not run: its last error.
    Broken(String),
    /// It can't be looked at, and why.
    Unseen(String),
}

/// Counters of the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkSample {
    /// Since when the oldest message that is not acknowledged has been with the sink.
    pub oldest_unacknowledged: Option<Instant>,
    /// Messages acknowledged since start.
    pub acknowledged: u64,
    /// When the last one was.
    pub last_acknowledged: Option<Instant>,
    /// Class of the last failure, since the last acknowledgement.
    pub failure: Option<FailureClass>,
    /// Failures in a row, since the last acknowledgement.
    pub failures_in_a_row: u32,
    /// When a user's row was last acknowledged.
    pub last_user_row: Option<Instant>,
    /// The lease permits no calls now: nothing is owed.
    pub is_withheld: bool,
}

impl Observation {
    /// Whether it could count against somebody: not believed right after we were frozen.
    pub(super) fn blames(&self) -> bool {
        match self {
            Self::StreamFailed(failure) => {
                !matches!(failure, StreamFailure::Purged | StreamFailure::Diverged)
            }
            Self::HeartbeatFailed { .. }
            | Self::CanaryFailed { .. }
            | Self::EchoFailed { .. }
            | Self::CheckpointFailed { .. } => true,
            Self::Probe(probe) => probe.result.is_err(),
            Self::Tick(_)
            | Self::RuntimeTick
            | Self::Stopping
            | Self::Stream(_)
            | Self::StreamConnected { .. }
            | Self::Lag(_)
            | Self::HeartbeatArrived(_)
            | Self::HeartbeatStarted { .. }
            | Self::HeartbeatCommitted { .. }
            | Self::HeartbeatPending { .. }
            | Self::HeartbeatStored { .. }
            | Self::Facts(_)
            | Self::Executed(_)
            | Self::CanaryStarted(_)
            | Self::CanaryCommitted { .. }
            | Self::CanaryOwed { .. }
            | Self::CanaryReturned { .. }
            | Self::EchoRead { .. }
            | Self::Echoed { .. }
            | Self::EchoIgnored { .. }
            | Self::Maintenance { .. }
            | Self::StatePoll(_)
            | Self::Upstream(_)
            | Self::Unlogged(_)
            | Self::Suppressed(_)
            | Self::Paused(_)
            | Self::Sink(_)
            | Self::CheckpointSaved => false,
        }
    }
}
