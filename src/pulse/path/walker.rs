//! Walks canaries through one path: the operator's insert, update and delete.
//!
//! A task with a session of its own: what an operator's table does to it holds up neither heartbeats
//! nor the built-in canaries, nor other paths. Each step is a transaction that is rolled back unless it
//! changes exactly one row, so that SQL with a mistake in it leaves nothing behind.
//!
//! Invariant: with a delete there is at most one row of ours in the table. The number of the last row
//! is committed together with it; before the next is written, the last must be gone, also after a
//! crash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Mark, Path, Steps};
use crate::pulse::pen::{Ended, Pen, Statement};
use crate::pulse::schema::{CANARY_COUNTER, literal};
use crate::pulse::writer::{Refusal, Writer};
use crate::pulse::{Event, Leg, Observer, Phase, Reason, WriterConfig};

/// Attempts at one step that ends in a deadlock, which is nobody's fault.
const ATTEMPTS_MAX: u32 = 3;

/// Writes a path's canaries.
pub struct PathWalker {
    config: WriterConfig,
    name: Arc<str>,
    steps: Steps,
    mark: Mark,
    interval: Duration,
    observer: Observer,
    pen: Pen,
    /// Number of the last canary that was begun, as the server has it; `None`: to be asked.
    number: Option<u64>,
    /// Whether its row may still be there.
    leftover: bool,
    last_reason: Option<Reason>,
}

impl PathWalker {
    /// Walks `path` each `interval` (C) and reports to `observer`; `None` for a path without SQL.
    pub fn new(
        config: WriterConfig,
        path: &Path,
        mark: Mark,
        interval: Duration,
        observer: Observer,
    ) -> Option<Self> {
        Some(Self {
            config,
            name: Arc::clone(&path.name),
            steps: path.steps.clone()?,
            mark,
            interval,
            observer,
            pen: Pen::default(),
            number: None,
            leftover: true,
            last_reason: None,
        })
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
            info!(path = %self.name, %host, "canaries move to another server");
            self.forget();
        }
        if self.pen.outstanding().is_some() {
            let message = "the last canary's write is still out".to_owned();
            return self.fail(Refusal { reason: Reason::TimedOut, message });
        }
        match self.walk().await {
            Ok(number) => {
                if let Some(reason) = self.last_reason.take() {
                    let was = reason.as_str();
                    info!(path = %self.name, number, was, "canaries are written again");
                }
            }
            Err(refusal) => self.fail(refusal),
        }
    }

    /// One canary through all steps; its number.
    async fn walk(&mut self) -> Result<u64, Refusal> {
        let last = match self.prepare().await {
            Ok(last) => last,
            Err(refusal) => {
                self.pen.drop_session();
                return Err(refusal);
            }
        };
        if self.leftover {
            self.remove_leftover(last).await?;
        }
        let number = last.saturating_add(1);
        self.leftover = true;
        for phase in self.steps.phases() {
            self.step(number, phase).await?;
        }
        self.number = Some(number);
        self.leftover = false;
        Ok(number)
    }

    /// A session on a server that may be written to, and the last number.
    async fn prepare(&mut self) -> Result<u64, Refusal> {
        if self.pen.writer().is_none() {
            let writer = Writer::connect(&self.config).await?;
            self.pen.put(writer);
        }
        let (config, key) = (&self.config, counter_key(&self.config, &self.name));
        let Some(writer) = self.pen.writer() else {
            return Err(Refusal::from(crate::mysql::Error::Abandoned));
        };
        if let Some(refusal) = writer.facts().await?.refusal(&config.allowed_servers) {
            return Err(refusal);
        }
        if let Some(number) = self.number {
            return Ok(number);
        }
        let table = config.schema.table(CANARY_COUNTER);
        let sql = format!("SELECT n FROM {table} WHERE stream = {}", literal(&key));
        let row = writer.session.query_first(&sql).await?;
        let number = match row {
            Some(row) => row.unsigned(0)?.unwrap_or(0),
            None => 0,
        };
        self.number = Some(number);
        Ok(number)
    }

    /// Removes the row of a canary that was not finished, by this process or the one before.
    async fn remove_leftover(&mut self, last: u64) -> Result<(), Refusal> {
        if let Some(delete) = self.steps.delete.as_ref().filter(|_| last > 0) {
            let sql = delete.fill(&self.mark.of(last), last);
            self.write(transaction(Vec::new(), sql, 0)).await?;
        }
        self.leftover = false;
        Ok(())
    }

    async fn step(&mut self, number: u64, phase: Phase) -> Result<(), Refusal> {
        let Some(template) = self.steps.of(phase) else { return Ok(()) };
        let sql = template.fill(&self.mark.of(number), number);
        let mut before = Vec::new();
        if phase == Phase::Insert {
            let counter = self.config.schema.table(CANARY_COUNTER);
            let key = literal(&counter_key(&self.config, &self.name));
            before.push(format!(
                "INSERT INTO {counter} (stream, n) VALUES ({key}, {number}) \
                 ON DUPLICATE KEY UPDATE n = VALUES(n)"
            ));
        }
        let mut attempt = 1;
        loop {
            let leg = Leg { path: Some(Arc::clone(&self.name)), number, phase };
            (self.observer)(&Event::LegStarted { leg: leg.clone(), at: Instant::now() });
            match self.write(transaction(before.clone(), sql.clone(), 1)).await {
                Ok(took) => {
                    (self.observer)(&Event::LegCommitted { leg, took });
                    return Ok(());
                }
                Err(refusal) if refusal.reason == Reason::Deadlock && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Runs a transaction; how long that took.
    async fn write(&mut self, statements: Vec<Statement>) -> Result<Duration, Refusal> {
        let deadline = self.config.write_deadline;
        match self.pen.write(statements, deadline).await {
            None => {
                let message = format!("no answer within {deadline:?}");
                Err(Refusal { reason: Reason::TimedOut, message })
            }
            Some(Ended { took, result: Ok(_) }) => Ok(took),
            Some(Ended { result: Err(refusal), .. }) => {
                if refusal.reason != Reason::Deadlock {
                    // A transaction may be open on the session.
                    self.pen.drop_session();
                }
                Err(refusal)
            }
        }
    }

    fn fail(&mut self, refusal: Refusal) {
        // Whether the last row was written, and with it its number, only the server knows.
        self.forget();
        let Refusal { reason, message } = refusal;
        if self.last_reason.replace(reason) != Some(reason) {
            let (path, reason) = (&self.name, reason.as_str());
            warn!(%path, reason, message, "no canary could be written through the path's table");
        }
        (self.observer)(&Event::PathFailed { path: Arc::clone(&self.name), reason, message });
    }

    fn forget(&mut self) {
        self.number = None;
        self.leftover = true;
    }
}

/// The path's own row among the counters: no stream's name holds a slash.
fn counter_key(config: &WriterConfig, path: &str) -> String {
    format!("{}/{path}", config.stream)
}

/// A transaction of which the last statement changes one row, or `least`.
fn transaction(before: Vec<String>, sql: String, least: u64) -> Vec<Statement> {
    let mut statements = vec![Statement::from("START TRANSACTION".to_owned())];
    statements.extend(before.into_iter().map(Statement::from));
    statements.push(Statement { sql, rows: Some(least..=1) });
    statements.push(Statement::from("COMMIT".to_owned()));
    statements
}
