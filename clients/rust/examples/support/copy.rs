//! A copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes change in the
//! transaction of the rows. The tables are there already, with the columns of the source's.

use std::time::Instant;

use binpulse_client::ledger::{CREATE_TABLE, Ledger, Next, Store};
use binpulse_client::proto::{ChangeBatch, TableSchema};
use binpulse_client::{Content, Freshness, Image, Row, Value};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params, Transaction, TxOpts};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Copy {
    pub(crate) db: Conn,
    pub(crate) ledger: Ledger,
    pub(crate) freshness: Freshness,
    /// Rows that were applied.
    pub(crate) applied: u64,
    pub(crate) started: Instant,
}

impl Copy {
    /// Connects: `mysql://root@127.0.0.1:3306`.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        let mut db = Conn::new(Opts::from_url(url)?).await?;
        for sql in [
            "SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0",
            "CREATE DATABASE IF NOT EXISTS binpulse_consumer",
            "USE binpulse_consumer",
            &format!("{CREATE_TABLE} COLLATE utf8mb4_bin"),
        ] {
            db.query_drop(sql).await?;
        }
        let (ledger, freshness) = (Ledger::default(), Freshness::default());
        Ok(Self { db, ledger, freshness, applied: 0, started: Instant::now() })
    }

    /// Takes a message; whether it is done with: else rows before it have not come.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the others are for information, or newer")]
    pub(crate) async fn take(&mut self, content: &Content) -> Result<bool, Error> {
        let now = self.started.elapsed();
        match content {
            Content::Rows(batch) => return self.take_rows(batch).await,
            Content::Canary(canary) => {
                self.freshness.observe(canary);
                self.ledger.watermark(canary, now);
            }
            Content::Suppressed(message) => {
                let change = self.ledger.suppressed(&mut self.db, message, now).await?;
                self.db.save(&change).await?;
                self.ledger.saved(change);
            }
            _ => {} // for information, and what a newer binpulse sends
        }
        Ok(true)
    }

    async fn take_rows(&mut self, batch: &ChangeBatch) -> Result<bool, Error> {
        let table = batch.table.as_ref().ok_or("a batch has its table")?;
        loop {
            match self.ledger.next(&mut self.db, batch, self.started.elapsed()).await? {
                Next::Skip => return Ok(true),
                Next::Wait => return Ok(false),
                Next::Apply(change) => {
                    // It is rolled back where it is dropped.
                    let mut transaction = self.db.start_transaction(TxOpts::default()).await?;
                    for row in batch.rows().skip(change.skip()).take(change.take()) {
                        apply(&mut transaction, table, &row).await?;
                    }
                    transaction.save(&change).await?;
                    transaction.commit().await?;
                    self.applied += change.take() as u64;
                    self.ledger.saved(*change);
                }
            }
        }
    }
}

/// Applies one row.
async fn apply(db: &mut Transaction<'_>, table: &TableSchema, row: &Row<'_>) -> Result<(), Error> {
    let name = format!("{}.{}", quoted(&table.database), quoted(&table.table));
    let (before, after) = (key(table, row.before()), key(table, row.after()));
    if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
        let columns = table.primary_key.iter().map(|at| &table.columns[*at as usize]);
        let columns: Vec<_> =
            columns.map(|column| format!("{} = ?", quoted(&column.name))).collect();
        let values = before.into_iter().map(bound).collect::<Result<_, _>>()?;
        let sql = format!("DELETE FROM {name} WHERE {}", columns.join(" AND "));
        db.exec_drop(sql, Params::Positional(values)).await?;
    }
    if let Some(image) = row.after() {
        let present: Vec<_> = image.iter().filter(|(_, value)| *value != Value::Absent).collect();
        let columns: Vec<_> = present.iter().map(|(column, _)| quoted(&column.name)).collect();
        let updates: Vec<_> =
            columns.iter().map(|name| format!("{name} = VALUES({name})")).collect();
        let values =
            present.into_iter().map(|(_, value)| bound(value)).collect::<Result<_, _>>()?;
        let sql = format!(
            "INSERT INTO {name} ({}) VALUES ({}) ON DUPLICATE KEY UPDATE {}",
            columns.join(", "),
            vec!["?"; columns.len()].join(", "),
            updates.join(", "),
        );
        db.exec_drop(sql, Params::Positional(values)).await?;
    }
    Ok(())
}

/// The values of the primary key.
fn key<'a>(table: &TableSchema, image: Option<Image<'a>>) -> Option<Vec<Value<'a>>> {
    let ordinals = table.primary_key.iter();
    Some(ordinals.filter_map(|at| image?.at(*at as usize)).map(|(_, value)| value).collect())
        .filter(|_| image.is_some())
}

/// A value as MySQL takes it.
#[allow(clippy::wildcard_enum_match_arm, reason = "the others are an integer or a text")]
fn bound(value: Value<'_>) -> Result<mysql_async::Value, Error> {
    Ok(match value {
        Value::Null => mysql_async::Value::NULL,
        Value::Float(value) => value.into(),
        Value::Double(value) => value.into(),
        Value::Vector(elements) => {
            elements.iter().flat_map(|element| element.to_le_bytes()).collect::<Vec<_>>().into()
        }
        Value::Bytes(bytes) | Value::Geometry(bytes) => bytes.into(),
        Value::Absent | Value::Omitted { .. } | Value::JsonDiff(_) | Value::MalformedText(_) => {
            return Err("a value that this copy can't have: read the row from the source".into());
        }
        other => match (other.as_i64(), other.as_u64(), other.as_str()) {
            (Some(value), _, _) => value.into(),
            (_, Some(value), _) => value.into(),
            (_, _, Some(text)) => text.into(),
            _ => return Err("a value of a newer binpulse".into()),
        },
    })
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
