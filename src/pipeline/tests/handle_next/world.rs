//! The loop over logs made by hand: what it tells, counts, saves and puts aside is what went by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::rig::{PATIENCE, Rig, Setup, Told, within};
use crate::checkpoint::Saving;
use crate::encode::open;
use crate::encode::proto::frame::Content;
use crate::filter::Pattern;
use crate::freshness::{CanaryStep, Phase, Seen};
use crate::pipeline::Error;
use crate::pipeline::tests::made::Made;
use crate::sink::intake::Ticket;
use crate::sink::quarantine::{Entry, Quarantine, Reader};
use crate::sink::{MessageRejected, Settlement};

/// A transaction of the log.
#[derive(Debug, Clone)]
enum Logged {
    /// Rows of a table that is published: inserts, updates, deletes.
    Rows(u8, u8, u8),
    /// Of one that is left out.
    LeftOut,
    /// Of both, and a savepoint's worth of nothing.
    Mixed,
    Empty,
    Heartbeat,
    ForeignHeartbeat,
    Canary,
    Schema,
    Idle,
}

fn entries() -> impl Strategy<Value = Vec<Logged>> {
    let entry = prop_oneof![
        4 => (0..4_u8, 0..3_u8, 0..3_u8).prop_map(|(i, u, d)| Logged::Rows(i, u, d)),
        2 => Just(Logged::LeftOut),
        1 => Just(Logged::Mixed),
        1 => Just(Logged::Empty),
        2 => Just(Logged::Heartbeat),
        1 => Just(Logged::ForeignHeartbeat),
        1 => Just(Logged::Canary),
        1 => Just(Logged::Schema),
        1 => Just(Logged::Idle),
    ];
    prop::collection::vec(entry, 1..25)
}

/// What must have come of a log.
#[derive(Debug, Default)]
struct Expected {
    classes: BTreeMap<&'static str, u64>,
    ops: [u64; 3],
    write_rows: u64,
    heartbeats: Vec<u64>,
    canaries: Vec<u64>,
    statements: u64,
}

fn made(entries: &[Logged]) -> (Made, Expected) {
    let (mut made, mut expected) = (Made::new(), Expected::default());
    let count = |class, expected: &mut Expected| {
        *expected.classes.entry(class).or_default() += 1;
    };
    for (number, entry) in (1_u64..).zip(entries) {
        let key = format!("k{number}");
        match entry {
            Logged::Rows(inserts, updates, deletes) => {
                made.begin();
                let rows: Vec<_> = (0..*inserts).map(|_| (key.as_str(), "new")).collect();
                if !rows.is_empty() {
                    made.inserts("t", &rows);
                    expected.write_rows += 1;
                }
                for _ in 0..*updates {
                    made.update("t", (&key, "old"), (&key, "new"));
                }
                for _ in 0..*deletes {
                    made.deletes("t", &[(&key, "old")]);
                }
                made.commit();
                let is_user = inserts + updates + deletes > 0;
                count(if is_user { "user" } else { "filtered" }, &mut expected);
                for (op, rows) in expected.ops.iter_mut().zip([inserts, updates, deletes]) {
                    *op += u64::from(*rows);
                }
            }
            Logged::LeftOut => {
                made.begin();
                made.inserts("audit", &[(&key, "left out")]);
                made.commit();
                expected.write_rows += 1;
                count("filtered", &mut expected);
            }
            Logged::Mixed => {
                made.begin();
                made.inserts("audit", &[(&key, "left out")]);
                made.inserts("t", &[(&key, "new")]);
                made.inserts("audit", &[(&key, "left out")]);
                made.commit();
                expected.write_rows += 3;
                expected.ops[0] += 1;
                count("user", &mut expected);
            }
            Logged::Empty => {
                made.begin();
                made.commit();
                count("filtered", &mut expected);
            }
            Logged::Heartbeat => {
                made.begin();
                made.heartbeat("s", number);
                made.commit();
                expected.write_rows += 1;
                expected.heartbeats.push(number);
                count("heartbeat", &mut expected);
            }
            Logged::ForeignHeartbeat => {
                made.begin();
                made.heartbeat("other", number);
                made.commit();
                expected.write_rows += 1;
                count("checkpoint", &mut expected);
            }
            Logged::Canary => {
                made.begin();
                made.canary(number);
                made.commit();
                expected.write_rows += 1;
                expected.canaries.push(number);
                count("canary", &mut expected);
            }
            Logged::Schema => {
                made.statement("CREATE TABLE n (a INT)");
                expected.statements += 1;
                count("user", &mut expected);
            }
            Logged::Idle => made.idle(),
        }
    }
    (made, expected)
}

