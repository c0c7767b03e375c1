//! The numbers of one lane. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long to wait for rows that did not come yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For number 1 of a lane that is not known: until then it may begin with 1.
    pub first: Duration,
    /// The same, when a canary's watermark proves that the topic accepted all smaller numbers before the
    /// canary was sent. Longer than the queue's visibility timeout where a process that ended may have
    /// received them and not deleted them.
    pub first_proven: Duration,
    /// For missing rows of which nothing proves that the topic has accepted them. Longer than a message
    /// takes to become a dead letter.
    pub gap: Duration,
    /// For missing rows of which a canary's watermark proves that the topic accepted them before the
    /// canary was sent, when rows behind them have arrived.
    pub proven: Duration,
    /// For missing rows at the end of the lane, behind which none has arrived, likewise proven. As long as
    /// `gap` where missing rows are given up; as short as `proven` where they are asked for again.
    pub proven_end: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            first: Duration::from_mins(1),
            first_proven: Duration::from_secs(5),
            gap: Duration::from_mins(5),
            proven: Duration::from_secs(5),
            proven_end: Duration::from_mins(5),
        }
    }
}

/// What to do with rows that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// All of them were applied before: delete the message.
    Skip,
    /// Apply them, all but the first `skip` rows, which were applied before.
    Go {
        /// Rows that were applied before.
        skip: u64,
    },
    /// Rows that were suppressed when the lane passed them have come after all. Apply `take` rows after
    /// the first `skip`, say so with [`Lane::applied_late`], and offer the same rows again. Newer rows may
    /// have been applied already.
    Late {
        /// Rows before them.
        skip: u64,
        /// How many.
        take: u64,
    },
    /// Rows before them have not come: keep them, and ask again after a change of the lane.
    Wait,
}

/// Rows that are missing, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// Whether a watermark proves that the topic accepted them: then they are lost, or very late.
    pub is_proven: bool,
}

/// The numbers of one lane in one epoch.
#[derive(Debug, Clone)]
pub struct Lane {
    waits: Waits,
    /// The number that is expected; `None`: not known yet.
    next: Option<u64>,
    /// Rows that wait, by their first number: the last one.
    held: BTreeMap<u64, u64>,
    /// Rows that will not come: suppressed at the source, or given up. First and last number.
    absent: BTreeMap<u64, u64>,
    /// Rows that are suppressed, and may still come. First and last number.
    suppressed: BTreeMap<u64, u64>,
    /// Since when the lane is as it is: it was met, or it waits for `next`.
    since: Duration,
    /// All below this number was accepted by the topic, as was learned at that time.
    accepted: Option<(u64, Duration)>,
    /// A later watermark, for when the first one is reached.
    accepted_later: Option<(u64, Duration)>,
}

impl Lane {
    /// A lane that was never met. `now` is the time since any fixed moment, the same one in all calls.
    pub fn new(waits: Waits, now: Duration) -> Self {
        Self {
            waits,
            next: None,
            held: BTreeMap::new(),
            absent: BTreeMap::new(),
            suppressed: BTreeMap::new(),
            since: now,
            accepted: None,
            accepted_later: None,
        }
    }

    /// A lane of which all below `next` was applied.
    pub fn resume(next: u64, waits: Waits, now: Duration) -> Self {
        Self { next: Some(next), ..Self::new(waits, now) }
    }

    /// The number that is expected; `None`: not known yet.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// `count` rows have arrived, the first with the number `first`. Whoever is told to go applies them
    /// and then says so with [`Lane::applied`], or of late rows with [`Lane::applied_late`].
    pub fn offer(&mut self, first: u64, count: u64, now: Duration) -> Decision {
        let Some(after) = first.checked_add(count).filter(|after| *after > first) else {
            return Decision::Skip;
        };
        if self.next.is_none() && first <= 1 {
            self.begin(1, now);
        }
        if let Some(next) = self.next.filter(|next| first < *next)
            && let Some((from, to)) = first_overlap(&self.suppressed, first, after.min(next) - 1)
        {
            return Decision::Late { skip: from - first, take: to - from + 1 };
        }
        match self.next {
            Some(next) if after <= next => Decision::Skip,
            Some(next) if first <= next => Decision::Go { skip: next - first },
            Some(_) | None => {
                if self.held.is_empty() {
                    self.since = now;
                }
                let last = self.held.entry(first).or_insert(after - 1);
                *last = (*last).max(after - 1);
                Decision::Wait
            }
        }
    }

