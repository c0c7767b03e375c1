//! Parts of snapshots that wait for their place in a lane.
//!
//! A part stands before the row that its anchor names, behind all smaller ones. The parts of a lane are
//! numbered by their rows. After a crash of the streamer what it had not saved is read again, with a higher
//! attempt: the numbers then begin again at that attempt's first part.

use std::collections::BTreeMap;

use binpulse_client::proto;
use binpulse_core::change::{Cell, LogicalType, RowBuffer, Table};
use binpulse_core::encode::opened::OpenedRows;

/// How many numbers a message takes that has so many rows of snapshots.
pub(crate) fn numbers(part: &proto::SnapshotPart, rows: u64) -> u64 {
    // One that stands for parts that others get has no rows, and their numbers.
    let numbers = if part.numbers_for.is_empty() { rows } else { part.numbers };
    numbers.max(1)
}

/// A part that is told apart by its numbers; `T` is what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part<T> {
    pub(crate) attempt: u32,
    pub(crate) number: u64,
    /// Number of the first part of this attempt.
    pub(crate) attempt_first: u64,
    /// Number of the row that it stands before.
    pub(crate) anchor: u64,
    /// How many numbers it takes.
    pub(crate) rows: u64,
    pub(crate) chunk: Chunk,
    pub(crate) content: T,
}

/// What a part says of the chunk that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chunk {
    snapshot: String,
    pass: u32,
    after: Bound,
    upto: Bound,
    is_last: bool,
}

/// Where a range of keys begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Bound {
    #[default]
    Open,
    Key(String),
    /// A key that can't be typed.
    Other,
}

/// A range of keys, excluded and included; `None`: open.
pub(crate) type KeyRange = (Option<String>, Option<String>);

impl Chunk {
    fn of(part: &proto::SnapshotPart, table: &Table) -> Self {
        let bound = |image: Option<&proto::Image>| match image {
            None => Bound::Open,
            Some(image) => typed(part, table, image).map_or(Bound::Other, Bound::Key),
        };
        Self {
            snapshot: part.snapshot.clone(),
            pass: part.pass,
            after: bound(part.key_after.as_ref()),
            upto: bound(part.key_upto.as_ref()),
            is_last: part.last_part,
        }
    }

    /// The keys between this part and the next one, or all.
    fn range_to(&self, next: &Self) -> KeyRange {
        let after = if self.is_last { &self.upto } else { &self.after };
        let is_one_pass = (&self.snapshot, self.pass) == (&next.snapshot, next.pass);
        let key = |bound: &Bound| match bound {
            Bound::Open => Some(None),
            Bound::Key(key) => Some(Some(key.clone())),
            Bound::Other => None,
        };
        // Behind the end of a table there is no further chunk: this one is not of a whole table.
        let is_end = self.is_last && self.upto == Bound::Open;
        match (key(after), key(&next.upto)) {
            (Some(after), Some(upto)) if is_one_pass && !is_end => (after, upto),
            _ => (None, None),
        }
    }
}

/// Longest key that is named: two of them fit into a request's head. Of a longer one all keys are read.
const KEY_BYTES_MAX: usize = 400;

/// A key of one column as an operator types it, for the kinds of columns for which ranges can be asked for.
fn typed(part: &proto::SnapshotPart, table: &Table, image: &proto::Image) -> Option<String> {
    let ordinal = match (part.key_columns.as_slice(), table.primary_key.as_slice()) {
        ([column], _) => usize::try_from(*column).ok()?,
        ([], [column]) => *column,
        _ => return None,
    };
    let kind = table.columns.get(ordinal)?.logical_type;
    let mut buffer = RowBuffer::default();
    match (kind, OpenedRows::image(image, &mut buffer).cell(0)) {
        (LogicalType::Integer, Cell::Int(value)) => Some(value.to_string()),
        (LogicalType::Integer, Cell::UInt(value)) => Some(value.to_string()),
        (LogicalType::Text, Cell::Text(text)) if text.len() <= KEY_BYTES_MAX => {
            String::from_utf8(text.to_vec()).ok()
        }
        _ => None,
    }
}

impl<T> Part<T> {
    /// The part as its message has it. One without an anchor is not opened.
    pub(crate) fn of(part: &proto::SnapshotPart, rows: &OpenedRows, content: T) -> Self {
        Self {
            attempt: part.attempt,
            number: part.part,
            attempt_first: part.attempt_part,
            anchor: part.anchor.as_ref().map_or(0, |anchor| anchor.sequence_next),
            rows: numbers(part, rows.len() as u64),
            chunk: Chunk::of(part, rows.table()),
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

    /// Whether the other's are among them.
    pub(crate) fn has(&self, other: &Self) -> bool {
        self.attempt == other.attempt && self.first <= other.first && other.next <= self.next
    }
}

/// Parts of one lane.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    /// Attempt and number of the part that comes next; `None` until the first is known.
    due: Option<(u32, u64)>,
    waiting: BTreeMap<(u32, u64), Part<T>>,
    /// Chunk of the part in front of the one that is due, if it is known.
    chunk: Option<Chunk>,
}

impl<T> Parts<T> {
    /// `due`: as it was saved.
    pub(crate) fn new(due: Option<(u32, u64)>) -> Self {
        Self { due, waiting: BTreeMap::new(), chunk: None }
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
            // What is read again need not begin where the last chunk ended.
            (self.due, self.chunk) = (Some(begin), None);
            let rest = self.waiting.split_off(&begin);
            void.extend(std::mem::replace(&mut self.waiting, rest).into_values());
        }
        let ready = self
            .due
            .filter(|due| self.waiting.get(due).is_some_and(|part| part.anchor <= row_next));
        let part = ready.and_then(|due| self.waiting.remove(&due));
        if let Some(part) = &part {
            self.chunk = Some(part.chunk.clone());
        }
        (part, void)
    }

