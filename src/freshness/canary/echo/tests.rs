use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{
    Acceptance, Canary, Echo, EchoCounts, EchoReader, EchoTracker, Malformed, Open, Opened, Queue,
    QueueError, Reader, Received,
};
use crate::freshness::{CanaryStep, Nonces, Observation, Phase};
use crate::telemetry::words::CanaryState;

const L: Duration = Duration::from_secs(15);

fn seconds(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn send(tracker: &mut EchoTracker, number: u64, now: Instant) {
    tracker.begun(number);
    for phase in Phase::ALL {
        tracker.accepted(number, phase, now);
    }
}

/// The queue is read and brings nothing; what is overdue then.
fn expire(tracker: &mut EchoTracker, now: Instant) -> Vec<u64> {
    tracker.read(now);
    tracker.expire(now)
}

#[test]
fn a_canary_is_resolved_when_all_three_messages_are_back() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    tracker.read(start);
    send(&mut tracker, 1, start);
    assert_eq!(tracker.echoed(1, Phase::Insert, start), Echo::InTime { completes: false });
    assert_eq!(tracker.echoed(1, Phase::Delete, start), Echo::InTime { completes: false });
    assert_eq!(tracker.echoed(1, Phase::Update, start), Echo::InTime { completes: true });
    assert_eq!(tracker.echoed(1, Phase::Update, start), Echo::Duplicate);
    assert_eq!(tracker.last_resolved(), Some((1, start)));
    let counts =
        EchoCounts { sent: 1, resolved: 1, duplicate: 1, reordered: 1, ..EchoCounts::default() };
    assert_eq!(tracker.counts(), counts);
    assert_eq!(expire(&mut tracker, seconds(start, 60)), [0; 0]);
}

#[test]
fn a_missing_message_makes_the_canary_lost_and_a_late_one_is_told_apart() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    tracker.read(start);
    for number in [1, 2] {
        send(&mut tracker, number, start);
        tracker.echoed(number, Phase::Insert, start);
    }
    assert_eq!(expire(&mut tracker, seconds(start, 15)), [0; 0], "not before its time");
    assert_eq!(expire(&mut tracker, seconds(start, 16)), [1, 2]);

    let late = seconds(start, 20);
    assert_eq!(tracker.echoed(1, Phase::Update, late), Echo::Late { completes: false });
    assert_eq!(tracker.echoed(1, Phase::Delete, late), Echo::Late { completes: true });
    let counts = tracker.counts();
    assert_eq!((counts.lost, counts.late, counts.resolved), (2, 1, 0));

    send(&mut tracker, 3, late);
    for phase in Phase::ALL {
        tracker.echoed(3, phase, late);
    }
}

#[test]
fn an_echo_that_overtakes_the_topics_answer_counts() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    tracker.begun(1);
    for phase in Phase::ALL {
        assert_eq!(tracker.echoed(1, phase, start), Echo::InTime { completes: false });
        let completes = phase == Phase::Delete;
        let accepted = tracker.accepted(1, phase, start);
        assert_eq!(accepted, Acceptance { makes_whole: completes, completes }, "{phase:?}");
    }
    assert_eq!(tracker.counts().resolved, 1);
    let again = tracker.accepted(1, Phase::Delete, start);
    assert_eq!(again, Acceptance::default(), "sent again after a broken connection");
}

#[test]
fn what_nobody_looks_for_is_not_lost() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    tracker.read(start);
    // The queue can't be read any more
    for number in 1..=400 {
        send(&mut tracker, number, seconds(start, number * 10));
        assert_eq!(tracker.expire(seconds(start, number * 10 + 9)), [0; 0], "{number}");
    }
    // It can again, and what waited in it comes read by read
    let again = seconds(start, 4_100);
    let messages = (1..=400).flat_map(|number| Phase::ALL.map(|phase| (number, phase)));
    for (number, phase) in messages {
        let echo = tracker.echoed(number, phase, again);
        assert_eq!(echo, Echo::InTime { completes: phase == Phase::Delete }, "{number}");
        tracker.read(again);
    }
    assert_eq!(tracker.counts().resolved, 400);

    // What does not come then is lost, at its time
    send(&mut tracker, 401, again);
    assert_eq!(expire(&mut tracker, again + L), [0; 0]);
    assert_eq!(expire(&mut tracker, again + L + Duration::from_secs(1)), [401]);
    assert_eq!(tracker.counts().not_evaluated, 0);
}

