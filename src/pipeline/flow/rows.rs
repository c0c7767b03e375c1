//! Rows, statements and canaries on their way to encoded batches.

use std::sync::Arc;
use std::time::Instant;

use super::{Flow, OwnRows};
use crate::change::{Change, Table, Transaction};
use crate::checkpoint::{MovedLanes, TransactionKind};
use crate::decode::{Misfit, Rows, Statement};
use crate::filter::{Mask, Route};
use crate::freshness::{CanaryStep, Seen};
use crate::pipeline::Error;
use crate::pipeline::control_messages::{ControlMessages, Delivered, Row};

impl Flow {
    /// Whether settings speak of the columns of a table by name: another column's name would let out
    /// what must not leave.
    pub(in crate::pipeline) fn goes_by_names(&self, database: &str, table: &str) -> bool {
        self.filter.masks(database, table) || self.recogniser.may_mark(database, table)
    }

    pub(super) fn rows(&mut self, mut rows: Rows<'_>, now: Instant) -> Result<(), Error> {
        if self.is_skipped {
            return Ok(());
        }
        match self.all_rows(&mut rows, now) {
            Err(Error::Decode(error)) if self.config.puts_undecoded_aside => {
                self.put_rows_aside(&error, &rows);
                Ok(())
            }
            result => result,
        }
    }

    fn all_rows(&mut self, rows: &mut Rows<'_>, now: Instant) -> Result<(), Error> {
        let (table, transaction) = (rows.table(), rows.transaction());
        let is_read = self.snapshots.is_open_for(table);
        if self.recogniser.is_own(table) {
            while let Some(change) = rows.next()? {
                if self.passed_on.is_new(change.row) {
                    self.own_row(transaction, table, &change)?;
                }
            }
            return Ok(());
        }
        let route = self.filter.route(table);
        if !table.named && !matches!(route, Route::Skip) {
            self.unnamed(rows, &route)?;
        } else if self.unnamed.is_some() && !matches!(route, Route::Skip) {
            self.unnamed = None;
        }
        if let Some(marked) = self.recogniser.marked(table).cloned()
            && !matches!(route, Route::Skip)
        {
            return self.maybe_marked_rows(rows, now, &route, &marked);
        }
        match route {
            // The filters leave it out; its transaction is counted as filtered.
            Route::Skip => {}
            Route::Unnamed => return Err(rows.misfit(Misfit::Unnamed).into()),
            Route::NoOutbox(column) => {
                return Err(rows.misfit(Misfit::NoOutbox { column: column.to_string() }).into());
            }
            Route::Outbox(outbox) => self.outbox_rows(rows, now, &outbox)?,
            Route::Publish => {
                while let Some(change) = rows.next()? {
                    if is_read {
                        self.snapshots.row(transaction, table, &change);
                    }
                    if self.passed_on.is_new(change.row) {
                        self.publish(now, transaction, table, &change)?;
                    }
                }
            }
            Route::Mask(mask) => {
                while let Some(change) = rows.next()? {
                    if is_read {
                        self.snapshots.row(transaction, table, &change);
                    }
                    if self.passed_on.is_new(change.row) {
                        self.publish_masked(now, transaction, &mask.table, &mask, &change)?;
                    }
                }
                self.space.release();
            }
        }
        Ok(())
    }

    /// The log does not name the columns of a table that is published, nor does anybody else. What
    /// settings say of its columns can't be done then.
    #[cold]
    fn unnamed(&mut self, rows: &Rows<'_>, route: &Route) -> Result<(), Error> {
        let table = rows.table();
        if matches!(route, Route::Unnamed) || self.recogniser.may_mark(&table.database, &table.name)
        {
            return Err(rows.misfit(Misfit::Unnamed).into());
        }
        if self.unnamed.is_none() {
            self.unnamed = Some(format!("{}.{}", table.database, table.name).into());
        }
        Ok(())
    }

