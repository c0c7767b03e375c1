//! Snapshots: whatever a copy had, behind the last part it is what the source is.

use std::collections::BTreeMap;
use std::sync::Arc;

use binpulse_client::proto::{self, Op};
use binpulse_relay::target::copy::Unit;

use super::zoo::{self, Val};
use super::{Server, apply, lane, opened, row, rows_unit, schema};
use crate::dice::Dice;

/// A key of one column or two.
type Key = Vec<i64>;

struct Chunks<'s> {
    server: &'s Server,
    keys: usize,
    source: BTreeMap<Key, i64>,
    next: u64,
    part: u64,
}

fn ints(values: &[i64]) -> Vec<proto::Value> {
    values.iter().map(|value| Val::Int(*value).proto()).collect()
}

impl Chunks<'_> {
    fn name(&self) -> String {
        format!("parts{}", self.keys)
    }

    fn schema(&self) -> proto::TableSchema {
        let kin = |name| zoo::Kin {
            name,
            sql: "bigint",
            logical: proto::LogicalType::Integer,
            value: |_| Val::Null,
        };
        let columns: Vec<_> =
            ["k1", "k2"][..self.keys].iter().map(|name| kin(*name)).chain([kin("v")]).collect();
        schema(&self.name(), &columns, u32::try_from(self.keys).expect("small"))
    }

    fn key(&self, dice: &mut Dice) -> Key {
        let number = i64::try_from(dice.below(40)).expect("small");
        if self.keys == 1 { vec![number] } else { vec![number / 6, number % 6] }
    }

    fn image(&self, key: &Key) -> Vec<proto::Value> {
        ints(&[key.as_slice(), &[self.source[key]]].concat())
    }

    /// Changes of the source that come as rows.
    fn changes(&mut self, dice: &mut Dice, touched: &mut Vec<Key>) -> Option<Unit> {
        let mut rows = Vec::new();
        for _ in 0..dice.below(6) {
            let key = self.key(dice);
            touched.push(key.clone());
            let value = i64::try_from(dice.below(1000)).expect("small");
            if let Some(old) = self.source.get(&key).copied() {
                let before = ints(&[key.as_slice(), &[old]].concat());
                if dice.one_in(2) {
                    self.source.remove(&key);
                    rows.push(row(Op::Delete, Some(before), None));
                } else {
                    self.source.insert(key.clone(), value);
                    rows.push(row(Op::Update, Some(before), Some(self.image(&key))));
                }
            } else {
                self.source.insert(key.clone(), value);
                rows.push(row(Op::Insert, None, Some(self.image(&key))));
            }
        }
        if rows.is_empty() {
            return None;
        }
        let lane = lane(&self.name());
        let rows = opened(self.schema(), &lane, self.next, rows);
        self.next += rows.len() as u64;
        Some(rows_unit(&lane, &rows))
    }

    /// A chunk: read, then changes while it is read, then its parts without what they touched.
    fn chunk(
        &mut self,
        dice: &mut Dice,
        number: u64,
        after: Option<&Key>,
        upto: Option<&Key>,
    ) -> Vec<Unit> {
        let within = |key: &Key| {
            after.is_none_or(|after| key > after) && upto.is_none_or(|upto| key <= upto)
        };
        let read: Vec<_> = self.source.keys().filter(|key| within(key)).cloned().collect();
        let images: BTreeMap<_, _> =
            read.iter().map(|key| (key.clone(), self.image(key))).collect();
        let mut touched = Vec::new();
        let mut units: Vec<_> = self.changes(dice, &mut touched).into_iter().collect();
        let rows: Vec<_> = images
            .into_iter()
            .filter(|(key, _)| !touched.contains(key))
            .map(|(_, image)| row(Op::Read, None, Some(image)))
            .collect();
        let size = usize::try_from(dice.between(1, 5)).expect("small");
        let mut parts: Vec<_> = rows.chunks(size).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let (lane, last) = (lane(&self.name()), parts.len() - 1);
        let image = |key: &Key| proto::Image { values: ints(key) };
        for (index, rows) in parts.into_iter().enumerate() {
            let rows = opened(self.schema(), &lane, 0, rows);
            let part = proto::SnapshotPart {
                snapshot: "01J".to_owned(),
                part: self.part,
                anchor: Some(proto::LaneMark {
                    lane: lane.lane.to_string(),
                    sequence_next: self.next,
                    epoch: 3,
                    ..Default::default()
                }),
                chunk: number,
                attempt: 1,
                attempt_part: 1,
                last_part: index == last,
                key_after: after.map(image),
                key_upto: upto.map(image),
                touched: if index == 0 { touched.iter().map(image).collect() } else { Vec::new() },
                ..Default::default()
            };
            self.part += (rows.len() as u64).max(1);
            units.push(Unit::Part { lane: lane.clone(), part: Arc::new(part), rows });
            // Rows between parts are of later places, and no part of this chunk tells of them.
        }
        units
    }
}

