//! The lease on the stream: taken at the start, renewed while the process lives, given up at its end.
//!
//! It keeps a second process that is started by mistake from stopping the first. Where it can't be kept,
//! for want of its table, say, the stream runs without it, and a finding says why.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::freshness::writer_config;
use super::monitoring::Monitoring;
use super::plan::{Plan, host_name};
use super::supervise::Task;
use crate::checkpoint;
use crate::freshness::schema::{CHECKPOINT, LEASE};
use crate::freshness::{Refusal, SqlFailure, Writer, WriterConfig};
use crate::lease::table::{self, Tables};
use crate::lease::{Holder, Look, Row, Unrenewed, Watch};
use crate::mysql;
use crate::mysql::SharedHost;
use crate::shutdown::TaskGroup;
use crate::source::preflight::{self, Finding, Severity};

/// Longest pause between two looks at another process's lease.
const LOOK_EVERY_MAX: Duration = Duration::from_millis(250);
/// Pause before a lease that could not be had is tried again.
const SEEK_EVERY: Duration = Duration::from_secs(10);
/// Time to give the lease up at the end.
const GIVE_UP_MAX: Duration = Duration::from_secs(1);

/// Another process runs the stream.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "stream `{stream}` is run by another process: binpulse {} on host `{}`, listening on {}, since {}. \
     It renews its lease ({table}). Stop that one, or give this one a stream.name of its own; to take \
     the stream from it, start once with --takeover",
    .row.holder.version, .row.holder.host, .row.holder.address, .row.since
)]
pub(super) struct HeldElsewhere {
    stream: String,
    table: String,
    row: Box<Row>,
}

/// Why the lease was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Somebody else has it.
    #[error(transparent)]
    Held(#[from] HeldElsewhere),
    /// The server can't be asked now.
    #[error(transparent)]
    NotNow(checkpoint::Error),
}

/// One process's hold on the stream. It ends with [`Lease::close`].
pub(super) struct Lease {
    fence: Arc<Mutex<Option<u64>>>,
    tasks: TaskGroup,
}

impl Lease {
    /// Nothing is held yet.
    pub(super) fn new() -> Self {
        Self { fence: Arc::default(), tasks: TaskGroup::new("lease") }
    }

    /// Takes the lease and keeps it from here on; its fence. `place` names the locked file of the
    /// checkpoint. Without heartbeats nothing is written to the source, and there is no lease.
    pub(super) async fn take(
        &self,
        plan: &Plan,
        monitoring: &Monitoring,
        place: Option<String>,
    ) -> Result<Option<u64>, Failure> {
        if !plan.freshness.heartbeats {
            return Ok(None);
        }
        let held = *lock(&self.fence);
        if held.is_some() {
            return Ok(held);
        }
        let terms = Terms::new(plan, &monitoring.hosts.written_to, &monitoring.instance, place);
        match terms.acquire(plan.ha.takes_over).await {
            Ok(fence) => {
                *lock(&self.fence) = Some(fence);
                monitoring.findings.leased(None);
            }
            Err(Refused::Held(held)) => return Err(held.into()),
            // A checkpoint in a table waits for the same server.
            Err(Refused::Sql(refusal))
                if plan.checkpoint.file.is_none() && passes(refusal.reason) =>
            {
                return Err(Failure::NotNow(terms.not_now(refusal)));
            }
            Err(Refused::Sql(refusal)) => {
                monitoring.findings.leased(Some(Terms::unkept(&refusal)));
            }
        }
        let (fence, findings) = (Arc::clone(&self.fence), monitoring.findings.clone());
        monitoring.supervisor.keep_in(
            &self.tasks.tasks,
            Task::Lease,
            &self.tasks.stop,
            move |stop| {
                let keeper = Keeper {
                    terms: terms.clone(),
                    fence: Arc::clone(&fence),
                    findings: findings.clone(),
                    writer: None,
                    watch: Watch::newcomer(),
                    failing: None,
                };
                keeper.run(stop)
            },
        );
        Ok(*lock(&self.fence))
    }

