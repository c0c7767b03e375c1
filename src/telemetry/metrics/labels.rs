//! The labels of the metrics that are counted here.
//!
//! The name of a label stands beside its metric, in `make.rs`; its values are listed when the metrics are
//! made, so that each series is there, as 0, from the first scrape on. Values that only this part knows are
//! the constants below; the others come from the enums of the parts and from the settings:
//! [`LabelValues`], which `app/label_values.rs` fills. A value that is not listed is counted as
//! [`OTHER`](super::OTHER). The label `stream` is on every series.

/// Label values, all known before the first scrape.
#[derive(Debug, Clone, Default)]
pub struct LabelValues {
    /// Name of the stream, which is a label of every series.
    pub stream: String,
    /// Consumers whose echo is read, by name.
    pub consumers: Vec<String>,
    /// Those that have a queue: the same without the accounts of paths.
    pub echo_queues: Vec<String>,
    /// How a heartbeat write can end.
    pub heartbeat_results: Vec<&'static str>,
    /// What a message of an echo queue can be.
    pub echo_kinds: Vec<&'static str>,
    /// How an attempt to publish can end.
    pub publish_results: Vec<&'static str>,
    /// Why the replica connection was opened again.
    pub reconnect_reasons: Vec<&'static str>,
    /// Names of binlog event types.
    pub event_types: Vec<&'static str>,
    /// Patterns of the filters: the setting, and the pattern.
    pub filter_patterns: Vec<(&'static str, String)>,
    /// Why a chunk of a snapshot is read again.
    pub snapshot_discards: Vec<&'static str>,
    /// How a replay that was asked for by HTTP can end.
    pub replay_outcomes: Vec<&'static str>,
    /// Names of the tasks beside the stream.
    pub tasks: Vec<&'static str>,
}

/// Whose a transaction was.
pub const CLASSES: [&str; 6] = ["user", "filtered", "heartbeat", "canary", "checkpoint", "lease"];

/// What a change did.
pub const OPS: [&str; 3] = ["insert", "update", "delete"];

/// Outcomes of what either works or does not.
pub const OUTCOMES: [&str; 2] = ["ok", "error"];

/// What became of a value or row too large for a message.
pub const OVERSIZE: [&str; 3] = ["omitted", "claim_checked", "halted"];

/// How far `information_schema` agreed with the binlog about a table that the binlog does not name
/// the columns of.
pub const SCHEMA_LOOKUPS: [&str; 4] = ["agrees", "changed_since", "lossy", "disagrees"];
