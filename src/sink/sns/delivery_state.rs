//! What is held, for which topic, and what becomes of each message. No I/O; time comes in.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{EntryResult, TopicFacts};
use super::pause::Pauses;
use super::policy::{Action, Failure};
use super::queue::Pending;
use super::rate::Rate;
use super::topic::{Next, Topic};
use super::window::Window;
use super::{Config, TopicArn};
use crate::sink::intake::Ticket;
use crate::sink::{Error, FailureClass, Health, MessageRejected, OnRefusal, Settlement};

/// Failed attempts of one call from which on it is worth a warning.
const ATTEMPTS_WORTH_A_WARNING: u32 = 4;

/// Circumstances of a call that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) topic: usize,
    pub(super) started: Instant,
    pub(super) now: Instant,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct DeliveryState {
    on_refusal: OnRefusal,
    blocked_retry: (Duration, Duration),
    health: Arc<Health>,
    topics: Vec<Topic>,
    by_arn: HashMap<Arc<str>, usize>,
    /// Topics with something queued, in turn, so that none starves another. The many that a
    /// template may give cost nothing while they are silent.
    active: VecDeque<usize>,
    /// Topics that wait for somebody to fix something.
    blocked: usize,
    outbox: VecDeque<Settlement>,
    window: Window,
    held_bytes: usize,
    rate: Rate,
    pauses: Pauses,
    halted: Option<MessageRejected>,
}

impl DeliveryState {
    pub(super) fn new(
        config: &Config,
        health: Arc<Health>,
        known: Vec<(Arc<str>, TopicFacts)>,
        now: Instant,
    ) -> Self {
        let mut delivery_state = Self {
            on_refusal: config.on_refusal,
            blocked_retry: (config.blocked_retry_min, config.blocked_retry_max),
            health,
            topics: Vec::new(),
            by_arn: HashMap::new(),
            active: VecDeque::new(),
            blocked: 0,
            outbox: VecDeque::new(),
            window: Window::default(),
            held_bytes: 0,
            rate: Rate::new(now),
            pauses: Pauses::new(config.retry_first, config.retry_max, seed()),
            halted: None,
        };
        for (arn, facts) in known {
            delivery_state.add_topic(arn, Some(facts));
        }
        delivery_state
    }

    /// Takes a message in.
    pub(super) fn accept(&mut self, ticket: Ticket) {
        let number = self.window.enter(ticket.entered);
        let pending = Pending::new(ticket, number);
        self.held_bytes += pending.bytes;
        match self.topic_of(&pending.ticket.message.destination) {
            Ok(index) => self.enqueue(index, |topic| topic.queue.push(pending)),
            Err(failure) => self.refuse(pending, &failure, 0),
        }
    }

    /// The next call to make, of the topic whose turn it is. `Err`: none now; when to ask again, as
    /// far as time alone decides.
    pub(super) fn next_call(&mut self, now: Instant) -> Result<(usize, Next), Option<Instant>> {
        if self.halted.is_some() {
            return Err(None);
        }
        if let Some(at) = self.rate.wait_until(now) {
            return Err(Some(at));
        }
        for _ in 0..self.active.len() {
            let Some(index) = self.active.pop_front() else { break };
            let Some(topic) = self.topics.get_mut(index) else { continue };
            if topic.queue.is_idle() {
                topic.is_active = false;
                continue;
            }
            self.active.push_back(index);
            let Some(next) = topic.next(now) else { continue };
            if let Next::Publish(batch) = &next {
                self.rate.sent(now, batch.len());
            }
            return Ok((index, next));
        }
        let active = self.active.iter().filter_map(|index| self.topics.get(*index));
        Err(active.filter_map(|topic| topic.due(now)).min())
    }

    /// ARN of a topic.
    pub(super) fn arn(&self, topic: usize) -> Option<Arc<str>> {
        self.topics.get(topic).map(|topic| Arc::clone(&topic.arn))
    }

