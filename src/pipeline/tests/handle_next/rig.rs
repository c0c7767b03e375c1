//! A loop with its threads and its store, and what it is fed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::change::Position;
use crate::checkpoint::{self, Checkpoint, Delta, MemoryStore, Saving, Store, Tracker};
use crate::control::ControlRegistry;
use crate::encode::{FinalizeOptions, Format, Oversize};
use crate::filter::{Config as FilterConfig, Filter, Pattern};
use crate::freshness::schema::SchemaName;
use crate::freshness::verdict::certificate::Span;
use crate::freshness::{
    CanaryStep, Progress, ProgressObserver, Recogniser, Seen, Watermark, WatermarkProvider,
};
use crate::pack::{Config as PackConfig, Packer, Sequences};
use crate::pipeline::flow::{Flow, FlowConfig};
use crate::pipeline::run::{Interrupt, Parts, Pipeline};
use crate::pipeline::tests::log::{Log, decoder};
use crate::pipeline::{
    Claims, ControlMessages, FinalizingConfig, Saver, Topics, encoded_queue, spawn_finalizing,
};
use crate::sink::quarantine::Quarantine;
use crate::sink::topic::{Destinations, Template};
use crate::sink::{Intake, Settlement, intake};
use crate::source::Start;
use crate::telemetry::Loops;
use crate::telemetry::metrics::tests::metrics;

/// Longest that anything here may take.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Wakes who waits for a look of the loop, and keeps what it was told.
#[derive(Default)]
pub(super) struct Watcher(pub(super) tokio::sync::Notify, Mutex<Told>);

/// What a observer was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) seen: Vec<Seen>,
    pub(super) published: Vec<u64>,
    pub(super) checkpointed: Vec<u64>,
    /// Canaries that the topic took.
    pub(super) accepted: Vec<String>,
    /// Heartbeats at the ends of spans.
    pub(super) spans: Vec<u64>,
    /// Spans within which a dump began.
    pub(super) begun: u64,
    /// Saves that failed.
    pub(super) failures: u64,
}

impl Watcher {
    pub(super) fn told(&self) -> Told {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressObserver for Watcher {
    fn seen(&self, seen: &Seen, _: Instant) {
        self.lock().seen.push(seen.clone());
    }
    fn published(&self, heartbeat: u64) {
        self.lock().published.push(heartbeat);
    }
    fn checkpointed(&self, heartbeat: u64) {
        self.lock().checkpointed.push(heartbeat);
    }
    fn checkpoint_failed(&self, _: &str) {
        self.lock().failures += 1;
    }
    fn heartbeat_arrived(&self, span: Span, _: Instant) {
        let mut told = self.lock();
        told.spans.push(span.to.number);
        told.begun += u64::from(span.started_with.is_some());
    }
    fn progress(&self, _: Progress) {
        self.0.notify_one();
    }
    fn canary_accepted(&self, step: &CanaryStep, _: Instant) {
        self.lock().accepted.push(format!("{step:?}"));
    }
}

/// A store whose first saves fail.
struct Flaky {
    store: MemoryStore,
    fails: u32,
}

impl Store for Flaky {
    async fn load(&mut self) -> Result<Option<Checkpoint>, checkpoint::Error> {
        self.store.load().await
    }
    async fn begin(&mut self, checkpoint: &Checkpoint) -> Result<(), checkpoint::Error> {
        self.store.begin(checkpoint).await
    }
    async fn save(&mut self, delta: &Delta) -> Result<(), checkpoint::Error> {
        if let Some(left) = self.fails.checked_sub(1) {
            self.fails = left;
            let source = std::io::Error::other("full");
            return Err(checkpoint::Error::Io { action: "write", path: "disk".into(), source });
        }
        self.store.save(delta).await
    }
}

/// What is different from test to test.
pub(super) struct Setup {
    pub(super) queue_bytes: usize,
    pub(super) message_bytes_max: usize,
    pub(super) oversize: Oversize,
    pub(super) puts_undecoded_aside: bool,
    pub(super) drop_columns: Vec<Pattern>,
    pub(super) quarantine: Option<Quarantine>,
    pub(super) claims: Option<Claims>,
    pub(super) saving: Saving,
    pub(super) exclude: Vec<Pattern>,
    pub(super) puts_refused_aside: bool,
    /// Saves that fail at first.
    pub(super) failing_saves: u32,
    pub(super) pack: PackConfig,
    pub(super) controls: Option<Arc<ControlRegistry>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            queue_bytes: 1 << 20,
            message_bytes_max: 1 << 18,
            oversize: Oversize::Omit,
            puts_undecoded_aside: false,
            drop_columns: Vec::new(),
            quarantine: None,
            claims: None,
            saving: Saving::new(Duration::from_millis(10)),
            exclude: Vec::new(),
            puts_refused_aside: false,
            failing_saves: 0,
            pack: each_row(),
            controls: None,
        }
    }
}

