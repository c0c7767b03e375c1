//! One reading of the stretch, to the end of its window.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::numbers::Numbers;
use super::watch::PassWatch;
use super::{Error, ReplayRequest};
use crate::app::Unavailable;
use crate::app::flow::{configured, decoder};
use crate::app::patience::random;
use crate::app::plan::Plan;
use crate::app::sink::{AnySink, SETTLEMENTS_MAX, aws_config, claims, no_topics};
use crate::app::supervise::LOOP_PAUSE_MAX;
use crate::aws;
use crate::change::Position;
use crate::checkpoint::{Checkpoint, MemoryStore, Saving};
use crate::control::SendRate;
use crate::encode::{FinalizeOptions, Origin, Oversize, Replay};
use crate::freshness::verdict::certificate::Span;
use crate::freshness::{
    CanaryStep, Progress, ProgressObserver, Seen, Watermark, WatermarkProvider,
};
use crate::pipeline::{
    self, Claims, Ended, FinalizingConfig, FlowConfig, OwnRows, Parts, Pipeline, Saver,
    SurplusRows, Topics, Window, encoded_queue, spawn_finalizing,
};
use crate::platform;
use crate::sink::null::Null;
use crate::sink::{self, Health, intake};
use crate::source::{Columns, Liveness, Replica, Start, time_text};
use crate::telemetry::metrics::{LabelValues, ScrapeSources};
use crate::telemetry::{Loops, Metrics};

/// Time to deliver what was read: the topic may be away, and nobody waits for this.
const DELIVERY_MAX: Duration = Duration::from_hours(24);
/// Least time between two words about how far it is.
const WORDS: Duration = Duration::from_secs(5);

/// Where the rows go.
pub(super) struct PassSink {
    sink: AnySink,
    topics: Topics,
    claims: Option<Claims>,
    /// Somebody sees them.
    is_published: bool,
    /// Of messages that are published again.
    replay: Option<Replay>,
}

impl PassSink {
    /// Only to be counted.
    pub(super) fn nowhere() -> Self {
        let sink = AnySink::Null(Null::default());
        Self { sink, topics: no_topics(), claims: None, is_published: false, replay: None }
    }

    /// As the plan has it.
    pub(super) async fn open(plan: &Plan, request: &ReplayRequest) -> Result<Self, Error> {
        let shared = aws::Shared::load(&aws_config(plan)).await.map_err(Unavailable::from)?;
        let (sink, topics) = AnySink::open(plan, &shared, &Health::new()).await?;
        let sink = sink.permitted(request.permit.clone());
        let audience = request.audience.as_deref();
        let replay = audience.map(|name| Replay { audience: name.into(), run: random() });
        Ok(Self { sink, topics, claims: claims(plan, &shared)?, is_published: true, replay })
    }
}

/// One reading.
pub(super) struct Pass<'a> {
    pub(super) plan: &'a Plan,
    pub(super) host: usize,
    pub(super) start: Start,
    /// With the row numbers to begin with.
    pub(super) begin: Checkpoint,
    pub(super) window: Window,
    /// To find out when these have gone by.
    pub(super) surplus_rows: Option<Arc<SurplusRows>>,
    /// How fast rows are sent.
    pub(super) pace: Option<Arc<SendRate>>,
    /// Who is told how far it is.
    pub(super) watch: PassWatch,
}

/// What it came to.
#[derive(Debug)]
pub(super) struct Passed {
    /// Next row number of each lane.
    pub(super) lanes: Numbers,
    /// Messages accepted.
    pub(super) messages: u64,
    /// How far it went.
    pub(super) until: Position,
    /// Commit time of the last transaction, microseconds since 1970 UTC.
    pub(super) until_us: i64,
    /// It was told to stop before the end.
    pub(super) is_interrupted: bool,
}

