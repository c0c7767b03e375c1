//! What follows from transactions made by hand: ack groups, windows, marks, statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::handle_next::rig::{each_row, events, flow_of};
use super::log::decoder;
use super::made::{Made, SOURCE};
use crate::change::{GtidSet, NameCase, Position, Tag, Uuid};
use crate::encode::open::content;
use crate::encode::proto::frame::Content;
use crate::encode::{Destination, EncodedBatch, FinalizeOptions, Finalizer, Kind};
use crate::filter::{Config as FilterConfig, OutboxConfig, Pattern};
use crate::freshness::canary::path::{CanaryPath, Mark, Marks};
use crate::freshness::schema::SchemaName;
use crate::freshness::{CanaryStep, Phase, Recogniser, Seen};
use crate::pack::Config as PackConfig;
use crate::pipeline::counts::Counts;
use crate::pipeline::flow::{Flow, FlowConfig, OwnRows, SurplusRows, Window};
use crate::pipeline::{Error, Topics, encoded_queue};
use crate::sink::topic::{Destinations, Template};
use crate::source::Start;
use crate::telemetry::metrics::tests::metrics;

fn recogniser() -> Recogniser {
    Recogniser::new(SchemaName::new("binpulse").expect("a name"), "s")
}

fn flow(config: FlowConfig) -> Flow {
    flow_of(each_row(), config, FilterConfig::default(), recogniser())
}

/// Takes all events; the encoded batches that came out, those that wait at the end among them.
fn walk(flow: &mut Flow, made: &Made) -> Result<Vec<EncodedBatch>, Error> {
    walk_open(flow, made)?;
    flow.flush_all();
    Ok(flow.take_batches())
}

/// Takes all events and leaves what waits.
fn walk_open(flow: &mut Flow, made: &Made) -> Result<(), Error> {
    take(flow, &made.events, 4)
}

/// Takes events from an offset on.
fn take(flow: &mut Flow, events: &[Vec<u8>], from: u64) -> Result<(), Error> {
    let mut decoder = decoder();
    decoder.start_at(Position::new("log.000001", from));
    for event in events {
        flow.event(event);
        let mut steps = decoder.feed(event).expect("whole");
        while let Some(step) = steps.next().expect("whole") {
            flow.step(step, Instant::now())?;
        }
    }
    Ok(())
}

/// What rows say, by what happened to them; canaries and statements in their words.
fn texts(batches: &[EncodedBatch]) -> Vec<String> {
    let origin = super::origin();
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: usize::MAX };
    let mut finalizer =
        Finalizer::new(FinalizeOptions { zstd_level: 0 }).expect("no compressor is needed");
    let mut texts = Vec::new();
    for encoded in batches {
        match content(&finalizer.finalize(encoded, &origin, &topic).body).expect("our own") {
            Content::Batch(batch) => texts.extend(batch.rows.iter().map(|row| {
                let op = ["insert", "update", "delete"][usize::try_from(row.op - 1).expect("one")];
                let image = row.after.as_ref().or(row.before.as_ref()).expect("an image");
                let values = image.values.iter().filter_map(|value| match &value.kind {
                    Some(crate::encode::proto::value::Kind::Text(text)) => Some(text.as_str()),
                    _ => None,
                });
                format!("{op} {}", values.collect::<Vec<_>>().join(" "))
            })),
            Content::Canary(canary) => {
                texts.push(format!("canary {} {} of {}", canary.path, canary.number, canary.phase));
            }
            Content::SchemaChange(change) => texts.push(change.statement),
            other @ (Content::Payload(_)
            | Content::Heartbeat(_)
            | Content::ClaimCheck(_)
            | Content::SnapshotPart(_)
            | Content::SnapshotMark(_)
            | Content::Suppressed(_)
            | Content::TransactionEnd(_)) => panic!("nobody made {other:?}"),
        }
    }
    texts
}