    /// All below `next` is applied now.
    pub fn applied(&mut self, next: u64, now: Duration) {
        if self.next.is_none_or(|before| next > before) {
            remove(&mut self.suppressed, self.next.unwrap_or(0), next - 1);
            self.move_to(next, now);
        }
    }

    /// Rows that came late are applied now: see [`Decision::Late`].
    pub fn applied_late(&mut self, first: u64, count: u64) {
        remove(&mut self.suppressed, first, first.saturating_add(count).saturating_sub(1));
    }

    /// A message said that these rows are suppressed: no gap. They may still come, and are then to be
    /// applied once.
    pub fn suppressed(&mut self, first: u64, last: u64, now: Duration) {
        if self.next.is_none() && first <= 1 {
            self.begin(1, now);
        }
        // What lies behind was applied, or given up, or is known to be suppressed.
        let first = first.max(self.next.unwrap_or(1));
        self.resume_suppressed(first, last, now);
    }

    /// Rows that were suppressed and had not come, as the consumer's store says.
    pub fn resume_suppressed(&mut self, first: u64, last: u64, now: Duration) {
        if first <= last {
            insert(&mut self.suppressed, first, last);
            let first = first.max(self.next.unwrap_or(1));
            self.absent(Gap { first, last, is_proven: true }, now);
        }
    }

    /// Rows that are suppressed and have not come, first and last number: to be stored with
    /// [`Lane::next`].
    pub fn suppressed_rows(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.suppressed.iter().map(|(first, last)| (*first, *last))
    }

    /// A canary's watermark names the lane: all below `sequence_next` was accepted by the topic before
    /// the canary was sent.
    pub fn watermark(&mut self, sequence_next: u64, now: Duration) {
        match self.accepted {
            Some((known, _)) if known >= sequence_next => {}
            Some(_) if self.next.is_some() => self.accepted_later = Some((sequence_next, now)),
            Some(_) | None => self.accepted = Some((sequence_next, now)),
        }
        self.forget_reached();
    }

    /// These rows will not come: they were given up. Should they come after all, they are skipped.
    pub fn absent(&mut self, gap: Gap, now: Duration) {
        if gap.first > gap.last {
            return;
        }
        let last = self.absent.entry(gap.first).or_insert(gap.last);
        *last = (*last).max(gap.last);
        if let Some(next) = self.next {
            self.move_to(next, now);
        }
    }

    /// Begins a lane that is not known when its time has come, and then tells of rows that are missing and
    /// due. The same gap is told until it is closed: by rows, or with [`Lane::absent`].
    pub fn missing(&mut self, now: Duration) -> Option<Gap> {
        let Some(next) = self.next else {
            if self.due().is_some_and(|due| due <= now)
                && let Some(first) = self.held.keys().next().copied()
            {
                self.begin(first, now);
            }
            return None;
        };
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let accepted = self.accepted.map_or(0, |(accepted, _)| accepted);
        let last = match self.held.keys().next() {
            Some(held) if self.is_proven() => (held - 1).min(accepted - 1),
            Some(held) => held - 1,
            None => accepted - 1,
        };
        // A range that is known to be absent further on is no part of the gap.
        let absent = self.absent.keys().next().map_or(u64::MAX, |first| first - 1);
        Some(Gap { first: next, last: last.min(absent), is_proven: self.is_proven() })
    }

