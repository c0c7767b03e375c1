//! What a stream is made from, opened one after the other: topic, quarantine file, checkpoint store,
//! source, checkpoint. Whatever passes by itself is waited for, each for `source.start_patience`.
//!
//! Dropping the future gives the start up: what was opened is closed, and nothing is half done that the
//! next start would not do again.

use std::path::PathBuf;

use super::begin::{begin, open_store};
use super::echo;
use super::halt::{reason_of, with_restart};
use super::lease::{self, Lease};
use super::monitoring::Monitoring;
use super::patience::Patience;
use super::plan::Plan;
use super::previous_run::{PreviousRun, RanBefore, ask};
use super::sink::{AnySink, aws_config};
use super::source::{Opened, StartError, open_source, reach};
use super::source_rollback::SourceRollback;
use super::store::AnyStore;
use super::{Outcome, Unavailable};
use crate::aws;
use crate::checkpoint::{self, Checkpoint, Store};
use crate::mysql::{self, HostPort};
use crate::pipeline::Topics;
use crate::platform;
use crate::sink;
use crate::sink::quarantine::{self, Quarantine};
use crate::source::Recovery;
use crate::telemetry::status::Halted;

/// Largest quarantine file, bytes.
const QUARANTINE_BYTES_MAX: u64 = 4 << 30;

/// All that was opened.
pub(super) struct Opening {
    pub(super) shared: aws::Shared,
    pub(super) sink: AnySink,
    pub(super) topics: Topics,
    pub(super) quarantine: Option<Quarantine>,
    pub(super) store: AnyStore,
    pub(super) source: Opened,
    pub(super) checkpoint: Checkpoint,
}

/// Opens everything. The store comes behind what may be wrong without it, since opening it takes the
/// stream from whoever has it.
pub(super) async fn open(
    plan: &Plan,
    monitoring: &Monitoring,
    lease: &Lease,
) -> Result<Opening, Unavailable> {
    let shared = aws::Shared::load(&aws_config(plan)).await?;
    let (sink, topics) = topic(plan, monitoring, &shared).await?;
    let quarantine = put_aside(plan).await?;
    let (mut store, saved) = stored(plan, monitoring, lease).await?;
    if let Some(saved) = &saved {
        // For who begins a new one: the start may halt.
        monitoring.state.update(|inner| inner.epoch = saved.epoch);
    }
    let canary = match &saved {
        Some(saved) => echo::newest(plan, &shared, saved.epoch).await,
        None => None,
    };
    let rollback =
        SourceRollback::new(plan, monitoring.freshness_state.received().clone(), saved.as_ref());
    let rollback = rollback.with_canary(plan, canary);
    let source = open_source(plan, saved.as_ref(), &rollback, &monitoring.reporter).await?;
    if let AnyStore::File(store) = &store {
        // The source answers by now: it is streamed from, or will be.
        lease.take(plan, monitoring, store.lock_identity().await).await?;
    }
    let streamed = source.source.host(source.host)?;
    let before = if saved.is_none() { ran_before(plan, streamed, &mut store).await? } else { None };
    let checkpoint = begun(plan, &mut store, saved, before.as_ref(), &source).await?;
    Ok(Opening { shared, sink, topics, quarantine, store, source, checkpoint })
}

/// Whether another process has the checkpoint.
pub(super) fn is_fenced(error: &Unavailable) -> bool {
    matches!(error.downcast_ref(), Some(checkpoint::Error::Fenced { .. }))
}

/// What the process ends with if nothing was started.
pub(super) fn outcome(error: &Unavailable) -> Outcome {
    if let Some(error) = error.downcast_ref::<StartError>() {
        return error.outcome();
    }
    let place_lost = error
        .downcast_ref::<checkpoint::Error>()
        .is_some_and(|error| error.recovery() == checkpoint::Recovery::Halt);
    let ran_before = error.downcast_ref::<RanBefore>().is_some();
    let runs_elsewhere = matches!(error.downcast_ref(), Some(lease::Failure::Held(_)));
    let quarantine_damaged =
        matches!(error.downcast_ref(), Some(quarantine::Error::Damaged { .. }));
    if place_lost || ran_before || runs_elsewhere || quarantine_damaged {
        Outcome::NeedsOperator
    } else {
        Outcome::Unavailable
    }
}

