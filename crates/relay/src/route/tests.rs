//! What becomes of rows between their release and their requests: filters, shares, and changed keys.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use binpulse_client::proto;
use binpulse_core::encode::formats::FormatOptions;
use binpulse_core::encode::opened::OpenedRows;
use binpulse_core::encode::testing::{Owned, OwnedChange, absent, table, text, transaction};
use binpulse_core::encode::{
    Batch, BeforeImage, Destination, FinalizeOptions, Finalizer, Format, Lane, LaneId, Origin,
    RowOptions, open,
};
use prometheus::IntCounter;

use super::delivery::{Task, What};
use super::lane::{self, Content, LaneState};
use super::parking::parked;
use super::{Config, Filter, GapPolicy, delivery};
use crate::body::{Bodies, RowRef};
use crate::lane::LaneKey;
use crate::lanes::requests::Run;
use crate::lanes::{Order, Share};
use crate::state::{LaneRecord, Reason};
use crate::target::receiver::Receive;
use crate::target::{Outcome, Request};

/// Rows of a table with the columns `c0` (its key), `c1` and `c2`, numbered from 1.
fn opened(changes: &[OwnedChange], before_image: BeforeImage) -> Arc<OpenedRows> {
    opened_from(1, changes, before_image)
}

/// The same, numbered from `first`.
fn opened_from(first: u64, changes: &[OwnedChange], before_image: BeforeImage) -> Arc<OpenedRows> {
    let options = RowOptions { before_image, ..RowOptions::default() };
    let mut batch = Batch::new(Format::Protobuf, options, table("orders", 3));
    for change in changes {
        batch.push(1, &transaction(1), &change.change());
    }
    let lane = Lane { id: LaneId(0), key: "shop.orders#0".into(), number: 0, count: 1 };
    let batch = batch.take(lane, first).expect("rows");
    let origin = Origin {
        stream: "prod".into(),
        server_uuid: String::from("u-u"),
        server_id: 7,
        epoch: 3,
        connector_version: "0.1.0",
        snapshot: false,
        replay: None,
    };
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 1 << 30 };
    let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    let body = finalizer.finalize(&batch, &origin, &topic).body;
    let Ok(proto::frame::Content::Batch(batch)) = open::content(&body) else { panic!("a batch") };
    Arc::new(OpenedRows::new(batch, |_| None).expect("it was written here"))
}

pub(super) fn config(format: FormatOptions) -> Config {
    let second = Duration::from_secs(1);
    Config {
        name: "r".to_owned(),
        owner: "o".to_owned(),
        order: Order::Key,
        rows_max: 1,
        request_bytes_max: 1 << 20,
        concurrency: 1,
        waits: binpulse_client::ledger::Waits {
            first: second,
            first_proven: second,
            gap: second,
            proven: second,
            proven_end: second,
        },
        gap: GapPolicy::Halt,
        retry: crate::target::retry::Retry::default(),
        buffer_bytes: 1 << 20,
        buffer_rows: 1_000,
        pollers: 1,
        visibility: second,
        has_snapshots: false,
        sends_canaries: false,
        format,
        filter: Filter::all(),
        is_alone: true,
        share: Share::ALL,
        open: crate::open::Limits { content_bytes_max: 1 << 20, object_bytes_max: 1 << 20 },
    }
}

fn bodies(config: &Config) -> Bodies {
    let lossy = IntCounter::new("lossy", "of a test").expect("a counter");
    Bodies::new(config.format.clone(), config.rows_max, lossy)
}

/// A lane that has these rows, with what it left out.
fn released(config: &Config, rows: &Arc<OpenedRows>) -> (LaneState, lane::LeftOut) {
    let record = LaneRecord { next: 1, ..LaneRecord::default() };
    let mut state = LaneState::new(1, &record, config, Duration::ZERO);
    let content = Content { message: 1, rows: Arc::clone(rows), read: None, first: 1 };
    state.offer(content, Duration::ZERO);
    let left_out = state.release(config, &bodies(config), Duration::ZERO);
    (state, left_out)
}

