//! What a sink says about itself, for metrics and for the verdict: counters that are read at
//! scrape, and ages that keep growing when everything has stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Why a publish did not succeed; the reasons of the verdict's `sink_stalled`, and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum FailureClass {
    /// Too fast for the account's, the topic's or the key's quota.
    Throttled,
    /// The service failed: 5xx, or an answer that makes no sense.
    ServerError,
    /// No answer within the deadline.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// No permission, or a key of KMS that can't be used.
    Denied,
    /// Credentials missing, expired or invalid, or a clock too far off.
    Credentials,
    /// The topic does not exist.
    NotFound,
    /// An error code that we do not know, for the whole call.
    Unknown,
    /// The message itself is at fault.
    Refused,
    /// Message or batch over the size limit.
    TooLarge,
}

impl FailureClass {
    /// All of them, in order of their discriminants.
    pub const ALL: [Self; 10] = [
        Self::Throttled,
        Self::ServerError,
        Self::Timeout,
        Self::Unreachable,
        Self::Denied,
        Self::Credentials,
        Self::NotFound,
        Self::Unknown,
        Self::Refused,
        Self::TooLarge,
    ];

    /// Label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Credentials => "credentials",
            Self::NotFound => "not_found",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
        }
    }

    /// Whether it may pass without anybody doing something about it.
    pub fn passes(self) -> bool {
        match self {
            Self::Throttled | Self::ServerError | Self::Timeout | Self::Unreachable => true,
            Self::Denied
            | Self::Credentials
            | Self::NotFound
            | Self::Unknown
            | Self::Refused
            | Self::TooLarge => false,
        }
    }
}

/// Upper bounds of the latency buckets, microseconds: 1 ms to 30 s, then infinity.
pub const LATENCY_BOUNDS_US: [u64; 14] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Counts by latency. Counts are per bucket, not cumulative.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Latency {
    fn observe(&self, duration: Duration, times: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(times, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us.saturating_mul(times), Ordering::Relaxed);
    }

    /// Count per bucket of [`LATENCY_BOUNDS_US`], the last one for everything above.
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed))
    }

    /// Sum of all, microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }
}

/// No instant yet.
const NEVER: u64 = u64::MAX;

/// Shared numbers of one sink. Writers are the sink's own loop; readers may be anybody.
#[derive(Debug)]
pub struct Health {
    base: Instant,
    oldest_us: AtomicU64,
    last_ack_us: AtomicU64,
    impediment: AtomicUsize,
    blocked_topics: AtomicUsize,
    in_flight_requests: AtomicUsize,
    in_flight_bytes: AtomicUsize,
    held_messages: AtomicUsize,
    settled_messages: AtomicU64,
    settled_bytes: AtomicU64,
    attempts_ok: AtomicU64,
    attempts_failed: [AtomicU64; FailureClass::ALL.len()],
    consecutive: [AtomicU64; FailureClass::ALL.len()],
    rate_limit: AtomicU64,
    /// Time of a request, from its start to its answer or to the error that ended it.
    pub request_latency: Latency,
    /// Time of a message, from entering the intake to its acknowledgement.
    pub message_latency: Latency,
}

/// One reading of [`Health`].
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Age of the oldest message that entered the intake and is not settled; `None`: none.
    pub oldest_unsettled: Option<Duration>,
    /// Age of the last acknowledgement; `None`: never.
    pub since_ack: Option<Duration>,
    /// What hinders publishing since the last acknowledgement; `None`: nothing known. While a topic
    /// is blocked, the acknowledgements of others do not clear it.
    pub impediment: Option<FailureClass>,
    /// Topics that wait for somebody to fix something.
    pub blocked_topics: usize,
    /// Requests on their way.
    pub in_flight_requests: usize,
    /// Bytes in them, as SNS counts them.
    pub in_flight_bytes: usize,
    /// Messages taken from the intake and not settled.
    pub held_messages: usize,
    /// Messages acknowledged since the start.
    pub settled_messages: u64,
    /// Their bytes, as SNS counts them.
    pub settled_bytes: u64,
    /// Attempts (one per message and call) that were acknowledged.
    pub attempts_ok: u64,
    /// Attempts that failed, by class, in the order of [`FailureClass::ALL`].
    pub attempts_failed: [u64; FailureClass::ALL.len()],
    /// Failures in a row since the last acknowledgement that cleared `impediment`, by class.
    pub consecutive: [u64; FailureClass::ALL.len()],
    /// Messages per second that the adaptive rate allows; `None`: it does not limit.
    pub rate_limit: Option<u64>,
}

