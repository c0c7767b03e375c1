//! Whether another relay reads the same queue, with a state of its own.
//!
//! Canaries are numbered one by one. Of a queue that is read by two, each relay gets about half of them,
//! again and again, in short runs. Single lost messages, an outage, and messages that a stopped relay gives
//! back look otherwise: few numbers, one run, or numbers that come late. A number that was never published,
//! because its row could not be written, leaves no gap in the numbers of the canaries' rows. Each row of a
//! canary (insert, update, delete) is looked at by itself: a filter policy may let only one of them pass.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use binpulse_client::proto;

use super::lane::stream_of;
use super::limits::LANES_MAX;
use crate::lane::LaneKey;

/// The newest numbers that are looked at.
const WINDOW: u64 = 16;
/// Of these at least so many are missing, in so many places.
const MISSING_MIN: usize = 4;
const RUNS_MIN: usize = 3;
/// Canaries that are kept of each path, at most.
const KEPT_MAX: usize = 5_000;
/// Rows of one canary, at most.
const ROWS_MAX: u64 = 3;

/// Numbers of canaries that have come, of each stream, path and row.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    paths: BTreeMap<LaneKey, Numbers>,
}

/// The newest canaries that have come, by their numbers.
#[derive(Debug, Default)]
struct Numbers(VecDeque<Came>);

/// A canary that has come.
#[derive(Debug, Clone, Copy)]
struct Came {
    number: u64,
    /// The number of its row.
    row: u64,
    at: Duration,
}

impl Sharing {
    /// A canary has come. Others may be late for as long as `wait`.
    pub(super) fn came(&mut self, canary: &proto::Canary, now: Duration, wait: Duration) {
        let Some(batch) = canary.batch.as_ref().filter(|_| canary.number > 0) else { return };
        let (stream, epoch) = stream_of(canary);
        let lane = format!("{} {}", canary.path, canary.phase().as_str_name()).into();
        let path = LaneKey { stream: stream.into(), epoch, lane };
        if self.paths.len() < LANES_MAX || self.paths.contains_key(&path) {
            let numbers = self.paths.entry(path).or_default();
            numbers.came(canary.number, batch.sequence_first, now, wait);
        }
    }

    /// Canaries of a path that have not come, where they look as if another relay had got them. They may
    /// be late for as long as `wait`.
    pub(super) fn found(&self, now: Duration, wait: Duration) -> Option<(&LaneKey, Vec<u64>)> {
        self.paths.iter().find_map(|(path, numbers)| Some((path, numbers.missing(now, wait)?)))
    }
}

impl Numbers {
    fn came(&mut self, number: u64, row: u64, at: Duration, wait: Duration) {
        let place = self.0.partition_point(|came| came.number < number);
        if self.0.get(place).is_none_or(|came| came.number != number) {
            self.0.insert(place, Came { number, row, at });
        }
        // The one in front of the window stays: what is missing behind it is told by it.
        let last = self.last(at, wait).unwrap_or_default();
        while self.0.len() > KEPT_MAX
            || self.0.get(1).is_some_and(|second| second.number.saturating_add(WINDOW) <= last)
        {
            self.0.pop_front();
        }
    }

    /// The newest number that came so long ago that nothing in front of it is late any more.
    fn last(&self, now: Duration, wait: Duration) -> Option<u64> {
        let is_old = |came: &&Came| now >= came.at.saturating_add(wait);
        self.0.iter().rev().find(is_old).map(|came| came.number)
    }

