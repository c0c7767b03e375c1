//! What is counted of snapshots.

use prometheus::{Histogram, IntCounter};

use super::LabeledMetric;
use super::make::{FAST, Make};

/// What is counted of snapshots.
pub struct SnapshotMetrics {
    /// Rows accepted by the sink.
    pub rows_total: IntCounter,
    /// Rows left out because the stream brought something newer.
    pub superseded_rows_total: IntCounter,
    /// Chunks accepted by the sink.
    pub chunks_total: IntCounter,
    /// Chunks that were read and are read again, by the reason.
    pub discarded_chunks_total: LabeledMetric<IntCounter>,
    /// Tables of which all digests were accepted by the sink.
    pub verified_tables_total: IntCounter,
    /// How long the transaction of a chunk was open.
    pub chunk_seconds: Histogram,
    /// How long the server took to show what the stream had processed.
    pub barrier_wait_seconds: Histogram,
}

impl Make<'_> {
    pub(super) fn snapshot(&self) -> Result<SnapshotMetrics, prometheus::Error> {
        Ok(SnapshotMetrics {
            rows_total: self
                .counter("snapshot_rows_total", "Rows of snapshots accepted by the sink.")?,
            superseded_rows_total: self.counter(
                "snapshot_superseded_rows_total",
                "Rows of snapshots that were left out because the stream brought something newer.",
            )?,
            chunks_total: self.counter(
                "snapshot_chunks_total",
                "Chunks of snapshots of which all rows were accepted by the sink.",
            )?,
            discarded_chunks_total: self.counters(
                "snapshot_discarded_chunks_total",
                "Chunks of snapshots that were discarded, to be read again, by the reason.",
                "reason",
                &self.label_values.snapshot_discards,
            )?,
            verified_tables_total: self.counter(
                "verify_tables_total",
                "Tables of which `binpulse verify` has published all digests. Whether a copy equals \
                 them is for its consumer to say.",
            )?,
            chunk_seconds: self.histogram(
                "snapshot_chunk_seconds",
                "For how long the transaction that read a chunk was open.",
                FAST,
            )?,
            barrier_wait_seconds: self.histogram(
                "snapshot_barrier_wait_seconds",
                "How long it took, before a chunk, until the server showed what the stream had \
                 processed.",
                FAST,
            )?,
        })
    }
}
