//! Applies rows, many in one statement where they are inserts of one table.

use std::collections::HashSet;
use std::sync::Arc;

use binpulse::encode::proto::{Image, TableSchema};
use binpulse_demo::Error;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::literal::{condition, quoted, stored};
use crate::collect::Row;

/// Size of a statement with many rows.
const STATEMENT_BYTES: usize = 256 * 1024;
/// Statements between two commits.
const COMMIT_EVERY: u32 = 500;
/// Told in words; more are counted.
const WRONG_MAX: usize = 20;
/// What is told of each.
const WRONG_CHARACTERS_MAX: usize = 400;

pub(super) struct Writer {
    session: Conn,
    /// Inserts that wait: their table, the head of the statement, and the statement so far.
    waiting: Option<(Arc<TableSchema>, String, String)>,
    rows_waiting: u64,
    statements: u32,
    /// Columns that the server computes, by table and name; read again after each statement.
    generated: Option<HashSet<(String, String)>>,
    wrong: Vec<String>,
}

impl Writer {
    pub(super) fn new(session: Conn) -> Self {
        Self {
            session,
            waiting: None,
            rows_waiting: 0,
            statements: 0,
            generated: None,
            wrong: Vec::new(),
        }
    }

    pub(super) fn session(&mut self) -> &mut Conn {
        &mut self.session
    }

    pub(super) fn wrong(&mut self, text: &str) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(text.chars().take(WRONG_CHARACTERS_MAX).collect());
        }
    }

    pub(super) fn schema_changed(&mut self) {
        self.generated = None;
    }

    pub(super) async fn row(&mut self, row: &Row) -> Result<(), Error> {
        let (opened, schema) = (row.open(), &row.schema);
        match (row.op, &opened.before, &opened.after) {
            (1, None, Some(after)) => self.insert(schema, after).await,
            (2, Some(before), Some(after)) => {
                let set = self.assignments(schema, after).await?;
                let found = found_by(schema, before);
                self.one(row, format!("UPDATE {} SET {set} WHERE {found}", name(schema))).await
            }
            (3, Some(before), None) => {
                let found = found_by(schema, before);
                self.one(row, format!("DELETE FROM {} WHERE {found}", name(schema))).await
            }
            (op, ..) => {
                self.wrong(&format!("{}: op {op} with other images", name(schema)));
                Ok(())
            }
        }
    }

    /// Runs what has to find exactly one row.
    async fn one(&mut self, row: &Row, statement: String) -> Result<(), Error> {
        self.flush().await?;
        let outcome = self.session.query_drop(format!("{statement} LIMIT 1")).await;
        let found = self.session.affected_rows();
        match outcome {
            Ok(()) if found == 1 => {}
            Ok(()) => self.wrong(&format!("{}: {found} rows for {statement}", row.origin.gtid)),
            Err(error) => self.wrong(&format!("{}: {error}: {statement}", row.origin.gtid)),
        }
        self.count().await
    }

    async fn insert(&mut self, schema: &Arc<TableSchema>, after: &Image) -> Result<(), Error> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (column, value) in schema.columns.iter().zip(&after.values) {
            if self.is_generated(schema, &column.name).await? {
                continue;
            }
            if let Some(text) = stored(column, value) {
                names.push(quoted(&column.name));
                values.push(text);
            }
        }
        let head = format!("INSERT INTO {} ({}) VALUES ", name(schema), names.join(","));
        let is_other = |(known, known_head, text): &(Arc<TableSchema>, String, String)| {
            !Arc::ptr_eq(known, schema) || *known_head != head || text.len() > STATEMENT_BYTES
        };
        if self.waiting.as_ref().is_some_and(is_other) {
            self.flush().await?;
        }
        let (_, _, text) =
            self.waiting.get_or_insert_with(|| (Arc::clone(schema), head.clone(), head));
        if self.rows_waiting > 0 {
            text.push(',');
        }
        text.push('(');
        text.push_str(&values.join(","));
        text.push(')');
        self.rows_waiting += 1;
        Ok(())
    }

    /// Applies the inserts that wait.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        if let Some((_, _, text)) = self.waiting.take() {
            self.rows_waiting = 0;
            if let Err(error) = self.session.query_drop(&text).await {
                self.wrong(&format!("{error}: {text}"));
            }
            self.count().await?;
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Vec<String>, Error> {
        self.flush().await?;
        self.session.query_drop("COMMIT").await?;
        self.session.disconnect().await?;
        Ok(self.wrong)
    }

    async fn count(&mut self) -> Result<(), Error> {
        self.statements += 1;
        if self.statements.is_multiple_of(COMMIT_EVERY) {
            self.session.query_drop("COMMIT").await?;
        }
        Ok(())
    }

    async fn assignments(&mut self, schema: &TableSchema, after: &Image) -> Result<String, Error> {
        let mut all = Vec::new();
        for (column, value) in schema.columns.iter().zip(&after.values) {
            if self.is_generated(schema, &column.name).await? {
                continue;
            }
            if let Some(text) = stored(column, value) {
                all.push(format!("{} = {text}", quoted(&column.name)));
            }
        }
        Ok(all.join(", "))
    }

    async fn is_generated(&mut self, schema: &TableSchema, column: &str) -> Result<bool, Error> {
        if self.generated.is_none() {
            let query = "SELECT table_name, column_name FROM information_schema.columns \
                         WHERE table_schema = ? AND generation_expression <> ''";
            let names: Vec<(String, String)> =
                self.session.exec(query, (&schema.database,)).await?;
            self.generated = Some(names.into_iter().collect());
        }
        let key = (schema.table.clone(), column.to_owned());
        Ok(self.generated.as_ref().is_some_and(|names| names.contains(&key)))
    }
}

pub(super) fn name(schema: &TableSchema) -> String {
    format!("{}.{}", quoted(&schema.database), quoted(&schema.table))
}

/// By primary key, or by everything that there is.
fn found_by(schema: &TableSchema, before: &Image) -> String {
    let in_key = |at: usize| {
        schema.primary_key.is_empty()
            || schema.primary_key.iter().any(|key| usize::try_from(*key) == Ok(at))
    };
    let columns = schema.columns.iter().zip(&before.values).enumerate();
    let conditions: Vec<_> = columns
        .filter(|(at, _)| in_key(*at))
        .filter_map(|(_, (column, value))| condition(column, value))
        .collect();
    conditions.join(" AND ")
}
