use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Lines;
use crate::change::{BytesKind, Cell, Op, Position, Slot, Table, Transaction, TransactionId};
use crate::encode::testing::{
    Owned, OwnedChange, absent, any_change, any_transaction, int, null, table, text, transaction,
};
use crate::encode::{
    Batch, Canary, Destination, EncodedBatch, FinalizeOptions, Finalizer, Format, Lane, LaneId,
    Origin, RowOptions, control_message, proto,
};

fn parsed(line: &[u8]) -> Value {
    serde_json::from_slice(line).expect("a line is JSON")
}

/// Appends a line as a whole.
fn put_line(
    table: &Arc<Table>,
    transaction: &Transaction,
    position: &Position,
    change: &OwnedChange,
    out: &mut Vec<u8>,
) {
    let mut whole = Vec::new();
    let mut drain = |text: &mut Vec<u8>| {
        whole.append(text);
        Ok(())
    };
    Lines::default()
        .change(table, transaction, position, &change.change(), out, &mut drain)
        .expect("memory takes everything");
    whole.append(out);
    *out = whole;
}

#[test]
fn what_waits_to_be_written_does_not_grow_with_a_value() {
    let long = "\u{1}é\u{ffff}x".repeat(200_000);
    let document = format!("[{}1]", "\"\u{ffff}é\",".repeat(100_000));
    let vector = 1.5_f32.to_le_bytes().repeat(300_000);
    let bytes: Vec<u8> = (0..1_000_001_u32).map(|n| n as u8).collect();
    let json = |cell: &Owned| -> String {
        let Owned::Bytes(kind, bytes) = cell else { panic!("bytes") };
        let cell = match kind {
            BytesKind::Text => Cell::Text(bytes),
            BytesKind::Malformed => Cell::Malformed(bytes),
            BytesKind::Bytes => Cell::Bytes(bytes),
            BytesKind::Json => Cell::Json(bytes),
            BytesKind::JsonDiff => Cell::JsonDiff(bytes),
            BytesKind::Vector => Cell::Vector(bytes),
            BytesKind::Omitted => unreachable!("rows are not made of it"),
        };
        let mut text = Vec::new();
        super::cell::put_cell(&mut text, cell);
        String::from_utf8(text).expect("UTF-8")
    };
    for cell in [
        Owned::Bytes(BytesKind::Text, long.into_bytes()),
        Owned::Bytes(BytesKind::Json, document.clone().into_bytes()),
        Owned::Bytes(BytesKind::JsonDiff, document.into_bytes()),
        Owned::Bytes(BytesKind::Bytes, bytes.clone()),
        Owned::Bytes(BytesKind::Malformed, bytes.clone()),
        Owned::Bytes(BytesKind::Text, bytes),
        Owned::Bytes(BytesKind::Vector, vector),
    ] {
        let change = OwnedChange::insert(0, &[int(1), cell.clone(), null()]);
        let (mut out, mut whole, mut longest) = (Vec::new(), Vec::new(), 0);
        let mut drain = |text: &mut Vec<u8>| {
            longest = longest.max(text.len());
            whole.append(text);
            Ok(())
        };
        let (transaction, position) = (transaction(1), Position::new("b", 4));
        Lines::default()
            .change(&table("t", 3), &transaction, &position, &change.change(), &mut out, &mut drain)
            .expect("memory takes everything");
        drain(&mut out).expect("memory takes everything");
        assert!(longest < 512 << 10, "{longest}");
        let line = String::from_utf8(whole).expect("UTF-8");
        let expected = format!("\"after\":{{\"c0\":1,\"c1\":{},\"c2\":null}}}}\n", json(&cell));
        assert!(line.ends_with(&expected));
    }
}

fn finalized(encoded: &EncodedBatch) -> crate::encode::Message {
    let origin = Origin {
        stream: "prod".into(),
        server_uuid: String::from("u-u"),
        server_id: 7,
        epoch: 3,
        connector_version: "0.1.0",
        snapshot: false,
        replay: None,
    };
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 262_144 };
    Finalizer::new(FinalizeOptions::default())
        .expect("zstd starts")
        .finalize(encoded, &origin, &topic)
}

fn lane(key: &str) -> Lane {
    Lane { id: LaneId(0), key: key.into(), number: 0, count: 1 }
}

#[test]
fn a_line_has_the_members_that_decode_and_tail_promise_in_their_order() {
    let change =
        OwnedChange::update(2, &[int(1), text("a\"b\n"), absent()], &[int(1), null(), text("ü")]);
    let mut out = Vec::new();
    let position = Position::new("binlog.000001", 1234);
    put_line(&table("t", 3), &transaction(5), &position, &change, &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        concat!(
            r#"{"kind":"change","op":"update","database":"shop","table":"t","#,
            r#""gtid":"abababab-abab-abab-abab-abababababab:5","#,
            r#""position":{"file":"binlog.000001","offset":1234},"row":2,"#,
            r#""committed_at":"2026-11-18T11:06:40.005000Z","#,
            r#""before":{"c0":1,"c1":"a\"b\n"},"after":{"c0":1,"c1":null,"c2":"ü"}}"#,
            "\n"
        )
    );
}

