//! Decides how far it is safe to resume. Pure: no clock, no I/O, no async.
//!
//! Delivery is tracked by *units*: runs of whole transactions. A message belongs to the unit of its
//! first row, so a unit's rows are delivered once the messages of this unit and of all earlier ones
//! are. It does not know messages one by one, only how many of each unit are still on their way.

mod lanes;
mod unit;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Checkpoint, Delta, Place};
use crate::change::{GtidSet, MariaGtid, Position, TransactionId};
use lanes::Lanes;
pub use lanes::MovedLanes;
use unit::Unit;

/// Whose transaction it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// With rows that were published.
    User,
    /// Nothing of it passed the filters.
    Filtered,
    /// The heartbeat of this number.
    Heartbeat(u64),
    /// A canary's.
    Canary,
    /// A save of this stream's checkpoint. Such transactions alone are no reason to save again, or
    /// a checkpoint in the source database would keep itself busy for ever.
    Checkpoint,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Its identity.
    pub id: TransactionId,
    /// Whose it was.
    pub class: Class,
    /// Where its last event ends.
    pub end: &'a Position,
    /// Earlier transactions that are complete only now: the XA PREPARE of this XA COMMIT.
    pub resolves: &'a [TransactionId],
    /// Start of the oldest XA transaction that is prepared and not yet decided.
    pub open_xa: Option<&'a Position>,
}

/// The tracker was told what cannot be: a bug of the caller, on which nothing safe can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// A message was reported of a unit that has none on its way.
    #[error("a message of unit {unit} was reported, but none of that unit is on its way")]
    NotOutstanding {
        /// The unit that was named.
        unit: u64,
    },
}

/// Transactions and messages on their way, and how far everything is delivered.
///
/// Invariant: `units` is never empty, its last unit is open and all others are sealed; no sealed
/// unit at the front is without messages on their way. Hence everything in `settled` has been
/// delivered, however settlements were ordered.
#[derive(Debug)]
pub struct Tracker {
    units: VecDeque<Unit>,
    /// Number of the unit at the front.
    first: u64,
    lanes: Lanes,
    /// End of the last transaction.
    committed: Place,
    /// Where a resume must begin while an XA transaction is prepared and not decided.
    held: Option<Place>,
    /// What was delivered since the last delta.
    pending: Delta,
    pending_is_worth_saving: bool,
    /// Everything delivered: the checkpoint's set.
    settled_gtids: GtidSet,
    settled_heartbeat: Option<u64>,
    server_uuid: String,
}

impl Tracker {
    /// Goes on from `checkpoint`.
    pub fn new(checkpoint: &Checkpoint) -> Self {
        let held = checkpoint.rereads().then(|| checkpoint.resume.clone());
        Self {
            units: VecDeque::from([Unit::default()]),
            first: 0,
            lanes: Lanes::new(&checkpoint.lanes),
            committed: checkpoint.settled.clone(),
            held,
            pending: Delta {
                resume: checkpoint.resume.clone(),
                settled: checkpoint.settled.clone(),
                ..Delta::default()
            },
            pending_is_worth_saving: false,
            settled_gtids: checkpoint.gtid_set.clone(),
            settled_heartbeat: None,
            server_uuid: checkpoint.server_uuid.clone(),
        }
    }

    /// Number of the open unit: the one that a message belongs to whose first row comes now.
    pub fn unit(&self) -> u64 {
        self.first + self.units.len() as u64 - 1
    }

    /// Transactions in the open unit, for the caller who decides when to seal it.
    pub fn open_transactions(&self) -> u64 {
        self.units.back().map_or(0, |unit| unit.transactions_all)
    }

    /// Sealed units that are not yet delivered.
    pub fn units_on_their_way(&self) -> usize {
        self.units.len() - 1
    }

    /// The next row of a lane will have the number `next`. `lane` is the lane's number in this process
    /// (dense, from 0), `key` its permanent name. To be called between two transactions, before the
    /// unit is sealed.
    pub fn numbered(&mut self, lane: u32, key: &Arc<str>, next: u64) {
        let unit = self.unit();
        self.lanes.reach(lane, key, next, unit);
        self.open_unit().is_changed = true;
    }

