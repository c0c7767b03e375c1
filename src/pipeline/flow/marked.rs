//! Rows of a table of the operator's of which some are canaries.

use std::sync::Arc;
use std::time::Instant;

use super::{Flow, OwnRows};
use crate::change::{Change, Op, Table, Transaction};
use crate::checkpoint::TransactionKind;
use crate::decode::Rows;
use crate::encode::Lane;
use crate::filter::Route;
use crate::freshness::canary::path::{MarkedTable, RowOrigin};
use crate::freshness::{CanaryStep, PathRow, Seen};
use crate::pipeline::Error;
use crate::pipeline::control_messages::{ControlMessages, Row};

impl Flow {
    /// What consumers get of such a table is the table without its marked rows, whatever updates
    /// do to marks.
    pub(super) fn maybe_marked_rows(
        &mut self,
        rows: &mut Rows<'_>,
        now: Instant,
        route: &Route,
        marked: &MarkedTable,
    ) -> Result<(), Error> {
        let (table, transaction) = (rows.table(), rows.transaction());
        let is_read = self.snapshots.is_open_for(table);
        while let Some(change) = rows.next()? {
            if is_read {
                self.snapshots.row(transaction, table, &change);
            }
            if !self.passed_on.is_new(change.row) {
                continue;
            }
            match marked.origin_of(&change) {
                RowOrigin::User => self.routed(now, transaction, table, route, &change)?,
                // Another stream's canary, which that stream publishes.
                RowOrigin::Foreign => {}
                RowOrigin::Canary { number, phase } => {
                    let step = CanaryStep { path: Some(Arc::clone(&marked.path)), number, phase };
                    self.marked_row(transaction, table, route, &change, step)?;
                }
                RowOrigin::Leaves => {
                    let gone = Change { op: Op::Delete, after: None, ..change };
                    self.routed(now, transaction, table, route, &gone)?;
                }
                RowOrigin::Enters => {
                    tell_of_lost_mark(marked, transaction);
                    let new = Change { op: Op::Insert, before: None, ..change };
                    self.routed(now, transaction, table, route, &new)?;
                }
            }
        }
        if matches!(route, Route::Mask(_)) {
            self.space.release();
        }
        Ok(())
    }

    fn routed(
        &mut self,
        now: Instant,
        transaction: &Transaction,
        table: &Arc<Table>,
        route: &Route,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        match route {
            // Refused before its rows were read.
            Route::Skip | Route::Unnamed | Route::NoOutbox(_) => Ok(()),
            Route::Outbox(outbox) => self.outbox_row(now, transaction, outbox, change),
            Route::Publish => self.publish(now, transaction, table, change),
            Route::Mask(mask) => self.publish_masked(now, transaction, &mask.table, mask, change),
        }
    }

    /// A canary takes the masks of its table too.
    fn marked_row(
        &mut self,
        transaction: &Transaction,
        table: &Arc<Table>,
        route: &Route,
        change: &Change<'_>,
        step: CanaryStep,
    ) -> Result<(), Error> {
        if self.config.own_rows == OwnRows::LeftOut {
            return Ok(());
        }
        let Route::Mask(mask) = route else {
            return self.path_canary(transaction, table, change, step);
        };
        let mut space = std::mem::take(&mut self.space);
        let seen = mask.apply(change, &mut space);
        let published = self.path_canary(transaction, &mask.table, &seen, step);
        self.space = space;
        published
    }

    fn path_canary(
        &mut self,
        transaction: &Transaction,
        table: &Arc<Table>,
        change: &Change<'_>,
        step: CanaryStep,
    ) -> Result<(), Error> {
        // A transaction with users' rows is the users'.
        if self.class != TransactionKind::User {
            self.class = TransactionKind::Canary;
        }
        let mut prefix = Lane::key_of(&table.database, &table.name, 0);
        prefix.pop();
        let lanes = self.tracker.lanes_of(&prefix, ControlMessages::LANES_MAX);
        let row = Row { ack_group: self.tracker.ack_group(), transaction, table, change };
        let written_at_us = transaction.original_committed_at_us;
        self.seen.push(Seen::CanaryPath(PathRow { step: step.clone(), written_at_us }));
        self.canary(step, written_at_us, &row, lanes)
    }
}

#[cold]
fn tell_of_lost_mark(marked: &MarkedTable, transaction: &Transaction) {
    tracing::warn!(
        path = %marked.path,
        transaction = transaction.id.text().as_deref().unwrap_or("anonymous"),
        position = %transaction.start,
        "an update took the mark from a canary's row, which is therefore published as a new user's \
         row"
    );
}
