//! What the encoder makes, in both formats, decodes to the same values.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test does not expect is one case"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use binpulse_client::Content;
use binpulse_client::proto;
use binpulse_client::{Message, Record, decode, lambda};
use binpulse_core::change::{BytesKind, LogicalType, Op, Slot, Table, Transaction};
use binpulse_core::encode::testing::{
    Owned, OwnedChange, OwnedImage, absent, any_transaction, column, int, null, text, transaction,
};
use binpulse_core::encode::{
    self, Batch, BeforeImage, Canary, EncodedBatch, Format, KeyWriter, Lane, LaneId, RowOptions,
    RowsDigest, SnapshotPart, StandsFor, control_message,
};
use proptest::prelude::*;
use support::{finalized, lane, origin};

/// All logical types, each with the name of its column.
const TYPES: [(&str, LogicalType); 17] = [
    ("integer", LogicalType::Integer),
    ("float", LogicalType::Float),
    ("double", LogicalType::Double),
    ("decimal", LogicalType::Decimal),
    ("bit", LogicalType::Bit),
    ("year", LogicalType::Year),
    ("date", LogicalType::Date),
    ("time", LogicalType::Time),
    ("datetime", LogicalType::Datetime),
    ("timestamp", LogicalType::Timestamp),
    ("text", LogicalType::Text),
    ("binary", LogicalType::Binary),
    ("enum", LogicalType::Enum),
    ("set", LogicalType::Set),
    ("json", LogicalType::Json),
    ("geometry", LogicalType::Geometry),
    ("vector", LogicalType::Vector),
];

/// A table with a column of each type, and an unsigned integer behind them; the first two are its key.
fn table() -> Arc<Table> {
    let mut columns: Vec<_> = TYPES.iter().map(|(name, of)| column(name, *of)).collect();
    let mut unsigned = column("unsigned \"é\"", LogicalType::Integer);
    unsigned.unsigned = true;
    columns.push(unsigned);
    for column in &mut columns {
        if matches!(column.logical_type, LogicalType::Enum | LogicalType::Set) {
            column.members = vec!["new".into(), "paid".into()];
        }
    }
    Arc::new(Table {
        database: "shop".into(),
        name: "orders".into(),
        columns,
        primary_key: vec![10, 0],
        named: true,
        outbox: None,
        fingerprint: 0xfeed_0000_0000_0001,
    })
}

/// What SNS puts around a message unless its delivery is raw.
fn envelope(message: &encode::Message) -> String {
    let attributes = message.attributes.iter().map(|attribute| {
        let form =
            serde_json::json!({"Type": attribute.data_type.as_str(), "Value": attribute.value});
        (attribute.name.to_string(), form)
    });
    serde_json::json!({
        "Type": "Notification",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "TopicArn": "arn:aws:sns:eu-west-1:000000000000:changes",
        "Message": message.body,
        "Timestamp": "2026-11-20T20:12:00.123Z",
        "SignatureVersion": "1",
        "Signature": "x",
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem",
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?x",
        "MessageAttributes": attributes.collect::<serde_json::Map<_, _>>(),
    })
    .to_string()
}

/// A cell that a column of this type can have.
fn cell(of: LogicalType, unsigned: bool) -> BoxedStrategy<Owned> {
    let bytes = |kind| {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(move |bytes| Owned::Bytes(kind, bytes))
    };
    let string = || any::<String>().prop_map(|string| text(&string));
    let number = || any::<u64>().prop_map(|value| Owned::Plain(Slot::UInt(value)));
    let value = match of {
        LogicalType::Integer if unsigned => number().boxed(),
        // Where the log does not tell the sign, a value may be above what a signed one holds.
        LogicalType::Integer => prop_oneof![
            4 => any::<i64>().prop_map(int),
            1 => (1 << 63..=u64::MAX).prop_map(|value| Owned::Plain(Slot::UInt(value))),
        ]
        .boxed(),
        LogicalType::Year => any::<i64>().prop_map(int).boxed(),
        LogicalType::Float => any::<f32>().prop_map(|f| Owned::Plain(Slot::Float(f))).boxed(),
        LogicalType::Double => any::<f64>().prop_map(|f| Owned::Plain(Slot::Double(f))).boxed(),
        LogicalType::Bit => number().boxed(),
        LogicalType::Decimal
        | LogicalType::Date
        | LogicalType::Time
        | LogicalType::Datetime
        | LogicalType::Timestamp => string().boxed(),
        LogicalType::Text => prop_oneof![3 => string(), 1 => bytes(BytesKind::Malformed)].boxed(),
        LogicalType::Binary | LogicalType::Geometry => bytes(BytesKind::Bytes).boxed(),
        LogicalType::Enum | LogicalType::Set => prop_oneof![string(), number()].boxed(),
        LogicalType::Json => json().boxed(),
        LogicalType::Vector => prop_oneof![
            4 => prop::collection::vec(any::<[u8; 4]>(), 0..9)
                .prop_map(|elements| Owned::Bytes(BytesKind::Vector, elements.concat())),
            1 => bytes(BytesKind::Vector),
        ]
        .boxed(),
    };
    prop_oneof![1 => Just(absent()), 1 => Just(null()), 6 => value].boxed()
}