async fn snapshot(server: &Server, keys: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    let name = format!("shop.parts{keys}");
    let mut world = Chunks { server, keys, source: BTreeMap::new(), next: 1, part: 1 };
    // The source's rows before the stream began, which the copy never saw.
    for _ in 0..30 {
        let key = world.key(&mut dice);
        world.source.insert(key, 7);
    }
    let first = world.changes(&mut dice, &mut Vec::new());
    let copies = [server.copy().await, server.copy().await];
    apply(&copies[0], &first.into_iter().collect::<Vec<_>>()).await;
    server
        .run(&format!(
            "CREATE TABLE IF NOT EXISTS {name} ({}v bigint, PRIMARY KEY ({}))",
            if keys == 1 { "k1 bigint, " } else { "k1 bigint, k2 bigint, " },
            if keys == 1 { "k1" } else { "k1, k2" }
        ))
        .await;
    // And rows that the copy has and the source has not.
    for number in [-5, 3, 11, 12, 39, 77] {
        let values = if keys == 1 {
            format!("{number}, 0")
        } else {
            format!("{}, {}, 0", number / 6, number % 6)
        };
        let sql = format!("INSERT INTO {name} VALUES ({values})");
        if server
            .rows(&format!(
                "SELECT 1 FROM {name} WHERE {}",
                if keys == 1 {
                    format!("k1 = {number}")
                } else {
                    format!("k1 = {} AND k2 = {}", number / 6, number % 6)
                }
            ))
            .await
            .is_empty()
        {
            server.run(&sql).await;
        }
    }
    let mut bounds: Vec<_> = (0..4).map(|_| world.key(&mut dice)).collect();
    bounds.sort();
    bounds.dedup();
    let mut units = Vec::new();
    for at in 0..=bounds.len() {
        let after = at.checked_sub(1).map(|at| bounds[at].clone());
        units.extend(world.chunk(&mut dice, at as u64 + 1, after.as_ref(), bounds.get(at)));
        let more = world.changes(&mut dice, &mut Vec::new());
        units.extend(more);
    }
    let mut at = 0;
    while at < units.len() {
        let end = (at + usize::try_from(dice.between(1, 4)).expect("small")).min(units.len());
        let again = at.saturating_sub(usize::try_from(dice.below(3)).expect("small"));
        let applied = apply(&copies[usize::from(dice.one_in(2))], &units[again..end]).await;
        assert!(applied.behind.is_empty() && applied.ranges_passed == 0, "{applied:?}");
        at = end;
    }
    let columns = if keys == 1 { "k1, v" } else { "k1, k2, v" };
    let order = if keys == 1 { "k1" } else { "k1, k2" };
    let found = world.server.rows(&format!("SELECT {columns} FROM {name} ORDER BY {order}")).await;
    let expected: Vec<Vec<Option<String>>> = world
        .source
        .iter()
        .map(|(key, value)| {
            key.iter().chain([value]).map(|number| Some(number.to_string())).collect()
        })
        .collect();
    assert_eq!(found, expected, "seed {seed}");
    let left = if server.is_postgres() {
        "binpulse_relay_chunk_key"
    } else {
        "relay.binpulse_relay_chunk_key"
    };
    assert!(server.rows(&format!("SELECT 1 FROM {left}")).await.is_empty());
    clean(server, &name).await;
}

/// Who joins within a chunk does not know what its first parts told of, and removes nothing.
async fn joining_within_a_chunk_removes_nothing(server: &Server) {
    let dice = &mut Dice::new(1);
    let mut world = Chunks { server, keys: 1, source: BTreeMap::new(), next: 1, part: 1 };
    world.source.extend((0..12).map(|number| (vec![number], 7)));
    let units: Vec<_> = world.chunk(dice, 1, None, None);
    let is_part = |unit: &&Unit| matches!(unit, Unit::Part { .. });
    let parts: Vec<_> = units.iter().filter(is_part).cloned().collect();
    assert!(parts.len() > 2, "{}", parts.len());
    let copy = server.copy().await;
    // A row of a part that the copy never sees.
    server.run("CREATE TABLE shop.parts1 (k1 bigint, v bigint, PRIMARY KEY (k1))").await;
    server.run("INSERT INTO shop.parts1 VALUES (0, 7)").await;
    let applied = apply(&copy, &parts[1..2]).await;
    assert_eq!(applied.removed, 0);
    let applied = apply(&copy, &parts[2..]).await;
    assert_eq!((applied.removed, applied.ranges_passed), (0, 1));
    assert_eq!(server.rows("SELECT v FROM shop.parts1 WHERE k1 = 0").await.len(), 1);
    clean(server, "shop.parts1").await;
}

