//! Opens and starts everything, runs the stream, stops in order.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::plan::Plan;
use super::side::Side;
use super::sink::{AnySink, aws_config, sns_config};
use super::state::{Phase, State};
use super::status::Desk;
use super::store::AnyStore;
use super::stream::{Opened, Stream, open_source};
use super::vital::{Vital, open_echo};
use super::watch::{self, Looks, Reporter, Watch};
use crate::aws;
use crate::checkpoint::table::TableConfig;
use crate::checkpoint::{Checkpoint, FileStore, Saving, Store, TableStore, Tracker};
use crate::decode::{Decoder, kind};
use crate::encode::{Lane, Origin};
use crate::filter::Filter;
use crate::pack::{Packer, Sequences};
use crate::pipeline::{
    Flow, FlowConfig, Notices, Parts, Pipeline, Saver, SealingConfig, spawn_sealing,
};
use crate::pulse::canary::CanaryWalker;
use crate::pulse::echo::{EchoReader, Sqs};
use crate::pulse::heartbeat::HeartbeatWriter;
use crate::pulse::verdict::Parameters;
use crate::pulse::{Book, Reason, Recogniser, WriterConfig, schema};
use crate::shutdown::{Drained, Stage, drain};
use crate::sink::quarantine::Quarantine;
use crate::sink::{Class, Health, intake};
use crate::source::{Liveness, Start};
use crate::telemetry::http::{Http, Pages};
use crate::telemetry::metrics::{Readings, SourceLabels, Vocabulary};
use crate::telemetry::{Loops, Metrics, Readiness};

/// Drafts between the loop and the sealing thread.
const DRAFTS_MAX: usize = 16;
/// Settlements between the sink and the loop.
const SETTLEMENTS_MAX: usize = 4096;
/// Largest quarantine file, bytes.
const QUARANTINE_BYTES_MAX: u64 = 4 << 30;
/// Time for tasks that have nothing to deliver.
const SIDE_GRACE: Duration = Duration::from_secs(3);

/// Runs the stream until `stop` is cancelled or it can't go on.
pub async fn run(plan: Plan, stop: CancellationToken) -> Outcome {
    let app = match App::open(Arc::new(plan), &stop).await {
        Ok(Some(app)) => app,
        Ok(None) => return Outcome::Stopped,
        Err(error) => {
            // For people and for logs alike: the chain of causes, once.
            tracing::error!("{error:#}");
            return Outcome::Unavailable;
        }
    };
    Box::pin(app.run(stop)).await
}

/// Everything, opened and not yet running.
struct App {
    plan: Arc<Plan>,
    state: State,
    vital: Arc<Vital>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    health: Arc<Health>,
    liveness: Liveness,
    shared: aws::Shared,
    sink: AnySink,
    intake: crate::sink::Intake,
    http: Http,
    stream: Stream,
    instance: String,
    settled: mpsc::Sender<crate::sink::Settlement>,
    reporter: Reporter,
    watch: Watch,
}

/// Why nothing was started. Each carries its own words and remedy.
type Unavailable = Box<dyn std::error::Error + Send + Sync>;