    /// A topic's attributes have come, or not.
    pub(super) fn learn(&mut self, at: At, result: Result<TopicFacts, Failure>) {
        let Some(topic) = self.topics.get_mut(at.topic) else { return };
        topic.ended();
        topic.is_asking = false;
        match result {
            Ok(facts) => {
                topic.is_stale = false;
                topic.facts = Some(facts);
                self.open(at);
            }
            Err(failure) => {
                let Failure { class, code, text } = failure;
                let arn = &*topic.arn;
                tracing::warn!(arn, class = class.as_str(), code, text, "cannot read the topic");
                self.health.failed(class, 1);
                self.shut(at);
            }
        }
    }

    /// A call with `batch` has ended.
    pub(super) fn conclude(
        &mut self,
        at: At,
        batch: Vec<Pending>,
        result: Result<Vec<EntryResult>, Failure>,
    ) {
        if let Some(topic) = self.topics.get_mut(at.topic) {
            topic.ended();
        }
        match result {
            Ok(results) => self.settle_each(at, batch, results),
            Err(failure) => self.fail_call(at, batch, &failure),
        }
    }

    /// Whether there are outcomes to hand over.
    pub(super) fn has_settlements(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next outcome to hand over.
    pub(super) fn next_settlement(&mut self) -> Option<Settlement> {
        self.outbox.pop_front()
    }

    /// Whether nothing is left to do, given that no call is in flight.
    pub(super) fn is_finished(&self, is_open: bool) -> bool {
        let is_drained = !is_open && self.window.held() == 0;
        self.outbox.is_empty() && (self.halted.is_some() || is_drained)
    }

    /// How it ended.
    pub(super) fn verdict(self) -> Result<(), Error> {
        self.halted.map_or(Ok(()), |refusal| Err(Error::Halted(refusal)))
    }

    /// How it ended before everything was delivered.
    pub(super) fn unfinished(&self) -> Error {
        Error::Unfinished { messages: self.window.held(), bytes: self.held_bytes }
    }

    /// Brings the shared numbers up to date.
    pub(super) fn publish_health(&self) {
        self.health.holds(self.window.held(), self.window.oldest());
        self.health.limited(self.rate.limit());
    }

    /// The topic with this ARN, which may be new.
    fn topic_of(&mut self, arn: &Arc<str>) -> Result<usize, Failure> {
        if let Some(index) = self.by_arn.get(arn) {
            return Ok(*index);
        }
        match TopicArn::parse(arn) {
            Ok(_) => Ok(self.add_topic(Arc::clone(arn), None)),
            Err(error) => Err(Failure {
                class: FailureClass::Refused,
                code: "NotATopic".to_owned(),
                text: error.to_string(),
            }),
        }
    }

    /// Changes a topic's queue, which may have something to send from then on.
    fn enqueue(&mut self, index: usize, change: impl FnOnce(&mut Topic)) {
        let Some(topic) = self.topics.get_mut(index) else { return };
        change(topic);
        if !topic.is_active && !topic.queue.is_idle() {
            topic.is_active = true;
            self.active.push_back(index);
        }
    }

    fn add_topic(&mut self, arn: Arc<str>, facts: Option<TopicFacts>) -> usize {
        let index = self.topics.len();
        self.topics.push(Topic::new(Arc::clone(&arn), facts));
        self.by_arn.insert(arn, index);
        index
    }

    /// A call was answered entry by entry.
    fn settle_each(&mut self, at: At, batch: Vec<Pending>, results: Vec<EntryResult>) {
        self.health.called(at.now.saturating_duration_since(at.started));
        let accepted = results.iter().filter(|result| **result == EntryResult::Accepted).count();
        self.rate.accepted(at.now, accepted);
        if accepted > 0 {
            self.open(at);
        }
        for (pending, result) in batch.into_iter().zip(results) {
            match result {
                EntryResult::Accepted => self.settle(at, pending),
                EntryResult::Failed(failure) => self.fail_entry(at, pending, &failure),
            }
        }
    }

    fn settle(&mut self, at: At, pending: Pending) {
        let Pending { ticket, number, bytes, .. } = pending;
        let (id, lane, ack_group) =
            (ticket.message.id, ticket.message.lane, ticket.message.ack_group);
        self.health.acknowledged(ticket.entered, at.now, bytes);
        self.leave(number, bytes);
        self.enqueue(at.topic, |topic| topic.queue.settled(lane));
        self.outbox.push_back(Settlement::Settled { id, ack_group, at: at.now });
    }

    /// One entry of an answered call failed: it says nothing of the others.
    fn fail_entry(&mut self, at: At, mut pending: Pending, failure: &Failure) {
        self.note(at, failure, 1, pending.attempts);
        pending.attempts = pending.attempts.saturating_add(1);
        let next = match failure.action() {
            Action::Split => {
                // The topic has judged the message: nothing else hinders it any more.
                self.open(at);
                return self.refuse_taken(at, pending, failure);
            }
            // An entry that failed by itself can't be made smaller.
            Action::Shrink | Action::Wait => self.shut(at),
            Action::Retry => at.now + self.pauses.after(pending.attempts),
        };
        self.put_back(at, pending, next);
    }

    /// A whole call failed.
    fn fail_call(&mut self, at: At, batch: Vec<Pending>, failure: &Failure) {
        self.health.called(at.now.saturating_duration_since(at.started));
        let entries = batch.len();
        let attempts = batch.iter().map(|pending| pending.attempts).max().unwrap_or(0);
        self.note(at, failure, entries, attempts);
        let next = match failure.action() {
            Action::Split => return self.split(at, batch, failure),
            Action::Shrink if entries > 1 => return self.split(at, batch, failure),
            Action::Shrink | Action::Wait => self.shut(at),
            // One pause for all: they were one call and may be one again.
            Action::Retry => at.now + self.pauses.after(attempts.saturating_add(1)),
        };
        for mut pending in batch {
            pending.attempts = pending.attempts.saturating_add(1);
            self.put_back(at, pending, next);
        }
    }

    /// A whole call failed for something in it: halves find out what, and one alone is at fault.
    fn split(&mut self, at: At, batch: Vec<Pending>, failure: &Failure) {
        self.open(at);
        let entries = batch.len();
        for mut pending in batch {
            if entries == 1 {
                self.refuse_taken(at, pending, failure);
            } else {
                pending.entries_max = entries / 2;
                self.put_back(at, pending, at.now);
            }
        }
        if let (FailureClass::TooLarge, Some(topic)) =
            (failure.class, self.topics.get_mut(at.topic))
        {
            // Somebody has lowered `MaximumMessageSize`.
            topic.is_stale = true;
        }
    }

    /// Counts a failure, slows down for it, and says it.
    fn note(&mut self, at: At, failure: &Failure, messages: usize, attempts: u32) {
        self.health.failed(failure.class, messages);
        if failure.class == FailureClass::Throttled {
            self.rate.throttled(at.now, at.started);
        }
        let arn = self.topics.get(at.topic).map_or("", |topic| &*topic.arn);
        let Failure { class, code, text } = failure;
        let class = class.as_str();
        if is_worth_a_warning(failure.action(), attempts) {
            tracing::warn!(arn, class, code, text, messages, attempts, "publishing fails");
        } else {
            tracing::debug!(arn, class, code, text, messages, attempts, "publishing failed once");
        }
    }

    /// An operator has to fix something first; when the next call may go.
    fn shut(&mut self, at: At) -> Instant {
        let until = at.now + self.pauses.between(self.blocked_retry.0, self.blocked_retry.1);
        if self.topics.get_mut(at.topic).is_some_and(|topic| topic.shut(until)) {
            self.blocked += 1;
            self.health.blocks(self.blocked);
        }
        until
    }

    /// The topic takes messages.
    fn open(&mut self, at: At) {
        if self.topics.get_mut(at.topic).is_some_and(Topic::open) {
            self.blocked = self.blocked.saturating_sub(1);
            self.health.blocks(self.blocked);
        }
    }

    fn put_back(&mut self, at: At, pending: Pending, next: Instant) {
        self.enqueue(at.topic, |topic| topic.queue.put_back(pending, next));
    }

    /// Refuses a message that was taken from a topic's queue.
    fn refuse_taken(&mut self, at: At, pending: Pending, failure: &Failure) {
        let lane = pending.ticket.message.lane;
        let limit = self.topics.get(at.topic).and_then(Topic::limit_bytes).unwrap_or(0);
        // With `Halt` the lane stays blocked behind the refused message.
        if self.on_refusal == OnRefusal::GoOn {
            self.enqueue(at.topic, |topic| topic.queue.settled(lane));
        }
        self.refuse(pending, failure, limit);
    }

    fn refuse(&mut self, pending: Pending, failure: &Failure, limit: usize) {
        let bytes = pending.bytes;
        let destination = pending.ticket.message.destination.to_string();
        let refusal = if failure.class == FailureClass::TooLarge || limit > 0 && bytes > limit {
            MessageRejected::TooLarge { bytes, limit, destination }
        } else {
            let Failure { code, text, .. } = failure.clone();
            MessageRejected::Refused { code, text, destination }
        };
        self.leave(pending.number, bytes);
        if self.on_refusal == OnRefusal::Halt {
            self.halted.get_or_insert_with(|| refusal.clone());
        }
        let message = Box::new(pending.ticket.message);
        self.outbox.push_back(Settlement::Failed { message, error: refusal });
    }

    /// A message is no longer ours.
    fn leave(&mut self, number: u64, bytes: usize) {
        self.window.leave(number);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }
}

/// Whether a failure is said aloud: one that passes by itself is so only when it lasts, ever more rarely.
fn is_worth_a_warning(action: Action, attempts: u32) -> bool {
    let is_stubborn = attempts >= ATTEMPTS_WORTH_A_WARNING && attempts.is_power_of_two();
    action != Action::Retry || is_stubborn
}

/// Differs from process to process; it need not be unpredictable.
fn seed() -> u64 {
    crate::platform::random()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::intake;
    use crate::sink::sns::fixture::message;

    #[test]
    fn a_topic_has_one_turn_however_often_it_fell_silent() {
        let (health, now) = (Health::new(), Instant::now());
        let mut state = DeliveryState::new(&Config::default(), health, Vec::new(), now);
        let (feed, mut intake) = intake(1 << 20);
        for id in 0..20 {
            assert!(feed.try_send(message(id, 1, 10)).is_ok(), "there is room");
            state.accept(intake.try_recv().expect("it was just sent"));
            for _ in 0..2 {
                let Ok((topic, next)) = state.next_call(now) else { continue };
                let at = At { topic, started: now, now };
                match next {
                    Next::Ask => state.learn(
                        at,
                        Ok(TopicFacts {
                            message_bytes_max: 1_000,
                            fifo: true,
                            content_based_deduplication: false,
                            throughput_per_group: false,
                        }),
                    ),
                    Next::Publish(batch) => {
                        let results = vec![EntryResult::Accepted; batch.len()];
                        state.conclude(at, batch, Ok(results));
                    }
                }
            }
            assert!(state.next_call(now).is_err_and(|wake| wake.is_none()));
            assert!(state.active.is_empty(), "it is silent");
        }
        assert_eq!(state.outbox.len(), 20);
    }

    #[test]
    fn a_failure_that_passes_is_said_aloud_when_it_lasts_and_ever_more_rarely() {
        let said: Vec<_> =
            (0..70).filter(|attempts| is_worth_a_warning(Action::Retry, *attempts)).collect();
        assert_eq!(said, [4, 8, 16, 32, 64]);
        for action in [Action::Wait, Action::Split, Action::Shrink] {
            assert!((0..70).all(|attempts| is_worth_a_warning(action, attempts)), "{action:?}");
        }
    }
}
