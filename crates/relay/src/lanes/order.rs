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
    /// Rows that the source holds back, and that may still come: the last number, by the first.
    suppressed: BTreeMap<u64, u64>,
    /// For how long they are waited for when rows behind them are here.
    suppressed_wait: Duration,
    /// Since when these are, and the number that has been the next since.
    behind_since: Option<(u64, Duration)>,
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
            suppressed: BTreeMap::new(),
            suppressed_wait: waits.proven,
            behind_since: None,
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

    /// The source holds these rows back: they are not missing. They may still come, and then before all
    /// that stand behind them.
    pub(crate) fn suppressed(&mut self, first: u64, last: u64, now: Duration) {
        if self.numbers.next().is_none() && first <= 1 {
            self.numbers.applied(1, now);
        }
        if first <= last {
            let known = self.suppressed.entry(first).or_insert(last);
            *known = last.max(*known);
        }
    }

    /// Rows that the source holds back and that have not come, first and last number: to be saved.
    pub(crate) fn suppressed_rows(&self) -> Vec<(u64, u64)> {
        let next = self.numbers.next().unwrap_or_default();
        let ranges = self.suppressed.iter().filter(|(_, last)| **last >= next);
        ranges.map(|(first, last)| ((*first).max(next), *last)).collect()
    }

    /// Goes on without rows that the source holds back, where rows behind them have been here for long
    /// enough: messages of a topic without order may overtake one another. The rows that are passed over.
    pub(crate) fn pass_over(&mut self, now: Duration) -> Option<Gap> {
        let next = self.numbers.next()?;
        self.suppressed.retain(|_, last| *last >= next);
        let (first, last) =
            self.suppressed.first_key_value().map(|(first, last)| (*first, *last))?;
        // Also a part of a snapshot stands behind them.
        let behind = self.held.keys().next_back().copied().max(self.parts.anchor());
        let is_behind = first <= next && behind > Some(last);
        if !is_behind {
            self.behind_since = None;
            return None;
        }
        // Each row of the range that comes begins the wait anew.
        let since = self.behind_since.filter(|(of, _)| *of == next).map_or(now, |(_, since)| since);
        self.behind_since = Some((next, since));
        if now < since.saturating_add(self.suppressed_wait) {
            return None;
        }
        self.behind_since = None;
        // Rows of the range that are here are applied, and what stands in front of them is not.
        let came = self.held.range(next..=last).next().map(|(came, _)| came - 1);
        let gap = Gap { first: next, last: came.unwrap_or(last), is_proven: true };
        self.numbers.absent(gap, now);
        Some(gap)
    }

    /// What is missing without the rows that the source holds back.
    fn without_suppressed(&self, gap: Gap) -> Option<Gap> {
        let covers = |(first, last): (&u64, &u64)| *first <= gap.first && gap.first <= *last;
        if self.suppressed.iter().any(covers) {
            return None;
        }
        let behind = self.suppressed.range(gap.first..).next();
        let last = behind.map_or(gap.last, |(first, _)| gap.last.min(first - 1));
        Some(Gap { last, ..gap })
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
        let gap = self.numbers.missing(now)?;
        self.without_suppressed(gap)
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

    fn offer(lane: &mut LaneOrder<u64>, first: u64, count: u64, now: Duration) {
        lane.offer(Rows { first, count, snapshot: (0, 0), content: first }, now);
    }

    fn taken(lane: &mut LaneOrder<u64>, now: Duration) -> Vec<(u64, u64)> {
        let mut rows = Vec::new();
        while let Some(entry) = lane.take(now) {
            if let Entry::Rows { rows: taken, skip } = entry {
                rows.extend(
                    (taken.first + skip..taken.first + taken.count).map(|it| (it, taken.content)),
                );
            }
        }
        rows
    }

    #[test]
    fn rows_that_are_held_back_are_no_gap_and_are_released_in_order_when_they_come() {
        let waits = Waits::default();
        let mut lane = LaneOrder::new(4, None, false, waits, NOW);
        lane.suppressed(4, 5, NOW);
        lane.suppressed(4, 7, NOW);
        // A watermark says that nothing before 8 is to be waited for.
        lane.watermark(8, NOW);
        let then = NOW + waits.gap * 9;
        assert_eq!((lane.missing(then), lane.pass_over(then)), (None, None));
        assert_eq!(lane.suppressed_rows(), [(4, 7)]);
        // They come after all, in front of what stands behind them.
        offer(&mut lane, 8, 1, then);
        assert_eq!((lane.pass_over(then), taken(&mut lane, then)), (None, Vec::new()));
        offer(&mut lane, 4, 2, then);
        assert_eq!(taken(&mut lane, then), [(4, 4), (5, 4)]);
        let later = then + waits.proven / 2;
        assert_eq!(lane.pass_over(later), None, "the wait begins anew");
        offer(&mut lane, 6, 2, later);
        assert_eq!(taken(&mut lane, later), [(6, 6), (7, 6), (8, 8)]);
        assert!(lane.suppressed_rows().is_empty());
    }

    #[test]
    fn rows_that_are_held_back_and_do_not_come_are_passed_over_when_newer_ones_have_waited() {
        let waits = Waits::default();
        let mut lane = LaneOrder::new(2, None, false, waits, NOW);
        lane.suppressed(4, 7, NOW);
        offer(&mut lane, 9, 1, NOW);
        // What stands in front of the range, or between it and a row that came, is missing.
        let then = NOW + waits.gap;
        let gap = |first, last| Some(Gap { first, last, is_proven: false });
        assert_eq!((lane.pass_over(then), lane.missing(then)), (None, gap(2, 3)));
        offer(&mut lane, 2, 2, then);
        assert_eq!(taken(&mut lane, then), [(2, 2), (3, 2)]);
        assert_eq!((lane.missing(then), lane.pass_over(then)), (None, None));
        let due = then + waits.proven;
        let passed = Gap { first: 4, last: 7, is_proven: true };
        assert_eq!((lane.pass_over(due), lane.pass_over(due)), (Some(passed), None));
        assert_eq!(lane.missing(due + waits.gap), gap(8, 8));
        offer(&mut lane, 8, 1, due);
        assert_eq!(taken(&mut lane, due), [(8, 8), (9, 9)]);
        // A lane that begins with what is held back.
        let mut lane = LaneOrder::<u64>::new(0, None, false, waits, NOW);
        lane.suppressed(1, 3, NOW);
        assert_eq!((lane.next(), lane.suppressed_rows()), (Some(1), vec![(1, 3)]));
    }

    proptest! {
        /// Messages in any order and twice, ranges told at any time, also after a restart: each row is released
        /// once and in order, or was told to be held back and passed over; and no gap is named that is none.
        #[test]
        fn held_back_rows_are_released_once_or_passed_over(
            sizes in prop::collection::vec((1_u64..4, any::<bool>(), any::<bool>()), 1..20),
            order in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..9), 0..60),
        ) {
            let waits = Waits::default();
            let (mut messages, mut ranges, mut first) = (Vec::new(), Vec::new(), 1);
            for (count, is_held, comes) in sizes {
                if is_held {
                    ranges.push((first, first + count - 1));
                }
                messages.push((first, count, !is_held || comes));
                first += count;
            }
            let end = first;
            let mut lane = LaneOrder::new(1, None, false, waits, NOW);
            let (mut now, mut released, mut passed) = (NOW, Vec::new(), BTreeSet::new());
            // Told before anything comes, as a source does.
            for (first, last) in &ranges {
                lane.suppressed(*first, *last, NOW);
            }
            let mut offers: Vec<_> = order.iter().map(|(index, pause)| (index.index(messages.len()), *pause)).collect();
            offers.extend((0..messages.len()).map(|index| (index, 0)));
            offers.extend([(messages.len(), 600), (messages.len(), 600)]);
            for round in 0..=messages.len() {
                for (index, pause) in offers.iter().skip(if round == 0 { 0 } else { offers.len() - 2 }) {
                    now += Duration::from_millis(pause * 100);
                    if let Some((first, count, true)) = messages.get(*index) {
                        offer(&mut lane, *first, *count, now);
                    }
                    released.extend(taken(&mut lane, now).into_iter().map(|(number, _)| number));
                    while let Some(gap) = lane.pass_over(now) {
                        passed.extend(gap.first..=gap.last);
                    }
                    released.extend(taken(&mut lane, now).into_iter().map(|(number, _)| number));
                }
            }
            prop_assert!(released.is_sorted_by(|one, next| one < next), "{:?}", released);
            prop_assert_eq!(lane.missing(now + waits.gap * 2), None);
            let is_held = |number: u64| ranges.iter().any(|(first, last)| (*first..=*last).contains(&number));
            let next = lane.next().unwrap_or(1);
            for number in 1..end {
                let came = released.binary_search(&number).is_ok();
                prop_assert!(came != (passed.contains(&number) || number >= next), "{}", number);
                prop_assert!(came || is_held(number), "{} is lost", number);
            }
        }
    }

    #[test]
    fn a_part_behind_rows_that_are_held_back_waits_no_longer_than_a_row_would() {
        let waits = Waits::default();
        let mut lane = LaneOrder::new(4, Some((7, 11)), true, waits, NOW);
        lane.suppressed(4, 7, NOW);
        lane.offer_part(part(11, 8), NOW);
        assert_eq!((lane.pass_over(NOW), lane.take(NOW)), (None, None), "they may come");
        let due = NOW + waits.proven;
        assert_eq!(lane.pass_over(due), Some(Gap { first: 4, last: 7, is_proven: true }));
        assert_eq!(lane.take(due), Some(Entry::Part(part(11, 8))));
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
