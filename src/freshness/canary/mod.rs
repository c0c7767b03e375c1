//! Writes canaries: rows that are inserted, updated and deleted so that each step comes back as a
//! message.
//!
//! The built-in canary goes over every value type through a table of binpulse's own; those of paths
//! go through the operator's tables, with the operator's SQL. One task each, with a session of its
//! own: what a table does to its canaries holds up neither heartbeats nor the canaries of others.
//!
//! When a canary counts as lost is decided where its echo is awaited: `echo/tracker.rs`, `is_lost`. When a
//! consumer is lost: `verdict/evidence/canaries.rs`.
//!
//! Invariant: the number of the last row is committed together with it, so that it continues rising
//! over restarts. Before the next row is written, the last must be gone, also after a crash: there is
//! at most one row of ours in a table, but for a path without a delete.

pub mod echo;
pub mod path;
mod target;
pub mod values;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pending_write::{PendingWrite, Statement};
use super::schema::{CANARY_COUNTER, literal};
use super::write_session::{WriteRefused, WriteSession};
use super::{CanaryStep, Observation, Observer, Phase, SqlFailure, WriterConfig};
use path::{CanaryPath, Mark};
use target::Target;

/// Attempts at one step that ends in a deadlock, which is nobody's fault.
const ATTEMPTS_MAX: u32 = 3;

/// Writes the canaries of one table.
pub struct CanaryWriter {
    config: WriterConfig,
    target: Target,
    interval: Duration,
    observer: Observer,
    pending: PendingWrite,
    /// Number of the last canary that the table has had; `None`: to be asked.
    stored: Option<u64>,
    /// Number of the last canary that this process began.
    begun: u64,
    /// Whether rows of canaries that were not finished may be left in the table.
    leftover: bool,
    last_reason: Option<SqlFailure>,
}

impl CanaryWriter {
    /// Writes the built-in canary each `interval` (C) and reports to `observer`.
    pub fn built_in(config: WriterConfig, interval: Duration, observer: Observer) -> Self {
        Self::new(config, Target::built_in(), interval, observer)
    }

    /// Writes canaries through the operator's table; `None` for a path without SQL.
    pub fn through(
        config: WriterConfig,
        path: &CanaryPath,
        mark: Mark,
        interval: Duration,
        observer: Observer,
    ) -> Option<Self> {
        Some(Self::new(config, Target::path(path, mark)?, interval, observer))
    }

    fn new(config: WriterConfig, target: Target, interval: Duration, observer: Observer) -> Self {
        Self {
            config,
            target,
            interval,
            observer,
            pending: PendingWrite::default(),
            stored: None,
            begun: 0,
            leftover: true,
            last_reason: None,
        }
    }

    /// Writes until told to stop. Failures are reported and tried again for ever.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;

                // 1. A request to stop outranks everything; the next process removes what is left.
                () = stop.cancelled() => break,
                // 2. The end of a step that was overdue. The canary is not continued.
                ended = self.pending.fate() => drop(ended),
                // 3. The next canary. Bounded by deadlines.
                _ = ticks.tick() => self.write_once().await,
            }
        }
    }

    async fn write_once(&mut self) {
        let host = self.config.host.now();
        if self.pending.leave_unless(&host) {
            info!(path = self.target.path_name(), %host, "canaries move to another server");
            self.forget();
        }
        if self.pending.outstanding().is_some() {
            let message = "the last canary's write has no answer yet".to_owned();
            return self.fail(WriteRefused { reason: SqlFailure::TimedOut, message });
        }
        match self.walk().await {
            Ok(number) => {
                if let Some(reason) = self.last_reason.take() {
                    let (path, was) = (self.target.path_name(), reason.as_str());
                    info!(path, number, was, "canaries are written again");
                }
            }
            Err(refusal) => self.fail(refusal),
        }
    }

    /// One canary through all steps; its number.
    async fn walk(&mut self) -> Result<u64, WriteRefused> {
        let last = match self.prepare().await {
            Ok(last) => last,
            Err(refusal) => {
                self.pending.drop_session();
                return Err(refusal);
            }
        };
        if self.leftover {
            if let Some(statements) = self.target.remove_leftover(&self.config, last) {
                self.write(statements).await?;
            }
            self.leftover = false;
        }
        // A write that was given up may be committed yet, with a number that is not in the table.
        let number = last.max(self.begun).saturating_add(1);
        self.begun = number;
        self.leftover = true;
        for phase in self.target.phases() {
            self.step(number, phase).await?;
        }
        self.stored = Some(number);
        self.leftover = false;
        Ok(number)
    }

    /// A session on a server that may be written to, and the last number.
    async fn prepare(&mut self) -> Result<u64, WriteRefused> {
        if self.pending.writer().is_none() {
            let writer = WriteSession::connect(&self.config).await?;
            self.target.connected();
            self.pending.put(writer);
        }
        let config = &self.config;
        let Some(writer) = self.pending.writer() else {
            return Err(WriteRefused::from(crate::mysql::Error::Abandoned));
        };
        if let Some(refusal) = writer.facts().await?.refusal() {
            return Err(refusal);
        }
        self.target.prepare(writer, config).await?;
        if let Some(number) = self.stored {
            return Ok(number);
        }
        let (table, key) =
            (config.schema.table(CANARY_COUNTER), literal(&self.target.counter_key(config)));
        let sql = format!("SELECT n FROM {table} WHERE stream = {key}");
        let number = match writer.session.query_first(&sql).await? {
            Some(row) => row.unsigned(0)?.unwrap_or(0),
            None => 0,
        };
        self.stored = Some(number);
        Ok(number)
    }

    async fn step(&mut self, number: u64, phase: Phase) -> Result<(), WriteRefused> {
        let mut attempt = 1;
        loop {
            let step = CanaryStep { path: self.target.path_name().map(Arc::from), number, phase };
            (self.observer)(Observation::CanaryStarted(step.clone()));
            let statements = self.target.step(&self.config, number, phase);
            match self.write(statements).await {
                Ok(()) => {
                    (self.observer)(Observation::CanaryCommitted { step });
                    return Ok(());
                }
                Err(refusal)
                    if refusal.reason == SqlFailure::Deadlock && attempt < ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Runs a write.
    async fn write(&mut self, statements: Vec<Statement>) -> Result<(), WriteRefused> {
        let deadline = self.config.write_deadline;
        match self.pending.write(statements, deadline).await {
            None => {
                let message = format!("no answer within {deadline:?}");
                Err(WriteRefused { reason: SqlFailure::TimedOut, message })
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(refusal)) => {
                if refusal.reason != SqlFailure::Deadlock {
                    // A transaction may be open on the session.
                    self.pending.drop_session();
                }
                Err(refusal)
            }
        }
    }

    fn fail(&mut self, refusal: WriteRefused) {
        // Whether the last row was written, and with it its number, only the server knows.
        self.forget();
        let WriteRefused { reason, message } = refusal;
        let path = self.target.path_name();
        if self.last_reason.replace(reason) != Some(reason) {
            warn!(path, reason = reason.as_str(), message, "no canary could be written");
        }
        let path = path.map(Arc::from);
        (self.observer)(Observation::CanaryFailed { path, reason, message });
    }

    fn forget(&mut self) {
        self.stored = None;
        self.leftover = true;
    }
}
