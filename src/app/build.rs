//! Opens and starts everything, runs the stream, stops in order.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::begin::{begin, new_instance, open_store};
use super::flow::{decoder, flow};
use super::maintenance::Maintenance;
use super::paths;
use super::plan::{HttpPlan, Plan};
use super::pulse::{book, parameters, spawn_pulse};
use super::readings::{readings, vocabulary};
use super::side::Side;
use super::sink::{AnySink, aws_config, claim_check};
use super::source::{Opened, StartError, open_source};
use super::state::{Phase, State};
use super::status::Desk;
use super::stream::{Around, Stream};
use super::supervise::{Supervisor, Task};
use super::vital::Vital;
use super::watch::{self, Looks, PurgeMargin, Reporter, SlowLooks, Spacing, Watch, standing};
use super::{Outcome, Unavailable};
use crate::aws;
use crate::checkpoint::{self, Checkpoint, Saving, Store};
use crate::encode::Origin;
use crate::mysql::{HostPort, SharedHost};
use crate::pipeline::{Claims, Parts, Pipeline, Saver, SealingConfig, drafts, spawn_sealing};
use crate::pulse::verdict::Topology;
use crate::shutdown::{Drained, Stage, drain};
use crate::sink::quarantine::{self, Quarantine};
use crate::sink::{Health, intake};
use crate::source::Liveness;
use crate::telemetry::http::{Http, Pages};
use crate::telemetry::metrics::Reading;
use crate::telemetry::{Loops, Metrics, Readiness};

/// Settlements between the sink and the loop.
pub(super) const SETTLEMENTS_MAX: usize = 4096;
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
            return outcome(&error);
        }
    };
    Box::pin(app.run(stop)).await
}

/// What the process ends with if nothing was started.
fn outcome(error: &Unavailable) -> Outcome {
    if let Some(error) = error.downcast_ref::<StartError>() {
        return error.outcome();
    }
    let place_lost = error
        .downcast_ref::<checkpoint::Error>()
        .is_some_and(|error| error.recovery() == checkpoint::Recovery::Halt);
    let quarantine_damaged =
        matches!(error.downcast_ref(), Some(quarantine::Error::Damaged { .. }));
    if place_lost || quarantine_damaged { Outcome::NeedsOperator } else { Outcome::Unavailable }
}

/// Everything, opened and not yet running.
struct App {
    plan: Arc<Plan>,
    state: State,
    vital: Arc<Vital>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    loops: Loops,
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
    host: SharedHost,
    probed: SharedHost,
    slow: SlowLooks,
}