#[test]
fn units_end_before_large_transactions_behind_heartbeats_and_after_many() {
    // In KiB: what says that it is more than a mebibyte begins an ack group.
    for (length, ack_groups) in [(1024, 0), (1025, 1)] {
        let (mut made, mut flow) = (Made::new(), flow(FlowConfig::default()));
        made.begin();
        made.commit();
        made.gtid(length);
        made.query("BEGIN");
        walk_open(&mut flow, &made).expect("nothing is lost");
        assert_eq!(flow.tracker().ack_group(), ack_groups, "{length}");
    }
    let (mut made, mut flow) = (Made::new(), self::flow(FlowConfig::default()));
    for _ in 0..255 {
        made.begin();
        made.commit();
    }
    walk_open(&mut flow, &made).expect("nothing is lost");
    assert_eq!((flow.tracker().ack_group(), flow.tracker().open_transactions()), (0, 255));
    let mut next = Made::new();
    next.begin();
    next.commit();
    walk_open(&mut flow, &next).expect("nothing is lost");
    assert_eq!((flow.tracker().ack_group(), flow.tracker().open_transactions()), (1, 0));
    let mut next = Made::new();
    next.begin();
    next.heartbeat("s", 7);
    next.commit();
    walk_open(&mut flow, &next).expect("nothing is lost");
    assert_eq!((flow.tracker().ack_group(), flow.tracker().settled_heartbeat()), (2, Some(7)));
}

#[test]
fn rows_wait_for_company_as_long_as_the_load_makes_it_worth_and_leave_as_an_ack_group() {
    let linger = PackConfig::default().linger_max;
    for is_backed_up in [false, true] {
        let (config, filter) = (FlowConfig::default(), FilterConfig::default());
        let mut flow = flow_of(PackConfig::default(), config, filter, recogniser());
        walk_open(&mut flow, &four()).expect("nothing is lost");
        flow.packer_mut().observe_backlog(usize::from(is_backed_up), 1);
        let opened = flow
            .due()
            .expect("rows wait")
            .checked_sub(flow.packer_mut().linger())
            .expect("it is later than that");
        if is_backed_up {
            assert_eq!(flow.due(), Some(opened + linger), "waiting costs nothing");
            flow.flush_due(
                (opened + linger)
                    .checked_sub(Duration::from_nanos(1))
                    .expect("it is later than that"),
            );
            assert!(flow.take_batches().is_empty(), "not yet");
            flow.flush_due(opened + linger);
        } else {
            // Nothing more is at hand.
            flow.idle(opened);
        }
        assert_eq!(flow.take_batches().len(), 1);
        assert_eq!(flow.due(), None);
        assert_eq!(flow.tracker().ack_group(), 1);
    }
}

#[test]
fn a_hole_right_behind_the_place_where_a_dump_began_is_in_the_span() {
    // Without GTIDs, and a description of the format that is not of this place.
    let mut made = Made::new();
    made.events[0][13..17].fill(0);
    let front = u64::from(made.end);
    made.query("BEGIN");
    made.inserts("t", &[("1", "row")]);
    made.commit();
    let first = made.events.len();
    made.query("BEGIN");
    made.heartbeat("s", 7);
    made.commit();
    for is_lost in [false, true] {
        let events = if is_lost {
            [&made.events[..1], &made.events[first..]].concat()
        } else {
            made.events.clone()
        };
        let mut flow = flow(FlowConfig::default());
        let place = Position::new("log.000001", front);
        flow.tracker_mut().reached(&place, None);
        flow.stream_began(&Start::Position(place));
        take(&mut flow, &events, front).expect("nothing is lost");
        let [span] = &flow.take_spans()[..] else { panic!("a heartbeat went by") };
        assert_eq!(span.gaps.len(), usize::from(is_lost), "{:?}", span.gaps);
    }
}

