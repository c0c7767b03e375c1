//! How many messages a second: additive increase, multiplicative decrease. Pure, time comes in.
//!
//! SNS's quota counts messages per account and region, so others use it too and nobody tells how
//! much is left. The rate is unlimited until the first throttling; then it is cut to a share of
//! what was accepted in the last second, and rises again step by step. The step doubles with every
//! quiet [`STEP_DOUBLING`], so that an old cut does not hold back a catch-up hours later.

use std::time::{Duration, Instant};

/// Share of the measured rate that is left after a cut.
const CUT: f64 = 0.7;
/// Least time between two cuts: the effect of one has to be seen before the next.
const CUT_SPACING: Duration = Duration::from_millis(250);
/// Lowest rate, messages a second: a full call a second must continue, or nobody would see the
/// throttling end.
const RATE_MIN: f64 = 10.0;
/// Highest limit worth keeping, messages a second: above the largest quota (30,000).
const RATE_MAX: f64 = 60_000.0;
/// Least increase, messages a second per second.
const STEP_MIN: f64 = 10.0;
/// Increase in proportion to the limit at the last cut, per second.
const STEP_SHARE: f64 = 0.05;
/// Quiet time after which the step doubles.
const STEP_DOUBLING: Duration = Duration::from_secs(10);
/// Messages that may be sent at once: this much time's worth, and a full batch at least.
const BURST: Duration = Duration::from_millis(100);
/// See [`BURST`].
const BURST_MIN: f64 = 10.0;
/// Longest wait before asking again: the limit rises meanwhile.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How long one measurement of the rate takes.
const WINDOW: Duration = Duration::from_secs(1);

/// The shared rate of one account.
#[derive(Debug)]
pub(super) struct Rate {
    limit: Option<Limit>,
    window_started: Instant,
    window_accepted: f64,
    measured: f64,
}

#[derive(Debug)]
struct Limit {
    per_second: f64,
    at_cut: f64,
    cut_at: Instant,
    tokens: f64,
    updated: Instant,
}

impl Rate {
    /// Unlimited.
    pub(super) fn new(now: Instant) -> Self {
        Self { limit: None, window_started: now, window_accepted: 0.0, measured: 0.0 }
    }

    /// When the next call may start: `None` is now.
    pub(super) fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        self.advance(now);
        let limit = self.limit.as_ref()?;
        if limit.tokens >= 0.0 {
            return None;
        }
        let wait = Duration::from_secs_f64(-limit.tokens / limit.per_second);
        Some(now + wait.clamp(Duration::from_millis(1), WAIT_MAX))
    }

    /// `messages` were sent. They may overdraw the tokens; the next call waits for it.
    pub(super) fn sent(&mut self, now: Instant, messages: usize) {
        self.advance(now);
        if let Some(limit) = &mut self.limit {
            limit.tokens -= count(messages);
        }
    }

    /// The service took `messages`.
    pub(super) fn accepted(&mut self, now: Instant, messages: usize) {
        self.advance(now);
        self.window_accepted += count(messages);
    }

    /// The service said of a call that started at `started` that it was too fast. Calls that were
    /// in flight at the last cut say nothing new.
    pub(super) fn throttled(&mut self, now: Instant, started: Instant) {
        self.advance(now);
        let is_known = |limit: &Limit| started < limit.cut_at || now < limit.cut_at + CUT_SPACING;
        if self.limit.as_ref().is_some_and(is_known) {
            return;
        }
        let elapsed = now.saturating_duration_since(self.window_started).max(BURST);
        let accepted = self.measured.max(self.window_accepted / elapsed.as_secs_f64());
        let from = self.limit.as_ref().map_or(accepted, |limit| limit.per_second.min(accepted));
        let per_second = (from * CUT).clamp(RATE_MIN, RATE_MAX);
        self.limit =
            Some(Limit { per_second, at_cut: per_second, cut_at: now, tokens: 0.0, updated: now });
        // What a full bucket let pass before says nothing about the rate from now on.
        self.measured = 0.0;
        self.window_accepted = 0.0;
        self.window_started = now;
    }

    /// Messages a second that are allowed, whole ones; `None`: any number.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit.as_ref().map(|limit| Duration::from_secs_f64(limit.per_second).as_secs())
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window_started);
        if elapsed >= WINDOW {
            self.measured = self.window_accepted / elapsed.as_secs_f64();
            self.window_accepted = 0.0;
            self.window_started = now;
        }
        let lifted = self.limit.as_mut().is_some_and(|limit| limit.advance(now));
        if lifted {
            self.limit = None;
        }
    }
}

