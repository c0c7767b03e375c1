//! When a request that failed is sent again, and when it is parked. Pure: chance comes in.

use std::time::Duration;

use binpulse_core::backoff::Backoff;

/// Pauses with full jitter that double from failure to failure, and how many attempts there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Longest pause after the first failure.
    pub first: Duration,
    /// Longest pause at all, unless the receiver asks for more.
    pub ceiling: Duration,
    /// Longest pause that a receiver can ask for.
    pub retry_after_max: Duration,
    /// Attempts that count until a request is parked.
    pub max_attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            ceiling: Duration::from_hours(1),
            retry_after_max: Duration::from_hours(1),
            max_attempts: 15,
        }
    }
}

/// A failed attempt at one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Attempts at this request that failed before, and counted.
    pub attempts: u32,
    /// Whether it was the breaker's probe, and failed as an outage. Such an attempt says nothing
    /// about the request: it does not count, or a long outage would park whichever request is used
    /// to look whether the receiver is back.
    pub is_probe: bool,
    /// The receiver asks not to be tried again before.
    pub retry_after: Option<Duration>,
}

/// What happens next with a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is sent again.
    Again {
        /// Not before this time has passed.
        pause: Duration,
        /// Failed attempts that count, to be kept with the request.
        attempts: u32,
    },
    /// It had all its attempts.
    Park {
        /// Failed attempts that count.
        attempts: u32,
    },
}

impl Retry {
    /// What follows from a failure. `random` is evenly distributed over all of `u64`.
    pub fn after(&self, failed: FailedAttempt, random: u64) -> Next {
        let counts = u32::from(!failed.is_probe);
        let attempts = failed.attempts.saturating_add(counts);
        if !failed.is_probe && attempts >= self.max_attempts {
            return Next::Park { attempts };
        }
        let mut backoff = Backoff::new(self.first, self.ceiling);
        // Beyond these doublings the ceiling is reached.
        for _ in 1..attempts.min(32) {
            backoff.pause(0);
        }
        let asked = failed.retry_after.unwrap_or_default().min(self.retry_after_max);
        Next::Again { pause: backoff.pause(random).max(asked), attempts }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(attempts: u32) -> FailedAttempt {
        FailedAttempt { attempts, is_probe: false, retry_after: None }
    }

    #[test]
    fn the_longest_pauses_double_from_five_seconds_to_an_hour_and_the_fifteenth_failure_parks() {
        let retry = Retry::default();
        let mut longest = Vec::new();
        let mut attempts = 0;
        loop {
            match retry.after(failed(attempts), u64::MAX) {
                Next::Again { pause, attempts: counted } => {
                    longest.push(pause.as_secs_f64().round());
                    attempts = counted;
                }
                Next::Park { attempts } => {
                    assert_eq!(attempts, 15);
                    break;
                }
            }
        }
        let expected = [
            5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, 3600.0, 3600.0,
            3600.0, 3600.0,
        ];
        assert_eq!(longest, expected);
    }

    #[test]
    fn retry_after_is_honoured_up_to_its_cap() {
        let retry = Retry::default();
        let asked = |seconds, random| {
            let retry_after = Some(Duration::from_secs(seconds));
            match retry.after(FailedAttempt { retry_after, ..failed(0) }, random) {
                Next::Again { pause, .. } => pause,
                Next::Park { .. } => panic!("parked"),
            }
        };
        assert_eq!(asked(30, 0), Duration::from_secs(30));
        assert_eq!(asked(0, 0), Duration::ZERO);
        assert_eq!(asked(1, u64::MAX).as_millis(), 4_999, "the pause of its own is longer");
        assert_eq!(asked(u64::MAX, 0), Duration::from_hours(1));
    }

    #[test]
    fn the_probe_of_an_outage_never_parks_a_request() {
        let retry = Retry::default();
        for attempts in [0, 14, 15, 1_000] {
            let failed = FailedAttempt { is_probe: true, ..failed(attempts) };
            assert!(
                matches!(retry.after(failed, 7), Next::Again { attempts: kept, .. } if kept == attempts)
            );
        }
    }

    proptest! {
        #[test]
        fn every_pause_is_bounded_and_every_request_ends(
            attempts in 0_u32..100,
            is_probe: bool,
            retry_after in proptest::option::of(0_u64..10_000_000),
            max_attempts in 1_u32..40,
            random: u64,
        ) {
            let retry = Retry { max_attempts, ..Retry::default() };
            let retry_after = retry_after.map(Duration::from_secs);
            let failed = FailedAttempt { attempts, is_probe, retry_after };
            match retry.after(failed, random) {
                Next::Again { pause, attempts: counted } => {
                    prop_assert!(is_probe || counted == attempts + 1);
                    prop_assert!(is_probe || counted < max_attempts);
                    prop_assert!(pause <= retry.ceiling.max(retry.retry_after_max));
                    let asked = retry_after.unwrap_or_default().min(retry.retry_after_max);
                    prop_assert!(pause >= asked);
                    // Without a wish of the receiver it is the jittered pause, and no other.
                    let limit = retry.first.saturating_mul(1 << (counted.clamp(1, 31) - 1)).min(retry.ceiling);
                    prop_assert!(pause <= limit.max(asked));
                }
                Next::Park { attempts: counted } => {
                    prop_assert!(!is_probe && counted >= max_attempts);
                }
            }
        }
    }
}