fn json() -> impl Strategy<Value = Owned> {
    let document = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
        any::<String>().prop_map(|text| {
            serde_json::json!({"a": [text, null, {"b": "}],\\\""}], "$json": null}).to_string()
        }),
        Just("{\"$diff\": {}, \"x\":  1.50}".to_owned()),
    ];
    prop_oneof![
        5 => document.prop_map(|json| Owned::Bytes(BytesKind::Json, json.into_bytes())),
        1 => Just(Owned::Bytes(BytesKind::JsonDiff, br#"[{"op": "remove", "path": "$.a"}]"#.to_vec())),
    ]
}

fn image(table: &Table) -> impl Strategy<Value = Vec<Owned>> + use<> {
    let cells = table.columns.iter().map(|column| cell(column.logical_type, column.unsigned));
    cells.collect::<Vec<_>>()
}

fn change(table: &Table) -> impl Strategy<Value = OwnedChange> + use<> {
    let row = || prop_oneof![0..300_u64, any::<u64>()];
    prop_oneof![
        (row(), image(table)).prop_map(|(row, cells)| OwnedChange::insert(row, &cells)),
        (row(), image(table)).prop_map(|(row, cells)| OwnedChange::delete(row, &cells)),
        (row(), image(table), image(table))
            .prop_map(|(row, before, after)| OwnedChange::update(row, &before, &after)),
    ]
}

fn batch(
    format: Format,
    options: RowOptions,
    input: &[(Transaction, Vec<OwnedChange>)],
) -> EncodedBatch {
    let mut batch = Batch::new(format, options, table());
    for (ack_group, (transaction, changes)) in input.iter().enumerate() {
        for change in changes {
            batch.push(ack_group as u64, transaction, &change.change());
        }
    }
    batch.take(lane(), 41).expect("rows")
}

/// Contents as text: a NaN is a NaN. Two characters that SNS refuses are escaped in JSON documents,
/// which then mean the same.
fn shown(content: &Content) -> String {
    let kinds = |kind: &mut proto::value::Kind| match kind {
        proto::value::Kind::Json(text) | proto::value::Kind::JsonDiff(text) => {
            *text = text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
        }
        _ => {}
    };
    let mut content = content.clone();
    let batch = match &mut content {
        Content::Rows(batch) => Some(batch),
        Content::Canary(canary) => canary.batch.as_mut(),
        Content::Part(part) => {
            // JSON does not tell the row's number within its chunk.
            for row in part.batch.iter_mut().flat_map(|batch| &mut batch.rows) {
                row.row = 0;
            }
            part.batch.as_mut()
        }
        _ => None,
    };
    let rows = batch.into_iter().flat_map(|batch| &mut batch.rows);
    let images = rows.flat_map(|row| row.before.iter_mut().chain(&mut row.after));
    images
        .flat_map(|image| &mut image.values)
        .filter_map(|value| value.kind.as_mut())
        .for_each(kinds);
    format!("{content:?}")
}

/// What a batch decodes to, however it travels.
fn decoded(batch: &EncodedBatch, zstd_level: i32) -> Content {
    let message = finalized(batch, zstd_level, Some("for you"));
    let content = decode(&message.body).expect("it decodes");
    let enveloped = envelope(&message);
    let enveloped = Message::new(&enveloped, BTreeMap::new()).expect("an envelope");
    assert_eq!(enveloped.kind(), Some(message.kind.as_str()));
    assert_eq!(enveloped.replay(), Some("for%20you"));
    let beside = BTreeMap::from([("replay".to_owned(), "other".to_owned())]);
    let text = envelope(&message);
    let given = Message::new(&text, beside).expect("an envelope");
    assert_eq!((given.replay(), given.kind()), (Some("other"), enveloped.kind()));
    assert_eq!(shown(&enveloped.decode().expect("it decodes")), shown(&content));
    content
}

fn same_in_both(made: impl Fn(Format) -> EncodedBatch, zstd_level: i32) -> Content {
    let frame = decoded(&made(Format::Protobuf), zstd_level);
    let document = decoded(&made(Format::Json), zstd_level);
    assert_eq!(shown(&frame), shown(&document));
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_of_every_type_mean_the_same_in_both_formats(
        input in prop::collection::vec(
            (any_transaction(), prop::collection::vec(change(&table()), 1..5)), 1..5),
        zstd_level in 0..3,
        before_image in prop_oneof![
            Just(BeforeImage::Full), Just(BeforeImage::Changed), Just(BeforeImage::Key)],
        cell_bytes_max in prop_oneof![Just(20_usize), Just(1 << 20)],
        snapshot in (0_u64..3, 0_u32..3),
    ) {
        let options = RowOptions { before_image, cell_bytes_max, ..RowOptions::default() };
        let made = |format| {
            let (number, attempt) = snapshot;
            let attempt = if number == 0 { 0 } else { attempt };
            batch(format, options, &input).before_snapshot_part(number, attempt)
        };
        let content = same_in_both(made, zstd_level);
        let Content::Rows(batch) = content else { panic!("rows") };
        prop_assert_eq!(batch.rows.len(), input.iter().map(|(_, rows)| rows.len()).sum::<usize>());
        prop_assert_eq!(batch.snapshot_next, snapshot.0);
    }

    #[test]
    fn parts_of_snapshots_mean_the_same_in_both_formats(
        rows in prop::collection::vec(image(&table()), 0..5),
        keys in prop::collection::vec((any::<String>(), any::<i64>()), 2..5),
        numbers in (1..u64::MAX / 2, 1..u64::MAX / 2, any::<u32>(), any::<bool>()),
        has_digest: bool,
    ) {
        let made = |format| {
            let mut batch = Batch::new(format, RowOptions::default(), table());
            for (row, cells) in rows.iter().enumerate() {
                let change = OwnedChange {
                    op: Op::Read, row: row as u64, before: None, after: Some(OwnedImage::new(cells)),
                };
                batch.push(1, &transaction(1), &change.change());
            }
            let writer = KeyWriter::new(format, &table(), vec![10, 0]);
            let key = |(string, number): &(String, i64)| {
                let cells = OwnedImage::new(&[text(string), int(*number)]);
                let mut out = Vec::new();
                writer.put(&mut out, |at| cells.image().cell(usize::from(at == 0)));
                out
            };
            let (anchor, part, attempt, is_last) = numbers;
            let mut digest = RowsDigest::default();
            digest.add(&OwnedImage::new(&[int(5)]).image(), &mut Vec::new());
            let made = SnapshotPart {
                snapshot: "01J".into(),
                anchor,
                chunk: 7,
                attempt,
                attempt_part: 3,
                is_last,
                key_after: is_last.then(|| key(&keys[0]).into()),
                key_upto: Some(key(&keys[1]).into()),
                touched: keys[2..].iter().map(|one| key(one).into()).collect(),
                rows_in_chunk: 9,
                rows_superseded: 2,
                digest: has_digest.then_some(digest),
                key_columns: if is_last { [10, 0].into() } else { [].into() },
                pass: attempt / 2,
                stands_for: (!is_last).then(|| StandsFor { audience: "you \"é\"".into(), numbers: 9 }),
                ..SnapshotPart::default()
            };
            batch.take_part(1, &transaction(1), lane()).into_snapshot_part(part, made)
        };
        let Content::Part(part) = same_in_both(made, 1) else { panic!("a part") };
        prop_assert_eq!(part.touched.len(), keys.len() - 2);
        prop_assert_eq!(part.key_upto.map(|key| key.values.len()), Some(2));
    }
}

fn watermark() -> proto::Watermark {
    proto::Watermark {
        verdict: String::from("live"),
        server_uuid: String::from("u-u"),
        gtid_set: String::from("a:1-9"),
        position: Some(proto::Position { file: "binlog.000001".into(), offset: 4 }),
        lanes: vec![proto::LaneMark {
            lane: "shop.t#0".into(),
            sequence_next: u64::MAX,
            epoch: 3,
            ..proto::LaneMark::default()
        }],
        lanes_truncated: true,
        certificate: Some(proto::QuietCertificate {
            heartbeat_first: 7,
            heartbeat_last: 8,
            proven_at_us: -1,
            ..proto::QuietCertificate::default()
        }),
        taken_at_us: i64::MAX,
    }
}

#[test]
fn canaries_heartbeats_statements_and_marks_mean_the_same_in_both_formats() {
    for (watermark, path) in [(Some(watermark()), Some("orders")), (None, None)] {
        let content = same_in_both(
            |format| {
                let rows = [(transaction(1), vec![OwnedChange::insert(0, &cells(&[int(12)]))])];
                batch(format, RowOptions::default(), &rows).into_canary(Canary {
                    path: path.map(Into::into),
                    number: 12,
                    phase: proto::CanaryPhase::Update,
                    written_at_us: 1_795_000_000_000_001,
                    watermark: watermark.clone(),
                    nonce: path.map_or(Vec::new(), |_| vec![7; 16]),
                })
            },
            0,
        );
        assert!(matches!(content, Content::Canary(canary) if canary.watermark == watermark));
        let content = same_in_both(
            |format| {
                let (lane, watermark) = (notice("heartbeat"), watermark.clone());
                control_message::heartbeat(format, lane, 4, 77, -5, &transaction(2), watermark)
            },
            0,
        );
        assert!(matches!(content, Content::Heartbeat(_)));
    }
    let content = same_in_both(
        |format| {
            let lane = notice("schema");
            control_message::schema_change(format, lane, 4, 6, "", "ALTER \"é\"", &transaction(3))
        },
        0,
    );
    assert!(matches!(content, Content::Schema(_)));
    for (phase, reason) in [
        (proto::SnapshotPhase::Started, ""),
        (proto::SnapshotPhase::Done, ""),
        (proto::SnapshotPhase::Abandoned, "no key"),
    ] {
        let mark = proto::SnapshotMark {
            snapshot: "01J".into(),
            database: "shop".into(),
            table: "orders".into(),
            phase: phase.into(),
            rows: 3,
            chunks: 1,
            lanes: vec![proto::LaneMark {
                lane: "shop.t#0".into(),
                sequence_next: u64::MAX,
                epoch: 3,
                snapshot_next: 8,
                snapshot_attempt: u32::MAX,
            }],
            reason: reason.into(),
            ..proto::SnapshotMark::default()
        };
        let content = same_in_both(
            |format| {
                let lane = notice("snapshot");
                control_message::snapshot_mark(format, lane, 1, 2, mark.clone(), None)
            },
            0,
        );
        let source = Some(proto::Source { snapshot: true, ..origin(None).source() });
        assert_eq!(content, Content::Mark(proto::SnapshotMark { source, ..mark }));
    }
}

fn notice(name: &str) -> Lane {
    Lane { id: LaneId(1), key: Lane::notice_key_of(name).into(), number: 0, count: 1 }
}

/// A row that has these cells, and none of the other columns.
fn cells(first: &[Owned]) -> Vec<Owned> {
    let mut cells = first.to_vec();
    cells.resize(table().columns.len(), absent());
    cells
}

fn rows_message(format: Format) -> encode::Message {
    let rows = [(transaction(1), vec![OwnedChange::insert(0, &cells(&[int(12), null()]))])];
    finalized(&batch(format, RowOptions::default(), &rows), 1, Some("you"))
}

#[test]
fn events_of_lambda_hold_their_messages() {
    for format in [Format::Protobuf, Format::Json] {
        let message = rows_message(format);
        let wanted = decode(&message.body).unwrap();
        let sqs = |name: &str| serde_json::json!({"stringValue": name, "dataType": "String", "binaryListValues": []});
        let event = serde_json::json!({"Records": [
            {"messageId": "m1", "receiptHandle": "r", "body": message.body, "eventSource": "aws:sqs",
             "messageAttributes": {"kind": sqs("change"), "replay": sqs("you")}},
            {"messageId": "m2", "body": envelope(&message), "messageAttributes": {}},
            {"EventSource": "aws:sns", "Sns": {"MessageId": "m3", "Message": message.body,
             "Subject": null, "MessageAttributes":
                {"kind": {"Type": "String", "Value": "change"}, "replay": {"Type": "String", "Value": "you"}}}},
            {"messageId": "m4"},
        ]})
        .to_string();
        let records = lambda(&event).expect("an event");
        assert_eq!(records.len(), 4);
        for (number, record) in records.iter().take(3).enumerate() {
            let Record { id, message } = record;
            let message = message.as_ref().expect("a message");
            assert_eq!(*id, format!("m{}", number + 1));
            assert_eq!((message.kind(), message.replay()), (Some("change"), Some("you")));
            assert_eq!(message.decode().unwrap(), wanted);
        }
        assert_eq!(records[3].id, "m4");
        assert!(records[3].message.is_err(), "it can still be named in the answer");
    }
    assert!(lambda("{}").is_err());
    assert!(lambda("[]").is_err());
}
