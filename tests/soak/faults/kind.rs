//! The kinds of faults.

use super::Place;
use crate::plan::{Plan, Source};

/// Lists the kinds with their places and names.
macro_rules! kinds {
    ($($kind:ident $place:ident $name:literal;)*) => {
        /// A fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];

            pub(crate) fn place(self) -> Place {
                match self { $(Self::$kind => Place::$place),* }
            }

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// Whether it can come in this run.
            pub(crate) fn is_for(self, plan: &Plan) -> bool {
                match self {
                    Self::FailedOver => plan.has_standby && plan.source != Source::Position,
                    _ => true,
                }
            }
        }
    };
}

kinds! {
    StreamerKilled Streamer "streamer: SIGKILL";
    StreamerKilledOften Streamer "streamer: SIGKILL ten times over";
    StreamerFrozen Streamer "streamer: SIGSTOP, SIGCONT";
    StreamerStopped Streamer "streamer: SIGTERM, restart";
    StreamerTwice Streamer "streamer: a second one, same file";
    StreamerTwiceApart Alone "streamer: a second one, copied file";
    CheckpointFull Streamer "checkpoint: disk full";
    CheckpointReadOnly Streamer "checkpoint: read-only";
    CheckpointOld Streamer "checkpoint: old copy restored";
    CheckpointTorn Streamer "checkpoint: torn write";
    CheckpointGone Alone "checkpoint: gone";
    SourceKilled Source "source: SIGKILL";
    SourceRestarted Source "source: shut down, restart";
    SourceFrozen Source "source: SIGSTOP, SIGCONT";
    DumpThreadKilled Source "source: dump thread killed";
    PurgedBehind Alone "source: binlogs purged behind us";
    PurgedOften Alone "source: binlogs rotated and purged, again and again";
    FailedOver Alone "source: failover to a second server";
    BinlogsRotated Source "source: binlogs rotated each 100 ms";
    DumpReset Network "network: stream reset";
    AllReset Network "network: all connections reset";
    HalfOpen Network "network: half-open";
    Refused Network "network: connections refused";
    BlackHoleToClient Network "network: black hole to us";
    BlackHoleToServer Network "network: black hole to source";
    BlackHole Network "network: black hole both ways";
    Latency Network "network: 250 ms each way";
    Trickle Network "network: one byte at a time";
    Corruption Network "network: corrupted byte";
    Cut Network "network: cut within an event";
    TopicErrors Topic "SNS: 500";
    TopicThrottles Topic "SNS: 429";
    TopicKmsThrottles Topic "SNS: KMSThrottling";
    TopicExpired Topic "SNS: expired credentials";
    TopicAcceptsThenHangs Topic "SNS: accepts, never answers";
    TopicAcceptsThenResets Topic "SNS: accepts, then resets";
    TopicAcceptsThenGibberish Topic "SNS: accepts, answers gibberish";
    TopicHangs Topic "SNS: never answers";
    TopicResets Topic "SNS: resets";
    TopicSlow Topic "SNS: 700 ms answers";
    TopicVerySlow Topic "SNS: 30 s answers";
    TopicFailsEntries Topic "SNS: part of a batch fails";
    TopicLosesEntries Topic "SNS: answer leaves entries out";
}
