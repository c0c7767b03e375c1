//! The list.

use super::{Expect, Fault};
use crate::load::Load;
use crate::pace::Budget::{self as B};
use crate::stage::Variant;

const QUIET: &[Load] = &[Load::Quiet];
const BUSY: &[Load] = &[Load::Busy];
const BOTH: &[Load] = &[Load::Quiet, Load::Busy];
const UNPUBLISHED: &[Load] = &[Load::Quiet, Load::Filtered];
const WRITTEN: &[Load] = &[Load::Busy, Load::Filtered];

const fn verdict(any: &'static [&'static str], budget: B) -> Expect {
    Expect::Verdict(any, budget, budget)
}

const fn sink(any: &'static [&'static str]) -> Expect {
    Expect::Verdict(any, B::SinkBusy, B::SinkQuiet)
}

/// Lists the kinds with their entries: name, expectation, and what else is to be known.
macro_rules! kinds {
    ($($kind:ident: $name:literal, $expect:expr $(, $more:ident $arguments:tt)*;)*) => {
        /// A fault, or something that is none and must not look like one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its entry.
            pub(crate) fn fault(self) -> Fault {
                match self {
                    $(Self::$kind => Fault::new(self, $name, $expect)$(.$more $arguments)*,)*
                }
            }
        }
    };
}

