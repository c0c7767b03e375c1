//! When to save. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

/// Longest pause between attempts while saving fails.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Says when the next save is due: soon after something changed, never more often than the
/// interval, and with growing pauses while saving fails.
#[derive(Debug, Clone)]
pub struct Saving {
    interval_min: Duration,
    not_before: Option<Instant>,
    failures: u32,
}

impl Saving {
    /// At most one save per `interval_min`.
    pub fn new(interval_min: Duration) -> Self {
        Self { interval_min, not_before: None, failures: 0 }
    }

    /// Whether to save now, given that there is something to save.
    pub fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// The next save is due at once, unless saving fails.
    pub fn hurry(&mut self) {
        if self.failures == 0 {
            self.not_before = None;
        }
    }

    /// When to look again; `None` means at once.
    pub fn due_at(&self) -> Option<Instant> {
        self.not_before
    }

    /// Notes a save that took effect.
    pub fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        self.not_before = Some(now + self.interval_min);
    }

    /// Notes a save that failed and is to be tried again; returns the pause before the next.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let base = self.interval_min.max(Duration::from_millis(100));
        let pause = base.saturating_mul(1 << self.failures.min(10)).min(RETRY_PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
        pause
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
    fn saves_keep_their_distance_and_failures_back_off_up_to_the_limit() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut saving = Saving::new(second);
        assert!(saving.is_due(start), "the first save waits for nothing");

        saving.succeeded(start);
        assert!(!saving.is_due(start + second / 2));
        assert!(saving.is_due(start + second));

        let pauses: Vec<_> = (0..7).map(|_| saving.failed(start).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(saving.failures, 7);

        saving.hurry();
        assert!(!saving.is_due(start), "failures keep their pause");
        saving.succeeded(start);
        assert_eq!(saving.failed(start), second, "a success ends the back-off");
        saving.succeeded(start);
        saving.hurry();
        assert!(saving.is_due(start), "who waits for it does not wait for the interval");
    }

    #[test]
    fn a_save_is_due_to_the_moment_and_without_an_interval_failures_still_pause() {
        let start = Instant::now();
        let tick = Duration::from_nanos(1);
        let mut saving = Saving::new(Duration::ZERO);
        assert_eq!((saving.due_at(), saving.failures), (None, 0));
        let mut now = start;
        for (failures, pause) in (1..).zip([100, 200, 400, 800]) {
            let pause = Duration::from_millis(pause);
            assert_eq!(saving.failed(now), pause);
            assert_eq!((saving.failures, saving.due_at()), (failures, Some(now + pause)));
            assert!(!saving.is_due(now + pause - tick) && saving.is_due(now + pause));
            now += pause;
        }
        for _ in 0..100 {
            saving.failed(now);
        }
        assert_eq!(saving.failed(now), RETRY_PAUSE_MAX);
        saving.succeeded(now);
        assert_eq!((saving.failures, saving.due_at()), (0, Some(now)));
        saving.failed(now + RETRY_PAUSE_MAX);
    }
}