    /// When [`Lane::missing`] will have something to say if nothing changes; `None`: never.
    pub fn due(&self) -> Option<Duration> {
        let is_held = !self.held.is_empty();
        match (self.next, self.accepted) {
            (None, _) if !is_held => None,
            (None, Some((accepted, at))) if self.held.keys().next() <= Some(&accepted) => {
                let proven = at.max(self.since) + self.waits.first_proven;
                Some((self.since + self.waits.first).min(proven))
            }
            (None, _) => Some(self.since + self.waits.first),
            (Some(_), Some((_, at))) if is_held && self.is_proven() => {
                Some(at.max(self.since) + self.waits.proven)
            }
            (Some(_), Some((_, at))) if self.is_proven() => {
                Some(at.max(self.since) + self.waits.proven_end)
            }
            (Some(_), _) => is_held.then(|| self.since + self.waits.gap),
        }
    }

    /// Whether the number that is expected was accepted by the topic.
    fn is_proven(&self) -> bool {
        self.accepted.is_some_and(|(accepted, _)| self.next.is_some_and(|next| next < accepted))
    }

    fn begin(&mut self, next: u64, now: Duration) {
        self.move_to(next, now);
    }

    fn move_to(&mut self, next: u64, now: Duration) {
        let mut next = next;
        // Over rows that will not come.
        while let Some(entry) = self.absent.first_entry()
            && *entry.key() <= next
        {
            next = next.max(entry.remove().saturating_add(1));
        }
        if self.next != Some(next) {
            (self.next, self.since) = (Some(next), now);
        }
        // What can be offered again, or is done with, does not wait any more.
        while let Some(entry) = self.held.first_entry()
            && *entry.key() <= next
        {
            entry.remove();
        }
        self.forget_reached();
    }

    fn forget_reached(&mut self) {
        let Some(next) = self.next else { return };
        while self.accepted.is_some_and(|(accepted, _)| accepted <= next) {
            self.accepted = self.accepted_later.take();
        }
    }
}

/// The first run of numbers that is both in the ranges and between `first` and `last`.
fn first_overlap(ranges: &BTreeMap<u64, u64>, first: u64, last: u64) -> Option<(u64, u64)> {
    let before = ranges.range(..first).next_back().filter(|(_, end)| **end >= first);
    let (from, to) = before.or_else(|| ranges.range(first..=last).next())?;
    Some(((*from).max(first), (*to).min(last)))
}

/// Adds a range, and joins it with those that it overlaps or touches.
fn insert(ranges: &mut BTreeMap<u64, u64>, mut first: u64, mut last: u64) {
    while let Some((from, to)) = ranges.range(..=last.saturating_add(1)).next_back()
        && to.saturating_add(1) >= first
    {
        (first, last) = (first.min(*from), last.max(*to));
        let from = *from;
        ranges.remove(&from);
    }
    ranges.insert(first, last);
}

