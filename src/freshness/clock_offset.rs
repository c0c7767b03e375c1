//! How far the source's clock is from ours, measured as NTP does it, with its error.
//!
//! A question and its answer bracket the moment at which the source read its clock, so the offset
//! is known to half of the round trip. Of the last samples the one with the smallest error counts;
//! an older one's error grows with what two clocks may drift apart. The question is asked by
//! `WriteSession::facts`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::freshness::ClockSample;

/// Samples that are kept.
const SAMPLES_MAX: usize = 8;
/// What two undisciplined clocks drift apart at most, microseconds per second.
const DRIFT_US_PER_S: u64 = 100;

/// An offset and its error bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The source's clock minus ours, microseconds.
    pub offset_us: i64,
    /// The true offset is within this of it, microseconds.
    pub error_us: u64,
}

impl Offset {
    /// Of one question and its answer; `None` where the answer came before the question.
    pub fn of(sample: &ClockSample) -> Option<Self> {
        let round_trip = u64::try_from(sample.received_us.saturating_sub(sample.sent_us)).ok()?;
        let middle = sample.sent_us.saturating_add_unsigned(round_trip / 2);
        let offset_us = sample.source_us.saturating_sub(middle);
        Some(Self { offset_us, error_us: round_trip.div_ceil(2) })
    }

    /// The least that the clocks can differ by, microseconds: what an alert may rest on.
    pub fn certain_us(&self) -> u64 {
        self.offset_us.unsigned_abs().saturating_sub(self.error_us)
    }

    /// Whether some offset is within both error bars.
    fn overlaps(&self, other: &Self) -> bool {
        let apart = self.offset_us.abs_diff(other.offset_us);
        apart <= self.error_us.saturating_add(other.error_us)
    }
}

/// The last samples.
#[derive(Debug, Default)]
pub(super) struct ClockOffset {
    samples: VecDeque<(Instant, Offset)>,
}

impl ClockOffset {
    /// Takes a sample; one whose answer came before its question is dropped.
    pub(super) fn observe(&mut self, at: Instant, sample: &ClockSample) {
        let Some(new) = Offset::of(sample) else { return };
        // Two that can't both be true: one of the clocks was stepped, and what was before is over.
        if self.offset(at).is_some_and(|best| !best.overlaps(&new)) {
            self.samples.clear();
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((at, new));
    }

    /// Forgets all: our own clock was stepped.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }

    /// The best that is known.
    pub(super) fn offset(&self, now: Instant) -> Option<Offset> {
        self.samples
            .iter()
            .map(|(at, sample)| {
                let age_s = now.saturating_duration_since(*at).as_secs();
                let drift = age_s.saturating_mul(DRIFT_US_PER_S);
                Offset { error_us: sample.error_us.saturating_add(drift), ..*sample }
            })
            .min_by_key(|offset| offset.error_us)
    }
}

/// The source's clock, told by our monotonic one: neither a step of our own clock nor a source whose
/// clock is off looks like lag.
#[derive(Debug, Default)]
pub(super) struct SourceClock {
    read: Mutex<Option<(Instant, i64)>>,
}

impl SourceClock {
    /// At `at` the source's clock was ahead of ours, which was `wall_us`, by `offset_us`.
    pub(super) fn observe(&self, at: Instant, wall_us: i64, offset_us: i64) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        *read = Some((at, wall_us.saturating_add(offset_us)));
    }

