use std::sync::Arc;

use proptest::prelude::*;

use crate::change::{Area, BytesKind, Change, Image, Op, Slot};
use crate::encode::testing::{Owned, OwnedChange, any_change, int, table, text, transaction};
use crate::encode::{
    Batch, Destination, EncodedBatch, FinalizeOptions, Finalized, Finalizer, Format, Lane, LaneId,
    Origin, Oversize, RowOptions, open, proto,
};

fn lane() -> Lane {
    Lane { id: LaneId(0), key: "shop.t#0".into(), number: 0, count: 1 }
}

fn encoded(format: Format, columns: usize, changes: &[OwnedChange]) -> EncodedBatch {
    let mut batch = Batch::new(format, RowOptions::default(), table("t", columns));
    for (number, change) in changes.iter().enumerate() {
        batch.push(number as u64 / 2, &transaction(number as u64 / 2), &change.change());
    }
    batch.take(lane(), 100).expect("there are rows")
}

fn origin() -> Origin {
    Origin {
        stream: "prod".into(),
        server_uuid: String::from("u"),
        server_id: 7,
        epoch: 1,
        connector_version: "0",
        snapshot: false,
        replay: None,
    }
}

fn finalize_within(encoded: EncodedBatch, limit: usize, oversize: Oversize) -> Vec<Finalized> {
    let topic = Destination { arn: "arn".into(), fifo: true, message_bytes_max: limit };
    let mut out = Vec::new();
    let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    finalizer.finalize_within(encoded, &origin(), &topic, oversize, &mut out);
    out
}

fn batch_of(finalized: &Finalized) -> proto::ChangeBatch {
    let (Finalized::Message(message) | Finalized::TooLarge(message)) = finalized;
    match open::content(&message.body).expect("our own message opens") {
        proto::frame::Content::Batch(batch) => batch,
        other => panic!("not a batch: {other:?}"),
    }
}

/// Text that no compressor makes smaller than about three quarters.
fn noise(bytes: usize, mut seed: u64) -> Owned {
    let text: String = (0..bytes)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            match b'0' + (seed % 64) as u8 {
                b'\\' => '~',
                byte => char::from(byte),
            }
        })
        .collect();
    Owned::Bytes(BytesKind::Text, text.into_bytes())
}

#[test]
fn a_row_too_large_for_its_topic_loses_its_largest_cells_and_keeps_its_key() {
    for format in [Format::Protobuf, Format::Json] {
        let key = "k".repeat(3_000);
        let cells = [text(&key), noise(90_000, 1), text("small \"} one"), noise(400_000, 2)];
        let change = OwnedChange::insert(0, &cells);
        let finalized = finalize_within(encoded(format, 4, &[change]), 262_144, Oversize::Omit);
        let [Finalized::Message(message)] = finalized.as_slice() else {
            panic!("one message that fits: {finalized:?}");
        };
        assert!(message.billed_bytes() <= 262_144);
        assert_eq!(message.omitted_cells, 1);
        assert_eq!(message.rows, 1);
        let (size, hash) = match format {
            // The value is what would have travelled: in JSON its quotes are part of it.
            Format::Json => {
                let document: serde_json::Value =
                    serde_json::from_str(&message.body).expect("a document");
                let after = &document["rows"][0]["after"];
                assert_eq!(after["c0"], key);
                assert_eq!(after["c2"], "small \"} one");
                assert_eq!(after["c1"].as_str().map(str::len), Some(90_000));
                let marker = &after["c3"]["$omitted"];
                (marker["size_bytes"].as_u64(), marker["sha256"].as_str().map(str::len))
            }
            Format::Protobuf => {
                let batch = batch_of(&finalized[0]);
                let after = batch.rows[0].after.as_ref().expect("an insert");
                let kind = |at: usize| after.values[at].kind.clone().expect("not absent");
                assert_eq!(kind(0), proto::value::Kind::Text(key));
                assert_eq!(kind(2), proto::value::Kind::Text("small \"} one".into()));
                let proto::value::Kind::Omitted(marker) = kind(3) else {
                    panic!("the largest was to go");
                };
                (Some(marker.size_bytes), Some(marker.sha256.len() * 2))
            }
        };
        assert_eq!(size, Some(if format == Format::Json { 400_002 } else { 400_000 }));
        assert_eq!(hash, Some(64));
    }
}

#[test]
fn a_row_whose_key_alone_is_too_large_is_handed_over_whole() {
    let change = OwnedChange::insert(0, &[noise(50_000, 3), noise(50_000, 4)]);
    let finalized =
        finalize_within(encoded(Format::Protobuf, 2, &[change]), 20_000, Oversize::Omit);
    let [Finalized::TooLarge(message)] = finalized.as_slice() else {
        panic!("it cannot fit");
    };
    assert_eq!(message.omitted_cells, 0, "nothing was left out in vain");
}

#[test]
fn a_row_too_large_is_kept_whole_when_the_operator_wants_that() {
    let change = OwnedChange::insert(0, &[int(1), noise(50_000, 4)]);
    let finalized =
        finalize_within(encoded(Format::Protobuf, 2, &[change]), 20_000, Oversize::Keep);
    assert!(
        matches!(finalized.as_slice(), [Finalized::TooLarge(message)] if message.omitted_cells == 0)
    );
}

