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

/// Everything that a restart needs to continue as if nothing had happened.
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
    /// How far a snapshot has got, and what an operator holds back: texts that this part does not read,
    /// by name.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
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
        for (name, text) in &delta.annotations {
            if text.is_empty() {
                self.annotations.remove(name);
            } else {
                self.annotations.insert(Arc::clone(name), Arc::clone(text));
            }
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
    /// Texts of these that changed; empty: gone.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
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
        self.annotations.extend(newer.annotations);
        self.taken_at_us = newer.taken_at_us;
        self.heartbeat = newer.heartbeat.max(self.heartbeat);
        self.transactions += newer.transactions;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        (0..4_u64).prop_map(|offset| Place {
            position: Position::new("binlog.000001", offset),
            ..Place::default()
        })
    }

    fn delta() -> impl Strategy<Value = Delta> {
        let gtids = prop::option::of(1..40_u64).prop_map(|number| {
            let number = number.map(|n| format!("00bbe985-e52d-11f1-91a9-02fc00000001:{n}"));
            number.unwrap_or_default().parse().expect("a set")
        });
        let lanes = prop::collection::btree_map(
            (0..3_u8).prop_map(|n| n.to_string().into()),
            1..99_u64,
            0..3,
        );
        let server = prop::option::of((0..3_u8).prop_map(|n| n.to_string()));
        let numbers = (any::<i64>(), prop::option::of(0..9_u64), 0..9_u64);
        let annotations = prop::collection::btree_map(
            (0..3_u8).prop_map(|n| n.to_string().into()),
            prop_oneof![Just("".into()), Just("a".into()), Just("b".into())],
            0..3,
        );
        (server, gtids, place(), place(), (lanes, annotations), numbers).prop_map(
            |(
                server_uuid,
                gtids,
                resume,
                settled,
                (lanes, annotations),
                (taken_at_us, heartbeat, transactions),
            )| {
                Delta {
                    server_uuid,
                    gtids,
                    resume,
                    settled,
                    lanes,
                    annotations,
                    taken_at_us,
                    heartbeat,
                    transactions,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn deltas_say_the_same_one_by_one_merged_and_again(
            deltas in prop::collection::vec(delta(), 1..6),
        ) {
            let (mut one_by_one, mut merged) = (Checkpoint::default(), Delta::default());
            for delta in &deltas {
                one_by_one.apply(delta);
                merged.merge(delta.clone());
            }
            let mut at_once = Checkpoint::default();
            at_once.apply(&merged);
            prop_assert_eq!(&at_once, &one_by_one);
            at_once.apply(&merged);
            prop_assert_eq!(&at_once, &one_by_one, "absolute values");
            let last = deltas.last().expect("one at least");
            prop_assert_eq!(one_by_one.saved_at_us, last.taken_at_us);
            prop_assert_eq!(&one_by_one.resume, &last.resume);
            prop_assert_eq!(&one_by_one.settled, &last.settled);
            prop_assert_eq!(one_by_one.rereads(), last.resume != last.settled);
            prop_assert_eq!(merged.transactions, deltas.iter().map(|it| it.transactions).sum::<u64>());
            let newest = deltas.iter().filter_map(|it| it.heartbeat).max();
            prop_assert_eq!((one_by_one.heartbeat, merged.heartbeat), (newest, newest));
            let server = deltas.iter().rev().find_map(|it| it.server_uuid.clone());
            prop_assert_eq!(one_by_one.server_uuid, server.unwrap_or_default());
            let count = deltas.iter().map(|it| it.gtids.clone()).fold(GtidSet::new(), |mut all, it| {
                all.union(&it);
                all
            });
            prop_assert_eq!(one_by_one.gtid_set, count);
        }
    }
}
