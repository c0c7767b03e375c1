//! Obligations: what began, is due, and has not happened yet.
//!
//! A stall is an unmet obligation, quiet is the absence of obligations. A clock here is *armed*: it
//! runs only while the hop before gave work and the hop after accepts output, so that one dead hop
//! does not make its neighbours look dead.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Who owes what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Obligation {
    /// The source: bytes, while we wait for them.
    StreamBytes,
    /// The source: a replication connection.
    StreamConnect,
    /// The source: the commit of a heartbeat row.
    HeartbeatCommit,
    /// The stream: the heartbeat row that was committed.
    HeartbeatSeen,
    /// SNS: an acknowledgement.
    Publish,
    /// A consumer, by its place among the configured ones: a canary's echo.
    CanaryEcho(usize),
    /// Our own store: a saved checkpoint.
    Checkpoint,
}

impl Obligation {
    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StreamBytes => "stream_bytes",
            Self::StreamConnect => "stream_connect",
            Self::HeartbeatCommit => "heartbeat_commit",
            Self::HeartbeatSeen => "heartbeat_seen",
            Self::Publish => "publish",
            Self::CanaryEcho(_) => "canary_echo",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// Names of all, for metrics.
    pub const NAMES: [&'static str; 7] = [
        "stream_bytes",
        "stream_connect",
        "heartbeat_commit",
        "heartbeat_seen",
        "publish",
        "canary_echo",
        "checkpoint",
    ];
}

/// Most open ones of a kind; the oldest ones are those that matter, so later ones are not kept.
const OPEN_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Timer {
    began: Instant,
    /// Time that ran before the clock was last stopped.
    ran: Duration,
    /// Since when it runs; `None` while stopped.
    running_since: Option<Instant>,
    allowed: Duration,
}

impl Timer {
    fn age(&self, now: Instant) -> Duration {
        let running =
            self.running_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.ran + running
    }
}

/// The obligations that are open.
#[derive(Debug, Default)]
pub struct Obligations {
    open: BTreeMap<(Obligation, u64), Timer>,
    stopped: Vec<Obligation>,
    /// No clock shows time before this instant.
    reset_at: Option<Instant>,
}

impl Obligations {
    /// Opens an obligation with a number of its own: since `began`, due after `allowed` of armed
    /// time. One that is open already stays as it is.
    pub fn begin(&mut self, kind: Obligation, number: u64, began: Instant, allowed: Duration) {
        if self.of(kind).count() < OPEN_MAX {
            let since = self.reset_at.map_or(began, |reset_at| reset_at.max(began));
            let running_since = (!self.stopped.contains(&kind)).then_some(since);
            let timer = Timer { began, ran: Duration::ZERO, running_since, allowed };
            self.open.entry((kind, number)).or_insert(timer);
        }
    }

    /// Closes all of a kind up to `number`: it happened, or is no longer owed. Whether any was open.
    pub fn meet(&mut self, kind: Obligation, number: u64) -> bool {
        let before = self.open.len();
        self.open.retain(|(open, at), _| *open != kind || *at > number);
        self.open.len() < before
    }

    /// Closes exactly one. Whether it was open.
    pub fn meet_one(&mut self, kind: Obligation, number: u64) -> bool {
        self.open.remove(&(kind, number)).is_some()
    }

    /// Closes every one of a kind.
    pub fn clear(&mut self, kind: Obligation) {
        self.meet(kind, u64::MAX);
    }

    /// Forgets what would come to us; what we owe to others stays.
    pub fn expect_nothing(&mut self) {
        let is_ours =
            |kind: &Obligation| matches!(kind, Obligation::Publish | Obligation::Checkpoint);
        self.open.retain(|(kind, _), _| is_ours(kind));
    }

