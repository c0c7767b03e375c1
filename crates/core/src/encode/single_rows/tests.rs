use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::change::{BytesKind, Cell, Slot};
use crate::encode::formats::{DebeziumOptions, FormatOptions, RowContext, RowNumber};
use crate::encode::testing::{Owned, OwnedChange, any_change, int, null, table, text, transaction};
use crate::encode::{
    Batch, Destination, FinalizeOptions, Finalized, Finalizer, Kind, Lane, LaneId, Message,
    Oversize, RowOptions, SnapshotPart, json as own_json, open,
};

const COLUMNS: usize = 4;
const LIMIT: usize = 262_144;

fn lane() -> Lane {
    Lane { id: LaneId(0), key: "shop.t#0".into(), number: 0, count: 1 }
}

fn origin() -> Origin {
    Origin {
        stream: "prod".into(),
        server_uuid: String::from("u"),
        server_id: 7,
        epoch: 5,
        connector_version: "0",
        snapshot: false,
        replay: None,
    }
}

fn encoded(changes: &[OwnedChange]) -> EncodedBatch {
    let table = table("t", COLUMNS);
    let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), table);
    for (number, change) in changes.iter().enumerate() {
        batch.push(number as u64 / 2, &transaction(number as u64 / 2), &change.change());
    }
    batch.take(lane(), 100).expect("there are rows")
}

fn finalized(batch: EncodedBatch, format: FormatOptions, limit: usize) -> Vec<Finalized> {
    let topic = Destination { arn: "arn".into(), fifo: true, message_bytes_max: limit };
    let finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    let mut out = Vec::new();
    finalizer.with_row_format(Some(format)).finalize_within(
        batch,
        &origin(),
        &topic,
        Oversize::Omit,
        &mut out,
    );
    out
}

fn messages(batch: EncodedBatch, format: FormatOptions) -> Vec<Message> {
    let finalized = finalized(batch, format, LIMIT).into_iter();
    finalized
        .map(|finalized| match finalized {
            Finalized::Message(message) => message,
            Finalized::TooLarge(message) => panic!("too large: {}", message.body.len()),
        })
        .collect()
}

fn debezium() -> FormatOptions {
    FormatOptions::Debezium(DebeziumOptions::default())
}

fn parsed(message: &Message) -> Value {
    serde_json::from_str(&message.body).expect("JSON")
}

