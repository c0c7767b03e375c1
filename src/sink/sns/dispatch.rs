//! The loop: takes messages in, starts calls, and decides about each with what came back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::door::{Door, Fate, TopicFacts};
use super::pause::Pauses;
use super::policy::{Action, Failure};
use super::queue::Pending;
use super::rate::Rate;
use super::topic::{Next, Topic};
use super::window::Window;
use super::{Config, TopicArn};
use crate::sink::intake::Ticket;
use crate::sink::{Class, Error, Health, Intake, OnRefusal, Refusal, Settlement};

/// Messages taken from the intake in one go before calls are started, so that a burst fills them.
const INTAKE_BURST: usize = 256;

/// A call that has ended, with its messages.
struct Ended {
    topic: usize,
    started: Instant,
    call: Call,
}

enum Call {
    Asked(Result<TopicFacts, Failure>),
    Published(Vec<Pending>, Result<Vec<Fate>, Failure>),
}

/// All state of a running sink.
pub(super) struct Dispatcher {
    config: Config,
    door: Door,
    health: Arc<Health>,
    topics: Vec<Topic>,
    by_arn: HashMap<Arc<str>, usize>,
    /// Where the search for the next call begins, so that no topic starves another.
    turn: usize,
    calls: JoinSet<Ended>,
    outbox: VecDeque<Settlement>,
    window: Window,
    held_bytes: usize,
    rate: Rate,
    pauses: Pauses,
    halted: Option<Refusal>,
}

impl Dispatcher {
    pub(super) fn new(
        config: Config,
        door: Door,
        known: Vec<(Arc<str>, TopicFacts)>,
        health: Arc<Health>,
    ) -> Self {
        let pauses = Pauses::new(config.retry_first, config.retry_max, seed());
        let mut dispatcher = Self {
            config,
            door,
            health,
            topics: Vec::new(),
            by_arn: HashMap::new(),
            turn: 0,
            calls: JoinSet::new(),
            outbox: VecDeque::new(),
            window: Window::default(),
            held_bytes: 0,
            rate: Rate::new(now()),
            pauses,
            halted: None,
        };
        for (arn, facts) in known {
            dispatcher.add_topic(arn, Some(facts));
        }
        dispatcher
    }