impl App {
    /// `None`: asked to stop meanwhile.
    async fn open(plan: Arc<Plan>, stop: &CancellationToken) -> Result<Option<Self>, Unavailable> {
        let shared = aws::Shared::load(&aws_config(&plan)).await;
        let (sink, topics) = AnySink::open(&plan, &shared).await?;
        let body_bytes_max = topics.common_bytes_max() / 20 * 19;
        let quarantine = plan
            .quarantine
            .as_deref()
            .map(|path| Quarantine::open(path, QUARANTINE_BYTES_MAX))
            .transpose()?;
        let mut store = open_store(&plan).await?;
        let saved = store.load().await?;

        let state = State::new();
        let liveness = Liveness::new();
        let Some(opened) = open_source(&plan, saved.as_ref(), stop).await? else { return Ok(None) };
        let checkpoint = begin(&plan, &mut store, saved, &opened).await?;
        state.update(|inner| inner.epoch = checkpoint.epoch);

        let (feed, intake) = intake(plan.queue_bytes);
        let health = sink.health();
        let instance = new_instance();
        let consumers = plan.pulse.echoes.iter().map(|(name, _)| Arc::clone(name));
        let book = Book::new(&*instance, consumers, plan.pulse.periods.canary_deadline);
        let (reporter, observations) = watch::queue();
        let vital = Vital::new(book, state.clone(), reporter.clone());
        let watch = Watch::start(parameters(&plan)?, observations)?;
        let gauge = feed.gauge().clone();
        let mut readings = readings(&plan, &state, &vital, &liveness, &gauge);
        readings.more = watch::families(&watch.view);
        let metrics = Arc::new(Metrics::new(&vocabulary(&plan), readings)?);
        vital.count_in(Arc::clone(&metrics));

        let origin = Arc::new(RwLock::new(Origin {
            stream: plan.stream.as_str().into(),
            server_uuid: opened.resolved.server.clone(),
            server_id: opened.server_id,
            epoch: checkpoint.epoch,
            connector_version: env!("CARGO_PKG_VERSION"),
            snapshot: false,
        }));
        let loops = Loops::default();
        let (drafts, to_seal) = mpsc::channel(DRAFTS_MAX);
        let (noted, sealing_notes) = mpsc::unbounded_channel();
        let (settled, settlements) = mpsc::channel(SETTLEMENTS_MAX);
        let sealing =
            SealingConfig { seal: plan.seal, oversize: plan.oversize, origin: Arc::clone(&origin) };
        spawn_sealing(sealing, topics, to_seal, feed, noted)?;
        let (checkpointing, _) = Saver::spawn(store, Saving::new(plan.checkpoint.interval));
        let pipeline = Pipeline::new(Parts {
            flow: flow(&plan, &checkpoint, &opened, body_bytes_max),
            drafts,
            notes: sealing_notes,
            settlements,
            saver: checkpointing,
            metrics: Arc::clone(&metrics),
            witness: Arc::clone(&vital) as _,
            gauge: gauge.clone(),
            beat: loops.register("stream", LOOP_PAUSE_MAX),
            quarantine,
        });

        let readiness = Readiness::default();
        let desk = Desk {
            plan: Arc::clone(&plan),
            state: state.clone(),
            vital: Arc::clone(&vital),
            health: Arc::clone(&health),
            gauge,
            liveness: liveness.clone(),
            metrics: Arc::clone(&metrics),
            view: Arc::clone(&watch.view),
            started: Instant::now(),
        };
        let pages = Pages {
            metrics: Arc::clone(&metrics),
            loops: loops.clone(),
            readiness: readiness.clone(),
            status: Box::new(desk),
        };
        let http = Http::bind(plan.http, pages)
            .await
            .map_err(|error| format!("http.listen: can't listen on {}: {error}", plan.http))?;
        let stream = Stream::new(pipeline, opened, origin, &state, &liveness, reporter.clone());
        Ok(Some(Self {
            plan,
            state,
            vital,
            metrics,
            readiness,
            health,
            liveness,
            shared,
            sink,
            intake,
            http,
            stream,
            instance,
            settled,
            reporter,
            watch,
        }))
    }

    async fn run(mut self, stop: CancellationToken) -> Outcome {
        let pulse = Stage::new("pulse");
        let sink = Stage::new("sink");
        let http = Stage::new("http");
        http.tasks.spawn(self.http.run(http.stop.clone()));
        let sink_run = self.sink.run(self.intake, self.settled, sink.stop.clone());
        let sink_state = self.state.clone();
        sink.tasks.spawn(async move {
            if let Err(error) = sink_run.await {
                tracing::error!(%error, "the sink has ended");
                sink_state.update(|inner| inner.sink_error = Some(error.to_string()));
            }
        });
        spawn_pulse(&self.plan, &self.instance, &self.vital, &self.shared, &pulse);
        let side = Side {
            vital: Arc::clone(&self.vital),
            metrics: Arc::clone(&self.metrics),
            readiness: self.readiness.clone(),
            health: Arc::clone(&self.health),
            liveness: self.liveness.clone(),
            state: self.state.clone(),
            reporter: self.reporter.clone(),
            saved: None,
        };
        let looks = Looks::new(
            self.plan.pulse.connect.clone(),
            self.plan.pulse.periods.probe_timeout,
            self.reporter.clone(),
            self.watch.looks.clone(),
        );
        pulse.tasks.spawn(looks.run(pulse.stop.clone()));
        pulse.tasks.spawn(side.run(pulse.stop.clone()));

        let reconnects = |reason| self.metrics.reconnects_total.of(reason).inc();
        let stays = self.plan.stays_when_halted;
        let outcome = self.stream.run(&stop, &reconnects, stays).await;
        self.state.enter(Phase::Stopping);
        tracing::info!("stopping");
        pulse.stop.cancel();
        let delivered = self.stream.drain(Instant::now() + self.plan.grace).await;
        // The pipeline's end closes the way into the sink, which then ends by itself.
        drop(self.stream);
        if drain(&[pulse, sink, http], SIDE_GRACE).await != Drained::Fully {
            tracing::warn!("some tasks did not stop in time");
        }
        self.watch.stop();
        match (outcome, delivered) {
            (Outcome::Stopped, false) => Outcome::StoppedInHaste,
            (outcome, _) => outcome,
        }
    }
}

