//! Parts of snapshots that wait for their place in a lane.
//!
//! A part stands before the row that its anchor names, behind all smaller ones. The parts of a lane are
//! numbered by their rows. After a crash of the streamer what it had not saved is read again, with a higher
//! attempt: the numbers then begin again at that attempt's first part.

use std::collections::BTreeMap;

use binpulse_client::proto;

/// A part that is told apart by its numbers; `T` is what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part<T> {
    pub(crate) attempt: u32,
    pub(crate) number: u64,
    /// Number of the first part of this attempt.
    pub(crate) attempt_first: u64,
    /// Number of the row that it stands before.
    pub(crate) anchor: u64,
    pub(crate) rows: u64,
    pub(crate) content: T,
}

impl<T> Part<T> {
    /// The part as its message has it. One without an anchor is not opened.
    pub(crate) fn of(part: &proto::SnapshotPart, rows: u64, content: T) -> Self {
        Self {
            attempt: part.attempt,
            number: part.part,
            attempt_first: part.attempt_part,
            anchor: part.anchor.as_ref().map_or(0, |anchor| anchor.sequence_next),
            rows,
            content,
        }
    }

    /// Number of the part behind it.
    pub(crate) fn next(&self) -> u64 {
        self.number.saturating_add(self.rows.max(1))
    }
}

/// Parts that do not come: the lane can go on with the part behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartGap {
    /// Attempt of the part that is next behind them.
    pub(crate) attempt: u32,
    /// Number of the first that is missing, as far as is known.
    pub(crate) first: u64,
    /// Number of the part that is next behind them.
    pub(crate) next: u64,
    /// Nothing of the lane was known before: it begins behind them, and they are not missing.
    pub(crate) is_beginning: bool,
}

impl PartGap {
    /// Number of the last that is missing.
    pub(crate) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Their rows; a part without any counts as one.
    pub(crate) fn rows(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

/// Parts of one lane.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    /// Attempt and number of the part that comes next; `None` until the first is known.
    due: Option<(u32, u64)>,
    waiting: BTreeMap<(u32, u64), Part<T>>,
}

impl<T> Parts<T> {
    /// `due`: as it was saved.
    pub(crate) fn new(due: Option<(u32, u64)>) -> Self {
        Self { due, waiting: BTreeMap::new() }
    }

    /// Attempt and number of the part that comes next.
    pub(crate) fn due(&self) -> Option<(u32, u64)> {
        self.due
    }

    /// Keeps a part; gives one back that was applied before, that is here already, or whose rows are read
    /// again.
    pub(crate) fn offer(&mut self, part: Part<T>) -> Result<(), Part<T>> {
        let place = (part.attempt, part.number);
        if self.due.is_some_and(|due| place < due) || self.waiting.contains_key(&place) {
            return Err(part);
        }
        self.waiting.insert(place, part);
        Ok(())
    }

    /// The part that stands before row `row_next`, all smaller rows being applied; with it all that an
    /// attempt which began anew makes void.
    pub(crate) fn take(&mut self, row_next: u64) -> (Option<Part<T>>, Vec<Part<T>>) {
        let mut void = Vec::new();
        let later = self.due.map_or((0, 0), |(attempt, _)| (attempt.saturating_add(1), 0));
        let begins = self.waiting.range(later..).find_map(|(_, part)| {
            let begins = match self.due {
                // The first of all is 1.
                None => part.number <= 1,
                Some((_, number)) => part.attempt_first <= number,
            };
            begins.then_some((part.attempt, part.attempt_first))
        });
        if let Some(begin) = begins {
            self.due = Some(begin);
            let rest = self.waiting.split_off(&begin);
            void.extend(std::mem::replace(&mut self.waiting, rest).into_values());
        }
        let ready = self
            .due
            .filter(|due| self.waiting.get(due).is_some_and(|part| part.anchor <= row_next));
        (ready.and_then(|due| self.waiting.remove(&due)), void)
    }

    /// A part that was taken is applied: the next one is due.
    pub(crate) fn applied(&mut self, attempt: u32, next: u64) {
        self.due = self.due.max(Some((attempt, next)));
    }

    /// Whether parts that stand before these rows are still to come.
    pub(crate) fn stand_before(&self, (next, attempt): (u64, u32)) -> bool {
        match self.due {
            _ if next <= 1 => false,
            Some((due, _)) if due > attempt && attempt > 0 => false,
            None => true,
            Some((due, number)) => attempt > due || next > number,
        }
    }