/// What stands in the way like a halt: a place on the source that can't be continued from.
pub(super) fn halted(error: &Unavailable) -> Option<Halted> {
    let StartError::Source { error } = error.downcast_ref()? else { return None };
    let Recovery::Halt(halt) = error.recovery() else { return None };
    error.needs_operator().then(|| Halted {
        reason: reason_of(halt),
        message: error.to_string(),
        remedy: with_restart(error.remedy()),
    })
}

/// The sink. While its topic can't be read, the verdict is told: an answer is owed since the beginning.
async fn topic(
    plan: &Plan,
    monitoring: &Monitoring,
    shared: &aws::Shared,
) -> Result<(AnySink, Topics), Unavailable> {
    let patience = Patience::new(plan.start_patience, "the topic can't be read yet");
    monitoring.health.owed_since(Some(platform::now()));
    let open = async || AnySink::open(plan, shared, &monitoring.health).await;
    let opened = patience.until(open, sink::Error::passes).await?;
    monitoring.health.owed_since(None);
    Ok(opened)
}

/// Where what is quarantined goes, if the plan names a file.
async fn put_aside(plan: &Plan) -> Result<Option<Quarantine>, Unavailable> {
    let Some(path) = plan.quarantine.file.clone() else { return Ok(None) };
    let open = |path: PathBuf| Quarantine::open(&path, QUARANTINE_BYTES_MAX);
    Ok(Some(platform::blocking(move || open(path)).await??))
}

/// The store, taken over, and what was saved in it. One in the source's database waits for the source.
async fn stored(
    plan: &Plan,
    monitoring: &Monitoring,
    lease: &Lease,
) -> Result<(AnyStore, Option<Checkpoint>), Unavailable> {
    let mut patience = Patience::new(plan.start_patience, "the checkpoint can't be read yet");
    loop {
        let opened = async {
            monitoring.hosts.begin_at_primary(plan).await;
            let fence = match &plan.checkpoint.file {
                Some(_) => None,
                None => lease.take(plan, monitoring, None).await?,
            };
            let held = (fence, monitoring.instance.as_str());
            let mut store = open_store(plan, &monitoring.hosts.written_to, held).await?;
            let saved = store.load().await?;
            Ok::<_, Unavailable>((store, saved))
        };
        match opened.await {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                let passes = match (error.downcast_ref(), error.downcast_ref()) {
                    (Some(error), _) | (_, Some(lease::Failure::NotNow(error))) => {
                        checkpoint::Error::passes(error)
                    }
                    (None, _) => false,
                };
                if passes && plan.checkpoint.file.is_none() {
                    reach(plan, &monitoring.reporter).await;
                }
                patience.after(error, passes).await?;
            }
        }
    }
}

/// What the source knows of a run before, where beginning again is permitted.
async fn ran_before(
    plan: &Plan,
    streamed: &HostPort,
    store: &mut AnyStore,
) -> Result<Option<PreviousRun>, Unavailable> {
    if !plan.freshness.heartbeats && plan.checkpoint.file.is_some() {
        // Nothing is written to the source, and nothing read from what is not.
        return Ok(None);
    }
    let patience = Patience::new(plan.start_patience, "the source can't be queried yet");
    let before = patience.until(async || ask(plan, streamed).await, mysql::Error::passes).await?;
    if let Some(refusal) = before.as_ref().and_then(|before| before.permitted(plan).err()) {
        if let AnyStore::Table(store) = store {
            // This process may have stood still since it opened the store, and another has begun the stream.
            store.is_still_ours().await?;
        }
        return Err(refusal.into());
    }
    Ok(before)
}

/// The checkpoint to continue from, written down where it is a new one.
async fn begun(
    plan: &Plan,
    store: &mut AnyStore,
    saved: Option<Checkpoint>,
    before: Option<&PreviousRun>,
    source: &Opened,
) -> Result<Checkpoint, checkpoint::Error> {
    let patience = Patience::new(plan.start_patience, "the checkpoint can't be written yet");
    let begin = async || begin(plan, store, saved.clone(), before, source).await;
    patience.until(begin, checkpoint::Error::passes).await
}