impl Limit {
    /// Fills tokens and raises the limit; whether it no longer matters.
    fn advance(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.updated).as_secs_f64();
        self.updated = now;
        let burst = (self.per_second * BURST.as_secs_f64()).max(BURST_MIN);
        self.tokens = (self.tokens + seconds * self.per_second).min(burst);
        let quiet = now.saturating_duration_since(self.cut_at).as_secs_f64();
        let doublings = (quiet / STEP_DOUBLING.as_secs_f64()).min(20.0);
        let step = (self.at_cut * STEP_SHARE).max(STEP_MIN) * doublings.exp2();
        self.per_second += step * seconds;
        self.per_second > RATE_MAX
    }
}

fn count(messages: usize) -> f64 {
    u32::try_from(messages).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
#[allow(
    clippy::unchecked_time_subtraction,
    reason = "the times are chosen so that it can't underflow"
)]
mod tests {
    use super::*;

    /// Sends as fast as `rate` allows against a far side that takes `quota` a second, for
    /// `seconds`; what was accepted and how many calls of ten were throttled.
    fn offered(rate: &mut Rate, start: Instant, quota: u32, seconds: u32) -> (u32, u32) {
        let (mut accepted, mut throttled) = (0, 0);
        let mut bucket = f64::from(quota);
        let tick = Duration::from_millis(2);
        for n in 0..seconds * 500 {
            let now = start + tick * n;
            bucket = (bucket + f64::from(quota) * tick.as_secs_f64()).min(f64::from(quota));
            if rate.wait_until(now).is_some() {
                continue;
            }
            rate.sent(now, 10);
            if bucket >= 10.0 {
                bucket -= 10.0;
                rate.accepted(now, 10);
                accepted += 10;
            } else {
                throttled += 1;
                rate.throttled(now, now);
            }
        }
        (accepted, throttled)
    }

