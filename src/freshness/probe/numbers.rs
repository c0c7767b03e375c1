//! Which messages of one lane came, and which are missing. Pure: time comes in as an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Gaps that are remembered. With more, the oldest are counted as lost and forgotten.
const GAPS_MAX: usize = 1024;

/// Largest gap that is believed, in messages: at a canary's three a second, months of silence. A
/// larger one is damage or forgery, and would make all that follows look old.
const GAP_MAX: u64 = 10_000_000;

/// A message's place in its lane: numbers are contiguous within an epoch, and epochs rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The epoch.
    pub epoch: u64,
    /// The number within it, from 1.
    pub number: u64,
}

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryArrival {
    /// Newer than all before.
    New,
    /// It fills a gap, in time.
    Reordered,
    /// It had been counted as lost.
    Late,
    /// It had come before.
    Duplicate,
    /// Older than what is remembered, or of an epoch that was over.
    Stale,
    /// Its number is farther ahead than can be.
    Implausible,
}

/// Counts since the start. A message that is late is among the lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that came, each counted once.
    pub received: u64,
    /// Messages that did not come within the deadline after a later one had.
    pub lost: u64,
    /// Lost messages that came after all.
    pub late: u64,
    /// Messages that came again.
    pub duplicate: u64,
    /// Messages that came in time, but after a later one.
    pub reordered: u64,
    /// Messages older than what is remembered.
    pub stale: u64,
    /// Messages with a number that cannot be.
    pub implausible: u64,
}

/// Numbers that did not come: the key's up to this one.
#[derive(Debug, Clone, Copy)]
struct Gap {
    last: u64,
    noticed: Instant,
    is_lost: bool,
}

/// One lane's account.
///
/// Invariant: places from `floor` to `newest` that are in no gap have come; gaps do not overlap.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    deadline: Duration,
    newest: Option<Place>,
    /// Last place of the epoch before, as far as it was seen.
    before: Option<Place>,
    floor: Option<Place>,
    /// When the newest came.
    newest_at: Option<Instant>,
    /// Messages that came in their order behind the newest: the last, and how many.
    behind: Option<(Place, u32)>,
    gaps: BTreeMap<Place, Gap>,
    counts: Counts,
}

/// So many messages in their order, where the newest has had no successor for half of the deadline, are
/// the lane as it is: the newest was forged.
const RUN: u32 = 3;
/// How far apart messages of such a run may be.
const STEP_MAX: u64 = 10;

impl Numbers {
    /// An empty account; what is missing for `deadline` is lost.
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            newest: None,
            before: None,
            floor: None,
            newest_at: None,
            behind: None,
            gaps: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// A message came.
    pub(super) fn observe(&mut self, place: Place, now: Instant) -> CanaryArrival {
        // What is overdue is lost, also if nobody has looked since.
        self.expire(now);
        let mut arrival = self.classify(place, now);
        if matches!(arrival, CanaryArrival::Reordered | CanaryArrival::Stale)
            && self.is_left_behind(place, now)
        {
            self.go_back_to(place);
            arrival = self.classify(place, now);
        }
        match arrival {
            CanaryArrival::New => {
                self.counts.received += 1;
                self.newest_at = Some(now);
                self.behind = None;
            }
            CanaryArrival::Reordered => {
                self.counts.received += 1;
                self.counts.reordered += 1;
            }
            CanaryArrival::Late => {
                self.counts.received += 1;
                self.counts.late += 1;
            }
            CanaryArrival::Duplicate => self.counts.duplicate += 1,
            CanaryArrival::Stale => self.counts.stale += 1,
            CanaryArrival::Implausible => self.counts.implausible += 1,
        }
        arrival
    }

    /// Notes a message behind the newest; whether the lane continues there, and the newest was forged.
    fn is_left_behind(&mut self, place: Place, now: Instant) -> bool {
        let follows = |last: Place| {
            let step = place.number.wrapping_sub(last.number);
            place.epoch == last.epoch && (1..=STEP_MAX).contains(&step)
        };
        self.behind = match self.behind {
            Some((last, count)) if follows(last) => Some((place, count.saturating_add(1))),
            // Swapped within a canary.
            Some((last, count)) if place.epoch == last.epoch && place < last => Some((last, count)),
            Some(_) | None => Some((place, 1)),
        };
        let half = self.deadline / 2;
        self.behind.is_some_and(|(_, count)| count >= RUN)
            && self.newest_at.is_some_and(|at| now.saturating_duration_since(at) > half)
    }

