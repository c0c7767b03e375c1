//! The source's clock, told by our monotonic one: neither a step of our own clock nor a source whose
//! clock is off looks like lag. The offset itself is measured in `verdict/clock_offset.rs`.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What the source's clock said last, and when.
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

    use super::*;

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