kinds! {
    SourceKilled: "mysqld: kill -9", verdict(&["source_unreachable"], B::Refused);
    SourceShutDown: "mysqld: shut down", verdict(&["source_unreachable"], B::ShutDown), loads(BOTH);
    SourceFrozen: "mysqld: SIGSTOP", verdict(&["source_hung"], B::Hung);
    BlackHole: "network: black hole both ways", verdict(&["source_hung"], B::Hung);
    BlackHoleToClient: "network: black hole from the source", verdict(&["source_hung"], B::Hung), loads(BOTH);
    ConnectionsRefused: "network: connections refused", verdict(&["source_unreachable"], B::Refused), loads(BOTH);
    NamesFail: "network: the name no longer resolves", verdict(&["source_unreachable(dns)"], B::Admission), on(Variant::Shimmed), loads(BOTH);
    TlsFails: "network: TLS switched off at the source", verdict(&["source_unreachable(tls)"], B::Admission), on(Variant::Tls), loads(BOTH);
    HalfOpen: "stream: half-open connection", verdict(&["stream_silent"], B::Silent), heals();
    DumpHeld: "stream: black hole for it alone", verdict(&["stream_silent", "stream_down"], B::Silent), loads(BOTH);
    DumpKilledOften: "stream: dump thread killed again and again", verdict(&["stream_down"], B::StreamDown), loads(BOTH);
    SecondReplica: "stream: a second streamer with our identity", verdict(&["stream_down(halted)"], B::StreamDown), loads(BOTH), spends();
    ReplicationRevoked: "stream: REVOKE REPLICATION SLAVE, then a break", verdict(&["stream_down(denied)"], B::StreamDown), loads(BOTH);
    StreamSlow: "stream: slower than the writes", verdict(&["lagging"], B::Lag), loads(BUSY);
    TransactionLost: "stream: one transaction taken out", Expect::Unaccounted(B::Ledger), loads(BOTH), spends();
    HeartbeatsHidden: "stream: binlog-ignore-db hides our schema", verdict(&["heartbeat_lost"], B::HeartbeatLost), loads(BOTH), also(&["source_unreachable", "stream_down(reset)", "stream_down(refused)"]), spends();
    ReadOnly: "source: read_only", verdict(&["source_read_only"], B::ReadOnly);
    SuperReadOnly: "source: super_read_only", verdict(&["source_read_only"], B::ReadOnly), loads(QUIET);
    GlobalReadLock: "writes: global read lock", verdict(&["writes_blocked(ftwrl)"], B::Blocked);
    TablesLocked: "writes: LOCK TABLES", verdict(&["writes_blocked(mdl)"], B::Blocked), loads(BOTH);
    DdlQueued: "writes: DDL waits for a metadata lock", verdict(&["writes_blocked(mdl)"], B::Blocked), loads(QUIET);
    RowLocked: "writes: row lock", verdict(&["writes_blocked(row_lock)"], B::Blocked), loads(BOTH);
    DiskFull: "writes: binary log volume full", verdict(&["writes_blocked(disk_full)"], B::Blocked), on(Variant::Shimmed);
    SemisyncAfterSync: "writes: semi-sync, no replica, AFTER_SYNC", verdict(&["writes_blocked(semisync)"], B::Blocked), loads(BOTH);
    SemisyncAfterCommit: "writes: semi-sync, no replica, AFTER_COMMIT", verdict(&["writes_blocked(semisync)"], B::Blocked), loads(QUIET);
    AccountLocked: "account: locked, and connections broken", verdict(&["source_unreachable(auth)"], B::Admission), loads(BOTH);
    PasswordChanged: "account: password changed, and connections broken", verdict(&["source_unreachable(auth)"], B::Admission), loads(QUIET);
    OfflineMode: "account: offline_mode", verdict(&["source_unreachable(offline)"], B::Admission), loads(BOTH);
    Purged: "position: purged while we were away", verdict(&["position_lost(purged)"], B::Purged), loads(BOTH), also(&["source_unreachable", "stream_down(reset)", "stream_down(refused)"]), spends();
    Reset: "position: RESET BINARY LOGS AND GTIDS", verdict(&["position_lost(diverged)"], B::Diverged), loads(BOTH), spends();
    BackupRestored: "position: older backup restored", verdict(&["position_lost(diverged)"], B::Diverged), loads(BOTH), also(&["source_unreachable", "stream_down(reset)", "stream_down(refused)"]), spends();
    RestoredWhileAway: "position: older backup restored while we were away", verdict(&["position_lost(diverged)"], B::Diverged), loads(QUIET), also(&["source_unreachable", "stream_down(reset)", "stream_down(refused)"]), spends();
    GtidsOffWhileAway: "position: GTIDs off and on again while we were away", verdict(&["stream_down(halted)"], B::StreamDown), loads(QUIET), also(&["source_unreachable", "stream_down(reset)", "stream_down(refused)"]), spends();
    GtidsOff: "position: GTIDs off and on again while we stream", verdict(&["stream_down(halted)"], B::StreamDown), loads(BOTH), also(&["stream_down(anonymous_transaction)"]), spends();
    CheckpointGone: "position: started without its checkpoint", Expect::Page("BinpulseStreamerDown"), loads(QUIET), spends();
    StatementInside: "statement: STATEMENT format, on a published table", verdict(&["stream_down(halted)"], B::StreamDown), loads(BOTH), spends();
    MaskWithoutNames: "masks: binlog_row_metadata = MINIMAL, on a masked table", verdict(&["stream_down(halted)"], B::StreamDown), loads(BOTH), spends();
    SourceDownAtStart: "mysqld: down when we start", verdict(&["source_unreachable"], B::Refused), loads(QUIET);
    UpstreamStopped: "source: a replica whose own replication stops", verdict(&["upstream_replication_broken"], B::Upstream), on(Variant::Chain), loads(BOTH);
    AddressMoved: "failover: we stay on the demoted primary", verdict(&["wrong_source"], B::WrongSource), on(Variant::Pair), loads(BOTH), also(&["source_read_only"]), spends();
    FailoverBehind: "failover: to a server without our last rows", verdict(&["position_lost(diverged)"], B::Diverged), on(Variant::Pair), loads(BOTH), also(&["source_unreachable", "stream_down(reset)", "stream_down(refused)"]), spends();
    SnsErrors: "SNS: 500", sink(&["sink_stalled(server_error)"]);
    SnsHangs: "SNS: never answers", sink(&["sink_stalled(timeout)"]), loads(BOTH);
    SnsAcceptsThenHangs: "SNS: accepts, never answers", sink(&["sink_stalled(timeout)"]), loads(BOTH);
    SnsResets: "SNS: closes connections", sink(&["sink_stalled(timeout)"]), loads(BOTH);
    SnsThrottles: "SNS: throttles everything", sink(&["sink_stalled(throttled)"]), loads(BOTH);
    SnsDenies: "SNS: 403", sink(&["sink_stalled(denied)"]), loads(BOTH);
    SnsExpired: "SNS: credentials expired", sink(&["sink_stalled(denied)"]), loads(QUIET);
    SnsTooLarge: "SNS: HTTP 413 from something in between", sink(&["sink_stalled"]), loads(BOTH);
    SnsHangsRestart: "SNS: never answers, and the streamer is restarted", sink(&["sink_stalled(timeout)"]), loads(QUIET);
    TopicDeleted: "SNS: topic deleted", sink(&["sink_stalled(not_found)"]), loads(BOTH);
    SnsSwallows: "SNS: accepts and drops", verdict(&["canary_lost(billing,search)"], B::Canary);
    CanariesFiltered: "SNS: filter policies exclude canaries", verdict(&["canary_lost(billing,search)"], B::Canary), loads(BOTH);
    ConsumerStops: "SNS: one of two consumers unsubscribed", verdict(&["canary_lost(search)"], B::Canary), loads(BOTH);
    EchoDenied: "SQS: echo queues deny", verdict(&["indeterminate(echo_unreadable)"], B::Echo), loads(BOTH);
    EchoHangs: "SQS: echo queues never answer", verdict(&["indeterminate(echo_unreadable)"], B::Echo), loads(QUIET);
    EchoGone: "SQS: an echo queue is gone", verdict(&["indeterminate(echo_unreadable)"], B::Echo), loads(QUIET);
    SourceAndSinkDead: "both: mysqld killed and SNS 500", verdict(&["source_unreachable"], B::Refused), loads(BOTH);
    CheckpointFull: "checkpoint: no space for it", verdict(&["checkpoint_stuck"], B::Checkpoint), on(Variant::Shimmed), loads(BOTH);
    StreamerKilled: "streamer: killed", Expect::Page("BinpulseStreamerDown"), loads(QUIET);
    VerdictAsleep: "streamer: the verdict's thread stands still", Expect::Page("BinpulseVerdictFrozen"), on(Variant::Shimmed), loads(QUIET);
    DumpKilledOnce: "calm: KILL of the dump thread, once", Expect::Calm;
    ConnectionsReset: "calm: all connections reset, once", Expect::Calm;
    WritersKilled: "calm: KILL of our SQL connections, once", Expect::Calm, loads(BOTH);
    SourceFrozenBriefly: "calm: mysqld stopped for 3 s", Expect::Calm, loads(BOTH);
    SourceRestarted: "calm: mysqld restarted", Expect::NoPage, loads(BOTH);
    StreamerRestarted: "calm: streamer restarted", Expect::NoPage, loads(BOTH), lasts(45);
    StreamerFrozen: "calm: streamer stopped for 40 s", Expect::Calm, loads(BOTH);
    WritesFreed: "calm: writes blocked for 20 s, then free", Expect::NoPage, loads(BOTH), lasts(60);
    StatementOutside: "calm: STATEMENT format, on a filtered table", Expect::Calm, loads(BOTH);
    PathFails: "calm: a canary path that cannot be written", Expect::ControlMessage("path", B::Path), on(Variant::Paths), loads(QUIET), lasts(30);
    NamesMissing: "calm: binlog_row_metadata = MINIMAL, nothing masked", Expect::ControlMessage("finding", B::Ledger), loads(QUIET), spends();
    FailoverPlanned: "calm: failover to a server that has all", Expect::NoPage, on(Variant::Pair), loads(BOTH), spends();
    ConnectionsExhausted: "calm: max_connections reached", Expect::Warning("sql_admits", B::Admission), loads(BOTH);
    SourceClockAhead: "calm: source's clock 1 h ahead", Expect::Warning("clock_agrees", B::Ledger), on(Variant::Shimmed), loads(BOTH), spends();
    SourceClockBehind: "calm: source's clock 1 h behind", Expect::Warning("clock_agrees", B::Ledger), on(Variant::Shimmed), loads(BOTH), spends();
    OwnClockAhead: "calm: our clock stepped 5 min ahead", Expect::Calm, on(Variant::Shimmed), loads(BOTH);
    OwnClockBehind: "calm: our clock stepped 5 min back", Expect::Calm, on(Variant::Shimmed), loads(BOTH);
    NothingWritten: "calm: nobody writes for minutes", Expect::Calm, loads(QUIET), lasts(150);
    FilteredFlood: "calm: filtered tables written as fast as can be", Expect::Calm, loads(UNPUBLISHED), lasts(30);
    TransactionOpen: "calm: a transaction left open", Expect::Calm, loads(BOTH), lasts(60);
    XaPrepared: "calm: an XA transaction left prepared", Expect::Calm, loads(QUIET), lasts(30);
    HugeTransaction: "calm: one large transaction", Expect::Calm, loads(WRITTEN), lasts(30);
    OnlineAlter: "calm: ALTER of a large table", Expect::Calm, loads(BOTH);
    LogsFlushed: "calm: FLUSH BINARY LOGS each second", Expect::Calm, loads(BOTH);
    LogsPurged: "calm: FLUSH and PURGE to the newest log each second", Expect::Calm, loads(BOTH);
    Dumped: "calm: consistent dump", Expect::Calm, loads(BOTH);
    BackupLock: "calm: LOCK INSTANCE FOR BACKUP", Expect::Calm, loads(BOTH);
    SlowSyncs: "calm: syncs of 1.5 s", Expect::Calm, on(Variant::Shimmed), loads(BOTH), lasts(30);
    GroupCommitDelayed: "calm: group commit delayed by 0.5 s", Expect::Calm, loads(BOTH);
    SnsHiccups: "calm: each fourth call to SNS fails with 503", Expect::Calm, loads(BOTH), lasts(30);
    SnsSlow: "calm: SNS answers after 0.7 s", Expect::Calm, loads(BOTH);
    Latency: "calm: 100 ms of latency each way", Expect::Calm, loads(BOTH);
    ContradictingPeriods: "calm: P over H/2 is refused at start", Expect::Calm, loads(QUIET);
}
