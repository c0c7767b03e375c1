//! Digests of `binpulse verify`, and tables that only have a UNIQUE key.

use std::sync::Arc;

use binpulse_client::proto::{self, LogicalType, Op};
use binpulse_core::change::RowBuffer;
use binpulse_core::encode::RowsDigest;
use binpulse_core::encode::opened::OpenedRows;
use binpulse_relay::target::copy::{Compared, CopyError, Unit, Verdict};

use super::zoo::{self, Kin, Val};
use super::{Server, apply, lane, opened, row, rows_unit, schema};
use crate::dice::Dice;

const ROWS: i64 = 60;

fn integer(name: &'static str) -> Kin {
    Kin { name, sql: "int", logical: LogicalType::Integer, value: |_| Val::Null }
}

/// A value that the server can give back as it came.
fn value(kin: &Kin, dice: &mut Dice, is_postgres: bool) -> proto::Value {
    loop {
        let value = if dice.one_in(8) { Val::Null } else { (kin.value)(dice) };
        let is_day = matches!(
            kin.logical,
            LogicalType::Date | LogicalType::Datetime | LogicalType::Timestamp
        );
        if let (true, true, Val::Text(text)) = (is_postgres, is_day, &value)
            && zoo::same_form(kin, Some(text.clone())).is_none()
        {
            continue;
        }
        return value.proto();
    }
}

fn image(values: &[i64]) -> proto::Image {
    proto::Image { values: values.iter().map(|value| Val::Int(*value).proto()).collect() }
}

fn digest(rows: &OpenedRows, is_in: impl Fn(usize) -> bool) -> proto::ChunkDigest {
    let (mut digest, mut buffer, mut space) =
        (RowsDigest::default(), RowBuffer::default(), Vec::new());
    for index in (0..rows.len()).filter(|index| is_in(*index)) {
        let change = rows.change(index, &mut buffer).expect("a row");
        digest.add(&change.after.expect("an image"), &mut space);
    }
    digest.message()
}

/// A part of a run of `verify`, without rows.
fn told(
    table: &proto::TableSchema,
    name: &str,
    (number, next): (u64, u64),
    part: proto::SnapshotPart,
) -> Unit {
    let lane = lane(name);
    let anchor = proto::LaneMark {
        lane: lane.lane.to_string(),
        sequence_next: next,
        epoch: 3,
        ..proto::LaneMark::default()
    };
    let part = proto::SnapshotPart {
        snapshot: "01J".to_owned(),
        part: number,
        anchor: Some(anchor),
        chunk: number,
        attempt: 1,
        attempt_part: 1,
        ..part
    };
    let rows = opened(table.clone(), &lane, 0, Vec::new());
    Unit::Part { lane, part: Arc::new(part), rows }
}

fn verdicts(compared: &[Compared]) -> Vec<(Verdict, u64)> {
    compared.iter().map(|compared| (compared.verdict, compared.rows_here)).collect()
}

/// Values of every type come back as they went in, and what changed is noticed.
async fn of_every_type(server: &Server) {
    let mut dice = Dice::new(7);
    let mut kins = vec![integer("id")];
    kins.extend(zoo::zoo(server.is_mysql(), server.has_vectors()));
    let (name, table) = ("digests", schema("digests", &kins, 1));
    let rows: Vec<_> = (0..ROWS)
        .map(|id| {
            let others = kins.iter().skip(1).map(|kin| value(kin, &mut dice, server.is_postgres()));
            let values = std::iter::once(Val::Int(id).proto()).chain(others).collect();
            row(Op::Insert, None, Some(values))
        })
        .collect();
    let rows = opened(table.clone(), &lane(name), 1, rows);
    let next = rows.len() as u64 + 1;
    let copy = server.copy().await;
    apply(&copy, &[rows_unit(&lane(name), &rows)]).await;
    let head = proto::SnapshotPart {
        key_upto: Some(image(&[20])),
        touched: vec![image(&[7]), image(&[900])],
        digest: Some(digest(&rows, |id| id <= 20 && id != 7)),
        ..Default::default()
    };
    let tail = proto::SnapshotPart {
        key_after: Some(image(&[20])),
        digest: Some(digest(&rows, |id| id > 20)),
        ..Default::default()
    };
    let of = |first: u64| {
        [(first, head.clone()), (first + 1, tail.clone())]
            .map(|(number, part)| told(&table, name, (number, next), part))
    };
    let applied = apply(&copy, &of(1)).await;
    let equal = [(Verdict::Equal, 20), (Verdict::Equal, 39)];
    assert_eq!(verdicts(&applied.compared), equal, "{:?}", applied.compared);
    // What the chunk does not speak of may differ.
    server.run("DELETE FROM shop.digests WHERE id IN (7, 30)").await;
    let applied = apply(&copy, &of(3)).await;
    let differs = [(Verdict::Equal, 20), (Verdict::Differs, 38)];
    assert_eq!(verdicts(&applied.compared), differs, "{:?}", applied.compared);
    assert_eq!(applied.compared[1].after, ["20"]);
    // Another process knows of it, without having compared anything.
    let known = server.copy().await.differing().await.expect("it is read");
    assert_eq!(known, [("shop.digests".to_owned(), vec![applied.compared[1].clone()])]);
    assert_eq!(applied.differing, known);
    // Other values, and then more rows than there are.
    server.run("UPDATE shop.digests SET y = 1999 WHERE id = 3").await;
    server.run("INSERT INTO shop.digests (id) VALUES (30), (77), (78), (79)").await;
    let applied = apply(&copy, &of(5)).await;
    let differs = [(Verdict::Differs, 20), (Verdict::Differs, 40)];
    assert_eq!(verdicts(&applied.compared), differs, "{:?}", applied.compared);
    assert_eq!(applied.differing.last().map(|(_, ranges)| ranges.len()), Some(3));
    server.run("DROP TABLE shop.digests").await;
}

