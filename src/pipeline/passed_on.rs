//! Going on after the stream broke inside a transaction. Pure.
//!
//! Rows leave before their transaction has ended, or a large one would not fit into memory. When the
//! stream breaks in between, it is taken up again at the transaction's start, and the rows that have
//! left already are skipped: they have their numbers. Should the server not send that
//! transaction again, it lost it: what was published never happened there.

use crate::change::{Transaction, TransactionId};

/// How far the transaction that is going by has been passed on.
#[derive(Debug, Default)]
pub(crate) struct PassedOn {
    /// The open transaction, and what was passed on of it.
    open: Option<(Transaction, Passed)>,
    /// What to pass over at the front of the transaction that comes.
    expected: Option<(Transaction, Passed)>,
}

/// What was passed on of a transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Passed {
    rows: u64,
    /// Everything but rows: statements, and events that were quarantined.
    others: u64,
}

impl Passed {
    fn is_nothing(self) -> bool {
        self.rows == 0 && self.others == 0
    }
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

impl PassedOn {
    /// A transaction begins. Whether it is one that comes again, after rows of it were passed on.
    pub(crate) fn begin(&mut self, transaction: &Transaction) -> Result<bool, Lost> {
        if let Some((expected, passed)) = &self.expected
            && !is_same(expected, transaction)
        {
            let (expected, found) = (name(expected), name(transaction));
            return Err(Lost { expected, found, rows: passed.rows });
        }
        match &mut self.open {
            Some((open, passed)) => {
                open.clone_from(transaction);
                *passed = Passed::default();
            }
            open @ None => *open = Some((transaction.clone(), Passed::default())),
        }
        Ok(self.expected.is_some())
    }

    /// Whether row `row` of the open transaction is yet to be passed on; counts it if so.
    #[inline]
    pub(crate) fn is_new(&mut self, row: u64) -> bool {
        if row < self.seen().rows {
            return false;
        }
        if let Some((_, passed)) = &mut self.open {
            passed.rows = row + 1;
        }
        true
    }

    /// Whether what comes now, and is no row, is yet to be passed on; counts it.
    pub(crate) fn is_new_other(&mut self) -> bool {
        let seen = self.seen().others;
        let Some((_, passed)) = &mut self.open else { return true };
        passed.others += 1;
        passed.others > seen
    }

    fn seen(&self) -> Passed {
        self.expected.as_ref().map_or(Passed::default(), |(_, passed)| *passed)
    }

    /// The open transaction ended.
    pub(crate) fn end(&mut self) {
        self.open = None;
        self.expected = None;
    }

    /// The stream broke: what was under way is expected again.
    pub(crate) fn broke(&mut self) {
        let Some((transaction, passed)) = self.open.take() else { return };
        let seen = self.seen();
        let passed =
            Passed { rows: passed.rows.max(seen.rows), others: passed.others.max(seen.others) };
        self.expected = (!passed.is_nothing()).then_some((transaction, passed));
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
        let mut progress = PassedOn::default();
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
        let mut progress = PassedOn::default();
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
        let mut progress = PassedOn::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        assert!(progress.is_new(0));
        progress.broke();
        progress.broke();
        assert!(progress.begin(&transaction(2)).is_err());
    }

    #[test]
    fn a_transaction_that_does_not_come_again_is_lost() {
        let mut progress = PassedOn::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        assert!(progress.is_new(0));
        progress.broke();
        let lost = progress.begin(&transaction(2)).expect_err("another came");
        assert_eq!((lost.expected.as_str(), lost.rows), ("0-1-1", 1));
    }

    #[test]
    fn without_gtids_a_transaction_is_known_by_its_place_alone() {
        let anonymous =
            |sequence| Transaction { id: TransactionId::Anonymous, ..transaction(sequence) };
        for (again, is_same) in
            [(anonymous(1), true), (anonymous(2), false), (transaction(1), false)]
        {
            let mut progress = PassedOn::default();
            progress.begin(&anonymous(1)).expect("nothing is expected");
            assert!(progress.is_new(0));
            progress.broke();
            assert_eq!(progress.begin(&again).is_ok(), is_same, "{again:?}");
        }
        // And with one by that alone, wherever it stands.
        let mut progress = PassedOn::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        assert!(progress.is_new(0));
        progress.broke();
        let start = Position::new("other.000009", 4);
        progress.begin(&Transaction { start, ..transaction(1) }).expect("the same");
    }

    #[test]
    fn a_break_before_any_row_left_expects_nothing() {
        let mut progress = PassedOn::default();
        progress.begin(&transaction(1)).expect("nothing is expected");
        progress.broke();
        progress.begin(&transaction(2)).expect("nothing had left");
    }

    #[test]
    fn a_statement_inside_a_transaction_is_passed_on_once() {
        let mut progress = PassedOn::default();
        assert!(!progress.begin(&transaction(1)).expect("nothing is expected"));
        assert!(progress.is_new_other());
        progress.broke();
        assert!(progress.is_inside());
        assert!(progress.begin(&transaction(1)).expect("the same again"));
        assert!(!progress.is_new_other());
        assert!(progress.is_new(0));
        assert!(progress.is_new_other(), "a second one is new");
    }
}