/// Why a stream may end and be dialled again, as [`crate::source::Error::name`] has it.
const RECONNECT_REASONS: [&str; 14] = [
    "stream_ended",
    "resolve",
    "connect",
    "timed_out",
    "silent",
    "closed",
    "broken",
    "tls_handshake",
    "protocol",
    "damaged_event",
    "server_shutdown",
    "too_many_connections",
    "offline",
    "no_host",
];

/// Longest pause between two turns of the stream's loop: a save on a slow disk, or a large event.
const LOOP_PAUSE_MAX: Duration = Duration::from_mins(1);

async fn open_store(plan: &Plan) -> Result<AnyStore, Unavailable> {
    Ok(match &plan.checkpoint.file {
        Some(path) => AnyStore::File(FileStore::open(path.clone(), &plan.stream).await?),
        None => AnyStore::Table(Box::new(
            TableStore::open(TableConfig {
                connect: plan.pulse.connect.clone(),
                table: plan.pulse.schema.table(schema::CHECKPOINT),
                lane_table: plan.pulse.schema.table(schema::CHECKPOINT_LANE),
                stream: plan.stream.clone(),
                owner_name: new_instance(),
            })
            .await?,
        )),
    })
}

/// The checkpoint to go on from: the saved one, or a new one at the start that was resolved. Another
/// number of lanes begins a new epoch: rows of one key would otherwise have numbers in two lanes.
async fn begin(
    plan: &Plan,
    store: &mut AnyStore,
    saved: Option<Checkpoint>,
    opened: &Opened,
) -> Result<Checkpoint, Unavailable> {
    let layout: Arc<str> = Lane::notice_key_of("lanes").into();
    let lanes = u64::from(plan.pack.lanes);
    if let Some(saved) = saved {
        let before = saved.lanes.get(&layout).copied().unwrap_or(1);
        if before == lanes {
            return Ok(saved);
        }
        tracing::warn!(before, lanes, "the number of lanes changed: a new epoch begins");
        let anew = Checkpoint {
            epoch: new_epoch().max(saved.epoch + 1),
            lanes: [(layout, lanes)].into(),
            ..saved
        };
        store.begin(&anew).await?;
        return Ok(anew);
    }
    let mut checkpoint = Checkpoint {
        stream: plan.stream.clone(),
        server_uuid: opened.resolved.server.clone(),
        epoch: new_epoch(),
        lanes: [(layout, lanes)].into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        saved_at_us: chrono::Utc::now().timestamp_micros(),
        ..Checkpoint::default()
    };
    match &opened.resolved.start {
        Start::Gtid(set) => checkpoint.gtid_set = set.clone(),
        Start::Maria(set) => {
            checkpoint.resume.maria = set.clone();
            checkpoint.settled.maria = set.clone();
        }
        Start::Position(position) => {
            checkpoint.resume.position = position.clone();
            checkpoint.settled.position = position.clone();
        }
    }
    store.begin(&checkpoint).await?;
    Ok(checkpoint)
}

/// Epochs rise, also when a checkpoint is lost: seconds since 1970 do.
fn new_epoch() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp()).unwrap_or(1)
}

/// A name for this process that no other has had: a random UUID (version 4).
fn new_instance() -> String {
    let mut bytes = super::stream::random().to_be_bytes().to_vec();
    bytes.extend(super::stream::random().to_be_bytes());
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&bytes);
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    crate::change::Uuid(uuid).to_string()
}

fn flow(plan: &Plan, checkpoint: &Checkpoint, opened: &Opened, body_bytes_max: usize) -> Flow {
    let mut pack = plan.pack.clone();
    pack.body_bytes_max = body_bytes_max;
    let sequences =
        Sequences::restored(checkpoint.lanes.iter().map(|(key, next)| (Arc::clone(key), *next)));
    let delivered_until = checkpoint.rereads().then(|| checkpoint.settled.position.clone());
    let config = FlowConfig {
        schema_changes: plan.schema_changes,
        skip_until_us: opened.resolved.skip_until_us,
        begins_by_position: opened.begins_by_position,
    };
    let recogniser = Recogniser::new(plan.pulse.schema.clone(), plan.stream.clone());
    let notices = Notices::new(pack.format, checkpoint.server_uuid.clone(), checkpoint.epoch);
    Flow::new(
        config,
        Filter::new(plan.filter.clone()),
        recogniser,
        notices,
        Packer::new(pack, sequences),
        Tracker::new(checkpoint),
        delivered_until,
    )
}

