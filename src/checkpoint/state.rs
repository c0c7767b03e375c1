//! A checkpoint, and what changed of it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::change::{GtidSet, MariaGtidSet, Position};

/// A place in the stream, in the two ways that have an order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// File and offset.
    pub position: Position,
    /// MariaDB's GTID position; empty elsewhere.
    pub maria: MariaGtidSet,
}

/// Everything that a restart needs to go on as if nothing had happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Name of the stream.
    pub stream: String,
    /// `server_uuid` of the server that `resume` and `settled` speak of; for MariaDB a name made of
    /// its address.
    pub server_uuid: String,
    /// Epoch of the row numbers in `lanes`.
    pub epoch: u64,
    /// MySQL transactions that are delivered. A prepared XA transaction that is not yet decided is
    /// missing from it, so that the server sends it again. Empty without GTIDs.
    pub gtid_set: GtidSet,
    /// Where to resume where there is no GTID set: the start of the oldest prepared XA transaction
    /// that was open, else the same as `settled`.
    pub resume: Place,
    /// Transactions that ended here or before are delivered. After a resume from an earlier
    /// place those are to be skipped: their rows have their numbers already. Among them may be an
    /// XA COMMIT whose XA PREPARE lies before `resume`.
    pub settled: Place,
    /// Number of the newest heartbeat that is delivered: the source must have it. `None` before the
    /// first, and in a table, which is put back together with the source.
    pub heartbeat: Option<u64>,
    /// Next row number of each lane, by the lane's name.
    pub lanes: BTreeMap<Arc<str>, u64>,
    /// How often the checkpoint was taken over: its present owner's number.
    pub owner: u64,
    /// When it was saved, microseconds since 1970 UTC.
    pub saved_at_us: i64,
    /// Version of binpulse that saved it.
    pub version: String,
}

impl Checkpoint {
    /// Brings it up to date.
    pub fn apply(&mut self, delta: &Delta) {
        if let Some(server_uuid) = &delta.server_uuid {
            self.server_uuid.clone_from(server_uuid);
        }
        self.gtid_set.union(&delta.gtids);
        self.resume.clone_from(&delta.resume);
        self.settled.clone_from(&delta.settled);
        self.heartbeat = self.heartbeat.max(delta.heartbeat);
        for (lane, next) in &delta.lanes {
            self.lanes.insert(Arc::clone(lane), *next);
        }
        self.saved_at_us = delta.taken_at_us;
    }

    /// Whether rows of transactions that are delivered already will come again at a resume without
    /// a GTID set.
    pub fn rereads(&self) -> bool {
        self.resume != self.settled
    }
}

/// What changed since the last delta. Values are absolute: applying it twice does what once does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// The server that the places speak of, when it became another.
    pub server_uuid: Option<String>,
    /// MySQL transactions that became delivered.
    pub gtids: GtidSet,
    /// See [`Checkpoint::resume`].
    pub resume: Place,
    /// See [`Checkpoint::settled`].
    pub settled: Place,
    /// Next row number of each lane that moved, each lane once.
    pub lanes: BTreeMap<Arc<str>, u64>,
    /// When it was taken, microseconds since 1970 UTC.
    pub taken_at_us: i64,
    /// Number of the newest heartbeat within.
    pub heartbeat: Option<u64>,
    /// Transactions within, other than saves of a checkpoint in the source database.
    pub transactions: u64,
}

impl Delta {
    /// Adds what changed after it; for a delta whose save failed.
    pub fn merge(&mut self, newer: Self) {
        self.server_uuid = newer.server_uuid.or(self.server_uuid.take());
        self.gtids.union(&newer.gtids);
        self.resume = newer.resume;
        self.settled = newer.settled;
        self.lanes.extend(newer.lanes);
        self.taken_at_us = newer.taken_at_us;
        self.heartbeat = newer.heartbeat.max(self.heartbeat);
        self.transactions += newer.transactions;
    }
}