#[test]
fn a_huge_cell_is_left_out_before_it_is_copied_unless_it_is_key() {
    let bytes = vec![b'x'; 1_000];
    let slots = [0, 1].map(|_| Slot::Span {
        kind: BytesKind::Text,
        area: Area::Event,
        start: 0,
        end: 1_000,
    });
    let options = RowOptions { cell_bytes_max: 999, ..RowOptions::default() };
    let mut batch = Batch::new(Format::Protobuf, options, table("t", 2));
    let after = Some(Image::new(&slots, &bytes, &[]));
    batch.push(1, &transaction(1), &Change { op: Op::Insert, row: 0, before: None, after });
    let encoded = batch.take(lane(), 1).expect("a row");
    assert_eq!(encoded.omitted_cells(), 1);
    let batch = batch_of(&finalize_within(encoded, 262_144, Oversize::Keep)[0]);
    let values = &batch.rows[0].after.as_ref().expect("an insert").values;
    assert!(matches!(values[0].kind, Some(proto::value::Kind::Text(_))));
    assert!(matches!(values[1].kind, Some(proto::value::Kind::Omitted(_))));
}

#[test]
fn of_an_image_too_large_the_largest_cells_are_left_out_and_no_more_than_needed() {
    let sizes = [900_u32, 10, 400, 300, 400, 0];
    let bytes = vec![b'x'; 2_010];
    let mut start = 0;
    let slots = sizes.map(|size| {
        let span =
            Slot::Span { kind: BytesKind::Text, area: Area::Event, start, end: start + size };
        start += size;
        span
    });
    let kept = |image_bytes_max| {
        let options = RowOptions { image_bytes_max, ..RowOptions::default() };
        // The key is the first column, which is never left out.
        let mut batch = Batch::new(Format::Protobuf, options, table("t", 6));
        let after = Some(Image::new(&slots, &bytes, &[]));
        batch.push(1, &transaction(1), &Change { op: Op::Insert, row: 0, before: None, after });
        let encoded = batch.take(lane(), 1).expect("a row");
        let batch = batch_of(&finalize_within(encoded, 262_144, Oversize::Keep)[0]);
        let values = &batch.rows[0].after.as_ref().expect("an insert").values;
        let is_kept =
            |value: &proto::Value| matches!(value.kind, Some(proto::value::Kind::Text(_)));
        values.iter().map(is_kept).collect::<Vec<_>>()
    };
    assert_eq!(kept(2_010), [true; 6]);
    assert_eq!(kept(2_009), [true; 6], "the key alone is over, and stays");
    assert_eq!(kept(1_109), [true, true, false, true, false, true], "two of one size go together");
    assert_eq!(kept(309), [true, true, false, false, false, true]);
    assert_eq!(kept(0), [true, false, false, false, false, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_draft_split_to_fit_has_every_row_once_in_order_with_its_number_and_transaction(
        changes in prop::collection::vec(any_change(3), 1..24),
        limit in 1_500_usize..60_000,
    ) {
        let whole = encoded(Format::Protobuf, 3, &changes);
        let wanted = batch_of(&finalize_within(whole.clone(), usize::MAX, Oversize::Keep)[0]);
        let finalized = finalize_within(whole, limit, Oversize::Keep);
        let mut next = 100;
        let mut rows = Vec::new();
        for finalized in &finalized {
            let batch = batch_of(finalized);
            let (Finalized::Message(message) | Finalized::TooLarge(message)) = finalized;
            let fits = message.billed_bytes() <= limit;
            prop_assert_eq!(fits, matches!(finalized, Finalized::Message(_)));
            prop_assert!(fits || batch.rows.len() == 1);
            prop_assert_eq!(batch.sequence_first, next);
            prop_assert_eq!(message.ack_group, (next - 100) / 2);
            next += batch.rows.len() as u64;
            let counted: u32 = batch.transactions.iter().map(|entry| entry.rows).sum();
            prop_assert_eq!(counted as usize, batch.rows.len());
            for row in batch.rows {
                let entry = &batch.transactions[row.transaction as usize];
                let whole = &wanted.rows[rows.len()];
                prop_assert_eq!(
                    &entry.gtid, &wanted.transactions[whole.transaction as usize].gtid);
                // Through bytes: NaN is not equal to itself.
                prop_assert_eq!(
                    prost::Message::encode_to_vec(&proto::Row { transaction: 0, ..row.clone() }),
                    prost::Message::encode_to_vec(&proto::Row { transaction: 0, ..whole.clone() }));
                rows.push(row);
            }
        }
        prop_assert_eq!(rows.len(), changes.len());
    }

    #[test]
    fn shrinking_ends_below_its_limit_or_changes_nothing(
        changes in prop::collection::vec(any_change(4), 1..3),
        limit in 0_usize..40_000,
        format in prop::sample::select(vec![Format::Protobuf, Format::Json]),
    ) {
        let whole = encoded(format, 4, &changes);
        match whole.clone().shrink_to(limit) {
            Ok(smaller) => {
                prop_assert!(smaller.len_bytes() <= limit);
                let finalized = finalize_within(smaller, usize::MAX, Oversize::Keep);
                let (Finalized::Message(message) | Finalized::TooLarge(message)) = &finalized[0];
                match format {
                    Format::Protobuf => drop(batch_of(&finalized[0])),
                    Format::Json => {
                        let parsed = serde_json::from_str::<serde_json::Value>(&message.body);
                        prop_assert!(parsed.is_ok(), "{:?}", parsed);
                    }
                }
            }
            Err(same) => prop_assert_eq!(*same, whole),
        }
    }
}

#[test]
fn the_schema_is_encoded_once_for_all_messages_of_a_batch() {
    let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), table("t", 1));
    let mut tables = Vec::new();
    for number in 0..2 {
        let change = OwnedChange::insert(number, &[int(1)]);
        batch.push(number, &transaction(number), &change.change());
        let encoded = batch.take(lane(), number).expect("a row");
        tables.push(Arc::as_ptr(encoded.table().expect("rows have a table")));
        assert!(batch.is_empty() && batch.take(lane(), 0).is_none());
    }
    assert_eq!(tables[0], tables[1]);
}
