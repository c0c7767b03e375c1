//! Passing over what comes again although it was passed on. Pure.
//!
//! While an XA transaction is prepared and undecided, a dump by file and offset, or by a MariaDB
//! position, must begin before it, and then brings again what followed it. Those transactions have
//! their numbers and are in the checkpoint: nothing of them may be told to anybody again, nor may
//! their places, which lie behind those that are known. A dump by a set of GTIDs brings nothing
//! twice.

use crate::change::{Position, Transaction, TransactionId};
use crate::checkpoint::{Place, Tracker};
use crate::decode::Step;
use crate::source::Start;

/// A stretch of the log that comes again.
#[derive(Debug, Clone)]
pub(super) struct DuplicateSkipper {
    /// Where it ends: everything before was passed on.
    until: Place,
    /// Whether the dump was begun by a MariaDB position, so that the transactions' own names count.
    by_gtid: bool,
    /// Whether offsets of `until` are those of the server at hand.
    has_offsets: bool,
    /// A transaction that was passed on is going by.
    is_inside: bool,
}

impl DuplicateSkipper {
    /// What a dump that begins at `start` will bring again; `None`: nothing. `is_other_server`:
    /// offsets known so far are those of a server before this one.
    pub(super) fn new(start: &Start, tracker: &Tracker, is_other_server: bool) -> Option<Self> {
        let by_gtid = match start {
            Start::Gtid(_) | Start::GtidFrom { .. } => return None,
            Start::Maria(_) => true,
            Start::Position(_) => false,
        };
        let (from, until) = (tracker.redial_place(), tracker.committed_place());
        let has_offsets = !is_other_server && !until.position.file.is_empty();
        (from != until).then(|| Self {
            until: until.clone(),
            by_gtid,
            has_offsets,
            is_inside: false,
        })
    }

    /// Where it ends.
    pub(super) fn until(&self) -> &Position {
        &self.until.position
    }

    /// Whether what goes by now is of a transaction that was passed on.
    pub(super) fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Whether the step is of what comes again, and so must be told to nobody. The first that is not
    /// ends the re-read.
    pub(super) fn takes(&mut self, step: &Step<'_>) -> bool {
        match step {
            Step::Begin(transaction) => {
                self.is_inside = self.holds(transaction);
                self.is_inside
            }
            Step::Rows(_) | Step::Schema(_) | Step::Changed(_) => self.is_inside,
            Step::Commit(_) => std::mem::take(&mut self.is_inside),
            Step::Idle { position, .. }
            | Step::Rotate { position, .. }
            | Step::Passed { position, .. } => self.is_inside || !self.is_over_at(position),
        }
    }

    /// Whether the transaction was passed on.
    fn holds(&self, transaction: &Transaction) -> bool {
        match &transaction.id {
            TransactionId::Maria(gtid) if self.by_gtid => self.until.maria.contains(gtid),
            TransactionId::Maria(_) | TransactionId::Gtid(_) | TransactionId::Anonymous => {
                self.has_offsets && !transaction.start.has_reached(&self.until.position)
            }
        }
    }

