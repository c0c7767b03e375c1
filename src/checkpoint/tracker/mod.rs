//! Decides how far it is safe to resume. Pure: no clock, no I/O, no async.
//!
//! Delivery is tracked by *ack groups*: runs of whole transactions. A message belongs to the ack group of its
//! first row, so an ack group's rows are delivered once the messages of this ack group and of all earlier ones
//! are. It does not know messages one by one, only how many of each ack group are still on their way.

mod ack_group;
mod lanes;

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
use ack_group::AckGroup;
use lanes::Lanes;
pub use lanes::MovedLanes;

/// Whose transaction it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionKind {
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
    /// A renewal of the lease on a stream; like a save, no reason to save again.
    Lease,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Its identity.
    pub id: TransactionId,
    /// Whose it was.
    pub class: TransactionKind,
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
    /// A message was reported of an ack group that has none on its way.
    #[error(
        "a message of ack group {ack_group} was reported, but none of that group is on its way"
    )]
    NotOutstanding {
        /// The ack group that was named.
        ack_group: u64,
    },
}

/// Transactions and messages on their way, and how far everything is delivered.
///
/// Invariant: `ack groups` is never empty, its last ack group is open and all others are closed; no closed
/// ack group at the front is without messages on their way. Hence everything in `settled` has been
/// delivered, however settlements were ordered.
#[derive(Debug)]
pub struct Tracker {
    ack_groups: VecDeque<AckGroup>,
    /// Number of the ack group at the front.
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
    /// Continues from `checkpoint`.
    pub fn new(checkpoint: &Checkpoint) -> Self {
        let held = checkpoint.rereads().then(|| checkpoint.resume.clone());
        Self {
            ack_groups: VecDeque::from([AckGroup::default()]),
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

    /// Number of the open ack group: the one that a message belongs to whose first row comes now.
    pub fn ack_group(&self) -> u64 {
        self.first + self.ack_groups.len() as u64 - 1
    }

    /// Transactions in the open ack group, for the caller who decides when to close it.
    pub fn open_transactions(&self) -> u64 {
        self.ack_groups.back().map_or(0, |ack_group| ack_group.transactions_all)
    }

    /// Closed ack groups that are not yet delivered.
    pub fn ack_groups_in_flight(&self) -> usize {
        self.ack_groups.len() - 1
    }

    /// The next row of a lane will have the number `next`. `lane` is the lane's number in this process
    /// (dense, from 0), `key` its permanent name. To be called between two transactions, before the
    /// ack group is closed.
    pub fn numbered(&mut self, lane: u32, key: &Arc<str>, next: u64) {
        let ack_group = self.ack_group();
        self.lanes.reach(lane, key, next, ack_group);
        self.open_ack_group().is_changed = true;
    }

    /// A message was begun whose first row is of `ack_group`, or one of that ack group was split in two.
    pub fn opened(&mut self, ack_group: u64) -> Result<(), Misuse> {
        let found = self.find(ack_group)?;
        found.outstanding += 1;
        Ok(())
    }

    /// A message of `ack_group` was delivered, or put into quarantine for good. Whether the delivered
    /// prefix grew.
    pub fn settled(&mut self, ack_group: u64) -> Result<bool, Misuse> {
        let found = self.find(ack_group)?;
        found.outstanding =
            found.outstanding.checked_sub(1).ok_or(Misuse::NotOutstanding { ack_group })?;
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
        let ack_group = self.open_ack_group();
        ack_group.is_changed = true;
        ack_group.is_worth_saving = true;
    }

    /// A transaction ended.
    pub fn commit(&mut self, commit: &Commit<'_>) {
        self.hold(commit.open_xa);
        for id in commit.resolves.iter().chain([&commit.id]) {
            match id {
                TransactionId::Gtid(gtid) => self.open_ack_group().gtids.insert(*gtid),
                TransactionId::Maria(gtid) => self.committed.maria.advance(*gtid),
                TransactionId::Anonymous => {}
            }
        }
        self.committed.position.clone_from(commit.end);
        let ack_group = self.open_ack_group();
        ack_group.transactions_all += 1;
        ack_group.is_changed = true;
        match commit.class {
            TransactionKind::Heartbeat(number) => {
                ack_group.heartbeat = ack_group.heartbeat.max(Some(number));
                ack_group.transactions += 1;
            }
            TransactionKind::User | TransactionKind::Filtered | TransactionKind::Canary => {
                ack_group.transactions += 1;
            }
            TransactionKind::Checkpoint | TransactionKind::Lease => return,
        }
        ack_group.is_worth_saving = true;
    }

    /// From where everything so far is delivered, a snapshot has got as far as `text` says; empty: there
    /// is none under this `name`. To be told between two transactions.
    pub fn annotate_when_delivered(&mut self, name: Arc<str>, text: Arc<str>) {
        let ack_group = self.open_ack_group();
        ack_group.annotations.push((name, text));
        ack_group.is_changed = true;
        ack_group.is_worth_saving = true;
    }

    /// This text is saved at once, whatever is still on its way. Not for what follows from rows.
    pub fn annotate(&mut self, name: Arc<str>, text: Arc<str>) {
        self.pending.annotations.insert(name, text);
        self.pending_is_worth_saving = true;
    }

    /// The stream stands at `position`, between two transactions: a protocol heartbeat, a rotation,
    /// an event without rows.
    pub fn reached(&mut self, position: &Position, open_xa: Option<&Position>) {
        self.hold(open_xa);
        if self.committed.position != *position {
            self.committed.position.clone_from(position);
            let ack_group = self.open_ack_group();
            ack_group.is_changed = true;
            ack_group.is_worth_saving = true;
        }
    }

    /// From here on places speak of another server (a failover by GTID), of which none is known yet.
    pub fn moved_to(&mut self, server_uuid: &str) {
        if self.server_uuid != server_uuid {
            server_uuid.clone_into(&mut self.server_uuid);
            for place in [Some(&mut self.committed), self.held.as_mut()].into_iter().flatten() {
                place.position = Position::default();
            }
            let ack_group = self.open_ack_group();
            ack_group.server_uuid = Some(server_uuid.to_owned());
            ack_group.is_changed = true;
            ack_group.is_worth_saving = true;
        }
    }

    /// Closes the open ack group and begins another, so that it can become delivered while later
    /// transactions go by. To be called between two transactions. Has no effect on an ack group in which
    /// nothing happened. Returns whether a new ack group began.
    pub fn close_ack_group(&mut self) -> bool {
        let ack_group = self.open_ack_group();
        if !ack_group.is_changed && ack_group.outstanding == 0 {
            return false;
        }
        let settled = self.committed.clone();
        let resume = self.redial_place().clone();
        let lanes = self.lanes.take_touched();
        self.open_ack_group().close(settled, resume, lanes);
        self.ack_groups.push_back(AckGroup::default());
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

    /// Where a restart would continue: before the oldest prepared, undecided XA transaction.
    pub fn resume_place(&self) -> &Place {
        &self.pending.resume
    }

    /// The server that places speak of.
    pub fn server(&self) -> &str {
        &self.server_uuid
    }

    /// Whether this ack group and all before it are delivered.
    pub fn is_settled(&self, ack_group: u64) -> bool {
        ack_group < self.first
    }

    /// Newest heartbeat before which everything is delivered.
    pub fn settled_heartbeat(&self) -> Option<u64> {
        self.settled_heartbeat
    }

    /// End of the last transaction that went by, delivered or not: what a redial within this
    /// process continues from, by position.
    pub fn committed_place(&self) -> &Place {
        &self.committed
    }

    /// Start of what must be read again by a redial without GTIDs; differs from
    /// [`Self::committed_place`] while an XA transaction is open.
    pub fn redial_place(&self) -> &Place {
        self.held.as_ref().unwrap_or(&self.committed)
    }

    /// All MySQL transactions that went by, delivered or not: what a redial within this process
    /// continues from, by GTID.
    pub fn committed_gtids(&self) -> GtidSet {
        let mut set = self.settled_gtids.clone();
        for ack_group in &self.ack_groups {
            ack_group.gtids.add_to(&mut set);
        }
        set
    }

    fn open_ack_group(&mut self) -> &mut AckGroup {
        if self.ack_groups.is_empty() {
            self.ack_groups.push_back(AckGroup::default());
        }
        let last = self.ack_groups.len() - 1;
        &mut self.ack_groups[last]
    }

    fn find(&mut self, ack_group: u64) -> Result<&mut AckGroup, Misuse> {
        ack_group
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.ack_groups.get_mut(index))
            .ok_or(Misuse::NotOutstanding { ack_group })
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

    /// Takes the delivered ack groups off the front; whether there were any.
    fn advance(&mut self) -> bool {
        let mut advanced = false;
        while self.ack_groups.len() > 1
            && let Some(ack_group) =
                self.ack_groups.pop_front_if(|ack_group| ack_group.is_delivered())
        {
            self.first += 1;
            advanced = true;
            self.settle(ack_group);
        }
        advanced
    }

    fn settle(&mut self, ack_group: AckGroup) {
        ack_group.gtids.add_to(&mut self.settled_gtids);
        ack_group.gtids.add_to(&mut self.pending.gtids);
        self.lanes.settle(&ack_group.lanes);
        self.settled_heartbeat = self.settled_heartbeat.max(ack_group.heartbeat);
        self.pending_is_worth_saving |= ack_group.is_worth_saving;
        let pending = &mut self.pending;
        pending.heartbeat = pending.heartbeat.max(ack_group.heartbeat);
        pending.transactions += ack_group.transactions;
        pending.annotations.extend(ack_group.annotations);
        pending.server_uuid = ack_group.server_uuid.or(pending.server_uuid.take());
        pending.settled = ack_group.settled;
        pending.resume = ack_group.resume;
    }
}