#[test]
fn a_stretch_ends_with_the_last_row_that_is_too_many() {
    let surplus = Arc::new(SurplusRows::of([(Arc::from("d.t#0"), 2)].into()));
    let config = FlowConfig { surplus_rows: Some(surplus), ..FlowConfig::default() };
    let mut flow = flow(config);
    let found = walk(&mut flow, &four()).expect("nothing is lost");
    assert_eq!(texts(&found), ["insert 1 row", "insert 2 row"]);
    assert!(flow.is_over());
}

#[test]
fn names_are_compared_as_the_server_does() {
    let mut made = Made::new();
    made.begin();
    made.inserts("Audit", &[("1", "row")]);
    made.commit();
    let exclude = || vec![Pattern::parse("d.audit", 2).expect("a pattern")];
    for (case, rows) in [(NameCase::Sensitive, 1), (NameCase::Insensitive, 0)] {
        let filter = FilterConfig { exclude: exclude(), ..FilterConfig::default() };
        let mut flow = flow_of(each_row(), FlowConfig::default(), filter, recogniser());
        flow.compare_names(case);
        assert_eq!(walk(&mut flow, &made).expect("nothing is lost").len(), rows, "{case:?}");
    }
}

#[test]
fn rows_without_names_of_a_table_with_marks_do_not_leave() {
    let path = |table: &str| CanaryPath {
        name: "orders".into(),
        database: "d".to_owned(),
        table: table.to_owned(),
        column: "b".to_owned(),
        steps: None,
    };
    for (table, leaves) in [("t", false), ("u", true)] {
        let marks = Marks::new(Mark::new("m", "s"), vec![path(table)]);
        let (config, filter) = (FlowConfig::default(), FilterConfig::default());
        let mut flow = flow_of(each_row(), config, filter, recogniser().with_marks(marks));
        let taken = take(&mut flow, &events("minimal/mysql-9.7"), 4);
        assert_eq!(taken.is_ok(), leaves, "{taken:?}");
        flow.flush_all();
        assert_eq!(flow.take_batches().is_empty(), !leaves, "{table}");
    }
}

/// Four transactions of a row each, and what else a transaction may have.
fn four() -> Made {
    let mut made = Made::new();
    for key in ["1", "2", "3", "4"] {
        made.begin();
        made.inserts("t", &[(key, "row")]);
        made.commit();
    }
    made
}

#[test]
fn a_window_takes_what_lies_in_it_and_what_came_before_its_end_is_whole() {
    let at = Made::committed_at_us;
    let from = |since_us| Window::from(Some(since_us), None);
    let limited = |until: Option<u64>, until_us| {
        let mut window = Window::default();
        window.until = until.map(|offset| Position::new("log.000001", offset));
        window.until_us = until_us;
        window
    };
    let until = |until_us| limited(None, Some(until_us));
    for (window, expected, is_over) in [
        (
            Window::default(),
            &["insert 1 row", "insert 2 row", "insert 3 row", "insert 4 row"][..],
            false,
        ),
        (from(at(3)), &["insert 3 row", "insert 4 row"], false),
        (from(at(5)), &[], false),
        (until(at(3)), &["insert 1 row", "insert 2 row"], true),
        (until(at(5)), &["insert 1 row", "insert 2 row", "insert 3 row", "insert 4 row"], false),
        (limited(Some(5), None), &[], true),
        (
            limited(Some(u64::from(four().end)), None),
            &["insert 1 row", "insert 2 row", "insert 3 row", "insert 4 row"],
            true,
        ),
    ] {
        let mut flow = flow(FlowConfig { window: window.clone(), ..FlowConfig::default() });
        let found = walk(&mut flow, &four()).expect("nothing is lost");
        assert_eq!(texts(&found), expected, "{window:?}");
        assert_eq!(flow.is_over(), is_over, "{window:?}");
    }
    // Behind the end nothing holds up what came before.
    let mut flow = flow(FlowConfig { window: until(at(3)), ..FlowConfig::default() });
    walk_open(&mut flow, &four()).expect("nothing is lost");
    assert!(flow.tracker().ack_group() > 0);
    let metrics = metrics();
    flow.tell(&metrics);
    assert_eq!(metrics.transactions_total.of("user").get(), 2);
    assert_eq!(metrics.transactions_total.of("filtered").get(), 2);
}

