//! The loop itself, with a finalizing thread and a store, and a sink that the test plays.

mod rate;
pub(super) mod rig;
mod world;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::aws;
use super::made::Made;
use crate::aws::Deadlines;
use crate::change::{GtidSet, NameCase, Position};
use crate::control::{Command, ControlRegistry};
use crate::decode::{Config as DecodeConfig, Decoder, Step};
use crate::encode::{Kind, Oversize};
use crate::filter::Pattern;
use crate::pack::Config as PackConfig;
use crate::pipeline::flow::Flow;
use crate::pipeline::run::Interrupt;
use crate::pipeline::tests::log::decoder;
use crate::pipeline::{Claims, Ended, Error};
use crate::sink::claim_check::{self, ClaimCheck};
use crate::sink::quarantine::{Entry, Quarantine, Reader};
use crate::sink::{MessageRejected, Settlement};
use crate::source::tests::server::{Answer, Server, rows as answers};
use crate::source::{Columns, Start, replica_of};
use rig::{PATIENCE, Rig, Setup, each_row, events, flow, within};

#[test]
fn after_a_failover_what_is_needed_is_unknown_until_the_old_server_s_messages_are_delivered() {
    let mut flow = flow(each_row(), false, Vec::new(), Vec::new());
    let needed = |flow: &mut Flow| flow.progress().needed.file.to_string();
    let reach = |flow: &mut Flow, file: &str| {
        let at = Position::new(file, 100);
        let step = Step::Idle { position: &at, resume: &at };
        flow.step(step, Instant::now()).expect("it is in order");
        flow.idle(Instant::now());
    };
    flow.moved_to("first");
    reach(&mut flow, "b.7");
    assert_eq!(needed(&mut flow), "b.7");

    // A message is on its way when another server takes over, whose logs have other names.
    let ack_group = flow.tracker().ack_group();
    flow.tracker_mut().opened(ack_group).expect("it is open");
    reach(&mut flow, "b.8");
    assert_eq!(needed(&mut flow), "b.7");
    flow.moved_to("second");
    assert_eq!(needed(&mut flow), "");
    reach(&mut flow, "c.2");
    assert_eq!(needed(&mut flow), "", "a restart would still go on from b.7");
    flow.tracker_mut().settled(ack_group).expect("it was on its way");
    assert_eq!(needed(&mut flow), "c.2");

    // The same server again is no failover.
    flow.moved_to("second");
    assert_eq!(needed(&mut flow), "c.2");
}

