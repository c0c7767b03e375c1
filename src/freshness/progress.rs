//! What the loop tells of what proves life, and of how far it has got.

use std::sync::Arc;
use std::time::Instant;

use super::verdict::certificate::Span;
use super::{CanaryStep, Seen};
use crate::change::Position;

/// Who is told what proves life. Called from the loop: it must return at once.
pub trait ProgressObserver: Send + Sync {
    /// A heartbeat or canary row went by.
    fn seen(&self, seen: &Seen, at: Instant);
    /// Everything up to this heartbeat is delivered.
    fn published(&self, heartbeat: u64);
    /// Everything up to this heartbeat is delivered and saved.
    fn checkpointed(&self, heartbeat: u64);
    /// The checkpoint could not be saved; it is tried again.
    fn checkpoint_failed(&self, why: &str);
    /// A heartbeat went by; with it what stood between it and the one before.
    fn heartbeat_arrived(&self, span: Span, at: Instant);
    /// How far the loop has got, told regularly.
    fn progress(&self, progress: Progress);
    /// The topic took a step of a canary.
    fn canary_accepted(&self, step: &CanaryStep, at: Instant);
}

/// How far the loop has got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// End of the last transaction that went by.
    pub read: Position,
    /// Everything before it is delivered.
    pub delivered: Position,
    /// Where a restart would continue; without a file while that is known of another server only, or not
    /// at all.
    pub needed: Position,
    /// GTIDs that are delivered, as text; empty without GTIDs.
    pub gtid_set: String,
    /// Commit time of the newest transaction that went by, microseconds since 1970 UTC; 0: none.
    pub newest_commit_us: i64,
    /// Whether the server said that it has nothing more, and everything is delivered.
    pub is_idle: bool,
    /// When the server last said that it has nothing more.
    pub idle_at: Option<Instant>,
    /// Bytes read of the transaction that is going by; 0 between two.
    pub transaction_bytes: u64,
    /// Lanes that have carried a row.
    pub lanes: usize,
    /// A table whose rows were published, of late, without the names of their columns.
    pub unnamed: Option<Arc<str>>,
}