#[test]
fn marked_rows_are_canaries_and_consumers_get_the_table_without_them() {
    let path = CanaryPath {
        name: "orders".into(),
        database: "d".to_owned(),
        table: "t".to_owned(),
        column: "b".to_owned(),
        steps: None,
    };
    let marks = || Marks::new(Mark::new("m", "s"), vec![path.clone()]);
    let mut made = Made::new();
    // A row of each kind; which of them make a transaction the users'.
    made.begin();
    made.inserts("t", &[("1", "m.s.7")]);
    made.commit();
    made.begin();
    made.inserts("t", &[("2", "m.other.7"), ("3", "plain")]);
    made.deletes("t", &[("1", "m.s.7")]);
    made.commit();
    made.begin();
    made.update("t", ("4", "plain"), ("4", "m.s.8"));
    made.update("t", ("5", "m.s.8"), ("5", "plain"));
    made.commit();
    made.begin();
    made.inserts("t", &[("6", "m.other.9")]);
    made.commit();
    let marked = || recogniser().with_marks(marks());
    let mut flow = flow_of(each_row(), FlowConfig::default(), FilterConfig::default(), marked());
    let batches = walk(&mut flow, &made).expect("nothing is lost");
    let mut found = texts(&batches);
    found.sort();
    let expected = [
        "canary orders 7 of 1",
        "canary orders 7 of 3",
        "delete 4 plain",
        "insert 3 plain",
        "insert 5 plain",
    ];
    assert_eq!(found, expected);
    let steps = flow.take_seen().into_iter().map(|seen| match seen {
        Seen::CanaryPath(row) => row.step,
        other @ (Seen::Heartbeat(_) | Seen::Canary(_) | Seen::Lease | Seen::Own) => {
            panic!("{other:?}")
        }
    });
    let step = |phase| CanaryStep { path: Some("orders".into()), number: 7, phase };
    assert_eq!(steps.collect::<Vec<_>>(), [step(Phase::Insert), step(Phase::Delete)]);
    let told = metrics();
    flow.tell(&told);
    let classes =
        ["user", "canary", "filtered"].map(|class| told.transactions_total.of(class).get());
    assert_eq!(classes, [2, 1, 1]);

    // Of another time they tell nothing.
    let config = FlowConfig { own_rows: OwnRows::LeftOut, ..FlowConfig::default() };
    let mut flow = flow_of(each_row(), config, FilterConfig::default(), marked());
    made.begin();
    made.heartbeat("s", 3);
    made.canary(4);
    made.commit();
    let batches = walk(&mut flow, &made).expect("nothing is lost");
    assert!(batches.iter().all(|encoded| encoded.kind() == Kind::Change));
    assert_eq!(batches.len(), 3);
    assert!(flow.take_seen().is_empty() && flow.take_spans().is_empty());
}

#[test]
fn statements_leave_behind_the_rows_before_them_where_they_are_wanted() {
    let mut made = Made::new();
    made.begin();
    made.inserts("t", &[("1", "row")]);
    made.commit();
    made.statement("CREATE TABLE n (a INT)");
    made.begin();
    made.inserts("t", &[("2", "row")]);
    made.commit();
    for (schema_changes, expected) in [
        (true, &["insert 1 row", "CREATE TABLE n (a INT)", "insert 2 row"][..]),
        (false, &["insert 1 row", "insert 2 row"]),
    ] {
        let mut flow = flow(FlowConfig { schema_changes, ..FlowConfig::default() });
        let found = walk(&mut flow, &made).expect("nothing is lost");
        assert_eq!(texts(&found), expected);
        assert_eq!(flow.tracker().ack_groups_in_flight(), 1);
    }
}