impl Setup {
    /// Nothing is saved by itself while a test lasts.
    pub(super) fn unsaved() -> Self {
        let mut saving = Saving::new(PATIENCE * 60);
        saving.succeeded(Instant::now());
        Self { saving, ..Self::default() }
    }
}

pub(super) struct Rig {
    pub(super) pipeline: Pipeline,
    pub(super) sink: Intake,
    pub(super) settled: mpsc::Sender<Settlement>,
    pub(super) saved: MemoryStore,
    pub(super) watcher: Arc<Watcher>,
    pub(super) metrics: Arc<crate::telemetry::Metrics>,
}

impl Rig {
    pub(super) fn new(setup: Setup) -> Self {
        let (batches, to_finalize) = encoded_queue();
        let (told, notes) = mpsc::unbounded_channel();
        let (settled, settlements) = mpsc::channel(64);
        let (feed, sink) = intake(setup.queue_bytes);
        let gauge = feed.gauge().clone();
        let arn = "arn:aws:sns:eu-west-1:000000000000:t";
        let topics = Topics {
            tables: Destinations::new(Template::parse(arn).expect("an ARN")),
            control_messages: arn.into(),
            known: std::collections::HashMap::new(),
            message_bytes_max: setup.message_bytes_max,
            outbox: None,
        };
        let origin = super::super::origin();
        let finalizing = FinalizingConfig {
            finalize: FinalizeOptions::default(),
            row_format: None,
            oversize: setup.oversize,
            claims: setup.claims,
            origin: Arc::new(RwLock::new(origin)),
            digests: None,
        };
        spawn_finalizing(finalizing, topics, to_finalize, feed, told).expect("a thread");
        let saved = MemoryStore::new(Checkpoint::default());
        let (checkpointing, _) =
            Saver::spawn(Flaky { store: saved.clone(), fails: setup.failing_saves }, setup.saving);
        let (watcher, metrics) = (Arc::new(Watcher::default()), Arc::new(metrics()));
        let pipeline = Pipeline::new(Parts {
            flow: flow(setup.pack, setup.puts_undecoded_aside, setup.drop_columns, setup.exclude),
            batches,
            notes,
            settlements,
            saver: checkpointing,
            metrics: Arc::clone(&metrics),
            observer: Arc::clone(&watcher) as _,
            gauge,
            ticker: Loops::default().register("stream", PATIENCE),
            quarantine: setup.quarantine,
            puts_refused_aside: setup.puts_refused_aside,
            snapshot: None,
            controls: setup.controls,
        });
        Self { pipeline, sink, settled, saved, watcher, metrics }
    }

    /// Takes all events; the sink does nothing meanwhile.
    pub(super) async fn take(
        &mut self,
        events: &[Vec<u8>],
        stop: &CancellationToken,
    ) -> Result<(), Interrupt> {
        let mut decoder = decoder();
        decoder.start_at(Position::default());
        self.pipeline.stream_began(&Start::Gtid(crate::change::GtidSet::new()));
        for event in events {
            self.pipeline.take(&mut decoder, event, Instant::now(), stop).await?;
        }
        Ok(())
    }
}

/// Each row is a message.
pub(in crate::pipeline::tests) fn each_row() -> PackConfig {
    PackConfig { body_bytes_target: 1, ..PackConfig::default() }
}

pub(super) fn flow(
    pack: PackConfig,
    puts_undecoded_aside: bool,
    drop_columns: Vec<Pattern>,
    exclude: Vec<Pattern>,
) -> Flow {
    let config = FlowConfig { schema_changes: true, puts_undecoded_aside, ..FlowConfig::default() };
    let filter = FilterConfig { exclude, drop_columns, ..FilterConfig::default() };
    let schema = SchemaName::new("binpulse").expect("a name");
    flow_of(pack, config, filter, Recogniser::new(schema, "s"))
}

/// Of all tables that the filter does not exclude.
pub(in crate::pipeline::tests) fn flow_of(
    pack: PackConfig,
    config: FlowConfig,
    filter: FilterConfig,
    recogniser: Recogniser,
) -> Flow {
    let tables = vec![Pattern::parse("*.*", 2).expect("a pattern")];
    Flow::new(
        config,
        Filter::new(FilterConfig { tables, ..filter }),
        recogniser,
        ControlMessages::new(
            Format::Protobuf,
            "server".to_owned(),
            1,
            WatermarkProvider::new(Watermark::default),
        ),
        Packer::new(pack, Sequences::default()),
        Tracker::new(&Checkpoint::default()),
    )
}

pub(in crate::pipeline::tests) fn events(fixture: &str) -> Vec<Vec<u8>> {
    let log = Log::load(fixture, false);
    let start = Start::Gtid(crate::change::GtidSet::new());
    log.dump(&start).into_iter().map(|(_, event)| event).collect()
}

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}
