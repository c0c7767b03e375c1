//! Going on after the stream broke inside a transaction. Pure.
//!
//! Rows leave before their transaction has ended, or a large one would not fit into memory. When the
//! stream breaks in between, it is taken up again at the transaction's start, and the rows that have
//! left already are passed over: they have their numbers. Should the server not send that
//! transaction again, it lost it: what was published never happened there.

use crate::change::{Transaction, TransactionId};

/// How far the transaction that is going by has been passed on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The open transaction, and its rows passed on.
    open: Option<(Transaction, u64)>,
    /// Rows to pass over at the front of the transaction that comes.
    expected: Option<(Transaction, u64)>,
}

/// Another transaction came where one was expected again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the source lost transaction {expected}, of which {rows} rows were published before the stream \
     broke; it now sends {found} in its place"
)]
pub struct Lost {
    /// What was expected.
    pub expected: String,
    /// What came.
    pub found: String,
    /// Rows of it that left.
    pub rows: u64,
}

impl Progress {
    /// A transaction begins.
    pub(crate) fn begin(&mut self, transaction: &Transaction) -> Result<(), Lost> {
        if let Some((expected, rows)) = &self.expected
            && !is_same(expected, transaction)
        {
            return Err(Lost { expected: name(expected), found: name(transaction), rows: *rows });
        }
        match &mut self.open {
            Some((open, rows)) => {
                open.clone_from(transaction);
                *rows = 0;
            }
            open @ None => *open = Some((transaction.clone(), 0)),
        }
        Ok(())
    }

    /// Whether row `row` of the open transaction is yet to be passed on; counts it if so.
    #[inline]
    pub(crate) fn is_new(&mut self, row: u64) -> bool {
        let seen = self.expected.as_ref().map_or(0, |(_, rows)| *rows);
        if row < seen {
            return false;
        }
        if let Some((_, rows)) = &mut self.open {
            *rows = row + 1;
        }
        true
    }

    /// The open transaction ended.
    pub(crate) fn end(&mut self) {
        self.open = None;
        self.expected = None;
    }

    /// The stream broke: what was under way is expected again.
    pub(crate) fn broke(&mut self) {
        let Some((transaction, rows)) = self.open.take() else { return };
        let seen = self.expected.as_ref().map_or(0, |(_, rows)| *rows);
        let rows = rows.max(seen);
        self.expected = (rows > 0).then_some((transaction, rows));
    }

    /// Whether a transaction is going by, or is expected again.
    pub(crate) fn is_inside(&self) -> bool {
        self.open.is_some() || self.expected.is_some()
    }
}

/// A GTID names a transaction on every server; without one only its place does.
fn is_same(a: &Transaction, b: &Transaction) -> bool {
    match a.id {
        TransactionId::Gtid(_) | TransactionId::Maria(_) => a.id == b.id,
        TransactionId::Anonymous => b.id == TransactionId::Anonymous && a.start == b.start,
    }
}

fn name(transaction: &Transaction) -> String {
    transaction.id.text().unwrap_or_else(|| format!("at {}", transaction.start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{MariaGtid, Position};

    fn transaction(sequence: u64) -> Transaction {
        Transaction {
            id: TransactionId::Maria(MariaGtid { domain: 0, server: 1, sequence }),
            start: Position::new("binlog.000001", sequence * 100),
            committed_at_us: 0,
            original_committed_at_us: 0,
            server_id: 1,
            length_bytes: None,
        }
    }

    #[test]
    fn rows_that_left_before_the_break_are_passed_over_once() {
        let mut progress = Progress::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        assert!((0..3).all(|row| progress.is_new(row)));
        progress.broke();

        progress.begin(&transaction(1)).expect("the same again");
        let passed: Vec<u64> = (0..5).filter(|row| progress.is_new(*row)).collect();
        assert_eq!(passed, [3, 4]);
        progress.end();

        progress.begin(&transaction(2)).expect("nothing is expected");
        assert!(progress.is_new(0));
    }

    #[test]
    fn a_second_break_before_the_first_row_that_is_new_forgets_nothing() {
        let mut progress = Progress::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        assert!((0..3).all(|row| progress.is_new(row)));
        for _ in 0..2 {
            progress.broke();
            progress.begin(&transaction(1)).expect("the same again");
            assert!(!progress.is_new(0));
        }
        progress.broke();
        assert!(progress.is_inside());
        progress.begin(&transaction(1)).expect("the same again");
        assert!(progress.is_new(3));
    }

    #[test]
    fn a_break_before_the_next_transaction_begins_keeps_what_is_expected() {
        let mut progress = Progress::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        assert!(progress.is_new(0));
        progress.broke();
        progress.broke();
        assert!(progress.begin(&transaction(2)).is_err());
    }

    #[test]
    fn a_transaction_that_does_not_come_again_is_lost() {
        let mut progress = Progress::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        assert!(progress.is_new(0));
        progress.broke();
        let lost = progress.begin(&transaction(2)).expect_err("another came");
        assert_eq!((lost.expected.as_str(), lost.rows), ("0-1-1", 1));
    }

    #[test]
    fn a_break_before_any_row_left_expects_nothing() {
        let mut progress = Progress::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        progress.broke();
        progress.begin(&transaction(2)).expect("nothing had left");
    }
}
