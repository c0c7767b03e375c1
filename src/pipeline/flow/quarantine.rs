//! What can't be decoded, and by the operator's policy is kept instead of ending the stream.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Flow;
use crate::change::{Position, Transaction};
use crate::decode::{self, Fault, Rows, Steps, XaFault, kind};
use crate::filter::Route;
use crate::pipeline::Error;
use crate::pipeline::duplicate_skipper::DuplicateSkipper;
use crate::platform;
use crate::sink::quarantine::Undecoded;

impl Flow {
    /// The rest of an event of rows is kept as it is; the transaction continues behind it.
    #[cold]
    pub(super) fn put_rows_aside(&mut self, error: &decode::Error, rows: &Rows<'_>) {
        let table = rows.table();
        // Its bytes hold all columns; some of these must never leave.
        let is_withheld = match self.filter.route(table) {
            Route::Mask(_) | Route::Unnamed | Route::NoOutbox(_) => true,
            Route::Outbox(outbox) => outbox.mask.is_some(),
            Route::Publish | Route::Skip => false,
        };
        let bytes: &[u8] = if is_withheld { &[] } else { rows.event() };
        let table = (&*table.database, &*table.name);
        self.snapshots.unread(table.0, table.1);
        self.quarantine(error, table, rows.transaction(), rows.position(), bytes);
    }

    /// An event failed before rows of it came out, or as something else than rows. It is kept if the
    /// policy is that, and the transaction stands without it; else the error is returned.
    #[cold]
    pub(in crate::pipeline) fn on_decode_error(
        &mut self,
        steps: &mut Steps<'_, '_>,
        error: decode::Error,
    ) -> Result<(), Error> {
        // What is read again behind an open XA transaction was dealt with the first time.
        let comes_again = self.duplicates.as_ref().is_some_and(DuplicateSkipper::is_inside);
        if !self.config.puts_undecoded_aside && !comes_again {
            return Err(error.into());
        }
        let Some(passed) = steps.pass_over(&error) else { return Err(error.into()) };
        if !self.is_skipped && !comes_again {
            let table = error.table().and_then(|table| table.split_once('.')).unwrap_or_default();
            self.snapshots.unread(table.0, table.1);
            let (transaction, position) = (passed.transaction, passed.position);
            // Nobody can tell which columns it holds, or even of which tables.
            let bytes: &[u8] = if self.filter.has_masks() { &[] } else { passed.event };
            self.quarantine(&error, table, transaction, position, bytes);
        }
        Ok(())
    }

    /// The rows of an XA COMMIT were prepared before reading began. All that can be kept is that they
    /// are missing.
    #[cold]
    pub(super) fn unseen(&mut self, commit: &decode::Commit<'_>, xid: &str) -> Result<(), Error> {
        let error = unseen_xa(commit, xid);
        if !self.config.puts_undecoded_aside {
            return Err(error.into());
        }
        let transaction = commit.transaction;
        self.quarantine(&error, ("", ""), transaction, &transaction.start, &[]);
        Ok(())
    }

    pub(super) fn quarantine(
        &mut self,
        error: &decode::Error,
        (database, table): (&str, &str),
        transaction: &Transaction,
        position: &Position,
        event: &[u8],
    ) {
        if !self.passed_on.is_new_other() {
            return;
        }
        self.undecoded.push(Undecoded {
            quarantined_at_us: platform::wall_us(),
            error: error.to_string(),
            gtid: transaction.id.text(),
            transaction: transaction.start.to_string(),
            position: position.to_string(),
            database: database.to_owned(),
            table: table.to_owned(),
            committed_at_us: transaction.committed_at_us,
            event: STANDARD.encode(event),
        });
    }
}

/// The rows of an XA COMMIT are not at hand.
#[cold]
fn unseen_xa(commit: &decode::Commit<'_>, xid: &str) -> decode::Error {
    decode::Error {
        position: commit.transaction.start.clone(),
        event_type: kind::QUERY,
        fault: Fault::Xa(XaFault::Unseen { xid: xid.to_owned() }),
    }
}
