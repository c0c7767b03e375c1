//! Everything that is known about heartbeats and canaries, in one place. Pure: what happened and
//! when comes in as arguments. The verdict will read from here.

mod notes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use notes::{Canaries, Failure, Heartbeats, Judged, PathNotes, RoundTrip};

use super::echo::{Acceptance, EchoLedger};
use super::path::Path;
use super::recognise::PathRow;
use super::{CanaryRow, Event, HeartbeatRow, Leg, Phase, Reason, Stage, Stages};

/// Steps of canaries whose begin is remembered, for each path.
const STEPS_MAX: usize = 3 * 1024;

/// Knows what was written, seen, published and echoed.
#[derive(Debug, Clone)]
pub struct Book {
    instance: String,
    stages: Stages,
    heartbeats: Heartbeats,
    canaries: Canaries,
    paths: Vec<PathNotes>,
    /// Begins of the canaries' steps, oldest first.
    steps: VecDeque<(Leg, Instant)>,
    echoes: Vec<Account>,
}

/// What one consumer owes of one kind of canary.
#[derive(Debug, Clone)]
struct Account {
    /// The consumer's name; of a path `consumer/path`.
    name: Arc<str>,
    consumer: Arc<str>,
    path: Option<Arc<str>>,
    ledger: EchoLedger,
    /// Why its queue could not be read, while the last try failed.
    unreadable: Option<String>,
}

impl Book {
    /// For heartbeats and canaries of process `instance`, and these consumers, who owe an echo
    /// within `deadline` (L).
    pub fn new(
        instance: impl Into<String>,
        consumers: impl IntoIterator<Item = Arc<str>>,
        deadline: Duration,
    ) -> Self {
        let account = |consumer: Arc<str>| Account {
            name: Arc::clone(&consumer),
            consumer,
            path: None,
            ledger: EchoLedger::new(deadline, &Phase::ALL),
            unreadable: None,
        };
        Self {
            instance: instance.into(),
            stages: Stages::default(),
            heartbeats: Heartbeats::default(),
            canaries: Canaries::default(),
            paths: Vec::new(),
            steps: VecDeque::new(),
            echoes: consumers.into_iter().map(account).collect(),
        }
    }

    /// Canaries through `path` too, whose echo these consumers owe within `deadline`. Nothing is known
    /// of a path that is not written.
    #[must_use]
    pub fn with_path(mut self, path: &Path, consumers: &[Arc<str>], deadline: Duration) -> Self {
        let Some(steps) = &path.steps else { return self };
        let phases = steps.phases();
        self.paths.push(PathNotes {
            path: Arc::clone(&path.name),
            walked: 0,
            failed: 0,
            committed: None,
            seen: None,
            failure: None,
            last: phases.last().copied().unwrap_or(Phase::Insert),
        });
        self.echoes.extend(consumers.iter().map(|consumer| Account {
            name: path.account(consumer),
            consumer: Arc::clone(consumer),
            path: Some(Arc::clone(&path.name)),
            ledger: EchoLedger::new(deadline, &phases),
            unreadable: None,
        }));
        self
    }

    /// Notes what a task reported. The judgement of an echo, if it was one.
    pub fn observe(&mut self, event: &Event, now: Instant) -> Option<Judged> {
        match event {
            Event::HeartbeatStarted { number, at } => {
                self.stages.started(*number, *at);
                self.heartbeats.begun = Some((*number, *at));
            }
            Event::HeartbeatCommitted { number, .. } => {
                self.heartbeats.failure = None;
                self.heartbeats.server_state = None;
                if let Some(started) = self.stages.passed(Stage::Written, *number) {
                    self.heartbeats.committed = Some((*number, started));
                }
            }
            Event::HeartbeatFailed { reason, message, .. } => {
                self.heartbeats.failure = Some(failure(*reason, message, now));
            }
            Event::HeartbeatPending { server_state, .. } => {
                self.heartbeats.server_state.clone_from(server_state);
            }
            Event::Facts(facts) => self.heartbeats.facts = Some((facts.clone(), now)),
            Event::CanaryStarted { number, phase, at } => {
                self.begin(&Leg { path: None, number: *number, phase: *phase }, *at);
            }
            Event::LegStarted { leg, at } => self.begin(leg, *at),
            Event::LegCommitted { leg, .. } => self.leg_committed(leg),
            Event::PathFailed { path, reason, message } => {
                if let Some(notes) = self.notes(Some(path)) {
                    notes.failed += 1;
                    notes.failure = Some(failure(*reason, message, now));
                }
            }
            Event::CanaryCommitted { number, phase, .. } => {
                self.canaries.failure = None;
                let leg = Leg { path: None, number: *number, phase: *phase };
                if let Some(started) = self.begun(&leg) {
                    self.canaries.committed = Some((*number, started));
                }
            }
            Event::CanaryFailed { reason, message, .. } => {
                self.canaries.failure = Some(failure(*reason, message, now));
            }
            Event::Echoed { consumer, leg, is_genuine, .. } => {
                return self.echoed(consumer, leg, *is_genuine, now);
            }
            Event::EchoRead { consumer, .. } => {
                for account in self.accounts_mut(consumer) {
                    account.ledger.read(now);
                    account.unreadable = None;
                }
            }
            Event::EchoFailed { consumer, message } => {
                for account in self.accounts_mut(consumer) {
                    account.unreadable = Some(message.clone());
                }
            }
            // The ledger of transactions and the judge keep these two; what was ignored is only counted.
            Event::Executed { .. } | Event::HeartbeatStored { .. } | Event::EchoIgnored { .. } => {}
        }
        None
    }

