//! Everything that is known about heartbeats and canaries, in one place. Pure: what happened and
//! when comes in as arguments. The verdict will read from here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::echo::{Acceptance, Echo, EchoLedger};
use super::{CanaryRow, Event, Facts, HeartbeatRow, Phase, Reason, Stage, Stages};

/// Steps of canaries whose begin is remembered.
const STEPS_MAX: usize = 3 * 1024;

/// How the last write went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The family of causes.
    pub reason: Reason,
    /// The words, for people.
    pub message: String,
    /// When it was reported.
    pub at: Instant,
}

/// A heartbeat or canary that came back, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// Its number.
    pub number: u64,
    /// When its write began.
    pub started: Instant,
    /// From the begin of the write to its return.
    pub took: Duration,
}

/// What is known of the heartbeats.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats {
    /// The last that was begun.
    pub begun: Option<(u64, Instant)>,
    /// The last that was committed: its number and the begin of its write.
    pub committed: Option<(u64, Instant)>,
    /// The last that was seen on the stream.
    pub seen: Option<RoundTrip>,
    /// The server's words for what the outstanding write does.
    pub server_state: Option<String>,
    /// Set while the last attempt had failed.
    pub failure: Option<Failure>,
    /// What the server said last, and when.
    pub facts: Option<(Facts, Instant)>,
}

/// What is known of the canaries, apart from their echoes.
#[derive(Debug, Clone, Default)]
pub struct Canaries {
    /// The last of which the insert was committed.
    pub committed: Option<(u64, Instant)>,
    /// The last of which a step was seen on the stream.
    pub seen: Option<RoundTrip>,
    /// Set while the last attempt had failed.
    pub failure: Option<Failure>,
    /// Rows whose cells were other than written.
    pub mismatched: u64,
}

/// An echo, judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What it was.
    pub echo: Echo,
    /// From the begin of the row's write to the echo, if that is known.
    pub took: Option<Duration>,
}

/// Knows what was written, seen, published and echoed.
#[derive(Debug, Clone)]
pub struct Book {
    instance: String,
    stages: Stages,
    heartbeats: Heartbeats,
    canaries: Canaries,
    /// Begins of the canaries' steps, oldest first.
    steps: VecDeque<(u64, Phase, Instant)>,
    echoes: Vec<(Arc<str>, EchoLedger)>,
}

impl Book {
    /// For heartbeats and canaries of process `instance`, and these consumers, who owe an echo
    /// within `deadline` (L).
    pub fn new(
        instance: impl Into<String>,
        consumers: impl IntoIterator<Item = Arc<str>>,
        deadline: Duration,
    ) -> Self {
        let account = |consumer| (consumer, EchoLedger::new(deadline));
        Self {
            instance: instance.into(),
            stages: Stages::default(),
            heartbeats: Heartbeats::default(),
            canaries: Canaries::default(),
            steps: VecDeque::new(),
            echoes: consumers.into_iter().map(account).collect(),
        }
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
            Event::CanaryStarted { number, phase, at } => self.begin_step(*number, *phase, *at),
            Event::CanaryCommitted { number, phase, .. } => {
                self.canaries.failure = None;
                if let Some(started) = self.step(*number, *phase) {
                    self.canaries.committed = Some((*number, started));
                }
            }
            Event::CanaryFailed { reason, message, .. } => {
                self.canaries.failure = Some(failure(*reason, message, now));
            }
            Event::Echoed { consumer, number, phase, .. } => {
                return self.echoed(consumer, *number, *phase, now);
            }
            Event::Executed { .. }
            | Event::HeartbeatStored { .. }
            | Event::EchoRead { .. }
            | Event::EchoIgnored { .. }
            | Event::EchoFailed { .. } => {}
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
        let started = self.step(row.number, row.phase)?;
        let took = now.saturating_duration_since(started);
        self.canaries.seen = Some(RoundTrip { number: row.number, started, took });
        self.canaries.seen
    }

    /// The topic accepted the message of a canary's step. Whether that was news to each consumer's
    /// account, and whether all of the canary is back from there already.
    pub fn canary_accepted(
        &mut self,
        number: u64,
        phase: Phase,
        now: Instant,
    ) -> Vec<(Arc<str>, Acceptance)> {
        let accounts = self.echoes.iter_mut();
        accounts
            .map(|(consumer, ledger)| (Arc::clone(consumer), ledger.accepted(number, phase, now)))
            .collect()
    }

    /// The consumer owes no echo until then; `None`: it does again.
    pub fn rest(&mut self, consumer: &str, until: Option<Instant>) {
        for (name, ledger) in &mut self.echoes {
            if **name == *consumer {
                ledger.rest(until);
            }
        }
    }

    /// Counts overdue canaries as lost; consumers and numbers.
    pub fn expire(&mut self, now: Instant) -> Vec<(Arc<str>, u64)> {
        let mut lost = Vec::new();
        for (consumer, ledger) in &mut self.echoes {
            lost.extend(
                ledger.expire(now).into_iter().map(|number| (Arc::clone(consumer), number)),
            );
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

    /// The consumers' accounts.
    pub fn echoes(&self) -> impl Iterator<Item = (&Arc<str>, &EchoLedger)> {
        self.echoes.iter().map(|(consumer, ledger)| (consumer, ledger))
    }

    fn begin_step(&mut self, number: u64, phase: Phase, at: Instant) {
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        // A step that was tried again keeps its last begin.
        self.steps.retain(|(other, step, _)| (*other, *step) != (number, phase));
        self.steps.push_back((number, phase, at));
        for (_, ledger) in &mut self.echoes {
            ledger.begun(number);
        }
    }

    fn step(&self, number: u64, phase: Phase) -> Option<Instant> {
        // The newest are asked for.
        let found =
            self.steps.iter().rev().find(|(other, step, _)| (*other, *step) == (number, phase));
        found.map(|(_, _, at)| *at)
    }

    fn echoed(
        &mut self,
        consumer: &str,
        number: u64,
        phase: Phase,
        now: Instant,
    ) -> Option<Judged> {
        let (_, ledger) = self.echoes.iter_mut().find(|(name, _)| **name == *consumer)?;
        let echo = ledger.echoed(number, phase, now);
        let started = self.step(number, phase);
        // Delivered is what every consumer has: the oldest of their newest.
        let resolved = self.echoes.iter().map(|(_, ledger)| Some(ledger.last_resolved()?.0)).min();
        if let Some(Some(number)) = resolved
            && let Some(started) = self.step(number, Phase::Insert)
        {
            self.stages.passed_at(Stage::Delivered, started);
        }
        Some(Judged { echo, took: started.map(|started| now.saturating_duration_since(started)) })
    }
}

fn failure(reason: Reason, message: &str, at: Instant) -> Failure {
    Failure { reason, message: message.to_owned(), at }
}