/// What a part tells of that is kept elsewhere is not taken for gone, and the next chunk is as any other.
async fn a_part_that_is_passed_removes_nothing(server: &Server) {
    let dice = &mut Dice::new(1);
    let mut world = Chunks { server, keys: 1, source: BTreeMap::new(), next: 1, part: 1 };
    world.source.extend((0..12).map(|number| (vec![number], 7)));
    let units = world.chunk(dice, 1, None, Some(&vec![50]));
    server.run("CREATE TABLE shop.parts1 (k1 bigint, v bigint, PRIMARY KEY (k1))").await;
    server.run("INSERT INTO shop.parts1 VALUES (49, 7), (51, 7)").await;
    let copy = server.copy().await;
    let passed = |unit: &Unit| match unit {
        Unit::Part { lane, part, rows } => {
            Unit::PassedPart { lane: lane.clone(), part: Arc::clone(part), rows: rows.len() as u64 }
        }
        other => other.clone(),
    };
    let parts = units.iter().filter(|unit| matches!(unit, Unit::Part { .. })).count();
    assert!(parts > 2, "{parts}");
    let at = units.len() - 2;
    for (index, unit) in units.iter().enumerate() {
        let unit = if index == at { passed(unit) } else { unit.clone() };
        let applied = apply(&copy, &[unit]).await;
        assert!(applied.behind.is_empty() && applied.removed == 0, "{index}: {applied:?}");
    }
    // The last part of a chunk, and then a chunk that is whole.
    let next = world.chunk(dice, 2, Some(&vec![50]), Some(&vec![50]));
    for unit in &next {
        assert!(apply(&copy, &[passed(unit)]).await.behind.is_empty());
    }
    for unit in world.chunk(dice, 3, Some(&vec![50]), None) {
        assert!(apply(&copy, &[unit]).await.behind.is_empty());
    }
    let left = server.rows("SELECT k1 FROM shop.parts1 WHERE k1 > 40").await;
    assert_eq!(
        left,
        [[Some("49".to_owned())]],
        "51 is gone, 49 may be in the part that was passed"
    );
    clean(server, "shop.parts1").await;
}

/// Of a chunk whose first parts do not come nothing is taken for gone, and the next chunk is as any other.
async fn parts_that_do_not_come_remove_nothing(server: &Server) {
    let dice = &mut Dice::new(1);
    let mut world = Chunks { server, keys: 1, source: BTreeMap::new(), next: 1, part: 1 };
    world.source.extend((0..12).map(|number| (vec![number], 7)));
    let units = world.chunk(dice, 1, None, Some(&vec![50]));
    server.run("CREATE TABLE shop.parts1 (k1 bigint, v bigint, PRIMARY KEY (k1))").await;
    server.run("INSERT INTO shop.parts1 VALUES (49, 7), (51, 7)").await;
    let copy = server.copy().await;
    let place = |unit: &Unit| match unit {
        Unit::Part { lane, part, .. } => Some((lane.clone(), part.attempt, part.part)),
        _ => None,
    };
    let last = units.iter().filter_map(place).next_back().expect("a part");
    let is_lost = |unit: &Unit| place(unit).is_some_and(|place| place < last);
    assert!(units.iter().filter(|unit| is_lost(unit)).count() > 1, "{units:?}");
    for unit in units.iter().filter(|unit| !is_lost(unit)) {
        if place(unit).as_ref() == Some(&last) {
            let (lane, attempt, next) = last.clone();
            let passed = Unit::PassedParts { lane: lane.clone(), attempt, next };
            // Said twice, after a transaction whose answer did not come, it changes nothing.
            for passed in [passed.clone(), passed] {
                let applied = apply(&copy, &[passed]).await;
                assert_eq!(applied.lanes.last().map(|(_, mark)| mark.part_next), Some(next));
            }
        }
        let applied = apply(&copy, std::slice::from_ref(unit)).await;
        assert!(applied.behind.is_empty() && applied.removed == 0, "{applied:?}");
    }
    for unit in world.chunk(dice, 3, Some(&vec![50]), None) {
        assert!(apply(&copy, &[unit]).await.behind.is_empty());
    }
    let left = server.rows("SELECT k1 FROM shop.parts1 WHERE k1 > 40").await;
    assert_eq!(left, [[Some("49".to_owned())]], "51 is gone, 49 may be in a part that was lost");
    clean(server, "shop.parts1").await;
}

async fn clean(server: &Server, table: &str) {
    server.run(&format!("DROP TABLE {table}")).await;
    let marks =
        if server.is_postgres() { "binpulse_relay_lane" } else { "relay.binpulse_relay_lane" };
    server.run(&format!("DELETE FROM {marks}")).await;
}

/// Random snapshots over random rows.
pub(crate) async fn behind_a_snapshot_a_copy_is_its_source(server: &Server) {
    joining_within_a_chunk_removes_nothing(server).await;
    a_part_that_is_passed_removes_nothing(server).await;
    parts_that_do_not_come_remove_nothing(server).await;
    for seed in 1..=8 {
        for keys in [1, 2] {
            snapshot(server, keys, seed).await;
        }
    }
}
