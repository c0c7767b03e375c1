//! Everything that is known about heartbeats and canaries, in one place. Pure: what happened and
//! when comes in as arguments. Metrics and `/status` read it; the verdict takes the observations themselves.

mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use state::{Canaries, EvaluatedEcho, Failure, Heartbeats, RoundTrip};

use super::canary::echo::{Acceptance, EchoTracker};
use super::canary::path::CanaryPath;
use super::recognise::PathRow;
use super::{CanaryRow, CanaryStep, HeartbeatRow, Observation, Phase, SqlFailure, Stage, Stages};

/// Steps of canaries whose begin is remembered, for each path.
const STEPS_MAX: usize = 3 * 1024;

/// Knows what was written, seen, published and echoed.
#[derive(Debug, Clone)]
pub struct RoundTrips {
    instance: String,
    stages: Stages,
    heartbeats: Heartbeats,
    /// The built-in canary first, then those of paths.
    canaries: Vec<Canaries>,
    /// Begins of the canaries' steps, oldest first.
    steps: VecDeque<(CanaryStep, Instant)>,
    echoes: Vec<ExpectedEchoes>,
}

/// What one consumer owes of one kind of canary.
#[derive(Debug, Clone)]
struct ExpectedEchoes {
    /// The consumer's name; of a path `consumer/path`.
    name: Arc<str>,
    consumer: Arc<str>,
    path: Option<Arc<str>>,
    tracker: EchoTracker,
    /// Why its queue could not be read, while the last try failed.
    unreadable: Option<String>,
}

impl RoundTrips {
    /// For heartbeats and canaries of process `instance`, and these consumers, who owe an echo
    /// within `deadline` (L).
    pub fn new(
        instance: impl Into<String>,
        consumers: impl IntoIterator<Item = Arc<str>>,
        deadline: Duration,
    ) -> Self {
        let account = |consumer: Arc<str>| ExpectedEchoes {
            name: Arc::clone(&consumer),
            consumer,
            path: None,
            tracker: EchoTracker::new(deadline, &Phase::ALL),
            unreadable: None,
        };
        Self {
            instance: instance.into(),
            stages: Stages::default(),
            heartbeats: Heartbeats::default(),
            canaries: vec![Canaries::new(None, Phase::Delete)],
            steps: VecDeque::new(),
            echoes: consumers.into_iter().map(account).collect(),
        }
    }

    /// Canaries through `path` too, whose echo these consumers owe within `deadline`. Nothing is known
    /// of a path that is not written.
    #[must_use]
    pub fn with_path(
        mut self,
        path: &CanaryPath,
        consumers: &[Arc<str>],
        deadline: Duration,
    ) -> Self {
        let Some(steps) = &path.steps else { return self };
        let phases = steps.phases();
        let last = phases.last().copied().unwrap_or(Phase::Insert);
        self.canaries.push(Canaries::new(Some(Arc::clone(&path.name)), last));
        self.echoes.extend(consumers.iter().map(|consumer| ExpectedEchoes {
            name: path.account(consumer),
            consumer: Arc::clone(consumer),
            path: Some(Arc::clone(&path.name)),
            tracker: EchoTracker::new(deadline, &phases),
            unreadable: None,
        }));
        self
    }

