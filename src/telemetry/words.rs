//! Words of `/status` that programs compare: each is a variant of an enum, written and read by serde.

use serde::{Deserialize, Serialize};

/// An enum of words, each with its text. Docs take the words from here.
macro_rules! words {
    ($($(#[$about:meta])* enum $name:ident { $($(#[$of:meta])* $word:ident = $text:literal,)+ })+) => {$(
        $(#[$about])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
        )]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $text)] $word,)+
        }

        impl $name {
            /// All of them.
            #[allow(dead_code, reason = "the docs' references have all of them")]
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$word),+];

            /// The word.
            #[allow(dead_code, reason = "the docs' references have all of them")]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$word => $text),+ }
            }
        }
    )+};
}

words! {
    /// How good or bad a verdict is.
    enum Grade {
        /// Proven to be well.
        Healthy = "healthy",
        /// Nothing is wrong, and an operator has stopped what would otherwise flow.
        Intended = "intended",
        /// An outage is over, but not for long enough to rely on it.
        Recovering = "recovering",
        /// Data comes late.
        Late = "late",
        /// It is not known.
        #[default]
        Unknown = "unknown",
        /// Something is broken, and there is evidence of it.
        Outage = "outage",
    }

    /// What a process is to its stream.
    enum Role {
        /// It has the lease, and runs the stream.
        Active = "active",
        /// It waits for the lease of another.
        Standby = "standby",
        /// It has no lease: it starts, or the lease cannot be kept.
        #[default]
        None = "none",
    }

    /// Why delivery has halted until an operator acts.
    enum HaltReason {
        /// What comes next is gone from the source.
        PositionLost = "position_lost",
        /// The source has lost what was delivered.
        Diverged = "diverged",
        /// The position is another server's.
        OtherServer = "other_server",
        /// Another process runs the stream.
        Fenced = "fenced",
        /// The account was refused from the start.
        Denied = "denied",
        /// Server or configuration do not fit.
        Misconfigured = "misconfigured",
        /// The server can't read its binary log.
        Corrupt = "corrupt",
        /// Events arrive damaged, again and again.
        Damaged = "damaged",
        /// Transactions without GTIDs come next, and nothing names them.
        GtidMode = "gtid_mode",
        /// The server refuses the stream in words that are not known.
        SourceRefused = "source_refused",
        /// An event can't be decoded.
        Undecodable = "undecodable",
        /// The source lost a commit.
        TransactionLost = "transaction_lost",
        /// A row is too large for its topic.
        TooLarge = "too_large",
        /// The topic refuses a message.
        Refused = "refused",
        /// The sink has ended.
        SinkEnded = "sink_ended",
        /// The checkpoint can't be saved.
        Checkpoint = "checkpoint",
        /// The quarantine file can't be written.
        Quarantine = "quarantine",
        /// A mistake in binpulse.
        #[default]
        Bug = "bug",
    }

    /// A hop on the way from the source to the consumers: the first broken one.
    enum Hop {
        /// The database itself, its reachability and its writability.
        Source = "source",
        /// The replication connection.
        Stream = "stream",
        /// From binpulse to SNS.
        Publish = "publish",
        /// From SNS to the consumers' queues.
        Delivery = "delivery",
        /// Some consumers.
        Consumers = "consumers",
        /// None, or it can't be said.
        #[default]
        None = "none",
    }

    /// Value of a condition, worst first.
    enum ConditionStatus {
        /// There is evidence against it.
        False = "false",
        /// There is no evidence.
        #[default]
        Unknown = "unknown",
        /// There is evidence for it.
        True = "true",
    }

    /// A station that the page draws: a hop, or the checkpoint beside them.
    enum StationKey {
        /// The database.
        #[default]
        Source = "source",
        /// The replication connection.
        Stream = "stream",
        /// From binpulse to SNS.
        Publish = "publish",
        /// From SNS to the consumers' queues.
        Delivery = "delivery",
        /// The consumers.
        Consumers = "consumers",
        /// The saved position.
        Checkpoint = "checkpoint",
    }

    /// How a station, or the whole, is shown.
    enum Indicator {
        /// All is well.
        Works = "works",
        /// Late, recovering, or with a warning.
        Late = "late",
        /// Here it is broken.
        Broken = "broken",
        /// It is not known.
        #[default]
        Unknown = "unknown",
        /// It comes after what is broken, and is not evaluated.
        Waits = "waits",
        /// No consumer echoes canaries.
        Unwatched = "unwatched",
    }

    /// What a notice is about.
    enum NoticeKind {
        /// Transactions did not come through the stream.
        #[default]
        Loss = "loss",
        /// Messages or events were put into quarantine.
        Quarantine = "quarantine",
        /// The source will soon purge needed binary logs.
        Purge = "purge",
        /// A finding that someone must act on.
        Finding = "finding",
        /// A path's canaries are not written.
        Path = "path",
        /// An echo queue can't be read.
        Echo = "echo",
        /// An operator holds tables back.
        Control = "control",
        /// Settings that were read again were refused.
        Settings = "settings",
    }

    /// How urgent a finding is.
    enum FindingLevel {
        /// Worth knowing.
        #[default]
        Note = "note",
        /// Someone must act.
        Warning = "warning",
        /// `run` does not start with it.
        Refusal = "refusal",
    }

    /// What the stream is doing.
    enum StreamState {
        /// Not yet streaming for the first time.
        #[default]
        Starting = "starting",
        /// Streaming.
        Running = "running",
        /// Between two connections.
        Reconnecting = "reconnecting",
        /// Delivering what is in flight.
        Stopping = "stopping",
        /// It can't continue: `halted` says why.
        Halted = "halted",
    }

    /// What became of a canary on its way to one consumer.
    enum CanaryState {
        /// It is not back yet.
        #[default]
        Awaited = "awaited",
        /// It came back in time.
        Resolved = "resolved",
        /// It did not come back in time.
        Lost = "lost",
        /// It came back after it had been counted as lost.
        Late = "late",
        /// Maintenance began while it was under way: nobody waits for it.
        NotEvaluated = "not_evaluated",
    }
}

impl Hop {
    /// The station that shows it.
    pub fn station(self) -> Option<StationKey> {
        match self {
            Self::Source => Some(StationKey::Source),
            Self::Stream => Some(StationKey::Stream),
            Self::Publish => Some(StationKey::Publish),
            Self::Delivery => Some(StationKey::Delivery),
            Self::Consumers => Some(StationKey::Consumers),
            Self::None => None,
        }
    }
}