    /// The keys that the missing parts had rows of, as far as the parts around them tell: to be read again.
    pub(crate) fn range(&self, gap: PartGap) -> KeyRange {
        let next = self.waiting.get(&(gap.attempt, gap.next));
        match (&self.chunk, next) {
            (Some(chunk), Some(next)) => chunk.range_to(&next.chunk),
            _ => (None, None),
        }
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
        self.chunk = None;
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
    use proptest::prelude::*;

    use super::{Bound, Chunk, KeyRange, Part, PartGap, Parts};

    /// A range of keys, the first excluded.
    type Keys = (Option<u64>, Option<u64>);

    /// The parts of a snapshot in one lane, as their chunks are cut, each with the keys that it may have rows
    /// of: above the first, up to the second. A table may be begun again within a snapshot.
    fn chunks(passes: &[Vec<(u64, usize)>], snapshot: &str) -> Vec<(Chunk, Keys)> {
        let mut all = Vec::new();
        for (index, pass) in passes.iter().enumerate() {
            let mut after = None;
            for (at, (width, parts)) in pass.iter().enumerate() {
                // Only the last chunk of the last pass reaches the table's end.
                let is_end = index + 1 == passes.len() && at + 1 == pass.len();
                let upto = (!is_end).then(|| after.unwrap_or_default() + width);
                let bound =
                    |key: Option<u64>| key.map_or(Bound::Open, |key| Bound::Key(key.to_string()));
                all.extend((1..=*parts).map(|part| {
                    let chunk = Chunk {
                        snapshot: snapshot.to_owned(),
                        pass: u32::try_from(index).expect("few"),
                        after: bound(after),
                        upto: bound(upto),
                        is_last: part == *parts,
                    };
                    (chunk, (after, upto))
                }));
                after = upto;
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Whichever parts are lost: the keys that are read again are all that the lost parts may have had.
        #[test]
        fn the_keys_that_are_read_again_are_those_of_the_lost_parts(
            first in prop::collection::vec(prop::collection::vec((1_u64..9, 1_usize..4), 1..5), 1..3),
            second in prop::collection::vec((1_u64..9, 1_usize..4), 1..4),
            from in any::<prop::sample::Index>(),
            count in 1_usize..6,
        ) {
            let mut all = chunks(&first, "one");
            all.extend(chunks(&[second], "two"));
            let from = from.index(all.len());
            let upto = (from + count).min(all.len());
            let part = |at: usize| Part {
                attempt: 1, number: at as u64 + 1, attempt_first: 1, anchor: 1, rows: 1,
                chunk: all[at].0.clone(), content: (),
            };
            let mut parts = Parts::new(None);
            for at in (0..from).chain(upto..all.len()) {
                prop_assert!(parts.offer(part(at)).is_ok());
            }
            while let (Some(part), _) = parts.take(1) {
                parts.applied(part.attempt, part.next());
            }
            let gap = PartGap { attempt: 1, first: from as u64 + 1, next: upto as u64 + 1, is_beginning: false };
            if upto < all.len() {
                prop_assert_eq!(parts.missing(None, false), Some(gap));
            }
            let (after, until): KeyRange = parts.range(gap);
            let number = |key: Option<String>| key.map(|key| key.parse::<u64>().expect("a number"));
            let (after, until) = (number(after), number(until));
            for (_, (lost_after, lost_upto)) in &all[from..upto] {
                prop_assert!(after.is_none_or(|after| lost_after.is_some_and(|lost| after <= lost)));
                prop_assert!(until.is_none_or(|until| lost_upto.is_some_and(|lost| lost <= until)));
            }
            // Within a pass it is no more than the chunks around them.
            if from > 0 && upto < all.len() && all[from - 1].0.pass == all[upto].0.pass
                && all[from - 1].0.snapshot == all[upto].0.snapshot
            {
                let before = &all[from - 1];
                let begin = if before.0.is_last { before.1.1 } else { before.1.0 };
                prop_assert_eq!((after, until), (begin, all[upto].1.1));
            }
        }
    }

    fn part(attempt: u32, number: u64, attempt_first: u64, anchor: u64) -> Part<&'static str> {
        let chunk = Chunk::default();
        Part { attempt, number, attempt_first, anchor, rows: 2, chunk, content: "" }
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
