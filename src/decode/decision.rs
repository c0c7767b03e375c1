//! What counts and what was undone: the ends of transactions, savepoints, decisions on XA.

use super::event::Event;
use super::savepoint::Collation;
use super::steps::{Emit, More};
use super::transaction::Phase;
use super::xa::{Branch, HeldEvents, Spool, Unseen, Xid};
use super::{Decoder, Fault, XaFault};
use crate::change::TransactionId;

impl Decoder {
    /// A transaction starts, and ends by an event or statement of its own.
    pub(super) fn open(&mut self) {
        if self.current.may_be_undone {
            self.buffered = Some(std::mem::take(&mut self.spare));
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
        if let Some(mut buffered) = self.buffered.take() {
            self.held.release(&buffered.spool);
            buffered.savepoints.clear();
            self.spare.savepoints = buffered.savepoints;
            self.replay = Some((buffered.spool, 0));
            return More::Held;
        }
        self.commit();
        More::No
    }

    /// What was held has come out, or never will: its space is used again.
    pub(super) fn put_back(&mut self, spool: Spool) {
        self.spare.spool = spool.emptied();
    }

    /// The open transaction ends by ROLLBACK.
    pub(super) fn undo(&mut self) -> Result<(), Fault> {
        match self.buffered.take() {
            Some(buffered) => {
                self.held.release(&buffered.spool);
                self.put_back(buffered.spool);
            }
            None => self.nothing_undone()?,
        }
        self.commit();
        Ok(())
    }

    /// A ROLLBACK where the GTID event says that none can stand: no row may have come out before.
    fn nothing_undone(&self) -> Result<(), Fault> {
        if self.current.rows_events > 0 {
            return Err(Fault::Order {
                found: "ROLLBACK after rows of a transaction that only has rows by its GTID event",
                expected: "its commit",
            });
        }
        Ok(())
    }

    /// SAVEPOINT.
    pub(super) fn set_savepoint(&mut self, name: &[u8], collation: Collation) {
        if self.current.phase == Phase::Holding {
            self.held.set_savepoint(name, collation);
        } else if let Some(HeldEvents { spool, savepoints }) = &mut self.buffered {
            savepoints.set(name, collation, spool.length());
        }
    }

    /// ROLLBACK TO SAVEPOINT.
    pub(super) fn roll_back_to(&mut self, name: &[u8], collation: Collation) -> Result<(), Fault> {
        if self.current.phase == Phase::Holding {
            return self.held.roll_back_to(name, collation);
        }
        if let Some(buffered) = &mut self.buffered {
            return self.held.cut_to(buffered, name, collation);
        }
        self.nothing_undone()
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
        self.current.unseen_xa = (branch.is_none() && commits).then(|| xid.to_string());
        if let Some(id) = prepared_as.filter(|id| *id != TransactionId::Anonymous) {
            self.current.resolves.push(id);
        }
        match branch {
            Some(branch) if commits => return Ok(self.release(branch)),
            Some(branch) => self.held.release(&branch.events.spool),
            None => {}
        }
        self.commit();
        Ok(More::No)
    }

    /// The branch's rows come out now.
    fn release(&mut self, branch: Branch) -> More {
        self.held.release(&branch.events.spool);
        self.replay = Some((branch.events.spool, 0));
        More::Held
    }
}