    /// Whether a place between two transactions is at its end.
    fn is_over_at(&self, position: &Position) -> bool {
        self.has_offsets && position.has_reached(&self.until.position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::{MariaGtid, MariaGtidSet};
    use crate::checkpoint::Checkpoint;
    use crate::decode::Commit;

    fn place(offset: u64, sequence: u64) -> Place {
        let mut maria = MariaGtidSet::new();
        maria.advance(MariaGtid { domain: 0, server: 1, sequence });
        Place { position: Position::new("binlog.000010", offset), maria }
    }

    fn tracker() -> Tracker {
        let (resume, settled) = (place(100, 1), place(900, 9));
        Tracker::new(&Checkpoint { resume, settled, ..Checkpoint::default() })
    }

    fn transaction(file: &str, offset: u64, sequence: u64) -> Transaction {
        Transaction {
            id: TransactionId::Maria(MariaGtid { domain: 0, server: 1, sequence }),
            start: Position::new(file, offset),
            committed_at_us: 0,
            original_committed_at_us: 0,
            server_id: 1,
            length_bytes: None,
        }
    }

    #[test]
    fn by_offset_it_holds_what_starts_before_its_end_in_the_order_of_files() {
        let start = Start::Position(Position::new("binlog.000010", 100));
        let duplicates =
            DuplicateSkipper::new(&start, &tracker(), false).expect("an XA transaction is open");
        assert!(duplicates.holds(&transaction("binlog.000010", 899, 50)));
        assert!(duplicates.holds(&transaction("binlog.000009", 5000, 50)));
        assert!(!duplicates.holds(&transaction("binlog.000010", 900, 1)));
        assert!(!duplicates.holds(&transaction("binlog.000011", 4, 1)));
        assert!(!duplicates.is_over_at(&Position::new("binlog.000010", 899)));
        assert!(duplicates.is_over_at(&Position::new("binlog.000010", 900)));
    }

    #[test]
    fn by_a_mariadb_position_names_count_and_offsets_only_on_the_same_server() {
        let start = Start::Maria(MariaGtidSet::new());
        let duplicates =
            DuplicateSkipper::new(&start, &tracker(), true).expect("an XA transaction is open");
        assert!(duplicates.holds(&transaction("other.000001", 4, 9)));
        assert!(!duplicates.holds(&transaction("other.000001", 4, 10)));
        assert!(!duplicates.is_over_at(&Position::new("binlog.000099", 4)));
    }

    proptest! {
        /// A log of transactions that are 100 bytes long each. Those before number `until` were passed on,
        /// and the dump begins at number `from`.
        #[test]
        fn each_step_of_a_transaction_that_was_passed_on_is_taken_and_no_other(
            (from, until) in (0..8_u64, 0..8_u64),
            by_name in any::<bool>(),
        ) {
            let at = |number: u64| Position::new("binlog.000010", 100 * (number + 1));
            let place = |number| Place { position: at(number), ..place(0, number) };
            let (resume, settled) = (place(from), place(until));
            let tracker = Tracker::new(&Checkpoint { resume, settled, ..Checkpoint::default() });
            let start =
                if by_name { Start::Maria(MariaGtidSet::new()) } else { Start::Position(at(from)) };
            let Some(mut duplicates) = DuplicateSkipper::new(&start, &tracker, false) else {
                prop_assert_eq!(from, until);
                return Ok(());
            };
            prop_assert_eq!(duplicates.until(), &at(until));
            for number in from..10 {
                let was_passed_on = number < until;
                let (begin, end) = (at(number), at(number + 1));
                let middle = Position::new("binlog.000010", begin.offset + 50);
                let transaction = transaction("binlog.000010", begin.offset, number + 1);
                let passed = |position| Step::Passed {
                    position,
                    resume: position,
                    event_type: 0,
                    prepared: None,
                };
                prop_assert!(!duplicates.is_inside());
                prop_assert_eq!(duplicates.takes(&Step::Begin(&transaction)), was_passed_on);
                prop_assert_eq!(duplicates.is_inside(), was_passed_on);
                prop_assert_eq!(duplicates.takes(&passed(&middle)), was_passed_on);
                let commit = Commit {
                    transaction: &transaction,
                    end: &end,
                    resolves: &[],
                    open_xa: None,
                    unseen_xa: None,
                };
                prop_assert_eq!(duplicates.takes(&Step::Commit(commit)), was_passed_on);
                prop_assert!(!duplicates.is_inside());
                let idle = Step::Idle { position: &end, resume: &end };
                prop_assert_eq!(duplicates.takes(&idle), number + 1 < until);
            }
        }
    }

    #[test]
    fn a_dump_by_gtids_brings_nothing_twice() {
        assert!(
            DuplicateSkipper::new(&Start::Gtid(crate::change::GtidSet::new()), &tracker(), false)
                .is_none()
        );
    }
}
