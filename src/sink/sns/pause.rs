//! How long to wait before the next attempt. Pure but for its own dice.

use std::time::Duration;

/// Exponential pauses with full jitter: uniform between zero and the ceiling, which doubles with
/// each attempt up to a maximum. Spreads the retries of many requests, and of many processes that
/// share an account's quota.
#[derive(Debug, Clone)]
pub(super) struct Pauses {
    first: Duration,
    max: Duration,
    state: u64,
}

impl Pauses {
    /// Ceilings from `first` to `max`; equal seeds give equal pauses.
    pub(super) fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, state: seed }
    }

    /// The pause after the `attempt`th failure (from 1) in a row.
    pub(super) fn after(&mut self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max);
        ceiling.mul_f64(self.fraction())
    }

    /// A pause between `low` and `high`, uniform.
    pub(super) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        low + high.saturating_sub(low).mul_f64(self.fraction())
    }

    /// A number from 0 to 1 (SplitMix64).
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(high) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
#[allow(
    clippy::unchecked_time_subtraction,
    reason = "the times are chosen so that it can't underflow"
)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_maximum_and_fill_the_whole_range() {
        let max = Duration::from_secs(10);
        let mut pauses = Pauses::new(Duration::from_millis(100), max, 7);
        for attempt in 1..200 {
            let ceiling =
                Duration::from_millis(100).saturating_mul(1 << (attempt - 1).min(20)).min(max);
            assert!(pauses.after(attempt) <= ceiling, "attempt {attempt}");
        }
        let late: Vec<_> = (0..1000).map(|_| pauses.after(u32::MAX)).collect();
        let mean = late.iter().sum::<Duration>() / 1000;
        assert!(mean > Duration::from_secs(4) && mean < Duration::from_secs(6), "{mean:?}");
        assert!(late.iter().any(|pause| *pause < Duration::from_millis(500)));
        assert!(late.iter().any(|pause| *pause > Duration::from_millis(9_500)));
        // The ceiling doubles: each of these is the largest of many.
        for (attempt, ceiling) in [(1, 100), (2, 200), (3, 400), (5, 1_600), (8, 10_000)] {
            let most = (0..400).map(|_| pauses.after(attempt)).max().expect("some");
            let ceiling = Duration::from_millis(ceiling);
            assert!(most <= ceiling && most > ceiling.mul_f64(0.95), "{most:?} of {ceiling:?}");
        }
        let (low, high) = (Duration::from_secs(5), Duration::from_secs(30));
        let between: Vec<_> = (0..1000).map(|_| pauses.between(low, high)).collect();
        let (least, most) = (between.iter().min(), between.iter().max());
        let (least, most) = (*least.expect("some"), *most.expect("some"));
        assert!(least >= low && least < low + Duration::from_millis(500), "{least:?}");
        assert!(most <= high && most > high - Duration::from_millis(500), "{most:?}");
    }
}