    #[inline]
    pub(super) fn publish(
        &mut self,
        now: Instant,
        transaction: &Transaction,
        table: &Arc<Table>,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        self.class = TransactionKind::User;
        let ack_group = self.tracker.ack_group();
        let before = self.packer.open_batches() + self.batches.len();
        self.packer.push(now, ack_group, transaction, table, change, &mut self.batches);
        // A batch that was opened and an encoded batch that was made of it are one message: whatever
        // their sum grew by are batches that begin with this row.
        for _ in before..self.packer.open_batches() + self.batches.len() {
            self.tracker.opened(ack_group)?;
        }
        Ok(())
    }

    /// As a row of `table`: the table that consumers see.
    pub(super) fn publish_masked(
        &mut self,
        now: Instant,
        transaction: &Transaction,
        table: &Arc<Table>,
        mask: &Mask,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        let mut space = std::mem::take(&mut self.space);
        let seen = mask.apply(change, &mut space);
        let published = self.publish(now, transaction, table, &seen);
        self.space = space;
        published
    }

    /// A row of a table of our own: never published as a change.
    fn own_row(
        &mut self,
        transaction: &Transaction,
        table: &Arc<Table>,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        if self.config.own_rows == OwnRows::LeftOut {
            return Ok(());
        }
        let seen = self.recogniser.recognise(table, change).unwrap_or(Seen::Own);
        match &seen {
            Seen::Heartbeat(row) => self.class = TransactionKind::Heartbeat(row.number),
            Seen::Canary(canary) => {
                self.class = TransactionKind::Canary;
                let ack_group = self.tracker.ack_group();
                let row = Row { ack_group, transaction, table, change };
                let step = CanaryStep { path: None, number: canary.number, phase: canary.phase };
                let lanes = self.tracker.take_moved_lanes(ControlMessages::LANES_MAX);
                self.canary(step, canary.written_at_us, &row, lanes)?;
            }
            // Not in a table of our own.
            Seen::CanaryPath(_) => return Ok(()),
            Seen::Lease => {
                self.class = TransactionKind::Lease;
                return Ok(());
            }
            Seen::Own => {
                self.class = TransactionKind::Checkpoint;
                return Ok(());
            }
        }
        self.seen.push(seen);
        Ok(())
    }

    pub(super) fn canary(
        &mut self,
        step: CanaryStep,
        written_at_us: i64,
        row: &Row<'_>,
        lanes: MovedLanes,
    ) -> Result<(), Error> {
        let delivered = Delivered {
            gtid_set: self.tracker.settled_gtids().to_string(),
            position: self.tracker.settled_place().position.clone(),
            lanes,
        };
        let sequences = self.packer.sequences();
        let nonces = self.config.nonces.as_ref();
        let batch =
            self.control_messages.canary(&step, written_at_us, row, delivered, sequences, nonces);
        if let Some(batch) = batch {
            self.batches.push(batch);
            self.canaries.push_back(step);
            self.tracker.opened(row.ack_group)?;
        }
        Ok(())
    }

    pub(super) fn statement(&mut self, statement: &Statement<'_>) -> Result<(), Error> {
        let text = statement.text();
        self.snapshots.statement(statement.database, &text);
        self.objects.note(statement.database, &text);
        if let Some((old, new)) = self.filter.renamed(statement.database, &text) {
            tracing::warn!(
                old,
                new,
                "a table was renamed, and the new name has fewer columns that the filters drop or \
                 hash: see whether filter.drop_columns and filter.hash_columns mean it too, then reload"
            );
        }
        let stays =
            !self.config.schema_changes || !self.filter.wants_statement(statement.database, &text);
        if self.is_skipped || stays || !self.passed_on.is_new_other() {
            return Ok(());
        }
        // Rows before it leave before it.
        self.packer.flush_all(&mut self.batches);
        let ack_group = self.tracker.ack_group();
        self.batches.push(self.control_messages.statement(
            statement,
            ack_group,
            self.packer.sequences(),
        ));
        self.tracker.opened(ack_group)?;
        self.class = TransactionKind::User;
        Ok(())
    }
}
