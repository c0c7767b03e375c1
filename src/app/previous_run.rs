//! Whether this stream has run before: a start without its checkpoint would give its rows other
//! numbers, and leave out or repeat what lies between. The source's tables know.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::freshness::writer_config;
use super::plan::Plan;
use super::state::State;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::known::{self, Known};
use crate::freshness::schema::{CHECKPOINT, HEARTBEAT, literal};
use crate::freshness::{FreshnessState, SqlFailure, WriteSession, WriterConfig};
use crate::mysql::{ConnectOptions, Error, HostPort, Session, SharedHost};
use crate::platform;

/// How often epoch and place are written down.
const KEEP_EVERY: Duration = Duration::from_mins(1);

/// What the source knows of a stream that has run before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PreviousRun {
    /// Epoch and place, where a version wrote them down that does.
    known: Known,
    /// The newest heartbeat; `None` without a row.
    heartbeat: Option<u64>,
}

/// The stream has run before, and its checkpoint is not there.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "stream `{stream}` has run before, and its checkpoint is not in {place}. The source has a \
     record of it: {before}. Restore the checkpoint; or, to begin with new row numbers at \
     source.start, tell the consumers and start once with --new-epoch={epoch}"
)]
pub(super) struct RanBefore {
    stream: String,
    place: String,
    before: String,
    epoch: u64,
}

impl PreviousRun {
    /// In words, for people.
    fn words(&self) -> String {
        let Known { epoch, server_uuid, position, at_us } = &self.known;
        let mut parts = Vec::new();
        if *epoch > 0 {
            parts.push(format!("epoch {epoch}"));
        }
        if !position.file.is_empty() {
            let at = chrono::DateTime::from_timestamp_micros(*at_us).unwrap_or_default();
            let at = at.format("%Y-%m-%dT%H:%M:%SZ");
            parts.push(format!("it was at {position} of server {server_uuid} at {at}"));
        }
        parts.extend(self.heartbeat.map(|number| format!("its newest heartbeat is {number}")));
        parts.join(", ")
    }

    /// Epoch of the run before; 0: not known.
    pub(super) fn epoch(&self) -> u64 {
        self.known.epoch
    }

    /// Refuses to begin again, unless it is permitted for this very epoch.
    pub(super) fn permitted(&self, plan: &Plan) -> Result<(), RanBefore> {
        let epoch = self.epoch();
        if plan.new_epoch == Some(epoch) {
            tracing::warn!(epoch, "the stream begins a new epoch, as --new-epoch permits");
            return Ok(());
        }
        let place = match &plan.checkpoint.file {
            Some(path) => path.display().to_string(),
            None => plan.freshness.schema.table(CHECKPOINT),
        };
        let (stream, before) = (plan.stream.clone(), self.words());
        Err(RanBefore { stream, place, before, epoch })
    }
}

/// Asks the server that is streamed from: what was written for the stream has come by its log. `None`:
/// the stream has not run there, or nothing is known.
pub(super) async fn ask(plan: &Plan, streamed: &HostPort) -> Result<Option<PreviousRun>, Error> {
    let looked = async {
        let mut session = Session::connect(&asking(plan, streamed)).await?;
        let stream = literal(&plan.stream);
        let table = plan.freshness.schema.table(HEARTBEAT);
        let sql = format!("SELECT n FROM {table} WHERE stream = {stream} AND n > 0");
        let row = session.query_first(&sql).await?;
        let heartbeat = row.map(|row| row.unsigned(0)).transpose()?.flatten();
        let table = plan.freshness.schema.table(CHECKPOINT);
        let known = known::read(&mut session, &table, &plan.stream).await?;
        session.close().await;
        let is_known = heartbeat.is_some() || known.is_some();
        Ok::<_, Error>(
            is_known.then(|| PreviousRun { known: known.unwrap_or_default(), heartbeat }),
        )
    };
    match looked.await {
        // Without our tables, or an account for them, no stream has left anything.
        Err(error)
            if matches!(
                SqlFailure::of(&error),
                SqlFailure::SchemaMissing | SqlFailure::Denied | SqlFailure::Login
            ) =>
        {
            tracing::warn!(%error, "cannot query the source for an earlier run of this stream");
            Ok(None)
        }
        other => other,
    }
}

/// Writes down that the stream begins again, before anything of it is published: what permitted that
/// permits it no more.
pub(super) async fn begins_new_epoch(
    plan: &Plan,
    streamed: &HostPort,
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    let named = &plan.freshness.connect.host;
    let host = if plan.freshness.follows_stream { streamed } else { named };
    let mut session = Session::connect(&asking(plan, host)).await?;
    let known = Known {
        epoch: checkpoint.epoch,
        server_uuid: checkpoint.server_uuid.clone(),
        position: checkpoint.resume.position.clone(),
        at_us: checkpoint.saved_at_us,
    };
    known::write(&mut session, &plan.freshness.schema.table(CHECKPOINT), &plan.stream, &known)
        .await?;
    session.close().await;
    Ok(())
}

fn asking(plan: &Plan, host: &HostPort) -> ConnectOptions {
    let timeout = plan.freshness.periods.probe_timeout;
    ConnectOptions {
        host: host.clone(),
        connect_timeout: timeout,
        query_timeout: timeout,
        ..plan.freshness.connect.clone()
    }
}

/// Writes epoch and place down, now and then, until told to stop: for a checkpoint in a file.
pub(super) async fn keep(
    config: WriterConfig,
    table: String,
    state: State,
    freshness_state: Arc<FreshnessState>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(KEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = Known::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = state.read();
        let Some(identity) = now.identity else {
            ticks.reset_after(config.probe_timeout);
            continue;
        };
        let known = Known {
            epoch: now.epoch,
            server_uuid: identity.name(),
            position: freshness_state.progress().needed,
            at_us: platform::wall_us(),
        };
        if (known.epoch, &known.position) == (written.epoch, &written.position) {
            continue;
        }
        if known.position.file.is_empty() {
            // Nothing has come yet: the place is told soon.
            ticks.reset_after(config.probe_timeout);
        }
        match write(&config, &table, &known).await {
            Ok(()) => written = known,
            // What keeps it from being written keeps heartbeats too, and is told by these.
            Err(error) => {
                tracing::debug!(error, "the epoch and position could not be saved in the source");
            }
        }
    }
}

async fn write(config: &WriterConfig, table: &str, known: &Known) -> Result<(), String> {
    let mut writer = WriteSession::connect(config).await.map_err(|refusal| refusal.message)?;
    let facts = writer.facts().await.map_err(|error| error.to_string())?;
    if let Some(refusal) = facts.refusal() {
        return Err(refusal.message);
    }
    let written = known::write(&mut writer.session, table, &config.stream, known).await;
    written.map_err(|error| error.to_string())?;
    writer.session.close().await;
    Ok(())
}

/// What [`keep`] needs: where to write.
pub(super) fn kept_in(plan: &Plan, host: &SharedHost, instance: &str) -> (WriterConfig, String) {
    let table = plan.freshness.schema.table(CHECKPOINT);
    (writer_config(plan, host, instance.to_owned()), table)
}
