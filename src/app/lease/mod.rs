//! The lease on the stream: taken at the start, renewed while the process lives, given up at its end.
//!
//! It keeps a second process that is started by mistake from stopping the first. Where it can't be kept,
//! for want of its table, say, the stream runs without it, and a finding says why.
//!
//! With `ha.enabled` a process that finds the lease held waits as a standby, warm: topic opened, session
//! open, nothing read. The holder publishes only as long as its lease holds by its own clock, and becomes a
//! standby itself when another has taken it.

mod keeper;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::freshness::writer_config;
use super::lease_standing::{LeaseHandle, Standing};
use super::monitoring::Monitoring;
use super::plan::{Plan, host_name};
use super::supervise::Task;
use crate::checkpoint;
use crate::freshness::schema::{CHECKPOINT, LEASE};
use crate::freshness::{SqlFailure, WriteRefused, WriteSession, WriterConfig};
use crate::lease::table::{self, Tables};
use crate::lease::{Holder, Look, Row, Watch};
use crate::mysql;
use crate::mysql::SharedHost;
use crate::platform;
use crate::shutdown::TaskGroup;
use crate::sink::Permit;
use crate::source::preflight::{self, Finding, Severity};
use keeper::Keeper;

/// Longest pause between two looks at another process's lease.
const LOOK_EVERY_MAX: Duration = Duration::from_millis(250);
/// Pause before it is asked again whether the lease was renewed.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Lifetimes for which a process leaves what it gave up to others, before it takes it again.
const RESTS: u32 = 5;
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
    /// A standby can't do without it.
    #[error("ha.enabled: {0}")]
    Needed(String),
}

/// One process's hold on the stream. It ends with [`Lease::close`].
pub(super) struct Lease {
    fence: Arc<Mutex<Option<u64>>>,
    tasks: TaskGroup,
    standing: Standing,
    permit: Permit,
    /// Another process has taken the lease, or an operator wants it to.
    lost: CancellationToken,
    yields: CancellationToken,
    /// Before that, what this process gave up is left to others.
    rests_until: Option<Instant>,
    /// The stream is taken from whoever has it: once.
    takes_over: bool,
    /// A task renews it: one, however often it was tried to take it.
    is_kept: AtomicBool,
}

/// Tells the stream whether this process has the lease.
#[derive(Clone)]
pub(super) struct Hold {
    standing: Standing,
    lost: CancellationToken,
    lifetime: Duration,
}

impl Hold {
    /// Waits for a renewal that is sent from now on, for a lifetime at most; whether there was one.
    pub(super) async fn is_kept(&self) -> bool {
        let since = platform::now();
        let renewed = async {
            while !self.standing.was_renewed_from(since) {
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            () = self.lost.cancelled() => false,
            renewed = tokio::time::timeout(self.lifetime, renewed) => renewed.is_ok(),
        }
    }
}

/// What is held, and from when it permits to publish.
struct Held {
    row: Row,
    asked: Instant,
    from: Instant,
}

impl Lease {
    /// Nothing is held yet.
    pub(super) fn new(plan: &Plan) -> Self {
        let takes_over = plan.ha.takes_over;
        Self { takes_over, ..Self::with(Standing::new(plan.ha.stands_by), None) }
    }

    fn with(standing: Standing, rests_until: Option<Instant>) -> Self {
        let permit = if standing.stands_by() { Permit::withheld() } else { Permit::default() };
        Self {
            fence: Arc::default(),
            tasks: TaskGroup::new("lease"),
            standing,
            permit,
            lost: CancellationToken::new(),
            yields: CancellationToken::new(),
            rests_until,
            takes_over: false,
            is_kept: AtomicBool::new(false),
        }
    }

    /// The next one of a process that stands by again. It leaves the stream to others for a while.
    pub(super) fn again(&self, plan: &Plan) -> Self {
        Self::with(self.standing.clone(), Some(platform::now() + plan.ha.lifetime * RESTS))
    }

