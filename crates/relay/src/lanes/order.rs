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
    pub(crate) fn offer_part(&mut self, part: Part<T>) {
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
        self.numbers.missing(now)
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
                    None => lane.offer_part(parts[offer - rows.len()].clone()),
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