/// All requests of it, each answered at once.
fn runs(state: &mut LaneState) -> Vec<Run<RowRef>> {
    let mut runs = Vec::new();
    while let Some(run) = state.requests.take() {
        state.requests.delivered(run.number);
        runs.push(run);
    }
    runs
}

fn update(before: [&str; 3], after: [&str; 3]) -> OwnedChange {
    OwnedChange::update(0, &before.map(text), &after.map(text))
}

#[test]
fn rows_that_come_after_their_lane_had_begun_behind_them_are_parked_one_by_one() {
    let config = config(FormatOptions::Binpulse);
    let insert = |key: &str| OwnedChange::insert(0, &[key, "b", "c"].map(text));
    let content = |first, keys: &[&str]| {
        let changes: Vec<_> = keys.iter().map(|key| insert(key)).collect();
        let rows = opened_from(first, &changes, BeforeImage::Full);
        Content { message: first, rows, read: None, first }
    };
    let lane = LaneKey { stream: "prod".into(), epoch: 3, lane: "shop.orders#0".into() };
    let mut state = LaneState::new(1, &LaneRecord::default(), &config, Duration::ZERO);
    state.offer(content(4, &["d", "e"]), Duration::ZERO);
    state.begins(&lane);
    assert!(state.late(&config, &content(1, &["a"])).is_empty(), "it may begin with them");
    assert_eq!(state.order.missing(config.waits.first), None);
    state.begins(&lane);
    state.release(&config, &bodies(&config), config.waits.first);
    assert_eq!(runs(&mut state).iter().map(|run| run.last).collect::<Vec<_>>(), [4, 5]);

    // Those before the beginning, also where their message has rows behind it
    let overtaken = content(2, &["b", "c", "d", "e"]);
    let mut parked_rows = Vec::new();
    for run in state.late(&config, &overtaken) {
        let what = What::Rows { lane: lane.clone(), run };
        let mut task = Task { what, attempts: 0, request: None };
        parked_rows.extend(parked(&mut task, &bodies(&config), Reason::Late, 0, "late"));
    }
    let numbers: Vec<_> = parked_rows.iter().map(|row| (row.first, row.last)).collect();
    assert_eq!(numbers, [(2, 2), (3, 3)]);
    assert_ne!(parked_rows[0].keys, parked_rows[1].keys);
    assert!(parked_rows.iter().all(|row| row.keys.len() == 1 && row.reason == Reason::Late));

    // Also after a restart
    let record = state.requests.record();
    let again = LaneState::new(1, &record, &config, Duration::ZERO);
    assert_eq!(again.late(&config, &overtaken).len(), 2);

    // And of a lane that began with its first row there are none
    let (state, _) = released(&config, &opened(&[insert("a")], BeforeImage::Full));
    assert!(state.late(&config, &content(1, &["a"])).is_empty());
}

#[test]
fn updates_of_nothing_but_columns_that_do_not_count_are_left_out_and_counted() {
    let changes = [
        OwnedChange::insert(0, &["a", "b", "c"].map(text)),
        update(["a", "b", "c"], ["a", "b", "x"]),
        update(["a", "b", "c"], ["a", "x", "c"]),
        update(["a", "b", "c"], ["a", "x", "x"]),
        update(["a", "b", "c"], ["x", "b", "x"]),
        OwnedChange::delete(0, &["a", "b", "c"].map(text)),
    ];
    let mut config = config(FormatOptions::Binpulse);
    config.filter.unless_only = vec!["C2".to_owned()];
    for before_image in [BeforeImage::Full, BeforeImage::Changed] {
        let (mut state, left_out) = released(&config, &opened(&changes, before_image));
        let numbers: Vec<_> = runs(&mut state).iter().map(|run| run.last).collect();
        assert_eq!(numbers, [1, 3, 4, 5, 6], "{before_image:?}");
        assert_eq!((left_out.filtered, left_out.shadow), (1, 0));
        assert_eq!(state.requests.next(), 7, "what is left out is dealt with");
    }
    // Where the images do not tell, nothing is left out.
    let (mut state, _) = released(&config, &opened(&changes, BeforeImage::Key));
    assert_eq!(runs(&mut state).len(), changes.len());
    // Minimal images: the key before, and after it what has changed.
    let minimal =
        |after: [Owned; 3]| OwnedChange::update(0, &[text("a"), absent(), absent()], &after);
    let changes =
        [minimal([absent(), absent(), text("x")]), minimal([absent(), text("x"), absent()])];
    for before_image in [BeforeImage::Full, BeforeImage::Changed, BeforeImage::Key] {
        let (mut state, _) = released(&config, &opened(&changes, before_image));
        let numbers: Vec<_> = runs(&mut state).iter().map(|run| run.last).collect();
        assert_eq!(numbers, [2], "{before_image:?}");
    }
}