    /// What `/status`, the metrics and who yields need of it.
    pub(super) fn control(&self) -> LeaseHandle {
        LeaseHandle::new(self.standing.clone(), self.yields.clone(), self.permit())
    }

    /// The permission to publish that follows from it.
    pub(super) fn permit(&self) -> Permit {
        self.permit.clone()
    }

    /// What the stream asks when the source has dropped it; `None` without `ha.enabled`.
    pub(super) fn hold(&self, plan: &Plan) -> Option<Hold> {
        let (standing, lost) = (self.standing.clone(), self.lost.clone());
        plan.ha.stands_by.then(|| Hold { standing, lost, lifetime: plan.ha.lifetime })
    }

    /// Whether another process has the lease: nothing may be published or saved any more.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Ends when the stream is to be left to another process.
    pub(super) async fn stands_down(&self) {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => {}
            () = self.yields.cancelled() => {}
        }
    }

    /// What a stream that ended so ends as: whatever a lost lease brought it to, it stands down.
    pub(super) fn ends_as(&self, outcome: Outcome) -> Outcome {
        let is_lost = self.standing.stands_by() && self.lost.is_cancelled();
        if is_lost { Outcome::StandsDown } else { outcome }
    }

    /// Whether an operator wants that: what is under way is delivered first.
    pub(super) fn has_yielded(&self) -> bool {
        self.yields.is_cancelled()
    }

    /// Another process has the stream: nothing is published from here on. The lease is not given up, so
    /// that whoever takes it waits for what had begun.
    pub(super) fn lose(&self) {
        self.permit.withdraw();
        self.lost.cancel();
        *lock(&self.fence) = None;
        self.tasks.stop.cancel();
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
        let held = if plan.ha.stands_by {
            self.stand_by(&terms, plan, monitoring).await
        } else {
            terms.acquire(self.takes_over).await
        };
        let mut from = platform::now();
        match held {
            Ok(held) => {
                from = held.from;
                *lock(&self.fence) = Some(held.row.fence);
                self.permit.grant(held.from, held.asked + terms.lifetime);
                self.standing.holds(&held.row, held.asked);
                monitoring.findings.leased(None);
            }
            Err(Refused::Held(held)) => return Err(held.into()),
            // A checkpoint in a table waits for the same server.
            Err(Refused::Sql(refusal))
                if plan.checkpoint.file.is_none() && passes(refusal.reason) =>
            {
                return Err(Failure::NotNow(terms.not_now(refusal)));
            }
            Err(Refused::Sql(refusal)) if plan.ha.stands_by => {
                return Err(Failure::Needed(terms.unkept(&refusal).to_string()));
            }
            Err(Refused::Sql(refusal)) => {
                monitoring.findings.leased(Some(terms.unkept(&refusal)));
            }
        }
        if !self.is_kept.swap(true, Ordering::Relaxed) {
            self.keep(&terms, monitoring, from);
        }
        Ok(*lock(&self.fence))
    }

    /// Renews it from here on.
    fn keep(&self, terms: &Terms, monitoring: &Monitoring, from: Instant) {
        let keeper = Keeper {
            terms: terms.clone(),
            fence: Arc::clone(&self.fence),
            findings: monitoring.findings.clone(),
            standing: self.standing.clone(),
            permit: self.permit.clone(),
            publishes_from: from,
            lost: self.lost.clone(),
            writer: None,
            watch: Watch::newcomer(),
            failing: None,
        };
        let keeper = Arc::new(Mutex::new(Some(keeper)));
        let (tasks, stop) = (&self.tasks.tasks, &self.tasks.stop);
        monitoring.supervisor.keep_in(tasks, Task::Lease, stop, move |stop| {
            // One that has panicked left no session behind; its parts are all shared.
            let mine = lock(&keeper).take();
            let spare = mine.as_ref().map(Keeper::afresh);
            *lock(&keeper) = spare;
            async move {
                if let Some(mine) = mine {
                    mine.run(stop).await;
                }
            }
        });
    }