    /// A heartbeat row was seen on the stream. Its round trip, if it is of this process and newer
    /// than all before: a statement that was given up may commit late, and out of order.
    pub fn heartbeat_seen(&mut self, row: &HeartbeatRow, now: Instant) -> Option<RoundTrip> {
        let is_newer = self.heartbeats.seen.is_none_or(|seen| row.number > seen.number);
        if row.instance != self.instance || !is_newer {
            return None;
        }
        let started = self.stages.passed(Stage::Received, row.number)?;
        let took = now.saturating_duration_since(started);
        self.heartbeats.seen = Some(RoundTrip { number: row.number, started, took });
        self.heartbeats.seen
    }

    /// Everything before heartbeat `number` was accepted by the topic.
    pub fn heartbeat_published(&mut self, number: u64) {
        self.stages.passed(Stage::Published, number);
    }

    /// The saved checkpoint covers heartbeat `number`.
    pub fn heartbeat_checkpointed(&mut self, number: u64) {
        self.stages.passed(Stage::Checkpointed, number);
    }

    /// A canary row was seen on the stream. Its round trip, if it is of this process.
    pub fn canary_seen(&mut self, row: &CanaryRow, now: Instant) -> Option<RoundTrip> {
        self.canaries.mismatched += u64::from(!row.mismatches.is_empty());
        let started = self.begun(&Leg { path: None, number: row.number, phase: row.phase })?;
        let took = now.saturating_duration_since(started);
        self.canaries.seen = Some(RoundTrip { number: row.number, started, took });
        self.canaries.seen
    }

    /// A row of a path's canary was seen on the stream. Its round trip, if it is of this process.
    pub fn path_seen(&mut self, row: &PathRow, now: Instant) -> Option<RoundTrip> {
        let started = self.begun(&row.leg)?;
        let took = now.saturating_duration_since(started);
        let trip = RoundTrip { number: row.leg.number, started, took };
        self.notes(row.leg.path.as_ref())?.seen = Some(trip);
        Some(trip)
    }

    /// The topic accepted the message of a canary's step. Whether that was news to each account of its
    /// path, and whether all of the canary is back from there already.
    pub fn canary_accepted(&mut self, leg: &Leg, now: Instant) -> Vec<(Arc<str>, Acceptance)> {
        let accounts = self.echoes.iter_mut().filter(|account| account.path == leg.path);
        accounts
            .map(|account| {
                (Arc::clone(&account.name), account.ledger.accepted(leg.number, leg.phase, now))
            })
            .collect()
    }

    /// Whether this is the last step of its canary: with it the whole canary is owed.
    pub fn is_last(&self, leg: &Leg) -> bool {
        let last = match &leg.path {
            None => Some(Phase::Delete),
            Some(path) => self.path(path).map(|notes| notes.last),
        };
        last == Some(leg.phase)
    }

    /// The consumer owes no echo until then; `None`: it does again.
    pub fn rest(&mut self, consumer: &str, until: Option<Instant>) {
        for account in self.accounts_mut(consumer) {
            account.ledger.rest(until);
        }
    }

    fn accounts_mut<'a>(&'a mut self, consumer: &'a str) -> impl Iterator<Item = &'a mut Account> {
        self.echoes.iter_mut().filter(move |account| *account.consumer == *consumer)
    }

