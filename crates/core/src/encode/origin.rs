//! Where a stream comes from.

use std::sync::Arc;

use super::proto;

/// Where a stream comes from: the contract's `Source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the stream.
    pub stream: Arc<str>,
    /// `server_uuid` of the server that is read.
    pub server_uuid: String,
    /// `server_id` of the server that is read.
    pub server_id: u32,
    /// Epoch of the row numbers.
    pub epoch: u64,
    /// Version of binpulse.
    pub connector_version: &'static str,
    /// Whether rows are read from tables and not from the binlog.
    pub snapshot: bool,
    /// Set when rows are published again.
    pub replay: Option<Replay>,
}

/// Rows published again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// For whom: the value of the attribute `replay`.
    pub audience: Arc<str>,
    /// Differs from one replay to the next.
    pub run: u64,
}

impl Origin {
    /// The stream that a message names; the inverse of [`Self::source`], but for the version.
    pub fn of(source: &proto::Source, connector_version: &'static str) -> Self {
        Self {
            stream: source.stream.as_str().into(),
            server_uuid: source.server_uuid.clone(),
            server_id: source.server_id,
            epoch: source.epoch,
            connector_version,
            snapshot: source.snapshot,
            replay: None,
        }
    }

    /// The contract's form.
    pub fn source(&self) -> proto::Source {
        proto::Source {
            stream: self.stream.to_string(),
            server_uuid: self.server_uuid.clone(),
            server_id: self.server_id,
            epoch: self.epoch,
            connector_version: self.connector_version.to_owned(),
            snapshot: self.snapshot,
        }
    }
}