/// What the far side makes of messages.
#[derive(Debug, Clone, Copy)]
struct Sink {
    /// The one to settle next, of those that wait.
    next: usize,
    /// Refused for good.
    refuses: bool,
}

/// Everything that the far side was given.
#[derive(Debug, Default)]
struct Far {
    waiting: Vec<Ticket>,
    settled: u64,
    refused: BTreeSet<(String, u64)>,
    rows: [u64; 3],
    canaries: Vec<u64>,
    statements: u64,
}

impl Far {
    /// What it does with one message, if there is one.
    fn act(&mut self, choice: Sink) -> Option<Settlement> {
        if self.waiting.is_empty() {
            return None;
        }
        let message = self.waiting.remove(choice.next % self.waiting.len()).message;
        if choice.refuses {
            self.refused.insert((message.lane_key.to_string(), message.sequence_first));
            let error =
                MessageRejected::TooLarge { bytes: 9, limit: 5, destination: "t".to_owned() };
            return Some(Settlement::Failed { message: Box::new(message), error });
        }
        self.settled += 1;
        match open::content(&message.body).expect("our own message") {
            Content::Batch(batch) => {
                for row in batch.rows {
                    self.rows[usize::try_from(row.op - 1).expect("an operation")] += 1;
                }
            }
            Content::Canary(canary) => self.canaries.push(canary.number),
            Content::SchemaChange(_) => self.statements += 1,
            other @ (Content::Payload(_)
            | Content::Heartbeat(_)
            | Content::ClaimCheck(_)
            | Content::SnapshotPart(_)
            | Content::SnapshotMark(_)
            | Content::Suppressed(_)
            | Content::TransactionEnd(_)) => panic!("nobody made {other:?}"),
        }
        let at = Instant::now();
        Some(Settlement::Settled { id: message.id, ack_group: message.ack_group, at })
    }
}

/// Turns the loop and plays the far side until everything is delivered.
async fn deliver(rig: &mut Rig, far: &mut Far, choices: &[Sink]) {
    let mut choices = choices.iter().copied().cycle();
    while rig.pipeline.tracker().ack_groups_in_flight() > 0 {
        while let Some(ticket) = rig.sink.try_recv() {
            far.waiting.push(ticket);
        }
        if let Some(settlement) = far.act(choices.next().expect("a cycle")) {
            rig.settled.send(settlement).await.expect("the loop listens");
        }
        let turn = tokio::time::sleep(Duration::from_micros(200));
        rig.pipeline.idle(turn).await.expect("nothing halts");
    }
}

