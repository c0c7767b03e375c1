//! The reader of snapshots: what it is set up with, and when it begins.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::patience::random;
use super::plan::Plan;
use super::state::State;
use crate::checkpoint::Checkpoint;
use crate::filter;
use crate::platform;
use crate::sink::intake::QueueGauge;
use crate::snapshot::{Ask, Config, EVERYTHING, Limits, Progress, Request, SnapshotHandle, Worker};
use crate::telemetry::Metrics;

/// The filters in force.
type Filters = Arc<dyn Fn() -> filter::Config + Send + Sync>;

/// Asks of the reader that wait for the loop.
const ASKS_MAX: usize = 16;

/// Both ends of the way from the reader to the loop, and how a snapshot begins.
pub(super) struct Snapshots {
    config: Config,
    control: Arc<SnapshotHandle>,
    metrics: Arc<Metrics>,
    asks: mpsc::Sender<Ask>,
    /// What is continued, or begun; used up by the first reader.
    saved: Option<Progress>,
    on_start: Option<Request>,
}

impl Snapshots {
    /// The reader of a stream that continues from a checkpoint, and what the loop gets its questions
    /// from.
    pub(super) fn new(
        plan: &Plan,
        checkpoint: &Checkpoint,
        (control, metrics): (Arc<SnapshotHandle>, Arc<Metrics>),
        of: (State, QueueGauge, Filters),
    ) -> Result<(Self, mpsc::Receiver<Ask>), super::Unavailable> {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let mut saved = Progress::saved(&checkpoint.annotations)?;
        let now_s = u32::try_from(platform::wall_us() / 1_000_000).unwrap_or(u32::MAX);
        let attempt = saved.as_ref().map_or(now_s, |progress| progress.next_attempt(now_s));
        if let Some(progress) = &mut saved {
            progress.continued(attempt, plan.pack.format);
        }
        if let Some(progress) = &saved {
            control.show(progress.status());
        }
        let on_start = plan.snapshot.on_start && Progress::is_owed(&checkpoint.annotations);
        let everything = || Request { tables: vec![EVERYTHING.to_owned()], ..Request::default() };
        let snapshots = Self {
            config: config(plan, attempt, of),
            control,
            metrics,
            asks,
            saved,
            on_start: on_start.then(everything),
        };
        Ok((snapshots, asked))
    }

    /// Number of this process among those that publish parts.
    pub(super) fn attempt(&self) -> u32 {
        self.config.attempt
    }

    /// Reads until told to stop. Called again when it ended by itself: then the loop knows what is to be
    /// continued.
    pub(super) fn run(&mut self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        let (control, metrics) = (Arc::clone(&self.control), Arc::clone(&self.metrics));
        let worker = Worker::new(self.config.clone(), control, self.asks.clone(), metrics);
        let (saved, on_start) = (self.saved.take(), self.on_start.take());
        async move {
            match worker {
                Ok(worker) => worker.run(saved, on_start, stop).await,
                Err(error) => tracing::error!(%error, "no snapshot can be read"),
            }
        }
    }
}

fn config(plan: &Plan, attempt: u32, of: (State, QueueGauge, Filters)) -> Config {
    let (state, gauge, filter) = of;
    let snapshot = &plan.snapshot;
    Config {
        source: plan.source.clone(),
        stream_at: Arc::new(move || state.read().identity.map(|identity| identity.host)),
        read_from: snapshot.host.clone(),
        filter,
        own_database: plan.freshness.schema.as_str().to_owned(),
        attempt,
        format: plan.pack.format,
        lanes: plan.pack.lanes,
        chunk_bytes: snapshot.chunk_bytes,
        chunk_time: snapshot.chunk_time,
        locks_keyless: snapshot.locks_keyless,
        keyless_rows: snapshot.keyless_rows,
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
