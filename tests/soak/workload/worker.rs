//! One session: transaction after transaction, dialling again whenever the server goes away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::time::sleep;

use super::values::{Column, value};
use super::{DATABASE, ddl, tables};
use crate::dice::Dice;
use crate::plan::Work;
use crate::service::session;

/// Rows of a table above which more is deleted than inserted.
const ROWS_MAX: u64 = 3_000;

/// How often columns that were read are used before they are read again.
const COLUMNS_USES: u32 = 10;

type Result<T = ()> = std::result::Result<T, mysql_async::Error>;

pub(super) struct Worker {
    pub(super) number: u64,
    pub(super) port: Arc<AtomicU16>,
    pub(super) dice: Dice,
    pub(super) committed: Arc<AtomicU64>,
    pub(super) work: Vec<Work>,
    /// XA transactions of this session so far.
    pub(super) branches: u64,
    /// Columns of tables, and how often they are still taken for granted.
    pub(super) known: HashMap<String, (Vec<Column>, u32)>,
}

impl Worker {
    pub(super) async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            // An error ends the session only: the server was killed, or is down.
            if let Ok(session) = self.open().await
                && let Ok(session) = self.write(session, &stop).await
            {
                session.disconnect().await.ok();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn open(&mut self) -> Result<Conn> {
        let mut session = session(self.port.load(Ordering::Relaxed)).await?;
        session.query_drop(format!("USE {DATABASE}")).await?;
        session.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        session.query_drop("SET lock_wait_timeout = 2, time_zone = '+02:00'").await?;
        // MariaDB from 11.2 on lets others write meanwhile; 11.8.9 then keeps rows at times that no log has.
        let locked = "SET old_mode = CONCAT(@@old_mode, ',LOCK_ALTER_TABLE_COPY')";
        session.query_drop(locked).await.or_else(only_server)?;
        decide_prepared(&mut session, &format!("w{}-", self.number), self.dice.one_in(2)).await?;
        let setting = match self.dice.below(6) {
            0 => "binlog_row_image = MINIMAL",
            1 => "binlog_row_image = NOBLOB",
            2 => "binlog_row_value_options = PARTIAL_JSON",
            3 => "binlog_transaction_compression = ON",
            _ => return Ok(session),
        };
        // Not each server knows each.
        session.query_drop(format!("SET {setting}")).await.or_else(only_server)?;
        Ok(session)
    }

    /// Until told to stop, or for a while: other sessions have other settings.
    async fn write(&mut self, mut session: Conn, stop: &AtomicBool) -> Result<Conn> {
        for _ in 0..self.dice.between(20, 200) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let outcome = match self.kind() {
                Work::Ddl => self.change_schema(&mut session).await,
                Work::Xa => self.xa(&mut session).await,
                Work::Bulk => self.bulk(&mut session).await,
                Work::Single => self.single(&mut session).await,
                Work::Transaction => self.transaction(&mut session).await,
            };
            match outcome {
                Ok(()) => {
                    self.committed.fetch_add(1, Ordering::Relaxed);
                }
                // A deadlock, a duplicate key, a column that has just gone: on with the next.
                Err(mysql_async::Error::Server(_)) => self.give_up(&mut session).await?,
                Err(error) => return Err(error),
            }
            sleep(Duration::from_millis(self.dice.below(5))).await;
        }
        Ok(session)
    }

    fn kind(&mut self) -> Work {
        let kind = match self.dice.below(40) {
            0 => Work::Ddl,
            1..=3 => Work::Xa,
            4 => Work::Bulk,
            5..=22 => Work::Single,
            _ => Work::Transaction,
        };
        if self.work.contains(&kind) { kind } else { Work::Single }
    }

    /// Ends whatever is open. A session that is inside an XA transaction has to be given up: what is
    /// not prepared goes with it.
    async fn give_up(&mut self, session: &mut Conn) -> Result {
        session.query_drop("ROLLBACK").await
    }

    async fn single(&mut self, session: &mut Conn) -> Result {
        let statement = if self.dice.one_in(10) {
            self.statement_on(session, tables::ALONE, 1).await?
        } else {
            self.statement(session, 1).await?
        };
        session.query_drop(statement).await
    }

