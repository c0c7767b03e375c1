//! What the tasks report. Every value was measured by the one who reports; nothing is asked back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::Span;
use crate::change::{GtidSet, Uuid};

/// One report. The instant at which it was made goes beside it, on our monotonic clock.
#[derive(Debug, Clone)]
pub enum Observation {
    /// The verdict loop's own clocks, once per tick, before judging.
    Tick(Clocks),
    /// A task on the runtime that all other tasks share is running: once per second.
    RuntimeTick,

    /// The replication connection's counters, sampled once per tick.
    Stream(StreamSample),
    /// A dump began: the server accepted our position.
    StreamConnected {
        /// The server's UUID, if it has one.
        server: Option<Uuid>,
    },
    /// A dump could not begin, or ended.
    StreamFailed(StreamFailure),
    /// A heartbeat row arrived, and with it what stood between it and the one before.
    HeartbeatArrived(Box<Span>),

    /// A heartbeat row's write is sent.
    HeartbeatStarted {
        /// The row's counter; each is larger than the one before.
        number: u64,
    },
    /// What became of it.
    HeartbeatEnded {
        /// The row's counter.
        number: u64,
        /// The outcome.
        outcome: WriteOutcome,
    },
    /// No heartbeat could even be sent.
    HeartbeatUntried(WriteFailure),
    /// What was read in the writer's session after heartbeat `number`'s commit was answered, and
    /// before the next one is sent. Here, or with the outcome, or both.
    HeartbeatFacts {
        /// The last committed row's counter.
        number: u64,
        /// The facts.
        facts: Box<Committed>,
    },
    /// The counter in the table, read in a new session of the writer's before it wrote anything.
    HeartbeatStored {
        /// The counter; 0 without a row.
        number: u64,
        /// The server that said so.
        server: Option<Uuid>,
    },
    /// A query on the established connection, or a fresh connection and a query on it.
    Probe(Probe),
    /// Answers of the state poll; what could not be had is `None`.
    Poll(Box<Poll>),
    /// A look at the source's own replication.
    Upstream(Upstream),
    /// Databases that are published, and that the source does not write to its binary log.
    Unlogged(Vec<String>),
    /// Two clock readings with the source's clock between them.
    SourceClock(ClockSample),
    /// The sink's counters, sampled once per tick.
    Sink(SinkSample),
    /// How late the stream is, sampled once per tick.
    Lag(LagSample),
    /// A canary was acknowledged by SNS: its echoes are owed from now on.
    CanaryAcknowledged {
        /// The path through an operator's table; `None`: the built-in canary.
        path: Option<Arc<str>>,
        /// Its number.
        number: u64,
    },
    /// A canary came back.
    CanaryEchoed {
        /// From whom.
        consumer: Arc<str>,
        /// Its number.
        number: u64,
    },
    /// A consumer's echo queue was read, or a canary written; or it could not be.
    CanaryMeans {
        /// Whose queue; `None`: the writing of canaries.
        consumer: Option<Arc<str>>,
        /// Why it could not be, in words.
        failure: Option<String>,
    },
    /// A consumer is taken out of judgement until then; `None` takes it back in.
    Maintenance {
        /// Whom.
        consumer: Arc<str>,
        /// When it ends by itself.
        until: Option<Instant>,
    },
    /// A checkpoint is durable.
    CheckpointSaved,
    /// A checkpoint could not be saved.
    CheckpointFailed {
        /// Why, in words.
        error: String,
    },
    /// We stop: nothing that is on its way to us is awaited any more.
    Stopping,
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

/// Why a dump could not begin, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamFailure {
    /// The end of the stream: EOF packet or closed socket, without an error.
    Ended,
    /// Our deadline on bytes expired, on an established dump.
    Silent,
    /// Connecting took too long.
    Timeout,
    /// Nobody listens, or no route.
    Refused,
    /// The connection broke.
    Reset,
    /// The name does not resolve.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// The account is not admitted (1045, 1862, 3118).
    Auth,
    /// REPLICATION SLAVE is missing (1227).
    Denied,
    /// 1040.
    TooManyConnections,
    /// 3032, 1053.
    Offline,
    /// 1236: a replica with our UUID took over.
    DuplicateReplica,
    /// 1236: the logs that we need are gone.
    Purged,
    /// 1236: we have transactions that the source lacks; or another server without GTIDs.
    Diverged,
    /// We dial no more: delivery can't go on without an operator.
    Halted,
    /// Any other error.
    Other(u16),
}

/// What became of a heartbeat's write.
#[derive(Debug, Clone)]
pub enum WriteOutcome {
    /// Committed, and what was read right after it in the same session; default where it was not.
    /// It may follow a reported time-out of the same row: the write was answered after all.
    Committed(Box<Committed>),
    /// Refused, or never answered.
    Failed(WriteFailure),
}

