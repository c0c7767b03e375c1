//! Which canaries a consumer owes, and which came back. Pure: time comes in as an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::freshness::Phase;
use crate::telemetry::words::CanaryState;

/// Canaries that are remembered, so that late ones and duplicates are known for what they are:
/// nearly three hours of them at the default interval.
const REMEMBERED_MAX: usize = 1024;

/// What an echoed message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// In time. `completes`: with it all of the canary's messages are back.
    InTime {
        /// Whether all of the canary is back.
        completes: bool,
    },
    /// After its canary had been counted as lost. `completes`: the canary is counted as late.
    Late {
        /// Whether all of the canary is back.
        completes: bool,
    },
    /// It had come before.
    Duplicate,
    /// Of a canary of which nothing is known: another process's, or forgotten.
    Stale,
    /// Of a canary that is known, but not the message that this process published.
    Forged,
}

impl Echo {
    /// Its names in metrics.
    pub const LABELS: [&'static str; 3] = ["matched", "stale", "forged"];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        let [matched, stale, forged] = Self::LABELS;
        match self {
            Self::InTime { .. } | Self::Late { .. } | Self::Duplicate => matched,
            Self::Stale => stale,
            Self::Forged => forged,
        }
    }

    /// Whether with it all of its canary is back.
    pub fn completes(self) -> bool {
        match self {
            Self::InTime { completes } | Self::Late { completes } => completes,
            Self::Duplicate | Self::Stale | Self::Forged => false,
        }
    }
}

/// What the topic's answer for a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acceptance {
    /// With it the topic has all of the canary, for the first time: messages are sent again after a broken
    /// connection. One whose steps were not all written is never whole, and nobody owes it.
    pub makes_whole: bool,
    /// Its echo had come before the answer did, and all of the canary is back.
    pub completes: bool,
}

/// Counts since the start. Every canary accepted is in exactly one of resolved, lost, not_evaluated, or
/// still awaited; late ones are among the lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EchoCounts {
    /// Canaries of which a message was accepted by the topic.
    pub sent: u64,
    /// Canaries whose messages all came back in time.
    pub resolved: u64,
    /// Canaries of which a message did not come back in time.
    pub lost: u64,
    /// Lost canaries whose messages all came back after all.
    pub late: u64,
    /// Messages that came more than once.
    pub duplicate: u64,
    /// Messages that came after a later one had.
    pub reordered: u64,
    /// Messages of canaries of which nothing is known.
    pub stale: u64,
    /// Canaries that were forgotten before it was known whether they came back.
    pub not_evaluated: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Canary {
    /// Bits of the phases whose message the topic accepted.
    accepted: u8,
    /// Bits of the phases that came back.
    echoed: u8,
    /// When the last of them was accepted.
    accepted_at: Option<Instant>,
    /// From when on its echo is owed: since then, or since its queue can be read again.
    owed_from: Option<Instant>,
    /// When all of it was back.
    completed_at: Option<Instant>,
    state: CanaryState,
}

/// What became of one canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryResult {
    /// Its number.
    pub number: u64,
    /// What became of it.
    pub state: CanaryState,
    /// When the topic accepted the last of its messages so far.
    pub accepted_at: Instant,
    /// When all of it was back.
    pub completed_at: Option<Instant>,
}

/// One consumer's account. A canary is a message for each of its steps: it is resolved when all that
/// the topic accepted are back, lost when any is missing `deadline` after the last was accepted. Time
/// runs only as far as the queue was read: what nobody looks for is not lost.
#[derive(Debug, Clone)]
pub struct EchoTracker {
    deadline: Duration,
    /// Bits of the phases that a canary has.
    phases: u8,
    canaries: BTreeMap<u64, Canary>,
    newest: Option<(u64, Phase)>,
    last_resolved: Option<(u64, Instant)>,
    counts: EchoCounts,
    /// Nothing is owed before.
    rests_until: Option<Instant>,
    /// When the queue was last read.
    read_at: Option<Instant>,
}