    async fn bulk(&mut self, session: &mut Conn) -> Result {
        let rows = self.dice.between(100, 1_500);
        let statement = self.statement(session, rows).await?;
        session.query_drop(statement).await
    }

    async fn transaction(&mut self, session: &mut Conn) -> Result {
        session.query_drop("BEGIN").await?;
        for number in 0..self.dice.between(1, 8) {
            if self.dice.one_in(4) {
                session.query_drop(format!("SAVEPOINT s{number}")).await?;
            }
            let rows = self.dice.between(1, 20);
            let statement = self.statement(session, rows).await?;
            session.query_drop(statement).await?;
            if self.dice.one_in(5) {
                // Fails when there is none of that name: then the transaction is rolled back.
                session.query_drop(format!("ROLLBACK TO s{number}")).await?;
            }
            sleep(Duration::from_millis(self.dice.below(3))).await;
        }
        let end = if self.dice.one_in(8) { "ROLLBACK" } else { "COMMIT" };
        session.query_drop(end).await
    }

    async fn xa(&mut self, session: &mut Conn) -> Result {
        self.branches += 1;
        let salt = self.dice.next() % 100_000;
        let xid = format!("'w{}-{salt}-{}', 'b', 1", self.number, self.branches);
        session.query_drop(format!("XA START {xid}")).await?;
        let mut failed = None;
        for _ in 0..self.dice.between(1, 4) {
            let rows = self.dice.between(1, 10);
            let statement = self.statement(session, rows).await?;
            if let Err(error) = session.query_drop(statement).await {
                failed = Some(error);
                break;
            }
        }
        session.query_drop(format!("XA END {xid}")).await.or_else(only_server)?;
        match failed {
            Some(error @ mysql_async::Error::Server(_)) => {
                session.query_drop(format!("XA ROLLBACK {xid}")).await?;
                return Err(error);
            }
            Some(error) => return Err(error),
            None => {}
        }
        if self.dice.one_in(6) {
            return session.query_drop(format!("XA COMMIT {xid} ONE PHASE")).await;
        }
        session.query_drop(format!("XA PREPARE {xid}")).await?;
        // Others commit meanwhile, and the streamer or the server may be killed.
        sleep(Duration::from_millis(self.dice.below(60))).await;
        let end = if self.dice.one_in(3) { "ROLLBACK" } else { "COMMIT" };
        session.query_drop(format!("XA {end} {xid}")).await
    }

    async fn change_schema(&mut self, session: &mut Conn) -> Result {
        let mut last = Ok(());
        for statement in ddl::change(&mut self.dice) {
            // What fails leaves something to clear away, which the next ones do.
            last = session.query_drop(statement).await;
            if let Err(mysql_async::Error::Server(_)) | Ok(()) = last {
                continue;
            }
            break;
        }
        last
    }

    /// An INSERT, UPDATE or DELETE of about so many rows.
    async fn statement(&mut self, session: &mut Conn, rows: u64) -> Result<String> {
        let names = tables::names();
        let table = self.dice.pick(&names).clone();
        self.statement_on(session, &table, rows).await
    }

    async fn statement_on(&mut self, session: &mut Conn, table: &str, rows: u64) -> Result<String> {
        let bare = table.trim_matches('`').to_owned();
        let columns = self.columns(session, &bare).await?;
        let count = count(session, &bare).await?;
        let kind = self.dice.below(10);
        if columns.is_empty() || kind < 5 && count < ROWS_MAX || count < 20 {
            return Ok(self.insert(table, &columns, rows));
        }
        let first = columns.first().map(|column| format!("`{}`", column.name)).unwrap_or_default();
        let order = if self.dice.one_in(2) { "ASC" } else { "DESC" };
        let some = format!("WHERE {first} % {} = 0 ORDER BY {first} {order} LIMIT {rows}", {
            self.dice.between(1, 7)
        });
        if kind < 8 && count < ROWS_MAX {
            let mut set = Vec::new();
            for column in columns.iter().filter(|column| column.name != "id") {
                if self.dice.one_in(2) && column.name != "the id" {
                    set.push(format!("`{}` = {}", column.name, value(column, &mut self.dice)));
                }
            }
            if self.dice.one_in(6) || set.is_empty() {
                set = vec![format!("{first} = {first} + {}", self.dice.between(1, 1_000_000))];
            }
            if bare == "bytes" && self.dice.one_in(2) {
                set = vec![format!("j = JSON_SET(j, '$.n', {})", self.dice.below(1_000))];
            }
            return Ok(format!("UPDATE {table} SET {} {some}", set.join(", ")));
        }
        let many = if count > ROWS_MAX && rows > 1 { ROWS_MAX / 2 } else { rows };
        Ok(format!("DELETE FROM {table} WHERE TRUE ORDER BY {first} {order} LIMIT {many}"))
    }

