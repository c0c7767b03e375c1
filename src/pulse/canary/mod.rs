//! Walks canaries through insert, update and delete, over every value type.
//!
//! Numbered, and bounded: each removes its row. The number is kept in the database, so that it goes
//! on rising over restarts.

pub mod values;

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pen::{Ended, Pen};
use super::schema::{CANARY, CANARY_COUNTER, literal};
use super::writer::{Refusal, Writer, wall_us};
use super::{Event, Observer, Phase, Reason, WriterConfig};
use values::{Shape, columns, expected};

/// Attempts at one step that ends in a deadlock, which is nobody's fault.
const ATTEMPTS_MAX: u32 = 3;

/// Writes canaries.
pub struct CanaryWalker {
    config: WriterConfig,
    interval: Duration,
    observer: Observer,
    pen: Pen,
    shape: Option<Shape>,
    /// Number of the last canary that was begun.
    number: Option<u64>,
    /// Whether rows of canaries that were not finished may be left in the table.
    leftovers: bool,
    last_reason: Option<Reason>,
}

impl CanaryWalker {
    /// Writes a canary each `interval` (C) and reports to `observer`.
    pub fn new(config: WriterConfig, interval: Duration, observer: Observer) -> Self {
        Self {
            config,
            interval,
            observer,
            pen: Pen::default(),
            shape: None,
            number: None,
            leftovers: true,
            last_reason: None,
        }
    }

    /// Walks until told to stop. Failures are reported and tried again for ever.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;

                // 1. A request to stop outranks everything; the next process removes what is left.
                () = stop.cancelled() => break,
                // 2. The end of a step that was overdue. The canary is not continued.
                ended = self.pen.fate() => drop(ended),
                // 3. The next canary. Bounded by deadlines.
                _ = ticks.tick() => self.turn().await,
            }
        }
    }

    async fn turn(&mut self) {
        let host = self.config.host.now();
        if self.pen.leave_unless(&host) {
            info!(%host, "canaries move to another server");
            self.leftovers = true;
        }
        if self.pen.outstanding().is_some() {
            let message = "the last canary's write is still out".to_owned();
            return self.fail(None, Refusal { reason: Reason::TimedOut, message });
        }
        let number = match self.prepare().await {
            Ok(number) => number,
            Err(refusal) => {
                self.pen.drop_session();
                return self.fail(None, refusal);
            }
        };
        let Some(shape) = self.shape else { return };
        self.number = Some(number);
        self.leftovers = true;
        for phase in Phase::ALL {
            if let Err(refusal) = self.step(shape, number, phase).await {
                return self.fail(Some((number, phase)), refusal);
            }
        }
        self.leftovers = false;
        if let Some(reason) = self.last_reason.take() {
            info!(number, was = reason.as_str(), "canaries are written again");
        }
    }

    /// A session on a server that may be written to, an empty table, and the next number.
    async fn prepare(&mut self) -> Result<u64, Refusal> {
        if self.pen.writer().is_none() {
            let writer = Writer::connect(&self.config).await?;
            self.shape = None;
            self.pen.put(writer);
        }
        let config = &self.config;
        let Some(writer) = self.pen.writer() else {
            return Err(Refusal::from(crate::mysql::Error::Abandoned));
        };
        if let Some(refusal) = writer.facts().await?.refusal(&config.allowed_servers) {
            return Err(refusal);
        }
        if self.shape.is_none() {
            self.shape = Some(shape(writer, config).await?);
        }
        if self.number.is_none() {
            self.number = Some(last_number(writer, config).await?);
        }
        if self.leftovers {
            let (table, stream) = (config.schema.table(CANARY), literal(&config.stream));
            let sql = format!("DELETE FROM {table} WHERE stream = {stream}");
            match self.pen.write(vec![sql], config.write_deadline).await {
                Some(Ended { result: Ok(_), .. }) => self.leftovers = false,
                Some(Ended { result: Err(refusal), .. }) => return Err(refusal),
                None => return Err(overdue(config.write_deadline)),
            }
        }
        Ok(self.number.unwrap_or(0).saturating_add(1))
    }

    async fn step(&mut self, shape: Shape, number: u64, phase: Phase) -> Result<(), Refusal> {
        let deadline = self.config.write_deadline;
        let mut attempt = 1;
        loop {
            (self.observer)(&Event::CanaryStarted { number, phase, at: Instant::now() });
            let statements = statements(&self.config, shape, number, phase);
            match self.pen.write(statements, deadline).await {
                None => return Err(overdue(deadline)),
                Some(Ended { took, result: Ok(_) }) => {
                    (self.observer)(&Event::CanaryCommitted { number, phase, took });
                    return Ok(());
                }
                Some(Ended { result: Err(refusal), .. })
                    if refusal.reason == Reason::Deadlock && attempt < ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                Some(Ended { result: Err(refusal), .. }) => {
                    // A transaction may be open on the session.
                    self.pen.drop_session();
                    return Err(refusal);
                }
            }
        }
    }

    fn fail(&mut self, step: Option<(u64, Phase)>, refusal: Refusal) {
        let Refusal { reason, message } = refusal;
        if self.last_reason.replace(reason) != Some(reason) {
            warn!(?step, reason = reason.as_str(), message, "no canary could be written");
        }
        (self.observer)(&Event::CanaryFailed { step, reason, message });
    }
}

