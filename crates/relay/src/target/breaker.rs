//! Whether an endpoint is tried at all. Pure: time and chance come in.
//!
//! Closed, every request goes. After some outages in a row it opens: from then on one request at a
//! time goes, the *probe*, after a pause that grows. Any answer that is no outage closes it. So an
//! endpoint that is away is asked once a minute, however many requests wait for it.

use std::time::{Duration, Instant};

use binpulse_core::backoff::Backoff;

/// Outages in a row that open it.
const OUTAGES_MAX: u32 = 5;
/// Longest pause before the first probe.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between probes, unless the receiver asks for more.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Longest pause that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The breaker of one endpoint.
#[derive(Debug, Clone)]
pub struct Breaker {
    state: State,
    backoff: Backoff,
    probe_expiry: Duration,
    /// Rises with each change of state: the outages of requests that began before say nothing new.
    period: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { outages: u32 },
    Waiting { until: Instant },
    Probing { expires: Instant },
}

/// What may be done now.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Send one request, and report what became of it.
    Go(Permit),
    /// Ask again then, or when the next request is reported.
    Wait {
        /// That time.
        until: Instant,
    },
}

/// Permission to send one request.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe that is not reported keeps the next one waiting"]
pub struct Permit {
    period: u64,
    is_probe: bool,
}

impl Permit {
    /// Whether this request is to find out if the endpoint is back.
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// A request ends once.
    fn ended(self) -> (u64, bool) {
        (self.period, self.is_probe)
    }
}

impl Breaker {
    /// Closed. A probe that is not reported within `probe_expiry` is taken for lost; that should be
    /// longer than the deadline of a request.
    pub fn new(probe_expiry: Duration) -> Self {
        Self {
            state: State::Closed { outages: 0 },
            backoff: Backoff::new(PAUSE_FIRST, PAUSE_MAX),
            probe_expiry,
            period: 0,
        }
    }

