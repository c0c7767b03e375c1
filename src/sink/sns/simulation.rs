//! The delivery state against a service that fails in every way, in virtual time: each message is settled once,
//! in the order of its lane, and refused only if it is itself at fault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::client::{EntryResult, TopicFacts};
use super::delivery_state::{At, DeliveryState};
use super::fixture::message;
use super::policy::{CALL_TOO_LARGE, Failure, classify_call, classify_entry};
use super::queue::Pending;
use super::topic::Next;
use super::{Config, OnRefusal};
use crate::sink::{Error, FailureClass, Health, MessageRejected, Settlement, intake};

/// Size limit of the topics, bytes.
const LIMIT: usize = 1000;
const TOPICS: [&str; 2] = [
    "arn:aws:sns:eu-west-1:000000000000:changes.fifo",
    "arn:aws:sns:eu-west-1:000000000000:changes",
];
/// Errors that say nothing of a message: of a call, with its status.
const CALL_ERRORS: [(&str, u16); 9] = [
    ("Throttled", 400),
    ("InternalError", 500),
    ("AuthorizationError", 403),
    ("KMSDisabled", 400),
    ("NotFound", 404),
    ("ExpiredToken", 403),
    ("NeverHeardOf", 400),
    ("RequestTimeout", 408),
    (CALL_TOO_LARGE, 413),
];
/// The same of an entry, with its `SenderFault`.
const ENTRY_ERRORS: [(&str, bool); 4] =
    [("InternalError", false), ("KMSThrottling", true), ("KMSDisabled", true), ("Whatever", false)];

/// A message to be sent.
#[derive(Debug, Clone)]
struct Sent {
    lane: u32,
    bytes: usize,
    topic: usize,
    /// The service will never take it.
    poison: bool,
}

/// What the service does with a call.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Takes,
    /// Error of [`CALL_ERRORS`] for the whole call.
    Fails(usize),
    /// Error of [`ENTRY_ERRORS`] for the entry of this index.
    FailsEntry(usize, usize),
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Takes),
        1 => (0..CALL_ERRORS.len()).prop_map(Answer::Fails),
        1 => (0..ENTRY_ERRORS.len(), 0..10_usize).prop_map(|(error, entry)| Answer::FailsEntry(error, entry)),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..4_u32, 1..600_usize, 0..2_usize, 0..8_u8).prop_map(|(lane, bytes, topic, poison)| Sent {
        lane,
        bytes,
        topic,
        poison: poison == 0,
    })
}

fn failure(class: FailureClass, code: &str) -> Failure {
    Failure { class, code: code.to_owned(), text: "in words".to_owned() }
}

/// A fault of a message is told of the whole call where `as_call`, as SNS does for some, or of the
/// entry.
fn serve(
    batch: &[Pending],
    poison: &BTreeSet<u64>,
    answer: Answer,
    as_call: bool,
) -> Result<Vec<EntryResult>, Failure> {
    let is_poison = |pending: &Pending| poison.contains(&pending.ticket.message.id);
    if let Answer::Fails(error) = answer {
        let (code, status) = CALL_ERRORS[error];
        return Err(failure(classify_call(code, Some(status)), code));
    }
    if as_call && batch.iter().any(is_poison) {
        return Err(failure(classify_call("InvalidParameter", Some(400)), "InvalidParameter"));
    }
    let result = |(index, pending): (usize, &Pending)| {
        if let Answer::FailsEntry(error, entry) = answer
            && entry % batch.len() == index
        {
            let (code, sender_fault) = ENTRY_ERRORS[error];
            return EntryResult::Failed(failure(classify_entry(code, sender_fault), code));
        }
        if is_poison(pending) {
            return EntryResult::Failed(failure(classify_entry("Bad", true), "Bad"));
        }
        EntryResult::Accepted
    };
    Ok(batch.iter().enumerate().map(result).collect())
}

