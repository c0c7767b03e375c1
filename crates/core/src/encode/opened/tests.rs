use std::sync::Arc;

use proptest::prelude::*;

use super::OpenedRows;
use crate::change::{Image, RowBuffer, Transaction};
use crate::encode::proto::frame::Content;
use crate::encode::testing::{OwnedChange, any_change, any_transaction, table};
use crate::encode::{
    Batch, Destination, FinalizeOptions, Finalizer, Format, Lane, LaneId, Origin, RowOptions, json,
    open, proto,
};

fn origin() -> Origin {
    Origin {
        stream: "prod".into(),
        server_uuid: String::from("uuid"),
        server_id: 7,
        epoch: 3,
        connector_version: "0",
        snapshot: false,
        replay: None,
    }
}

/// The batch as a consumer receives it.
fn published(input: &[(Transaction, Vec<OwnedChange>)]) -> proto::ChangeBatch {
    let key = Lane::key_of("shop", "orders", 0);
    let lane = Lane { id: LaneId(1), key: key.into(), number: 0, count: 1 };
    let mut batch = Batch::new(Format::Protobuf, RowOptions::default(), table("orders", 5));
    for (group, (transaction, changes)) in input.iter().enumerate() {
        for change in changes {
            batch.push(group as u64, transaction, &change.change());
        }
    }
    let encoded = batch.take(lane, 41).expect("there are rows");
    let mut finalizer = Finalizer::new(FinalizeOptions { zstd_level: 1 }).expect("zstd starts");
    let topic = Destination { arn: "arn".into(), fifo: true, message_bytes_max: 262_144 };
    let message = finalizer.finalize(&encoded, &origin(), &topic);
    match open::content(&message.body).expect("our own message opens") {
        Content::Batch(batch) => batch,
        other => panic!("{other:?}"),
    }
}

/// Bytes of an image's cells: NaN is not equal to itself, bytes are.
fn bytes(image: Option<Image<'_>>) -> Option<Vec<u8>> {
    image.map(|image| {
        let mut out = Vec::new();
        image.cells().for_each(|cell| {
            out.extend_from_slice(format!("{:?} ", std::mem::discriminant(&cell)).as_bytes());
            json::put_cell(&mut out, cell);
        });
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_back_as_the_changes_that_they_were_made_of(
        input in prop::collection::vec(
            (any_transaction(), prop::collection::vec(any_change(5), 1..6)), 1..5),
    ) {
        let rows = OpenedRows::new(published(&input), |_| None).expect("our own batch");
        prop_assert_eq!((rows.first(), &**rows.lane()), (41, "shop.orders#0"));
        prop_assert_eq!(&**rows.table(), &*table("orders", 5));
        let wanted: Vec<_> = input
            .iter()
            .flat_map(|(transaction, changes)| changes.iter().map(move |change| (transaction, change)))
            .collect();
        prop_assert_eq!(rows.len(), wanted.len());
        let mut buffer = RowBuffer::default();
        for (index, (transaction, owned)) in wanted.into_iter().enumerate() {
            prop_assert_eq!(rows.transaction(index), Some(transaction));
            let (found, wanted) = (rows.change(index, &mut buffer).expect("a row"), owned.change());
            prop_assert_eq!((found.op, found.row), (wanted.op, wanted.row));
            prop_assert_eq!(bytes(found.before), bytes(wanted.before));
            prop_assert_eq!(bytes(found.after), bytes(wanted.after));
        }
        prop_assert!(rows.change(rows.len(), &mut buffer).is_none());
    }
}

/// Makes a good batch a bad one.
type Spoil = fn(&mut proto::ChangeBatch);

#[test]
fn a_batch_that_contradicts_itself_is_refused_with_its_lane() {
    let good = || {
        published(&[(
            crate::encode::testing::transaction(1),
            vec![OwnedChange::insert(0, &[crate::encode::testing::int(1)])],
        )])
    };
    assert!(OpenedRows::new(good(), |_| None).is_ok());
    let refused = |spoil: Spoil| {
        let mut batch = good();
        spoil(&mut batch);
        OpenedRows::new(batch, |_| None).expect_err("it is spoiled").to_string()
    };
    let spoils: [(Spoil, &str); 11] = [
        (|batch| batch.source = None, "no source"),
        (|batch| batch.table = None, "no table"),
        (|batch| batch.before_image = 9, "before image"),
        (|batch| batch.transactions[0].gtid = String::from("x:y"), "GTID"),
        (|batch| batch.transactions[0].file = 1, "file"),
        (|batch| batch.rows[0].transaction = 1, "transaction that is not there"),
        (|batch| batch.rows[0].op = 0, "images do not fit"),
        (|batch| batch.rows[0].after = None, "images do not fit"),
        (|batch| batch.rows[0].op = 4, "snapshot among changes"),
        (|batch| batch.sequence_first = u64::MAX, "numbers beyond"),
        (|batch| batch.table.as_mut().expect("a table").columns[0].logical_type = 99, "type"),
    ];
    for (spoil, wanted) in spoils {
        let found = refused(spoil);
        assert!(found.contains(wanted) && found.contains("shop.orders#0"), "{found}");
    }
    // A table of the same fingerprint is taken from those that are known, if it is the same table.
    let known = table("orders", 5);
    let rows = OpenedRows::new(good(), |_| Some(Arc::clone(&known))).expect("good");
    assert!(Arc::ptr_eq(rows.table(), &known));
    let rows = OpenedRows::new(good(), |_| Some(table("others", 5))).expect("good");
    assert_eq!(&*rows.table().name, "orders");
}
