//! How long to wait before the next attempt. Pure: randomness and time come in.
//!
//! Full jitter: each pause is drawn evenly from zero to a ceiling that doubles with every failure,
//! so that many clients of one server that came back do not arrive together ("Exponential Backoff
//! And Jitter", AWS Architecture Blog).

use std::time::Duration;

/// Failures in a row, and the pause that follows from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    failures: u32,
}

impl Backoff {
    /// Ceiling of the pause: `first` after the first failure, then doubling up to `ceiling`.
    pub fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling, failures: 0 }
    }

    /// Notes a failure; the pause before the next attempt. `random` is evenly distributed over all
    /// of `u64`.
    pub fn pause(&mut self, random: u64) -> Duration {
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let limit = self.first.saturating_mul(1 << doublings).min(self.ceiling);
        let limit_us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let drawn = (u128::from(random) * u128::from(limit_us)) >> 64;
        Duration::from_micros(u64::try_from(drawn).unwrap_or(limit_us))
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a success that has held for `healthy`. One that held shorter than the ceiling forgets
    /// nothing, or a connection that is accepted and thrown out at once would be redialled without
    /// a pause.
    pub fn succeeded(&mut self, healthy: Duration) {
        if healthy >= self.ceiling {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Backoff;

    const FIRST: Duration = Duration::from_millis(100);
    const CEILING: Duration = Duration::from_secs(20);

    #[test]
    fn the_longest_pause_doubles_up_to_the_ceiling() {
        let mut backoff = Backoff::new(FIRST, CEILING);
        let longest: Vec<_> =
            (0..12).map(|_| backoff.pause(u64::MAX).as_millis().div_ceil(100)).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 200, 200, 200, 200]);
        assert_eq!(backoff.failures(), 12);
    }

    #[test]
    fn only_a_success_that_lasted_forgets_the_failures() {
        let mut backoff = Backoff::new(FIRST, CEILING);
        for _ in 0..5 {
            backoff.pause(0);
        }
        backoff.succeeded(Duration::from_secs(1));
        assert_eq!(backoff.failures(), 5);
        backoff.succeeded(CEILING);
        assert_eq!(backoff.failures(), 0);
    }

    proptest! {
        #[test]
        fn no_pause_exceeds_the_ceiling(failures in 0_u32..200, random: u64) {
            let mut backoff = Backoff::new(FIRST, CEILING);
            for _ in 0..failures {
                prop_assert!(backoff.pause(random) <= CEILING);
            }
        }
    }
}