/// Takes numbers out of the ranges.
fn remove(ranges: &mut BTreeMap<u64, u64>, first: u64, last: u64) {
    if first > last {
        return;
    }
    while let Some((from, to)) = ranges.range(..=last).next_back().map(|(from, to)| (*from, *to))
        && to >= first
    {
        ranges.remove(&from);
        if to > last {
            ranges.insert(last + 1, to);
        }
        if from < first {
            ranges.insert(from, first - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const WAITS: Waits = Waits {
        first: Duration::from_mins(1),
        first_proven: Duration::from_secs(5),
        gap: Duration::from_mins(5),
        proven: Duration::from_secs(5),
        proven_end: Duration::from_mins(5),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn gap(first: u64, last: u64, is_proven: bool) -> Gap {
        Gap { first, last, is_proven }
    }

    #[test]
    fn lost_rows_at_the_end_of_a_lane_are_told_after_a_time_of_their_own() {
        let waits = Waits { proven_end: at(7), ..WAITS };
        let mut lane = Lane::resume(5, waits, at(0));
        lane.watermark(9, at(100));
        assert_eq!((lane.due(), lane.missing(at(106))), (Some(at(107)), None));
        assert_eq!(lane.missing(at(107)), Some(gap(5, 8, true)));
        // Once a row behind them has arrived, the usual time holds.
        assert_eq!(lane.offer(8, 1, at(107)), Decision::Wait);
        assert_eq!(lane.due(), Some(at(112)));
    }

    #[test]
    fn an_unknown_lane_begins_with_one_or_with_the_smallest_that_came() {
        let mut lane = Lane::new(WAITS, at(0));
        assert_eq!(lane.offer(6, 5, at(10)), Decision::Wait);
        assert_eq!(lane.missing(at(69)), None);
        assert_eq!(lane.offer(1, 5, at(69)), Decision::Go { skip: 0 });
        lane.applied(6, at(69));
        assert_eq!(lane.offer(6, 5, at(69)), Decision::Go { skip: 0 });

        let mut lane = Lane::new(WAITS, at(0));
        assert_eq!(
            (lane.offer(9, 1, at(10)), lane.offer(6, 2, at(11))),
            (Decision::Wait, Decision::Wait)
        );
        assert_eq!((lane.missing(at(69)), lane.next()), (None, None));
        assert_eq!((lane.missing(at(70)), lane.next()), (None, Some(6)));
        assert_eq!(lane.offer(6, 2, at(70)), Decision::Go { skip: 0 });
    }

    #[test]
    fn a_watermark_shortens_the_first_wait() {
        let mut lane = Lane::new(WAITS, at(0));
        lane.offer(6, 1, at(10));
        lane.watermark(5, at(11));
        assert_eq!(lane.due(), Some(at(70)), "it says nothing of the numbers before 6");
        lane.watermark(6, at(12));
        assert_eq!(lane.due(), Some(at(17)));
        assert_eq!((lane.missing(at(17)), lane.next()), (None, Some(6)));
    }

    #[test]
    fn a_gap_is_named_after_its_time_and_sooner_where_it_is_proven() {
        let mut lane = Lane::resume(4, WAITS, at(0));
        assert_eq!(lane.offer(7, 1, at(10)), Decision::Wait);
        assert_eq!(lane.missing(at(309)), None);
        assert_eq!(lane.missing(at(310)), Some(gap(4, 6, false)));
        lane.watermark(6, at(311));
        assert_eq!(lane.missing(at(315)), None);
        assert_eq!(lane.missing(at(316)), Some(gap(4, 5, true)), "6 may still be on its way");
        lane.absent(Gap { first: 4, last: 6, is_proven: false }, at(317));
        assert_eq!(lane.offer(7, 1, at(317)), Decision::Go { skip: 0 });
    }

    #[test]
    fn rows_lost_at_the_end_are_found_by_the_watermark() {
        let mut lane = Lane::resume(4, WAITS, at(0));
        lane.watermark(9, at(10));
        assert_eq!(lane.missing(at(309)), None);
        assert_eq!(lane.missing(at(310)), Some(gap(4, 8, true)));
        // A later watermark does not put it off, and rows that come do.
        lane.watermark(12, at(310));
        assert_eq!(lane.missing(at(311)), Some(gap(4, 8, true)));
        lane.applied(9, at(312));
        assert_eq!(lane.due(), Some(at(612)));
        lane.applied(12, at(313));
        assert_eq!(lane.due(), None);
    }

    #[test]
    fn suppressed_rows_are_no_gap_wherever_they_lie() {
        let mut lane = Lane::resume(4, WAITS, at(0));
        lane.absent(Gap { first: 6, last: 7, is_proven: true }, at(1));
        lane.offer(9, 1, at(2));
        assert_eq!(lane.missing(at(400)), Some(gap(4, 5, false)));
        lane.applied(6, at(401));
        assert_eq!(lane.next(), Some(8));
        assert_eq!(lane.missing(at(800)), Some(gap(8, 8, false)));
    }

    #[test]
    fn suppressed_rows_that_come_after_all_are_applied_once_also_after_a_restart() {
        let mut lane = Lane::resume(4, WAITS, at(0));
        lane.suppressed(4, 7, at(1));
        lane.suppressed(12, 13, at(1));
        assert_eq!(lane.offer(8, 2, at(2)), Decision::Go { skip: 0 });
        lane.applied(10, at(2));
        let stored: Vec<_> = lane.suppressed_rows().collect();
        assert_eq!((lane.next(), &*stored), (Some(10), &[(4, 7), (12, 13)][..]));
        let mut lane = Lane::resume(10, WAITS, at(3));
        for (first, last) in stored {
            lane.resume_suppressed(first, last, at(3));
        }
        assert_eq!(lane.offer(1, 5, at(4)), Decision::Late { skip: 3, take: 2 });
        lane.applied_late(4, 2);
        assert_eq!(lane.offer(1, 5, at(4)), Decision::Skip);
        // Packed with rows that were applied, and with new ones.
        assert_eq!(lane.offer(5, 6, at(5)), Decision::Late { skip: 1, take: 2 });
        lane.applied_late(6, 2);
        assert_eq!(lane.offer(5, 6, at(5)), Decision::Go { skip: 5 });
        lane.applied(11, at(5));
        // Rows that come before the lane has passed them are in their order.
        assert_eq!(lane.offer(11, 2, at(6)), Decision::Go { skip: 0 });
        lane.applied(13, at(6));
        assert_eq!(lane.next(), Some(14));
        assert_eq!(lane.suppressed_rows().collect::<Vec<_>>(), [(13, 13)]);
        lane.suppressed(4, 7, at(7));
        assert_eq!(lane.offer(4, 4, at(7)), Decision::Skip, "the same message again");
    }

    #[test]
    fn numbers_from_outside_overflow_nothing() {
        let mut lane = Lane::new(WAITS, at(0));
        assert_eq!(lane.offer(u64::MAX, 2, at(0)), Decision::Skip);
        assert_eq!(lane.offer(5, 0, at(0)), Decision::Skip);
        assert_eq!(lane.offer(0, 3, at(0)), Decision::Go { skip: 1 }, "there is no row 0");
        lane.absent(Gap { first: 3, last: u64::MAX, is_proven: false }, at(0));
        lane.applied(3, at(0));
        assert_eq!(lane.next(), Some(u64::MAX));
        assert_eq!(lane.missing(at(999)), None);
    }

    proptest! {
        /// A consumer that holds what waits applies each row once and in order, whatever comes twice,
        /// in another order, or never; and every gap that it is told of is one.
        #[test]
        fn each_row_is_applied_once_and_in_order(
            sizes in prop::collection::vec(1_u64..5, 1..30),
            order in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..20), 0..80),
            joined in 0_usize..4,
        ) {
            let mut messages = Vec::new();
            let mut first = 1;
            for size in &sizes {
                messages.push((first, *size));
                first += size;
            }
            let joined = joined.min(messages.len() - 1);
            let sent = &messages[joined..];
            let (mut lane, mut now) = (Lane::new(WAITS, at(0)), at(0));
            let (mut held, mut came) = (BTreeMap::new(), BTreeSet::new());
            let mut applied: Vec<u64> = Vec::new();
            let mut lost = BTreeSet::new();
            for (index, pause) in order {
                let (first, count) = *index.get(sent);
                now += at(pause * 10);
                held.insert(first, count);
                came.extend(first..first + count);
                if let Some(gap) = lane.missing(now) {
                    let numbers: Vec<_> = (gap.first..=gap.last).collect();
                    prop_assert!(!numbers.is_empty());
                    // What has just arrived is offered below: it closes the gap.
                    if numbers.iter().all(|number| !came.contains(number)) {
                        lost.extend(numbers);
                        lane.absent(gap, now);
                    }
                }
                let waiting: Vec<_> = held.iter().map(|(first, count)| (*first, *count)).collect();
                for (first, count) in waiting {
                    match lane.offer(first, count, now) {
                        Decision::Skip => drop(held.remove(&first)),
                        Decision::Go { skip } => {
                            applied.extend(first + skip..first + count);
                            lane.applied(first + count, now);
                            held.remove(&first);
                        }
                        Decision::Wait | Decision::Late { .. } => {}
                    }
                }
            }
            prop_assert!(applied.is_sorted_by(|a, b| a < b), "{:?}", applied);
            if let Some(begin) = applied.first() {
                let end = *applied.last().expect("there is a first");
                for number in *begin..=end {
                    prop_assert!(applied.contains(&number) || lost.contains(&number));
                }
            }
        }
    }
}