    /// A message was begun whose first row is of `unit`, or one of that unit was split in two.
    pub fn opened(&mut self, unit: u64) -> Result<(), Misuse> {
        let found = self.find(unit)?;
        found.outstanding += 1;
        Ok(())
    }

    /// A message of `unit` was delivered, or put into quarantine for good. Whether the delivered
    /// prefix grew.
    pub fn settled(&mut self, unit: u64) -> Result<bool, Misuse> {
        let found = self.find(unit)?;
        found.outstanding =
            found.outstanding.checked_sub(1).ok_or(Misuse::NotOutstanding { unit })?;
        Ok(self.advance())
    }

    /// These transactions lie before the place where the stream was begun by file and offset: they
    /// count as delivered, or a redial by GTID would ask for all of them.
    pub fn assume(&mut self, gtids: &GtidSet) {
        for (source, tag, range) in gtids.iter() {
            self.settled_gtids.insert_range(source, tag, range.clone());
            self.pending.gtids.insert_range(source, tag, range.clone());
        }
        self.pending_is_worth_saving = true;
    }

    /// The same for a transaction of MariaDB's and all before it of its domain. To be told before
    /// anything has gone by.
    pub fn assume_maria(&mut self, gtid: MariaGtid) {
        self.committed.maria.advance(gtid);
        let unit = self.open_unit();
        unit.is_changed = true;
        unit.is_worth_saving = true;
    }

    /// A transaction ended.
    pub fn commit(&mut self, commit: &Commit<'_>) {
        self.hold(commit.open_xa);
        for id in commit.resolves.iter().chain([&commit.id]) {
            match id {
                TransactionId::Gtid(gtid) => self.open_unit().gtids.insert(*gtid),
                TransactionId::Maria(gtid) => self.committed.maria.advance(*gtid),
                TransactionId::Anonymous => {}
            }
        }
        self.committed.position.clone_from(commit.end);
        let unit = self.open_unit();
        unit.transactions_all += 1;
        unit.is_changed = true;
        match commit.class {
            Class::Heartbeat(number) => {
                unit.heartbeat = unit.heartbeat.max(Some(number));
                unit.transactions += 1;
            }
            Class::User | Class::Filtered | Class::Canary => unit.transactions += 1,
            Class::Checkpoint => return,
        }
        unit.is_worth_saving = true;
    }

    /// The stream stands at `position`, between two transactions: a protocol heartbeat, a rotation,
    /// an event without rows.
    pub fn reached(&mut self, position: &Position, open_xa: Option<&Position>) {
        self.hold(open_xa);
        if self.committed.position != *position {
            self.committed.position.clone_from(position);
            let unit = self.open_unit();
            unit.is_changed = true;
            unit.is_worth_saving = true;
        }
    }

    /// From here on places speak of another server (a failover by GTID), of which none is known yet.
    pub fn moved_to(&mut self, server_uuid: &str) {
        if self.server_uuid != server_uuid {
            server_uuid.clone_into(&mut self.server_uuid);
            for place in [Some(&mut self.committed), self.held.as_mut()].into_iter().flatten() {
                place.position = Position::default();
            }
            let unit = self.open_unit();
            unit.server_uuid = Some(server_uuid.to_owned());
            unit.is_changed = true;
            unit.is_worth_saving = true;
        }
    }

    /// Closes the open unit and begins another, so that it can become delivered while later
    /// transactions go by. To be called between two transactions. Has no effect on a unit in which
    /// nothing happened. Returns whether a new unit began.
    pub fn seal_unit(&mut self) -> bool {
        let unit = self.open_unit();
        if !unit.is_changed && unit.outstanding == 0 {
            return false;
        }
        let settled = self.committed.clone();
        let resume = self.redial_place().clone();
        let lanes = self.lanes.take_touched();
        self.open_unit().seal(settled, resume, lanes);
        self.units.push_back(Unit::default());
        self.advance();
        true
    }

    /// What was delivered since the last call; `None` if nothing was that is worth saving.
    pub fn take_delta(&mut self, now_us: i64) -> Option<Delta> {
        if !std::mem::take(&mut self.pending_is_worth_saving) {
            return None;
        }
        let next = Delta {
            resume: self.pending.resume.clone(),
            settled: self.pending.settled.clone(),
            ..Delta::default()
        };
        let mut delta = std::mem::replace(&mut self.pending, next);
        delta.lanes = self.lanes.take_unsaved();
        delta.taken_at_us = now_us;
        Some(delta)
    }

