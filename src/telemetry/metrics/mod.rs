//! Every metric, in one place, in one registry that is handed down.
//!
//! Names, types and label values are an interface: alerts, dashboards and people's notes call them.
//! Every series exists from the first scrape, since `increase()` cannot see the step from absent to
//! one. Timestamps are computed at the scrape: wall clock minus monotonic age.
//!
//! Counting is one atomic addition. On the hot path the caller adds up in its own variables and
//! counts once a batch.

mod labeled_metric;
mod labels;
mod make;
mod probe;
mod process;
mod scrape_sources;
mod scraped;
mod snapshot;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use crate::telemetry::TableRows;
pub use labeled_metric::{LabeledMetric, OTHER};
pub use labels::{CLASSES, LabelValues, OPS, OUTCOMES, OVERSIZE, SCHEMA_LOOKUPS};
use make::Make;
pub use probe::{ProbeMetrics, process_page};
pub use prometheus::Error;
pub use scrape_sources::{Kind, ScrapeSources, ScrapedFamily, SourceLabels};
pub use scraped::{Durations, Moment, Read, Sample, timestamp};
pub use snapshot::SnapshotMetrics;

/// All metrics. The fields' documentation is their help text's longer form.
pub struct Metrics {
    registry: Registry,
    /// Attempts to write the heartbeat row, by how they ended.
    pub heartbeat_writes_total: LabeledMetric<IntCounter>,
    /// From the begin of a heartbeat's write to its row on the stream.
    pub heartbeat_roundtrip_seconds: Histogram,
    /// Server's clock minus ours.
    pub source_clock_offset_seconds: Gauge,
    /// Half-width of the interval that the offset lies in.
    pub source_clock_offset_error_seconds: Gauge,
    /// Canaries written.
    pub canary_written_total: LabeledMetric<IntCounter>,
    /// Canaries whose cells came back on the stream other than written.
    pub canary_mismatched_total: IntCounter,
    /// From the begin of a canary's write to its echo.
    pub canary_roundtrip_seconds: LabeledMetric<Histogram>,
    /// Canaries accepted by the topic, for each consumer that owes an echo.
    pub canary_sent_total: LabeledMetric<IntCounter>,
    /// Canaries whose echo was complete in time.
    pub canary_resolved_total: LabeledMetric<IntCounter>,
    /// Canaries whose echo was not complete in time.
    pub canary_lost_total: LabeledMetric<IntCounter>,
    /// Lost canaries whose echo was completed later.
    pub canary_late_total: LabeledMetric<IntCounter>,
    /// Canary messages received more than once.
    pub canary_duplicate_total: LabeledMetric<IntCounter>,
    /// Canary messages received after a later one.
    pub canary_reordered_total: LabeledMetric<IntCounter>,
    /// Messages read from echo queues, by what they were.
    pub echo_messages_total: LabeledMetric<IntCounter>,
    /// Failed reads of echo queues.
    pub echo_failures_total: LabeledMetric<IntCounter>,
    /// Transactions read, by origin.
    pub transactions_total: LabeledMetric<IntCounter>,
    /// Binlog events read, by type.
    pub events_total: LabeledMetric<IntCounter>,
    /// Times that the replica connection broke, by reason.
    pub reconnects_total: LabeledMetric<IntCounter>,
    /// Times that a task beside the stream ended and was started again.
    pub task_restarts_total: LabeledMetric<IntCounter>,
    /// Attempts to establish it that failed, by reason.
    pub connect_failures_total: LabeledMetric<IntCounter>,
    /// Calls to the sink, by how they ended.
    pub publish_attempts_total: LabeledMetric<IntCounter>,
    /// Rows accepted by the sink.
    pub changes_published_total: LabeledMetric<IntCounter>,
    /// Messages accepted by the sink.
    pub messages_published_total: IntCounter,
    /// Bytes of those messages as the sink bills them.
    pub published_bytes_total: IntCounter,
    /// Values or rows too large for a message.
    pub oversize_total: LabeledMetric<IntCounter>,
    /// Events of rows by the patterns of the filters that match them.
    pub filter_pattern_events_total: IntCounterVec,
    /// Tables that were looked up in `information_schema`.
    pub schema_lookups_total: LabeledMetric<IntCounter>,
    /// Messages that the sink refused for good, quarantined.
    pub quarantined_messages_total: IntCounter,
    /// Row events that could not be decoded, quarantined.
    pub quarantined_events_total: IntCounter,
    /// Statement-based changes of tables that the filters exclude.
    pub passed_statements_total: IntCounter,
    /// Updates that changed their key without complete images, published in the old key's lane.
    pub unordered_updates_total: IntCounter,
    /// Cells that the format of single rows could not hold as they are.
    pub lossy_cells_total: IntCounter,
    /// Updates and deletes of rows of outbox tables, which are no messages.
    pub outbox_ignored_rows_total: LabeledMetric<IntCounter>,
    /// Saves of the checkpoint, by outcome.
    pub checkpoint_saves_total: LabeledMetric<IntCounter>,
    /// Lanes that have carried a row.
    pub lanes: IntGauge,
    /// What is counted of snapshots.
    pub snapshot: SnapshotMetrics,
    /// Rows of tables that an operator holds back.
    pub suppressed_rows_total: IntCounter,
    /// Rows that were held back and then sent.
    pub released_rows_total: IntCounter,
    /// Replays that were asked for by HTTP, by how they ended.
    pub replay_jobs_total: LabeledMetric<IntCounter>,
    /// When a user's row was last published.
    pub user_row_last: Moment,
    /// Rows published, by table; in no metric, since tables may be many.
    pub table_rows: TableRows,
    /// Rows read from the log that are to be published; in no metric, since the rate is told against the
    /// source's own clock.
    pub changes_read: AtomicU64,
    /// When the checkpoint was last saved.
    pub checkpoint_saved: Moment,
}

impl Metrics {
    /// Registers everything.
    pub fn new(
        label_values: &LabelValues,
        scrape_sources: ScrapeSources,
    ) -> Result<Self, prometheus::Error> {
        let started = Instant::now();
        let stream = Some(&label_values.stream).filter(|name| !name.is_empty());
        let stream = stream.map(|name| HashMap::from([("stream".to_owned(), name.clone())]));
        let registry = Registry::new_custom(None, stream)?;
        let make = Make { registry: &registry, label_values };
        let user_row_last = Moment::new(started);
        let checkpoint_saved = Moment::new(started);
        let metrics = make.all(user_row_last.clone(), checkpoint_saved.clone())?;
        scrape_sources::register(
            &registry,
            scrape_sources,
            started,
            user_row_last,
            checkpoint_saved,
        )?;
        registry.register(Box::new(process::Process::new()?))?;
        Ok(metrics)
    }

    /// The page for a scraper, in the text format 0.0.4.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Notes how far the server's clock is from ours, and how sure that is.
    pub fn observe_clock_offset(&self, offset_seconds: f64, error: Duration) {
        self.source_clock_offset_seconds.set(offset_seconds);
        self.source_clock_offset_error_seconds.set(error.as_secs_f64());
    }
}
