//! Where canaries are written, and with which statements.

use std::sync::Arc;

use super::values::{Shape, Value, columns, expected};
use crate::freshness::canary::path::{CanaryPath, Mark, Steps};
use crate::freshness::pending_write::Statement;
use crate::freshness::schema::{CANARY, CANARY_COUNTER, literal};
use crate::freshness::write_session::{WriteRefused, WriteSession};
use crate::freshness::{Phase, SqlFailure, WriterConfig};

/// The table of a canary.
pub(super) enum Target {
    /// Binpulse's own, and which of its optional columns it has; `None`: to be asked.
    BuiltIn(Option<Shape>),
    /// The operator's.
    CanaryPath {
        /// Of the path.
        name: Arc<str>,
        /// The operator's SQL.
        steps: Steps,
        /// What marks the rows as ours.
        mark: Mark,
    },
}

impl Target {
    pub(super) fn built_in() -> Self {
        Self::BuiltIn(None)
    }

    /// `None` for a path without SQL.
    pub(super) fn path(path: &CanaryPath, mark: Mark) -> Option<Self> {
        Some(Self::CanaryPath { name: Arc::clone(&path.name), steps: path.steps.clone()?, mark })
    }

    /// The path's name; `None`: the built-in canary.
    pub(super) fn path_name(&self) -> Option<&str> {
        match self {
            Self::BuiltIn(_) => None,
            Self::CanaryPath { name, .. } => Some(name),
        }
    }

    /// The steps that its canaries go through, in their order.
    pub(super) fn phases(&self) -> Vec<Phase> {
        match self {
            Self::BuiltIn(_) => Phase::ALL.to_vec(),
            Self::CanaryPath { steps, .. } => steps.phases(),
        }
    }

    /// Its row among the counters. A path has one of its own: no stream's name holds a slash.
    pub(super) fn counter_key(&self, config: &WriterConfig) -> String {
        match self {
            Self::BuiltIn(_) => config.stream.clone(),
            Self::CanaryPath { name, .. } => format!("{}/{name}", config.stream),
        }
    }

    /// The session is a new one, on a server whose table is not known.
    pub(super) fn connected(&mut self) {
        if let Self::BuiltIn(shape) = self {
            *shape = None;
        }
    }

    /// Learns what must be known of the table before it is written to.
    pub(super) async fn prepare(
        &mut self,
        writer: &mut WriteSession,
        config: &WriterConfig,
    ) -> Result<(), WriteRefused> {
        if let Self::BuiltIn(shape @ None) = self {
            *shape = Some(ask_shape(writer, config).await?);
        }
        Ok(())
    }

    /// Removes the row of a canary that was not finished, by this process or the one before; `last`:
    /// the last number in the table.
    pub(super) fn remove_leftover(
        &self,
        config: &WriterConfig,
        last: u64,
    ) -> Option<Vec<Statement>> {
        match self {
            Self::BuiltIn(_) => {
                let (table, stream) = (config.schema.table(CANARY), literal(&config.stream));
                Some(vec![format!("DELETE FROM {table} WHERE stream = {stream}").into()])
            }
            Self::CanaryPath { steps, mark, .. } => {
                let delete = steps.delete.as_ref().filter(|_| last > 0)?;
                Some(transaction([], Statement::changing(delete.fill(&mark.of(last), last), 0..=1)))
            }
        }
    }

    /// The statements of one step.
    pub(super) fn step(&self, config: &WriterConfig, number: u64, phase: Phase) -> Vec<Statement> {
        let counted = (phase == Phase::Insert).then(|| {
            let table = config.schema.table(CANARY_COUNTER);
            let key = literal(&self.counter_key(config));
            format!(
                "INSERT INTO {table} (stream, n) VALUES ({key}, {number}) \
                 ON DUPLICATE KEY UPDATE n = VALUES(n)"
            )
        });
        match self {
            Self::BuiltIn(shape) => {
                // What was asked before; the smallest there is until then.
                let shape = shape.unwrap_or_default();
                let statement = Statement::from(built_in_step(config, shape, number, phase));
                match counted {
                    Some(counted) => transaction([counted], statement),
                    None => vec![statement],
                }
            }
            Self::CanaryPath { steps, mark, .. } => {
                let filled = steps.of(phase).map(|sql| sql.fill(&mark.of(number), number));
                // SQL with a mistake in it leaves nothing behind.
                let changing = filled.map(|sql| Statement::changing(sql, 1..=1));
                changing.map_or_else(Vec::new, |sql| transaction(counted, sql))
            }
        }
    }
}

/// A transaction of these statements, of which `last` decides whether it is committed.
fn transaction(before: impl IntoIterator<Item = String>, last: Statement) -> Vec<Statement> {
    let mut statements = vec![Statement::from("START TRANSACTION".to_owned())];
    statements.extend(before.into_iter().map(Statement::from));
    statements.extend([last, Statement::from("COMMIT".to_owned())]);
    statements
}

/// The statement of one of the built-in canary's steps.
fn built_in_step(config: &WriterConfig, shape: Shape, number: u64, phase: Phase) -> String {
    let (table, stream) = (config.schema.table(CANARY), literal(&config.stream));
    let values = expected(shape, number, phase);
    let at = crate::platform::wall_us();
    match phase {
        Phase::Insert => {
            let names: Vec<_> = columns(shape).map(|column| column.name).collect();
            let values: Vec<_> = values.iter().map(Value::sql).collect();
            let instance = literal(&config.instance);
            format!(
                "INSERT INTO {table} (stream, n, instance, phase, written_at_us, {}) \
                 VALUES ({stream}, {number}, {instance}, 'insert', {at}, {})",
                names.join(", "),
                values.join(", ")
            )
        }
        Phase::Update => {
            let set = columns(shape).zip(&values);
            let set: Vec<_> =
                set.map(|(column, value)| format!("{} = {}", column.name, value.sql())).collect();
            format!(
                "UPDATE {table} SET phase = 'update', written_at_us = {at}, {} \
                 WHERE stream = {stream} AND n = {number}",
                set.join(", ")
            )
        }
        Phase::Delete => format!("DELETE FROM {table} WHERE stream = {stream} AND n = {number}"),
    }
}

/// Which of the optional columns the table has: it may have been made on an older server.
async fn ask_shape(
    writer: &mut WriteSession,
    config: &WriterConfig,
) -> Result<Shape, WriteRefused> {
    let (schema, canary) = (literal(config.schema.as_str()), literal(CANARY));
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = {schema} \
         AND table_name = {canary} AND column_name LIKE 'v\\_%'"
    );
    let row = writer.session.query_first(&sql).await?;
    let count = match row {
        Some(row) => row.unsigned(0)?.unwrap_or(0),
        None => 0,
    };
    let shape = usize::try_from(count).ok().and_then(Shape::of_count);
    shape.ok_or_else(|| WriteRefused {
        reason: SqlFailure::SchemaMissing,
        message: format!(
            "table {} has {count} value columns, which fits no version of binpulse: run `binpulse \
             init`",
            config.schema.table(CANARY)
        ),
    })
}