impl Pass<'_> {
    /// Reads, and waits until everything is accepted.
    pub(super) async fn run(
        self,
        way: PassSink,
        stop: &CancellationToken,
    ) -> Result<Passed, Error> {
        let mut replica =
            Replica::connect(&self.plan.source, self.host, &self.start, &Liveness::new()).await?;
        let identity = replica.identity();
        let (name, server_id) = (identity.name(), identity.server_id);
        if name != self.begin.server_uuid {
            return Err(Error::OtherServer { wanted: self.begin.server_uuid, found: vec![name] });
        }
        let store = MemoryStore::new(self.begin.clone());
        let (mut pipeline, metrics, sending) = self.pipeline(way, server_id, &store)?;
        let columns = || Columns::new(&self.plan.source, self.host, name.as_str());
        pipeline.ask_for_schemas(self.plan.schema_fallback.then(columns));
        pipeline.stream_began(&self.start);
        let mut decoder = decoder(self.plan);
        decoder.start_at(self.start.place());

        let ended = Box::pin(pipeline.run(&mut replica, &mut decoder, stop)).await;
        drop(replica);
        let ended = match ended {
            Ok(ended) => {
                let drained = tokio::select! {
                    biased;
                    drained = pipeline.drain(platform::now() + DELIVERY_MAX) => drained,
                    () = stop.cancelled() => pipeline.drain(platform::now() + self.plan.grace).await,
                };
                drained.map(|is_delivered| (ended, is_delivered))
            }
            Err(error) => Err(error),
        };
        let until_us = pipeline.newest_commit_us();
        // Its end lets the sink end, which may know better why not everything was delivered.
        drop(pipeline);
        let is_whole = matches!(ended, Ok((_, true)));
        if !is_whole
            && sending.is_finished()
            && let Ok(Err(error)) = sending.await
            && !matches!(error, sink::Error::Abandoned)
        {
            return Err(error.into());
        }
        let (ended, is_delivered) = ended.map_err(broken)?;
        let passed = store.checkpoint();
        Ok(Passed {
            lanes: passed.lanes,
            messages: metrics.messages_published_total.get(),
            until: passed.settled.position,
            until_us,
            is_interrupted: ended == Ended::Stopped || !is_delivered,
        })
    }

    /// The loop, its metrics, and the sink's task.
    fn pipeline(
        &self,
        way: PassSink,
        server_id: u32,
        store: &MemoryStore,
    ) -> Result<Running, Error> {
        let Self { plan, begin, window, .. } = self;
        let is_published = way.is_published;
        let origin = Origin {
            stream: plan.stream.as_str().into(),
            server_uuid: begin.server_uuid.clone(),
            server_id,
            epoch: begin.epoch,
            connector_version: env!("CARGO_PKG_VERSION"),
            snapshot: false,
            replay: way.replay,
        };
        let finalizing = FinalizingConfig {
            finalize: if is_published { plan.finalize } else { FinalizeOptions { zstd_level: 0 } },
            row_format: plan.row_format.clone(),
            oversize: if is_published { plan.oversize } else { Oversize::Omit },
            claims: way.claims,
            origin: Arc::new(RwLock::new(origin)),
            digests: None,
        };
        let config = FlowConfig {
            schema_changes: plan.schema_changes,
            window: window.clone(),
            own_rows: OwnRows::LeftOut,
            begins_by_position: false,
            puts_undecoded_aside: false,
            nonces: None,
            surplus_rows: self.surplus_rows.clone(),
            snapshot_keys_max: 0,
            pace: self.pace.clone(),
        };
        let body_bytes_max = way.topics.common_bytes_max() / 20 * 19;
        let watermark = WatermarkProvider::new(Watermark::default);

        let (feed, intake) = intake(plan.queue_bytes);
        let gauge = feed.gauge().clone();
        let (batches, to_finalize) = encoded_queue();
        let (told, notes) = mpsc::unbounded_channel();
        let (settled, settlements) = mpsc::channel(SETTLEMENTS_MAX);
        spawn_finalizing(finalizing, way.topics, to_finalize, feed, told).map_err(unavailable)?;
        let metrics = Metrics::new(&LabelValues::default(), ScrapeSources::none());
        let metrics = Arc::new(metrics.map_err(unavailable)?);
        let (saver, _) = Saver::spawn(store.clone(), Saving::new(plan.checkpoint.interval));
        let pack = plan.pack.clone();
        let pipeline = Pipeline::new(Parts {
            flow: configured(plan, pack, begin, config, body_bytes_max, watermark)
                .map_err(broken)?,
            batches,
            notes,
            settlements,
            saver,
            metrics: Arc::clone(&metrics),
            observer: Arc::new(ReplayObserver::new(is_published, self.watch.clone())),
            gauge,
            ticker: Loops::default().register("stream", LOOP_PAUSE_MAX),
            quarantine: None,
            puts_refused_aside: false,
            snapshot: None,
            controls: None,
        });
        let sending = platform::spawn(way.sink.run(intake, settled, CancellationToken::new()));
        Ok((pipeline, metrics, sending))
    }
}

/// A loop, its metrics, and the task of its sink.
type Running = (Pipeline, Arc<Metrics>, JoinHandle<Result<(), sink::Error>>);

/// What broke it. Where the source says what to do, that is told.
fn broken(error: pipeline::Error) -> Error {
    if let pipeline::Error::Source(error) = error {
        return if error.needs_operator() {
            Error::Source { error }
        } else {
            Error::Broken(error.into())
        };
    }
    Error::Broken(error)
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unavailable(Box::new(error))
}

/// Says now and then how far it is.
struct ReplayObserver {
    is_published: bool,
    told: Mutex<Instant>,
    watch: PassWatch,
}

impl ReplayObserver {
    fn new(is_published: bool, watch: PassWatch) -> Self {
        Self { is_published, told: Mutex::new(platform::now()), watch }
    }
}

impl ProgressObserver for ReplayObserver {
    fn seen(&self, _: &Seen, _: Instant) {}

    fn published(&self, _: u64) {}

    fn checkpointed(&self, _: u64) {}

    fn checkpoint_failed(&self, _: &str) {}

    fn heartbeat_arrived(&self, _: Span, _: Instant) {}

    fn canary_accepted(&self, _: &CanaryStep, _: Instant) {}

    fn progress(&self, progress: Progress) {
        if self.watch.tell(self.is_published, &progress) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if platform::since(*told) < WORDS {
            return;
        }
        *told = platform::now();
        let what = if self.is_published { "publishing" } else { "counting" };
        tracing::info!(
            read = %progress.read, delivered = %progress.delivered,
            at = time_text(progress.newest_commit_us), "{what}"
        );
    }
}
