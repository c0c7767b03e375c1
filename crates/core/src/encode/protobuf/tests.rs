use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::image::{put_cell, write_image};
use crate::change::{Cell, Image, Op, Table, Transaction};
use crate::encode::testing::{OwnedChange, any_cell, any_change, any_transaction, table};
use crate::encode::{
    Batch, BeforeImage, Destination, FinalizeOptions, Finalizer, Format, Lane, LaneId, Origin,
    Replay, RowOptions, open, proto,
};
use proto::frame::Content;
use proto::value::Kind;

fn value(cell: Cell<'_>) -> proto::Value {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text is UTF-8");
    let kind = match cell {
        Cell::Absent => None,
        Cell::Null => Some(Kind::Null(true)),
        Cell::Int(value) => Some(Kind::Integer(value)),
        Cell::UInt(value) => Some(Kind::Unsigned(value)),
        Cell::Float(value) => Some(Kind::Float(value)),
        Cell::Double(value) => Some(Kind::Double(value)),
        Cell::Text(bytes) => Some(Kind::Text(text(bytes))),
        Cell::Malformed(bytes) => Some(Kind::MalformedText(bytes.to_vec())),
        Cell::Bytes(bytes) => Some(Kind::Bytes(bytes.to_vec())),
        Cell::Json(bytes) => Some(Kind::Json(text(bytes))),
        Cell::JsonDiff(bytes) => Some(Kind::JsonDiff(text(bytes))),
        Cell::Vector(bytes) => {
            let (elements, _) = bytes.as_chunks::<4>();
            let elements = elements.iter().map(|element| f32::from_le_bytes(*element)).collect();
            Some(Kind::Vector(proto::Vector { elements }))
        }
        Cell::Omitted { size_bytes, sha256 } => {
            Some(Kind::Omitted(proto::Omitted { size_bytes, sha256: sha256.to_vec() }))
        }
    };
    proto::Value { kind }
}

fn image(image: Image<'_>) -> proto::Image {
    proto::Image { values: image.cells().map(value).collect() }
}

fn row(transaction: u32, change: &OwnedChange) -> proto::Row {
    let op = match change.op {
        Op::Insert => proto::Op::Insert,
        Op::Update => proto::Op::Update,
        Op::Delete => proto::Op::Delete,
        Op::Read => proto::Op::Read,
    };
    let change = change.change();
    proto::Row {
        op: op.into(),
        transaction,
        row: change.row,
        before: change.before.map(image),
        after: change.after.map(image),
    }
}

fn origin() -> Origin {
    Origin {
        stream: "prod".into(),
        server_uuid: String::from("abababab-abab-abab-abab-abababababab"),
        server_id: 7,
        epoch: 3,
        connector_version: "0.1.0",
        snapshot: false,
        replay: None,
    }
}