    /// Up to `limit` lanes of which rows were delivered since the last call.
    pub fn take_moved_lanes(&mut self, limit: usize) -> MovedLanes {
        self.lanes.take_moved(limit)
    }

    /// Up to `limit` lanes whose key begins with `prefix`, moved or not.
    pub fn lanes_of(&self, prefix: &str, limit: usize) -> MovedLanes {
        self.lanes.of(prefix, limit)
    }

    /// MySQL transactions that are delivered, saved or not.
    pub fn settled_gtids(&self) -> &GtidSet {
        &self.settled_gtids
    }

    /// Everything up to here is delivered, saved or not.
    pub fn settled_place(&self) -> &Place {
        &self.pending.settled
    }

    /// Where a restart would go on: before the oldest prepared, undecided XA transaction.
    pub fn resume_place(&self) -> &Place {
        &self.pending.resume
    }

    /// The server that places speak of.
    pub fn server(&self) -> &str {
        &self.server_uuid
    }

    /// Whether this unit and all before it are delivered.
    pub fn is_settled(&self, unit: u64) -> bool {
        unit < self.first
    }

    /// Newest heartbeat before which everything is delivered.
    pub fn settled_heartbeat(&self) -> Option<u64> {
        self.settled_heartbeat
    }

    /// End of the last transaction that went by, delivered or not: what a redial within this
    /// process goes on from, by position.
    pub fn committed_place(&self) -> &Place {
        &self.committed
    }

    /// Start of what must be read again by a redial without GTIDs; differs from
    /// [`Self::committed_place`] while an XA transaction is open.
    pub fn redial_place(&self) -> &Place {
        self.held.as_ref().unwrap_or(&self.committed)
    }

    /// All MySQL transactions that went by, delivered or not: what a redial within this process
    /// goes on from, by GTID.
    pub fn committed_gtids(&self) -> GtidSet {
        let mut set = self.settled_gtids.clone();
        for unit in &self.units {
            unit.gtids.add_to(&mut set);
        }
        set
    }

    fn open_unit(&mut self) -> &mut Unit {
        if self.units.is_empty() {
            self.units.push_back(Unit::default());
        }
        let last = self.units.len() - 1;
        &mut self.units[last]
    }

    fn find(&mut self, unit: u64) -> Result<&mut Unit, Misuse> {
        unit.checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.units.get_mut(index))
            .ok_or(Misuse::NotOutstanding { unit })
    }

    /// Notes where a resume must begin. MariaDB's GTID position has no holes, so it stays where it
    /// was before the first of the open transactions.
    fn hold(&mut self, open_xa: Option<&Position>) {
        match (open_xa, &mut self.held) {
            (None, held) => *held = None,
            (Some(start), Some(held)) => held.position.clone_from(start),
            (Some(start), held @ None) => {
                let maria = self.committed.maria.clone();
                *held = Some(Place { position: start.clone(), maria });
            }
        }
    }

    /// Takes the delivered units off the front; whether there were any.
    fn advance(&mut self) -> bool {
        let mut advanced = false;
        while self.units.len() > 1
            && let Some(unit) = self.units.pop_front_if(|unit| unit.is_delivered())
        {
            self.first += 1;
            advanced = true;
            self.settle(unit);
        }
        advanced
    }

    fn settle(&mut self, unit: Unit) {
        unit.gtids.add_to(&mut self.settled_gtids);
        unit.gtids.add_to(&mut self.pending.gtids);
        self.lanes.settle(&unit.lanes);
        self.settled_heartbeat = self.settled_heartbeat.max(unit.heartbeat);
        self.pending_is_worth_saving |= unit.is_worth_saving;
        let pending = &mut self.pending;
        pending.heartbeat = pending.heartbeat.max(unit.heartbeat);
        pending.transactions += unit.transactions;
        pending.server_uuid = unit.server_uuid.or(pending.server_uuid.take());
        pending.settled = unit.settled;
        pending.resume = unit.resume;
    }
}