    /// What it says at `now`, microseconds since 1970 UTC; `wall_us`, our own clock, where it was
    /// never read.
    pub(super) fn now_us(&self, now: Instant, wall_us: i64) -> i64 {
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.map_or(wall_us, |(at, source_us)| {
            let passed = now.saturating_duration_since(at).as_micros();
            source_us.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_true_offset_is_within_the_error_however_the_way_is_split(
            offset_us in -10_000_000_000_i64..10_000_000_000,
            there_us in 0_i64..3_000_000,
            back_us in 0_i64..3_000_000,
        ) {
            let (sent_us, now) = (1_800_000_000_000_000, Instant::now());
            let mut clock = ClockOffset::default();
            clock.observe(now, &ClockSample {
                sent_us,
                source_us: sent_us + there_us + offset_us,
                received_us: sent_us + there_us + back_us,
            });
            let found = clock.offset(now).expect("a sample");
            prop_assert!((found.offset_us - offset_us).unsigned_abs() <= found.error_us);
            prop_assert!(found.certain_us() <= offset_us.unsigned_abs());
        }
    }

    proptest! {
        /// Clocks that drift apart by up to 100 us a second, asked at any times over any network.
        #[test]
        fn the_true_offset_is_within_the_error_however_the_clocks_drift(
            drift_ppm in -100_i64..=100,
            questions in proptest::collection::vec((0_i64..400, 0_i64..80_000, 0_i64..80_000), 1..40),
        ) {
            let (start, mut clock) = (Instant::now(), ClockOffset::default());
            let mut second = 0;
            for (pause, there_us, back_us) in questions {
                second += pause;
                let (sent_us, offset_us) = (second * 1_000_000, 5_000_000 + second * drift_ppm);
                let at = start + Duration::from_secs(second.unsigned_abs());
                let (source_us, received_us) =
                    (sent_us + there_us + offset_us, sent_us + there_us + back_us);
                clock.observe(at, &ClockSample { sent_us, source_us, received_us });
                let found = clock.offset(at).expect("a sample");
                prop_assert!(found.offset_us.abs_diff(offset_us) <= found.error_us);
                // And it is no worse than the last answer alone.
                prop_assert!(found.error_us <= (there_us + back_us).unsigned_abs().div_ceil(2));
                prop_assert!(clock.samples.len() <= SAMPLES_MAX);
            }
        }
    }

    #[test]
    fn a_stepped_clock_is_noticed_with_the_next_answer_and_an_answer_before_its_question_is_none() {
        let (mut clock, start) = (ClockOffset::default(), Instant::now());
        clock.observe(start, &ClockSample { sent_us: 10, source_us: 5, received_us: 9 });
        assert_eq!(clock.offset(start), None);
        clock.observe(start, &ClockSample { sent_us: 0, source_us: 100, received_us: 200 });
        // The worst answer that still agrees, and one that can't be true beside the first.
        clock.observe(start, &ClockSample { sent_us: 0, source_us: 700, received_us: 1_000 });
        assert_eq!(clock.offset(start), Some(Offset { offset_us: 0, error_us: 100 }));
        clock.observe(start, &ClockSample { sent_us: 0, source_us: 1_101, received_us: 1_000 });
        assert_eq!(clock.offset(start), Some(Offset { offset_us: 601, error_us: 500 }));
        clock.clear();
        assert_eq!(clock.offset(start), None);
    }

    #[test]
    fn a_quick_answer_outweighs_a_slow_one_until_it_is_old() {
        let (mut clock, start) = (ClockOffset::default(), Instant::now());
        let sample =
            |source_us, took_us| ClockSample { sent_us: 0, source_us, received_us: took_us };
        clock.observe(start, &sample(1_000, 200));
        clock.observe(start, &sample(50_000, 80_000));
        assert_eq!(clock.offset(start), Some(Offset { offset_us: 900, error_us: 100 }));
        let later = start + Duration::from_secs(1_000);
        clock.observe(later, &sample(50_000, 80_000));
        assert_eq!(clock.offset(later).map(|offset| offset.offset_us), Some(10_000));
    }

    #[test]
    fn a_step_of_our_own_clock_does_not_move_the_sources() {
        let (clock, start) = (SourceClock::default(), Instant::now());
        let later = start + Duration::from_secs(2);
        assert_eq!(clock.now_us(start, 7_000_000), 7_000_000, "never read");
        clock.observe(start, 7_000_000, 3_600_000_000);
        assert_eq!(clock.now_us(later, 9_000_000), 3_609_000_000);
        assert_eq!(clock.now_us(later, 309_000_000), 3_609_000_000, "stepped by five minutes");
    }
}