    pub(super) async fn run(
        mut self,
        mut intake: Intake,
        settlements: mpsc::Sender<Settlement>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut is_open = true;
        let mut deadline = None;
        loop {
            let wake = self.start_calls(now());
            self.health.holds(self.window.held(), self.window.oldest());
            if self.is_finished(is_open) {
                return self.halted.map_or(Ok(()), |refusal| Err(Error::Halted(refusal)));
            }
            tokio::select! {
                biased;

                // 1. The end of the grace outranks everything: somebody waits for us to be gone.
                () = sleep_until(deadline) => return Err(self.unfinished()),
                // 2. A request to stop, or a busy intake would starve it.
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(now() + self.config.grace);
                    intake.close();
                }
                // 3. Outcomes go out before new ones come in.
                permit = settlements.reserve(), if !self.outbox.is_empty() => {
                    let Ok(permit) = permit else { return Err(Error::Abandoned) };
                    self.hand_over(permit, &settlements);
                }
                // 4. Ended calls free their slots.
                Some(ended) = self.calls.join_next() => self.conclude(ended?),
                // 5. New messages.
                ticket = intake.recv(), if is_open => match ticket {
                    Some(ticket) => self.take_in(ticket, &mut intake),
                    None => is_open = false,
                },
                // 6. A pause has ended.
                () = sleep_until(wake), if wake.is_some() => {}
            }
        }
    }

    /// Whether there is nothing left to do.
    fn is_finished(&self, is_open: bool) -> bool {
        let is_idle = self.calls.is_empty() && self.outbox.is_empty();
        is_idle && (self.halted.is_some() || !is_open && self.window.held() == 0)
    }

    fn take_in(&mut self, ticket: Ticket, intake: &mut Intake) {
        self.accept(ticket);
        for _ in 1..INTAKE_BURST {
            let Some(ticket) = intake.try_recv() else { return };
            self.accept(ticket);
        }
    }

    fn accept(&mut self, ticket: Ticket) {
        let number = self.window.enter(ticket.entered);
        let pending = Pending::new(ticket, number);
        self.held_bytes += pending.bytes;
        let destination = &pending.ticket.message.destination;
        let index = match self.by_arn.get(destination) {
            Some(index) => *index,
            None => match TopicArn::parse(destination) {
                Ok(_) => self.add_topic(Arc::clone(destination), None),
                Err(error) => {
                    let failure = Failure {
                        class: Class::Refused,
                        code: "NotATopic".to_owned(),
                        text: error.to_string(),
                    };
                    self.refuse(pending, &failure);
                    return;
                }
            },
        };
        if let Some(topic) = self.topics.get_mut(index) {
            topic.queue.push(pending);
        }
    }

    fn add_topic(&mut self, arn: Arc<str>, facts: Option<TopicFacts>) -> usize {
        let index = self.topics.len();
        self.topics.push(Topic::new(Arc::clone(&arn), facts));
        self.by_arn.insert(arn, index);
        index
    }

    /// Starts as many calls as may be; when to look again, as far as time alone decides.
    fn start_calls(&mut self, now: Instant) -> Option<Instant> {
        if self.halted.is_some() {
            return None;
        }
        while self.calls.len() < self.config.in_flight_max.max(1) {
            if let Some(at) = self.rate.wait_until(now) {
                return Some(at);
            }
            let Some((index, next)) = self.next_call(now) else { break };
            self.start(index, next, now);
        }
        self.topics.iter().filter_map(|topic| topic.due(now)).min()
    }

    /// The next topic in turn that has something to do.
    fn next_call(&mut self, now: Instant) -> Option<(usize, Next)> {
        let topics = self.topics.len();
        for offset in 0..topics {
            let index = (self.turn + offset) % topics;
            if let Some(next) = self.topics.get_mut(index).and_then(|topic| topic.next(now)) {
                self.turn = (index + 1) % topics;
                return Some((index, next));
            }
        }
        None
    }

    fn start(&mut self, index: usize, next: Next, now: Instant) {
        let Some(topic) = self.topics.get(index) else { return };
        let (arn, fifo) = (Arc::clone(&topic.arn), topic.fifo);
        let door = self.door.clone();
        let ended = move |call| Ended { topic: index, started: now, call };
        match next {
            Next::Ask => {
                self.health.started(0);
                self.calls.spawn(async move { ended(Call::Asked(door.facts(&arn).await)) });
            }
            Next::Publish(batch) => {
                self.rate.sent(now, batch.len());
                self.health.started(bytes_of(&batch));
                self.calls.spawn(async move {
                    let result = door.publish(&arn, fifo, &batch).await;
                    ended(Call::Published(batch, result))
                });
            }
        }
    }

    fn conclude(&mut self, ended: Ended) {
        let now = now();
        let Ended { topic: index, started, call } = ended;
        if let Some(topic) = self.topics.get_mut(index) {
            topic.ended();
        }
        match call {
            Call::Asked(result) => {
                self.health.ended(0);
                self.learn(index, result, now);
            }
            Call::Published(batch, result) => {
                self.health.ended(bytes_of(&batch));
                match result {
                    Ok(fates) => {
                        self.health.answered(now.saturating_duration_since(started));
                        self.settle_each(index, batch, fates, now);
                    }
                    Err(failure) => self.fail_call(index, batch, &failure, now),
                }
            }
        }
        self.health.limited(self.rate.limit());
    }

    /// The topic's attributes have come, or not.
    fn learn(&mut self, index: usize, result: Result<TopicFacts, Failure>, now: Instant) {
        let Some(topic) = self.topics.get_mut(index) else { return };
        topic.is_asking = false;
        match result {
            Ok(facts) => {
                topic.is_stale = false;
                topic.facts = Some(facts);
                topic.open();
            }
            Err(failure) => {
                tracing::warn!(topic = &*topic.arn, code = failure.code, "cannot read the topic");
                self.health.failed(failure.class, 1);
                self.shut(index, now);
            }
        }
    }

    /// A call was answered entry by entry.
    fn settle_each(&mut self, index: usize, batch: Vec<Pending>, fates: Vec<Fate>, now: Instant) {
        let mut accepted = 0;
        for (pending, fate) in batch.into_iter().zip(fates) {
            match fate {
                Fate::Accepted => {
                    accepted += 1;
                    self.settle(index, pending, now);
                }
                Fate::Failed(failure) => self.fail_entry(index, pending, &failure, now),
            }
        }
        if let (1.., Some(topic)) = (accepted, self.topics.get_mut(index)) {
            topic.open();
        }
        self.rate.accepted(now, accepted);
    }

    fn settle(&mut self, index: usize, pending: Pending, now: Instant) {
        let Pending { ticket, number, bytes, .. } = pending;
        let (id, lane, unit) = (ticket.message.id, ticket.message.lane, ticket.message.unit);
        self.health.acknowledged(ticket.entered, now, bytes);
        self.leave(number, bytes);
        if let Some(topic) = self.topics.get_mut(index) {
            topic.queue.settled(lane);
        }
        self.outbox.push_back(Settlement::Settled { id, lane, unit, at: now });
    }

    /// One entry of an answered call failed: the others are none of its business.
    fn fail_entry(&mut self, index: usize, mut pending: Pending, failure: &Failure, now: Instant) {
        self.note(index, failure, 1, now);
        if failure.action() == Action::Split {
            self.refuse_of(index, pending, failure);
            return;
        }
        pending.attempts = pending.attempts.saturating_add(1);
        let at = match failure.action() {
            Action::Wait => self.shut(index, now),
            Action::Retry | Action::Split => now + self.pauses.after(pending.attempts),
        };
        self.put_back(index, pending, at);
    }

    /// A whole call failed.
    fn fail_call(&mut self, index: usize, batch: Vec<Pending>, failure: &Failure, now: Instant) {
        self.note(index, failure, batch.len(), now);
        let entries = batch.len();
        let tried = batch.iter().map(|pending| pending.attempts).max().unwrap_or(0);
        let at = match failure.action() {
            Action::Wait => self.shut(index, now),
            // One pause for all: they were one call and may be one again.
            Action::Retry => now + self.pauses.after(tried.saturating_add(1)),
            Action::Split => now,
        };
        for mut pending in batch {
            if failure.action() != Action::Split {
                pending.attempts = pending.attempts.saturating_add(1);
            } else if entries == 1 {
                self.refuse_of(index, pending, failure);
                continue;
            } else {
                pending.company = (entries / 2).max(1);
            }
            self.put_back(index, pending, at);
        }
        if failure.class == Class::TooLarge
            && let Some(topic) = self.topics.get_mut(index)
        {
            // Somebody has lowered `MaximumMessageSize`.
            topic.is_stale = true;
        }
    }

    /// Counts a failure, slows down for it, and says it once per streak.
    fn note(&mut self, index: usize, failure: &Failure, messages: usize, now: Instant) {
        self.health.failed(failure.class, messages);
        if failure.class == Class::Throttled {
            self.rate.throttled(now);
        }
        let topic = self.topics.get(index).map_or("", |topic| &*topic.arn);
        let Failure { class, code, text } = failure;
        match failure.action() {
            Action::Retry => {
                tracing::debug!(topic, class = class.as_str(), code, text, messages, "will retry");
            }
            Action::Wait | Action::Split => {
                tracing::warn!(
                    topic,
                    class = class.as_str(),
                    code,
                    text,
                    messages,
                    "publish failed"
                );
            }
        }
    }

    /// Somebody has to mend something first; when the next call may go.
    fn shut(&mut self, index: usize, now: Instant) -> Instant {
        let until = now + self.pauses.between(self.config.mend_min, self.config.mend_max);
        if let Some(topic) = self.topics.get_mut(index) {
            topic.shut(until);
        }
        until
    }

    fn put_back(&mut self, index: usize, pending: Pending, at: Instant) {
        if let Some(topic) = self.topics.get_mut(index) {
            topic.queue.put_back(pending, at);
        }
    }

    /// Refuses a message that was taken from a topic's queue.
    fn refuse_of(&mut self, index: usize, pending: Pending, failure: &Failure) {
        let lane = pending.ticket.message.lane;
        self.refuse(pending, failure);
        if let (OnRefusal::GoOn, Some(topic)) = (self.config.on_refusal, self.topics.get_mut(index))
        {
            topic.queue.settled(lane);
        }
    }

    fn refuse(&mut self, pending: Pending, failure: &Failure) {
        let destination = pending.ticket.message.destination.to_string();
        let limit = self.by_arn.get(&*destination).and_then(|index| self.topics.get(*index));
        let limit = limit.and_then(Topic::limit_bytes).unwrap_or(0);
        let refusal = if failure.class == Class::TooLarge || limit > 0 && pending.bytes > limit {
            Refusal::TooLarge { bytes: pending.bytes, limit, destination }
        } else {
            let Failure { code, text, .. } = failure.clone();
            Refusal::Refused { code, text, destination }
        };
        self.leave(pending.number, pending.bytes);
        if self.config.on_refusal == OnRefusal::Halt {
            self.halted.get_or_insert_with(|| refusal.clone());
        }
        let message = Box::new(pending.ticket.message);
        self.outbox.push_back(Settlement::Failed { message, error: refusal });
    }

    /// Hands over as many settlements as there is room for.
    fn hand_over(
        &mut self,
        permit: mpsc::Permit<'_, Settlement>,
        settlements: &mpsc::Sender<Settlement>,
    ) {
        let mut permit = Some(permit);
        while let (Some(free), Some(settlement)) = (permit.take(), self.outbox.pop_front()) {
            free.send(settlement);
            if !self.outbox.is_empty() {
                permit = settlements.try_reserve().ok();
            }
        }
    }

    /// A message is no longer ours.
    fn leave(&mut self, number: u64, bytes: usize) {
        self.window.leave(number);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    fn unfinished(&self) -> Error {
        Error::Unfinished { messages: self.window.held(), bytes: self.held_bytes }
    }
}

/// Sleeps until `at`; for ever without one.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn bytes_of(batch: &[Pending]) -> usize {
    batch.iter().map(|pending| pending.bytes).sum()
}

/// Differs from process to process; it need not be unpredictable.
fn seed() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since_epoch.unwrap_or(Duration::ZERO).as_nanos();
    u64::try_from(nanos & u128::from(u64::MAX)).unwrap_or(0) ^ u64::from(std::process::id())
}
