//! The verdict with its memory: how states are entered and left, so that it does not flap.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::rule::{Enter, Exit};
use super::table::{Row, classify};
use super::{Certificate, Condition, Conditions, Grade, Hop, Known, Parameters, Reason, State};

/// What freshness concludes, for people and for machines.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The state.
    pub state: State,
    /// What it is more exactly, where there is more to say.
    pub reason: Option<Reason>,
    /// Since when it is that.
    pub since: Instant,
    /// What the state names is over by its own evidence; the state stays until that has lasted.
    pub is_recovering: bool,
    /// When it was evaluated.
    pub evaluated_at: Instant,
    /// One sentence with its evidence.
    pub sentence: String,
    /// Further facts, each a sentence: every needed condition that is not well.
    pub facts: Vec<String>,
    /// The first broken hop.
    pub hop: Hop,
    /// What to do next.
    pub next_step: Cow<'static, str>,
    /// The newest quiet certificate.
    pub certificate: Option<Certificate>,
    /// All conditions.
    pub conditions: Vec<(Condition, Known)>,
}

impl Verdict {
    /// What it means for those who wait for data.
    pub fn grade(&self) -> Grade {
        if self.is_recovering { Grade::Recovering } else { self.state.grade() }
    }
}

/// Counts of what shows that something works; the exit rules compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    pub(super) round_trips: u64,
    pub(super) commits: u64,
    pub(super) acknowledged: u64,
    pub(super) sink_empty: bool,
    pub(super) echoes: u64,
}

impl Exit {
    /// Whether enough was seen after `then`.
    fn is_open(self, then: &Progress, now: &Progress) -> bool {
        let acknowledged = now.acknowledged.saturating_sub(then.acknowledged);
        match self {
            Self::AtOnce => true,
            Self::RoundTrips(count) => now.round_trips.saturating_sub(then.round_trips) >= count,
            Self::Commits(count) => now.commits.saturating_sub(then.commits) >= count,
            Self::Acknowledgements(count) => {
                acknowledged >= count || acknowledged > 0 && now.sink_empty
            }
            Self::Echoes(count) => now.echoes.saturating_sub(then.echoes) >= count,
        }
    }
}

/// The state that is shown, and what it takes to leave it.
#[derive(Debug)]
pub(super) struct Hysteresis {
    row: &'static Row,
    since: Instant,
    /// As it was when the shown row's predicate last held.
    held_at: Progress,
    /// Since when needed evidence is missing.
    missing_since: Option<Instant>,
}

impl Hysteresis {
    /// Begins as `starting`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            row: State::Starting.row(),
            since: now,
            held_at: Progress::default(),
            missing_since: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.row.state
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether the shown state's predicate holds; else it only waits for its exit.
    pub(super) fn holds(&self, conditions: &Conditions) -> bool {
        self.row.when.holds(conditions)
    }

    /// Whether the state only waits for its exit: its predicate no longer holds, and what it rests on
    /// is known to be well. Evidence that is merely missing ends nothing.
    pub(super) fn is_recovering(&self, conditions: &Conditions) -> bool {
        let is_well = self.row.rests_on.is_some_and(|condition| conditions.is_true(condition));
        self.row.state.grade() <= Grade::Late && is_well && !self.holds(conditions)
    }

    /// The state as of `now`. A row whose predicate holds is shown before any that only waits for
    /// its exit: old evidence never hides new.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        conditions: &Conditions,
        progress: Progress,
        parameters: &Parameters,
    ) -> State {
        let found = classify(conditions);
        self.missing_since = match found.enter {
            Enter::Missing => self.missing_since.or(Some(now)),
            // Outages above have needed conditions that are not well: that time counts too.
            Enter::AtOnce if found.state.grade() < Grade::Intended => {
                self.missing_since.or(Some(now))
            }
            Enter::AtOnce => None,
        };
        let missing_for =
            self.missing_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let proves_fault = found.enter == Enter::AtOnce && found.state.grade() < Grade::Intended;
        let waits_for_exit = !proves_fault && !self.row.exit.is_open(&self.held_at, &progress);
        let waits_for_evidence = found.enter == Enter::Missing
            && self.row.state != State::Indeterminate
            && self.row.state.grade() < Grade::Intended
            && missing_for < parameters.indeterminate_after;
        if waits_for_exit || waits_for_evidence {
            return self.row.state;
        }
        self.held_at = progress;
        if self.row.state != found.state {
            self.row = found;
            self.since = now;
        }
        self.row.state
    }
}
