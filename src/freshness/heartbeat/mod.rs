//! Writes the heartbeat row, once an interval, and says how that went.
//!
//! One row a stream, on a session of its own. The task decides nothing about freshness: it reports.

mod write_result;

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pending_write::{Ended, PendingWrite};
use super::schema::{HEARTBEAT, literal};
use super::write_session::{WriteRefused, WriteSession};
use super::{Executed, Observation, Observer, Received, SqlFailure, WriterConfig, received};
use crate::change::Uuid;
use write_result::WriteResult;

/// Longest pause between attempts on a server that refuses writes: what is written there by mistake
/// while it is being demoted would be an errant transaction.
const BACKOFF_TURNS_MAX: u32 = 6;

/// Pause before a write that met a lock is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Writes heartbeats.
pub struct HeartbeatWriter {
    config: WriterConfig,
    interval: Duration,
    observer: Observer,
    received: Received,
    pending: PendingWrite,
    /// Number of the last heartbeat that was begun.
    number: Option<u64>,
    /// Whether the one outstanding was reported as overdue.
    overdue: bool,
    /// Turns to sit out after a refusal.
    sit_out: u32,
    backoff: u32,
    /// Whether the next attempt comes before the interval is over.
    retries_soon: bool,
    last_reason: Option<SqlFailure>,
}

impl HeartbeatWriter {
    /// Writes each `interval` (H) and reports to `observer`; not to a server that lacks what was
    /// `received` from it.
    pub fn new(
        config: WriterConfig,
        interval: Duration,
        observer: Observer,
        received: Received,
    ) -> Self {
        Self {
            config,
            interval,
            observer,
            received,
            pending: PendingWrite::default(),
            number: None,
            overdue: false,
            sit_out: 0,
            backoff: 0,
            retries_soon: false,
            last_reason: None,
        }
    }

    /// Writes until told to stop. Failures are reported and tried again for ever. A write that is
    /// outstanding at the stop is left to the server.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;