    /// What is missing in front of the first part that waits, and of rows that stand behind the part
    /// `rows` (number and attempt); `None`: nothing. To be asked behind [`Parts::take`].
    pub(crate) fn missing(&self, rows: Option<(u64, u32)>, is_beginning: bool) -> Option<PartGap> {
        // A part that is here and does not go waits for rows.
        if self.due.is_some_and(|due| self.waiting.contains_key(&due)) {
            return None;
        }
        let (attempt, number) = self.due.unwrap_or((0, 1));
        let behind_part = self.waiting.values().next().map(|part| {
            if is_beginning || part.attempt == attempt || part.attempt_first <= number {
                (part.attempt, part.number)
            } else {
                // The later attempt begins there, and which of its parts are missing shows then.
                (attempt, part.attempt_first)
            }
        });
        let behind_rows = rows.map(|(next, of_rows)| (of_rows.max(attempt), next));
        let (attempt, next) = match (behind_part, behind_rows) {
            // Rows that name no attempt stand behind parts of any.
            (Some(part), Some(rows)) if rows.0 == attempt => {
                if part.1 < rows.1 {
                    part
                } else {
                    rows
                }
            }
            (Some(part), Some(rows)) => part.min(rows),
            (part, rows) => part.or(rows)?,
        };
        let first = number.min(next.saturating_sub(1));
        Some(PartGap { attempt, first, next, is_beginning })
    }

    /// Goes on behind parts that do not come.
    pub(crate) fn pass(&mut self, gap: PartGap) {
        self.due = self.due.max(Some((gap.attempt, gap.next)));
    }

    /// Whether a part comes too late: its lane went on without it, and the rows behind it, up to `row_next`,
    /// are applied. A later attempt reads its rows anew, so that it stands behind all that was applied.
    pub(crate) fn is_late(&self, part: &Part<T>, row_next: u64) -> bool {
        self.due.is_some_and(|(attempt, _)| part.attempt > attempt) && part.anchor < row_next
    }

    /// The row that the part stands before which is due, or the smallest.
    pub(crate) fn anchor(&self) -> Option<u64> {
        let due = self.due.and_then(|due| self.waiting.get(&due));
        due.or_else(|| self.waiting.values().next()).map(|part| part.anchor)
    }

    /// Gives up the part that is furthest behind.
    pub(crate) fn drop_one(&mut self) -> Option<T> {
        self.waiting.pop_last().map(|(_, part)| part.content)
    }

    /// Parts that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Parts};

    fn part(attempt: u32, number: u64, attempt_first: u64, anchor: u64) -> Part<&'static str> {
        Part { attempt, number, attempt_first, anchor, rows: 2, content: "" }
    }

    fn taken(parts: &mut Parts<&'static str>, row_next: u64) -> Option<(u32, u64)> {
        let part = parts.take(row_next).0?;
        parts.applied(part.attempt, part.next());
        Some((part.attempt, part.number))
    }

    #[test]
    fn parts_go_in_their_order_each_at_its_place() {
        let mut parts = Parts::new(None);
        assert!(parts.offer(part(1, 3, 1, 5)).is_ok() && parts.stand_before((3, 1)));
        assert_eq!(taken(&mut parts, 9), None, "the first is 1");
        assert!(parts.offer(part(1, 1, 1, 5)).is_ok());
        assert_eq!((taken(&mut parts, 4), taken(&mut parts, 5)), (None, Some((1, 1))));
        assert_eq!((taken(&mut parts, 5), parts.due()), (Some((1, 3)), Some((1, 5))));
        assert!(parts.offer(part(1, 3, 1, 5)).is_err(), "it was applied");
        assert!(
            !parts.stand_before((5, 1)) && parts.stand_before((7, 1)) && parts.stand_before((5, 2))
        );
        assert!(!parts.stand_before((0, 0)));
    }

    #[test]
    fn a_higher_attempt_takes_over_where_it_reaches_what_was_applied() {
        let mut parts = Parts::new(Some((1, 5)));
        parts.offer(part(1, 7, 1, 1)).expect("it is new");
        parts.offer(part(2, 6, 6, 1)).expect("it is new");
        assert_eq!(taken(&mut parts, 1), None, "5 of attempt 1 is missing, and 2 begins behind it");
        parts.offer(part(1, 5, 1, 1)).expect("it is new");
        let (first, void) = parts.take(1);
        assert_eq!((first.map(|part| part.number), void.len()), (Some(5), 0));
        parts.applied(1, 7);
        let (again, void) = parts.take(1);
        assert_eq!(again.map(|part| (part.attempt, part.number)), Some((2, 6)));
        assert_eq!(void.into_iter().map(|part| part.number).collect::<Vec<_>>(), [7]);
        assert!(parts.offer(part(1, 9, 1, 1)).is_err());
    }
}
