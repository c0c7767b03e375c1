//! A token bucket: how many rows may go in a time. Pure.

use std::time::{Duration, Instant};

/// So many rows a second, and some more at once after a time with fewer.
#[derive(Debug, Clone)]
pub struct Bucket {
    rows_per_second: f64,
    /// Seconds of which the rows may come at once.
    burst_seconds: f64,
    /// Rows that may go; below 0: so many went that may not have.
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rows_per_second: u64, burst: Duration, now: Instant) -> Self {
        let (rows_per_second, burst_seconds) = (to_f64(rows_per_second), burst.as_secs_f64());
        let tokens = rows_per_second * burst_seconds;
        Self { rows_per_second, burst_seconds, tokens, filled: now }
    }

    /// From here on so many a second.
    pub fn set(&mut self, rows_per_second: u64) {
        self.rows_per_second = to_f64(rows_per_second);
        self.tokens = self.tokens.min(self.rows_per_second * self.burst_seconds);
    }

    /// So many rows go. How long to wait before the next.
    pub fn take(&mut self, rows: u64, now: Instant) -> Duration {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        let most = self.rows_per_second * self.burst_seconds;
        self.tokens = (self.tokens + seconds * self.rows_per_second).min(most) - to_f64(rows);
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        let wait = -self.tokens / self.rows_per_second;
        Duration::try_from_secs_f64(wait).unwrap_or(WAIT_MAX).min(WAIT_MAX)
    }
}

/// Longest wait that is told.
const WAIT_MAX: Duration = Duration::from_hours(24);

#[expect(clippy::cast_precision_loss, reason = "more than 2^53 rows a second do not come")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever waits as told lets no more rows go than the rate allows, but for the burst and the last
        /// event; and not much fewer.
        #[test]
        fn the_rate_holds_over_every_time(
            rate in 10_u64..100_000,
            burst_ms in 100_u64..10_000,
            events in prop::collection::vec((1_u64..5_000, 0_u64..3_000), 1..80),
        ) {
            let began = Instant::now();
            let burst = Duration::from_millis(burst_ms);
            let (mut bucket, mut now, mut went) = (Bucket::new(rate, burst, began), began, 0_u64);
            for (rows, pause_ms) in events {
                let seconds = now.duration_since(began).as_secs_f64();
                went += rows;
                let allowed = to_f64(rate) * (seconds + burst.as_secs_f64()) + to_f64(rows);
                prop_assert!(to_f64(went) <= allowed + 1e-3, "{went} rows after {seconds} s of {allowed}");
                let wait = bucket.take(rows, now);
                // Without a pause of its own it waits only for what has gone.
                let owed = to_f64(went) / to_f64(rate);
                prop_assert!(wait.as_secs_f64() <= owed + 1e-6);
                now += wait + Duration::from_millis(pause_ms);
            }
        }
    }

    #[test]
    fn what_was_not_used_is_kept_for_a_burst_and_a_new_rate_holds_at_once() {
        let began = Instant::now();
        let mut bucket = Bucket::new(100, Duration::from_secs(2), began);
        assert_eq!(bucket.take(200, began), Duration::ZERO);
        assert_eq!(bucket.take(50, began), Duration::from_millis(500));
        bucket.set(1_000);
        assert_eq!(bucket.take(0, began), Duration::from_millis(50));
        // However long nothing came: no more than the burst.
        let later = began + Duration::from_secs(1_000);
        assert_eq!(bucket.take(2_000, later), Duration::ZERO);
        assert_eq!(bucket.take(1_000, later), Duration::from_secs(1));
        // A clock that seems to go back gives nothing.
        assert_eq!(bucket.take(0, began), Duration::from_secs(1));
    }
}
