//! Making the metrics that are counted, and registering them.

use std::sync::atomic::AtomicU64;

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Registry};

use super::{
    CLASSES, LabelValues, LabeledMetric, Metrics, Moment, OPS, OUTCOMES, OVERSIZE, SCHEMA_LOOKUPS,
};

use crate::telemetry::TableRows;

pub(super) const FAST: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
pub(super) const SLOW: &[f64] =
    &[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0];

/// Makes and registers in one step, so that none is forgotten.
pub(super) struct Make<'a> {
    pub(super) registry: &'a Registry,
    pub(super) label_values: &'a LabelValues,
}

impl Make<'_> {
    #[expect(clippy::too_many_lines, reason = "one list of all that is counted")]
    pub(super) fn all(
        &self,
        user_row_last: Moment,
        checkpoint_saved: Moment,
    ) -> Result<Metrics, prometheus::Error> {
        let labels = self.label_values;
        let consumers: Vec<&str> = labels.consumers.iter().map(String::as_str).collect();
        let queues: Vec<&str> = labels.echo_queues.iter().map(String::as_str).collect();
        let of_consumers = |name, help| self.counters(name, help, "consumer", &consumers);
        let metrics = Metrics {
            registry: self.registry.clone(),
            heartbeat_writes_total: self.counters(
                "heartbeat_writes_total",
                "Attempts to write the heartbeat row, by how they ended.",
                "result",
                &labels.heartbeat_results,
            )?,
            heartbeat_roundtrip_seconds: self.histogram(
                "heartbeat_roundtrip_seconds",
                "From the start of a heartbeat's write to its row on the stream.",
                FAST,
            )?,
            source_clock_offset_seconds: self.gauge(
                "source_clock_offset_seconds",
                "The source's clock minus binpulse's; NaN before the first measurement.",
            )?,
            source_clock_offset_error_seconds: self.gauge(
                "source_clock_offset_error_seconds",
                "The offset lies within plus or minus this; NaN before the first measurement.",
            )?,
            canary_written_total: self.counters(
                "canary_written_total",
                "Canaries written into the source, by how that ended.",
                "result",
                &labels.heartbeat_results,
            )?,
            canary_mismatched_total: self.counter(
                "canary_mismatched_total",
                "Canary rows that arrived on the stream with values other than those written.",
            )?,
            canary_roundtrip_seconds: self.histograms(
                "canary_roundtrip_seconds",
                "From the start of a canary's write to its echo from the consumer.",
                "consumer",
                &consumers,
            )?,
            canary_sent_total: of_consumers(
                "canary_sent_total",
                "Canaries accepted by the topic, whose echo the consumer is expected to return.",
            )?,
            canary_resolved_total: of_consumers(
                "canary_resolved_total",
                "Canaries whose echo was complete in time.",
            )?,
            canary_lost_total: of_consumers(
                "canary_lost_total",
                "Canaries whose echo was not complete in time: lost.",
            )?,
            canary_late_total: of_consumers(
                "canary_late_total",
                "Lost canaries whose echo was complete later.",
            )?,
            canary_duplicate_total: of_consumers(
                "canary_duplicate_total",
                "Canary messages received more than once.",
            )?,
            canary_reordered_total: of_consumers(
                "canary_reordered_total",
                "Canary messages received after a later one.",
            )?,
            echo_messages_total: self.counters(
                "echo_messages_total",
                "Messages read from echo queues, by what they were.",
                "kind",
                &labels.echo_kinds,
            )?,
            echo_failures_total: self.counters(
                "echo_failures_total",
                "Times that an echo queue could not be read, or its messages could not be deleted.",
                "consumer",
                &queues,
            )?,
            transactions_total: self.counters(
                "transactions_total",
                "Transactions read, by origin.",
                "class",
                &CLASSES,
            )?,
            events_total: self.counters(
                "events_total",
                "Binlog events read, by type.",
                "type",
                &labels.event_types,
            )?,
            reconnects_total: self.counters(
                "reconnects_total",
                "Times that the replica connection broke, by reason.",
                "reason",
                &labels.reconnect_reasons,
            )?,
            connect_failures_total: self.counters(
                "connect_failures_total",
                "Failed attempts to open the replica connection, by reason.",
                "reason",
                &labels.reconnect_reasons,
            )?,
            task_restarts_total: self.counters(
                "task_restarts_total",
                "Times that a task other than the stream ended and was started again.",
                "task",
                &labels.tasks,
            )?,
            publish_attempts_total: self.counters(
                "publish_attempts_total",
                "Calls to the sink, by how they ended.",
                "result",
                &labels.publish_results,
            )?,
            changes_published_total: self.counters(
                "changes_published_total",
                "Rows accepted by the sink.",
                "op",
                &OPS,
            )?,
            messages_published_total: self
                .counter("messages_published_total", "Messages accepted by the sink.")?,
            published_bytes_total: self.counter(
                "published_bytes_total",
                "Bytes of the messages accepted by the sink, as the sink bills them.",
            )?,
            oversize_total: self.counters(
                "oversize_total",
                "Values or rows too large for a message, by what was done with them.",
                "action",
                &OVERSIZE,
            )?,
            filter_pattern_events_total: self.patterns(
                "filter_pattern_events_total",
                "Row events whose table, or a column of it, matches a filter's pattern.",
            )?,
            schema_lookups_total: self.counters(
                "schema_lookups_total",
                "Tables looked up in information_schema because the binlog does not name their \
                 columns, by how far the two agreed.",
                "result",
                &SCHEMA_LOOKUPS,
            )?,
            quarantined_messages_total: self.counter(
                "quarantined_messages_total",
                "Messages that the sink refused for good, put into the quarantine file.",
            )?,
            quarantined_events_total: self.counter(
                "quarantined_events_total",
                "Row events that could not be decoded, put into the quarantine file.",
            )?,
            passed_statements_total: self.counter(
                "passed_statements_total",
                "Statement-based changes of tables that the filters exclude, which were skipped.",
            )?,
            unordered_updates_total: self.counter(
                "unordered_updates_total",
                "Updates of a key without complete row images, in the lane of the old key only.",
            )?,
            lossy_cells_total: self.counter(
                "lossy_cells_total",
                "Values that the format of another program (message.format) could not hold as they are.",
            )?,
            outbox_ignored_rows_total: self.counters(
                "outbox_ignored_rows_total",
                "Updates and deletes of rows of outbox tables, which are no messages.",
                "op",
                &["update", "delete"],
            )?,
            checkpoint_saves_total: self.counters(
                "checkpoint_saves_total",
                "Saves of the checkpoint, by outcome.",
                "result",
                &OUTCOMES,
            )?,
            lanes: self.integer(
                "lanes",
                "Lanes that have carried a row since the start of the process.",
            )?,
            snapshot: self.snapshot()?,
            suppressed_rows_total: self.counter(
                "suppressed_rows_total",
                "Rows that were numbered and not sent, because an operator holds their table back.",
            )?,
            released_rows_total: self.counter(
                "released_rows_total",
                "Rows that were held back and that `binpulse release --send` has sent.",
            )?,
            replay_jobs_total: self.counters(
                "replay_jobs_total",
                "Replays of rows that were asked for by POST /replay, by how they ended.",
                "outcome",
                &labels.replay_outcomes,
            )?,
            user_row_last,
            table_rows: TableRows::default(),
            changes_read: AtomicU64::new(0),
            checkpoint_saved,
        };
        metrics.source_clock_offset_seconds.set(f64::NAN);
        metrics.source_clock_offset_error_seconds.set(f64::NAN);
        Ok(metrics)
    }

    fn add<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: M,
    ) -> Result<M, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(full(name), help)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::new(full(name), help)?)
    }

    fn integer(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(full(name), help)?)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(full(name), help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options)?)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[&str],
    ) -> Result<LabeledMetric<IntCounter>, prometheus::Error> {
        let options = prometheus::Opts::new(full(name), help);
        let vector = self.add(IntCounterVec::new(options, &[label])?)?;
        LabeledMetric::new(values, |value| vector.get_metric_with_label_values(&[value]))
    }

    /// One for each pattern of the filters; those that a reload brings follow when they match.
    fn patterns(&self, name: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
        let options = prometheus::Opts::new(full(name), help);
        let vector = self.add(IntCounterVec::new(options, &["setting", "pattern"])?)?;
        for (setting, pattern) in &self.label_values.filter_patterns {
            vector.get_metric_with_label_values(&[*setting, pattern.as_str()])?;
        }
        Ok(vector)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[&str],
    ) -> Result<LabeledMetric<Histogram>, prometheus::Error> {
        let options = HistogramOpts::new(full(name), help).buckets(SLOW.to_vec());
        let vector = self.add(prometheus::HistogramVec::new(options, &[label])?)?;
        LabeledMetric::new(values, |value| vector.get_metric_with_label_values(&[value]))
    }
}

fn full(name: &str) -> String {
    format!("binpulse_{name}")
}