    /// Forgets what is in front of `place`, as if it had not come.
    fn go_back_to(&mut self, place: Place) {
        let before = Place { number: place.number.saturating_sub(1), ..place };
        drop(self.gaps.split_off(&place));
        if let Some(mut last) = self.gaps.last_entry()
            && last.key().epoch == place.epoch
        {
            let gap = last.get_mut();
            gap.last = gap.last.min(before.number);
        }
        self.before = self.before.filter(|before| before.epoch < place.epoch);
        self.floor = self.floor.map(|floor| floor.min(place));
        self.newest = Some(before);
    }

    /// Counts what is overdue as lost; how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let deadline = self.deadline;
        let mut lost = 0;
        for (first, gap) in &mut self.gaps {
            if !gap.is_lost && now.saturating_duration_since(gap.noticed) > deadline {
                gap.is_lost = true;
                lost += gap.last - first.number + 1;
            }
        }
        self.counts.lost += lost;
        lost
    }

    /// A message came with a place that cannot be. It changes nothing.
    pub(super) fn implausible(&mut self) -> CanaryArrival {
        self.counts.implausible += 1;
        CanaryArrival::Implausible
    }

    /// Counts since the start.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    fn classify(&mut self, place: Place, now: Instant) -> CanaryArrival {
        let Some(newest) = self.newest else {
            self.floor = Some(place);
            self.newest = Some(place);
            return CanaryArrival::New;
        };
        if place <= newest {
            return self.judge_old(place, newest);
        }
        let first_missing =
            if place.epoch == newest.epoch { newest.number.saturating_add(1) } else { 1 };
        let missing = place.number.saturating_sub(first_missing);
        if missing > GAP_MAX {
            return CanaryArrival::Implausible;
        }
        if place.epoch != newest.epoch {
            self.before = Some(newest);
        }
        self.newest = Some(place);
        if missing > 0 {
            let first = Place { epoch: place.epoch, number: first_missing };
            self.open_gap(first, Gap { last: place.number - 1, noticed: now, is_lost: false });
        }
        CanaryArrival::New
    }

    fn judge_old(&mut self, place: Place, newest: Place) -> CanaryArrival {
        let found = self.gaps.range(..=place).next_back();
        let found = found.map(|(first, gap)| (*first, *gap));
        if let Some((first, gap)) = found
            && first.epoch == place.epoch
            && place.number <= gap.last
        {
            self.fill(first, gap, place);
            return if gap.is_lost { CanaryArrival::Late } else { CanaryArrival::Reordered };
        }
        let is_forgotten = self.floor.is_some_and(|floor| place < floor);
        let is_of_old_epoch = place.epoch < newest.epoch
            && self.before.is_none_or(|before| place > before || place.epoch < before.epoch);
        if is_forgotten || is_of_old_epoch {
            CanaryArrival::Stale
        } else {
            CanaryArrival::Duplicate
        }
    }

    /// Takes `place` out of the gap: what is left are up to two gaps of the same age.
    fn fill(&mut self, first: Place, gap: Gap, place: Place) {
        self.gaps.remove(&first);
        if first < place {
            self.open_gap(first, Gap { last: place.number - 1, ..gap });
        }
        if place.number < gap.last {
            self.open_gap(Place { number: place.number + 1, ..place }, gap);
        }
    }

    fn open_gap(&mut self, first: Place, gap: Gap) {
        self.gaps.insert(first, gap);
        if self.gaps.len() > GAPS_MAX
            && let Some((first, gap)) = self.gaps.pop_first()
        {
            if !gap.is_lost {
                self.counts.lost += gap.last - first.number + 1;
            }
            self.floor = Some(Place { number: gap.last.saturating_add(1), ..first });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const DEADLINE: Duration = Duration::from_mins(1);

    fn at(epoch: u64, number: u64) -> Place {
        Place { epoch, number }
    }

    #[test]
    fn lost_late_duplicate_and_reordered_are_told_apart() {
        let start = Instant::now();
        let later = start + DEADLINE + Duration::from_secs(1);
        let mut numbers = Numbers::new(DEADLINE);
        for (place, now, arrival) in [
            (at(1, 5), start, CanaryArrival::New),
            (at(1, 4), start, CanaryArrival::Stale),
            (at(1, 9), start, CanaryArrival::New),
            (at(1, 7), start, CanaryArrival::Reordered),
            (at(1, 7), start, CanaryArrival::Duplicate),
            (at(1, 9), start, CanaryArrival::Duplicate),
            (at(1, 6), later, CanaryArrival::Late),
            (at(1, 10), later, CanaryArrival::New),
        ] {
            assert_eq!(numbers.observe(place, now), arrival, "{place:?}");
        }
        let counts = numbers.counts();
        // 6 and 8 were missing for too long.
        assert_eq!((counts.received, counts.lost, counts.late), (5, 2, 1));
        assert_eq!((counts.duplicate, counts.reordered, counts.stale), (2, 1, 1));
        assert_eq!(numbers.newest, Some(at(1, 10)));
    }

    #[test]
    fn what_is_missing_is_lost_only_after_its_deadline_and_only_once() {
        let start = Instant::now();
        let mut numbers = Numbers::new(DEADLINE);
        numbers.observe(at(1, 1), start);
        numbers.observe(at(1, 5), start);
        assert_eq!(numbers.expire(start + DEADLINE), 0);
        assert_eq!(numbers.expire(start + DEADLINE + Duration::from_millis(1)), 3);
        assert_eq!(numbers.expire(start + DEADLINE * 5), 0);
    }

    #[test]
    fn a_new_epoch_begins_with_one_and_the_old_one_is_over() {
        let start = Instant::now();
        let mut numbers = Numbers::new(DEADLINE);
        for (place, arrival) in [
            (at(1, 100), CanaryArrival::New),
            (at(1, 102), CanaryArrival::New),
            (at(2, 3), CanaryArrival::New),
            (at(1, 101), CanaryArrival::Reordered),
            (at(1, 102), CanaryArrival::Duplicate),
            (at(1, 103), CanaryArrival::Stale),
            (at(2, 1), CanaryArrival::Reordered),
            (at(2, 1), CanaryArrival::Duplicate),
            (at(3, 1), CanaryArrival::New),
            (at(1, 100), CanaryArrival::Stale),
        ] {
            assert_eq!(numbers.observe(place, start), arrival, "{place:?}");
        }
        assert_eq!(numbers.expire(start + DEADLINE * 2), 1, "2 of epoch 2");
    }

    #[test]
    fn a_number_that_cannot_be_changes_nothing() {
        let start = Instant::now();
        let mut numbers = Numbers::new(DEADLINE);
        numbers.observe(at(1, 1), start);
        for place in [at(1, u64::MAX), at(u64::MAX, u64::MAX), at(2, GAP_MAX + 2)] {
            assert_eq!(numbers.observe(place, start), CanaryArrival::Implausible, "{place:?}");
        }
        assert_eq!(numbers.observe(at(1, 2), start), CanaryArrival::New);
        assert_eq!(numbers.counts().implausible, 3);
    }

    #[test]
    fn memory_is_bounded_however_many_gaps_there_are() {
        let start = Instant::now();
        let mut numbers = Numbers::new(DEADLINE);
        let count = 3 * GAPS_MAX as u64;
        for number in 0..=count {
            numbers.observe(at(1, 1 + number * 2), start);
        }
        assert_eq!(numbers.gaps.len(), GAPS_MAX);
        assert_eq!(numbers.counts().lost, count - GAPS_MAX as u64);
        assert_eq!(numbers.observe(at(1, 2), start), CanaryArrival::Stale, "it is forgotten");
    }

    proptest! {
        /// However messages are repeated and mixed, each is received once, and what is lost in the
        /// end is what never came.
        #[test]
        fn every_message_is_counted_once(
            numbers in proptest::collection::vec(1_u64..200, 1..400),
        ) {
            let start = Instant::now();
            let mut account = Numbers::new(DEADLINE);
            account.observe(at(1, 1), start);
            let mut came = BTreeSet::from([1]);
            for number in numbers {
                let arrival = account.observe(at(1, number), start);
                prop_assert_eq!(arrival == CanaryArrival::Duplicate, !came.insert(number));
                prop_assert!(arrival != CanaryArrival::Late && arrival != CanaryArrival::Stale);
            }
            let counts = account.counts();
            prop_assert_eq!(counts.received, came.len() as u64);
            let newest = *came.last().expect("1 at least");
            let lost = account.expire(start + DEADLINE * 2);
            prop_assert_eq!(lost, newest - came.len() as u64);
            for number in 1..=newest {
                let arrival = account.observe(at(1, number), start + DEADLINE * 2);
                let expected =
                    if came.contains(&number) { CanaryArrival::Duplicate } else { CanaryArrival::Late };
                prop_assert_eq!(arrival, expected);
            }
            let counts = account.counts();
            prop_assert_eq!((counts.received, counts.late), (newest, lost));
        }
    }
}
