//! Renews the lease, as long as the process lives.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{GIVE_UP_MAX, Step, Terms, lock};
use crate::app::findings::Findings;
use crate::app::lease_standing::Standing;
use crate::freshness::{SqlFailure, WriteRefused, WriteSession};
use crate::lease::{Unrenewed, Watch, table};
use crate::platform;
use crate::sink::Permit;

/// Pause before a lease that could not be had is tried again.
const SEEK_EVERY: Duration = Duration::from_secs(10);

/// Renews the lease, and takes one that could not be had at the start.
pub(super) struct Keeper {
    pub(super) terms: Terms,
    pub(super) fence: Arc<Mutex<Option<u64>>>,
    pub(super) findings: Findings,
    pub(super) standing: Standing,
    pub(super) permit: Permit,
    /// From when the lease permits to publish.
    pub(super) publishes_from: Instant,
    /// Cancelled when another process has the lease.
    pub(super) lost: CancellationToken,
    pub(super) writer: Option<WriteSession>,
    pub(super) watch: Watch,
    pub(super) failing: Option<SqlFailure>,
}

impl Keeper {
    /// One that begins again, without a session.
    pub(super) fn afresh(&self) -> Self {
        Self {
            terms: self.terms.clone(),
            fence: Arc::clone(&self.fence),
            findings: self.findings.clone(),
            standing: self.standing.clone(),
            permit: self.permit.clone(),
            publishes_from: self.publishes_from,
            lost: self.lost.clone(),
            writer: None,
            watch: Watch::newcomer(),
            failing: None,
        }
    }

    /// Renews until told to stop; then it gives the lease up.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.terms.renews_every);
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
                    self.permit.withdraw();
                    self.lost.cancel();
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

    async fn renew(&mut self, fence: u64) -> Result<Kept, WriteRefused> {
        let Terms { tables, holder, lifetime, .. } = self.terms.clone();
        let session = &mut self.connected().await?.session;
        let asked = platform::now();
        if table::renew(session, &tables, &holder, fence).await? {
            self.renewed(asked);
            return Ok(Kept::Ours);
        }
        let row = table::read(session, &tables).await?;
        match Unrenewed::of(row.as_ref(), fence) {
            Unrenewed::WentBack
                if table::write(session, &tables, &holder, lifetime, fence).await? =>
            {
                tracing::info!(fence, "the lease on the stream is written to another server");
                self.renewed(asked);
                Ok(Kept::Ours)
            }
            Unrenewed::WentBack => Ok(Kept::Not),
            Unrenewed::Lost => {
                if let Some(row) = &row {
                    let finding = self.terms.kept_by(row);
                    self.standing.lost(row);
                    self.findings.leased(Some(finding));
                }
                Ok(Kept::Lost)
            }
        }
    }

    /// A renewal that was sent at `asked` was answered.
    fn renewed(&self, asked: Instant) {
        self.permit.grant(self.publishes_from, asked + self.terms.lifetime);
        self.standing.renewed(asked);
    }

    /// Takes the lease that could not be had at the start.
    async fn seek(&mut self) -> Result<Kept, WriteRefused> {
        let terms = self.terms.clone();
        let asked = platform::now();
        let writer = self.connected().await?;
        let row = table::read(&mut writer.session, &terms.tables).await?;
        let look = self.watch.look(row.as_ref(), asked, platform::now());
        let held = match terms.decide(row.as_ref(), look, false) {
            Step::Held(row) => Some(row.clone()),
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
        let Some(row) = held else { return Ok(Kept::Not) };
        *lock(&self.fence) = Some(row.fence);
        self.standing.holds(&row, asked);
        self.findings.leased(None);
        Ok(Kept::Ours)
    }

    /// A session to the server that is written to now.
    async fn connected(&mut self) -> Result<&mut WriteSession, WriteRefused> {
        let host = self.terms.config.host.now();
        let writer = match self.writer.take().filter(|writer| *writer.session.host() == host) {
            Some(writer) => writer,
            None => WriteSession::connect(&self.terms.config).await?,
        };
        Ok(self.writer.insert(writer))
    }

    fn failed(&mut self, refusal: &WriteRefused, is_held: bool, ticks: &mut tokio::time::Interval) {
        self.writer = None;
        if self.failing.replace(refusal.reason) != Some(refusal.reason) {
            let (reason, message) = (refusal.reason.as_str(), &refusal.message);
            tracing::warn!(reason, message, "the lease on the stream could not be renewed");
        }
        if !is_held {
            self.findings.leased(Some(self.terms.unkept(refusal)));
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