    /// Lets the clocks of a kind run, or stops them. Stopped clocks keep the age they have; later
    /// ones of the kind begin stopped.
    pub fn arm(&mut self, kind: Obligation, armed: bool, at: Instant) {
        let was_armed = !self.stopped.contains(&kind);
        if was_armed == armed {
            return;
        }
        if armed {
            self.stopped.retain(|stopped| *stopped != kind);
        } else {
            self.stopped.push(kind);
        }
        for (_, timer) in self.open.iter_mut().filter(|((open, _), _)| *open == kind) {
            timer.ran = timer.age(at);
            timer.running_since = armed.then_some(at);
        }
    }

    /// Starts all clocks again: after we were frozen, nobody is blamed for time that we missed.
    pub fn rearm(&mut self, at: Instant) {
        self.reset_at = Some(at);
        for timer in self.open.values_mut() {
            timer.ran = Duration::ZERO;
            timer.running_since = timer.running_since.map(|_| at);
        }
    }

    /// Starts the clocks of one kind again.
    pub fn rearm_kind(&mut self, kind: Obligation, at: Instant) {
        for (_, timer) in self.open.iter_mut().filter(|((open, _), _)| *open == kind) {
            timer.ran = Duration::ZERO;
            timer.running_since = timer.running_since.map(|_| at);
        }
    }

    /// The largest armed age among a kind's open ones, with its number and when it began.
    pub fn oldest(&self, kind: Obligation, now: Instant) -> Option<Open> {
        self.of(kind)
            .map(|(number, timer)| Open {
                number,
                began: timer.began,
                age: timer.age(now),
                allowed: timer.allowed,
            })
            .max_by_key(|open| open.age)
    }

    /// The one that is most overdue, or has most of its time used up, of a kind.
    pub fn overdue(&self, kind: Obligation, now: Instant) -> Option<Open> {
        self.oldest(kind, now).filter(|open| open.age > open.allowed)
    }

    /// The numbers of a kind's open ones whose time is over.
    pub fn overdue_numbers(&self, kind: Obligation, now: Instant) -> Vec<u64> {
        self.of(kind)
            .filter(|(_, timer)| timer.age(now) > timer.allowed)
            .map(|(number, _)| number)
            .collect()
    }

    /// Whether any has used up half of its time: reason to look again.
    pub fn suspicion(&self, now: Instant) -> Option<Obligation> {
        self.open
            .iter()
            .find(|(_, timer)| timer.age(now) * 2 >= timer.allowed)
            .map(|((kind, _), _)| *kind)
    }

    /// Whether the oldest of a kind has used up half of its time.
    pub fn suspicion_of(&self, kind: Obligation, now: Instant) -> bool {
        self.oldest(kind, now).is_some_and(|open| open.age * 2 >= open.allowed)
    }

    /// Age of the oldest open one by name, for metrics; zero where none is open.
    pub fn ages(&self, now: Instant) -> impl Iterator<Item = (&'static str, Duration)> {
        Obligation::NAMES.into_iter().map(move |name| {
            let ages = self.open.iter().filter(|((kind, _), _)| kind.name() == name);
            (name, ages.map(|(_, timer)| timer.age(now)).max().unwrap_or_default())
        })
    }

    fn of(&self, kind: Obligation) -> impl Iterator<Item = (u64, &Timer)> {
        self.open.range((kind, 0)..=(kind, u64::MAX)).map(|((_, number), timer)| (*number, timer))
    }
}