struct World {
    delivery_state: DeliveryState,
    health: Arc<Health>,
    now: Instant,
    delivered: Vec<u64>,
    refused: Vec<u64>,
    /// Messages taken in and not settled: number and bytes.
    held: (usize, usize),
    /// Attempts that failed, by class.
    failed: [u64; FailureClass::ALL.len()],
    calls: u64,
    /// Bytes of messages that were in a call.
    in_calls: BTreeMap<u64, usize>,
}

impl World {
    fn new(on_refusal: OnRefusal) -> Self {
        let (health, now) = (Health::new(), Instant::now());
        let facts = |fifo| TopicFacts {
            message_bytes_max: LIMIT,
            fifo,
            content_based_deduplication: false,
            throughput_per_group: false,
        };
        // The second topic's attributes have to be asked for.
        let known = vec![(Arc::from(TOPICS[0]), facts(true))];
        let config = Config { on_refusal, ..Config::default() };
        let delivery_state = DeliveryState::new(&config, Arc::clone(&health), known, now);
        Self {
            delivery_state,
            health,
            now,
            delivered: Vec::new(),
            refused: Vec::new(),
            held: (0, 0),
            failed: [0; FailureClass::ALL.len()],
            calls: 0,
            in_calls: BTreeMap::new(),
        }
    }

    /// What a call brought, for the numbers.
    fn count(&mut self, attempts: usize, result: &Result<Vec<EntryResult>, Failure>) {
        self.calls += 1;
        match result {
            Ok(results) => {
                for result in results {
                    if let EntryResult::Failed(failure) = result {
                        self.failed[failure.class as usize] += 1;
                    }
                }
            }
            Err(failure) => self.failed[failure.class as usize] += attempts as u64,
        }
    }

    /// The shared numbers are those of what happened.
    fn check_numbers(&self) {
        let health = self.health.snapshot(self.now);
        assert_eq!(health.held_messages, self.held.0);
        assert_eq!(health.attempts_failed, self.failed);
        if self.failed[FailureClass::Throttled as usize] == 0 {
            assert_eq!(health.rate_limit, None, "nobody asked to slow down");
        }
        assert_eq!(health.attempts_ok, self.delivered.len() as u64);
        assert_eq!(self.health.request_latency.counts().iter().sum::<u64>(), self.calls);
        let Error::Unfinished { messages, bytes } = self.delivery_state.unfinished() else {
            panic!("it says what is held")
        };
        assert_eq!((messages, bytes), self.held);
    }

    /// Takes in the messages from `first` on.
    fn accept(&mut self, first: u64, sent: &[Sent]) {
        let (feed, mut intake) = intake(1 << 20);
        for (id, sent) in (first..).zip(sent) {
            let mut message = message(id, sent.lane + 10 * u32::from(sent.topic == 1), sent.bytes);
            message.destination = Arc::from(TOPICS[sent.topic]);
            self.held = (self.held.0 + 1, self.held.1 + message.billed_bytes());
            assert!(feed.try_send(message).is_ok(), "there is room");
            self.delivery_state.accept(intake.try_recv().expect("it was just sent"));
        }
    }

    /// Settles what came out; the ids that were delivered or refused.
    fn collect(&mut self) {
        while let Some(settlement) = self.delivery_state.next_settlement() {
            let id = match settlement {
                Settlement::Settled { id, .. } => {
                    self.delivered.push(id);
                    id
                }
                Settlement::Failed { message, .. } => {
                    self.refused.push(message.id);
                    message.id
                }
            };
            let bytes = self.in_calls[&id];
            self.held = (self.held.0 - 1, self.held.1 - bytes);
        }
    }

    /// Publishes until nothing is left, or the delivery state halts. Messages come `portion` at a time, the
    /// next when those before are done.
    fn run(&mut self, sent: &[Sent], portion: usize, answers: &[(Answer, bool)]) {
        let mut first = 0;
        for sent in sent.chunks(portion) {
            self.accept(first, sent);
            first += sent.len() as u64;
            self.publish_all(first, sent, answers);
        }
    }