    /// Notes what a task reported at `now`. The evaluation of an echo, if it was one.
    pub fn observe(&mut self, observation: &Observation, now: Instant) -> Option<EvaluatedEcho> {
        match observation {
            Observation::HeartbeatStarted { number } => self.stages.started(*number, now),
            Observation::HeartbeatCommitted { number, .. } => {
                self.heartbeats.failure = None;
                if let Some(started) = self.stages.passed(Stage::Written, *number) {
                    self.heartbeats.committed = Some((*number, started));
                }
            }
            Observation::HeartbeatFailed { reason, message, .. } => {
                self.heartbeats.failure = Some(failure(*reason, message, now));
            }
            Observation::CanaryStarted(step) => self.begin(step, now),
            Observation::CanaryCommitted { step, .. } => self.committed(step),
            Observation::CanaryFailed { path, reason, message } => {
                if let Some(canaries) = self.canaries_mut(path.as_ref()) {
                    canaries.failed += 1;
                    canaries.failure = Some(failure(*reason, message, now));
                }
            }
            Observation::Echoed { consumer, step, is_genuine, .. } => {
                return self.echoed(consumer, step, *is_genuine, now);
            }
            Observation::EchoRead { consumer, .. } => {
                for account in self.accounts_mut(consumer) {
                    account.tracker.read(now);
                    account.unreadable = None;
                }
            }
            Observation::EchoFailed { consumer, message } => {
                for account in self.accounts_mut(consumer) {
                    account.unreadable = Some(message.clone());
                }
            }
            Observation::Maintenance { consumer, until } => {
                for account in self.accounts_mut(consumer) {
                    account.tracker.rest(*until);
                }
            }
            // These two follow from what is known here.
            Observation::CanaryOwed { .. }
            | Observation::CanaryReturned { .. }
            // Heartbeats and canaries are not concerned: the evaluator, the tracker of transactions
            // and the metrics take these.
            | Observation::Tick(_)
            | Observation::RuntimeTick
            | Observation::Stopping
            | Observation::Stream(_)
            | Observation::StreamConnected { .. }
            | Observation::StreamFailed(_)
            | Observation::Lag(_)
            | Observation::HeartbeatArrived(_)
            | Observation::HeartbeatPending { .. }
            | Observation::HeartbeatStored { .. }
            | Observation::Facts(_)
            | Observation::Executed(_)
            | Observation::EchoIgnored { .. }
            | Observation::Probe(_)
            | Observation::StatePoll(_)
            | Observation::Upstream(_)
            | Observation::Unlogged(_)
            | Observation::Suppressed(_)
            | Observation::Paused(_)
            | Observation::Sink(_)
            | Observation::CheckpointSaved
            | Observation::CheckpointFailed { .. } => {}
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
        self.step_seen(&CanaryStep { path: None, number: row.number, phase: row.phase }, now)
    }

    /// A row of a path's canary was seen on the stream. Its round trip, if it is of this process.
    pub fn path_seen(&mut self, row: &PathRow, now: Instant) -> Option<RoundTrip> {
        self.step_seen(&row.step, now)
    }

    fn step_seen(&mut self, step: &CanaryStep, now: Instant) -> Option<RoundTrip> {
        let started = self.begun(step)?;
        let took = now.saturating_duration_since(started);
        let trip = RoundTrip { number: step.number, started, took };
        self.canaries_mut(step.path.as_ref())?.seen = Some(trip);
        Some(trip)
    }

    /// The topic accepted the message of a canary's step. For each account of its path whether it owes all of
    /// the canary from here on, and whether all of it is back from there already.
    pub fn canary_accepted(
        &mut self,
        step: &CanaryStep,
        now: Instant,
    ) -> Vec<(Arc<str>, Acceptance)> {
        let accounts = self.echoes.iter_mut().filter(|account| account.path == step.path);
        accounts
            .map(|account| {
                (Arc::clone(&account.name), account.tracker.accepted(step.number, step.phase, now))
            })
            .collect()
    }

    fn accounts_mut<'a>(
        &'a mut self,
        consumer: &'a str,
    ) -> impl Iterator<Item = &'a mut ExpectedEchoes> {
        self.echoes.iter_mut().filter(move |account| *account.consumer == *consumer)
    }

    /// Counts overdue canaries as lost; accounts and numbers.
    pub fn expire(&mut self, now: Instant) -> Vec<(Arc<str>, u64)> {
        let mut lost = Vec::new();
        for account in &mut self.echoes {
            let numbers = account.tracker.expire(now).into_iter();
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

    /// What is known of the canaries of a path, if it is written; `None`: of the built-in canary.
    pub fn canaries(&self, path: Option<&str>) -> Option<&Canaries> {
        self.canaries.iter().find(|canaries| canaries.path.as_deref() == path)
    }

    /// The consumers' accounts, by name; those of paths are called `consumer/path`.
    pub fn echoes(&self) -> impl Iterator<Item = (&Arc<str>, &EchoTracker)> {
        self.echoes.iter().map(|account| (&account.name, &account.tracker))
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

    fn begin(&mut self, step: &CanaryStep, at: Instant) {
        if self.steps.len() >= STEPS_MAX * self.canaries.len() {
            self.steps.pop_front();
        }
        // A step that was tried again keeps its last begin.
        self.steps.retain(|(other, _)| other != step);
        self.steps.push_back((step.clone(), at));
        for account in self.echoes.iter_mut().filter(|account| account.path == step.path) {
            account.tracker.begun(step.number);
        }
    }

    fn begun(&self, step: &CanaryStep) -> Option<Instant> {
        // The newest are asked for.
        self.steps.iter().rev().find(|(other, _)| other == step).map(|(_, at)| *at)
    }

    fn canaries_mut(&mut self, path: Option<&Arc<str>>) -> Option<&mut Canaries> {
        self.canaries.iter_mut().find(|canaries| canaries.path.as_ref() == path)
    }

    fn committed(&mut self, step: &CanaryStep) {
        let started = self.begun(step);
        let Some(canaries) = self.canaries_mut(step.path.as_ref()) else { return };
        if step.phase == Phase::Insert
            && let Some(started) = started
        {
            canaries.committed = Some((step.number, started));
        }
        if step.phase == canaries.last {
            canaries.walked += 1;
            canaries.failure = None;
        }
    }

    fn echoed(
        &mut self,
        consumer: &str,
        step: &CanaryStep,
        is_genuine: bool,
        now: Instant,
    ) -> Option<EvaluatedEcho> {
        let account = self
            .echoes
            .iter_mut()
            .find(|account| *account.consumer == *consumer && account.path == step.path)?;
        let echo = if is_genuine {
            account.tracker.echoed(step.number, step.phase, now)
        } else {
            account.tracker.unproven(step.number)
        };
        let name = Arc::clone(&account.name);
        let started = self.begun(step);
        // Delivered is what every consumer has: the oldest of their newest.
        let built_in = self.echoes.iter().filter(|account| account.path.is_none());
        let resolved = built_in.map(|account| Some(account.tracker.last_resolved()?.0)).min();
        if let Some(Some(number)) = resolved
            && let Some(started) =
                self.begun(&CanaryStep { path: None, number, phase: Phase::Insert })
        {
            self.stages.passed_at(Stage::Delivered, started);
        }
        let took = started.map(|started| now.saturating_duration_since(started));
        Some(EvaluatedEcho { account: name, echo, took })
    }
}

fn failure(reason: SqlFailure, message: &str, at: Instant) -> Failure {
    Failure { reason, message: message.to_owned(), at }
}
