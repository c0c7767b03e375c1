//! Compares two databases row by row, value by value.

use binpulse_demo::{Error, Mysqld};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

/// Differences told of one table.
const TOLD_MAX: usize = 5;

/// Where `database` differs on two servers, in words; nothing if it does not. Values are compared as
/// the binary protocol gives them, so that no text form hides a difference.
pub(crate) async fn differences(
    left: &Mysqld,
    right: &Mysqld,
    database: &str,
) -> Result<Vec<String>, Error> {
    let (mut one, mut two) = (left.connect().await?, right.connect().await?);
    let tables = tables(&mut one, database).await?;
    let others = self::tables(&mut two, database).await?;
    let mut found = Vec::new();
    if tables != others {
        found.push(format!("tables: {tables:?} and {others:?}"));
    }
    for table in tables.iter().filter(|table| others.contains(table)) {
        let order = order(&mut one, database, table).await?;
        let query = format!("SELECT * FROM `{database}`.`{table}` ORDER BY {order}");
        let (rows, copies) = (rows(&mut one, &query).await?, rows(&mut two, &query).await?);
        found.extend(compare(table, &rows, &copies));
    }
    one.disconnect().await?;
    two.disconnect().await?;
    Ok(found)
}

async fn tables(session: &mut Conn, database: &str) -> Result<Vec<String>, Error> {
    let query = "SELECT table_name FROM information_schema.tables \
                 WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY table_name";
    Ok(session.exec(query, (database,)).await?)
}

/// The primary key's columns, or all columns.
async fn order(session: &mut Conn, database: &str, table: &str) -> Result<String, Error> {
    let query = "SELECT column_name FROM information_schema.key_column_usage WHERE \
                 table_schema = ? AND table_name = ? AND constraint_name = 'PRIMARY' \
                 ORDER BY ordinal_position";
    let mut columns: Vec<String> = session.exec(query, (database, table)).await?;
    if columns.is_empty() {
        let query = "SELECT column_name FROM information_schema.columns WHERE \
                     table_schema = ? AND table_name = ? ORDER BY ordinal_position";
        columns = session.exec(query, (database, table)).await?;
    }
    let quoted: Vec<_> = columns.iter().map(|name| format!("`{name}`")).collect();
    Ok(quoted.join(", "))
}

async fn rows(session: &mut Conn, query: &str) -> Result<Vec<Vec<Value>>, Error> {
    session.query_drop("SET time_zone = '+00:00', NAMES utf8mb4").await?;
    let rows: Vec<Row> = session.exec(query, ()).await?;
    Ok(rows.into_iter().map(Row::unwrap).collect())
}

fn compare(table: &str, rows: &[Vec<Value>], copies: &[Vec<Value>]) -> Vec<String> {
    let mut found = Vec::new();
    if rows.len() != copies.len() {
        found.push(format!("{table}: {} rows and {}", rows.len(), copies.len()));
    }
    let unequal = rows.iter().zip(copies).filter(|(row, copy)| row != copy);
    found
        .extend(unequal.take(TOLD_MAX).map(|(row, copy)| format!("{table}: {row:?} and {copy:?}")));
    found
}
