//! Rows of outbox tables: an insert is a message, and nothing else is.

use std::time::Instant;

use super::Flow;
use crate::change::{Change, Op, Transaction};
use crate::decode::{Misfit, Rows};
use crate::filter::OutboxTable;
use crate::pipeline::Error;

impl Flow {
    pub(super) fn outbox_rows(
        &mut self,
        rows: &mut Rows<'_>,
        now: Instant,
        outbox: &OutboxTable,
    ) -> Result<(), Error> {
        let transaction = rows.transaction();
        let mut is_refused = false;
        while let Some(change) = rows.next()? {
            if !self.passed_on.is_new(change.row) {
                continue;
            }
            is_refused = outbox.halts_on_update && change.op == Op::Update;
            if is_refused {
                break;
            }
            self.outbox_row(now, transaction, outbox, &change)?;
        }
        self.space.release();
        if is_refused { Err(rows.misfit(Misfit::OutboxUpdate).into()) } else { Ok(()) }
    }

    /// Deletes are how an application tidies up.
    pub(super) fn outbox_row(
        &mut self,
        now: Instant,
        transaction: &Transaction,
        outbox: &OutboxTable,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        match change.op {
            Op::Insert => {}
            Op::Update => {
                let updates = self.counts.outbox_update();
                if updates.is_power_of_two() {
                    tell_of_update(outbox, transaction, updates);
                }
                return Ok(());
            }
            Op::Delete | Op::Read => {
                self.counts.outbox_delete();
                return Ok(());
            }
        }
        match &outbox.mask {
            None => self.publish(now, transaction, &outbox.table, change),
            Some(mask) => self.publish_masked(now, transaction, &outbox.table, mask, change),
        }
    }
}

#[cold]
fn tell_of_update(outbox: &OutboxTable, transaction: &Transaction, updates: u64) {
    tracing::warn!(
        table = format!("{}.{}", outbox.table.database, outbox.table.name),
        transaction = transaction.id.text().as_deref().unwrap_or("anonymous"),
        position = %transaction.start,
        updates,
        "a row of an outbox table was updated: no message is made of that"
    );
}