    /// The same for messages that were taken in, of which `end` is behind the last.
    fn publish_all(&mut self, end: u64, sent: &[Sent], answers: &[(Answer, bool)]) {
        let poison = (end - sent.len() as u64..end).zip(sent);
        let poison = poison.filter(|(_, sent)| sent.poison).map(|(id, _)| id).collect();
        let mut calls = 0;
        while !self.delivery_state.is_finished(false) {
            assert!(calls < 20_000, "it makes progress");
            let (topic, next) = match self.delivery_state.next_call(self.now) {
                Ok(call) => call,
                Err(Some(at)) => {
                    assert!(at > self.now, "it waits for something");
                    self.now = at;
                    continue;
                }
                Err(None) => break,
            };
            let at = At { topic, started: self.now, now: self.now + Duration::from_millis(5) };
            self.now = at.now;
            let (answer, as_call) = answers[calls % answers.len()];
            // The faults end some time.
            let answer = if calls > 300 { Answer::Takes } else { answer };
            calls += 1;
            match next {
                Next::Ask => {
                    let facts = TopicFacts {
                        message_bytes_max: LIMIT,
                        fifo: topic == 0,
                        content_based_deduplication: false,
                        throughput_per_group: false,
                    };
                    let failed = |(code, status)| failure(classify_call(code, Some(status)), code);
                    let learnt = match answer {
                        Answer::Fails(error) => Err(failed(CALL_ERRORS[error])),
                        Answer::Takes | Answer::FailsEntry(..) => Ok(facts),
                    };
                    if let Err(failure) = &learnt {
                        self.failed[failure.class as usize] += 1;
                    }
                    self.delivery_state.learn(at, learnt);
                }
                Next::Publish(batch) => {
                    let bytes: usize = batch.iter().map(|pending| pending.bytes).sum();
                    assert!(!batch.is_empty() && batch.len() <= 10);
                    assert!(bytes <= LIMIT || batch.len() == 1, "{bytes} bytes in a call");
                    let results = serve(&batch, &poison, answer, as_call);
                    self.count(batch.len(), &results);
                    let sent: BTreeMap<u64, usize> = batch
                        .iter()
                        .map(|pending| (pending.ticket.message.id, pending.bytes))
                        .collect();
                    self.in_calls.extend(sent);
                    self.delivery_state.conclude(at, batch, results);
                }
            }
            self.delivery_state.publish_health();
            self.collect();
            self.check_numbers();
        }
        self.collect();
    }
}

