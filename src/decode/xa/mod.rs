//! XA transactions between their XA PREPARE and their XA COMMIT or XA ROLLBACK.
//!
//! The log carries the rows of an XA transaction where it was prepared, under the prepare's GTID;
//! whether they count is told later, by an XA COMMIT or XA ROLLBACK with a GTID of its own. Here the
//! rows' events are held, as raw bytes, until that is known.

mod spool;
mod xid;

pub(super) use spool::{Limits, Spool};
pub use spool::{MemoryOnly, Overflow, OverflowFile, TempFolder};
pub(super) use xid::Xid;

use std::collections::BTreeMap;

use super::savepoint::{Collation, Savepoints};
use super::{Fault, XaFault};
use crate::change::{Position, TransactionId};

/// What to do with an XA COMMIT whose XA PREPARE lies before the place where reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unseen {
    /// Stop with [`XaFault::Unseen`]: rows would be missing.
    #[default]
    Halt,
    /// Continue; the commit's [`unseen_xa`](super::Commit::unseen_xa) says so.
    Pass,
}

/// An XA transaction whose rows are held.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) xid: Xid,
    /// Identity of the transaction that prepared it.
    pub(super) prepared_as: TransactionId,
    /// Where that transaction starts.
    pub(super) start: Position,
    pub(super) events: HeldEvents,
}

/// Events of a transaction that wait for its end, and its savepoints.
#[derive(Debug, Default)]
pub(super) struct HeldEvents {
    pub(super) spool: Spool,
    pub(super) savepoints: Savepoints,
}

/// All XA transactions that are held: at most one that is being read, and those that are prepared.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Between XA START and XA PREPARE.
    pub(super) open: Option<Branch>,
    /// Prepared, by the order of their preparation. Few, so they are searched through.
    prepared: BTreeMap<u64, Branch>,
    next: u64,
    /// Bytes of all spools in memory.
    in_memory: u64,
}

impl Held {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// XA START.
    pub(super) fn start(
        &mut self,
        xid: Xid,
        prepared_as: TransactionId,
        start: Position,
    ) -> Result<(), XaFault> {
        if self.prepared.values().any(|branch| branch.xid == xid) {
            return Err(XaFault::Twice { xid: xid.to_string() });
        }
        self.open = Some(Branch { xid, prepared_as, start, events: HeldEvents::default() });
        Ok(())
    }

    /// Holds one event of the open transaction.
    pub(super) fn hold(
        &mut self,
        event: &[u8],
        position: &Position,
        limits: &mut Limits,
    ) -> Result<(), Fault> {
        let branch = self.open.as_mut().ok_or(Fault::Order {
            found: "an event to hold outside any XA transaction",
            expected: "XA START before it",
        })?;
        branch.events.spool.push(event, position, &mut self.in_memory, limits)?;
        Ok(())
    }

    /// SAVEPOINT in the open transaction.
    pub(super) fn set_savepoint(&mut self, name: &[u8], collation: Collation) {
        if let Some(Branch { events, .. }) = &mut self.open {
            events.savepoints.set(name, collation, events.spool.length());
        }
    }

    /// ROLLBACK TO SAVEPOINT in the open transaction.
    pub(super) fn roll_back_to(&mut self, name: &[u8], collation: Collation) -> Result<(), Fault> {
        let Some(mut branch) = self.open.take() else { return Err(UNKNOWN_SAVEPOINT) };
        let outcome = self.cut_to(&mut branch.events, name, collation);
        self.open = Some(branch);
        outcome
    }

    /// The same in a transaction that is no XA transaction.
    pub(super) fn cut_to(
        &mut self,
        events: &mut HeldEvents,
        name: &[u8],
        collation: Collation,
    ) -> Result<(), Fault> {
        let length = events.savepoints.roll_back_to(name, collation).ok_or(UNKNOWN_SAVEPOINT)?;
        Ok(self.truncate(&mut events.spool, length)?)
    }

    /// XA PREPARE: what was open is prepared now. The name must be its own.
    pub(super) fn prepare(&mut self, xid: &Xid) -> Result<(), XaFault> {
        let branch = self.close(xid)?;
        self.prepared.insert(self.next, branch);
        self.next += 1;
        Ok(())
    }

    /// Takes the open transaction out, to end it at once.
    pub(super) fn close(&mut self, xid: &Xid) -> Result<Branch, XaFault> {
        match self.open.take() {
            Some(branch) if branch.xid == *xid => Ok(branch),
            open => {
                let expected = open.as_ref().map_or_else(|| "none".into(), |b| b.xid.to_string());
                self.open = open;
                Err(XaFault::Other { found: xid.to_string(), expected })
            }
        }
    }

    /// XA COMMIT or XA ROLLBACK: takes the prepared transaction out.
    pub(super) fn take(&mut self, xid: &Xid) -> Option<Branch> {
        let (key, _) = self.prepared.iter().find(|(_, branch)| branch.xid == *xid)?;
        let key = *key;
        self.prepared.remove(&key)
    }

    /// Adds an event to a spool, and its bytes to the count of all.
    pub(super) fn push(
        &mut self,
        spool: &mut Spool,
        event: &[u8],
        position: &Position,
        limits: &mut Limits,
    ) -> Result<(), XaFault> {
        spool.push(event, position, &mut self.in_memory, limits)
    }

    /// Cuts a spool off.
    fn truncate(&mut self, spool: &mut Spool, length: u64) -> Result<(), XaFault> {
        self.release(spool);
        spool.truncate(length)?;
        self.in_memory = self.in_memory.saturating_add(spool.memory_bytes());
        Ok(())
    }

    /// Gives the memory of a spool that was taken out back to the others.
    pub(super) fn release(&mut self, spool: &Spool) {
        self.in_memory = self.in_memory.saturating_sub(spool.memory_bytes());
    }

    /// How many are prepared.
    pub(super) fn prepared(&self) -> usize {
        self.prepared.len()
    }

    /// Where the oldest prepared transaction starts.
    pub(super) fn oldest(&self) -> Option<&Position> {
        self.prepared.values().next().map(|branch| &branch.start)
    }
}

const UNKNOWN_SAVEPOINT: Fault = Fault::Order {
    found: "ROLLBACK TO a savepoint that is not known",
    expected: "its SAVEPOINT before it",
};

#[cfg(test)]
mod tests;