    /// Waits for the lease as a standby.
    async fn stand_by(
        &self,
        terms: &Terms,
        plan: &Plan,
        monitoring: &Monitoring,
    ) -> Result<Held, Refused> {
        let mut writer = Some(WriteSession::connect(&terms.config).await?);
        let (mut watch, mut failing) = (Watch::standby(), None);
        let readiness = &monitoring.controls.readiness;
        let held = loop {
            match self.look(terms, plan, &mut writer, &mut watch).await {
                Ok(Some(held)) => break held,
                Ok(None) => {
                    failing = None;
                    readiness.stands_by(true);
                }
                // What keeps it from ever seeing the lease is told at once.
                Err(refusal) if !self.standing.heard_within(Duration::MAX) => {
                    return Err(refusal.into());
                }
                Err(refusal) => {
                    writer = None;
                    readiness.stands_by(self.standing.heard_within(terms.lifetime * 3));
                    if failing.replace(refusal.reason) != Some(refusal.reason) {
                        let (reason, message) = (refusal.reason.as_str(), &refusal.message);
                        tracing::warn!(reason, message, "the standby cannot see the lease");
                    }
                    // After a failover the lease is on another server.
                    monitoring.hosts.begin_at_primary(plan).await;
                }
            }
            tokio::time::sleep((terms.lifetime / 8).min(LOOK_EVERY_MAX)).await;
        };
        readiness.stands_by(false);
        Ok(held)
    }

    /// One look of a standby, and the taking if the lease is free.
    async fn look(
        &self,
        terms: &Terms,
        plan: &Plan,
        writer: &mut Option<WriteSession>,
        watch: &mut Watch,
    ) -> Result<Option<Held>, WriteRefused> {
        let host = terms.config.host.now();
        let connected = match writer.take().filter(|writer| *writer.session.host() == host) {
            Some(writer) => writer,
            None => WriteSession::connect(&terms.config).await?,
        };
        let writer = writer.insert(connected);
        let asked = platform::now();
        let row = table::read(&mut writer.session, &terms.tables).await?;
        let look = watch.look(row.as_ref(), asked, platform::now());
        self.standing.waits_for(row.as_ref(), watch.seen_since());
        let is_given_up = row.as_ref().is_none_or(Row::is_given_up);
        let rests = self.rests_until.is_some_and(|until| platform::now() < until);
        if look != Look::Free && !self.takes_over || is_given_up && rests {
            return Ok(None);
        }
        let asked = platform::now();
        let from = watch.publishes_from(row.as_ref(), plan.ha.request_timeout, asked);
        let taken = terms.taken(writer, row.as_ref()).await?;
        Ok(taken.map(|row| Held { row, asked, from }))
    }