impl EchoTracker {
    /// An empty account with this deadline (L), of canaries with these steps.
    pub fn new(deadline: Duration, phases: &[Phase]) -> Self {
        Self {
            deadline,
            phases: phases.iter().fold(0, |bits, phase| bits | phase.bit()),
            canaries: BTreeMap::new(),
            newest: None,
            last_resolved: None,
            counts: EchoCounts::default(),
            rests_until: None,
            read_at: None,
        }
    }

    /// The consumer owes nothing until then, nor what is awaited now; `None`: it does again.
    pub fn rest(&mut self, until: Option<Instant>) {
        self.rests_until = until;
        let awaited =
            self.canaries.values_mut().filter(|canary| canary.state == CanaryState::Awaited);
        awaited.for_each(|canary| canary.accepted = 0);
    }

    /// The queue was read, and what came out of it was told before.
    pub fn read(&mut self, now: Instant) {
        let pause = self.read_at.map(|last| now.saturating_duration_since(last));
        if pause.is_none_or(|pause| pause > self.deadline) {
            // What waited in the queue meanwhile comes now, and takes some reads.
            let awaited =
                self.canaries.values_mut().filter(|canary| canary.state == CanaryState::Awaited);
            awaited.for_each(|canary| canary.owed_from = canary.owed_from.map(|_| now));
        }
        self.read_at = Some(now);
    }

    /// Until when it is known what came out of the queue: a read that is under way is waited for.
    fn known_until(&self, now: Instant) -> Option<Instant> {
        self.read_at.map(|read| now.min(read + self.deadline / 2))
    }

    /// Whether a canary is lost: a message of it that the topic accepted has not come back within
    /// `canary.deadline`, counted from its acceptance to what is known of the queue.
    fn is_lost(&self, canary: &Canary, now: Instant) -> bool {
        canary.state == CanaryState::Awaited
            && self
                .known_until(now)
                .zip(canary.owed_from)
                .is_some_and(|(until, from)| until.saturating_duration_since(from) > self.deadline)
    }

    /// A canary is about to be written. Echoes of numbers that were not announced count as stale,
    /// so nothing that a queue holds can disturb the account.
    pub fn begun(&mut self, number: u64) {
        self.canaries.entry(number).or_default();
        while self.canaries.len() > REMEMBERED_MAX {
            let Some((oldest, canary)) = self.canaries.first_key_value().map(|(n, c)| (*n, *c))
            else {
                break;
            };
            if canary.echoed & canary.accepted == canary.accepted {
                self.close(oldest);
            } else if canary.state == CanaryState::Awaited {
                self.counts.not_evaluated += 1;
            }
            self.canaries.pop_first();
        }
    }

    /// The topic accepted the message of one step.
    pub fn accepted(&mut self, number: u64, phase: Phase, now: Instant) -> Acceptance {
        if self.rests_until.is_some_and(|until| now < until) {
            return Acceptance::default();
        }
        let Some(canary) = self.canaries.get_mut(&number) else { return Acceptance::default() };
        if canary.accepted == 0 {
            self.counts.sent += 1;
        }
        let is_news = canary.accepted & phase.bit() == 0;
        canary.accepted |= phase.bit();
        let makes_whole = is_news && canary.accepted == self.phases;
        canary.accepted_at = canary.accepted_at.max(Some(now));
        canary.owed_from = canary.accepted_at;
        Acceptance { makes_whole, completes: self.complete(number, now) }
    }

    /// A message came that this process has not published. It changes nothing.
    pub fn unproven(&mut self, number: u64) -> Echo {
        if self.canaries.contains_key(&number) {
            return Echo::Forged;
        }
        self.counts.stale += 1;
        Echo::Stale
    }

