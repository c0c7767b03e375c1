//! How messages are packed.

use std::sync::Arc;
use std::time::Duration;

use crate::encode::{Format, RowOptions};

/// How messages are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How content is written.
    pub format: Format,
    /// How rows are written.
    pub rows: RowOptions,
    /// Lanes of each table, at least 1. Another number needs a new epoch.
    pub lanes: u32,
    /// Size of a message that counts as full, bytes of body: SNS bills each 64 KiB.
    pub body_bytes_target: usize,
    /// Size that a message may grow to while publishing is backed up, bytes of body: somewhat less
    /// than the topic's limit.
    pub body_bytes_max: usize,
    /// Size at which a message is full however well it compresses, bytes before compression.
    pub content_bytes_max: usize,
    /// Longest time that a row waits for company.
    pub linger_max: Duration,
    /// Bytes that all open batches together may hold.
    pub open_bytes_max: usize,
    /// Number of this process among those that publish parts of snapshots: rises with each. 0: it
    /// publishes none, and tells nothing of them.
    pub attempt: u32,
    /// Only these rows become messages, one range of each lane; all others are numbered and left out.
    /// Empty: no such limit.
    pub only: Vec<RowRange>,
}

/// Rows of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    /// The lane's key.
    pub lane: Arc<str>,
    /// Number of the first row.
    pub first: u64,
    /// Number of the last row.
    pub last: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Protobuf,
            rows: RowOptions::default(),
            lanes: 1,
            body_bytes_target: 64 << 10,
            body_bytes_max: 250_000,
            content_bytes_max: 4 << 20,
            linger_max: Duration::from_millis(200),
            open_bytes_max: 32 << 20,
            attempt: 0,
            only: Vec::new(),
        }
    }
}
