//! The stretch of the log whose transactions count. Pure.

use crate::change::{Position, Transaction};

/// From where, and to where; without limits everything counts. Each limit is found once: clocks that
/// step afterwards neither take a transaction out of the middle nor put one in behind the end.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Begins with the first transaction that committed then or later, microseconds since 1970 UTC.
    pub since_us: Option<i64>,
    /// Begins with the first transaction that starts there or behind: the stream was begun at the
    /// front of a file, which tells which GTIDs lie before.
    pub since: Option<Position>,
    /// Ends before the first transaction that starts there or behind.
    pub until: Option<Position>,
    /// Ends before the first transaction that committed then or later, microseconds since 1970 UTC.
    pub until_us: Option<i64>,
    /// The end has gone by.
    is_over: bool,
}

impl Window {
    /// Without an end.
    pub fn from(since_us: Option<i64>, since: Option<Position>) -> Self {
        Self { since_us, since, ..Self::default() }
    }

    /// Whether a transaction lies before the begin. The first that does not is the begin.
    pub(super) fn is_before(&mut self, transaction: &Transaction) -> bool {
        let is_too_old = self.since_us.is_some_and(|since| transaction.committed_at_us < since);
        let is_in_front =
            self.since.as_ref().is_some_and(|since| !transaction.start.has_reached(since));
        if !is_too_old && !is_in_front {
            (self.since_us, self.since) = (None, None);
        }
        is_too_old || is_in_front
    }

    /// Whether a transaction that is not before the begin lies behind the end. From the first that
    /// does on, all do.
    pub(super) fn is_behind(&mut self, transaction: &Transaction) -> bool {
        self.is_over |= self.until_us.is_some_and(|until| transaction.committed_at_us >= until);
        self.reached(&transaction.start);
        self.is_over
    }

    /// Everything before this place has gone by.
    pub(super) fn reached(&mut self, position: &Position) {
        self.is_over |= self.until.as_ref().is_some_and(|until| position.has_reached(until));
    }

    /// Ends it here.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether the end has gone by.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TransactionId;

    fn transaction(offset: u64, committed_at_us: i64) -> Transaction {
        Transaction {
            id: TransactionId::Anonymous,
            start: Position::new("binlog.000007", offset),
            committed_at_us,
            original_committed_at_us: committed_at_us,
            server_id: 1,
            length_bytes: None,
        }
    }

    /// Offsets of those that count, of a log with these commit times, an offset apart.
    fn counted(mut window: Window, times: &[i64]) -> Vec<u64> {
        let mut counted = Vec::new();
        for (offset, time) in (4..).zip(times) {
            let next = transaction(offset, *time);
            if !window.is_before(&next) && !window.is_behind(&next) {
                counted.push(offset);
            }
        }
        counted
    }

    #[test]
    fn without_limits_everything_counts() {
        assert_eq!(counted(Window::default(), &[3, 1, 2]), [4, 5, 6]);
    }

    #[test]
    fn a_clock_that_steps_back_takes_nothing_out_of_the_middle() {
        let window = Window { since_us: Some(10), ..Window::default() };
        assert_eq!(counted(window, &[8, 9, 10, 7, 12]), [6, 7, 8]);
    }

    #[test]
    fn a_time_and_a_place_end_it_whichever_comes_first() {
        let until = Some(Position::new("binlog.000007", 7));
        let window = Window { until: until.clone(), ..Window::default() };
        assert_eq!(counted(window, &[1, 2, 3, 4, 5]), [4, 5, 6]);
        let window = Window { since_us: Some(2), until, until_us: Some(3), ..Window::default() };
        assert_eq!(counted(window, &[1, 2, 3, 2, 5]), [5]);
    }

    #[test]
    fn a_place_begins_it_in_the_order_of_files() {
        let since = |file| Some(Position::new(file, 6));
        let window = |file| Window { since: since(file), ..Window::default() };
        assert_eq!(counted(window("binlog.000007"), &[1, 2, 3, 4]), [6, 7]);
        assert_eq!(counted(window("binlog.000006"), &[1, 2]), [4, 5]);
        assert!(counted(window("binlog.000008"), &[1, 2]).is_empty());
    }
}