    #[test]
    fn without_throttling_there_is_no_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for n in 0..10_000 {
            let now = start + Duration::from_micros(n);
            assert_eq!(rate.wait_until(now), None);
            rate.sent(now, 10);
            rate.accepted(now, 10);
        }
        assert_eq!(rate.limit(), None);
    }

    #[test]
    fn a_throttled_sender_settles_near_the_quota_with_few_refusals() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let (_, at_first) = offered(&mut rate, start, 300, 10);
        assert!(at_first < 200, "{at_first} calls throttled until the rate is found");
        let (accepted, throttled) = offered(&mut rate, start + Duration::from_secs(10), 300, 60);
        assert!(accepted > 300 * 60 * 7 / 10, "{accepted} messages accepted");
        assert!(throttled < 60, "{throttled} calls throttled");
    }

    #[test]
    fn a_cut_goes_by_what_the_whole_last_second_brought() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        // 1,000 messages a second, and a throttling just after a second has begun.
        for tenth in 0..50 {
            rate.accepted(start + Duration::from_millis(tenth * 100), 100);
        }
        let now = start + Duration::from_millis(5_001);
        rate.accepted(now, 1);
        rate.throttled(now, now);
        let limit = rate.limit().expect("it was throttled");
        assert!((650..=750).contains(&limit), "{limit} messages a second");
        // The tokens start at none: ten messages take as long as the limit says.
        rate.sent(now, 10);
        let wait = rate.wait_until(now).expect("the tokens are overdrawn");
        assert!(wait > now + Duration::from_millis(10) && wait < now + Duration::from_millis(20));
    }

    #[test]
    fn a_first_call_that_is_too_fast_says_nothing_of_thousands_a_second() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.accepted(start, 10);
        let now = start + Duration::from_millis(1);
        rate.throttled(now, now);
        assert_eq!(rate.limit(), Some(70), "70 % of ten messages in a tenth of a second");
    }

    #[test]
    fn calls_that_were_in_flight_together_cut_once() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.accepted(start, 1000);
        let now = start + Duration::from_millis(900);
        rate.throttled(now, now);
        let once = rate.limit();
        rate.throttled(now + Duration::from_millis(1), now);
        let later = now + CUT_SPACING + Duration::from_millis(1);
        rate.throttled(later, start);
        assert!(rate.limit() >= once);
        rate.throttled(later, later);
        assert!(rate.limit() < once);
    }

    #[test]
    fn it_recovers_faster_the_longer_it_is_quiet_and_ends_without_a_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.accepted(start, 300);
        rate.throttled(start + Duration::from_secs(1), start);
        let mut limits = Vec::new();
        for second in 1..180 {
            let wait = rate.wait_until(start + Duration::from_secs(second));
            assert!(wait.is_none() || second < 2);
            limits.push(rate.limit().unwrap_or(60_000));
        }
        assert!(limits.is_sorted(), "it only rises: {limits:?}");
        assert!(limits[20] - limits[19] > limits[2] - limits[1]);
        assert_eq!(rate.limit(), None, "in the end it is lifted");
    }

    /// A rate that was cut to 700 messages a second at `start`.
    fn cut_to_700(start: Instant) -> Rate {
        let mut rate = Rate::new(start - WINDOW);
        rate.accepted(start - WINDOW / 2, 1000);
        rate.throttled(start, start);
        assert_eq!(rate.limit(), Some(700));
        rate
    }

    #[test]
    fn the_limit_rises_by_a_share_of_the_cut_that_doubles_every_ten_quiet_seconds() {
        let start = Instant::now();
        for (after, expected) in [(1, 737), (5, 947), (10, 1_400), (20, 3_500), (30, 9_100)] {
            let mut rate = cut_to_700(start);
            rate.wait_until(start + Duration::from_secs(after));
            assert_eq!(rate.limit(), Some(expected), "{after} s");
        }
        // Small limits rise by a least step.
        let mut rate = Rate::new(start);
        rate.throttled(start, start);
        assert_eq!(rate.limit(), Some(10));
        rate.wait_until(start + Duration::from_secs(10));
        assert_eq!(rate.limit(), Some(210));
    }

    #[test]
    fn a_pause_saves_up_a_tenth_of_a_second_and_a_full_call_at_least() {
        let start = Instant::now();
        let second = start + Duration::from_secs(1);
        for (accepted, limit, saved) in [(1000, 700, 70), (10, 10, 10)] {
            let mut rate = Rate::new(start - WINDOW);
            rate.accepted(start - WINDOW / 2, accepted);
            rate.throttled(start, start);
            assert_eq!(rate.limit(), Some(limit));
            assert_eq!(rate.wait_until(second), None);
            rate.sent(second, saved);
            assert_eq!(rate.wait_until(second), None, "saved up");
            rate.sent(second, 1);
            let wait = rate.wait_until(second).expect("overdrawn") - second;
            assert!(wait >= Duration::from_millis(1) && wait <= WAIT_MAX, "{wait:?}");
        }
        // However much is overdrawn, it is looked at again soon, since the limit rises.
        let mut rate = cut_to_700(start);
        rate.sent(start, 1_000);
        assert_eq!(rate.wait_until(start), Some(start + WAIT_MAX));
    }

    #[test]
    fn a_cut_goes_by_the_last_second_and_never_up() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut rate = cut_to_700(start);
        // Far more was taken than the limit says: somebody else left room.
        rate.accepted(start + second, 5_000);
        rate.throttled(start + 2 * second, start + 2 * second);
        let limit = rate.limit().expect("cut");
        assert!((500..=700).contains(&limit), "{limit}");
        // Cuts keep their distance, to the moment.
        let mut rate = cut_to_700(start);
        rate.accepted(start, 100);
        rate.throttled(start + CUT_SPACING - Duration::from_millis(1), start + CUT_SPACING);
        assert!(rate.limit() >= Some(700));
        rate.throttled(start + CUT_SPACING, start);
        assert!(rate.limit() < Some(700), "{:?}", rate.limit());
    }

    #[test]
    fn a_cut_goes_by_what_came_since_the_one_before_and_since_the_last_second() {
        let start = Instant::now();
        let quarter = CUT_SPACING;
        // Nothing was taken since the cut.
        let mut rate = cut_to_700(start);
        rate.throttled(start + quarter, start + quarter);
        assert_eq!(rate.limit(), Some(10));
        // In the middle of a second: fifty in a quarter of one since the cut are 200 a second.
        let mut rate = Rate::new(start);
        rate.accepted(start, 100);
        rate.throttled(start + quarter * 2, start + quarter * 2);
        assert_eq!(rate.limit(), Some(140));
        rate.accepted(start + quarter * 2, 50);
        rate.throttled(start + quarter * 3, start + quarter * 3);
        assert!(rate.limit() >= Some(98), "{:?}", rate.limit());
        // A minute of little, then a second of much.
        let mut rate = Rate::new(start);
        for second in 0..60 {
            rate.accepted(start + WINDOW * second, 10);
        }
        rate.accepted(start + WINDOW * 60, 1_000);
        rate.throttled(start + WINDOW * 61, start + WINDOW * 61);
        assert_eq!(rate.limit(), Some(700));
    }

    #[test]
    fn a_trickle_goes_on_however_often_it_is_throttled() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for n in 0..1000 {
            let now = start + CUT_SPACING * n;
            rate.throttled(now, now);
        }
        assert!(rate.limit().is_some_and(|limit| limit >= 10));
    }
}
