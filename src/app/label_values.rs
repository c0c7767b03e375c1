//! The values of the metrics' labels (see `telemetry/metrics/labels.rs`), from the enums of the parts and
//! from the settings.

use super::plan::Plan;
use super::supervise::Task;
use crate::decode::kind;
use crate::freshness::canary::echo::Echo;
use crate::freshness::{Ignored, SqlFailure};
use crate::sink::FailureClass;
use crate::source;
use crate::telemetry::metrics::LabelValues;
use crate::telemetry::snapshot::ChunkDiscard;

/// Why a connection ended that was well: another host is the primary.
pub(super) const MOVED: &str = "moved";
/// The same: of a stream that ended for no reason of the source's.
pub(super) const STREAM_ENDED: &str = "stream_ended";

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
            .chain(FailureClass::ALL.iter().map(|class| class.as_str()))
            .collect(),
        reconnect_reasons: [MOVED, STREAM_ENDED]
            .into_iter()
            .chain(source::Error::names())
            .collect(),
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
