//! A lane's messages in the order of their numbers, whatever order they arrived in.

use std::collections::BTreeMap;
use std::time::Duration;

use binpulse_client::ledger::{Decision, Gap, Lane, Waits};

use super::parts::{Part, Parts};

/// Rows of one message; `T` is what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows<T> {
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// The snapshot part that stands next behind these rows, and its attempt.
    pub(crate) snapshot: (u64, u32),
    pub(crate) content: T,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry<T> {
    /// Rows, all but the first `skip`, which went before.
    Rows { rows: Rows<T>, skip: u64 },
    /// A part of a snapshot.
    Part(Part<T>),
    /// A message that brings nothing new.
    Nothing(T),
}

/// The messages of one lane.
#[derive(Debug)]
pub(crate) struct LaneOrder<T> {
    numbers: Lane,
    parts: Parts<T>,
    held: BTreeMap<u64, Rows<T>>,
    /// Whether the queue is subscribed to snapshots: if not, nobody waits for parts.
    has_snapshots: bool,
    /// Messages that bring nothing new.
    void: Vec<T>,
    /// For how long the first row and part of a lane are waited for that is not known.
    first_wait: Duration,
    /// When the first part came.
    parts_since: Option<Duration>,
}

impl<T> LaneOrder<T> {
    /// A lane as it was saved: `next` 0 for one that is not known.
    pub(crate) fn new(
        next: u64,
        part_due: Option<(u32, u64)>,
        has_snapshots: bool,
        waits: Waits,
        now: Duration,
    ) -> Self {
        let numbers = match next {
            0 => Lane::new(waits, now),
            next => Lane::resume(next, waits, now),
        };
        Self {
            numbers,
            parts: Parts::new(part_due),
            held: BTreeMap::new(),
            has_snapshots,
            void: Vec::new(),
            first_wait: waits.first,
            parts_since: None,
        }
    }

    /// The number of the row that is released next; `None`: not known yet.
    pub(crate) fn next(&self) -> Option<u64> {
        self.numbers.next()
    }

    /// Rows have arrived.
    pub(crate) fn offer(&mut self, rows: Rows<T>, now: Duration) {
        if self.numbers.offer(rows.first, rows.count, now) == Decision::Skip {
            self.void.push(rows.content);
            return;
        }
        match self.held.remove(&rows.first) {
            // The same rows, or a part of them, a second time: the message with more of them stays.
            Some(other) if other.count >= rows.count => {
                self.void.push(rows.content);
                self.held.insert(other.first, other);
            }
            other => {
                self.void.extend(other.map(|other| other.content));
                self.held.insert(rows.first, rows);
            }
        }
    }

    /// A part of a snapshot has arrived.
    pub(crate) fn offer_part(&mut self, part: Part<T>, now: Duration) {
        self.parts_since.get_or_insert(now);
        // Nothing stands before it: the lane begins with its first row, as if that had come.
        if part.anchor <= 1 && self.numbers.next().is_none() {
            self.numbers.applied(1, now);
        }
        if let Err(part) = self.parts.offer(part) {
            self.void.push(part.content);
        }
    }

    /// A canary's watermark names the lane.
    pub(crate) fn watermark(&mut self, sequence_next: u64, now: Duration) {
        self.numbers.watermark(sequence_next, now);
    }

    /// These rows will not come, or are dealt with.
    pub(crate) fn absent(&mut self, gap: Gap, now: Duration) {
        self.numbers.absent(gap, now);
    }

    /// Rows that are missing for too long. Also begins a lane that is not known, when it is time.
    pub(crate) fn missing(&mut self, now: Duration) -> Option<Gap> {
        if self.parts_since.is_some_and(|since| now >= since.saturating_add(self.first_wait)) {
            self.parts.begin();
            // Of a table that nobody writes to, parts come and no row.
            if self.numbers.next().is_none()
                && let Some(anchor) = self.parts.anchor()
            {
                let first = self.held.keys().next().copied();
                self.numbers.applied(first.map_or(anchor, |first| first.min(anchor)), now);
            }
        }
        self.numbers.missing(now)
    }

    /// What is to be released next: a row, and a part.
    pub(crate) fn begun(&self) -> (Option<u64>, Option<(u32, u64)>) {
        (self.numbers.next(), self.parts.due())
    }