#[test]
fn what_is_forgotten_unseen_is_counted_as_neither() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    for number in 1..=1_100 {
        send(&mut tracker, number, seconds(start, number * 10));
    }
    let counts = tracker.counts();
    assert_eq!((counts.sent, counts.not_evaluated), (1_100, 1_100 - 1_024));
    assert_eq!((counts.lost, counts.resolved), (0, 0));
}

#[test]
fn a_canary_whose_later_steps_were_never_written_is_not_lost() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    tracker.begun(1);
    tracker.accepted(1, Phase::Insert, start);
    tracker.echoed(1, Phase::Insert, start);
    for second in [0, 10, 20] {
        assert_eq!(expire(&mut tracker, seconds(start, second)), [0; 0]);
    }
    assert_eq!(tracker.counts().resolved, 1);
}

#[test]
fn a_canary_of_which_a_step_was_never_written_is_owed_by_nobody() {
    let now = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    for (number, phases) in [(1, &[Phase::Insert, Phase::Delete][..]), (2, &Phase::ALL)] {
        tracker.begun(number);
        let accepted = phases.iter().map(|phase| tracker.accepted(number, *phase, now));
        let whole: Vec<_> = accepted.map(|accepted| accepted.makes_whole).collect();
        let owed = whole.iter().filter(|it| **it).count();
        assert_eq!(owed, usize::from(number == 2), "{whole:?}");
        assert!(phases.iter().all(|phase| !tracker.accepted(number, *phase, now).makes_whole));
    }
}

#[test]
fn a_canary_whose_later_steps_are_written_late_is_whole_once_and_counted_once() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    tracker.begun(1);
    // Each write takes longer than an echo may, and each echo comes at once.
    for (step, phase) in (1..).zip(Phase::ALL) {
        let now = start + L * 2 * step;
        assert!(expire(&mut tracker, now).is_empty(), "{phase:?}");
        tracker.accepted(1, phase, now);
        let completes = phase == Phase::Delete;
        assert_eq!(tracker.echoed(1, phase, now), Echo::InTime { completes }, "{phase:?}");
        tracker.read(now);
    }
    assert_eq!(tracker.last_resolved(), Some((1, start + L * 6)));
    assert!(expire(&mut tracker, start + L * 9).is_empty());
    let EchoCounts { sent, resolved, lost, .. } = tracker.counts();
    assert_eq!((sent, resolved, lost), (1, 1, 0));
}

#[test]
fn strange_numbers_in_the_queue_disturb_nothing() {
    let start = Instant::now();
    let mut tracker = EchoTracker::new(L, &Phase::ALL);
    send(&mut tracker, 7, start);
    for number in [0, 6, 8, u64::MAX] {
        assert_eq!(tracker.echoed(number, Phase::Insert, start), Echo::Stale);
    }
    for phase in Phase::ALL {
        tracker.echoed(7, phase, start);
    }
    let counts = EchoCounts { sent: 1, resolved: 1, stale: 4, ..EchoCounts::default() };
    assert_eq!(tracker.counts(), counts);
}

proptest! {
    #[test]
    fn every_canary_sent_is_resolved_lost_or_awaited_and_never_two(
        steps in proptest::collection::vec((0_u8..4, 1_u64..12, 0_usize..3, 0_u64..8), 0..200),
    ) {
        let mut now = Instant::now();
        let mut tracker = EchoTracker::new(L, &Phase::ALL);
        let (mut newest, mut messages) = (0, BTreeMap::<_, u64>::new());
        for (kind, number, phase, pause) in steps {
            now += Duration::from_secs(pause);
            let phase = Phase::ALL[phase];
            match kind {
                0 => {
                    newest += 1;
                    send(&mut tracker, newest, now);
                }
                1 => drop(expire(&mut tracker, now)),
                _ => {
                    tracker.echoed(number, phase, now);
                    if number <= newest {
                        *messages.entry((number, phase)).or_default() += 1;
                    }
                }
            }
            let counts = tracker.counts();
            prop_assert!(counts.resolved + counts.lost <= counts.sent);
            prop_assert!(counts.late <= counts.lost);
            prop_assert_eq!(counts.sent, newest);
            prop_assert_eq!(counts.duplicate, messages.values().map(|count| count - 1).sum::<u64>());
        }
        // Where the queue was not read for long, the first read begins the wait again.
        for _ in 0..2 {
            now += L;
            tracker.read(now);
        }
        expire(&mut tracker, now + L / 2);
        let counts = tracker.counts();
        prop_assert_eq!(counts.resolved + counts.lost, counts.sent);
        prop_assert!(tracker.newest_first().all(|fate| fate.state != CanaryState::Awaited));
        let whole = (1..=newest).filter(|number| {
            Phase::ALL.iter().all(|phase| messages.contains_key(&(*number, *phase)))
        });
        prop_assert_eq!(counts.resolved + counts.late, whole.count() as u64);
    }
}

