//! A random history of a table, its delivery with everything that goes wrong, and the comparison.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use binpulse_client::proto::{self, Op};
use binpulse_core::encode::opened::OpenedRows;
use binpulse_relay::lane::LaneKey;
use binpulse_relay::target::copy::Unit;
use mysql_async::prelude::Queryable;

use super::zoo::{self, Kin, Val};
use super::{Server, apply, lane, opened, row, schema};
use crate::dice::Dice;

/// Kills during one delivery.
const KILLS_MAX: u32 = 40;

/// What the source holds for equal: its collation ignores case.
type Key = (i64, String);

pub(crate) struct World {
    lane: LaneKey,
    columns: Vec<Kin>,
    rows: BTreeMap<Key, Vec<Val>>,
    batches: Vec<Arc<OpenedRows>>,
    total: u64,
}

fn key_of(row: &[Val]) -> Key {
    match row {
        [Val::Int(id), Val::Text(code), ..] => (*id, code.to_lowercase()),
        _ => panic!("{row:?}"),
    }
}

fn protos(row: &[Val]) -> Vec<proto::Value> {
    row.iter().map(Val::proto).collect()
}

impl World {
    pub(crate) fn new(dice: &mut Dice, server: &Server, changes: u64) -> Self {
        let columns: Vec<_> = zoo::key()
            .into_iter()
            .chain(zoo::zoo(server.is_mysql() || server.is_postgres(), server.has_vectors()))
            .collect();
        let lane = lane("zoo");
        let mut world =
            Self { lane, columns, rows: BTreeMap::new(), batches: Vec::new(), total: 0 };
        let mut left = changes;
        while left > 0 {
            let count = dice.between(1, 20).min(left);
            left -= count;
            let rows = (0..count).map(|_| world.change(dice)).collect();
            let table = schema("zoo", &world.columns, 2);
            world.batches.push(opened(table, &world.lane, world.total + 1, rows));
            world.total += count;
        }
        world
    }

    fn new_row(&self, dice: &mut Dice) -> Vec<Val> {
        let value = |(at, kin): (usize, &Kin)| {
            if at > 1 && dice.one_in(6) { Val::Null } else { (kin.value)(dice) }
        };
        self.columns.iter().enumerate().map(value).collect()
    }

    /// One change of the source, as its message has it.
    fn change(&mut self, dice: &mut Dice) -> proto::Row {
        let new = self.new_row(dice);
        let key = key_of(&new);
        let Some(old) = self.rows.get(&key).cloned() else {
            // Another row moves to this key, or a row is made.
            let moved = self.rows.keys().next().cloned().filter(|_| dice.one_in(4));
            if let Some(from) = moved {
                let before = self.rows.remove(&from).expect("there");
                self.rows.insert(key, new.clone());
                return row(Op::Update, Some(protos(&before)), Some(protos(&new)));
            }
            self.rows.insert(key, new.clone());
            return row(Op::Insert, None, Some(protos(&new)));
        };
        match dice.below(10) {
            0 | 1 => {
                self.rows.remove(&key);
                // A minimal image has the key alone.
                let before = if dice.one_in(2) { &old[..2] } else { &old[..] };
                row(Op::Delete, Some(protos(before)), None)
            }
            2 | 3 => {
                // A minimal image: the key before, what changed after.
                let mut after = vec![proto::Value::default(); old.len()];
                let mut kept = old.clone();
                for _ in 0..3 {
                    let at = 2 + usize::try_from(dice.below(old.len() as u64 - 2)).expect("small");
                    kept[at] = new[at].clone();
                    after[at] = new[at].proto();
                }
                self.rows.insert(key, kept);
                row(Op::Update, Some(protos(&old[..2])), Some(after))
            }
            _ => {
                self.rows.insert(key, new.clone());
                row(Op::Update, Some(protos(&old)), Some(protos(&new)))
            }
        }
    }