impl App {
    /// `None`: asked to stop meanwhile.
    async fn open(plan: Arc<Plan>, stop: &CancellationToken) -> Result<Option<Self>, Unavailable> {
        let shared = aws::Shared::load(&aws_config(&plan)).await;
        let (sink, topics) = AnySink::open(&plan, &shared).await?;
        let body_bytes_max = topics.common_bytes_max() / 20 * 19;
        let quarantine = quarantine(&plan)?;
        let mut store = open_store(&plan).await?;
        let saved = store.load().await?;

        let state = State::new();
        let liveness = Liveness::new();
        let Some(opened) = open_source(&plan, saved.as_ref(), stop).await? else { return Ok(None) };
        let checkpoint = begin(&plan, &mut store, saved, &opened).await?;
        state.update(|inner| inner.epoch = checkpoint.epoch);

        let (host, probed, followed_by) = hosts(&plan, opened.source.host(opened.host)?);
        let (feed, intake) = intake(plan.queue_bytes);
        let health = sink.health();
        let instance = new_instance();
        let book = book(&plan, &instance);
        let (reporter, observations) = watch::queue();
        let margin = PurgeMargin::default();
        let vital = Vital::new(book, state.clone(), reporter.clone(), margin.clone());
        let loops = Loops::default();
        let beat = loops.register("verdict", LOOP_PAUSE_MAX);
        let watch = Watch::start(parameters(&plan)?, observations, beat)?;
        let gauge = feed.gauge().clone();
        let maintenance = Maintenance::new(plan.pulse.consumers(), Arc::clone(&vital));
        let mut readings = readings(&plan, &state, &vital, &liveness, &gauge, &health);
        readings.more.extend(more_families(&watch, &margin, &maintenance));
        readings.more.extend(paths::families(&plan, &vital));
        let metrics = Arc::new(Metrics::new(&vocabulary(&plan), readings)?);
        vital.count_in(Arc::clone(&metrics));

        let origin = Arc::new(RwLock::new(origin(&plan, &checkpoint, &opened)));
        let (drafts, to_seal) = drafts();
        let (noted, sealing_notes) = mpsc::unbounded_channel();
        let (settled, settlements) = mpsc::channel(SETTLEMENTS_MAX);
        let sealing = SealingConfig {
            seal: plan.seal,
            oversize: plan.oversize,
            claims: claims(&plan, &shared)?,
            origin: Arc::clone(&origin),
        };
        spawn_sealing(sealing, topics, to_seal, feed, noted)?;
        let (checkpointing, _) = Saver::spawn(store, Saving::new(plan.checkpoint.interval));
        let pipeline = Pipeline::new(Parts {
            flow: flow(&plan, &checkpoint, &opened, body_bytes_max, standing(&watch.view)),
            drafts,
            notes: sealing_notes,
            settlements,
            saver: checkpointing,
            metrics: Arc::clone(&metrics),
            witness: Arc::clone(&vital) as _,
            gauge: gauge.clone(),
            beat: loops.register("stream", LOOP_PAUSE_MAX),
            quarantine,
            puts_refused_aside: plan.quarantine.refused,
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
            maintenance,
            started: Instant::now(),
        };
        let http = bind(&plan, desk, loops.clone(), &readiness).await?;
        let slow = slow_looks(&plan, &opened, &state, &watch, &reporter, margin)?;
        let around = Around {
            state: state.clone(),
            liveness: liveness.clone(),
            reporter: reporter.clone(),
            followed_by,
        };
        let stream = Stream::new(pipeline, decoder(&plan), opened, origin, around);
        Ok(Some(Self {
            plan,
            state,
            vital,
            metrics,
            readiness,
            loops,
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
            host,
            probed,
            slow,
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
        let ours = pulse.stop.child_token();
        let supervisor = Supervisor::new(&pulse.tasks, &self.loops, &self.metrics);
        spawn_pulse(
            &self.plan,
            &self.host,
            &self.instance,
            &self.vital,
            &self.shared,
            &supervisor,
            &ours,
        );
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
        let (connect, probed) = (self.plan.pulse.connect.clone(), self.probed);
        let deadline = self.plan.pulse.periods.probe_timeout;
        let (reporter, asked) = (self.reporter.clone(), self.watch.looks.clone());
        supervisor.keep(Task::Looks, &pulse.stop, move |stop| {
            let (connect, probed) = (connect.clone(), probed.clone());
            Looks::new(connect, probed, deadline, reporter.clone(), asked.clone()).run(stop)
        });
        let slow = self.slow;
        supervisor.keep(Task::SlowLooks, &pulse.stop, move |stop| slow.clone().run(stop));
        supervisor.keep(Task::Samples, &pulse.stop, move |stop| side.clone().run(stop));

        let reconnects = |reason| self.metrics.reconnects_total.of(reason).inc();
        let stays = self.plan.stays_when_halted;
        let outcome = self.stream.run(&stop, &reconnects, stays, &ours).await;
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

/// Where what is put aside goes, if the plan names a file.
fn quarantine(plan: &Plan) -> Result<Option<Quarantine>, Unavailable> {
    let file = plan.quarantine.file.as_deref();
    Ok(file.map(|path| Quarantine::open(path, QUARANTINE_BYTES_MAX)).transpose()?)
}

/// Families of metrics that the parts of the verdict make.
fn more_families(watch: &Watch, margin: &PurgeMargin, rest: &Arc<Maintenance>) -> Vec<Reading> {
    let mut all = watch::families(&watch.view);
    all.extend(watch::purge_families(margin));
    all.push(rest.family());
    all
}

/// Looks with the stream's account.
fn slow_looks(
    plan: &Plan,
    opened: &Opened,
    state: &State,
    watch: &Watch,
    reporter: &Reporter,
    margin: PurgeMargin,
) -> Result<SlowLooks, Unavailable> {
    Ok(SlowLooks {
        connect: opened.source.session(opened.host)?,
        spacing: Spacing::of(&plan.pulse.periods),
        topology: plan.pulse.topology,
        stream: state.clone(),
        verdict: Arc::clone(&watch.view),
        reporter: reporter.clone(),
        margin,
        asked: watch.looks.clone(),
    })
}

/// The server to write to, the one to probe, and which of them follows the stream; `streamed` is where
/// that begins.
fn hosts(plan: &Plan, streamed: &HostPort) -> (SharedHost, SharedHost, Option<SharedHost>) {
    let at_stream = SharedHost::new(streamed.clone());
    if plan.pulse.follows_stream {
        return (at_stream.clone(), at_stream.clone(), Some(at_stream));
    }
    let named = SharedHost::new(plan.pulse.connect.host.clone());
    match plan.pulse.topology {
        Topology::Primary => (named.clone(), named, None),
        Topology::Replica => (named, at_stream.clone(), Some(at_stream)),
    }
}

/// Longest pause between two turns of the stream's loop: a save on a slow disk, or a large event.
pub(super) const LOOP_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Where the stream comes from, as messages say it.
fn origin(plan: &Plan, checkpoint: &Checkpoint, opened: &Opened) -> Origin {
    Origin {
        stream: plan.stream.as_str().into(),
        server_uuid: opened.resolved.server.clone(),
        server_id: opened.server_id,
        epoch: checkpoint.epoch,
        connector_version: env!("CARGO_PKG_VERSION"),
        snapshot: false,
        replay: None,
    }
}

/// Where rows too large for their topic go, if the plan names a bucket.
pub(super) fn claims(plan: &Plan, shared: &aws::Shared) -> Result<Option<Claims>, Unavailable> {
    let bucket = claim_check(plan, shared)?;
    Ok(bucket.map(|bucket| Claims::new(bucket, super::stream::random)))
}

/// Takes the address of the pages.
async fn bind(
    plan: &Plan,
    desk: Desk,
    loops: Loops,
    readiness: &Readiness,
) -> Result<Http, Unavailable> {
    let metrics = Arc::clone(&desk.metrics);
    let switch = Arc::clone(&desk.maintenance) as _;
    let readiness = readiness.clone();
    let pages = Pages { metrics, loops, readiness, status: Box::new(desk), switch };
    let HttpPlan { address, access } = plan.http.clone();
    let bound = Http::bind(address, pages, access).await;
    Ok(bound.map_err(|error| format!("http.listen: can't listen on {address}: {error}"))?)
}
