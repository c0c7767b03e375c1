//! The words of a verdict: its state, the reason that goes with it, and the hop that broke.

use std::fmt;
use std::sync::Arc;

/// What freshness concludes. Exactly one holds at any time; their order is that of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// We ourselves were frozen and judge nobody.
    SelfStalled,
    /// What comes after our position can't be had, or the source lost what we have.
    PositionLost,
    /// Nothing is known yet.
    Starting,
    /// The source refuses connections, or can't be reached.
    SourceUnreachable,
    /// The source accepts but answers nothing.
    SourceHung,
    /// Writer and stream are on different servers, or on one that is not allowed.
    WrongSource,
    /// SQL works, the replication connection does not.
    StreamDown,
    /// SQL works, the replication connection is up and says nothing.
    StreamSilent,
    /// The source takes no writes, by its own settings.
    SourceReadOnly,
    /// Writes hang or are refused by locks, a full disk, a missing semi-sync acknowledgement.
    WritesBlocked,
    /// The source is a replica that no longer replicates.
    UpstreamReplicationBroken,
    /// SNS takes nothing.
    SinkStalled,
    /// A heartbeat row was committed and did not come.
    HeartbeatLost,
    /// Late, and getting better.
    CatchingUp,
    /// Late, and not getting better.
    Lagging,
    /// SNS acknowledged canaries that did not arrive.
    CanaryLost,
    /// The checkpoint is not saved while delivery goes on.
    CheckpointStuck,
    /// Needed evidence is missing.
    Indeterminate,
    /// All is well as far as it can be seen without heartbeat rows.
    QuietUnproven,
    /// All is well, and users write.
    Live,
    /// All is well, nobody writes, and that is proven.
    Quiet,
}

impl State {
    /// Every state, in the order of the table.
    pub const ALL: [Self; 21] = [
        Self::SelfStalled,
        Self::PositionLost,
        Self::Starting,
        Self::SourceUnreachable,
        Self::SourceHung,
        Self::WrongSource,
        Self::StreamDown,
        Self::StreamSilent,
        Self::SourceReadOnly,
        Self::WritesBlocked,
        Self::UpstreamReplicationBroken,
        Self::SinkStalled,
        Self::HeartbeatLost,
        Self::CatchingUp,
        Self::Lagging,
        Self::CanaryLost,
        Self::CheckpointStuck,
        Self::Indeterminate,
        Self::QuietUnproven,
        Self::Live,
        Self::Quiet,
    ];

    /// Its name in metrics, logs and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SelfStalled => "self_stalled",
            Self::PositionLost => "position_lost",
            Self::Starting => "starting",
            Self::SourceUnreachable => "source_unreachable",
            Self::SourceHung => "source_hung",
            Self::WrongSource => "wrong_source",
            Self::StreamDown => "stream_down",
            Self::StreamSilent => "stream_silent",
            Self::SourceReadOnly => "source_read_only",
            Self::WritesBlocked => "writes_blocked",
            Self::UpstreamReplicationBroken => "upstream_replication_broken",
            Self::SinkStalled => "sink_stalled",
            Self::HeartbeatLost => "heartbeat_lost",
            Self::CatchingUp => "catching_up",
            Self::Lagging => "lagging",
            Self::CanaryLost => "canary_lost",
            Self::CheckpointStuck => "checkpoint_stuck",
            Self::Indeterminate => "indeterminate",
            Self::QuietUnproven => "quiet_unproven",
            Self::Live => "live",
            Self::Quiet => "quiet",
        }
    }

    /// What it means for those who wait for data. The order is from worst to best.
    pub const fn grade(self) -> Grade {
        match self {
            Self::PositionLost
            | Self::SourceUnreachable
            | Self::SourceHung
            | Self::WrongSource
            | Self::StreamDown
            | Self::StreamSilent
            | Self::SourceReadOnly
            | Self::WritesBlocked
            | Self::UpstreamReplicationBroken
            | Self::SinkStalled
            | Self::HeartbeatLost
            | Self::Lagging
            | Self::CanaryLost
            | Self::CheckpointStuck => Grade::Outage,
            Self::CatchingUp => Grade::Late,
            Self::SelfStalled | Self::Starting | Self::Indeterminate => Grade::Unknown,
            Self::QuietUnproven => Grade::Unproven,
            Self::Live | Self::Quiet => Grade::Healthy,
        }
    }

    /// Whether it says that data flows, or that there is none: `live` and `quiet`.
    pub const fn is_healthy(self) -> bool {
        matches!(self.grade(), Grade::Healthy)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How bad a state is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grade {
    /// Something is broken, and there is evidence of it.
    Outage,
    /// Data comes late and the gap shrinks.
    Late,
    /// An outage is over by all evidence, but not for long enough to rely on it.
    Recovering,
    /// Nobody can say.
    Unknown,
    /// Nothing is wrong, and nothing proves it.
    Unproven,
    /// Proven to be well.
    Healthy,
}

impl Grade {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Late => "late",
            Self::Recovering => "recovering",
            Self::Unknown | Self::Unproven => "unknown",
            Self::Healthy => "healthy",
        }
    }
}

