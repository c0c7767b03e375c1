//! A loop with its threads and its store, and what it is fed.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::change::Position;
use crate::checkpoint::{Checkpoint, MemoryStore, Saving, Tracker};
use crate::encode::{Format, Origin, Oversize, SealOptions};
use crate::filter::{Config as FilterConfig, Filter, Pattern};
use crate::pack::{Config as PackConfig, Packer, Sequences};
use crate::pipeline::flow::{Flow, FlowConfig};
use crate::pipeline::run::{Interrupt, Parts, Pipeline};
use crate::pipeline::tests::log::{Log, decoder};
use crate::pipeline::{Claims, Notices, Saver, SealingConfig, Topics, drafts, spawn_sealing};
use crate::pulse::schema::SchemaName;
use crate::pulse::verdict::ledger::Span;
use crate::pulse::{Leg, Progress, Recogniser, Seen, Watermark, WatermarkProvider, Witness};
use crate::sink::quarantine::Quarantine;
use crate::sink::topic::{Destinations, Template};
use crate::sink::{Intake, Settlement, intake};
use crate::source::Start;
use crate::telemetry::Loops;
use crate::telemetry::metrics::tests::metrics;

/// Longest that anything here may take.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Counts how often it was told of progress.
#[derive(Default)]
pub(super) struct Watcher(pub(super) tokio::sync::Notify);

impl Witness for Watcher {
    fn seen(&self, _: &Seen, _: Instant) {}
    fn published(&self, _: u64) {}
    fn checkpointed(&self, _: u64) {}
    fn checkpoint_failed(&self, _: &str) {}
    fn heartbeat_arrived(&self, _: Span, _: Instant) {}
    fn progress(&self, _: Progress) {
        self.0.notify_one();
    }
    fn canary_accepted(&self, _: &Leg, _: Instant) {}
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
        let (drafts, to_seal) = drafts();
        let (told, notes) = mpsc::unbounded_channel();
        let (settled, settlements) = mpsc::channel(64);
        let (feed, sink) = intake(setup.queue_bytes);
        let gauge = feed.gauge().clone();
        let arn = "arn:aws:sns:eu-west-1:000000000000:t";
        let topics = Topics {
            tables: Destinations::new(Template::parse(arn).expect("an ARN")),
            notices: arn.into(),
            known: std::collections::HashMap::new(),
            message_bytes_max: setup.message_bytes_max,
        };
        let origin = Origin {
            stream: "s".into(),
            server_uuid: "server".to_owned(),
            server_id: 1,
            epoch: 1,
            connector_version: "test",
            snapshot: false,
            replay: None,
        };
        let sealing = SealingConfig {
            seal: SealOptions::default(),
            oversize: setup.oversize,
            claims: setup.claims,
            origin: Arc::new(RwLock::new(origin)),
        };
        spawn_sealing(sealing, topics, to_seal, feed, told).expect("a thread");
        let saved = MemoryStore::new(Checkpoint::default());
        let (checkpointing, _) = Saver::spawn(saved.clone(), setup.saving);
        let (watcher, metrics) = (Arc::new(Watcher::default()), Arc::new(metrics()));
        let pipeline = Pipeline::new(Parts {
            flow: flow(setup.puts_undecoded_aside, setup.drop_columns),
            drafts,
            notes,
            settlements,
            saver: checkpointing,
            metrics: Arc::clone(&metrics),
            witness: Arc::clone(&watcher) as _,
            gauge,
            beat: Loops::default().register("stream", PATIENCE),
            quarantine: setup.quarantine,
            puts_refused_aside: false,
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

pub(super) fn flow(puts_undecoded_aside: bool, drop_columns: Vec<Pattern>) -> Flow {
    let config = FlowConfig { schema_changes: true, puts_undecoded_aside, ..FlowConfig::default() };
    let tables = vec![Pattern::parse("*.*", 2).expect("a pattern")];
    // Each row is a message.
    let pack = PackConfig { body_bytes_target: 1, ..PackConfig::default() };
    Flow::new(
        config,
        Filter::new(FilterConfig { tables, drop_columns, ..FilterConfig::default() }),
        Recogniser::new(SchemaName::new("binpulse").expect("a name"), "s"),
        Notices::new(
            Format::Protobuf,
            "server".to_owned(),
            1,
            WatermarkProvider::new(Watermark::default),
        ),
        Packer::new(pack, Sequences::default()),
        Tracker::new(&Checkpoint::default()),
    )
}

pub(super) fn events(fixture: &str) -> Vec<Vec<u8>> {
    let log = Log::load(fixture, false);
    let start = Start::Gtid(crate::change::GtidSet::new());
    log.dump(&start).into_iter().map(|(_, event)| event).collect()
}

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}