                // 1. A request to stop outranks everything.
                () = stop.cancelled() => break,
                // 2. The end of an overdue write, at once: recovery is seen by it.
                ended = self.pending.fate() => self.ended(ended).await,
                // 3. The next write, or the next look at the overdue one. Bounded by deadlines.
                _ = ticks.tick() => {
                    self.write_once().await;
                    if std::mem::take(&mut self.retries_soon) {
                        ticks.reset_after(RETRY_PAUSE.min(self.interval));
                    }
                }
            }
        }
    }

    async fn write_once(&mut self) {
        self.follow();
        if self.pending.outstanding().is_some() {
            self.look_at_outstanding().await;
            return;
        }
        if let Some(rest) = self.sit_out.checked_sub(1) {
            self.sit_out = rest;
            return self
                .fail_untried(SqlFailure::ReadOnly, "waiting before the next attempt".into());
        }
        match self.prepare().await {
            Ok((number, server_uuid)) => self.write(number, &server_uuid).await,
            Err(refusal) => {
                let looks_again = [SqlFailure::ExemptAccount, SqlFailure::Diverged];
                if looks_again.contains(&refusal.reason) {
                    // A name may point elsewhere, an account be changed: look again from the start.
                    self.pending.drop_session();
                }
                self.fail_untried(refusal.reason, refusal.message);
            }
        }
    }

    /// Leaves a server that the stream has left.
    fn follow(&mut self) {
        let (host, was_out) = (self.config.host.now(), self.pending.outstanding().is_some());
        if !self.pending.leave_unless(&host) {
            return;
        }
        // A pause was for the server before.
        (self.sit_out, self.backoff) = (0, 0);
        info!(%host, "heartbeats move to another server");
        if let (true, Some(number)) = (was_out, self.number) {
            let message = "the stream moved to another server before the answer came".to_owned();
            self.fail(Some(number), SqlFailure::BROKEN, message);
        }
    }

    /// A session, the next number, and the server's name, if it may be written to.
    async fn prepare(&mut self) -> Result<(u64, String), WriteRefused> {
        let stood = self.pending.writer().is_some();
        if self.pending.writer().is_none() {
            let writer = WriteSession::connect(&self.config).await?;
            info!(host = %writer.session.host(), "the heartbeat writer is connected");
            self.pending.put(writer);
        }
        let (config, known, received) = (&self.config, self.number, self.received.newest());
        let Some(writer) = self.pending.writer() else {
            return Err(WriteRefused::from(crate::mysql::Error::Abandoned));
        };
        let prepared = async {
            let facts = writer.facts().await?;
            (self.observer)(Observation::Facts(facts.clone()));
            if let Some(refusal) = facts.refusal() {
                return Err(refusal);
            }
            let mut last = known;
            // A server that was put back has lost rows, which the next write would cover up.
            if !stood || known.is_none() {
                let (number, server) = stored(writer, config).await?;
                (self.observer)(Observation::HeartbeatStored { number, server });
                if let Some(newest) = received {
                    holds(writer, config, newest).await?;
                }
                // Where the row is gone the numbers continue all the same.
                last = known.or(Some(number)).max(received.map(|newest| newest.number));
            }
            Ok((last.unwrap_or_default().saturating_add(1), facts.server_uuid))
        }
        .await;
        if let Some(refusal) = prepared.as_ref().err().filter(|it| is_of_session(it.reason)) {
            self.pending.drop_session();
            // A session that somebody cut says nothing about the server: ask it again, once.
            self.retries_soon |= stood && matches!(refusal.reason, SqlFailure::Connection(_));
        }
        prepared
    }

    async fn write(&mut self, number: u64, server_uuid: &str) {
        self.number = Some(number);
        self.overdue = false;
        (self.observer)(Observation::HeartbeatStarted { number });
        let statement = self.statement(number, server_uuid);
        match self.pending.write(vec![statement], self.config.write_deadline).await {
            Some(ended) => self.ended(ended).await,
            None => {
                self.overdue = true;
                let after = self.config.write_deadline;
                self.fail(
                    Some(number),
                    SqlFailure::TimedOut,
                    format!("no answer within {after:?}"),
                );
            }
        }
    }

    /// The row only ever moves forward: a statement that was given up by a process before this one
    /// may still be on its way.
    fn statement(&self, number: u64, server_uuid: &str) -> String {
        let table = self.config.schema.table(HEARTBEAT);
        let (stream, instance) = (literal(&self.config.stream), literal(&self.config.instance));
        let (at, server) = (crate::platform::wall_us(), literal(server_uuid));
        let newer =
            |column: &str| format!("{column} = IF(VALUES(n) > n, VALUES({column}), {column})");
        // Assignments run from left to right, so `n` must be the last.
        format!(
            "INSERT INTO {table} (stream, n, instance, written_at_us, server_uuid) \
             VALUES ({stream}, {number}, {instance}, {at}, {server}) ON DUPLICATE KEY UPDATE \
             {}, {}, {}, n = GREATEST(n, VALUES(n))",
            newer("instance"),
            newer("written_at_us"),
            newer("server_uuid"),
        )
    }

    /// Reports the end of a write, and after a commit what the server had executed by then.
    async fn ended(&mut self, ended: Ended) {
        let committed = matches!(ended, Ok(1..)).then_some(self.number).flatten();
        self.report_end(ended);
        let (Some(number), Some(writer)) = (committed, self.pending.writer()) else { return };
        let read = async { Ok((writer.executed().await?, writer.facts().await?)) };
        match read.await {
            Ok((sets, facts)) => {
                let (executed, purged) = sets.unzip();
                let read = Executed { number, facts, executed, purged };
                (self.observer)(Observation::Executed(Box::new(read)));
            }
            // The session's next use says what is wrong with it.
            Err::<_, crate::mysql::Error>(error) => {
                info!(number, %error, "the executed transactions can't be queried");
            }
        }
    }

    fn report_end(&mut self, ended: Ended) {
        let Some(number) = self.number else { return };
        self.overdue = false;
        match ended {
            // Nothing changed: the row is ahead of us. Begin again from what it says.
            Ok(0) => {
                self.number = None;
                let message = "the row in the table is ahead: another process writes it".to_owned();
                self.fail(Some(number), SqlFailure::Other(0), message);
            }
            Ok(_) => {
                if let Some(reason) = self.last_reason.take() {
                    info!(number, was = reason.as_str(), "heartbeats are written again");
                }
                self.backoff = 0;
                (self.observer)(Observation::HeartbeatCommitted { number });
            }
            Err(refusal) => {
                // One more refusal tells a lock that is held from one that just was.
                self.retries_soon =
                    matches!(refusal.reason, SqlFailure::Lock | SqlFailure::Deadlock);
                if refusal.reason.is_read_only() {
                    self.backoff = (self.backoff * 2).clamp(1, BACKOFF_TURNS_MAX);
                    self.sit_out = self.backoff - 1;
                }
                self.fail(Some(number), refusal.reason, refusal.message);
            }
        }
    }

    /// Asks a second session what became of the overdue write.
    async fn look_at_outstanding(&mut self) {
        let session = self.pending.outstanding().map(|outstanding| outstanding.session_id);
        let (Some(number), Some(session_id)) = (self.number, session) else { return };
        let fate = write_result::fate(&self.config, session_id, number).await;
        let server_state = match fate {
            WriteResult::Running { state } => state,
            WriteResult::Unknown => None,
            // Its answer was lost, or will never come.
            WriteResult::Committed => {
                self.pending.drop_session();
                return self.report_end(Ok(1));
            }
            WriteResult::Gone => {
                self.pending.drop_session();
                let message = "the session no longer exists on the server; its write was rolled \
                               back"
                    .to_owned();
                return self.fail(Some(number), SqlFailure::BROKEN, message);
            }
        };
        (self.observer)(Observation::HeartbeatPending { server_state });
    }

    fn fail_untried(&mut self, reason: SqlFailure, message: String) {
        self.fail(None, reason, message);
    }

    fn fail(&mut self, number: Option<u64>, reason: SqlFailure, message: String) {
        if self.last_reason.replace(reason) != Some(reason) {
            warn!(number, reason = reason.as_str(), message, "no heartbeat could be written");
        }
        (self.observer)(Observation::HeartbeatFailed { number, reason, message });
    }
}

