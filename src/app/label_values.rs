//! The values of the metrics' labels, from the enums and the plan.

use super::plan::Plan;
use super::stream::MOVED;
use super::supervise::Task;
use crate::decode::kind;
use crate::freshness::echo::Echo;
use crate::freshness::{Ignored, SqlFailure};
use crate::sink::Class;
use crate::telemetry::metrics::LabelValues;
use crate::telemetry::snapshot::ChunkDiscard;

/// Why a stream may end and be dialled again, as [`crate::source::Error::name`] has it.
const RECONNECT_REASONS: [&str; 26] = [
    MOVED,
    "stream_ended",
    "resolve",
    "connect",
    "timed_out",
    "silent",
    "closed",
    "broken",
    "tls_handshake",
    "protocol",
    "damaged_event",
    "shutting_down",
    "too_many_connections",
    "offline",
    "no_host",
    "access_denied",
    "privilege_missing",
    "account_locked",
    "password_expired",
    "tls_demanded",
    "login_method",
    "host_not_allowed",
    "host_blocked",
    "killed",
    "dump_failed",
    "refused",
];

/// Label values, all known before the first scrape.
pub(super) fn label_values(plan: &Plan) -> LabelValues {
    let results =
        || std::iter::once("ok").chain(SqlFailure::ALL.iter().map(|failure| failure.as_str()));
    LabelValues {
        stream: plan.stream.clone(),
        consumers: plan.freshness.accounts().iter().map(ToString::to_string).collect(),
        echo_queues: plan.freshness.consumers().iter().map(ToString::to_string).collect(),
        heartbeat_results: results().collect(),
        echo_kinds: (Echo::LABELS.into_iter()).chain(Ignored::ALL.map(Ignored::as_str)).collect(),
        publish_results: std::iter::once("ok")
            .chain(Class::ALL.iter().map(|class| class.as_str()))
            .collect(),
        reconnect_reasons: RECONNECT_REASONS.to_vec(),
        filter_patterns: {
            let patterns = plan.filter.patterns();
            patterns.map(|(key, pattern)| (key, pattern.as_str().to_owned())).collect()
        },
        snapshot_discards: ChunkDiscard::ALL.map(ChunkDiscard::as_str).to_vec(),
        replay_outcomes: super::replay::metric_outcomes(),
        tasks: Task::ALL.iter().map(|task| task.as_str()).collect(),
        event_types: (0..=u8::MAX).map(kind::name).filter(|name| *name != "unknown").collect(),
    }
}