/// A station on the way from the source to the consumers: the first broken one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hop {
    /// The database itself, its reachability and its writability.
    Source,
    /// The replication connection.
    Stream,
    /// From us to SNS.
    Publish,
    /// From SNS to the consumers' queues.
    Delivery,
    /// Some consumers.
    Consumers,
    /// None, or it can't be said.
    None,
}

impl Hop {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Stream => "stream",
            Self::Publish => "publish",
            Self::Delivery => "delivery",
            Self::Consumers => "consumers",
            Self::None => "none",
        }
    }
}

/// What a state is more exactly. The same word may stand with several states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A commit waits for a semi-sync acknowledgement.
    Semisync,
    /// `FLUSH TABLES WITH READ LOCK`.
    GlobalReadLock,
    /// A metadata lock: `LOCK TABLES`, or DDL in the queue.
    MetadataLock,
    /// A row lock.
    RowLock,
    /// A full disk.
    DiskFull,
    /// The evidence does not tell.
    Unknown,
    /// Asked to slow down.
    Throttled,
    /// Errors of the far side.
    ServerError,
    /// No answer in time.
    Timeout,
    /// Not permitted.
    Denied,
    /// There is no such thing.
    NotFound,
    /// Messages are too large.
    TooLarge,
    /// The name does not resolve.
    Dns,
    /// The TLS handshake fails.
    Tls,
    /// The account is not admitted.
    Auth,
    /// Nobody listens.
    Refused,
    /// Connections break.
    Reset,
    /// `max_connections` is reached.
    TooManyConnections,
    /// `offline_mode`, or a shutdown in progress.
    Offline,
    /// Delivery can't go on without an operator.
    Halted,
    /// Another replica uses our identity.
    DuplicateReplica,
    /// The binary logs that we need are gone.
    Purged,
    /// The source lacks transactions that we have.
    Diverged,
    /// Consumers that echo nothing.
    Consumers(Vec<Arc<str>>),
    /// Consumers whose echo queues can't be read: whether canaries arrive is not known.
    EchoUnreadable(Vec<Arc<str>>),
    /// Nothing was written.
    Empty,
    /// Only what the filters leave out was written.
    FilteredOnly,
}

impl Reason {
    /// Its name in metrics, logs and the API.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Semisync => "semisync",
            Self::GlobalReadLock => "ftwrl",
            Self::MetadataLock => "mdl",
            Self::RowLock => "row_lock",
            Self::DiskFull => "disk_full",
            Self::Unknown => "unknown",
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TooManyConnections => "too_many_connections",
            Self::Offline => "offline",
            Self::Halted => "halted",
            Self::DuplicateReplica => "duplicate_replica",
            Self::Purged => "purged",
            Self::Diverged => "diverged",
            Self::Consumers(names) => return names.join(","),
            Self::EchoUnreadable(_) => "echo_unreadable",
            Self::Empty => "empty",
            Self::FilteredOnly => "filtered_only",
        };
        name.to_owned()
    }
}