proptest! {
    #[test]
    fn each_message_is_settled_once_in_order_and_only_a_faulty_one_is_refused(
        sent in proptest::collection::vec(sent(), 1..60),
        portion in 1..60_usize,
        answers in proptest::collection::vec((answer(), any::<bool>()), 1..40),
    ) {
        let mut world = World::new(OnRefusal::GoOn);
        world.run(&sent, portion, &answers);

        let faulty: BTreeSet<u64> =
            (0..).zip(&sent).filter(|(_, sent)| sent.poison).map(|(id, _)| id).collect();
        prop_assert_eq!(world.refused.iter().copied().collect::<BTreeSet<_>>(), faulty.clone());
        prop_assert_eq!(world.refused.len(), faulty.len(), "refused once");
        let sound = (0..sent.len() as u64).filter(|id| !faulty.contains(id));
        let mut delivered = world.delivered.clone();
        delivered.sort_unstable();
        prop_assert_eq!(delivered, sound.collect::<Vec<_>>(), "delivered once");
        let mut lanes: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for id in &world.delivered {
            let sent = &sent[usize::try_from(*id).expect("small")];
            if sent.topic == 0 {
                lanes.entry(sent.lane).or_default().push(*id);
            }
        }
        prop_assert!(lanes.values().all(|ids| ids.is_sorted()), "FIFO: {lanes:?}");

        let health = world.health.snapshot(world.now);
        prop_assert_eq!((health.held_messages, health.blocked_topics), (0, 0));
        prop_assert_eq!(health.settled_messages, world.delivered.len() as u64);
        prop_assert_eq!(health.oldest_unsettled, None);
    }

    #[test]
    fn with_halt_nothing_of_a_lane_passes_the_refused_message(
        sent in proptest::collection::vec(sent(), 1..60),
        portion in 1..60_usize,
        answers in proptest::collection::vec((answer(), any::<bool>()), 1..40),
    ) {
        let mut world = World::new(OnRefusal::Halt);
        world.run(&sent, portion, &answers);

        let is_faulty = |id: u64| sent[usize::try_from(id).expect("small")].poison;
        prop_assert!(world.refused.iter().all(|id| is_faulty(*id)));
        prop_assert!(world.delivered.iter().all(|id| !is_faulty(*id)));
        for refused in &world.refused {
            let refused_of = &sent[usize::try_from(*refused).expect("small")];
            let passed = world.delivered.iter().any(|id| {
                let of = &sent[usize::try_from(*id).expect("small")];
                of.topic == 0 && refused_of.topic == 0 && of.lane == refused_of.lane && id > refused
            });
            prop_assert!(!passed, "a message behind {refused} was delivered");
        }
        // Whatever is ready in other lanes and topics, nothing more is started.
        world.now += Duration::from_hours(1);
        if !world.refused.is_empty() {
            world.accept(sent.len() as u64, &[Sent { poison: false, ..sent[0].clone() }]);
            prop_assert!(matches!(world.delivery_state.next_call(world.now), Err(None)));
        }
        let ended = world.delivery_state.verdict();
        prop_assert_eq!(ended.is_err(), !world.refused.is_empty());
    }
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_size_whatever_the_service_calls_it() {
    let sent = [Sent { lane: 0, bytes: LIMIT + 1, topic: 0, poison: true }];
    let mut world = World::new(OnRefusal::GoOn);
    world.accept(0, &sent);
    let Ok((topic, Next::Publish(batch))) = world.delivery_state.next_call(world.now) else {
        panic!("it is tried: SNS decides")
    };
    let at = At { topic, started: world.now, now: world.now };
    let error = failure(classify_call("InvalidParameter", Some(400)), "InvalidParameter");
    world.delivery_state.conclude(at, batch, Err(error));
    let Some(Settlement::Failed { error, .. }) = world.delivery_state.next_settlement() else {
        panic!("it is refused")
    };
    assert!(matches!(error, MessageRejected::TooLarge { limit: LIMIT, .. }), "{error}");
}

#[test]
fn after_a_throttling_calls_keep_to_the_rate() {
    let sent: Vec<_> =
        (0..900).map(|_| Sent { lane: 0, bytes: 10, topic: 1, poison: false }).collect();
    let mut world = World::new(OnRefusal::GoOn);
    let start = world.now;
    // The attributes, then one call that is taken and one that is too fast.
    let answers = [Answer::Takes, Answer::Takes, Answer::Fails(0)].into_iter();
    let answers = answers.chain(std::iter::repeat_n(Answer::Takes, 400));
    let answers: Vec<_> = answers.map(|answer| (answer, false)).collect();
    world.run(&sent, sent.len(), &answers);
    assert_eq!(world.delivered.len(), sent.len());
    assert!(world.health.snapshot(world.now).rate_limit.is_some(), "it is told");
    // Unhindered, the 91 calls take 5 ms each.
    let took = world.now - start;
    assert!(took > Duration::from_secs(2), "{took:?}");
}

#[test]
fn pauses_grow_while_it_fails_and_the_topic_that_is_due_first_wakes_the_loop() {
    let sent = |topic| [Sent { lane: 0, bytes: 10, topic, poison: false }];
    let mut world = World::new(OnRefusal::GoOn);
    world.accept(0, &sent(0));
    let start = world.now;
    for attempt in 0..12 {
        let call = loop {
            match world.delivery_state.next_call(world.now) {
                Ok(call) => break call,
                Err(wake) => world.now = wake.expect("time alone decides"),
            }
        };
        let (topic, Next::Publish(batch)) = call else { panic!("it is known") };
        assert_eq!(batch[0].attempts, attempt);
        let at = At { topic, started: world.now, now: world.now };
        let error = failure(classify_call("InternalError", Some(500)), "InternalError");
        // The whole call, or its only entry.
        let failed =
            if attempt % 2 == 0 { Err(error) } else { Ok(vec![EntryResult::Failed(error)]) };
        world.delivery_state.conclude(at, batch, failed);
    }
    // On average 27 seconds; without growth half a second.
    assert!(world.now - start > Duration::from_secs(4), "{:?}", world.now - start);

    // One topic waits for somebody, the other for a moment.
    let mut world = World::new(OnRefusal::GoOn);
    world.accept(0, &sent(0));
    world.accept(1, &sent(1));
    for (code, status) in [("InternalError", 500), ("AuthorizationError", 403)] {
        let (topic, next) = world.delivery_state.next_call(world.now).expect("both are ready");
        let at = At { topic, started: world.now, now: world.now };
        let error = failure(classify_call(code, Some(status)), code);
        match next {
            Next::Publish(batch) => world.delivery_state.conclude(at, batch, Err(error)),
            Next::Ask => world.delivery_state.learn(at, Err(error)),
        }
    }
    assert_eq!(world.health.snapshot(world.now).blocked_topics, 1);
    let wake =
        world.delivery_state.next_call(world.now).expect_err("both wait").expect("for a time");
    assert!(wake <= world.now + Config::default().retry_first, "{:?}", wake - world.now);
    // That somebody has fixed it shows with the first answer, before anything is published.
    let mut world = World::new(OnRefusal::GoOn);
    world.accept(0, &sent(1));
    for is_fixed in [false, true] {
        let call = loop {
            match world.delivery_state.next_call(world.now) {
                Ok(call) => break call,
                Err(wake) => world.now = wake.expect("time alone decides"),
            }
        };
        let (topic, Next::Ask) = call else { panic!("it is not known") };
        let at = At { topic, started: world.now, now: world.now };
        let error = failure(classify_call("NotFound", Some(404)), "NotFound");
        let facts = TopicFacts {
            message_bytes_max: LIMIT,
            fifo: false,
            content_based_deduplication: false,
            throughput_per_group: false,
        };
        world.delivery_state.learn(at, if is_fixed { Ok(facts) } else { Err(error) });
        let blocked = world.health.snapshot(world.now).blocked_topics;
        assert_eq!(blocked, usize::from(!is_fixed));
    }
}

#[test]
fn halves_find_the_one_at_fault_and_its_size_is_only_named_where_it_is_over_the_limit() {
    let sent: Vec<_> =
        (0..10).map(|id| Sent { lane: 0, bytes: 10, topic: 1, poison: id == 3 }).collect();
    let mut world = World::new(OnRefusal::GoOn);
    world.run(&sent, sent.len(), &[(Answer::Takes, true)]);
    assert_eq!((world.delivered.len(), world.refused.as_slice()), (9, &[3][..]));
    // Ten, two of five, two and two and one, then one by one.
    assert!(world.calls <= 9, "{} calls", world.calls);

    for bytes in [LIMIT, LIMIT + 1] {
        let mut world = World::new(OnRefusal::GoOn);
        world.accept(0, &[Sent { lane: 0, bytes, topic: 0, poison: true }]);
        let Ok((topic, Next::Publish(batch))) = world.delivery_state.next_call(world.now) else {
            panic!("it is tried")
        };
        assert_eq!(batch[0].bytes, bytes);
        let at = At { topic, started: world.now, now: world.now };
        let error = failure(classify_entry("InvalidParameter", true), "InvalidParameter");
        world.delivery_state.conclude(at, batch, Ok(vec![EntryResult::Failed(error)]));
        let Some(Settlement::Failed { error, .. }) = world.delivery_state.next_settlement() else {
            panic!("it is refused")
        };
        assert_eq!(matches!(error, MessageRejected::TooLarge { .. }), bytes > LIMIT, "{error}");
    }
}