#[test]
fn a_statement_and_an_anonymous_transaction_have_nulls_where_there_is_nothing() {
    let mut transaction = transaction(5);
    transaction.id = TransactionId::Anonymous;
    let mut out = Vec::new();
    let position = Position::new("b.1", 4);
    Lines::default().schema("", "DROP TABLE t", &transaction, &position, &mut out);
    let line = parsed(&out);
    assert_eq!(line["kind"], "schema");
    assert_eq!(line["statement"], "DROP TABLE t");
    assert_eq!(line["gtid"], Value::Null);
    assert_eq!(line["database"], Value::Null);
    let insert = OwnedChange::insert(0, &[int(1)]);
    out.clear();
    put_line(&table("t", 1), &transaction, &position, &insert, &mut out);
    assert_eq!(parsed(&out)["before"], Value::Null);
}

#[test]
fn each_value_has_its_json() {
    let vector: Vec<u8> =
        [1.5_f32, -0.25].iter().flat_map(|element| element.to_le_bytes()).collect();
    let cases: [(Owned, Value); 16] = [
        (null(), Value::Null),
        (int(i64::MIN), json!(i64::MIN)),
        (Owned::Plain(Slot::UInt(u64::MAX)), json!(u64::MAX)),
        (Owned::Plain(Slot::Double(0.1)), json!(0.1)),
        (Owned::Plain(Slot::Double(1e300)), json!(1e300)),
        (Owned::Plain(Slot::Double(f64::NAN)), json!("NaN")),
        (text("\u{1}\u{fffe}\u{ffff}\u{fffd}\\/"), json!("\u{1}\u{fffe}\u{ffff}\u{fffd}\\/")),
        (Owned::Bytes(BytesKind::Bytes, vec![0, 255]), json!("AP8=")),
        (Owned::Bytes(BytesKind::Malformed, vec![255]), json!({"$malformed": "/w=="})),
        (Owned::Bytes(BytesKind::Text, vec![255]), json!({"$malformed": "/w=="})),
        (Owned::Bytes(BytesKind::Json, br#"{"a": [1, "}"]}"#.to_vec()), json!({"a": [1, "}"]})),
        (Owned::Bytes(BytesKind::Json, b"null".to_vec()), json!({"$json": null})),
        (Owned::Bytes(BytesKind::Json, b"[null]".to_vec()), json!([null])),
        (Owned::Bytes(BytesKind::JsonDiff, b"[]".to_vec()), json!({"$diff": []})),
        (Owned::Bytes(BytesKind::Vector, vector), json!([1.5, -0.25])),
        (Owned::Plain(Slot::Float(0.1)), json!(0.1)),
    ];
    for (cell, wanted) in cases {
        let change = OwnedChange::insert(0, std::slice::from_ref(&cell));
        let mut out = Vec::new();
        let (transaction, position) = (transaction(1), Position::new("b", 4));
        put_line(&table("t", 1), &transaction, &position, &change, &mut out);
        assert_eq!(parsed(&out)["after"]["c0"], wanted, "{cell:?}");
    }
}

#[test]
fn a_document_holds_what_a_frame_does() {
    let mut batch = Batch::new(Format::Json, RowOptions::default(), table("orders", 2));
    for number in 0..3_u64 {
        let change = OwnedChange::insert(number % 2, &[int(number as i64), text("x")]);
        batch.push(1, &transaction(number / 2), &change.change());
    }
    let encoded = batch.take(lane("shop.orders#0"), 41).expect("rows");
    let message = finalized(&encoded);
    let document: Value = serde_json::from_str(&message.body).expect("a document");
    assert_eq!(document["kind"], "change");
    assert_eq!(document["v"], 1);
    assert_eq!(document["source"]["epoch"], 3);
    assert_eq!(document["database"], "shop");
    assert_eq!(document["table"], "orders");
    assert_eq!(document["lane"], "shop.orders#0");
    assert_eq!(document["sequence_first"], 41);
    assert_eq!(document["schema"]["primary_key"], json!(["c0"]));
    assert_eq!(document["schema"]["columns"][1]["type"], "text");
    assert_eq!(document["transactions"][0]["rows"], 2);
    assert_eq!(document["transactions"][1]["position"]["offset"], 304);
    let row = json!({"op": "insert", "transaction": 1, "row": 0, "before": null,
        "after": {"c0": 2, "c1": "x"}});
    assert_eq!(document["rows"][2], row);
}

#[test]
fn notices_and_canaries_carry_their_watermark_in_both_formats() {
    let watermark = proto::Watermark {
        verdict: String::from("live"),
        lanes: vec![proto::LaneMark {
            lane: "shop.t#0".into(),
            sequence_next: 9,
            epoch: 3,
            ..proto::LaneMark::default()
        }],
        certificate: Some(proto::QuietCertificate { heartbeat_last: 8, ..Default::default() }),
        ..proto::Watermark::default()
    };
    for format in [Format::Json, Format::Protobuf] {
        let mut batch = Batch::new(format, RowOptions::default(), table("canary", 1));
        batch.push(4, &transaction(1), &OwnedChange::insert(0, &[int(12)]).change());
        let canary = batch.take(lane("binpulse.canary#0"), 5).expect("a row").into_canary(Canary {
            path: Some("orders".into()),
            number: 12,
            phase: proto::CanaryPhase::Insert,
            written_at_us: 1,
            watermark: Some(watermark.clone()),
            nonce: vec![7; 16],
        });
        let heartbeat = control_message::heartbeat(
            format,
            lane(&Lane::notice_key_of("heartbeat")),
            4,
            77,
            5,
            &transaction(2),
            Some(watermark.clone()),
        );
        let schema = control_message::schema_change(
            format,
            lane(&Lane::notice_key_of("schema")),
            4,
            6,
            "shop",
            "ALTER TABLE t",
            &transaction(3),
        );
        for encoded in [canary, heartbeat, schema] {
            let message = finalized(&encoded);
            assert_eq!(message.ack_group, 4);
            let attribute = |name| {
                message.attributes.iter().find(|attribute| attribute.name == name).map(|a| &a.value)
            };
            assert_eq!(attribute("kind").map(String::as_str), Some(encoded.kind().as_str()));
            assert!(message.attributes.iter().all(|attribute| !attribute.value.is_empty()));
            assert_eq!(message.attributes.len(), 6);
            match format {
                Format::Json => {
                    let document: Value = serde_json::from_str(&message.body).expect("JSON");
                    assert_eq!(document["kind"], encoded.kind().as_str());
                    if encoded.kind() == crate::encode::Kind::Canary {
                        assert_eq!(document["path"], "orders");
                    }
                    if encoded.kind() != crate::encode::Kind::Schema {
                        assert_eq!(document["watermark"]["lanes"][0]["sequence_next"], 9);
                        assert_eq!(document["watermark"]["certificate"]["heartbeat_last"], 8);
                    }
                }
                Format::Protobuf => {
                    let content = crate::encode::open::content(&message.body).expect("opens");
                    match content {
                        proto::frame::Content::Canary(canary) => {
                            assert_eq!((canary.number, &*canary.path), (12, "orders"));
                            assert_eq!(canary.watermark.as_ref(), Some(&watermark));
                            assert_eq!(canary.batch.expect("its row").rows.len(), 1);
                        }
                        proto::frame::Content::Heartbeat(heartbeat) => {
                            assert_eq!(heartbeat.number, 77);
                            assert_eq!(heartbeat.watermark.as_ref(), Some(&watermark));
                        }
                        proto::frame::Content::SchemaChange(change) => {
                            assert_eq!(change.statement, "ALTER TABLE t");
                            assert_eq!(change.lane, "!schema");
                        }
                        other => panic!("unexpected {other:?}"),
                    }
                }
            }
        }
    }
}

/// What XML 1.0, and so SNS, accepts.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}'
        | '\u{10000}'..)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_line_is_one_json_document_that_holds_the_values(
        change in any_change(4), transaction in any_transaction()
    ) {
        let mut out = Vec::new();
        let (table, position) = (table("t", 4), Position::new("b", 4));
        put_line(&table, &transaction, &position, &change, &mut out);
        prop_assert_eq!(out.split_inclusive(|byte| *byte == b'\n').count(), 1);
        let text = std::str::from_utf8(&out).expect("lines are UTF-8");
        prop_assert!(text.chars().all(is_xml));
        let line = parsed(&out);
        prop_assert_eq!(line["before"].is_null(), change.op == Op::Insert);
        for (member, image) in [("before", &change.before), ("after", &change.after)] {
            let Some(image) = image else { continue };
            for (at, cell) in image.image().cells().enumerate() {
                let value = line[member].get(format!("c{at}"));
                prop_assert_eq!(value.is_none(), cell == Cell::Absent);
                match cell {
                    Cell::Int(number) => prop_assert_eq!(value, Some(&json!(number))),
                    Cell::UInt(number) => prop_assert_eq!(value, Some(&json!(number))),
                    // serde_json's own reading of floats is not exact.
                    Cell::Double(number) if number.is_finite() => {
                        prop_assert!(value.is_some_and(Value::is_number));
                        let mut text = Vec::new();
                        super::cell::put_cell(&mut text, cell);
                        let text = String::from_utf8(text).expect("digits");
                        prop_assert_eq!(text.parse::<f64>().ok(), Some(number));
                    }
                    Cell::Text(bytes) => prop_assert_eq!(
                        value.and_then(Value::as_str).map(str::as_bytes), Some(bytes)),
                    Cell::Json(b"null") => prop_assert_eq!(value, Some(&json!({"$json": null}))),
                    Cell::Json(bytes) => prop_assert_eq!(value, Some(&parsed(bytes))),
                    _ => {}
                }
            }
        }
    }
}