/// Whether the session itself is of no more use.
fn is_of_session(reason: SqlFailure) -> bool {
    match reason {
        SqlFailure::TimedOut
        | SqlFailure::Connection(_)
        | SqlFailure::Offline
        | SqlFailure::ShuttingDown
        | SqlFailure::Interrupted
        | SqlFailure::Tls => true,
        SqlFailure::ReadOnly
        | SqlFailure::StorageReadOnly
        | SqlFailure::Lock
        | SqlFailure::Deadlock
        | SqlFailure::TooManyConnections
        | SqlFailure::Login
        | SqlFailure::Denied
        | SqlFailure::SchemaMissing
        | SqlFailure::DiskFull
        | SqlFailure::ExemptAccount
        | SqlFailure::Diverged
        | SqlFailure::Other(_) => false,
    }
}

/// Refuses a server that lacks the newest heartbeat that came from it: a write would cover that up.
async fn holds(
    writer: &mut WriteSession,
    config: &WriterConfig,
    newest: received::Newest,
) -> Result<(), WriteRefused> {
    let table = config.schema.table(HEARTBEAT);
    let lacking = received::check(&mut writer.session, &table, &config.stream, newest).await?;
    let Some(lacking) = lacking else { return Ok(()) };
    let message = format!(
        "the server was restored to an older state: {}",
        lacking.words("heartbeat", &table)
    );
    Err(WriteRefused { reason: SqlFailure::Diverged, message })
}

/// The number in the table, 0 without a row, and the UUID of the server that says so, if it has one.
async fn stored(
    writer: &mut WriteSession,
    config: &WriterConfig,
) -> Result<(u64, Option<Uuid>), WriteRefused> {
    let (table, stream) = (config.schema.table(HEARTBEAT), literal(&config.stream));
    let server = if writer.dialect.has_server_uuid() { "@@server_uuid" } else { "''" };
    let sql = format!("SELECT n, {server} FROM {table} WHERE stream = {stream}");
    let Some(row) = writer.session.query_first(&sql).await? else { return Ok((0, None)) };
    let server = row.text(1).and_then(|name| name.parse().ok());
    Ok((row.unsigned(0)?.unwrap_or(0), server))
}