    /// What comes next; `None`: not there yet.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Entry<T>> {
        if let Some(content) = self.void.pop() {
            return Some(Entry::Nothing(content));
        }
        let next = self.numbers.next()?;
        let (part, void) = self.parts.take(next);
        self.void.extend(void.into_iter().map(|part| part.content));
        if let Some(part) = part {
            self.parts.applied(part.attempt, part.next());
            return Some(Entry::Part(part));
        }
        let entry = self.held.first_entry()?;
        let rows = entry.get();
        let stands = self.has_snapshots && self.parts.stand_before(rows.snapshot);
        match self.numbers.offer(rows.first, rows.count, now) {
            Decision::Skip => Some(Entry::Nothing(entry.remove().content)),
            Decision::Go { skip } if !stands => {
                let rows = entry.remove();
                self.numbers.applied(rows.first.saturating_add(rows.count), now);
                Some(Entry::Rows { rows, skip })
            }
            Decision::Go { .. } | Decision::Wait | Decision::Late { .. } => None,
        }
    }

    /// Whether the row that is released next is here.
    pub(crate) fn has_come(&self) -> bool {
        let first = self.held.keys().next();
        self.numbers.next().zip(first).is_some_and(|(next, first)| *first <= next)
    }

    /// The first message that waits for rows in front of it.
    pub(crate) fn first_held(&self) -> Option<&T> {
        self.held.first_key_value().map(|(_, rows)| &rows.content)
    }

    /// Gives a message up that waits: the one that is furthest behind.
    pub(crate) fn drop_one(&mut self) -> Option<T> {
        if let Some(content) = self.void.pop() {
            return Some(content);
        }
        let rows = self.held.pop_last();
        rows.map(|(_, rows)| rows.content).or_else(|| self.parts.drop_one())
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.held.len() + self.parts.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    proptest! {
        /// Messages come in any order and twice, rows in other messages the second time: each row is released
        /// once, in order, no part before the rows in front of it, and no row before the parts in front of it.
        #[test]
        fn rows_and_parts_are_released_once_and_in_order(
            sizes in prop::collection::vec((1_u64..4, any::<bool>()), 1..25),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
        ) {
            let (mut rows, mut parts) = (Vec::new(), Vec::new());
            let (mut next, mut part_next) = (1_u64, 1_u64);
            for (count, is_part) in sizes {
                if is_part {
                    parts.push(Part { attempt: 1, number: part_next, attempt_first: 1, anchor: next, rows: count, content: ' ' });
                    part_next += count;
                } else {
                    let snapshot = (part_next, 1);
                    rows.push(Rows { first: next, count, snapshot, content: ' ' });
                    // The same rows, cut otherwise.
                    rows.push(Rows { first: next, count: 1, snapshot, content: ' ' });
                    next += count;
                }
            }
            let mut lane = LaneOrder::new(1, None, true, Waits::default(), NOW);
            let total = rows.len() + parts.len();
            let mut offers: Vec<usize> = order.iter().map(|index| index.index(total)).collect();
            offers.extend(0..total);
            let (mut row_next, mut part_due, mut nothing) = (1_u64, 1_u64, 0);
            for offer in &offers {
                match rows.get(*offer) {
                    Some(rows) => lane.offer(rows.clone(), NOW),
                    None => lane.offer_part(parts[offer - rows.len()].clone(), NOW),
                }
                while let Some(entry) = lane.take(NOW) {
                    match entry {
                        Entry::Rows { rows, skip } => {
                            prop_assert_eq!(rows.first + skip, row_next);
                            row_next = rows.first + rows.count;
                            prop_assert!(rows.snapshot.0 <= part_due);
                        }
                        Entry::Part(part) => {
                            prop_assert_eq!((part.number, part.anchor <= row_next), (part_due, true));
                            part_due = part.next();
                        }
                        Entry::Nothing(_) => nothing += 1,
                    }
                }
            }
            prop_assert_eq!((row_next, part_due), (next, part_next));
            let released: BTreeSet<_> = offers.into_iter().collect();
            prop_assert!(released.len() == total && lane.waiting() == 0 && nothing > 0 || total == parts.len());
        }
    }

    fn part(number: u64, anchor: u64) -> Part<()> {
        Part { attempt: 7, number, attempt_first: 1, anchor, rows: 2, content: () }
    }

    #[test]
    fn parts_of_a_table_that_nobody_writes_to_are_released() {
        let mut lane = LaneOrder::new(0, None, true, Waits::default(), NOW);
        lane.offer_part(part(1, 1), NOW);
        assert_eq!(lane.take(NOW), Some(Entry::Part(part(1, 1))));
        assert_eq!(lane.next(), Some(1));
    }

    #[test]
    fn who_joins_later_begins_with_the_smallest_part_that_has_come() {
        let later = Waits::default().first;
        let mut lane = LaneOrder::new(0, None, true, Waits::default(), NOW);
        lane.offer_part(part(13, 40), NOW);
        lane.offer_part(part(11, 40), NOW);
        assert_eq!((lane.missing(NOW), lane.take(NOW)), (None, None), "earlier ones may come");
        assert_eq!(lane.missing(later), None);
        assert_eq!(lane.take(later), Some(Entry::Part(part(11, 40))));
        assert_eq!(lane.take(later), Some(Entry::Part(part(13, 40))));
        // Rows in front of it that are here go first.
        let mut lane = LaneOrder::new(0, None, true, Waits::default(), NOW);
        lane.offer_part(part(11, 40), NOW);
        let rows = Rows { first: 38, count: 2, snapshot: (11, 7), content: () };
        lane.offer(rows.clone(), NOW);
        assert_eq!(lane.missing(later), None);
        assert_eq!(lane.take(later), Some(Entry::Rows { rows, skip: 0 }));
        assert_eq!(lane.take(later), Some(Entry::Part(part(11, 40))));
    }

    #[test]
    fn without_a_subscription_nobody_waits_for_parts() {
        let rows = || Rows { first: 1, count: 1, snapshot: (5, 1), content: () };
        for (has_snapshots, released) in [(true, false), (false, true)] {
            let mut lane = LaneOrder::new(0, None, has_snapshots, Waits::default(), NOW);
            lane.offer(rows(), NOW);
            assert_eq!(lane.take(NOW).is_some(), released);
        }
    }
}