    /// A message came back.
    pub fn echoed(&mut self, number: u64, phase: Phase, now: Instant) -> Echo {
        let Some(canary) = self.canaries.get(&number).copied() else {
            self.counts.stale += 1;
            return Echo::Stale;
        };
        if canary.echoed & phase.bit() != 0 {
            self.counts.duplicate += 1;
            return Echo::Duplicate;
        }
        let was_lost = canary.state == CanaryState::Lost || self.is_lost(&canary, now);
        let is_news = canary.accepted & !canary.echoed & phase.bit() != 0;
        if was_lost && canary.state == CanaryState::Awaited && is_news {
            // It is overdue, only nobody has looked since.
            self.lose(number);
        }
        if let Some(canary) = self.canaries.get_mut(&number) {
            canary.echoed |= phase.bit();
        }
        if self.newest > Some((number, phase)) {
            self.counts.reordered += 1;
        }
        self.newest = self.newest.max(Some((number, phase)));
        if was_lost {
            let completes = self.complete(number, now);
            return Echo::Late { completes };
        }
        Echo::InTime { completes: self.complete(number, now) }
    }

    /// Counts what is overdue as lost; returns the numbers.
    pub fn expire(&mut self, now: Instant) -> Vec<u64> {
        let overdue: Vec<u64> = self
            .canaries
            .iter()
            .filter(|(_, canary)| self.is_lost(canary, now))
            .map(|(number, _)| *number)
            .collect();
        overdue.into_iter().filter(|number| self.close(*number)).collect()
    }

    /// Counts since the start.
    pub fn counts(&self) -> EchoCounts {
        self.counts
    }

    /// Number of the newest canary that was resolved, and when.
    pub fn last_resolved(&self) -> Option<(u64, Instant)> {
        self.last_resolved
    }

    /// Canaries of which the topic accepted a message, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = CanaryResult> {
        self.canaries.iter().rev().filter_map(|(number, canary)| {
            let is_owed = canary.accepted != 0 || canary.state != CanaryState::Awaited;
            Some(CanaryResult {
                number: *number,
                state: if is_owed { canary.state } else { CanaryState::NotEvaluated },
                accepted_at: canary.accepted_at?,
                completed_at: canary.completed_at,
            })
        })
    }

    /// Moves a canary on if all that was accepted of it is back and nothing more will be accepted; whether
    /// it is whole with that.
    fn complete(&mut self, number: u64, now: Instant) -> bool {
        let Some(canary) = self.canaries.get_mut(&number) else { return false };
        if canary.accepted != self.phases || canary.echoed & canary.accepted != canary.accepted {
            return false;
        }
        let is_first = canary.completed_at.is_none();
        canary.completed_at = canary.completed_at.or(Some(now));
        match canary.state {
            CanaryState::Awaited => {
                canary.state = CanaryState::Resolved;
                self.counts.resolved += 1;
                self.last_resolved = self.last_resolved.max(Some((number, now)));
                true
            }
            CanaryState::Lost => {
                canary.state = CanaryState::Late;
                self.counts.late += 1;
                true
            }
            // Its time was over before its later steps were written, and it was counted then.
            CanaryState::Resolved => {
                self.last_resolved = self.last_resolved.max(Some((number, now)));
                is_first
            }
            CanaryState::Late | CanaryState::NotEvaluated => false,
        }
    }

    /// Ends the wait for a canary: lost, unless all that was accepted of it is back, which happens
    /// when its later steps could not be written. Whether it is lost.
    fn close(&mut self, number: u64) -> bool {
        let Some(canary) = self.canaries.get_mut(&number) else { return false };
        if canary.state != CanaryState::Awaited || canary.accepted == 0 {
            return false;
        }
        if canary.echoed & canary.accepted == canary.accepted {
            canary.state = CanaryState::Resolved;
            self.counts.resolved += 1;
            return false;
        }
        self.lose(number)
    }

    fn lose(&mut self, number: u64) -> bool {
        let Some(canary) = self.canaries.get_mut(&number) else { return false };
        canary.state = CanaryState::Lost;
        self.counts.lost += 1;
        true
    }
}