    /// Gives the lease up when `ours` is cancelled before `ending` is: another process has the stream.
    pub(super) fn ends_with(&self, ours: &CancellationToken, ending: &CancellationToken) {
        let (ours, ending, stop) = (ours.clone(), ending.clone(), self.tasks.stop.clone());
        self.tasks.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = ours.cancelled() => {
                    if !ending.is_cancelled() {
                        stop.cancel();
                    }
                }
            }
        });
    }

    /// Gives it up, within a second or so. Nothing must be published or saved from here on.
    pub(super) async fn close(&self) {
        self.tasks.stop.cancel();
        self.tasks.tasks.close();
        if tokio::time::timeout(GIVE_UP_MAX * 2, self.tasks.tasks.wait()).await.is_err() {
            tracing::warn!("the lease on the stream could not be given up in time");
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the lease is taken with.
#[derive(Clone)]
pub(super) struct Terms {
    config: WriterConfig,
    tables: Tables,
    holder: Holder,
    lifetime: Duration,
}

/// Why it could not be taken.
enum Refused {
    Held(HeldElsewhere),
    Sql(Refusal),
}

impl From<mysql::Error> for Refused {
    fn from(error: mysql::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Sql(refusal)
    }
}

impl Terms {
    pub(super) fn new(
        plan: &Plan,
        host: &SharedHost,
        instance: &str,
        place: Option<String>,
    ) -> Self {
        let (schema, lifetime) = (&plan.freshness.schema, plan.ha.lifetime);
        let config = writer_config(plan, host, instance.to_owned());
        Self {
            // A statement that takes longer than a lifetime renews nothing.
            config: WriterConfig {
                probe_timeout: config.probe_timeout.min(lifetime.max(Duration::from_secs(1))),
                ..config
            },
            tables: Tables {
                lease: schema.table(LEASE),
                checkpoint: schema.table(CHECKPOINT),
                stream: plan.stream.clone(),
            },
            holder: Holder {
                instance: instance.to_owned(),
                address: plan.http.address.to_string(),
                host: host_name(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                place: place.unwrap_or_default(),
            },
            lifetime,
        }
    }

    /// Takes the lease; waits while it is not known whether another process renews it.
    async fn acquire(&self, takes_over: bool) -> Result<u64, Refused> {
        let mut writer = Writer::connect(&self.config).await?;
        let mut watch = Watch::newcomer();
        let mut is_told = false;
        loop {
            let asked = Instant::now();
            let row = table::read(&mut writer.session, &self.tables).await?;
            let look = watch.look(row.as_ref(), asked, Instant::now());
            match self.decide(row.as_ref(), look, takes_over) {
                Step::Held(fence) => return Ok(fence),
                Step::Take => {
                    let taken = self.taken(&mut writer, row.as_ref()).await?;
                    if let Some(fence) = taken {
                        writer.session.close().await;
                        return Ok(fence);
                    }
                }
                Step::Refuse(row) => return Err(Refused::Held(self.held_elsewhere(row))),
                Step::Wait if !is_told => {
                    is_told = true;
                    tracing::info!(
                        host = row.as_ref().map(|row| row.holder.host.as_str()),
                        "another process has the lease on the stream; looking whether it renews it"
                    );
                }
                Step::Wait => {}
            }
            tokio::time::sleep((self.lifetime / 4).min(LOOK_EVERY_MAX)).await;
        }
    }

    fn decide<'a>(&self, row: Option<&'a Row>, look: Look, takes_over: bool) -> Step<'a> {
        let Some(row) = row else { return Step::Take };
        if row.holder.instance == self.holder.instance {
            // The answer to the taking was lost.
            return Step::Held(row.fence);
        }
        // Its holder had locked the file that this process has locked now: it has ended.
        let has_ended = !self.holder.place.is_empty() && self.holder.place == row.holder.place;
        match look {
            Look::Free => Step::Take,
            Look::Renewed | Look::Waits if takes_over || has_ended => Step::Take,
            Look::Renewed => Step::Refuse(row),
            Look::Waits => Step::Wait,
        }
    }

    async fn taken(
        &self,
        writer: &mut Writer,
        seen: Option<&Row>,
    ) -> Result<Option<u64>, mysql::Error> {
        let (holder, lifetime) = (&self.holder, self.lifetime);
        let fence = table::take(&mut writer.session, &self.tables, holder, lifetime, seen).await?;
        if let Some(fence) = fence {
            let from = seen.filter(|row| !row.is_given_up()).map(|row| row.holder.host.as_str());
            tracing::info!(fence, from, "the lease on the stream is taken");
        }
        Ok(fence)
    }

    fn held_elsewhere(&self, row: &Row) -> HeldElsewhere {
        HeldElsewhere {
            stream: self.tables.stream.clone(),
            table: self.tables.lease.clone(),
            row: Box::new(row.clone()),
        }
    }

    fn not_now(&self, refusal: Refusal) -> checkpoint::Error {
        checkpoint::Error::Database {
            action: "take the lease",
            table: self.tables.lease.clone(),
            code: 0,
            passes: true,
            message: refusal.message,
        }
    }

    /// Why the lease is not kept.
    fn unkept(refusal: &Refusal) -> Finding {
        let remedy = match refusal.reason {
            SqlFailure::SchemaMissing => {
                "run `binpulse init`, or give the output of `binpulse init --print` to a DBA"
            }
            SqlFailure::Denied | SqlFailure::Login | SqlFailure::ExemptAccount => {
                "give heartbeat.user what `binpulse init --print` prints"
            }
            SqlFailure::TimedOut
            | SqlFailure::ReadOnly
            | SqlFailure::StorageReadOnly
            | SqlFailure::Lock
            | SqlFailure::Deadlock
            | SqlFailure::TooManyConnections
            | SqlFailure::Offline
            | SqlFailure::ShuttingDown
            | SqlFailure::DiskFull
            | SqlFailure::Interrupted
            | SqlFailure::Connection(_)
            | SqlFailure::Tls
            | SqlFailure::Diverged
            | SqlFailure::Other(_) => "`binpulse check` looks at it",
        };
        Finding {
            what: preflight::LEASE,
            found: format!("it is not kept: {}", refusal.message),
            needed: "a lease, so that a second process that is started by mistake does not stop this one",
            remedy: remedy.to_owned(),
            severity: Severity::Note,
        }
    }

    /// Another process has it, and this one runs.
    fn kept_by(&self, row: &Row) -> Finding {
        Finding {
            what: preflight::LEASE,
            found: self.held_elsewhere(row).to_string(),
            needed: "one process for each stream",
            remedy: "stop one of the two".to_owned(),
            severity: Severity::Warn,
        }
    }
}

/// What follows from a look.
enum Step<'a> {
    Held(u64),
    Take,
    Refuse(&'a Row),
    Wait,
}

/// Whether waiting helps.
fn passes(reason: SqlFailure) -> bool {
    matches!(
        reason,
        SqlFailure::Connection(_)
            | SqlFailure::TimedOut
            | SqlFailure::Offline
            | SqlFailure::ShuttingDown
            | SqlFailure::Interrupted
            | SqlFailure::TooManyConnections
            | SqlFailure::Lock
            | SqlFailure::Deadlock
    )
}

/// Renews the lease, and takes one that could not be had at the start.
struct Keeper {
    terms: Terms,
    fence: Arc<Mutex<Option<u64>>>,
    findings: super::findings::Findings,
    writer: Option<Writer>,
    watch: Watch,
    failing: Option<SqlFailure>,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        // Whoever watches for two lifetimes sees a renewal.
        let mut ticks = tokio::time::interval(self.terms.lifetime);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let held = *lock(&self.fence);
            let kept = match held {
                Some(fence) => self.renew(fence).await,
                None => self.seek().await,
            };
            match kept {
                Ok(Kept::Ours) => self.failing = None,
                Ok(Kept::Lost) => {
                    *lock(&self.fence) = None;
                    return stop.cancelled().await;
                }
                Ok(Kept::Not) => ticks.reset_after(SEEK_EVERY),
                Err(refusal) => self.failed(&refusal, held.is_some(), &mut ticks),
            }
        }
        if tokio::time::timeout(GIVE_UP_MAX, self.give_up()).await.is_err() {
            tracing::debug!("the lease on the stream could not be given up: no answer");
        }
    }

    async fn renew(&mut self, fence: u64) -> Result<Kept, Refusal> {
        let Terms { tables, holder, lifetime, .. } = self.terms.clone();
        let session = &mut self.connected().await?.session;
        if table::renew(session, &tables, &holder, fence).await? {
            return Ok(Kept::Ours);
        }
        let row = table::read(session, &tables).await?;
        match Unrenewed::of(row.as_ref(), fence) {
            Unrenewed::WentBack
                if table::write(session, &tables, &holder, lifetime, fence).await? =>
            {
                tracing::info!(fence, "the lease on the stream is written to another server");
                Ok(Kept::Ours)
            }
            Unrenewed::WentBack => Ok(Kept::Not),
            Unrenewed::Lost => {
                if let Some(row) = &row {
                    let finding = self.terms.kept_by(row);
                    self.findings.leased(Some(finding));
                }
                Ok(Kept::Lost)
            }
        }
    }

    /// Takes the lease that could not be had at the start.
    async fn seek(&mut self) -> Result<Kept, Refusal> {
        let terms = self.terms.clone();
        let asked = Instant::now();
        let writer = self.connected().await?;
        let row = table::read(&mut writer.session, &terms.tables).await?;
        let look = self.watch.look(row.as_ref(), asked, Instant::now());
        let fence = match terms.decide(row.as_ref(), look, false) {
            Step::Held(fence) => Some(fence),
            Step::Take => {
                let writer = self.connected().await?;
                terms.taken(writer, row.as_ref()).await?
            }
            Step::Refuse(row) => {
                self.findings.leased(Some(terms.kept_by(row)));
                None
            }
            Step::Wait => None,
        };
        let Some(fence) = fence else { return Ok(Kept::Not) };
        *lock(&self.fence) = Some(fence);
        self.findings.leased(None);
        Ok(Kept::Ours)
    }

    /// A session to the server that is written to now.
    async fn connected(&mut self) -> Result<&mut Writer, Refusal> {
        let host = self.terms.config.host.now();
        let writer = match self.writer.take().filter(|writer| *writer.session.host() == host) {
            Some(writer) => writer,
            None => Writer::connect(&self.terms.config).await?,
        };
        Ok(self.writer.insert(writer))
    }

    fn failed(&mut self, refusal: &Refusal, is_held: bool, ticks: &mut tokio::time::Interval) {
        self.writer = None;
        if self.failing.replace(refusal.reason) != Some(refusal.reason) {
            let (reason, message) = (refusal.reason.as_str(), &refusal.message);
            tracing::warn!(reason, message, "the lease on the stream could not be renewed");
        }
        if !is_held {
            self.findings.leased(Some(Terms::unkept(refusal)));
            ticks.reset_after(SEEK_EVERY);
        }
    }

    async fn give_up(&mut self) {
        let Some(fence) = lock(&self.fence).take() else { return };
        let (tables, holder) = (self.terms.tables.clone(), self.terms.holder.clone());
        let Ok(writer) = self.connected().await else { return };
        match table::give_up(&mut writer.session, &tables, &holder, fence).await {
            Ok(()) => tracing::info!(fence, "the lease on the stream is given up"),
            Err(error) => tracing::warn!(%error, "the lease on the stream could not be given up"),
        }
    }
}

/// What became of a turn.
enum Kept {
    Ours,
    Lost,
    Not,
}

/// Who would keep a process that starts now from starting; `None`: nobody. It takes as long as that process
/// would wait.
pub(super) async fn look(
    plan: &Plan,
    host: &SharedHost,
    writer: &mut Writer,
) -> Result<Option<String>, mysql::Error> {
    let terms = Terms::new(plan, host, "", None);
    let mut watch = Watch::newcomer();
    loop {
        let asked = Instant::now();
        let row = table::read(&mut writer.session, &terms.tables).await?;
        match (watch.look(row.as_ref(), asked, Instant::now()), row) {
            (Look::Renewed, Some(row)) => return Ok(Some(terms.held_elsewhere(&row).to_string())),
            (Look::Waits, _) => {}
            (Look::Free | Look::Renewed, _) => return Ok(None),
        }
        tokio::time::sleep((terms.lifetime / 4).min(LOOK_EVERY_MAX)).await;
    }
}