fn shown(cell: Cell<'_>) -> Value {
    let mut out = Vec::new();
    own_json::put_cell(&mut out, cell);
    serde_json::from_slice(&out).expect("JSON")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_image_that_is_read_back_has_the_cells_that_it_was_made_of(
        change in any_change(COLUMNS),
    ) {
        let change = change.change();
        for image in [change.before, change.after].into_iter().flatten() {
            let mut body = Vec::new();
            image.cells().for_each(|cell| crate::encode::protobuf::put_cell(&mut body, cell));
            let mut buffer = RowBuffer::default();
            let back = read(Some(&body), &mut buffer).expect("an image");
            let cells: Vec<_> = image.cells().map(shown).collect();
            prop_assert_eq!(back.cells().map(shown).collect::<Vec<_>>(), cells);
            for end in 0..body.len().min(300) {
                // Cut short, it is less, and no panic.
                let _ = read(body.get(..end), &mut buffer).map(|image| image.cells().count());
            }
        }
    }

    #[test]
    fn each_row_is_a_message_as_its_formatter_writes_it(
        changes in prop::collection::vec(any_change(COLUMNS), 1..9),
        format in prop::sample::select(FormatOptions::NAMES.to_vec()),
    ) {
        let format = FormatOptions::of_name(format).expect("a format");
        let mut formatter = Formatter::new(format.clone());
        let table = table("t", COLUMNS);
        let mut wanted = Vec::new();
        for (number, change) in (0..).zip(&changes) {
            let change = change.change();
            let parts = if formatter.splits_key_changes() { key_change(&table, &change) } else { None };
            for change in parts.as_ref().map_or(&[change][..], |parts| parts) {
                let transaction = transaction(number / 2);
                let (origin, mut document) = (origin(), Vec::new());
                let mut context = RowContext::new(&origin, &table, &transaction, change);
                let number = RowNumber { lane: "shop.t#0", number: 100 + number, snapshot: None };
                context.number = Some(number);
                formatter.row(&context, &mut document);
                wanted.push((number.number, number.number / 2 - 50, String::from_utf8(document)?));
            }
        }
        let messages = messages(encoded(&changes), format);
        let found: Vec<_> = messages
            .into_iter()
            .map(|message| (message.sequence_first, message.ack_group, message.body))
            .collect();
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn a_new_key_is_a_delete_and_an_insert_for_debezium_and_one_update_for_others() {
    let [before, after] =
        [[text("a"), int(1), null(), int(2)], [text("b"), int(1), null(), int(3)]];
    let change = OwnedChange::update(3, &before, &after);
    let batch = encoded(std::slice::from_ref(&change));
    let two = messages(batch.clone(), debezium());
    let ops: Vec<_> = two.iter().map(|message| parsed(message)["op"].clone()).collect();
    assert_eq!(ops, [json!("d"), json!("c")]);
    let images = |message: &Message| {
        let document = parsed(message);
        (document["before"]["c0"].clone(), document["after"]["c0"].clone())
    };
    assert_eq!(images(&two[0]), (json!("a"), Value::Null));
    assert_eq!(images(&two[1]), (Value::Null, json!("b")));
    assert_ne!(two[0].deduplication_id, two[1].deduplication_id);
    assert!(two.iter().all(|message| message.sequence_first == 100 && message.rows == 1));
    let op = |message: &Message| {
        let op = message.attributes.iter().find(|attribute| attribute.name == "op");
        op.expect("an attribute").value.clone()
    };
    assert_eq!(two.iter().map(op).collect::<Vec<_>>(), [r#"["delete"]"#, r#"["insert"]"#]);
    for name in ["binpulse", "maxwell", "cloudevents"] {
        let format = FormatOptions::of_name(name).expect("a format");
        assert_eq!(messages(batch.clone(), format).len(), 1, "{name}");
    }
}

#[test]
fn a_row_of_a_snapshot_is_a_read_and_a_part_without_rows_stays_what_it_is() {
    let read = |rows: bool| {
        let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), table("t", COLUMNS));
        if rows {
            for id in 0..2 {
                let insert = OwnedChange::insert(0, &[int(id), null(), null(), null()]);
                let change = Change { op: Op::Read, ..insert.change() };
                batch.push(1, &transaction(1), &change);
            }
        }
        let part = SnapshotPart {
            snapshot: "01K".into(),
            attempt: 2,
            touched: vec![Box::default()],
            ..SnapshotPart::default()
        };
        batch.take_part(1, &transaction(1), lane()).into_snapshot_part(40, part)
    };
    let rows = messages(read(true), debezium());
    assert_eq!(rows.iter().map(|row| row.sequence_first).collect::<Vec<_>>(), [40, 41]);
    let document = parsed(&rows[1]);
    assert_eq!((&document["op"], &document["after"]["c0"]), (&json!("r"), &json!(1)));
    assert_eq!(document["source"]["snapshot"], json!("incremental"));
    assert!(rows.iter().all(|row| row.kind == Kind::Snapshot));
    let whole = messages(read(false), debezium());
    assert_eq!(whole.len(), 1);
    assert!(matches!(
        open::content(&whole[0].body),
        Ok(crate::encode::proto::frame::Content::SnapshotPart(part)) if part.part == 40
    ));
}

#[test]
fn a_row_too_large_for_its_topic_has_placeholders_and_fits() {
    // Each of these characters takes six in JSON.
    let wide = "\u{1}".repeat(100_000);
    let cells =
        [text("key"), text(&wide), Owned::Bytes(BytesKind::Bytes, vec![7; 300_000]), int(1)];
    let [Finalized::Message(message)] =
        &finalized(encoded(&[OwnedChange::insert(0, &cells)]), debezium(), LIMIT)[..]
    else {
        panic!("one message that fits");
    };
    let after = &parsed(message)["after"];
    assert_eq!(after["c0"], json!("key"));
    assert_eq!(after["c1"], json!("__debezium_unavailable_value"));
    assert_eq!(message.omitted_cells, 2);
    assert!(message.billed_bytes() <= LIMIT);
}

#[test]
fn canaries_and_control_messages_stay_binpulses_own() {
    let change = OwnedChange::insert(0, &[int(1), null(), null(), Owned::Plain(Slot::UInt(2))]);
    let canary = encoded(&[change]).into_canary(crate::encode::Canary {
        path: None,
        number: 1,
        phase: crate::encode::proto::CanaryPhase::Insert,
        written_at_us: 1,
        watermark: None,
        nonce: Vec::new(),
    });
    let canaries = messages(canary, debezium());
    assert!(matches!(
        open::content(&canaries[0].body),
        Ok(crate::encode::proto::frame::Content::Canary(_))
    ));
}