/// The same batch, made of prost's structs in the most obvious way.
fn oracle(
    table: &Arc<Table>,
    lane: &Lane,
    sequence_first: u64,
    input: &[(Transaction, Vec<OwnedChange>)],
) -> proto::ChangeBatch {
    let mut schema = Vec::new();
    super::put_schema(&mut schema, table);
    let base_us = input[0].0.committed_at_us;
    let mut batch = proto::ChangeBatch {
        source: Some(origin().source()),
        table: Some(proto::TableSchema::decode(schema.as_slice()).expect("a schema")),
        lane: lane.key.to_string(),
        lane_number: lane.number,
        lane_count: lane.count,
        sequence_first,
        committed_at_base_us: base_us,
        before_image: proto::BeforeImage::Full.into(),
        ..proto::ChangeBatch::default()
    };
    for (index, (transaction, changes)) in input.iter().enumerate() {
        let file = transaction.start.file.to_string();
        if !batch.files.contains(&file) {
            batch.files.push(file.clone());
        }
        let at = batch.files.iter().position(|name| *name == file).expect("just pushed");
        let committed_at_us = transaction.committed_at_us;
        batch.transactions.push(proto::Transaction {
            gtid: transaction.id.text().unwrap_or_default(),
            committed_at_delta_us: committed_at_us.wrapping_sub(base_us),
            file: at as u32,
            offset: transaction.start.offset,
            rows: changes.len() as u32,
            server_id: transaction.server_id,
            original_committed_at_delta_us: transaction
                .original_committed_at_us
                .wrapping_sub(committed_at_us),
            traceparent: String::new(),
        });
        batch.rows.extend(changes.iter().map(|change| row(index as u32, change)));
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_has_the_very_bytes_that_prost_writes(
        input in prop::collection::vec(
            (any_transaction(), prop::collection::vec(any_change(5), 1..6)), 1..5),
        number in 0_u32..3,
        sequence_first: u64,
        zstd_level in 0..3,
    ) {
        let table = table("orders", 5);
        let key = Lane::key_of("shop", "orders", number);
        let lane = Lane { id: LaneId(1), key: key.into(), number, count: 3 };
        let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), Arc::clone(&table));
        for (ack_group, (transaction, changes)) in input.iter().enumerate() {
            for change in changes {
                batch.push(ack_group as u64, transaction, &change.change());
            }
        }
        let rows = batch.rows();
        let encoded = batch.take(lane.clone(), sequence_first).expect("there are rows");
        let wanted = oracle(&table, &lane, sequence_first, &input);

        let mut finalizer = Finalizer::new(FinalizeOptions { zstd_level }).expect("zstd starts");
        let topic = Destination { arn: "arn".into(), fifo: true, message_bytes_max: 262_144 };
        let message = finalizer.finalize(&encoded, &origin(), &topic);
        let frame = proto::Frame {
            content: Some(Content::Batch(wanted)), ..proto::Frame::default()
        };
        // NaN is not equal to itself, bytes are.
        let opened = open::content(&message.body).expect("our own message opens");
        let opened = proto::Frame { content: Some(opened), ..proto::Frame::default() };
        prop_assert_eq!(opened.encode_to_vec(), frame.encode_to_vec());
        prop_assert_eq!(message.uncompressed_bytes as usize, frame.encoded_len());
        let checksum = format!(":{:08x}", crc32c::crc32c(&frame.encode_to_vec()));
        let identity = message.deduplication_id.expect("the topic is FIFO");
        prop_assert!(identity.ends_with(&checksum));
        prop_assert_eq!(message.rows, rows);

        // Published again it is another message for SNS, and says so to subscribers.
        let replay = Replay { audience: "billing".into(), run: u64::MAX };
        let again = finalizer.finalize(&encoded, &Origin { replay: Some(replay), ..origin() }, &topic);
        prop_assert_eq!(again.body, message.body);
        let identity_again = again.deduplication_id.expect("the topic is FIFO");
        prop_assert!(identity_again != identity && identity_again.len() <= 128);
        let (last, rest) = again.attributes.split_last().expect("attributes");
        prop_assert_eq!((&*last.name, last.value.as_str()), ("replay", "billing"));
        prop_assert_eq!(rest, message.attributes);
    }

    #[test]
    fn an_image_written_into_room_has_the_bytes_of_its_cells_or_finds_the_room_too_small(
        cells in prop::collection::vec(any_cell(), 0..6),
    ) {
        let change = OwnedChange::insert(0, &cells);
        let image = change.change().after.expect("an insert has one");
        let mut bytes = Vec::new();
        image.cells().for_each(|cell| put_cell(&mut bytes, cell));
        let has_list = image.cells().any(|cell| matches!(cell, Cell::Vector(_)));
        for room in bytes.len().saturating_sub(20)..bytes.len() + 20 {
            let mut out = vec![0xa5; room];
            match write_image(&mut out, &image) {
                Some(left) => prop_assert_eq!(&out[..room - left], &bytes),
                None => prop_assert!(has_list || room < bytes.len() + 16),
            }
        }
    }

    #[test]
    fn opening_damaged_bodies_ends_in_an_error_and_never_in_another_content(
        changes in prop::collection::vec(any_change(2), 1..4),
        at: prop::sample::Index,
        bit in 0..8_u32,
        zstd_level in 0..2,
    ) {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), table("t", 2));
        for change in &changes {
            batch.push(1, &crate::encode::testing::transaction(1), &change.change());
        }
        let lane = Lane { id: LaneId(0), key: "a.t#0".into(), number: 0, count: 1 };
        let encoded = batch.take(lane, 1).expect("there are rows");
        let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 262_144 };
        let mut finalizer = Finalizer::new(FinalizeOptions { zstd_level }).expect("zstd starts");
        let body = finalizer.finalize(&encoded, &origin(), &topic).body;
        let whole = open::content(&body).expect("undamaged, it opens");
        let mut bytes = STANDARD.decode(body).expect("base64");
        let cut = bytes[..at.index(bytes.len())].to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(content) = open::frame(&bytes) {
            // A bit that nobody reads, such as zstd's reserved ones.
            let same = |content| proto::Frame { content: Some(content), ..Default::default() };
            prop_assert_eq!(same(content).encode_to_vec(), same(whole).encode_to_vec());
        }
        prop_assert!(open::frame(&cut).is_err());
    }
}

#[test]
fn before_images_carry_what_the_operator_chose() {
    use crate::encode::testing::{absent, int, text, transaction};
    let update = OwnedChange::update(
        0,
        &[int(1), text("same"), text("old")],
        &[int(1), text("same"), text("new")],
    );
    let delete = OwnedChange::delete(1, &[int(1), text("same"), text("new")]);
    let cases = [
        (
            BeforeImage::Full,
            [int(1), text("same"), text("old")],
            [int(1), text("same"), text("new")],
        ),
        (
            BeforeImage::Changed,
            [int(1), absent(), text("old")],
            [int(1), text("same"), text("new")],
        ),
        (BeforeImage::Key, [int(1), absent(), absent()], [int(1), absent(), absent()]),
    ];
    for (before_image, of_update, of_delete) in cases {
        let options = RowOptions { before_image, ..RowOptions::default() };
        let mut batch = Batch::new(Format::Protobuf, options, table("t", 3));
        batch.push(1, &transaction(1), &update.change());
        batch.push(1, &transaction(1), &delete.change());
        let lane = Lane { id: LaneId(0), key: "a.t#0".into(), number: 0, count: 1 };
        let encoded = batch.take(lane, 1).expect("there are rows");
        let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
        let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 262_144 };
        let message = finalizer.finalize(&encoded, &origin(), &topic);
        let Ok(Content::Batch(batch)) = open::content(&message.body) else {
            panic!("not a batch");
        };
        let wanted = |cells: &[_]| image(crate::encode::testing::OwnedImage::new(cells).image());
        assert_eq!(batch.rows[0].before, Some(wanted(&of_update)), "{before_image:?}");
        assert_eq!(batch.rows[1].before, Some(wanted(&of_delete)), "{before_image:?}");
    }
}
