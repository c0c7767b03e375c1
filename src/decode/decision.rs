//! What counts and what was undone: the ends of transactions, savepoints, decisions on XA.

use super::event::Event;
use super::steps::{Emit, More};
use super::transaction::Phase;
use super::xa::{Branch, Spool, Unseen, Xid};
use super::{Decoder, Fault, XaFault};
use crate::change::TransactionId;

/// Events of a transaction that may yet be undone, in part or whole.
///
/// Servers write a transaction to the log that ends by ROLLBACK, or has a ROLLBACK TO SAVEPOINT, when
/// something in it cannot be undone: a temporary table that was dropped, mostly. Its rows are undone.
#[derive(Debug, Default)]
pub(super) struct Buffered {
    spool: Spool,
    /// Savepoints, and how far the spool was at each.
    marks: Vec<(Vec<u8>, u64)>,
}

impl Decoder {
    /// A transaction starts, and ends by an event or statement of its own.
    pub(super) fn open(&mut self) {
        if self.current.may_be_undone {
            self.buffered = Some(Buffered::default());
        }
        self.begin();
    }

    pub(super) fn begin(&mut self) {
        self.current.phase = Phase::Open;
        self.emits.push_back(Emit::Begin);
    }

    pub(super) fn commit(&mut self) {
        self.current.phase = Phase::Outside;
        self.tables.end_statement();
        self.emits.push_back(Emit::Commit);
    }

    /// The transaction can't be undone after all; nothing of it was held back yet.
    pub(super) fn stop_buffering(&mut self) {
        self.buffered = self.buffered.take().filter(|buffered| buffered.spool.length() > 0);
    }

    /// The open transaction commits: first what was held back of it.
    pub(super) fn end(&mut self) -> More {
        if let Some(buffered) = self.buffered.take() {
            self.held.release(&buffered.spool);
            self.replay = Some((buffered.spool, 0));
            return More::Held;
        }
        self.commit();
        More::No
    }

    /// The open transaction ends by ROLLBACK.
    pub(super) fn undo(&mut self) {
        match self.buffered.take() {
            Some(buffered) => self.held.release(&buffered.spool),
            None => self.current.rolled_back |= self.current.rows_events > 0,
        }
        self.commit();
    }

    /// SAVEPOINT.
    pub(super) fn mark(&mut self, name: &[u8]) {
        if let Some(buffered) = &mut self.buffered {
            // A savepoint of the same name replaces the older one.
            buffered.marks.retain(|(known, _)| known != name);
            buffered.marks.push((name.to_vec(), buffered.spool.length()));
        }
    }

    /// ROLLBACK TO SAVEPOINT.
    pub(super) fn undo_to(&mut self, name: &[u8]) -> Result<(), Fault> {
        let Some(buffered) = &mut self.buffered else {
            self.current.rolled_back |= self.current.rows_events > 0;
            return Ok(());
        };
        let Some(at) = buffered.marks.iter().position(|(known, _)| known == name) else {
            return Err(Fault::Order {
                found: "ROLLBACK TO a savepoint that is not known",
                expected: "its SAVEPOINT before it",
            });
        };
        buffered.marks.truncate(at + 1);
        if let Some((_, length)) = buffered.marks.last() {
            self.held.truncate(&mut buffered.spool, *length)?;
        }
        Ok(())
    }

    /// Holds an event of the open transaction back until its end.
    pub(super) fn buffer(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        if let Some(buffered) = &mut self.buffered {
            let position = &self.place.start;
            self.held.push(&mut buffered.spool, event.bytes, position, &mut self.limits)?;
        }
        Ok(())
    }

    pub(super) fn xa_start(&mut self, xid: Xid) -> Result<(), Fault> {
        let transaction = &self.current.transaction;
        self.held.start(xid, transaction.id, transaction.start.clone())?;
        self.current.phase = Phase::Holding;
        Ok(())
    }

    pub(super) fn xa_prepare(
        &mut self,
        xid: &Xid,
        one_phase: bool,
        event_type: u8,
    ) -> Result<More, Fault> {
        if self.current.phase != Phase::Holding {
            return Err(Fault::Order {
                found: "XA PREPARE outside an XA transaction",
                expected: "XA START before it",
            });
        }
        if one_phase {
            let branch = self.held.close(xid)?;
            self.begin();
            return Ok(self.release(branch));
        }
        self.held.prepare(xid)?;
        self.current.phase = Phase::Outside;
        self.tables.end_statement();
        self.emits.push_back(Emit::Passed(event_type));
        Ok(More::No)
    }

    /// XA COMMIT and XA ROLLBACK.
    pub(super) fn xa_decide(
        &mut self,
        event: &Event<'_>,
        xid: &Xid,
        commits: bool,
    ) -> Result<More, Fault> {
        let prepared_as;
        let branch = match self.current.phase {
            Phase::Holding => {
                // Decided before it was prepared, under its own identity.
                prepared_as = None;
                Some(self.held.close(xid)?)
            }
            Phase::Outside | Phase::Announced => {
                let branch = self.held.take(xid);
                prepared_as = branch.as_ref().map(|branch| branch.prepared_as);
                branch
            }
            Phase::Open => {
                return Err(Fault::Order {
                    found: "the decision on an XA transaction inside a transaction",
                    expected: "the transaction's end before it",
                });
            }
        };
        if branch.is_none() && commits && self.config.xa_unseen == Unseen::Halt {
            return Err(XaFault::Unseen { xid: xid.to_string() }.into());
        }
        self.announced(event);
        self.begin();
        self.current.unseen_xa = branch.is_none() && commits;
        if let Some(id) = prepared_as.filter(|id| *id != TransactionId::Anonymous) {
            self.current.resolves.push(id);
        }
        match branch {
            Some(branch) if commits => return Ok(self.release(branch)),
            Some(branch) => self.held.release(&branch.spool),
            None => {}
        }
        self.commit();
        Ok(More::No)
    }

    /// The branch's rows come out now.
    fn release(&mut self, branch: Branch) -> More {
        self.held.release(&branch.spool);
        self.replay = Some((branch.spool, 0));
        More::Held
    }
}