    /// Gives the lease up when `ours` is cancelled before `ending` is: another process has the stream.
    pub(super) fn ends_with(&self, ours: &CancellationToken, ending: &CancellationToken) {
        let (ours, ending, stop) = (ours.clone(), ending.clone(), self.tasks.stop.clone());
        self.tasks.tasks.spawn(platform::part(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = ours.cancelled() => {
                    if !ending.is_cancelled() {
                        stop.cancel();
                    }
                }
            }
        }));
    }

    /// Gives it up, within a second or so. Nothing must be published or saved from here on.
    pub(super) async fn close(&self) {
        self.permit.withdraw();
        self.tasks.stop.cancel();
        self.tasks.tasks.close();
        if tokio::time::timeout(GIVE_UP_MAX * 2, self.tasks.tasks.wait()).await.is_err() {
            tracing::warn!("the lease on the stream could not be given up in time");
        }
        self.standing.rests();
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the lease is taken with.
#[derive(Clone)]
struct Terms {
    config: WriterConfig,
    tables: Tables,
    holder: Holder,
    lifetime: Duration,
    /// Time between two renewals.
    renews_every: Duration,
}

/// Why it could not be taken.
enum Refused {
    Held(HeldElsewhere),
    Sql(WriteRefused),
}

impl From<mysql::Error> for Refused {
    fn from(error: mysql::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl From<WriteRefused> for Refused {
    fn from(refusal: WriteRefused) -> Self {
        Self::Sql(refusal)
    }
}

impl Terms {
    fn new(plan: &Plan, host: &SharedHost, instance: &str, place: Option<String>) -> Self {
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
            // Whoever watches for two lifetimes sees a renewal. A standby takes over after one.
            renews_every: if plan.ha.stands_by { lifetime / 4 } else { lifetime },
        }
    }

    /// Takes the lease; waits while it is not known whether another process renews it.
    async fn acquire(&self, takes_over: bool) -> Result<Held, Refused> {
        let mut writer = WriteSession::connect(&self.config).await?;
        let mut watch = Watch::newcomer();
        let mut is_told = false;
        loop {
            let asked = platform::now();
            let row = table::read(&mut writer.session, &self.tables).await?;
            let look = watch.look(row.as_ref(), asked, platform::now());
            match self.decide(row.as_ref(), look, takes_over) {
                Step::Held(row) => {
                    return Ok(Held { row: row.clone(), asked, from: asked });
                }
                Step::Take => {
                    let taken = self.taken(&mut writer, row.as_ref()).await?;
                    if let Some(row) = taken {
                        writer.session.close().await;
                        return Ok(Held { row, asked, from: asked });
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
            return Step::Held(row);
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
        writer: &mut WriteSession,
        seen: Option<&Row>,
    ) -> Result<Option<Row>, mysql::Error> {
        let (holder, lifetime) = (&self.holder, self.lifetime);
        let row = table::take(&mut writer.session, &self.tables, holder, lifetime, seen).await?;
        if let Some(Row { fence, .. }) = row {
            let from = seen.filter(|row| !row.is_given_up()).map(|row| row.holder.host.as_str());
            tracing::info!(fence, from, "the lease on the stream is taken");
        }
        Ok(row)
    }

    fn held_elsewhere(&self, row: &Row) -> HeldElsewhere {
        HeldElsewhere {
            stream: self.tables.stream.clone(),
            table: self.tables.lease.clone(),
            row: Box::new(row.clone()),
        }
    }

    fn not_now(&self, refusal: WriteRefused) -> checkpoint::Error {
        checkpoint::Error::Database {
            action: "take the lease",
            table: self.tables.lease.clone(),
            code: 0,
            passes: true,
            message: refusal.message,
        }
    }

    /// Why the lease is not kept.
    fn unkept(&self, refusal: &WriteRefused) -> Finding {
        Finding {
            what: preflight::LEASE,
            found: format!("it is not kept: {}", refusal.message),
            needed: "a lease, so that a second process that is started by mistake does not stop this one",
            remedy: refusal.reason.remedy(&self.config.connect.user, self.config.schema.as_str()),
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
    Held(&'a Row),
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

/// Who would keep a process that starts now from starting; `None`: nobody. It takes as long as that process
/// would wait.
pub(super) async fn look(
    plan: &Plan,
    host: &SharedHost,
    writer: &mut WriteSession,
) -> Result<Option<String>, mysql::Error> {
    let terms = Terms::new(plan, host, "", None);
    let mut watch = Watch::newcomer();
    loop {
        let asked = platform::now();
        let row = table::read(&mut writer.session, &terms.tables).await?;
        match (watch.look(row.as_ref(), asked, platform::now()), row) {
            (Look::Renewed, Some(row)) => return Ok(Some(terms.held_elsewhere(&row).to_string())),
            (Look::Waits, _) => {}
            (Look::Free | Look::Renewed, _) => return Ok(None),
        }
        tokio::time::sleep((terms.lifetime / 4).min(LOOK_EVERY_MAX)).await;
    }
}
