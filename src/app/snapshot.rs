//! The reader of snapshots: what it is set up with, and when it begins.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::patience::random;
use super::plan::Plan;
use super::state::State;
use crate::checkpoint::Checkpoint;
use crate::sink::intake::Gauge;
use crate::snapshot::{Ask, Config, Control, Limits, Progress, Request, UnreadableEntry, Worker};
use crate::source;
use crate::telemetry::Metrics;

/// Asks of the reader that wait for the loop.
const ASKS_MAX: usize = 16;

/// Both ends of the way from the reader to the loop, and how a snapshot begins.
pub(super) struct Snapshots {
    config: Config,
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    asks: mpsc::Sender<Ask>,
    /// What is continued, or begun; used up by the first reader.
    saved: Option<Progress>,
    on_start: Option<Request>,
}

impl Snapshots {
    /// The reader of a stream that continues from `checkpoint`, and what the loop gets its questions
    /// from. `is_new`: the checkpoint was made by this start.
    pub(super) fn new(
        plan: &Plan,
        checkpoint: &Checkpoint,
        is_new: bool,
        shared: Shared,
    ) -> Result<(Self, mpsc::Receiver<Ask>), super::Unavailable> {
        let Shared { control, metrics, state, gauge } = shared;
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let saved = saved(plan, checkpoint)?;
        if let Some(progress) = &saved {
            control.show(progress.status());
        }
        let on_start = plan.snapshot.on_start && is_new;
        let everything = || Request { tables: vec!["*.*".to_owned()], ..Request::default() };
        let snapshots = Self {
            config: config(plan, state, gauge),
            control,
            metrics,
            asks,
            saved,
            on_start: on_start.then(everything),
        };
        Ok((snapshots, asked))
    }

    /// The reader, which is begun again when it ends by itself.
    pub(super) fn worker(&mut self) -> Result<BegunWorker, source::Error> {
        let (control, metrics) = (Arc::clone(&self.control), Arc::clone(&self.metrics));
        let worker = Worker::new(self.config.clone(), control, self.asks.clone(), metrics)?;
        Ok((worker, self.saved.take(), self.on_start.take()))
    }
}

/// A reader, what it continues, and what it begins.
type BegunWorker = (Worker, Option<Progress>, Option<Request>);

/// What the reader shares with others.
pub(super) struct Shared {
    pub(super) control: Arc<Control>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) state: State,
    pub(super) gauge: Gauge,
}

fn saved(plan: &Plan, checkpoint: &Checkpoint) -> Result<Option<Progress>, UnreadableEntry> {
    let Some(mut progress) = Progress::saved(&checkpoint.snapshot)? else { return Ok(None) };
    let now_s = chrono::Utc::now().timestamp();
    progress.continued(u32::try_from(now_s).unwrap_or(u32::MAX), plan.pack.format);
    Ok(Some(progress))
}

fn config(plan: &Plan, state: State, gauge: Gauge) -> Config {
    let snapshot = &plan.snapshot;
    Config {
        source: plan.source.clone(),
        stream_at: Arc::new(move || state.read().identity.map(|identity| identity.host)),
        read_from: snapshot.host.clone(),
        filter: plan.filter.clone(),
        own_database: plan.freshness.schema.as_str().to_owned(),
        format: plan.pack.format,
        lanes: plan.pack.lanes,
        chunk_bytes: snapshot.chunk_bytes,
        chunk_time: snapshot.chunk_time,
        limits: Limits {
            rows_per_second: snapshot.rows_per_second,
            threads_running_max: Some(snapshot.max_threads_running),
            replica_lag_max: snapshot.max_replica_lag,
            lag_hosts: snapshot.lag_hosts.clone(),
            // Changes go first: half of the room is theirs.
            is_behind: Arc::new(move || gauge.queued_bytes() > gauge.capacity_bytes() / 2),
        },
        random,
    }
}
