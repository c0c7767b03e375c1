//! What the tasks report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Facts, Reason};
use crate::change::GtidSet;

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
pub struct Leg {
    /// The path through an operator's table; `None`: the built-in canary.
    pub path: Option<Arc<str>>,
    /// Number of the canary, of its path.
    pub number: u64,
    /// The step.
    pub phase: Phase,
}

/// Something that a task did or met. Every turn of a task reports at least one, so events are also
/// the sign that it turns.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A heartbeat's write begins.
    HeartbeatStarted {
        /// Its number.
        number: u64,
        /// When.
        at: Instant,
    },
    /// A heartbeat is committed.
    HeartbeatCommitted {
        /// Its number.
        number: u64,
        /// From the begin of the write to the server's OK.
        took: Duration,
        /// Whether it had been reported as overdue before.
        late: bool,
    },
    /// No heartbeat could be written, or its fate is not known yet.
    HeartbeatFailed {
        /// Its number; `None` when it was not even tried.
        number: Option<u64>,
        /// The family of causes.
        reason: Reason,
        /// The words, for people.
        message: String,
    },
    /// The last heartbeat's write is still out; no other begins.
    HeartbeatPending {
        /// Its number.
        number: u64,
        /// How long by now.
        waiting: Duration,
        /// What the server says that the writing session does, if a second session could ask:
        /// `Waiting for global read lock` and the like.
        server_state: Option<String>,
    },
    /// The number in the table, read in a new session before anything is written with it.
    HeartbeatStored {
        /// The number.
        number: u64,
        /// `@@server_uuid` of whoever answered, with the same question; empty where there is none. A
        /// proxy may ask another server than the one that takes the writes.
        server_uuid: String,
    },
    /// What the server says of itself, asked with each write.
    Facts(Facts),
    /// What the server had executed when it was asked in the writer's session, after a heartbeat's
    /// commit was answered and before the next is sent.
    Executed {
        /// The heartbeat's number.
        number: u64,
        /// The server as of then.
        facts: Facts,
        /// `@@gtid_executed`; `None` without GTIDs.
        executed: Option<GtidSet>,
        /// `@@gtid_purged`; `None` without GTIDs.
        purged: Option<GtidSet>,
    },
    /// A step of a canary's life begins.
    CanaryStarted {
        /// Its number.
        number: u64,
        /// The step.
        phase: Phase,
        /// When.
        at: Instant,
    },
    /// A step of a canary's life is committed.
    CanaryCommitted {
        /// Its number.
        number: u64,
        /// The step.
        phase: Phase,
        /// From the begin of the write to the server's OK.
        took: Duration,
    },
    /// A canary could not be written.
    CanaryFailed {
        /// Its number and the step; `None` when it was not even tried.
        step: Option<(u64, Phase)>,
        /// The family of causes.
        reason: Reason,
        /// The words, for people.
        message: String,
    },
    /// A step of a canary through a path begins.
    LegStarted {
        /// Which.
        leg: Leg,
        /// When.
        at: Instant,
    },
    /// A step of a canary through a path is committed.
    LegCommitted {
        /// Which.
        leg: Leg,
        /// From the begin of the write to the server's OK.
        took: Duration,
    },
    /// A canary could not be written through a path, or not to its end.
    PathFailed {
        /// The path.
        path: Arc<str>,
        /// The family of causes.
        reason: Reason,
        /// The words, for people.
        message: String,
    },
    /// An echo queue was read. What came was told before.
    EchoRead {
        /// The consumer.
        consumer: Arc<str>,
        /// How many messages came.
        messages: usize,
    },
    /// A canary message came back.
    Echoed {
        /// The consumer.
        consumer: Arc<str>,
        /// Which step of which canary.
        leg: Leg,
        /// When the row was written, by the writer's clock, microseconds since 1970 UTC.
        written_at_us: i64,
        /// Whether it carries what this process gave that message.
        is_genuine: bool,
    },
    /// A message came that is no canary of this stream.
    EchoIgnored {
        /// The consumer.
        consumer: Arc<str>,
        /// `other_stream`, `other_kind` or `malformed`.
        kind: &'static str,
    },
    /// An echo queue could not be read, or messages in it not be deleted.
    EchoFailed {
        /// The consumer.
        consumer: Arc<str>,
        /// The words, for people.
        message: String,
    },
}

/// Who is told. Called from the tasks: it must return at once.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;