    /// Columns that can be written, as of a short while ago: they change under a session's hands
    /// anyway, and asking costs more than writing.
    async fn columns(&mut self, session: &mut Conn, table: &str) -> Result<Vec<Column>> {
        if let Some((columns, uses)) = self.known.get_mut(table)
            && *uses > 0
        {
            *uses -= 1;
            return Ok(columns.clone());
        }
        let columns = columns(session, table).await?;
        self.known.insert(table.to_owned(), (columns.clone(), COLUMNS_USES));
        Ok(columns)
    }

    fn insert(&mut self, table: &str, columns: &[Column], rows: u64) -> String {
        let written: Vec<_> =
            columns.iter().filter(|c| c.name != "id" && c.name != "the id").collect();
        let names: Vec<_> = written.iter().map(|column| format!("`{}`", column.name)).collect();
        let rows: Vec<_> = (0..rows)
            .map(|_| {
                let values: Vec<_> =
                    written.iter().map(|column| value(column, &mut self.dice)).collect();
                format!("({})", values.join(","))
            })
            .collect();
        format!("INSERT INTO {table} ({}) VALUES {}", names.join(","), rows.join(","))
    }
}

async fn columns(session: &mut Conn, table: &str) -> Result<Vec<Column>> {
    let query = "SELECT column_name, data_type, column_type, is_nullable, \
                 COALESCE(character_maximum_length, 0) FROM information_schema.columns WHERE \
                 table_schema = ? AND table_name = ? AND COALESCE(generation_expression, '') = '' \
                 ORDER BY ordinal_position";
    let rows: Vec<(String, String, String, String, u64)> =
        session.exec(query, (DATABASE, table)).await?;
    let columns = rows.into_iter().map(|(name, data_type, full_type, nullable, length)| Column {
        name,
        data_type,
        full_type,
        nullable: nullable == "YES",
        length,
    });
    Ok(columns.collect())
}

/// How many rows a table has, counted no further than it matters.
async fn count(session: &mut Conn, table: &str) -> Result<u64> {
    let some = format!("SELECT 1 FROM `{table}` LIMIT {}", ROWS_MAX + 1);
    let count: Option<u64> =
        session.query_first(format!("SELECT COUNT(*) FROM ({some}) AS some")).await?;
    Ok(count.unwrap_or_default())
}

/// Errors of statements are passed over; a lost session is not.
fn only_server(error: mysql_async::Error) -> Result {
    if matches!(error, mysql_async::Error::Server(_)) { Ok(()) } else { Err(error) }
}

/// Commits or rolls back XA transactions that were left prepared, by the start of their names.
pub(super) async fn decide_prepared(session: &mut Conn, start: &str, commit: bool) -> Result {
    let prepared: Vec<Row> = session.query("XA RECOVER").await?;
    for row in prepared {
        let (format, global, branch, data): (i64, usize, usize, Vec<u8>) =
            mysql_async::from_row(row);
        let text = String::from_utf8_lossy(&data).into_owned();
        if let (Some(name), Some(branch)) = (text.get(..global), text.get(global..global + branch))
            && name.starts_with(start)
        {
            let end = if commit { "COMMIT" } else { "ROLLBACK" };
            let decide = format!("XA {end} '{name}', '{branch}', {format}");
            session.query_drop(decide).await.or_else(only_server)?;
        }
    }
    Ok(())
}