fn overdue(deadline: Duration) -> Refusal {
    Refusal { reason: Reason::TimedOut, message: format!("no answer within {deadline:?}") }
}

/// The SQL of one step.
pub fn statements(config: &WriterConfig, shape: Shape, number: u64, phase: Phase) -> Vec<String> {
    let (table, stream) = (config.schema.table(CANARY), literal(&config.stream));
    let values = expected(shape, number, phase);
    let at = wall_us();
    match phase {
        Phase::Insert => {
            let names: Vec<_> = columns(shape).map(|column| column.name).collect();
            let values: Vec<_> = values.iter().map(values::Value::sql).collect();
            let instance = literal(&config.instance);
            let counter = config.schema.table(CANARY_COUNTER);
            vec![
                "START TRANSACTION".to_owned(),
                format!(
                    "INSERT INTO {counter} (stream, n) VALUES ({stream}, {number}) \
                     ON DUPLICATE KEY UPDATE n = VALUES(n)"
                ),
                format!(
                    "INSERT INTO {table} (stream, n, instance, phase, written_at_us, {}) \
                     VALUES ({stream}, {number}, {instance}, 'insert', {at}, {})",
                    names.join(", "),
                    values.join(", ")
                ),
                "COMMIT".to_owned(),
            ]
        }
        Phase::Update => {
            let set = columns(shape).zip(&values);
            let set: Vec<_> =
                set.map(|(column, value)| format!("{} = {}", column.name, value.sql())).collect();
            vec![format!(
                "UPDATE {table} SET phase = 'update', written_at_us = {at}, {} \
                 WHERE stream = {stream} AND n = {number}",
                set.join(", ")
            )]
        }
        Phase::Delete => {
            vec![format!("DELETE FROM {table} WHERE stream = {stream} AND n = {number}")]
        }
    }
}

/// Which of the optional columns the table has: it may have been made on an older server.
async fn shape(writer: &mut Writer, config: &WriterConfig) -> Result<Shape, Refusal> {
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
    shape.ok_or_else(|| Refusal {
        reason: Reason::SchemaMissing,
        message: format!(
            "table {} has {count} value columns, which is none of its shapes: run `binpulse init`",
            config.schema.table(CANARY)
        ),
    })
}

/// The last number of this stream; 0 without one.
async fn last_number(writer: &mut Writer, config: &WriterConfig) -> Result<u64, Refusal> {
    let (table, stream) = (config.schema.table(CANARY_COUNTER), literal(&config.stream));
    let sql = format!("SELECT n FROM {table} WHERE stream = {stream}");
    let Some(row) = writer.session.query_first(&sql).await? else { return Ok(0) };
    Ok(row.unsigned(0)?.unwrap_or(0))
}