    fn missing(&self, now: Duration, wait: Duration) -> Option<Vec<u64>> {
        let last = self.last(now, wait)?;
        let from = last.saturating_sub(WINDOW - 1);
        let (mut missing, mut runs) = (Vec::new(), 0);
        for (before, behind) in self.0.iter().zip(self.0.iter().skip(1)) {
            let first = before.number.saturating_add(1).max(from);
            let is_published = behind.row.saturating_sub(before.row) > ROWS_MAX;
            if behind.number > last || first >= behind.number || !is_published {
                continue;
            }
            runs += 1;
            missing.extend(first..behind.number);
        }
        (missing.len() >= MISSING_MIN && runs >= RUNS_MIN).then_some(missing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_mins(1);
    const LATER: Duration = Duration::from_hours(1);

    fn of(came: impl IntoIterator<Item = u64>) -> Numbers {
        let mut numbers = Numbers::default();
        for number in came {
            numbers.came(number, number * 3, Duration::from_secs(number), WAIT);
        }
        numbers
    }

    #[test]
    fn every_second_number_is_another_relays_once_it_is_not_late_any_more() {
        let numbers = of((100..130).filter(|number| number % 2 == 0));
        assert_eq!(numbers.missing(Duration::from_secs(130), WAIT), None, "they may be late");
        let missing = numbers.missing(LATER, WAIT).expect("shared");
        assert_eq!(missing, [113, 115, 117, 119, 121, 123, 125, 127]);
        // The other one gives them back.
        let mut numbers = numbers;
        (101..130).for_each(|number| numbers.came(number, number * 3, LATER, WAIT));
        assert_eq!(numbers.missing(LATER + LATER, WAIT), None);
    }

    #[test]
    fn many_canaries_may_come_while_one_is_still_late_and_few_are_kept() {
        let mut numbers = Numbers::default();
        let found = (0..2_000_u64).filter(|number| number % 2 == 0).find_map(|number| {
            let now = Duration::from_millis(number * 100);
            numbers.came(number, number * 3, now, WAIT);
            numbers.missing(now, WAIT)
        });
        assert_eq!(found, Some(vec![1, 3, 5, 7]));
        for number in 2_000..60_000 {
            numbers.came(number, number * 3, Duration::from_millis(number * 100), WAIT);
        }
        assert!(numbers.0.len() < 700, "{} in a minute and the window", numbers.0.len());
        for number in 60_000..66_000 {
            numbers.came(number, number * 3, Duration::from_hours(2), WAIT);
        }
        assert!(numbers.0.len() <= KEPT_MAX);
    }

    #[test]
    fn an_outage_and_single_losses_are_no_sharing() {
        let outage = (1..200).filter(|number| !(150..190).contains(number));
        let single = (1..200).filter(|number| ![185, 190, 195].contains(number));
        assert_eq!(of(outage).missing(LATER, WAIT), None);
        assert_eq!(of(single).missing(LATER, WAIT), None);
        // What came before the first is not known.
        assert_eq!(of([7, 8]).missing(LATER, WAIT), None);
        assert_eq!(of([7]).missing(LATER, WAIT), None);
        assert_eq!(of([]).missing(LATER, WAIT), None);
    }

    #[test]
    fn canaries_that_were_never_published_are_no_sharing() {
        let mut numbers = Numbers::default();
        for (canary, number) in (1..100).zip((1..200).step_by(2)) {
            numbers.came(number, canary * ROWS_MAX, Duration::ZERO, WAIT);
        }
        assert_eq!(numbers.missing(LATER, WAIT), None);
    }

    proptest! {
        /// In whatever order they come, and however far apart they are: what is missing did not come, and
        /// memory is bounded.
        #[test]
        fn what_is_missing_did_not_come(
            came in prop::collection::vec(prop_oneof![0_u64..200, any::<u64>()], 0..120),
        ) {
            let mut numbers = Numbers::default();
            for number in &came {
                numbers.came(*number, number.saturating_mul(ROWS_MAX), Duration::ZERO, WAIT);
            }
            for number in numbers.missing(Duration::MAX, WAIT).unwrap_or_default() {
                prop_assert!(!came.contains(&number));
            }
        }

        /// Each of two gets a random half.
        #[test]
        fn a_random_half_is_found(halves in prop::collection::vec(any::<bool>(), 200)) {
            let is_found = (0..2).all(|mine| {
                let mut numbers = Numbers::default();
                let of_mine = |(half, _): &(&bool, u64)| usize::from(**half) == mine;
                halves.iter().zip(1_u64..).filter(of_mine).any(|(_, number)| {
                    numbers.came(number, number * ROWS_MAX, Duration::ZERO, WAIT);
                    numbers.missing(LATER, WAIT).is_some()
                })
            });
            prop_assert!(is_found);
        }
    }
}
