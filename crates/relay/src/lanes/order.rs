//! A lane's messages in the order of their numbers, whatever order they arrived in.

use std::collections::BTreeMap;
use std::time::Duration;

use binpulse_client::ledger::{Decision, Gap, Lane, Waits};

use super::parts::{KeyRange, Part, PartGap, Parts};

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
    /// A part that came after the lane had gone on without it: it would replace newer rows.
    Late(T),
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
    /// Parts that came after the lane had gone on without them.
    late: Vec<T>,
    /// For how long the first row and part of a lane are waited for that is not known.
    first_wait: Duration,
    /// For how long a part is waited for when something behind it is here.
    part_wait: Duration,
    /// Whether nothing of the lane is known: it was not met before, and nothing was released yet.
    is_new: bool,
    /// When the first message of a lane that is not known came.
    came_since: Option<Duration>,
    /// Number and attempt of the part that stands next behind a mark of a snapshot.
    marked: Option<(u64, u32)>,
    /// Since when a part is missing, and which was due then.
    part_since: Option<(Option<(u32, u64)>, Duration)>,
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
            late: Vec::new(),
            first_wait: waits.first,
            part_wait: waits.gap,
            is_new: next == 0 && part_due.is_none(),
            came_since: None,
            marked: None,
            part_since: None,
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
        self.came_since.get_or_insert(now);
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
        self.came_since.get_or_insert(now);
        if self.parts.is_late(&part, self.numbers.next().unwrap_or_default()) {
            self.late.push(part.content);
            return;
        }
        // Nothing stands before it: the lane begins with its first row, as if that had come.
        if part.anchor <= 1 && self.numbers.next().is_none() {
            self.numbers.applied(1, now);
        }
        if let Err(part) = self.parts.offer(part) {
            self.void.push(part.content);
        }
    }

    /// A mark of a snapshot names the lane: its next row, and the number and attempt of the part behind it.
    pub(crate) fn mark(&mut self, is_start: bool, next: u64, part: (u64, u32), now: Duration) {
        // Nothing of the lane went before the snapshot: all of it is to come.
        if is_start && next <= 1 && part.0 <= 1 && self.numbers.next().is_none() {
            self.numbers.applied(1, now);
            self.is_new = false;
        }
        if !self.is_new && !self.is_past(part) {
            self.marked = self.marked.max(Some(part));
        }
    }

    /// Whether no part is to come that stands before this one, as far as is known.
    pub(crate) fn is_past(&self, part: (u64, u32)) -> bool {
        !self.has_snapshots || !self.parts.stand_before(part)
    }

    /// The keys that missing parts had rows of, as far as the parts around them tell.
    pub(crate) fn range(&self, gap: PartGap) -> KeyRange {
        self.parts.range(gap)
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
        // Of a table that nobody writes to, parts come and no row.
        if self.came_since.is_some_and(|since| now >= since.saturating_add(self.first_wait))
            && self.numbers.next().is_none()
            && let Some(anchor) = self.parts.anchor()
        {
            let first = self.held.keys().next().copied();
            self.numbers.applied(first.map_or(anchor, |first| first.min(anchor)), now);
        }
        let gap = self.numbers.missing(now)?;
        // A row that is here and does not go waits for a part of a snapshot.
        if self.has_come() { None } else { self.without_suppressed(gap) }
    }

    /// Parts of snapshots that are missing for too long, while rows or parts behind them are here; or in
    /// front of which a lane begins that is not known. The same is told until it is closed: by parts, or
    /// with [`LaneOrder::pass_parts`].
    pub(crate) fn missing_parts(&mut self, now: Duration) -> Option<PartGap> {
        let next = self.numbers.next()?;
        let first = self.held.first_key_value().filter(|(first, _)| **first <= next);
        let behind = first.map(|(_, rows)| rows.snapshot);
        let behind = behind.filter(|of| !self.is_past(*of));
        self.marked = self.marked.filter(|of| !self.is_past(*of));
        let behind = behind.or(self.marked);
        let Some(gap) = self.parts.missing(behind, self.is_new) else {
            self.part_since = None;
            return None;
        };
        let due = self.parts.due();
        let since = self.part_since.filter(|(of, _)| *of == due).map_or(now, |(_, since)| since);
        self.part_since = Some((due, since));
        let (since, wait) = match self.came_since {
            Some(came) if gap.is_beginning => (came, self.first_wait),
            _ => (since, self.part_wait),
        };
        (now >= since.saturating_add(wait)).then_some(gap)
    }

    /// These parts will not come: the lane goes on behind them.
    pub(crate) fn pass_parts(&mut self, gap: PartGap) {
        self.parts.pass(gap);
        self.part_since = None;
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
        if let Some(content) = self.late.pop() {
            return Some(Entry::Late(content));
        }
        let next = self.numbers.next()?;
        let (part, void) = self.parts.take(next);
        self.void.extend(void.into_iter().map(|part| part.content));
        if let Some(part) = part {
            self.is_new = false;
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
                self.is_new = false;
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
        if let Some(content) = self.void.pop().or_else(|| self.late.pop()) {
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
    use crate::lanes::parts::Chunk;

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
                    parts.push(Part { attempt: 1, number: part_next, attempt_first: 1, anchor: next, rows: count, chunk: Chunk::default(), content: ' ' });
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
                        Entry::Late(_) => prop_assert!(false, "nothing is late"),
                    }
                }
            }
            prop_assert_eq!((row_next, part_due), (next, part_next));
            let released: BTreeSet<_> = offers.into_iter().collect();
            prop_assert!(released.len() == total && lane.waiting() == 0 && nothing > 0 || total == parts.len());
        }
    }

    fn part(number: u64, anchor: u64) -> Part<()> {
        let chunk = Chunk::default();
        Part { attempt: 7, number, attempt_first: 1, anchor, rows: 2, chunk, content: () }
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
        begin(&mut lane, later);
        assert_eq!(lane.take(later), Some(Entry::Part(part(11, 40))));
        assert_eq!(lane.take(later), Some(Entry::Part(part(13, 40))));
        // Rows in front of it that are here go first.
        let mut lane = LaneOrder::new(0, None, true, Waits::default(), NOW);
        lane.offer_part(part(11, 40), NOW);
        let rows = Rows { first: 38, count: 2, snapshot: (11, 7), content: () };
        lane.offer(rows.clone(), NOW);
        begin(&mut lane, later);
        assert_eq!(lane.take(later), Some(Entry::Rows { rows, skip: 0 }));
        assert_eq!(lane.take(later), Some(Entry::Part(part(11, 40))));
        // Rows behind a snapshot that went before: nobody waits for its parts.
        let mut lane = LaneOrder::new(0, None, true, Waits::default(), NOW);
        let rows = Rows { first: 38, count: 2, snapshot: (11, 7), content: () };
        lane.offer(rows.clone(), NOW);
        begin(&mut lane, later);
        assert_eq!(lane.take(later), Some(Entry::Rows { rows, skip: 0 }));
        assert_eq!(lane.begun(), (Some(40), Some((7, 11))));
        lane.offer_part(part(9, 38), later);
        assert_eq!(lane.take(later), Some(Entry::Nothing(())), "it stands before the beginning");
    }

    /// A lane that is not known begins, in front of its first row and part.
    fn begin(lane: &mut LaneOrder<()>, now: Duration) {
        assert_eq!((lane.missing(now), lane.take(now)), (None, None));
        let gap = lane.missing_parts(now).expect("it begins");
        assert!(gap.is_beginning, "{gap:?}");
        lane.pass_parts(gap);
        assert_eq!(lane.missing_parts(now), None);
    }

    #[test]
    fn rows_that_wait_for_a_lost_part_are_no_gap_and_go_when_the_part_is_given_up() {
        let waits = Waits::default();
        let mut lane = LaneOrder::new(4, None, true, waits, NOW);
        let rows = Rows { first: 4, count: 2, snapshot: (3, 1), content: 4 };
        lane.offer(rows.clone(), NOW);
        lane.watermark(6, NOW);
        assert_eq!((lane.take(NOW), lane.missing_parts(NOW)), (None, None));
        let then = NOW + waits.gap;
        assert_eq!(lane.missing(then), None, "the rows are here");
        let lost = PartGap { attempt: 1, first: 1, next: 3, is_beginning: false };
        assert_eq!((lane.missing_parts(then), lost.rows()), (Some(lost), 2));
        assert_eq!(lane.missing_parts(then), Some(lost), "told until it is closed");
        lane.pass_parts(lost);
        assert_eq!(lane.take(then), Some(Entry::Rows { rows, skip: 0 }));
        assert_eq!((lane.missing_parts(then), lane.begun()), (None, (Some(6), Some((1, 3)))));
        // The wait begins anew with each part that comes.
        let part = |number| Part {
            attempt: 1,
            number,
            attempt_first: 1,
            anchor: 6,
            rows: 1,
            chunk: Chunk::default(),
            content: number,
        };
        lane.offer_part(part(5), then);
        assert_eq!((lane.take(then), lane.missing_parts(then)), (None, None));
        let later = then + waits.gap;
        lane.offer_part(part(3), later);
        assert_eq!(lane.take(later), Some(Entry::Part(part(3))));
        assert_eq!(lane.missing_parts(later), None);
        lane.offer_part(part(4), later + waits.gap / 2);
        let came: Vec<_> = std::iter::from_fn(|| lane.take(later)).collect();
        assert_eq!(came, [Entry::Part(part(4)), Entry::Part(part(5))]);
        assert_eq!(lane.missing_parts(later + waits.gap), None);
    }

    /// What a streamer publishes, in its order; parts may be lost, or come when their lane has given them up.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Rows(u64),
        Part { rows: u64, is_lost: bool },
        Restart,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1_u64..4).prop_map(Step::Rows),
            4 => (1_u64..4, any::<bool>()).prop_map(|(rows, is_lost)| Step::Part { rows, is_lost }),
            1 => Just(Step::Restart),
        ]
    }

    /// A part, and whether it is lost.
    type Sent = (Part<u64>, bool);

    /// The messages of these steps.
    fn published(steps: &[Step]) -> (Vec<Rows<u64>>, Vec<Sent>) {
        let (mut rows, mut parts) = (Vec::new(), Vec::new());
        let (mut next, mut part_next, mut attempt, mut attempt_first) = (1, 1, 1, 1);
        for step in steps {
            match *step {
                Step::Rows(count) => {
                    let of_attempt = if part_next > attempt_first { attempt } else { 0 };
                    let snapshot = if part_next == 1 { (0, 0) } else { (part_next, of_attempt) };
                    rows.push(Rows { first: next, count, snapshot, content: part_next });
                    next += count;
                }
                Step::Part { rows, is_lost } => {
                    let (number, anchor) = (part_next, next);
                    let (chunk, content) = (Chunk::default(), number);
                    let part =
                        Part { attempt, number, attempt_first, anchor, rows, chunk, content };
                    parts.push((part, is_lost));
                    part_next += rows;
                }
                Step::Restart => (attempt, attempt_first) = (attempt + 1, part_next),
            }
        }
        (rows, parts)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Messages in any order and twice: each row and part that comes is released once and at its place;
        /// of lost parts is told, and of no others; and one that comes when it was given up replaces nothing.
        #[test]
        fn lost_parts_are_given_up_and_nothing_else_is(
            steps in prop::collection::vec(any_step(), 1..24),
            order in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..9), 0..60),
        ) {
            let waits = Waits::default();
            let (rows, parts) = published(&steps);
            let total = rows.len() + parts.len();
            prop_assume!(total > 0);
            // A lane that is known, without any part yet.
            let mut lane = LaneOrder::new(1, None, true, waits, NOW);
            let mut offers: Vec<_> = order.iter().map(|(index, pause)| (index.index(total), *pause)).collect();
            offers.extend((0..total).map(|index| (index, 0)));
            // Nothing more comes, for long enough to give up one after the other.
            offers.extend((0..=total).map(|_| (total, 3_000)));
            let (mut now, mut row_next, mut part_next, mut passed) = (NOW, 1, 1, BTreeSet::new());
            let mut released = BTreeSet::new();
            for (index, pause) in offers {
                now += Duration::from_millis(pause * 100);
                if let Some(rows) = rows.get(index) {
                    lane.offer(rows.clone(), now);
                } else if let Some((part, false)) = parts.get(index.wrapping_sub(rows.len())) {
                    lane.offer_part(part.clone(), now);
                }
                loop {
                    while let Some(entry) = lane.take(now) {
                        match entry {
                            Entry::Rows { rows, skip } => {
                                prop_assert_eq!(rows.first + skip, row_next);
                                row_next = rows.first + rows.count;
                                let come = parts.iter().filter(|(part, is_lost)| part.anchor <= rows.first && !is_lost);
                                prop_assert!(come.map(|(part, _)| part.number).all(|number| released.contains(&number)));
                            }
                            Entry::Part(part) => {
                                prop_assert!(part.number >= part_next && part.anchor <= row_next);
                                part_next = part.next();
                                released.insert(part.number);
                            }
                            Entry::Nothing(_) => {}
                            Entry::Late(_) => prop_assert!(false, "nothing was late"),
                        }
                    }
                    prop_assert_eq!(lane.missing(now), None);
                    let Some(gap) = lane.missing_parts(now) else { break };
                    prop_assert!(!gap.is_beginning && gap.first < gap.next, "{:?}", gap);
                    passed.extend(gap.first..gap.next);
                    lane.pass_parts(gap);
                }
            }
            let last_row = rows.last().map_or(1, |rows| rows.first + rows.count);
            prop_assert_eq!((row_next, lane.waiting()), (last_row, 0));
            let behind = rows.iter().map(|rows| rows.content).max().unwrap_or(1).max(part_next);
            for (part, is_lost) in &parts {
                let is_told = passed.contains(&part.number);
                prop_assert_eq!(!is_lost, released.contains(&part.number));
                prop_assert_eq!(is_told, *is_lost && part.number < behind, "{:?}", part);
            }
            for (part, _) in parts.iter().filter(|(part, is_lost)| *is_lost && part.number < behind) {
                lane.offer_part(part.clone(), now);
                let entry = lane.take(now);
                prop_assert!(matches!(entry, Some(Entry::Nothing(_) | Entry::Late(_))), "{:?}", entry);
            }
        }
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