#[test]
fn names_of_columns_are_asked_for_where_rows_are_published() {
    let flow = flow(each_row(), false, Vec::new(), Vec::new());
    assert!(flow.wants("shop", "orders"));
    assert!(!flow.wants("binpulse", "heartbeat"), "its own tables are known");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_sink_takes_nothing_the_loop_lives_and_can_be_stopped() {
    let mut rig = Rig::new(Setup { queue_bytes: 1, ..Setup::default() });
    let mut many = Vec::new();
    for _ in 0..8 {
        many.extend(events("rows/mysql-9.7").into_iter().skip(usize::from(!many.is_empty())));
    }
    let stop = CancellationToken::new();
    let (asked, watcher) = (stop.clone(), Arc::clone(&rig.watcher));
    let stopper = tokio::spawn(async move {
        // Told of progress although it is stuck inside an event.
        for _ in 0..2 {
            within("the loop turns", watcher.0.notified()).await;
        }
        asked.cancel();
    });
    let taken = within("it stops", rig.take(&many, &stop)).await;
    assert!(matches!(taken, Err(Interrupt::Stopped)), "{taken:?}");
    stopper.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_fits_nowhere_halts_an_idle_stream_at_once_and_draining_does_not_wait_for_it() {
    let mut rig =
        Rig::new(Setup { message_bytes_max: 10, oversize: Oversize::Keep, ..Setup::default() });
    let stop = CancellationToken::new();
    let halted = match within("taken", rig.take(&events("rows/mysql-9.7"), &stop)).await {
        Ok(()) => {
            let idle = rig.pipeline.idle(std::future::pending());
            within("it is noticed", idle).await.expect_err("it halts")
        }
        Err(Interrupt::Failed(error)) => error,
        Err(Interrupt::Stopped) => panic!("nobody asked"),
    };
    assert!(matches!(halted, Error::TooLarge { .. }), "{halted:?}");
    // Nothing behind it is sent, and nothing is on its way any more.
    let deadline = Instant::now() + PATIENCE * 10;
    let drained = async {
        loop {
            match rig.pipeline.drain(deadline).await {
                Ok(_) => return,
                Err(error) => assert!(matches!(error, Error::TooLarge { .. }), "{error:?}"),
            }
        }
    };
    within("it ends before its deadline", drained).await;
    assert_eq!(rig.saved.checkpoint().settled.position.offset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_the_loop_by_name_and_so_does_the_end_of_the_sink() {
    let mut rig = Rig::new(Setup::default());
    let stop = CancellationToken::new();
    within("taken", rig.take(&events("rows/mysql-9.7"), &stop)).await.expect("there is room");
    let ticket = within("a message", rig.sink.recv()).await.expect("there are messages");
    let error = MessageRejected::TooLarge { bytes: 9, limit: 5, destination: "topic".to_owned() };
    let failed = Settlement::Failed { message: Box::new(ticket.message.clone()), error };
    rig.settled.send(failed).await.expect("the loop listens");
    let (sender, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut rig.settled, sender));
    drop(rig.sink);
    let first = within("the refusal", rig.pipeline.idle(std::future::pending())).await;
    assert!(matches!(first, Err(Error::Refused { .. })), "{first:?}");
    let second = within("the end", rig.pipeline.idle(std::future::pending())).await;
    assert!(matches!(second, Err(Error::SinkEnded)), "{second:?}");
    // Halted for good, it still stands until it is told to go.
    let told = CancellationToken::new();
    let watcher = Arc::clone(&rig.watcher);
    drop(watcher);
    let asked = told.clone();
    let stopped = rig.pipeline.deliver_until(asked.cancelled());
    told.cancel();
    within("it ends when told", stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_delivered_is_saved_when_it_drains() {
    // Given messages under way, and nothing saved
    let mut rig = Rig::new(Setup::unsaved());
    let stop = CancellationToken::new();
    within("taken", rig.take(&events("rows/mysql-9.7"), &stop)).await.expect("there is room");
    let Rig { mut sink, settled, .. } = rig;
    let settling = tokio::spawn(async move {
        let mut count = 0;
        while let Some(ticket) = sink.recv().await {
            let (id, ack_group) = (ticket.message.id, ticket.message.ack_group);
            let at = Instant::now();
            if settled.send(Settlement::Settled { id, ack_group, at }).await.is_err() {
                break;
            }
            count += 1;
        }
        count
    });
    let before = rig.saved.checkpoint();
    assert_eq!((before.gtid_set.is_empty(), before.lanes.len()), (true, 0), "{before:?}");

    // When it drains
    let drained = within("it drains", rig.pipeline.drain(Instant::now() + PATIENCE)).await;
    assert!(drained.expect("nothing fails"), "all is delivered");

    // Then all of it is saved
    let (saved, tracker) = (rig.saved.checkpoint(), rig.pipeline.tracker());
    assert_eq!(saved.settled.position, tracker.committed_place().position);
    assert_eq!(saved.gtid_set, tracker.committed_gtids());
    assert!(!saved.gtid_set.is_empty() && !saved.lanes.is_empty(), "{saved:?}");
    drop(rig.pipeline);
    assert!(within("the sink ends", settling).await.expect("no panic") > 1);
}

/// The same log with a rows event that ends inside its last row.
fn damaged(fixture: &str) -> Vec<Vec<u8>> {
    let mut events = events(fixture);
    let write_rows = events.iter_mut().filter(|event| event[4] == crate::decode::kind::WRITE_ROWS);
    let event = write_rows.last().expect("rows");
    let checksum = event.split_off(event.len() - 4);
    event.pop();
    event.extend(checksum);
    let length = u32::try_from(event.len()).expect("short");
    event[9..13].copy_from_slice(&length.to_le_bytes());
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_decoded_are_put_aside_durably_and_the_stream_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let stop = CancellationToken::new();
    for (name, drops) in [("whole", None), ("withheld", Pattern::parse("*.*.*", 3))] {
        let path = folder.path().join(name);
        let quarantine = Some(Quarantine::open(&path, 1 << 20).expect("it opens"));
        let drop_columns: Vec<_> = drops.into_iter().collect();
        let has_drops = !drop_columns.is_empty();
        let setup =
            Setup { puts_undecoded_aside: true, drop_columns, quarantine, ..Setup::default() };
        let mut rig = Rig::new(setup);
        let events = damaged("rows/mysql-9.7");
        within("taken", rig.take(&events, &stop)).await.expect("the stream goes on");
        let entries: Vec<_> =
            Reader::new(&path).expect("there").collect::<Result<_, _>>().expect("whole");
        let [Entry::Undecoded(event)] = entries.as_slice() else { panic!("{entries:?}") };
        assert!(event.gtid.is_some() && event.error.contains(&event.table), "{event:?}");
        assert_eq!(event.event.is_empty(), has_drops, "no values of columns that are dropped");
        assert_eq!(rig.metrics.quarantined_events_total.get(), 1);
    }

    // The same where no row comes out of the event at all
    let mut log = events("rows/mysql-9.7");
    let is_rows = |event: &&mut Vec<u8>| event.get(4) == Some(&crate::decode::kind::WRITE_ROWS);
    let spoilt = log.iter_mut().find(is_rows).expect("rows");
    spoilt[19..].fill(0xff);
    let path = folder.path().join("another");
    let quarantine = Some(Quarantine::open(&path, 1 << 20).expect("it opens"));
    let mut rig = Rig::new(Setup { puts_undecoded_aside: true, quarantine, ..Setup::default() });
    within("taken", rig.take(&log, &stop)).await.expect("the stream goes on");
    let entries: Vec<_> =
        Reader::new(&path).expect("there").collect::<Result<_, _>>().expect("whole");
    let [Entry::Undecoded(event)] = entries.as_slice() else { panic!("{entries:?}") };
    assert!(
        event.gtid.is_some() && event.error.contains("WRITE_ROWS event: extra data"),
        "{event:?}"
    );
    let mut rig = Rig::new(Setup::default());
    let halted = within("taken", rig.take(&log, &stop)).await;
    assert!(matches!(halted, Err(Interrupt::Failed(Error::Decode(_)))), "{halted:?}");

    let mut rig = Rig::new(Setup::default());
    let halted = within("taken", rig.take(&damaged("rows/mysql-9.7"), &stop)).await;
    let Err(Interrupt::Failed(Error::Decode(error))) = halted else { panic!("{halted:?}") };
    assert!(error.table().is_some(), "{error}");
}

/// A log that begins behind an XA PREPARE and has its XA COMMIT.
fn begun_behind_a_prepare() -> Vec<Vec<u8>> {
    let log = events("xa/mysql-9.7");
    let first = |kind: u8| log.iter().position(|event| event.get(4) == Some(&kind)).expect("one");
    let format = first(crate::decode::kind::FORMAT_DESCRIPTION);
    let prepare = first(crate::decode::kind::XA_PREPARE);
    [&log[..=format], &log[prepare + 1..]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_aside_is_not_passed_by_the_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let stop = CancellationToken::new();
    let log = begun_behind_a_prepare();
    for (room, expected) in [(1 << 20, true), (1, false)] {
        let path = folder.path().join(room.to_string());
        let quarantine = Some(Quarantine::open(&path, room).expect("it opens"));
        let setup = Setup { puts_undecoded_aside: true, quarantine, ..Setup::default() };
        let mut rig = Rig::new(setup);
        let taken = within("taken", rig.take(&log, &stop)).await;
        assert_eq!(taken.is_ok(), expected, "{taken:?}");
        // Nobody settles anything here: what is finalized is what could come to be saved.
        rig.pipeline.drain(Instant::now()).await.expect("nothing fails");
        assert_eq!(rig.pipeline.tracker().ack_groups_in_flight() > 0, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_too_large_wait_for_s3_and_a_pointer_goes_to_the_topic() {
    let endpoint = aws::Endpoint::start().await;
    endpoint.shared.store().objects.insert("/claims/".to_owned(), Vec::new());
    let refusal = aws::faults::Effect::Refuse(503, "SlowDown", "slower");
    endpoint.fault("PutObject", aws::faults::When::First(2), refusal);
    let config = claim_check::Config {
        bucket: "claims".to_owned(),
        prefix: String::new(),
        endpoint_url: Some(endpoint.url()),
        deadlines: Deadlines::default(),
    };
    let shared = crate::aws::Shared::stand_in(aws::REGION).await;
    let bucket = ClaimCheck::new(config, &shared, aws::REGION).expect("it is complete");
    let mut rig = Rig::new(Setup {
        message_bytes_max: 400,
        oversize: Oversize::Keep,
        claims: Some(Claims::new(bucket, || 0)),
        ..Setup::default()
    });
    let stop = CancellationToken::new();
    within("taken", rig.take(&events("rows/mysql-9.7"), &stop)).await.expect("nothing halts");
    let mut claims = 0;
    while claims == 0 {
        tokio::select! {
            ticket = rig.sink.recv() => {
                let message = ticket.expect("the thread runs").message;
                if message.body.starts_with('[') {
                    claims += 1;
                    assert!(message.attributes.iter().any(|a| a.name == "ExtendedPayloadSize"));
                    assert!(message.attributes.len() <= 8);
                    let pointer: serde_json::Value =
                        serde_json::from_str(&message.body).expect("JSON");
                    let key = pointer[1]["s3Key"].as_str().expect("a key");
                    let body = endpoint.shared.store().objects[&format!("/claims/{key}")].clone();
                    let body = String::from_utf8(body).expect("base64");
                    crate::encode::open::content(&body).expect("the body that it would have been");
                }
            }
            turned = within("it turns", rig.pipeline.idle(std::future::pending())) => {
                turned.expect("nothing halts");
            }
        }
    }
    rig.pipeline.drain(Instant::now()).await.expect("nothing fails");
    assert!(rig.metrics.oversize_total.of("claim_checked").get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_names_leave_only_where_no_setting_speaks_of_names() {
    let stop = CancellationToken::new();
    let minimal = events("minimal/mysql-9.7");
    let mut rig = Rig::new(Setup::default());
    assert!(rig.take(&minimal, &stop).await.is_ok());
    assert_eq!(rig.pipeline.parts.flow.progress().unnamed.as_deref(), Some("d.t"));

    // Another table's columns are masked, or another column of the same.
    for (pattern, leaves) in [("d.u.a", true), ("d.t.c", false), ("*.*.password", false)] {
        let drop_columns = vec![Pattern::parse(pattern, 3).expect("a pattern")];
        let mut rig = Rig::new(Setup { drop_columns, ..Setup::default() });
        match rig.take(&minimal, &stop).await {
            Ok(()) => assert!(leaves, "{pattern}"),
            Err(Interrupt::Failed(Error::Decode(error))) => {
                assert!(!leaves, "{pattern}");
                assert_eq!(error.table(), Some("d.t"));
                assert!(error.to_string().contains("filter.drop_columns"), "{error}");
            }
            Err(other) => panic!("{pattern}: {other:?}"),
        }
    }

    // With names the masks are applied.
    let drop_columns = vec![Pattern::parse("*.*.*", 3).expect("a pattern")];
    let mut rig = Rig::new(Setup { drop_columns, ..Setup::default() });
    assert!(rig.take(&events("rows/mysql-9.7"), &stop).await.is_ok());
    assert_eq!(rig.pipeline.parts.flow.progress().unnamed, None);
}

/// A transaction of one row, and a heartbeat.
fn one_row() -> Made {
    let mut made = Made::new();
    made.begin();
    made.inserts("t", &[("1", "row")]);
    made.commit();
    made.begin();
    made.heartbeat("s", 7);
    made.commit();
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_leave_when_they_are_due_and_what_went_by_is_told_by_then() {
    let mut rig = Rig::new(Setup { pack: PackConfig::default(), ..Setup::default() });
    let stop = CancellationToken::new();
    within("taken", rig.take(&one_row().events, &stop)).await.expect("there is room");
    assert!(rig.sink.try_recv().is_none(), "it waits for company");
    let Rig { mut sink, watcher, .. } = rig;
    let message = within("it leaves", async {
        tokio::select! {
            ticket = sink.recv() => ticket.expect("the thread runs").message,
            ended = rig.pipeline.idle(std::future::pending()) => panic!("{ended:?}"),
        }
    });
    assert_eq!(message.await.rows, 1);
    let told = async {
        loop {
            watcher.0.notified().await;
            if watcher.told().spans == [7] {
                return;
            }
        }
    };
    within("told", rig.pipeline.idle(told)).await.expect("nothing halts");
    assert_eq!(watcher.told().seen.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_not_waited_for() {
    let mut rig = Rig::new(Setup {
        message_bytes_max: 10,
        oversize: Oversize::Keep,
        pack: PackConfig::default(),
        ..Setup::default()
    });
    let stop = CancellationToken::new();
    within("taken", rig.take(&one_row().events, &stop)).await.expect("there is room");
    let deadline = Instant::now() + PATIENCE * 10;
    let halted = within("it halts", rig.pipeline.drain(deadline)).await;
    assert!(matches!(halted, Err(Error::TooLarge { .. })), "{halted:?}");
    let drained = within("before its deadline", rig.pipeline.drain(deadline)).await;
    assert!(!drained.expect("nothing fails"), "the row was never sent");
    assert_eq!(rig.saved.checkpoint().gtid_set.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_stands_halted_what_is_on_its_way_is_still_delivered() {
    let mut rig = Rig::new(Setup::default());
    let stop = CancellationToken::new();
    let mut made = Made::new();
    made.begin();
    made.inserts("t", &[("1", "row"), ("2", "row"), ("3", "row")]);
    made.commit();
    within("taken", rig.take(&made.events, &stop)).await.expect("there is room");
    let Rig { mut sink, settled, metrics, .. } = rig;
    let far = async {
        for number in 0..3 {
            let message = sink.recv().await.expect("three rows").message;
            let error =
                MessageRejected::TooLarge { bytes: 9, limit: 5, destination: "t".to_owned() };
            let (id, ack_group) = (message.id, message.ack_group);
            let settlement = if number < 2 {
                Settlement::Failed { message: Box::new(message), error }
            } else {
                Settlement::Settled { id, ack_group, at: Instant::now() }
            };
            settled.send(settlement).await.expect("the loop listens");
        }
        while metrics.messages_published_total.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("delivered", rig.pipeline.deliver_until(far)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_move_places_speak_of_the_other_server() {
    let mut rig = Rig::new(Setup::default());
    let stop = CancellationToken::new();
    rig.pipeline.moved_to("first");
    let mut made = Made::new();
    made.begin();
    made.commit();
    within("taken", rig.take(&made.events, &stop)).await.expect("there is room");
    rig.pipeline.parts.flow.idle(Instant::now());
    assert!(rig.pipeline.parts.flow.progress().needed.offset > 0);
    rig.pipeline.moved_to("second");
    assert_eq!(rig.pipeline.tracker().server(), "second");
    assert_eq!(rig.pipeline.parts.flow.progress().needed, Position::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_s3_refuses_for_good_halts_as_a_row_that_fits_nowhere() {
    let endpoint = aws::Endpoint::start().await;
    let refusal = aws::faults::Effect::Refuse(400, "InvalidParameter", "no");
    endpoint.fault("PutObject", aws::faults::When::Always, refusal);
    let config = claim_check::Config {
        bucket: "claims".to_owned(),
        prefix: String::new(),
        endpoint_url: Some(endpoint.url()),
        deadlines: Deadlines::default(),
    };
    let shared = crate::aws::Shared::stand_in(aws::REGION).await;
    let bucket = ClaimCheck::new(config, &shared, aws::REGION).expect("it is complete");
    let mut rig = Rig::new(Setup {
        message_bytes_max: 10,
        oversize: Oversize::Keep,
        claims: Some(Claims::new(bucket, || 0)),
        pack: PackConfig::default(),
        ..Setup::default()
    });
    let stop = CancellationToken::new();
    within("taken", rig.take(&one_row().events, &stop)).await.expect("there is room");
    let halted = within("it halts", rig.pipeline.drain(Instant::now() + PATIENCE)).await;
    assert!(matches!(halted, Err(Error::TooLarge { .. })), "{halted:?}");
    assert!(rig.sink.try_recv().is_none());
}

/// So many transactions of a row each.
fn rows(count: usize) -> Made {
    let mut made = Made::new();
    for number in 0..count {
        made.begin();
        made.inserts("t", &[(&number.to_string(), "row")]);
        made.commit();
    }
    made
}

/// Runs the loop over a stream, with a far side that takes everything and has it stop once it has so
/// many rows; how it ended, and the rows.
async fn run(setup: Setup, made: &Made, ends: bool, enough: u32) -> (Result<Ended, Error>, u32) {
    let rig = Rig::new(setup);
    let Rig { mut pipeline, mut sink, settled, watcher, .. } = rig;
    let mut replica = replica_of(&made.events, ends).await;
    let mut decoder = decoder();
    decoder.start_at(Position::new("log.000001", 4));
    pipeline.stream_began(&Start::Gtid(GtidSet::new()));
    let (stop, mut count) = (CancellationToken::new(), 0);
    let far = async {
        while count < enough {
            let message = sink.recv().await.expect("the thread runs").message;
            count += message.rows;
            let (id, ack_group) = (message.id, message.ack_group);
            let at = Instant::now();
            settled.send(Settlement::Settled { id, ack_group, at }).await.expect("it listens");
        }
        // What went by was told by then.
        while watcher.told().spans.len() < usize::from(enough > 0) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (ended, ()) = within("it ends", async {
        tokio::join!(pipeline.run(&mut replica, &mut decoder, &stop), far)
    })
    .await;
    (ended, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_carries_what_comes_until_it_is_told_to_stop() {
    let mut made = rows(400);
    made.begin();
    made.heartbeat("s", 7);
    made.commit();
    let setup = || Setup { pack: PackConfig::default(), ..Setup::default() };
    let (ended, count) = Box::pin(run(setup(), &made, false, 400)).await;
    assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
    assert_eq!(count, 400);
    // A request to stop outranks a busy source.
    let (ended, count) = Box::pin(run(setup(), &made, false, 0)).await;
    assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
    assert_eq!(count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_stream_and_an_error_in_it_end_the_loop_by_name() {
    for is_damaged in [false, true] {
        let mut made = rows(3);
        if is_damaged {
            let last = made.events.last_mut().expect("a commit");
            last[4] = 99;
        }
        let mut rig = Rig::new(Setup::default());
        let mut replica = replica_of(&made.events, true).await;
        let mut decoder = decoder();
        decoder.start_at(Position::new("log.000001", 4));
        rig.pipeline.stream_began(&Start::Gtid(GtidSet::new()));
        let stop = CancellationToken::new();
        let ended = within("it ends", rig.pipeline.run(&mut replica, &mut decoder, &stop)).await;
        let is_told = match ended {
            Err(Error::StreamEnded) => !is_damaged,
            Err(Error::Decode(_)) => is_damaged,
            _ => false,
        };
        assert!(is_told, "{ended:?}");
    }
}

/// A server that has the table of the log without names, or none.
async fn dictionary(has_table: bool, changed_at: &'static str) -> Server {
    let texts = |row: &[Option<&str>]| -> Vec<Option<String>> {
        row.iter().map(|text| text.map(str::to_owned)).collect()
    };
    let column = move |name, declared, octets, collation, nullable, key| {
        let about = [Some("d"), Some("t"), Some(name), Some(declared), octets, collation];
        texts(&[&about[..], &[Some(nullable), Some(""), Some(key)]].concat())
    };
    Server::answering("9.7.0", move |sql| match sql {
        "SELECT @@GLOBAL.server_uuid" => answers(&[["server"]]),
        _ if sql.starts_with("SELECT COLLATION_NAME") => answers(&[["utf8mb4_0900_ai_ci", "255"]]),
        _ if sql.starts_with("SET time_zone") => Answer::Rows(Vec::new()),
        _ if sql.starts_with("SET show_gipk") => Answer::Refused,
        _ if sql.starts_with("SELECT FULL_COLLATION_NAME") => Answer::Refused,
        _ if !has_table => Answer::Rows(Vec::new()),
        _ if sql.contains("information_schema.TABLES") => answers(&[["d", "t", changed_at]]),
        _ if sql.contains("information_schema.STATISTICS") => {
            answers(&[["d", "t", "PRIMARY", "id"]])
        }
        _ => Answer::Rows(vec![
            column("id", "int unsigned", None, None, "NO", "PRI"),
            column("a", "varchar(10)", Some("40"), Some("utf8mb4_0900_ai_ci"), "YES", ""),
            column("b", "blob", Some("65535"), None, "YES", ""),
            column("c", "int", None, None, "YES", ""),
        ]),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_names_are_asked_for_where_their_rows_are_published() {
    let stop = CancellationToken::new();
    let exclude = |is_excluded: bool| {
        if is_excluded { vec![Pattern::parse("d.t", 2).expect("a pattern")] } else { Vec::new() }
    };
    // Before the log, and long behind it.
    let (before, behind) = ("1", "4000000000");
    for (has_table, changed_at, is_excluded, masks, told) in [
        (true, before, false, None, Some("agrees")),
        (false, before, false, None, Some("disagrees")),
        (true, before, true, None, None),
        (true, behind, false, None, Some("changed_since")),
        (true, before, false, Some("d.t.b"), Some("agrees")),
        // Names that may be those of other columns let out nothing that is masked.
        (true, behind, false, Some("d.t.b"), Some("disagrees")),
    ] {
        let server = dictionary(has_table, changed_at).await;
        let drop_columns = masks.into_iter().filter_map(|text| Pattern::parse(text, 3)).collect();
        let setup = Setup { exclude: exclude(is_excluded), drop_columns, ..Setup::default() };
        let mut rig = Rig::new(setup);
        rig.pipeline.ask_for_schemas(Some(Columns::new(&server.config(), 0, "server")));
        let config = DecodeConfig { asks_for_schemas: true, ..DecodeConfig::default() };
        let mut decoder = Decoder::new(config);
        decoder.start_at(Position::default());
        rig.pipeline.stream_began(&Start::Gtid(GtidSet::new()));
        let mut taken = Ok(());
        for event in events("minimal/mysql-9.7") {
            let took = rig.pipeline.take(&mut decoder, &event, Instant::now(), &stop);
            taken = within("taken", took).await;
            if taken.is_err() {
                break;
            }
        }
        let may_leave = has_table && (masks.is_none() || changed_at == before);
        assert_eq!(taken.is_ok(), may_leave, "{taken:?}");
        let asked = server.heard().iter().any(|sql| sql.contains("information_schema.COLUMNS"));
        assert_eq!(asked, !is_excluded);
        for result in ["agrees", "changed_since", "lossy", "disagrees"] {
            let count = rig.metrics.schema_lookups_total.of(result).get();
            assert_eq!(count > 0, told == Some(result), "{result}: {count}");
        }
        let unnamed = rig.pipeline.parts.flow.progress().unnamed;
        let is_unnamed = told == Some("disagrees") && masks.is_none();
        assert_eq!(unnamed.is_some(), is_unnamed, "{unnamed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_is_told_to_operators_by_the_names_of_the_server() {
    let stop = CancellationToken::new();
    for (case, held) in [(NameCase::Sensitive, 0), (NameCase::Insensitive, 1)] {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        let controls = Some(Arc::clone(&registry));
        let mut rig = Rig::new(Setup { controls, ..Setup::default() });
        rig.pipeline.compare_names(case);
        let (pattern, reason, by) = ("D.T".to_owned(), "a test".to_owned(), "nobody".to_owned());
        registry.command(&Command::Suppress { pattern, reason, by }, 1).expect("it is open");
        // What is asked goes before a look at what is due.
        let looked = within("it turns", rig.pipeline.idle(rig.watcher.0.notified())).await;
        looked.expect("it goes on");
        within("taken", rig.take(&one_row().events, &stop)).await.expect("there is room");
        let Rig { mut sink, watcher, mut pipeline, .. } = rig;
        let message = within("it leaves", async {
            tokio::select! {
                ticket = sink.recv() => ticket.expect("the thread runs").message,
                ended = pipeline.idle(std::future::pending()) => panic!("{ended:?}"),
            }
        });
        let kind = if held == 1 { Kind::Suppressed } else { Kind::Change };
        assert_eq!(message.await.kind, kind);
        let is_told = async {
            while registry.status().first().is_none_or(|control| control.rows != held) {
                watcher.0.notified().await;
            }
        };
        within("told", pipeline.idle(is_told)).await.expect("it goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_several_messages_is_delivered_with_the_last_of_them() {
    // Given rows that fit their topic only one by one
    let mut rig = Rig::new(Setup {
        message_bytes_max: 600,
        oversize: Oversize::Keep,
        pack: PackConfig::default(),
        ..Setup::default()
    });
    let text = |seed: u64| -> String {
        let mix = |round: u64| (seed * 31 + round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words: Vec<_> =
            (1..10).map(|round| format!("{:016x}", mix(round) ^ mix(round + 7) >> 29)).collect();
        words.concat()
    };
    let texts: Vec<_> = (0..8).map(text).collect();
    let pairs: Vec<_> = texts.iter().map(|text| (&text[..20], &**text)).collect();
    let mut made = Made::new();
    made.begin();
    made.inserts("t", &pairs);
    made.commit();
    let stop = CancellationToken::new();
    within("taken", rig.take(&made.events, &stop)).await.expect("there is room");
    rig.pipeline.parts.flow.flush_all();
    within("handed on", rig.pipeline.ship(&stop)).await.expect("there is room");
    let Rig { mut pipeline, mut sink, settled, metrics, .. } = rig;
    let mut messages = Vec::new();
    while messages.iter().map(|it: &crate::encode::Message| it.rows).sum::<u32>() < 8 {
        let ticket = within("a message", async {
            tokio::select! {
                ticket = sink.recv() => ticket.expect("the thread runs"),
                ended = pipeline.idle(std::future::pending()) => panic!("{ended:?}"),
            }
        });
        messages.push(ticket.await.message);
    }
    assert!(messages.len() > 1, "one message holds all");

    // When one after the other is settled, then all of it is delivered with the last
    for (count, message) in (1..).zip(&messages) {
        let (id, ack_group) = (message.id, message.ack_group);
        let settlement = Settlement::Settled { id, ack_group, at: Instant::now() };
        settled.send(settlement).await.expect("the loop listens");
        let counted = async {
            while metrics.messages_published_total.get() < count {
                tokio::task::yield_now().await;
            }
        };
        within("counted", pipeline.idle(counted)).await.expect("nothing halts");
        let is_last = count == messages.len() as u64;
        assert_eq!(pipeline.tracker().ack_groups_in_flight() == 0, is_last, "{count}");
        assert_eq!(pipeline.tracker().settled_place().position.offset > 0, is_last);
    }
}
