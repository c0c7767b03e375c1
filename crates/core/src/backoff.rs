//! How long to wait before the next attempt. Pure: randomness and time come in.
//!
//! Full jitter: each pause is drawn evenly from zero to a ceiling that doubles with every failure,
//! so that many clients of one server that came back do not arrive together ("Exponential Backoff
//! And Jitter", AWS Architecture Blog).

use std::time::{Duration, Instant};

/// Parts of the ceiling, each of which forgets one failure if it passes well.
const FORGETS_STEPS: u32 = 16;

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

    /// Failures that are not forgotten.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a success that has held for `healthy`: each sixteenth of the ceiling halves the next
    /// pause. So what breaks now and then is tried again at once, while a connection that is accepted
    /// and thrown out as soon as it connected forgets nothing, and is not redialled without a pause.
    pub fn succeeded(&mut self, healthy: Duration) {
        let step = (self.ceiling / FORGETS_STEPS).max(Duration::from_millis(1));
        let steps = u32::try_from(healthy.as_millis() / step.as_millis()).unwrap_or(u32::MAX);
        // Failures beyond the ceiling have made no pause longer: they count no more than it does.
        self.failures = self.failures.min(self.failures_max()).saturating_sub(steps);
    }

    /// Failures from which on the ceiling is reached.
    fn failures_max(&self) -> u32 {
        let reaches = |failures: &u32| self.first.saturating_mul(1 << failures) >= self.ceiling;
        (0..31).find(reaches).unwrap_or(31).saturating_add(1)
    }
}

/// Attempts at one connection after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconnectBackoff {
    backoff: Backoff,
    standing_since: Option<Instant>,
}

impl ReconnectBackoff {
    /// Nothing was attempted yet.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, standing_since: None }
    }

    /// A connection connected.
    pub fn connected(&mut self, at: Instant) {
        self.standing_since = Some(at);
    }

    /// It broke, or none could be made; the pause before the next attempt. Only time that a connection
    /// stood is health: a dial that hung forgets nothing.
    pub fn broke(&mut self, at: Instant, random: u64) -> Duration {
        let stood = self.standing_since.take().map(|since| at.saturating_duration_since(since));
        self.backoff.succeeded(stood.unwrap_or_default());
        self.backoff.pause(random)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Backoff, ReconnectBackoff};

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
    fn dials_that_hang_make_the_pauses_longer_and_a_connection_that_stood_makes_them_short() {
        let (mut redial, mut now) =
            (ReconnectBackoff::new(Backoff::new(FIRST, CEILING)), Instant::now());
        let mut longest = Vec::new();
        for _ in 0..5 {
            // Each dial ends with its deadline only, much later than a success would take to be one.
            now += CEILING;
            longest.push(redial.broke(now, u64::MAX).as_millis().div_ceil(100));
        }
        assert_eq!(longest, [1, 2, 4, 8, 16]);
        redial.connected(now);
        now += CEILING;
        assert!(redial.broke(now, u64::MAX) <= FIRST);
        // That it stood is used up.
        now += CEILING;
        assert!(redial.broke(now, u64::MAX) > FIRST);
    }

    #[test]
    fn failures_are_forgotten_as_long_as_it_goes_well() {
        let mut backoff = Backoff::new(FIRST, CEILING);
        for _ in 0..5 {
            backoff.pause(0);
        }
        backoff.succeeded(Duration::from_millis(1_249));
        assert_eq!(backoff.failures(), 5, "it did not stand long enough");
        backoff.succeeded(Duration::from_millis(2_500));
        assert_eq!(backoff.failures(), 3);
        backoff.succeeded(CEILING);
        assert_eq!(backoff.failures(), 0);

        // A long outage is forgotten within half of the ceiling, and not at once.
        for _ in 0..1_000 {
            backoff.pause(0);
        }
        backoff.succeeded(Duration::ZERO);
        assert_eq!(backoff.failures(), 9);
        backoff.succeeded(CEILING / 2);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn a_fault_every_ten_seconds_costs_a_short_pause_and_one_every_half_second_ever_longer_ones() {
        let longest = |healthy: Duration| {
            let mut backoff = Backoff::new(FIRST, CEILING);
            let pauses = (0..40).map(|_| {
                backoff.succeeded(healthy);
                backoff.pause(u64::MAX)
            });
            pauses.max().expect("forty")
        };
        assert!(longest(Duration::from_secs(10)) <= FIRST);
        assert!(longest(Duration::from_millis(500)) > CEILING / 2);
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