/// An open obligation as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Its number.
    pub number: u64,
    /// When it began.
    pub began: Instant,
    /// How long its clock has run.
    pub age: Duration,
    /// How long it may.
    pub allowed: Duration,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stopped_clock_keeps_its_age_and_goes_on_when_armed_again() {
        let start = Instant::now();
        let mut obligations = Obligations::default();
        obligations.begin(Obligation::StreamBytes, 0, start, SECOND * 4);

        obligations.arm(Obligation::StreamBytes, false, start + SECOND * 3);
        assert_eq!(obligations.overdue(Obligation::StreamBytes, start + SECOND * 60), None);

        obligations.arm(Obligation::StreamBytes, true, start + SECOND * 60);
        assert_eq!(obligations.overdue(Obligation::StreamBytes, start + SECOND * 61), None);
        let overdue = obligations.overdue(Obligation::StreamBytes, start + SECOND * 62);
        assert_eq!(overdue.map(|open| open.age), Some(SECOND * 5));
    }

    #[test]
    fn a_grace_period_starts_every_clock_anew_but_forgets_no_obligation() {
        let start = Instant::now();
        let mut obligations = Obligations::default();
        obligations.begin(Obligation::Publish, 0, start, SECOND * 10);
        obligations.rearm(start + SECOND * 60);
        assert_eq!(obligations.overdue(Obligation::Publish, start + SECOND * 70), None);
        assert!(obligations.overdue(Obligation::Publish, start + SECOND * 71).is_some());
    }

    #[test]
    fn a_later_heartbeat_settles_the_earlier_ones() {
        let start = Instant::now();
        let mut obligations = Obligations::default();
        for number in 1..=3 {
            obligations.begin(Obligation::HeartbeatSeen, number, start, SECOND);
        }
        assert!(obligations.meet(Obligation::HeartbeatSeen, 2));
        let oldest = obligations.oldest(Obligation::HeartbeatSeen, start + SECOND);
        assert_eq!(oldest.map(|open| open.number), Some(3));
        assert!(!obligations.meet(Obligation::HeartbeatSeen, 2));
    }

    /// The same by brute force: each second adds one to whatever is armed.
    #[derive(Default)]
    struct Model {
        open: BTreeMap<(Obligation, u64), (u64, u64)>,
        stopped: Vec<Obligation>,
    }

    impl Model {
        fn overdue(&self, kind: Obligation) -> Vec<u64> {
            let of = self.open.iter().filter(|((open, _), _)| *open == kind);
            of.filter(|(_, (age, allowed))| age > allowed).map(|((_, number), _)| *number).collect()
        }

        fn oldest(&self, is_of: impl Fn(Obligation) -> bool) -> Option<u64> {
            let of = self.open.iter().filter(|((open, _), _)| is_of(*open));
            of.map(|(_, (age, _))| *age).max()
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Pass(u64),
        Begin(u64, u64),
        Meet(u64),
        MeetOne(u64),
        Clear,
        ExpectNothing,
        Arm(bool),
        Rearm,
        RearmKind,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1_u64..6).prop_map(Step::Pass),
            6 => (0_u64..5, 1_u64..9).prop_map(|(number, allowed)| Step::Begin(number, allowed)),
            1 => (0_u64..5).prop_map(Step::Meet),
            1 => (0_u64..5).prop_map(Step::MeetOne),
            1 => Just(Step::Clear),
            1 => Just(Step::ExpectNothing),
            2 => any::<bool>().prop_map(Step::Arm),
            1 => Just(Step::Rearm),
            1 => Just(Step::RearmKind),
        ]
    }

    const KINDS: [Obligation; 4] = [
        Obligation::StreamBytes,
        Obligation::Publish,
        Obligation::CanaryEcho(0),
        Obligation::CanaryEcho(1),
    ];

    proptest! {
        #[test]
        fn armed_seconds_are_counted_and_no_others(
            steps in proptest::collection::vec((0..KINDS.len(), step()), 1..60),
        ) {
            let start = Instant::now();
            let (mut now, mut model, mut obligations) = (0, Model::default(), Obligations::default());
            for (kind, step) in steps {
                let (kind, at) = (KINDS[kind], start + SECOND * u32::try_from(now).expect("few"));
                match step {
                    Step::Pass(seconds) => {
                        now += seconds;
                        for ((open, _), (age, _)) in &mut model.open {
                            *age += u64::from(!model.stopped.contains(open)) * seconds;
                        }
                    }
                    Step::Begin(number, allowed) => {
                        obligations.begin(kind, number, at, Duration::from_secs(allowed));
                        model.open.entry((kind, number)).or_insert((0, allowed));
                    }
                    Step::Meet(number) => {
                        let before = model.open.len();
                        model.open.retain(|(open, at), _| *open != kind || *at > number);
                        prop_assert_eq!(obligations.meet(kind, number), model.open.len() < before);
                    }
                    Step::MeetOne(number) => {
                        let was = model.open.remove(&(kind, number)).is_some();
                        prop_assert_eq!(obligations.meet_one(kind, number), was);
                    }
                    Step::Clear => {
                        obligations.clear(kind);
                        model.open.retain(|(open, _), _| *open != kind);
                    }
                    Step::ExpectNothing => {
                        obligations.expect_nothing();
                        model.open.retain(|(open, _), _| *open == Obligation::Publish);
                    }
                    Step::Arm(armed) => {
                        obligations.arm(kind, armed, at);
                        model.stopped.retain(|stopped| *stopped != kind);
                        model.stopped.extend((!armed).then_some(kind));
                    }
                    Step::Rearm => {
                        obligations.rearm(at);
                        model.open.values_mut().for_each(|(age, _)| *age = 0);
                    }
                    Step::RearmKind => {
                        obligations.rearm_kind(kind, at);
                        let of = model.open.iter_mut().filter(|((open, _), _)| *open == kind);
                        of.for_each(|(_, (age, _))| *age = 0);
                    }
                }
                let at = start + SECOND * u32::try_from(now).expect("few");
                for kind in KINDS {
                    let oldest = obligations.oldest(kind, at).map(|open| open.age.as_secs());
                    prop_assert_eq!(oldest, model.oldest(|open| open == kind));
                    prop_assert_eq!(obligations.overdue_numbers(kind, at), model.overdue(kind));
                }
                let half = |(age, allowed): &(u64, u64)| age * 2 >= *allowed;
                let first = model.open.iter().find(|(_, timer)| half(timer)).map(|((kind, _), _)| *kind);
                prop_assert_eq!(obligations.suspicion(at), first);
                for (name, age) in obligations.ages(at) {
                    let oldest = model.oldest(|open| open.name() == name).unwrap_or(0);
                    prop_assert_eq!(age.as_secs(), oldest, "{}", name);
                }
            }
        }
    }

    #[test]
    fn what_began_before_we_were_frozen_owes_nothing_for_that_time() {
        let start = Instant::now();
        let mut obligations = Obligations::default();
        obligations.rearm(start + SECOND * 60);
        obligations.begin(Obligation::Publish, 0, start, SECOND * 10);
        obligations.begin(Obligation::Publish, 1, start + SECOND * 65, SECOND * 10);
        let age = |number, second| {
            let mut one = Obligations::default();
            one.open.extend(
                obligations
                    .open
                    .get(&(Obligation::Publish, number))
                    .map(|timer| ((Obligation::Publish, number), *timer)),
            );
            one.oldest(Obligation::Publish, start + SECOND * second).map(|open| open.age)
        };
        assert_eq!(age(0, 70), Some(SECOND * 10));
        assert_eq!(age(1, 70), Some(SECOND * 5));
        assert!(!obligations.suspicion_of(Obligation::Publish, start + SECOND * 64));
        assert!(obligations.suspicion_of(Obligation::Publish, start + SECOND * 65));
    }

    #[test]
    fn half_of_a_deadline_is_suspicious() {
        let start = Instant::now();
        let mut obligations = Obligations::default();
        obligations.begin(Obligation::CanaryEcho(1), 7, start, SECOND * 15);
        assert_eq!(obligations.suspicion(start + SECOND * 7), None);
        let suspected = obligations.suspicion(start + SECOND * 8);
        assert_eq!(suspected, Some(Obligation::CanaryEcho(1)));
    }

    #[test]
    fn what_is_open_is_bounded() {
        let start = Instant::now();
        let mut obligations = Obligations::default();
        for number in 0..10_000 {
            obligations.begin(Obligation::HeartbeatSeen, number, start, SECOND);
        }
        assert_eq!(
            obligations.overdue_numbers(Obligation::HeartbeatSeen, start + SECOND * 2).len(),
            OPEN_MAX
        );
        assert_eq!(
            obligations.oldest(Obligation::HeartbeatSeen, start).map(|open| open.began),
            Some(start)
        );
    }
}
