//! What goes by, added up in plain numbers and told to the metrics once a burst.

use crate::checkpoint::TransactionKind;
use crate::decode::kind;
use crate::telemetry::Metrics;

/// Counts since they were last told.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Events by type code.
    events: EventCounts,
    /// Transactions by class.
    classes: [u64; CLASSES.len()],
    /// Statements that changed rows of tables that are left out.
    passed_statements: u64,
    /// Updates that may have changed their order, since the start; and how many were told.
    unordered: u64,
    unordered_told: u64,
    /// Updates and deletes of rows of outbox tables.
    outbox_ignored: [u64; 2],
    /// Of these, updates since the start.
    outbox_updates: u64,
}

/// Events by their type code, 0 to 255.
#[derive(Debug)]
struct EventCounts([u64; 256]);

impl Default for EventCounts {
    fn default() -> Self {
        Self([0; 256])
    }
}

/// Names of classes in the metrics, in the order of [`class_index`].
const CLASSES: [&str; 6] = ["user", "filtered", "heartbeat", "canary", "checkpoint", "lease"];

fn class_index(class: TransactionKind) -> usize {
    match class {
        TransactionKind::User => 0,
        TransactionKind::Filtered => 1,
        TransactionKind::Heartbeat(_) => 2,
        TransactionKind::Canary => 3,
        TransactionKind::Checkpoint => 4,
        TransactionKind::Lease => 5,
    }
}

impl Counts {
    /// An event with this type code came.
    #[inline]
    pub(super) fn event(&mut self, event_type: u8) {
        self.events.0[usize::from(event_type)] += 1;
    }

    /// A transaction ended.
    #[inline]
    pub(super) fn transaction(&mut self, class: TransactionKind) {
        self.classes[class_index(class)] += 1;
    }

    /// A statement changed rows that are left out.
    pub(super) fn passed_statement(&mut self) {
        self.passed_statements += 1;
    }

    /// So many updates of the packer went to the lane of their old key only, since the start.
    pub(super) fn unordered(&mut self, since_start: u64) {
        self.unordered = since_start;
    }

    /// A row of an outbox table was deleted.
    pub(super) fn outbox_delete(&mut self) {
        self.outbox_ignored[1] += 1;
    }

    /// A row of an outbox table was updated; how many were so since the start.
    pub(super) fn outbox_update(&mut self) -> u64 {
        self.outbox_ignored[0] += 1;
        self.outbox_updates += 1;
        self.outbox_updates
    }

    /// Tells the metrics, and begins again.
    pub(super) fn tell(&mut self, metrics: &Metrics) {
        for (code, count) in (0..=u8::MAX).zip(&mut self.events.0) {
            if *count > 0 {
                metrics.events_total.of(kind::name(code)).inc_by(std::mem::take(count));
            }
        }
        metrics.passed_statements_total.inc_by(std::mem::take(&mut self.passed_statements));
        for (op, count) in ["update", "delete"].iter().zip(&mut self.outbox_ignored) {
            metrics.outbox_ignored_rows_total.of(op).inc_by(std::mem::take(count));
        }
        let told = std::mem::replace(&mut self.unordered_told, self.unordered);
        metrics.unordered_updates_total.inc_by(self.unordered.saturating_sub(told));
        for (name, count) in CLASSES.iter().zip(&mut self.classes) {
            if *count > 0 {
                metrics.transactions_total.of(name).inc_by(std::mem::take(count));
            }
        }
    }
}