#[test]
fn relays_with_the_parts_of_a_whole_deliver_each_row_once_and_make_the_same_of_all() {
    let change = |number: u64| {
        let key = format!("k{}", number % 500);
        OwnedChange::insert(number, &[text(&key), text("a"), text("b")])
    };
    let rows = opened(&(0..2_000).map(change).collect::<Vec<_>>(), BeforeImage::Full);
    let mut numbers = Vec::new();
    let mut told = Vec::new();
    for share in ["0.1", "0.1-1"] {
        let mut config = config(FormatOptions::of_name("maxwell").expect("a format"));
        config.share = Share::parse(share).expect("a share");
        let (mut state, left_out) = released(&config, &rows);
        let own: Vec<_> = runs(&mut state).iter().map(|run| run.last).collect();
        assert_eq!(own.len() as u64 + left_out.shadow, 2_000);
        assert!(!own.is_empty() && left_out.shadow > 0);
        let keys: HashSet<_> = own.iter().map(|number| (number - 1) % 500).collect();
        assert_eq!(keys.len() * 4, own.len(), "all rows of a key are in one share");
        assert_eq!(state.requests.next(), 2_001);
        numbers.extend(own);
        told.push(state.blocks.of("lane").collect::<Vec<_>>());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=2_000).collect::<Vec<_>>());
    assert_eq!(told[0].len(), 2);
    assert_eq!(told[0], told[1]);
    // Another format, other documents.
    let mut config = config(FormatOptions::Binpulse);
    config.share = Share::parse("0.5").expect("a share");
    let (state, _) = released(&config, &rows);
    assert_ne!(state.blocks.of("lane").collect::<Vec<_>>(), told[0]);
}

#[test]
fn a_second_message_can_be_given_back_and_is_deleted_only_when_its_rows_are_dealt_with() {
    let rows = opened(&[OwnedChange::insert(0, &["a", "b", "c"].map(text))], BeforeImage::Full);
    let config = config(FormatOptions::Binpulse);
    let (mut state, _) = released(&config, &rows);
    let again = |state: &mut LaneState, message| {
        let content = Content { message, rows: Arc::clone(&rows), read: None, first: 1 };
        state.offer(content, Duration::ZERO);
        state.release(&config, &bodies(&config), Duration::ZERO);
    };
    again(&mut state, 2);
    let run = state.requests.take().expect("a request");
    assert!(state.finished().is_empty(), "it is under way");
    // Of the first message rows are under way; the second holds nothing that is not there twice.
    assert_eq!((state.drop_one(), state.drop_one()), (Some(2), None));
    again(&mut state, 3);
    state.requests.delivered(run.number);
    assert_eq!(state.finished(), [1, 3]);
    assert_eq!(state.into_messages(), Vec::<u64>::new());
}

fn debezium(rows_max: usize) -> (Config, Run<RowRef>, Bodies) {
    let options = FormatOptions::of_name("debezium").expect("a format");
    let config = Config { rows_max, ..config(options) };
    let rows = opened(&[update(["a", "b", "c"], ["z", "b", "c"])], BeforeImage::Full);
    let (mut state, _) = released(&config, &rows);
    let run = state.requests.take().expect("a request");
    let bodies = bodies(&config);
    (config, run, bodies)
}