#[test]
fn a_statement_that_changed_rows_passes_only_if_none_of_them_is_published() {
    let exclude = || vec![Pattern::parse("d.audit", 2).expect("a pattern")];
    let filter = || FilterConfig { exclude: exclude(), ..FilterConfig::default() };
    let log = |before: &[&str], statement: &str| {
        let mut made = Made::new();
        for before in before {
            made.statement(before);
        }
        made.begin();
        made.query(statement);
        made.commit();
        made
    };
    let trigger = "CREATE TRIGGER g AFTER INSERT ON audit FOR EACH ROW INSERT INTO t VALUES (1, 2)";
    for (before, statement, passes) in [
        (&[][..], "INSERT INTO audit VALUES (1)", true),
        (&[], "INSERT INTO t VALUES (1)", false),
        (&[], "UPDATE audit, t SET audit.a = 1", false),
        (&[], "DELETE FROM binpulse.heartbeat", false),
        (&[trigger], "INSERT INTO audit VALUES (1)", false),
        (&["CREATE VIEW audit AS SELECT * FROM t"], "DELETE FROM audit", false),
        (&["CREATE VIEW v AS SELECT * FROM t"], "DELETE FROM audit", true),
    ] {
        let made = log(before, statement);
        let mut flow = flow_of(each_row(), FlowConfig::default(), filter(), recogniser());
        let walked = walk(&mut flow, &made);
        assert_eq!(walked.is_ok(), passes, "{statement}: {walked:?}");
        let told = metrics();
        flow.tell(&told);
        assert_eq!(told.passed_statements_total.get(), u64::from(passes), "{statement}");

        // Put aside by the operator's policy, it is kept as it was.
        let config = FlowConfig { puts_undecoded_aside: true, ..FlowConfig::default() };
        let mut flow = flow_of(each_row(), config, filter(), recogniser());
        walk(&mut flow, &made).expect("it is kept");
        let kept = flow.take_undecoded();
        assert_eq!(kept.len(), usize::from(!passes), "{statement}");
        assert!(kept.iter().all(|event| !event.event.is_empty() && event.gtid.is_some()));
    }
}

#[test]
fn what_lies_before_the_front_of_a_file_counts_as_delivered() {
    let mut before = GtidSet::new();
    before.insert_range(Uuid(SOURCE), Tag::default(), 1..8);
    for (begins_by_position, expected) in [(true, 7), (false, 0)] {
        let mut flow = flow(FlowConfig { begins_by_position, ..FlowConfig::default() });
        let mut made = Made::new();
        made.previous_gtids(&before);
        walk_open(&mut flow, &made).expect("nothing is lost");
        assert_eq!(flow.tracker().settled_gtids().count(), expected);
        // That of a later file holds what went by itself.
        let mut later = Made::new();
        later.begin();
        later.commit();
        let mut all = GtidSet::new();
        all.insert_range(Uuid([9; 16]), Tag::default(), 1..100);
        later.previous_gtids(&all);
        walk_open(&mut flow, &later).expect("nothing is lost");
        assert!(flow.tracker().committed_gtids().count() <= expected + 1);
    }
}

#[test]
fn updates_that_leave_the_order_of_their_lanes_are_counted() {
    let mut made = Made::new();
    made.begin();
    for key in 0..20 {
        made.moves("t", &key.to_string(), &(key + 100).to_string());
    }
    made.commit();
    for (lanes, are_some) in [(1, false), (16, true)] {
        let pack = PackConfig { lanes, ..each_row() };
        let (config, filter) = (FlowConfig::default(), FilterConfig::default());
        let mut flow = flow_of(pack, config, filter, recogniser());
        walk(&mut flow, &made).expect("nothing is lost");
        let told = metrics();
        flow.tell(&told);
        assert_eq!(told.unordered_updates_total.get(), flow.packer_mut().unordered());
        assert_eq!(flow.packer_mut().unordered() > 0, are_some, "{lanes} lanes");
    }
}

