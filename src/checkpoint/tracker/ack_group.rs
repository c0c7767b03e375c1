//! A run of whole transactions.

use std::sync::Arc;

use crate::change::{Gtid, GtidSet};
use crate::checkpoint::Place;

#[derive(Debug, Default)]
pub(super) struct AckGroup {
    /// Messages begun in this ack group and not yet delivered.
    pub(super) outstanding: u64,
    is_closed: bool,
    /// Whether anything at all happened in it.
    pub(super) is_changed: bool,
    pub(super) is_worth_saving: bool,
    pub(super) gtids: Gtids,
    /// Next row number of the lanes that moved, as of its end.
    pub(super) lanes: Vec<(u32, u64)>,
    pub(super) settled: Place,
    pub(super) resume: Place,
    pub(super) heartbeat: Option<u64>,
    /// Transactions other than saves of a checkpoint.
    pub(super) transactions: u64,
    pub(super) transactions_all: u64,
    pub(super) server_uuid: Option<String>,
    /// Texts of a snapshot, by name; see [`Checkpoint::annotations`](crate::checkpoint::Checkpoint).
    pub(super) annotations: Vec<(Arc<str>, Arc<str>)>,
}

impl AckGroup {
    pub(super) fn close(&mut self, settled: Place, resume: Place, lanes: Vec<(u32, u64)>) {
        self.is_closed = true;
        self.settled = settled;
        self.resume = resume;
        self.lanes = lanes;
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.is_closed && self.outstanding == 0
    }
}

/// A set of GTIDs that mostly come in sequence: the run at hand stays out of the set's tree, so
/// that a transaction costs a comparison.
#[derive(Debug, Default)]
pub(super) struct Gtids {
    set: GtidSet,
    /// First GTID of the run, and the number after its last.
    run: Option<(Gtid, u64)>,
}

impl Gtids {
    pub(super) fn insert(&mut self, gtid: Gtid) {
        if let Some((first, end)) = &mut self.run {
            if *end == gtid.sequence && first.source == gtid.source && first.tag == gtid.tag {
                *end = end.saturating_add(1);
                return;
            }
            self.set.insert_range(first.source, first.tag, first.sequence..*end);
        }
        self.run = Some((gtid, gtid.sequence.saturating_add(1)));
    }

    pub(super) fn add_to(&self, other: &mut GtidSet) {
        other.union(&self.set);
        if let Some((first, end)) = self.run {
            other.insert_range(first.source, first.tag, first.sequence..end);
        }
    }
}