fn rising(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

#[allow(clippy::too_many_lines, reason = "one run, and all that must hold after it")]
async fn check(
    entries: &[Logged],
    choices: &[Sink],
    fails: u32,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let (made, expected) = made(entries);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quarantine");
    let mut rig = Rig::new(Setup {
        exclude: vec![Pattern::parse("d.audit", 2).expect("a pattern")],
        quarantine: Some(Quarantine::open(&path, 1 << 20).expect("it opens")),
        puts_refused_aside: true,
        failing_saves: fails,
        saving: Saving::new(Duration::ZERO),
        ..Setup::default()
    });
    let stop = CancellationToken::new();
    within("taken", rig.take(&made.events, &stop)).await.expect("there is room");
    rig.pipeline.parts.flow.flush_all();
    within("handed on", rig.pipeline.ship(&stop)).await.expect("there is room");
    let mut far = Far::default();
    within("delivered", deliver(&mut rig, &mut far, choices)).await;
    // Then everything is saved, whatever failed before.
    let delivered = loop {
        let deadline = Instant::now() + PATIENCE;
        match within("drained", rig.pipeline.drain(deadline)).await {
            Ok(delivered) => break delivered,
            Err(error) => prop_assert!(matches!(error, Error::Checkpoint(_)), "{error}"),
        }
    };
    prop_assert!(delivered);

    let metrics = &rig.metrics;
    for class in ["user", "filtered", "heartbeat", "canary", "checkpoint"] {
        let count = expected.classes.get(class).copied().unwrap_or_default();
        prop_assert_eq!(metrics.transactions_total.of(class).get(), count, "{}", class);
    }
    prop_assert_eq!(metrics.events_total.of("WRITE_ROWS").get(), expected.write_rows);
    let others = made.events.len() as u64 - expected.write_rows;
    prop_assert_eq!(metrics.events_total.of("of no type").get(), others);
    prop_assert_eq!(metrics.messages_published_total.get(), far.settled);
    prop_assert_eq!(metrics.quarantined_messages_total.get(), far.refused.len() as u64);
    for (op, rows) in ["insert", "update", "delete"].into_iter().zip(far.rows) {
        prop_assert_eq!(metrics.changes_published_total.of(op).get(), rows, "{}", op);
    }
    let has_published = far.rows.iter().any(|rows| *rows > 0);
    prop_assert_eq!(metrics.user_row_last.last().is_some(), has_published);
    let kept: BTreeSet<_> = Reader::new(&path)
        .expect("it is there")
        .map(|entry| match entry.expect("whole") {
            Entry::Message(record) => (record.lane, record.sequence_first),
            Entry::Undecoded(event) => panic!("{event:?}"),
        })
        .collect();
    prop_assert_eq!(&kept, &far.refused);
    if far.refused.is_empty() {
        prop_assert_eq!(far.rows, expected.ops);
        prop_assert_eq!(far.statements, expected.statements);
        prop_assert_eq!(
            &far.canaries.iter().copied().collect::<BTreeSet<_>>(),
            &expected.canaries.iter().copied().collect()
        );
    }

    let Told { seen, published, checkpointed, accepted, spans, begun, failures } =
        rig.watcher.told();
    prop_assert_eq!(begun, u64::from(!spans.is_empty()), "with the first span");
    let heartbeats = seen.iter().filter_map(|seen| match seen {
        Seen::Heartbeat(row) => Some(row.number),
        Seen::Canary(_) | Seen::CanaryPath(_) | Seen::Lease | Seen::Own => None,
    });
    prop_assert_eq!(heartbeats.collect::<Vec<_>>(), expected.heartbeats.clone());
    let canaries = seen.iter().filter_map(|seen| match seen {
        Seen::Canary(row) => Some(row.number),
        Seen::Heartbeat(_) | Seen::CanaryPath(_) | Seen::Lease | Seen::Own => None,
    });
    prop_assert_eq!(canaries.collect::<Vec<_>>(), expected.canaries.clone());
    prop_assert!(rising(&published) && rising(&checkpointed), "{published:?} {checkpointed:?}");
    prop_assert_eq!(published.last(), expected.heartbeats.last());
    prop_assert!(checkpointed.iter().all(|number| expected.heartbeats.contains(number)));
    let accepted: BTreeSet<_> = accepted.into_iter().collect();
    let steps = far.canaries.iter().map(|number| CanaryStep {
        path: None,
        number: *number,
        phase: Phase::Insert,
    });
    prop_assert_eq!(accepted.len(), far.canaries.len());
    for step in steps {
        let text = format!("{step:?}");
        prop_assert!(accepted.contains(&text), "{}", text);
    }
    prop_assert_eq!(spans, expected.heartbeats.clone());

    // The store failed so often as it was told to, and each time that was said.
    prop_assert!(failures <= u64::from(fails));
    prop_assert_eq!(metrics.checkpoint_saves_total.of("error").get(), failures);
    let saved = rig.saved.checkpoint();
    let tracker = rig.pipeline.tracker();
    let delivered = tracker.committed_gtids();
    prop_assert_eq!(delivered.count(), u128::from(made.transactions()));
    prop_assert_eq!(saved.heartbeat, expected.heartbeats.last().copied());
    // Another stream's own writes are no reason to save.
    let worth_saving = entries.iter().any(|entry| !matches!(entry, Logged::ForeignHeartbeat));
    if worth_saving {
        prop_assert_eq!(&saved.gtid_set, &delivered);
        prop_assert!(saved.settled.position.offset > 0);
        // After any time at which this was written.
        prop_assert!(saved.saved_at_us > 1_700_000_000_000_000);
    }

    let progress = rig.pipeline.parts.flow.progress();
    prop_assert_eq!(progress.read.offset, u64::from(made.end));
    prop_assert_eq!(&progress.delivered, &progress.read);
    prop_assert_eq!(&progress.needed, &progress.read);
    prop_assert_eq!(progress.gtid_set, delivered.to_string());
    prop_assert_eq!(progress.transaction_bytes, 0);
    prop_assert_eq!(progress.is_idle, matches!(entries.last(), Some(Logged::Idle)));
    prop_assert_eq!(
        progress.idle_at.is_some(),
        entries.iter().any(|entry| matches!(entry, Logged::Idle))
    );
    if made.transactions() > 0 {
        prop_assert_eq!(progress.newest_commit_us, Made::committed_at_us(made.transactions()));
    }
    let has_rows = expected.ops.iter().sum::<u64>() > 0;
    prop_assert_eq!(progress.lanes, usize::from(has_rows));
    Ok(())
}

fn choices() -> impl Strategy<Value = Vec<Sink>> {
    let choice =
        (0..8_usize, 0..6_u8).prop_map(|(next, refuses)| Sink { next, refuses: refuses == 0 });
    prop::collection::vec(choice, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_went_by_is_counted_told_saved_and_put_aside(
        entries in entries(),
        choices in choices(),
        refuses: bool,
        fails in 0..3_u32,
    ) {
        let choices: Vec<_> =
            choices.into_iter().map(|it| Sink { refuses: it.refuses && refuses, ..it }).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(check(&entries, &choices, fails))?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_halted_stream_are_told_no_more_than_once_and_its_place_stays() {
    // Given a refusal in the middle, with the policy to halt
    let (made, _) = made(&[Logged::Rows(1, 0, 0), Logged::Heartbeat, Logged::Rows(2, 0, 0)]);
    let mut rig = Rig::new(Setup::default());
    let stop = CancellationToken::new();
    within("taken", rig.take(&made.events, &stop)).await.expect("there is room");
    rig.pipeline.parts.flow.flush_all();
    within("handed on", rig.pipeline.ship(&stop)).await.expect("there is room");
    let mut far = Far::default();
    let refused = within("refused", async {
        loop {
            while let Some(ticket) = rig.sink.try_recv() {
                far.waiting.push(ticket);
            }
            if let Some(settlement) = far.act(Sink { next: 0, refuses: far.settled == 1 }) {
                rig.settled.send(settlement).await.expect("the loop listens");
            }
            let turn = tokio::time::sleep(Duration::from_millis(1));
            if let Err(error) = rig.pipeline.idle(turn).await {
                return error;
            }
        }
    });
    let refused = refused.await;
    let Error::Refused { sequence, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(*sequence, 2);
    let tracker = rig.pipeline.tracker();
    assert_eq!(tracker.settled_heartbeat(), Some(2));
    assert!(tracker.settled_place().position.offset < u64::from(made.end));
}