/// What the verdict goes by.
fn parameters(plan: &Plan) -> Result<Parameters, Unavailable> {
    let parameters = Parameters {
        heartbeats: plan.pulse.heartbeats,
        consumers: plan.pulse.echoes.iter().map(|(name, _)| Arc::clone(name)).collect(),
        ..Parameters::of(&plan.pulse.periods)
    };
    Ok(parameters.checked()?)
}

/// The decoder of a stream; it asks for what the log does not tell of tables if somebody answers.
pub(super) fn decoder(asks_for_schemas: bool) -> Decoder {
    Decoder::new(crate::decode::Config {
        // The source has checked it.
        verify_checksum: false,
        asks_for_schemas,
        xa_spool_folder: Some(std::env::temp_dir()),
        ..crate::decode::Config::default()
    })
}

/// How heartbeats and canaries are written.
pub(super) fn writer_config(plan: &Plan, instance: String) -> WriterConfig {
    WriterConfig {
        connect: plan.pulse.connect.clone(),
        schema: plan.pulse.schema.clone(),
        stream: plan.stream.clone(),
        instance,
        allowed_servers: Vec::new(),
        write_deadline: plan.pulse.periods.write_deadline,
        probe_timeout: plan.pulse.periods.probe_timeout,
    }
}

fn spawn_pulse(
    plan: &Plan,
    instance: &str,
    vital: &Arc<Vital>,
    shared: &aws::Shared,
    stage: &Stage,
) {
    let pulse = &plan.pulse;
    let config = writer_config(plan, instance.to_owned());
    if pulse.heartbeats {
        let interval = pulse.periods.heartbeat_interval;
        let writer = HeartbeatWriter::new(config.clone(), interval, vital.observer());
        stage.tasks.spawn(writer.run(stage.stop.clone()));
    }
    if pulse.canaries {
        let walker = CanaryWalker::new(config, pulse.periods.canary_interval, vital.observer());
        stage.tasks.spawn(walker.run(stage.stop.clone()));
    }
    let sns = sns_config(plan);
    for (consumer, url) in &pulse.echoes {
        let reader = EchoReader {
            consumer: Arc::clone(consumer),
            queue: Sqs::connect(shared, sns.endpoint_url.as_deref(), url),
            stream: plan.stream.clone(),
            open: Arc::new(open_echo),
            observer: vital.observer(),
        };
        stage.tasks.spawn(reader.run(stage.stop.clone()));
    }
}

pub(super) fn vocabulary(plan: &Plan) -> Vocabulary {
    let results = || std::iter::once("ok").chain(Reason::ALL.iter().map(|reason| reason.as_str()));
    Vocabulary {
        consumers: plan.pulse.echoes.iter().map(|(name, _)| name.to_string()).collect(),
        heartbeat_results: results().collect(),
        publish_results: std::iter::once("ok")
            .chain(Class::ALL.iter().map(|class| class.as_str()))
            .collect(),
        reconnect_reasons: RECONNECT_REASONS.to_vec(),
        event_types: (0..=u8::MAX).map(kind::name).filter(|name| *name != "unknown").collect(),
    }
}

pub(super) fn readings(
    plan: &Plan,
    state: &State,
    vital: &Arc<Vital>,
    liveness: &Liveness,
    gauge: &crate::sink::intake::Gauge,
) -> Readings {
    let (stages, stream, state) = (Arc::clone(vital), plan.stream.clone(), state.clone());
    let (received, bytes, armed) = (liveness.clone(), liveness.clone(), liveness.clone());
    let (queued, capacity) = (gauge.clone(), gauge.clone());
    Readings {
        stage: Arc::new(move || stages.read(|book| book.stages().moments())),
        stream_last_receive: Arc::new(move || received.last_byte()),
        stream_bytes: Arc::new(move || bytes.bytes()),
        reader_armed: Arc::new(move || armed.is_armed()),
        queue_bytes: Arc::new(move || queued.queued_bytes() as u64),
        more: Vec::new(),
        queue_capacity_bytes: Arc::new(move || capacity.capacity_bytes() as u64),
        source: Arc::new(move || {
            let identity = state.read().identity;
            let mut labels = SourceLabels { stream: stream.clone(), ..SourceLabels::default() };
            if let Some(identity) = identity {
                labels.server_uuid = identity.name();
                labels.version.clone_from(&identity.version);
                labels.flavor = identity.flavor.to_string().to_ascii_lowercase();
            }
            labels
        }),
    }
}