    /// Every row comes, in its order, some of them several times, by two processes whose sessions are
    /// killed while they work.
    pub(crate) async fn deliver(&self, dice: &mut Dice, server: &Server) {
        let copies = [server.copy().await, server.copy().await];
        let done = AtomicBool::new(false);
        let mut pauses = dice.fork();
        let killer = async {
            // So many that the end is reached on a slow machine too.
            for _ in 0..KILLS_MAX {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let pause = std::time::Duration::from_millis(pauses.between(20, 300));
                tokio::time::sleep(pause).await;
                server.kill_copies().await;
            }
        };
        let work = async {
            let mut at = 0;
            while at < self.batches.len() {
                let count = usize::try_from(dice.between(1, 12)).expect("small");
                let end = (at + count).min(self.batches.len());
                // What came before comes again.
                let again = usize::try_from(dice.below(6)).expect("small");
                let units: Vec<_> = self.batches[at.saturating_sub(again)..end]
                    .iter()
                    .flat_map(|batch| self.units(dice, batch))
                    .collect();
                let both = dice.one_in(3);
                let (one, other) = (&copies[usize::from(dice.one_in(2))], &copies[0]);
                let other = async {
                    if both {
                        apply(other, &units).await;
                    }
                };
                let (applied, ()) = tokio::join!(apply(one, &units), other);
                assert!(applied.behind.is_empty(), "{applied:?}");
                assert_eq!(applied.missing, 0, "every row is there");
                at = end;
            }
            done.store(true, Ordering::Relaxed);
        };
        tokio::join!(killer, work);
        let record = copies[0].lane(&self.lane).await;
        // The last kill may have met this session.
        let record = match record {
            Ok(record) => record,
            Err(_) => copies[0].lane(&self.lane).await.expect("answers"),
        };
        assert_eq!(record.next, self.total + 1);
    }

    /// A message as a whole, or in two units.
    fn units(&self, dice: &mut Dice, rows: &Arc<OpenedRows>) -> Vec<Unit> {
        let (first, last) = (rows.first(), rows.first() + rows.len() as u64 - 1);
        let middle = dice.between(first, last);
        let unit = |first, last| {
            (first <= last).then(|| Unit::Rows {
                lane: self.lane.clone(),
                rows: Arc::clone(rows),
                first,
                last,
            })
        };
        [unit(first, middle), unit(middle + 1, last)].into_iter().flatten().collect()
    }

    /// Makes the source in MySQL or MariaDB, and compares it with the copy by SELECT.
    pub(crate) async fn compare(&self, source: &Server, copy: &Server) {
        let Server::Mysql(mysqld) = source else { panic!("a source is MySQL or MariaDB") };
        let mut conn = mysqld.connect().await.expect("connects");
        let mode = "SET sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00'";
        conn.query_drop(mode).await.expect("sets");
        conn.query_drop("DROP DATABASE IF EXISTS origin").await.expect("drops");
        conn.query_drop("CREATE DATABASE origin CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
            .await
            .expect("makes");
        let columns: Vec<_> =
            self.columns.iter().map(|kin| format!("`{}` {} NULL", kin.name, kin.sql)).collect();
        let columns = columns.join(", ").replacen("int NULL", "int NOT NULL", 1).replacen(
            "varchar(20) NULL",
            "varchar(20) NOT NULL",
            1,
        );
        let create = format!("CREATE TABLE origin.zoo ({columns}, PRIMARY KEY (id, code))");
        conn.query_drop(create).await.expect("makes");
        let places: Vec<_> =
            self.columns.iter().map(|kin| zoo::placeholder(kin, source.is_mysql())).collect();
        let insert = format!("INSERT INTO origin.zoo VALUES ({})", places.join(", "));
        for row in self.rows.values() {
            let params: Vec<_> = row.iter().map(Val::param).collect();
            conn.exec_drop(&insert, params).await.expect("a row");
        }
        let shown =
            |show: fn(&Kin) -> String| self.columns.iter().map(show).collect::<Vec<_>>().join(", ");
        let mysql = |table: &str| format!("SELECT {} FROM {table}", shown(zoo::shown_by_mysql));
        let mut expected = source.rows(&mysql("origin.zoo")).await;
        let mut found = if copy.is_postgres() {
            copy.rows(&format!("SELECT {} FROM shop.zoo", shown(zoo::shown_by_postgres))).await
        } else {
            copy.rows(&mysql("shop.zoo")).await
        };
        if copy.is_postgres() {
            for row in expected.iter_mut().chain(&mut found) {
                for (kin, cell) in self.columns.iter().zip(row) {
                    *cell = zoo::same_form(kin, cell.take());
                }
            }
        }
        expected.sort();
        found.sort();
        assert!(!expected.is_empty());
        assert_eq!(expected.len(), found.len(), "rows");
        for (expected, found) in expected.iter().zip(&found) {
            for ((kin, expected), found) in self.columns.iter().zip(expected).zip(found) {
                assert_eq!(expected, found, "{} of {:?}", kin.name, found);
            }
        }
    }
}