/// The key that a snapshot goes by is the copy's key, also for another process that only gets rows.
async fn of_a_unique_key(server: &Server) {
    let (name, mut table) = ("uniquely", schema("uniquely", &["v", "b", "a"].map(integer), 0));
    table.primary_key.clear();
    let values = |v: i64, b: i64, a: i64| image(&[v, b, a]).values;
    let insert =
        opened(table.clone(), &lane(name), 1, vec![row(Op::Insert, None, Some(values(1, 2, 3)))]);
    let copy = server.copy().await;
    let refused = copy.apply(&[rows_unit(&lane(name), &insert)]).await.expect_err("no key yet");
    assert!(matches!(refused, CopyError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("snapshot"), "{refused}");

    let read = vec![
        row(Op::Read, None, Some(values(1, 2, 3))),
        row(Op::Read, None, Some(values(5, 2, 4))),
        row(Op::Read, None, Some(values(6, 3, 1))),
    ];
    let rows = opened(table.clone(), &lane(name), 0, read);
    let Unit::Part { lane: of_lane, part, .. } = told(
        &table,
        name,
        (1, 2),
        proto::SnapshotPart { last_part: true, key_columns: vec![1, 2], ..Default::default() },
    ) else {
        panic!("a part")
    };
    apply(&copy, &[Unit::Passed { lane: lane(name), first: 1, last: 1 }]).await;
    apply(&copy, &[Unit::Part { lane: of_lane, part, rows }]).await;

    // Another process: it has only the copy's own key to go by.
    let other = server.copy().await;
    let changes = vec![
        row(Op::Update, Some(values(1, 2, 3)), Some(values(9, 2, 3))),
        row(Op::Delete, Some(values(5, 2, 4)), None),
        row(Op::Insert, None, Some(values(7, 0, 0))),
    ];
    let changes = opened(table.clone(), &lane(name), 2, changes);
    apply(&other, &[rows_unit(&lane(name), &changes)]).await;
    let found = server.rows("SELECT b, a, v FROM shop.uniquely ORDER BY b, a").await;
    let wanted = [[0, 0, 7], [2, 3, 9], [3, 1, 6]];
    assert_eq!(found, wanted.map(|row| row.map(|value| Some(value.to_string())).to_vec()));

    let all = [values(7, 0, 0), values(9, 2, 3), values(6, 3, 1)];
    let all = all.map(|values| row(Op::Read, None, Some(values))).to_vec();
    let rows = opened(table.clone(), &lane(name), 0, all);
    for (number, part) in [
        (4, proto::SnapshotPart { digest: Some(digest(&rows, |_| true)), ..Default::default() }),
        (
            5,
            proto::SnapshotPart {
                key_after: Some(image(&[0, 0])),
                key_upto: Some(image(&[2, 3])),
                digest: Some(digest(&rows, |at| at == 1)),
                ..Default::default()
            },
        ),
    ] {
        let part = proto::SnapshotPart { key_columns: vec![1, 2], ..part };
        let applied = apply(&other, &[told(&table, name, (number, 5), part)]).await;
        assert_eq!(applied.compared[0].verdict, Verdict::Equal, "{:?}", applied.compared);
    }
    server.run("DROP TABLE shop.uniquely").await;
}

/// See the module.
pub(crate) async fn digests_tell_whether_a_copy_is_its_source(server: &Server) {
    of_every_type(server).await;
    of_a_unique_key(server).await;
}