/// Facts read in the writer's session right after its commit.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// `@@server_uuid`.
    pub server: Option<Uuid>,
    /// `@@global.read_only OR @@global.super_read_only`.
    pub read_only: Option<bool>,
    /// `@@global.gtid_executed`; `None` without GTIDs.
    pub executed: Option<GtidSet>,
    /// `@@global.gtid_purged`.
    pub purged: Option<GtidSet>,
}

/// Why a write did not commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteFailure {
    /// 1290, 1836, 1015: the server takes no writes.
    ReadOnly,
    /// 1205: a lock.
    LockWait,
    /// 1213: retried.
    Deadlock,
    /// Our deadline expired with the lock time-outs set: stuck in commit.
    TimedOut,
    /// 1114, 1021, 3675: no space.
    DiskFull,
    /// 1142, 1044, 1143, 1227: a privilege is missing; or we refuse to write there ourselves.
    Denied,
    /// 1146, 1049: the table or its database is missing.
    Missing,
    /// 1040, 1203, 1226.
    TooManyConnections,
    /// 3032, 1053.
    Offline,
    /// 1045, 1862, 3118.
    Auth,
    /// 1317, 3024, 1969: somebody ended the statement.
    Interrupted,
    /// The connection broke (1927, 2006, 2013 without a deadline), or could not be made.
    ConnectionLost,
    /// Any other error.
    Other,
}

/// Which connection a probe used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connection {
    /// One that stood already.
    Existing,
    /// One made for the probe: name, TCP, TLS, login.
    Fresh,
}

/// A probe's result; [`super::Parameters::probe_timeout`] is its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Over which connection.
    pub connection: Connection,
    /// When it was started.
    pub started: Instant,
    /// How it ended.
    pub result: Result<(), ProbeFailure>,
}

/// Why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeFailure {
    /// No answer within the deadline.
    Timeout,
    /// Nobody listens, or no route.
    Refused,
    /// The connection broke.
    Reset,
    /// The name does not resolve.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// 1045, 1862, 3118.
    Auth,
    /// 1040, 1203.
    TooManyConnections,
    /// 3032, 1053.
    Offline,
    /// Any other error: the server did answer.
    Other(u16),
}

/// Answers of the state poll.
#[derive(Debug, Clone, Default)]
pub struct Poll {
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
    /// Transactions waiting for a semi-sync acknowledgement.
    pub semisync_waits: Option<u64>,
    /// STATE of the blocked writer in the process list, as its own account reads it.
    pub writer_state: Option<String>,
    /// The source's own replication.
    pub upstream: Option<Upstream>,
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

/// One question for the source's clock. All in microseconds of real time since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSample {
    /// Our clock when the question went out.
    pub sent_us: i64,
    /// The source's clock in the answer.
    pub source_us: i64,
    /// Our clock when the answer came.
    pub received_us: i64,
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
    pub failure: Option<SinkFailure>,
    /// Failures in a row, since the last acknowledgement.
    pub failures_in_a_row: u32,
    /// When a user's row was last acknowledged.
    pub last_user_row: Option<Instant>,
}

/// Why SNS did not acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SinkFailure {
    /// Asked to slow down.
    Throttled,
    /// 5xx.
    ServerError,
    /// No answer in time.
    Timeout,
    /// 403, bad credentials, KMS.
    Denied,
    /// The topic is gone.
    NotFound,
    /// The message is too large.
    TooLarge,
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

impl Observation {
    /// Whether it could count against somebody: not believed right after we were frozen.
    pub(super) fn blames(&self) -> bool {
        match self {
            Self::StreamFailed(failure) => {
                !matches!(failure, StreamFailure::Purged | StreamFailure::Diverged)
            }
            Self::HeartbeatUntried(_) | Self::CheckpointFailed { .. } => true,
            Self::HeartbeatEnded { outcome, .. } => matches!(outcome, WriteOutcome::Failed(_)),
            Self::Probe(probe) => probe.result.is_err(),
            Self::CanaryMeans { failure, .. } => failure.is_some(),
            Self::Tick(_)
            | Self::RuntimeTick
            | Self::Stream(_)
            | Self::StreamConnected { .. }
            | Self::HeartbeatArrived(_)
            | Self::HeartbeatStarted { .. }
            | Self::HeartbeatFacts { .. }
            | Self::HeartbeatStored { .. }
            | Self::Poll(_)
            | Self::Upstream(_)
            | Self::Unlogged(_)
            | Self::SourceClock(_)
            | Self::Sink(_)
            | Self::Lag(_)
            | Self::CanaryAcknowledged { .. }
            | Self::CanaryEchoed { .. }
            | Self::Maintenance { .. }
            | Self::CheckpointSaved
            | Self::Stopping => false,
        }
    }
}