    /// Whether a request may be sent at `now`.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Go(Permit { period: self.period, is_probe: false }),
            State::Waiting { until } | State::Probing { expires: until } if now < until => {
                Admission::Wait { until }
            }
            State::Waiting { .. } | State::Probing { .. } => {
                self.enter(State::Probing { expires: now + self.probe_expiry });
                Admission::Go(Permit { period: self.period, is_probe: true })
            }
        }
    }

    /// The endpoint answered, be it with a refusal of this one request.
    pub fn answered(&mut self, _permit: Permit) {
        if self.is_open() {
            self.enter(State::Closed { outages: 0 });
        } else {
            self.state = State::Closed { outages: 0 };
        }
        self.backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
    }

    /// The request failed in a way that says that the endpoint as a whole is in trouble. `random` is
    /// evenly distributed over all of `u64`.
    pub fn failed(
        &mut self,
        permit: Permit,
        retry_after: Option<Duration>,
        now: Instant,
        random: u64,
    ) {
        if permit.ended().0 != self.period {
            return;
        }
        if let State::Closed { outages } = self.state {
            let outages = outages.saturating_add(1);
            if outages < OUTAGES_MAX {
                self.state = State::Closed { outages };
                return;
            }
        }
        // Half of the pause is fixed: a probe at once after a failure finds nothing new.
        let longest = self.backoff.clone().pause(u64::MAX);
        let pause = (longest + self.backoff.pause(random)) / 2;
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        self.enter(State::Waiting { until: now + pause.max(asked) });
    }

    /// The request was not sent, or nobody waited for its end.
    pub fn abandoned(&mut self, permit: Permit, now: Instant) {
        if permit.ended() == (self.period, true) {
            self.enter(State::Waiting { until: now });
        }
    }

    /// Whether only probes go.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.period += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPIRY: Duration = Duration::from_secs(30);

    fn permit(breaker: &mut Breaker, now: Instant) -> Permit {
        match breaker.admit(now) {
            Admission::Go(permit) => permit,
            Admission::Wait { until } => panic!("waits for {:?}", until - now),
        }
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(EXPIRY);
        for _ in 0..OUTAGES_MAX {
            assert!(!breaker.is_open());
            let permit = permit(&mut breaker, now);
            breaker.failed(permit, None, now, 0);
        }
        assert!(breaker.is_open());
        breaker
    }

    fn until(breaker: &mut Breaker, now: Instant) -> Instant {
        match breaker.admit(now) {
            Admission::Wait { until } => until,
            Admission::Go(_) => panic!("goes"),
        }
    }

    #[test]
    fn five_outages_in_a_row_open_it_and_an_answer_between_begins_anew() {
        let now = Instant::now();
        let mut breaker = Breaker::new(EXPIRY);
        for _ in 0..20 {
            for _ in 0..OUTAGES_MAX - 1 {
                let permit = permit(&mut breaker, now);
                breaker.failed(permit, None, now, 0);
            }
            let permit = permit(&mut breaker, now);
            breaker.answered(permit);
        }
        assert!(!breaker.is_open());
        assert!(opened(now).is_open());
    }

    #[test]
    fn one_probe_goes_at_a_time_and_its_success_closes() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let at = until(&mut breaker, now);
        let probe = permit(&mut breaker, at);
        assert!(probe.is_probe());
        assert_eq!(until(&mut breaker, at), at + EXPIRY, "a second one waits");
        breaker.answered(probe);
        assert!(!permit(&mut breaker, at).is_probe());
    }

    #[test]
    fn the_pause_between_probes_grows_to_a_minute_and_no_further() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let at = until(&mut breaker, now);
            pauses.push((at - now).as_millis());
            now = at;
            let probe = permit(&mut breaker, now);
            breaker.failed(probe, None, now, u64::MAX);
        }
        let pauses: Vec<_> = pauses.iter().map(|pause| pause.div_ceil(100)).collect();
        assert_eq!(pauses, [5, 20, 40, 80, 160, 320, 600, 600, 600]);
    }

    #[test]
    fn a_receiver_that_asks_for_more_time_gets_it_up_to_an_hour() {
        let now = Instant::now();
        for (asked, given) in [(90, 90), (u64::MAX, 3_600)] {
            let mut breaker = opened(now);
            let at = until(&mut breaker, now);
            let probe = permit(&mut breaker, at);
            breaker.failed(probe, Some(Duration::from_secs(asked)), at, 0);
            assert_eq!(until(&mut breaker, at) - at, Duration::from_secs(given));
        }
    }

    #[test]
    fn requests_that_began_before_it_opened_make_no_pause_longer_but_one_that_succeeds_closes_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(EXPIRY);
        let mut early: Vec<_> = (0..16).map(|_| permit(&mut breaker, now)).collect();
        let last = early.pop().expect("sixteen");
        for permit in early {
            breaker.failed(permit, None, now, 0);
        }
        assert!(until(&mut breaker, now) - now <= PAUSE_FIRST / 2);
        breaker.answered(last);
        assert!(!breaker.is_open());
    }

    #[test]
    fn outages_of_before_it_closed_do_not_open_it_again() {
        let now = Instant::now();
        let mut breaker = Breaker::new(EXPIRY);
        let early: Vec<_> = (0..16).map(|_| permit(&mut breaker, now)).collect();
        let mut early = early.into_iter();
        for permit in early.by_ref().take(5) {
            breaker.failed(permit, None, now, 0);
        }
        let at = until(&mut breaker, now);
        let probe = permit(&mut breaker, at);
        breaker.answered(probe);
        for permit in early {
            breaker.failed(permit, None, at, 0);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_probe_that_is_given_up_or_lost_makes_room_for_the_next() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let at = until(&mut breaker, now);
        let given_up = permit(&mut breaker, at);
        breaker.abandoned(given_up, at);
        let lost = permit(&mut breaker, at);
        let after = at + EXPIRY;
        let third = permit(&mut breaker, after);
        breaker.failed(lost, None, after, 0);
        assert_eq!(until(&mut breaker, after), after + EXPIRY, "the third is under way");
        breaker.answered(third);
        assert!(!breaker.is_open());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        Report { which: usize, outage: bool, retry_after: Option<u64>, random: u64 },
        Abandon { which: usize },
        Pass { millis: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Admit),
            4 => (any::<usize>(), prop::bool::weighted(0.8), proptest::option::of(0_u64..100), any::<u64>())
                .prop_map(|(which, outage, retry_after, random)| Step::Report { which, outage, retry_after, random }),
            1 => any::<usize>().prop_map(|which| Step::Abandon { which }),
            2 => (0_u64..70_000).prop_map(|millis| Step::Pass { millis }),
        ]
    }

    proptest! {
        /// Whatever happens: open, one probe at a time goes (unless the one before expired); closed,
        /// everything goes; and it never waits for longer than anybody may ask for.
        #[test]
        fn it_admits_one_probe_at_a_time_and_never_waits_for_ever(
            steps in proptest::collection::vec(step(), 0..200)
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(EXPIRY);
            let mut under_way: Vec<(Permit, Instant)> = Vec::new();
            for step in steps {
                match step {
                    Step::Admit => {
                        let was_open = breaker.is_open();
                        match breaker.admit(now) {
                            Admission::Go(permit) => {
                                prop_assert_eq!(permit.is_probe(), was_open);
                                let fresh = under_way.iter().filter(|(other, since)| {
                                    other.is_probe() && other.period == permit.period - 1 && now < *since + EXPIRY
                                });
                                prop_assert!(!permit.is_probe() || fresh.count() == 0);
                                under_way.push((permit, now));
                            }
                            Admission::Wait { until } => {
                                prop_assert!(was_open && until > now);
                                prop_assert!(until - now <= RETRY_AFTER_MAX);
                            }
                        }
                    }
                    Step::Report { which, outage, retry_after, random } if !under_way.is_empty() => {
                        let (permit, _) = under_way.swap_remove(which % under_way.len());
                        if outage {
                            breaker.failed(permit, retry_after.map(Duration::from_secs), now, random);
                        } else {
                            breaker.answered(permit);
                            prop_assert!(!breaker.is_open());
                        }
                    }
                    Step::Abandon { which } if !under_way.is_empty() => {
                        let (permit, _) = under_way.swap_remove(which % under_way.len());
                        breaker.abandoned(permit, now);
                    }
                    Step::Report { .. } | Step::Abandon { .. } => {}
                    Step::Pass { millis } => now += Duration::from_millis(millis),
                }
            }
            // After the longest wait anybody may cause, a request goes again.
            let later = now + RETRY_AFTER_MAX.max(EXPIRY);
            prop_assert!(matches!(breaker.admit(later), Admission::Go(_)));
        }
    }
}