fn key() -> LaneKey {
    LaneKey { stream: "prod".into(), epoch: 3, lane: "shop.orders#0".into() }
}

fn op(document: &serde_json::Value) -> (Option<&str>, Option<&str>) {
    let key = document["before"]["c0"].as_str().or(document["after"]["c0"].as_str());
    (document["op"].as_str(), key)
}

#[test]
fn a_changed_key_is_a_delete_and_an_insert_where_the_format_has_it_so() {
    // One document a body: two requests, each in the group of its key.
    let (_, run, bodies) = debezium(1);
    let delete = bodies.request(&key(), &run);
    let insert = delete.then.as_deref().expect("a second request");
    let parsed = |request: &Request| {
        serde_json::from_slice::<serde_json::Value>(&request.body).expect("JSON")
    };
    assert_eq!(op(&parsed(&delete)), (Some("d"), Some("a")));
    assert_eq!(op(&parsed(insert)), (Some("c"), Some("z")));
    assert_ne!(delete.group, insert.group);
    assert!(delete.id != insert.id && insert.id.len() == delete.id.len(), "{}", insert.id);
    assert_eq!((insert.first, insert.last, &insert.then.is_none()), (1, 1, &true));
    let again = bodies.request(&key(), &run);
    assert_eq!(again.then.map(|then| then.id), Some(insert.id.clone()), "the same ids again");

    // A list: both in one body.
    let (_, run, bodies) = debezium(10);
    let request = bodies.request(&key(), &run);
    assert!(request.then.is_none());
    let list = parsed(&request);
    let ops: Vec<_> = list.as_array().expect("a list").iter().map(op).collect();
    assert_eq!(ops, [(Some("d"), Some("a")), (Some("c"), Some("z"))]);

    // Both are parked, for both keys.
    let (_, run, bodies) = debezium(1);
    let what = What::Rows { lane: key(), run };
    let mut task = Task { what, attempts: 0, request: None };
    let both = parked(&mut task, &bodies, Reason::Refused, 3, "no");
    let of_both: Vec<_> = both.iter().map(|parked| (&parked.id, parked.keys.len())).collect();
    assert_eq!(of_both, [(&delete.id, 2), (&insert.id, 2)]);
}

/// Answers with these outcomes, one after the other, and keeps the ids it was sent.
struct Answers(Mutex<(Vec<Outcome>, Vec<String>)>);

impl Receive for Answers {
    fn batch_max(&self) -> usize {
        10
    }

    async fn deliver(&self, requests: &[Request]) -> Vec<Outcome> {
        let mut answers = self.0.lock().expect("no panic");
        let (outcomes, ids) = &mut *answers;
        ids.extend(requests.iter().map(|request| request.id.clone()));
        requests.iter().map(|_| outcomes.pop().expect("an answer")).collect()
    }

    fn place(&self) -> String {
        String::new()
    }
}

#[tokio::test]
async fn the_insert_of_a_changed_key_goes_behind_its_delete_and_the_whole_fails_as_one() {
    let (_, run, bodies) = debezium(1);
    let request = bodies.request(&key(), &run);
    let ids = [request.id.clone(), request.then.as_ref().expect("two").id.clone()];
    let refused = Outcome::Refused { answer: "no".to_owned() };
    let cases = [
        (vec![Outcome::Delivered, Outcome::Delivered], Outcome::Delivered, 2),
        (vec![refused.clone()], refused.clone(), 1),
        (vec![refused.clone(), Outcome::Delivered], refused, 2),
    ];
    for (answers, expected, sent) in cases {
        let receiver = Answers(Mutex::new((answers, Vec::new())));
        let outcomes = delivery::deliver(&receiver, std::slice::from_ref(&request)).await;
        assert_eq!(outcomes, [expected]);
        assert_eq!(receiver.0.lock().expect("no panic").1, ids[..sent]);
    }
}