/// How long a message may wait behind failures that pass by themselves before the sink counts as down: one
/// throttled call is no outage.
const DOWN_AFTER: Duration = Duration::from_secs(5);

impl Snapshot {
    /// Whether messages get through, as far as is known.
    pub fn is_up(&self) -> bool {
        let waits = self.oldest_unsettled.is_some_and(|age| age >= DOWN_AFTER);
        self.impediment.is_none_or(|class| class.passes() && !waits)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            base: crate::platform::now(),
            oldest_us: AtomicU64::new(NEVER),
            last_ack_us: AtomicU64::new(NEVER),
            impediment: AtomicUsize::new(usize::MAX),
            blocked_topics: AtomicUsize::default(),
            in_flight_requests: AtomicUsize::default(),
            in_flight_bytes: AtomicUsize::default(),
            held_messages: AtomicUsize::default(),
            settled_messages: AtomicU64::default(),
            settled_bytes: AtomicU64::default(),
            attempts_ok: AtomicU64::default(),
            attempts_failed: Default::default(),
            consecutive: Default::default(),
            rate_limit: AtomicU64::new(NEVER),
            request_latency: Latency::default(),
            message_latency: Latency::default(),
        }
    }
}

impl Health {
    /// A fresh one, shared between a sink and its readers.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The numbers as of `now`. They are read one after another, not at one instant.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            oldest_unsettled: self.age(&self.oldest_us, now),
            since_ack: self.age(&self.last_ack_us, now),
            impediment: FailureClass::ALL.get(self.impediment.load(Ordering::Relaxed)).copied(),
            blocked_topics: self.blocked_topics.load(Ordering::Relaxed),
            in_flight_requests: self.in_flight_requests.load(Ordering::Relaxed),
            in_flight_bytes: self.in_flight_bytes.load(Ordering::Relaxed),
            held_messages: self.held_messages.load(Ordering::Relaxed),
            settled_messages: count(&self.settled_messages),
            settled_bytes: count(&self.settled_bytes),
            attempts_ok: count(&self.attempts_ok),
            attempts_failed: std::array::from_fn(|class| count(&self.attempts_failed[class])),
            consecutive: std::array::from_fn(|class| count(&self.consecutive[class])),
            rate_limit: Some(count(&self.rate_limit)).filter(|limit| *limit != NEVER),
        }
    }

    /// A request with `bytes` starts.
    pub(super) fn started(&self, bytes: usize) {
        self.in_flight_requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It has ended.
    pub(super) fn ended(&self, bytes: usize) {
        self.in_flight_requests.fetch_sub(1, Ordering::Relaxed);
        self.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A call ended after `duration`, with an answer or an error.
    pub(super) fn called(&self, duration: Duration) {
        self.request_latency.observe(duration, 1);
    }

    /// A message that entered at `entered` was acknowledged at `now`.
    pub(super) fn acknowledged(&self, entered: Instant, now: Instant, bytes: usize) {
        self.message_latency.observe(now.saturating_duration_since(entered), 1);
        self.settled_messages.fetch_add(1, Ordering::Relaxed);
        self.settled_bytes.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
        self.attempts_ok.fetch_add(1, Ordering::Relaxed);
        self.last_ack_us.store(self.since_base(now), Ordering::Relaxed);
        if self.blocked_topics.load(Ordering::Relaxed) > 0 {
            return;
        }
        self.clear();
    }

    fn clear(&self) {
        self.impediment.store(usize::MAX, Ordering::Relaxed);
        for streak in &self.consecutive {
            streak.store(0, Ordering::Relaxed);
        }
    }

    /// How many topics wait for somebody to fix something.
    pub(super) fn blocks(&self, topics: usize) {
        self.blocked_topics.store(topics, Ordering::Relaxed);
    }

    /// `messages` attempts failed.
    pub(super) fn failed(&self, class: FailureClass, messages: usize) {
        let messages = u64::try_from(messages).unwrap_or(0);
        self.attempts_failed[class as usize].fetch_add(messages, Ordering::Relaxed);
        self.consecutive[class as usize].fetch_add(1, Ordering::Relaxed);
        self.impediment.store(class as usize, Ordering::Relaxed);
    }

    /// An answer is owed since then, though no message is held yet: the sink is being opened. `None`: it
    /// is open, and nothing is in its way.
    pub fn owed_since(&self, since: Option<Instant>) {
        self.holds(0, since);
        if since.is_none() {
            self.clear();
        }
    }

    /// What is held now: number of messages, and when the oldest entered.
    pub(super) fn holds(&self, messages: usize, oldest: Option<Instant>) {
        self.held_messages.store(messages, Ordering::Relaxed);
        let oldest = oldest.map_or(NEVER, |entered| self.since_base(entered));
        self.oldest_us.store(oldest, Ordering::Relaxed);
    }

    /// Messages per second that are allowed now.
    pub(super) fn limited(&self, per_second: Option<u64>) {
        self.rate_limit.store(per_second.unwrap_or(NEVER), Ordering::Relaxed);
    }

    fn since_base(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(NEVER - 1)
    }

    fn age(&self, since_us: &AtomicU64, now: Instant) -> Option<Duration> {
        let since = since_us.load(Ordering::Relaxed);
        let elapsed = now.saturating_duration_since(self.base);
        (since != NEVER).then(|| elapsed.saturating_sub(Duration::from_micros(since)))
    }
}

#[cfg(test)]
#[allow(
    clippy::unchecked_time_subtraction,
    reason = "the times are chosen so that it can't underflow"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_listed_in_the_order_of_their_discriminants() {
        for (index, class) in FailureClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, index, "{class:?}");
        }
    }

    #[test]
    fn the_oldest_age_grows_with_the_clock_and_an_acknowledgement_clears_the_impediment() {
        let health = Health::default();
        let start = Instant::now();
        health.holds(1, Some(start));
        health.failed(FailureClass::Denied, 3);
        let later = health.snapshot(start + Duration::from_secs(7));
        assert!(later.oldest_unsettled.is_some_and(|age| age >= Duration::from_millis(6_999)));
        assert_eq!(later.impediment, Some(FailureClass::Denied));
        assert_eq!(later.consecutive[FailureClass::Denied as usize], 1);
        assert_eq!(later.attempts_failed[FailureClass::Denied as usize], 3);

        health.acknowledged(start, start + Duration::from_secs(7), 10);
        health.holds(0, None);
        let after = health.snapshot(start + Duration::from_secs(8));
        assert_eq!(after.impediment, None);
        assert_eq!(after.oldest_unsettled, None);
        assert_eq!(after.consecutive, [0; FailureClass::ALL.len()]);
        assert_eq!(after.settled_messages, 1);
    }

    #[test]
    fn a_failure_that_passes_takes_the_sink_down_only_when_it_lasts() {
        let (health, start) = (Health::default(), Instant::now());
        let is_up = |seconds| health.snapshot(start + Duration::from_secs(seconds)).is_up();
        assert!(is_up(0), "nothing is known against it");
        health.holds(1, Some(start));
        health.failed(FailureClass::Throttled, 10);
        assert!(is_up(4) && !is_up(6));
        // The next message waits from its own entry on.
        health.acknowledged(start, start + Duration::from_secs(6), 10);
        health.holds(1, Some(start + Duration::from_secs(6)));
        health.failed(FailureClass::Throttled, 10);
        assert!(is_up(10) && !is_up(12));
        health.failed(FailureClass::Denied, 10);
        assert!(!is_up(7), "somebody has to do something about it");
    }

    #[test]
    fn one_topics_success_does_not_hide_that_another_is_blocked() {
        let health = Health::default();
        let now = Instant::now();
        health.failed(FailureClass::NotFound, 1);
        health.blocks(1);
        health.acknowledged(now, now, 10);
        assert_eq!(health.snapshot(now).impediment, Some(FailureClass::NotFound));
        health.blocks(0);
        health.acknowledged(now, now, 10);
        assert_eq!(health.snapshot(now).impediment, None);
    }

    /// What may happen to a sink's numbers.
    #[derive(Debug, Clone)]
    enum Event {
        Started(usize),
        /// The oldest request that runs.
        Ended,
        Called(u64),
        Acknowledged(u64, usize),
        Failed(usize, usize),
        Blocks(usize),
        Holds(usize, bool),
        Owed(bool),
        Limited(Option<u64>),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1..1000_usize).prop_map(Event::Started),
            Just(Event::Ended),
            (0..40_000_u64).prop_map(Event::Called),
            (0..40_000_u64, 0..1000_usize).prop_map(|(ms, bytes)| Event::Acknowledged(ms, bytes)),
            (0..FailureClass::ALL.len(), 0..20_usize)
                .prop_map(|(class, n)| Event::Failed(class, n)),
            (0..3_usize).prop_map(Event::Blocks),
            (0..9_usize, any::<bool>()).prop_map(|(n, some)| Event::Holds(n, some)),
            any::<bool>().prop_map(Event::Owed),
            prop::option::of(0..60_000_u64).prop_map(Event::Limited),
        ]
    }

    proptest! {
        /// What a snapshot says is what the events so far come to.
        #[test]
        fn the_numbers_are_those_of_the_events(
            events in prop::collection::vec(event(), 0..60),
        ) {
            let health = Health::default();
            let start = Instant::now() + Duration::from_secs(1);
            let second = Duration::from_secs(1);
            let mut now = start;
            let mut expected = health.snapshot(now);
            let mut runs = std::collections::VecDeque::new();
            let (mut acknowledged_at, mut oldest_at) = (None, None);
            let called = [Latency::default(), Latency::default()];
            for event in events {
                now += second;
                match event {
                    Event::Started(bytes) => {
                        runs.push_back(bytes);
                        health.started(bytes);
                    }
                    Event::Ended => {
                        let Some(bytes) = runs.pop_front() else { continue };
                        health.ended(bytes);
                    }
                    Event::Called(ms) => {
                        health.called(Duration::from_millis(ms));
                        called[0].observe(Duration::from_millis(ms), 1);
                    }
                    Event::Acknowledged(ms, bytes) => {
                        let took = Duration::from_millis(ms);
                        health.acknowledged(now, now + took, bytes);
                        called[1].observe(took, 1);
                        acknowledged_at = Some(now + took);
                        expected.settled_messages += 1;
                        expected.attempts_ok += 1;
                        expected.settled_bytes += bytes as u64;
                        if expected.blocked_topics == 0 {
                            expected.impediment = None;
                            expected.consecutive = [0; FailureClass::ALL.len()];
                        }
                    }
                    Event::Failed(class, messages) => {
                        health.failed(FailureClass::ALL[class], messages);
                        expected.attempts_failed[class] += messages as u64;
                        expected.consecutive[class] += 1;
                        expected.impediment = Some(FailureClass::ALL[class]);
                    }
                    Event::Blocks(topics) => {
                        health.blocks(topics);
                        expected.blocked_topics = topics;
                    }
                    Event::Holds(messages, some) => {
                        oldest_at = some.then_some(now);
                        health.holds(messages, oldest_at);
                        expected.held_messages = messages;
                    }
                    Event::Owed(some) => {
                        oldest_at = some.then_some(now);
                        health.owed_since(oldest_at);
                        expected.held_messages = 0;
                        if !some {
                            expected.impediment = None;
                            expected.consecutive = [0; FailureClass::ALL.len()];
                        }
                    }
                    Event::Limited(limit) => {
                        health.limited(limit);
                        expected.rate_limit = limit;
                    }
                }
            }
            now += 60 * second;
            expected.in_flight_requests = runs.len();
            expected.in_flight_bytes = runs.iter().sum();
            let found = health.snapshot(now);
            // Instants are kept in whole microseconds.
            let near = |found: Option<Duration>, at: Option<Instant>| match (found, at) {
                (Some(age), Some(at)) => {
                    let exact = now - at;
                    age.max(exact) - age.min(exact) <= Duration::from_micros(2)
                }
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            prop_assert!(near(found.since_ack, acknowledged_at), "{:?}", found.since_ack);
            prop_assert!(near(found.oldest_unsettled, oldest_at), "{:?}", found.oldest_unsettled);
            expected.since_ack = found.since_ack;
            expected.oldest_unsettled = found.oldest_unsettled;
            prop_assert_eq!(found, expected);
            for (found, expected) in
                [&health.request_latency, &health.message_latency].into_iter().zip(&called)
            {
                prop_assert_eq!(found.counts(), expected.counts());
                prop_assert_eq!(found.sum_us(), expected.sum_us());
            }
        }
    }

    #[test]
    fn a_latency_lands_in_the_bucket_whose_bound_it_does_not_exceed() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(1), 1);
        latency.observe(Duration::from_micros(1_001), 2);
        latency.observe(Duration::from_secs(45), 1);
        let counts = latency.counts();
        assert_eq!((counts[0], counts[1], counts[14]), (1, 2, 1));
        assert_eq!(latency.sum_us(), 1_000 + 2 * 1_001 + 45_000_000);
        assert_eq!(counts.iter().sum::<u64>(), 4);
    }
}