/// Counts how often it is asked; never waits, and never has anything.
struct EmptyQueue(Arc<Mutex<u32>>);

impl Queue for EmptyQueue {
    async fn receive(&mut self) -> Result<Vec<Received>, QueueError> {
        *self.0.lock().expect("one thread") += 1;
        Ok(Vec::new())
    }

    async fn delete(&mut self, _: Vec<String>) -> Result<(), QueueError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_wait_is_not_asked_without_end() {
    let (asked, stop) = (Arc::new(Mutex::new(0)), CancellationToken::new());
    let queue = EmptyQueue(Arc::clone(&asked));
    let open: Open = Arc::new(|_| Ok(Opened::Other));
    let reader = Reader { queue, open, malformed: Malformed::Stay, tell: |_| () };
    let running = tokio::spawn(reader.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    stop.cancel();
    running.await.expect("it stops");
    let asked = *asked.lock().expect("one thread");
    assert!((10..=21).contains(&asked), "{asked} times in 10 s");
}

/// Gives what it was loaded with, then fails once, then waits for ever.
struct FakeQueue {
    batches: Vec<Vec<&'static str>>,
    deleted: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

impl Queue for FakeQueue {
    async fn receive(&mut self) -> Result<Vec<Received>, QueueError> {
        let Some(batch) = self.batches.pop() else {
            self.stop.cancel();
            return std::future::pending().await;
        };
        if batch.is_empty() {
            let (queue, message) = ("q".to_owned(), "AccessDenied".to_owned());
            return Err(QueueError { queue, action: "receive", message });
        }
        let received = |body: &str| Received { body: body.into(), receipt: format!("r:{body}") };
        Ok(batch.into_iter().map(received).collect())
    }

    async fn delete(&mut self, receipts: Vec<String>) -> Result<(), QueueError> {
        self.deleted.lock().expect("one thread").extend(receipts);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_understood_is_deleted_and_the_rest_stays() {
    let (deleted, events) = (Arc::default(), Arc::new(Mutex::new(Vec::new())));
    let stop = CancellationToken::new();
    let enveloped = r#"{"Type":"Notification","MessageId":"x","Message":"canary shop"}"#;
    let queue = FakeQueue {
        batches: vec![vec![enveloped], vec![], vec!["canary shop", "canary bank", "change", "?"]],
        deleted: Arc::clone(&deleted),
        stop: stop.clone(),
    };
    let seen = Arc::clone(&events);
    let reader = EchoReader {
        consumer: "billing".into(),
        queue,
        stream: "shop".into(),
        open: Arc::new(|body| match body.split_once(' ') {
            Some((_, stream)) => Ok(Opened::Canary(Box::new(Canary {
                stream: stream.into(),
                server_uuid: String::new(),
                epoch: 1,
                sequence: 14,
                path: String::new(),
                number: 5,
                phase: Phase::Update,
                written_at_us: 17,
                watermark_at_us: 0,
                verdict: String::new(),
                nonce: Nonces::new([0; 32]).of(&CanaryStep {
                    path: None,
                    number: 5,
                    phase: Phase::Update,
                }),
            }))),
            None if body == "change" => Ok(Opened::Other),
            None => Err("not a frame".into()),
        }),
        nonces: Nonces::new([0; 32]),
        observer: Arc::new(move |event| seen.lock().expect("one thread").push(event)),
    };
    reader.run(stop).await;

    let deleted = deleted.lock().expect("one thread").clone();
    let enveloped = format!("r:{enveloped}");
    assert_eq!(deleted, ["r:canary shop", "r:canary bank", "r:change", enveloped.as_str()]);
    let events = events.lock().expect("one thread");
    let words: Vec<_> = events
        .iter()
        .map(|event| {
            if let Observation::EchoRead { .. } = event {
                "read".to_owned()
            } else if let Observation::Echoed { step, is_genuine, .. } = event {
                assert!(is_genuine);
                format!("echo {}", step.number)
            } else if let Observation::EchoIgnored { kind, .. } = event {
                kind.as_str().to_owned()
            } else if let Observation::EchoFailed { message, .. } = event {
                message.clone()
            } else {
                panic!("{event:?}")
            }
        })
        .collect();
    let expected = [
        "echo 5",
        "other_stream",
        "other_kind",
        "malformed",
        "read",
        "echo queue q: receive: AccessDenied",
        "echo 5",
        "read",
    ];
    assert_eq!(words, expected);
}