    /// The names of the consumer's accounts: its own, and one for each path.
    pub fn accounts_of<'a>(&'a self, consumer: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        let accounts = self.echoes.iter().filter(move |account| *account.consumer == *consumer);
        accounts.map(|account| &account.name)
    }

    /// Counts overdue canaries as lost; accounts and numbers.
    pub fn expire(&mut self, now: Instant) -> Vec<(Arc<str>, u64)> {
        let mut lost = Vec::new();
        for account in &mut self.echoes {
            let numbers = account.ledger.expire(now).into_iter();
            lost.extend(numbers.map(|number| (Arc::clone(&account.name), number)));
        }
        lost
    }

    /// For each stage, when the newest heartbeat that has passed it was begun to be written.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// What is known of the heartbeats.
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// What is known of the canaries.
    pub fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// What is known of the paths that are written.
    pub fn paths(&self) -> &[PathNotes] {
        &self.paths
    }

    /// The same of one of them.
    pub fn path(&self, name: &str) -> Option<&PathNotes> {
        self.paths.iter().find(|notes| *notes.path == *name)
    }

    /// The consumers' accounts, by name; those of paths are called `consumer/path`.
    pub fn echoes(&self) -> impl Iterator<Item = (&Arc<str>, &EchoLedger)> {
        self.echoes.iter().map(|account| (&account.name, &account.ledger))
    }

    /// Why the queue of this account could not be read, while the last try failed.
    pub fn unreadable(&self, account: &str) -> Option<&str> {
        let found = self.echoes.iter().find(|known| *known.name == *account);
        found.and_then(|account| account.unreadable.as_deref())
    }

    /// The consumer whose account has this name.
    pub fn consumer_of(&self, account: &str) -> Option<&Arc<str>> {
        let found = self.echoes.iter().find(|known| *known.name == *account);
        found.map(|account| &account.consumer)
    }

    fn begin(&mut self, leg: &Leg, at: Instant) {
        if self.steps.len() >= STEPS_MAX * (1 + self.paths.len()) {
            self.steps.pop_front();
        }
        // A step that was tried again keeps its last begin.
        self.steps.retain(|(other, _)| other != leg);
        self.steps.push_back((leg.clone(), at));
        for account in self.echoes.iter_mut().filter(|account| account.path == leg.path) {
            account.ledger.begun(leg.number);
        }
    }

    fn begun(&self, leg: &Leg) -> Option<Instant> {
        // The newest are asked for.
        self.steps.iter().rev().find(|(other, _)| other == leg).map(|(_, at)| *at)
    }

    fn notes(&mut self, path: Option<&Arc<str>>) -> Option<&mut PathNotes> {
        let path = path?;
        self.paths.iter_mut().find(|notes| notes.path == *path)
    }

    fn leg_committed(&mut self, leg: &Leg) {
        let started = self.begun(leg);
        let Some(notes) = self.notes(leg.path.as_ref()) else { return };
        if leg.phase == Phase::Insert
            && let Some(started) = started
        {
            notes.committed = Some((leg.number, started));
        }
        if leg.phase == notes.last {
            notes.walked += 1;
            notes.failure = None;
        }
    }

    fn echoed(
        &mut self,
        consumer: &str,
        leg: &Leg,
        is_genuine: bool,
        now: Instant,
    ) -> Option<Judged> {
        let account = self
            .echoes
            .iter_mut()
            .find(|account| *account.consumer == *consumer && account.path == leg.path)?;
        let echo = if is_genuine {
            account.ledger.echoed(leg.number, leg.phase, now)
        } else {
            account.ledger.unproven(leg.number)
        };
        let name = Arc::clone(&account.name);
        let started = self.begun(leg);
        // Delivered is what every consumer has: the oldest of their newest.
        let built_in = self.echoes.iter().filter(|account| account.path.is_none());
        let resolved = built_in.map(|account| Some(account.ledger.last_resolved()?.0)).min();
        if let Some(Some(number)) = resolved
            && let Some(started) = self.begun(&Leg { path: None, number, phase: Phase::Insert })
        {
            self.stages.passed_at(Stage::Delivered, started);
        }
        let took = started.map(|started| now.saturating_duration_since(started));
        Some(Judged { account: name, echo, took })
    }
}

fn failure(reason: Reason, message: &str, at: Instant) -> Failure {
    Failure { reason, message: message.to_owned(), at }
}