#[test]
fn counts_are_told_once_and_updates_by_what_was_not_told() {
    let (mut counts, told) = (Counts::default(), metrics());
    for (since_start, all) in [(3, 3), (3, 3), (10, 10)] {
        counts.unordered(since_start);
        counts.passed_statement();
        counts.tell(&told);
        assert_eq!(told.unordered_updates_total.get(), all);
    }
    counts.tell(&told);
    assert_eq!(told.passed_statements_total.get(), 3);
}

#[test]
fn changes_and_canaries_of_a_path_go_to_their_tables_topic_and_all_else_to_one() {
    let arn = |name: &str| format!("arn:aws:sns:eu-west-1:000000000000:{name}");
    let known =
        |bytes| Destination { arn: arn("known").into(), fifo: true, message_bytes_max: bytes };
    let mut topics = Topics {
        tables: Destinations::new(Template::parse(&arn("{database}-{table}")).expect("an ARN")),
        control_messages: arn("notices.fifo").into(),
        outbox: None,
        known: std::collections::HashMap::new(),
        message_bytes_max: 1234,
    };
    assert_eq!(topics.common_bytes_max(), 1234);
    topics.known.insert(arn("d-t").into(), known(99));
    topics.known.insert(arn("other").into(), known(55));
    assert_eq!(topics.common_bytes_max(), 55);

    let path = CanaryPath {
        name: "orders".into(),
        database: "d".to_owned(),
        table: "u".to_owned(),
        column: "b".to_owned(),
        steps: None,
    };
    let marked = recogniser().with_marks(Marks::new(Mark::new("m", "s"), vec![path]));
    let mut made = Made::new();
    made.begin();
    made.inserts("t", &[("1", "row")]);
    made.inserts("u", &[("1", "m.s.7")]);
    made.canary(3);
    made.commit();
    made.statement("CREATE TABLE n (a INT)");
    let config = FlowConfig { schema_changes: true, ..FlowConfig::default() };
    let mut flow = flow_of(each_row(), config, FilterConfig::default(), marked);
    let batches = walk(&mut flow, &made).expect("nothing is lost");
    let mut found: Vec<_> = batches
        .iter()
        .map(|encoded| {
            let to = topics.of(encoded);
            (
                encoded.kind().as_str(),
                to.arn.rsplit(':').next().expect("a name").to_owned(),
                to.fifo,
                to.message_bytes_max,
            )
        })
        .collect();
    found.sort();
    let of = |kind, arn: &str, fifo, bytes| (kind, arn.to_owned(), fifo, bytes);
    let mut expected = [
        of(Kind::Canary.as_str(), "d-u", false, 1234),
        of(Kind::Canary.as_str(), "notices.fifo", true, 1234),
        of(Kind::Change.as_str(), "known", true, 99),
        of(Kind::Schema.as_str(), "notices.fifo", true, 1234),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_way_to_the_finalizing_thread_is_bounded_in_batches_and_in_bytes() {
    const MIB: usize = 1 << 20;
    let waits = async |feed: &crate::pipeline::encoded_queue::EncodedFeed, bytes| {
        tokio::time::timeout(Duration::from_millis(20), feed.room(bytes)).await.is_err()
    };
    let (feed, intake) = encoded_queue();
    let half = feed.room(8 * MIB).await.expect("there is room");
    let other = feed.room(8 * MIB).await.expect("there is room");
    assert!(waits(&feed, 1).await, "16 MiB are on the way");
    drop(half);
    assert!(waits(&feed, 8 * MIB + 1).await);
    drop(other);
    let large = feed.room(usize::MAX).await.expect("it passes alone");
    assert!(waits(&feed, 0).await);
    drop(large);
    let mut rooms = Vec::new();
    for _ in 0..16 {
        rooms.push(feed.room(0).await.expect("there is room"));
    }
    assert!(waits(&feed, 0).await, "so many batches are on the way");
    drop(rooms);
    assert!(!intake.is_closed());
    drop(intake);
    assert!(feed.room(1).await.is_none(), "the thread has ended");
    let (feed, intake) = encoded_queue();
    drop(feed);
    assert!(intake.is_closed());
}

proptest! {
    /// Inserts of an outbox are messages, deletes are counted, and an update is counted or ends the stream.
    #[test]
    fn inserts_of_an_outbox_are_messages_and_an_update_is_counted_or_ends_the_stream(
        ops in prop::collection::vec(0_u32..3, 1..12),
        halts_on_update: bool,
    ) {
        let mut made = Made::new();
        for (number, op) in (0..).zip(&ops) {
            let key = format!("{number}");
            made.begin();
            match op {
                0 => made.inserts("o", &[(&key, "body")]),
                1 => made.deletes("o", &[(&key, "body")]),
                _ => made.update("o", (&key, "body"), (&key, "other")),
            }
            made.commit();
        }
        let outbox = OutboxConfig {
            tables: vec![Pattern::parse("d.o", 2).expect("a pattern")],
            id: "a".to_owned(),
            aggregate_id: "a".to_owned(),
            payload: "b".to_owned(),
            halts_on_update,
            ..OutboxConfig::default()
        };
        let filter = FilterConfig { outbox: Arc::new(outbox), ..FilterConfig::default() };
        let mut flow = flow_of(each_row(), FlowConfig::default(), filter, recogniser());
        let taken = walk_open(&mut flow, &made);
        let done = ops.iter().position(|op| halts_on_update && *op == 2);
        prop_assert_eq!(taken.is_err(), done.is_some());
        let done = &ops[..done.unwrap_or(ops.len())];
        let count = |wanted| done.iter().filter(|op| **op == wanted).count();
        flow.flush_all();
        prop_assert_eq!(flow.take_batches().len(), count(0));
        let metrics = metrics();
        flow.tell(&metrics);
        let ignored = |op| usize::try_from(metrics.outbox_ignored_rows_total.of(op).get());
        prop_assert_eq!((ignored("delete"), ignored("update")), (Ok(count(1)), Ok(count(2))));
    }
}

#[test]
fn how_much_of_a_transaction_has_come_grows_with_each_of_its_events() {
    let mut made = Made::new();
    made.begin();
    let first = made.events.len();
    for number in 0..5 {
        made.inserts("t", &[(&format!("{number}"), "row")]);
    }
    let last = made.events.len();
    made.commit();
    let come = |count: usize| {
        let mut flow = flow(FlowConfig::default());
        take(&mut flow, &made.events[..count], 4).expect("nothing is lost");
        flow.progress().transaction_bytes
    };
    for count in first..last {
        let grown = come(count + 1) - come(count);
        assert_eq!(grown, made.events[count].len() as u64, "{count}");
    }
    assert_eq!((come(1), come(last + 1)), (0, 0), "outside of it");
}

#[test]
fn statements_that_may_carry_passwords_do_not_leave() {
    let config = || FlowConfig { schema_changes: true, ..FlowConfig::default() };
    for (statement, leaves) in [
        ("CREATE TABLE n (a INT)", true),
        ("CREATE USER u IDENTIFIED BY 'secret'", false),
        ("SET PASSWORD FOR u = 'secret'", false),
        ("GRANT SELECT ON *.* TO u IDENTIFIED BY 'secret'", false),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO ALTER USER u IDENTIFIED BY 'secret'", false),
        ("CREATE PROCEDURE p() ALTER USER u IDENTIFIED BY 'secret'", false),
    ] {
        let (mut made, mut flow) = (Made::new(), flow(config()));
        made.statement(statement);
        let found = texts(&walk(&mut flow, &made).expect("nothing is lost"));
        assert_eq!(found, if leaves { vec![statement] } else { Vec::new() });
    }
}
