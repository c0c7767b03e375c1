//! How long a row may wait for company.
//!
//! Nothing while transactions are few and publishing keeps up: a lone change leaves at once. It
//! grows with the rate of transactions (1 ms at 400 a second, 25 ms at 10,000), so that each message
//! carries more of them, and with the backlog of publishing, where waiting costs no time that would
//! not be spent in the queue anyway.

use std::time::{Duration, Instant};

/// Transactions a second up to which nothing waits.
const SLOW_PER_SECOND: f64 = 50.0;
/// Transactions a second for each millisecond of linger.
const PER_SECOND_PER_MS: f64 = 400.0;
/// Backlog, as a part of the queue's capacity, at which the linger is at its maximum.
const BACKLOG_FULL: f64 = 0.5;
/// Shortest time over which transactions are counted.
const WINDOW: Duration = Duration::from_millis(50);
/// Time after which half of the rate's past is forgotten, seconds.
const HALF_SECONDS: f64 = 0.25;

/// The load, as far as the linger depends on it.
#[derive(Debug)]
pub(crate) struct Linger {
    max: Duration,
    window: Option<Instant>,
    in_window: u32,
    per_second: f64,
    /// Queued bytes by the queue's capacity, 0 to 1.
    backlog: f64,
}

impl Linger {
    pub(crate) fn new(max: Duration) -> Self {
        Self { max, window: None, in_window: 0, per_second: 0.0, backlog: 0.0 }
    }

    /// A transaction has begun.
    pub(crate) fn observe_transaction(&mut self, now: Instant) {
        self.roll(now);
        self.in_window = self.in_window.saturating_add(1);
    }

    /// So many bytes are waiting in a queue of this capacity.
    pub(crate) fn observe_backlog(&mut self, queued_bytes: usize, capacity_bytes: usize) {
        // Precise to 53 bits, which is more than enough.
        self.backlog = to_f64(queued_bytes) / to_f64(capacity_bytes.max(1));
    }

    /// Whether messages may grow to the topic's limit.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.backlog > BACKLOG_FULL
    }

    /// How long a batch that is open now may wait, counted from its first row.
    pub(crate) fn current(&self) -> Duration {
        let by_rate_ms = if self.per_second <= SLOW_PER_SECOND {
            0.0
        } else {
            self.per_second / PER_SECOND_PER_MS
        };
        let by_backlog = self.max.mul_f64((self.backlog / BACKLOG_FULL).clamp(0.0, 1.0));
        let by_rate = Duration::from_secs_f64((by_rate_ms / 1e3).clamp(0.0, 3600.0));
        // Below a timer's precision, waiting is only a cost.
        let linger = by_rate.max(by_backlog).min(self.max);
        if linger < Duration::from_micros(100) { Duration::ZERO } else { linger }
    }

    /// Takes the time: the rate falls also when nothing comes.
    pub(crate) fn roll(&mut self, now: Instant) {
        let start = *self.window.get_or_insert(now);
        let elapsed = now.saturating_duration_since(start);
        if elapsed < WINDOW {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        let kept = 0.5_f64.powf(seconds / HALF_SECONDS);
        let seen = f64::from(self.in_window) / seconds;
        self.per_second = self.per_second * kept + seen * (1.0 - kept);
        self.in_window = 0;
        self.window = Some(now);
    }
}

#[allow(clippy::cast_precision_loss, reason = "sizes in memory stay below 2^53")]
fn to_f64(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(per_second: u32, linger: &mut Linger, start: Instant) -> Instant {
        let mut now = start;
        for _ in 0..per_second * 3 {
            now += Duration::from_secs(1) / per_second;
            linger.observe_transaction(now);
        }
        now
    }

    #[test]
    fn it_grows_with_the_rate_and_ends_with_it() {
        let start = Instant::now();
        let mut linger = Linger::new(Duration::from_millis(200));
        let now = after(20, &mut linger, start);
        assert_eq!(linger.current(), Duration::ZERO);
        let now = after(1_000, &mut linger, now);
        let at_1000 = linger.current();
        assert!(at_1000 > Duration::from_millis(2) && at_1000 < Duration::from_millis(3));
        let now = after(50_000, &mut linger, now);
        assert!(linger.current() > Duration::from_millis(100));
        linger.roll(now + Duration::from_secs(5));
        assert_eq!(linger.current(), Duration::ZERO);
    }

    #[test]
    fn a_steady_rate_gives_a_millisecond_for_each_four_hundred_a_second() {
        for per_second in [60, 200, 400, 2_000, 10_000, 40_000] {
            let mut linger = Linger::new(Duration::from_secs(1));
            let now = after(per_second, &mut linger, Instant::now());
            let expected = Duration::from_secs_f64(f64::from(per_second) / 400_000.0);
            let found = linger.current();
            assert!(found > expected.mul_f64(0.95) && found < expected.mul_f64(1.05), "{found:?}");
            // A quarter of a second later it has half of that.
            linger.roll(now + Duration::from_millis(250));
            let half = linger.current();
            let is_half = half > expected.mul_f64(0.4) && half < expected.mul_f64(0.6);
            let is_slow = per_second <= 60 && half.is_zero();
            assert!(is_half || is_slow, "{half:?} after {found:?}");
        }
        // Up to 50 a second nothing waits, nor where the time would be below a timer's.
        let mut linger = Linger::new(Duration::from_secs(1));
        after(45, &mut linger, Instant::now());
        assert_eq!(linger.current(), Duration::ZERO);
        let mut linger = Linger::new(Duration::from_millis(200));
        for (queued, capacity, expected) in
            [(49, 200_000, 98), (31, 125_000, 99), (50, 200_000, 100)]
        {
            linger.observe_backlog(queued, capacity);
            let expected = Duration::from_micros(if expected < 100 { 0 } else { expected });
            assert_eq!(linger.current(), expected, "{queued}");
        }
    }

    #[test]
    fn a_window_is_counted_when_it_has_passed() {
        let start = Instant::now();
        let mut linger = Linger::new(Duration::from_secs(1));
        for _ in 0..1_000 {
            linger.observe_transaction(start);
        }
        linger.roll(start + Duration::from_millis(49));
        assert_eq!(linger.current(), Duration::ZERO);
        linger.roll(start + Duration::from_millis(50));
        // 20,000 a second for a fifth of the time in which half is forgotten: 13 % of it.
        let found = linger.current();
        assert!(found > Duration::from_millis(6) && found < Duration::from_millis(7), "{found:?}");
    }

    #[test]
    fn publishing_is_backed_up_with_more_than_half_of_the_queue_full() {
        let mut linger = Linger::new(Duration::from_millis(200));
        for (queued, is_backed_up) in [(0, false), (50, false), (51, true), (100, true)] {
            linger.observe_backlog(queued, 100);
            assert_eq!(linger.is_backed_up(), is_backed_up, "{queued}");
        }
    }

    #[test]
    fn it_grows_with_the_backlog_up_to_its_bound() {
        let mut linger = Linger::new(Duration::from_millis(200));
        linger.observe_backlog(25, 100);
        assert_eq!(linger.current(), Duration::from_millis(100));
        linger.observe_backlog(1_000, 100);
        assert_eq!(linger.current(), Duration::from_millis(200));
        assert!(linger.is_backed_up());
        linger.observe_backlog(0, 0);
        assert_eq!(linger.current(), Duration::ZERO);
    }
}
