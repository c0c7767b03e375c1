//! Opens and starts everything, runs the stream, stops in order.

use std::sync::{Arc, RwLock};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::flow::{decoder, flow};
use super::follow::{self, Follow};
use super::freshness::spawn_freshness;
use super::lease::Lease;
use super::monitoring::{Monitoring, SIDE_GRACE};
use super::plan::Plan;
use super::previous_run;
use super::release;
use super::reload::{Reloading, as_it_stands};
use super::replay;
use super::sink::{AnySink, SETTLEMENTS_MAX, claims};
use super::snapshot::Snapshots;
use super::source::Opened;
use super::source_rollback::SourceRollback;
use super::start::{Opening, halted, is_fenced, open, outcome};
use super::state::{Phase, State};
use super::stream::{Stream, StreamContext};
use super::supervise::{LOOP_PAUSE_MAX, Supervisor, Task};
use super::switches::Controls;
use super::{Outcome, Unavailable};
use crate::aws;
use crate::change::Position;
use crate::checkpoint::{Checkpoint, Saving};
use crate::control::{Control, ControlRegistry, Saved};
use crate::encode::Origin;
use crate::filter::{Since, Versions};
use crate::freshness::FreshnessState;
use crate::freshness::watch::Watch;
use crate::mysql::SharedHost;
use crate::pipeline::{
    FinalizingConfig, Flow, Parts, Pipeline, Saver, encoded_queue, spawn_finalizing,
};
use crate::platform;
use crate::shadow::LaneDigests;
use crate::shutdown::{Drained, TaskGroup, drain};
use crate::sink::{self, Intake, Permit, Settlement};
use crate::source::resume::Resolved;
use crate::telemetry::Metrics;

/// Runs the stream until `stop` is cancelled or it can't continue.
pub async fn run(plan: Plan, stop: CancellationToken) -> Outcome {
    let plan = Arc::new(plan);
    let mut lease = Lease::new(&plan);
    loop {
        let outcome = Box::pin(run_once(&plan, &lease, stop.clone())).await;
        lease.close().await;
        if outcome != Outcome::StandsDown || stop.is_cancelled() {
            return outcome;
        }
        tracing::warn!("another process is to run the stream: this one stands by");
        lease = lease.again(&plan);
    }
}

/// The same, and leaves the lease to be given up.
async fn run_once(plan: &Arc<Plan>, lease: &Lease, stop: CancellationToken) -> Outcome {
    let monitoring = match Monitoring::start(plan, lease.control()).await {
        Ok(monitoring) => monitoring,
        Err(error) => return refused(&error),
    };
    let opened = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        opened = Box::pin(open(plan, &monitoring, lease)) => Some(opened),
    };
    let error = match opened {
        // Another took the lease, and the checkpoint, before this one had opened it.
        Some(Err(error)) if plan.ha.stands_by && is_fenced(&error) => {
            tracing::warn!("{error:#}");
            monitoring.close().await;
            return Outcome::StandsDown;
        }
        Some(Ok(opening)) => match App::new(plan, monitoring, opening, lease) {
            Ok(app) => return Box::pin(app.run(stop, lease)).await,
            Err(error) => return refused(&error),
        },
        Some(Err(error)) => Some(error),
        None => None,
    };
    let outcome = error.as_ref().map_or(Outcome::Stopped, refused);
    if let Some(halted) = error.as_ref().and_then(halted).filter(|_| plan.stays_when_halted) {
        // It is seen like a halt later on: the page stays, and says why.
        monitoring.state.enter(Phase::Halted(halted));
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = lease.stands_down(), if plan.ha.stands_by => {
                monitoring.close().await;
                return Outcome::StandsDown;
            }
        }
    }
    monitoring.close().await;
    outcome
}

/// Says why nothing was started.
fn refused(error: &Unavailable) -> Outcome {
    // For people and for logs alike: the chain of causes, once.
    tracing::error!("{error:#}");
    outcome(error)
}

/// Everything, opened and not yet running.
struct App {
    plan: Arc<Plan>,
    state: State,
    freshness_state: Arc<FreshnessState>,
    metrics: Arc<Metrics>,
    shared: aws::Shared,
    sink: AnySink,
    intake: Intake,
    stream: Stream,
    instance: String,
    settled: mpsc::Sender<Settlement>,
    watch: Watch,
    beside: Beside,
    host: SharedHost,
    freshness_tasks: TaskGroup,
    supervisor: Supervisor,
    http: TaskGroup,
}

/// Tasks beside the stream that have a hand in it.
struct Beside {
    /// What leads the stream to the primary, where that may be another host.
    lead: Option<Follow>,
    snapshots: Snapshots,
    /// Where replays are asked for.
    replay: Arc<replay::ReplayHandle>,
    /// What is held back.
    held: Arc<ControlRegistry>,
    /// Settings that are read again.
    reloading: Reloading,
    /// Whether any of them may publish.
    permit: Permit,
}

impl Beside {
    fn spawn(
        self,
        (plan, metrics, freshness): (&Arc<Plan>, &Arc<Metrics>, &Arc<FreshnessState>),
        supervisor: &Supervisor,
        stop: &CancellationToken,
        ours: &CancellationToken,
    ) {
        let (plan, metrics, replay) = (Arc::clone(plan), Arc::clone(metrics), self.replay);
        let of = (Arc::clone(&plan), replay, Arc::clone(&metrics), self.permit.clone());
        supervisor.keep(Task::Replay, ours, move |stop| {
            let (plan, replay, metrics, permit) = of.clone();
            replay::run_jobs(plan, replay, metrics, permit, stop)
        });
        let of = (plan, self.held, metrics, Arc::clone(freshness));
        let permit = self.permit;
        supervisor.keep(Task::Release, ours, move |stop| {
            let (plan, held, metrics, freshness) = of.clone();
            release::run(plan, held, metrics, freshness, permit.clone(), stop)
        });
        let reloading = self.reloading;
        supervisor.keep(Task::Reload, ours, move |stop| reloading.clone().run(stop));
        let mut snapshots = self.snapshots;
        supervisor.keep(Task::Snapshot, ours, move |stop| snapshots.run(stop));
        if let Some(lead) = self.lead {
            supervisor.keep(Task::Follow, stop, move |stop| lead.clone().run(stop));
        }
    }
}

impl App {
    fn new(
        plan: &Arc<Plan>,
        monitoring: Monitoring,
        opening: Opening,
        lease: &Lease,
    ) -> Result<Self, Unavailable> {
        let Opening { shared, sink, topics, quarantine, store, source, checkpoint } = opening;
        let plan = source.plan(&as_it_stands(plan));
        monitoring.findings.cataloged(&source.catalog);
        let (feed, intake) = monitoring.to_sink;
        let (state, metrics, controls) =
            (monitoring.state, monitoring.metrics, monitoring.controls);
        state.update(|inner| inner.epoch = checkpoint.epoch);
        monitoring.hosts.stream_is_at(source.source.host(source.host)?);
        let body_bytes_max = topics.common_bytes_max() / 20 * 19;
        let origin = Arc::new(RwLock::new(origin(&plan, &checkpoint, &source)));
        let (batches, to_finalize) = encoded_queue();
        let (noted, finalizing_notes) = mpsc::unbounded_channel();
        let (settled, settlements) = mpsc::channel(SETTLEMENTS_MAX);
        let gauge = feed.gauge().clone();
        let finalizing = finalizing(&plan, &shared, &origin, controls.digests.clone())?;
        spawn_finalizing(finalizing, topics, to_finalize, feed, noted)?;
        let (checkpointing, _) = Saver::spawn(store, Saving::new(plan.checkpoint.interval));
        let shown = (Arc::clone(&controls.snapshot), Arc::clone(&metrics));
        let of = (state.clone(), gauge.clone(), controls.reloader.filters());
        let (snapshots, asked) = Snapshots::new(&plan, &checkpoint, shown, of)?;
        let freshness_state = Arc::clone(&monitoring.freshness_state);
        let in_canaries = (monitoring.watch.view.watermark(), freshness_state.nonces().clone());
        let mut flow =
            flow(&plan, &checkpoint, &source, body_bytes_max, in_canaries, snapshots.attempt())?;
        let Controls { held, replay, reloader, .. } = controls;
        restore(&mut flow, &plan, &held, (&checkpoint, end_of_log(&source.resolved)))?;
        let pipeline = Pipeline::new(Parts {
            flow,
            batches,
            notes: finalizing_notes,
            settlements,
            saver: checkpointing,
            metrics: Arc::clone(&metrics),
            observer: Arc::clone(&freshness_state) as _,
            gauge,
            ticker: monitoring.loops.register("stream", LOOP_PAUSE_MAX),
            quarantine,
            puts_refused_aside: plan.quarantine.refused,
            snapshot: Some(asked),
            controls: Some(Arc::clone(&held)),
        });
        let reloading = Reloading::begin(&plan, reloader, &held, (&monitoring.findings, &state));
        let (lead, leads_to) = follow::way(source.host);
        let lead = Follow::if_sought(&plan, &state, &monitoring.watch.view, lead);
        let context = StreamContext {
            state: state.clone(),
            liveness: monitoring.liveness,
            reporter: monitoring.reporter,
            rollback: SourceRollback::new(&plan, freshness_state.received().clone(), None),
            followed_by: monitoring.hosts.followed_by,
            findings: monitoring.findings,
            leads_to,
            hold: lease.hold(&plan),
        };
        let stream = Stream::new(pipeline, decoder(&plan), source, origin, context);
        Ok(Self {
            plan,
            state,
            freshness_state,
            metrics,
            shared,
            sink: sink.permitted(lease.permit()),
            intake,
            stream,
            instance: monitoring.instance,
            settled,
            watch: monitoring.watch,
            beside: Beside { lead, snapshots, replay, held, reloading, permit: lease.permit() },
            host: monitoring.hosts.written_to,
            freshness_tasks: monitoring.freshness_tasks,
            supervisor: monitoring.supervisor,
            http: monitoring.http,
        })
    }

    async fn run(mut self, stop: CancellationToken, lease: &Lease) -> Outcome {
        let (freshness_tasks, http) = (self.freshness_tasks, self.http);
        let sink = TaskGroup::new("sink");
        let sink_run = self.sink.run(self.intake, self.settled, sink.stop.clone());
        spawn_sink(&sink, sink_run, self.state.clone(), lease.lost().clone());
        let ours = freshness_tasks.stop.child_token();
        lease.ends_with(&ours, &freshness_tasks.stop);
        spawn_freshness(
            &self.plan,
            &self.host,
            &self.instance,
            &self.freshness_state,
            &self.shared,
            &self.supervisor,
            &ours,
        );

        if self.plan.freshness.heartbeats && self.plan.checkpoint.file.is_some() {
            let (config, table) = previous_run::kept_in(&self.plan, &self.host, &self.instance);
            let (state, freshness_state) = (self.state.clone(), Arc::clone(&self.freshness_state));
            let begin = move |stop| {
                let (config, table) = (config.clone(), table.clone());
                previous_run::keep(config, table, state.clone(), Arc::clone(&freshness_state), stop)
            };
            self.supervisor.keep(Task::Place, &ours, begin);
        }
        let of = (&self.plan, &self.metrics, &self.freshness_state);
        self.beside.spawn(of, &self.supervisor, &freshness_tasks.stop, &ours);
        let of = (&*self.plan, &*self.metrics);
        let outcome = run_stream(&mut self.stream, of, lease, &stop, &ours).await;
        self.state.enter(Phase::Stopping);
        tracing::info!("stopping");
        freshness_tasks.stop.cancel();
        let is_anothers = outcome == Outcome::StandsDown && !lease.has_yielded();
        if is_anothers {
            lease.lose();
        }
        let delivered = !is_anothers && self.stream.drain(platform::now() + self.plan.grace).await;
        if !delivered && self.plan.ha.stands_by {
            // What is under way may still be accepted.
            lease.lose();
        }
        // The pipeline's end closes the way into the sink, which then ends by itself.
        drop(self.stream);
        if delivered {
            // Nothing is under way: whoever starts now need not wait.
            lease.close().await;
        }
        let rest = drain(&[freshness_tasks, sink], SIDE_GRACE).await;
        // The last: its address is free when this has ended.
        let pages = drain(&[http], SIDE_GRACE).await;
        if rest != Drained::Fully || pages != Drained::Fully {
            tracing::warn!("some tasks did not stop in time");
        }
        self.watch.stop();
        match (outcome, delivered) {
            (Outcome::Stopped, false) => Outcome::StoppedInHaste,
            (outcome, _) => outcome,
        }
    }
}

/// Runs the stream until it ends, or is to be left to another process.
async fn run_stream(
    stream: &mut Stream,
    (plan, metrics): (&Plan, &Metrics),
    lease: &Lease,
    stop: &CancellationToken,
    ours: &CancellationToken,
) -> Outcome {
    let count = |reason, was_connected: bool| {
        if was_connected {
            metrics.reconnects_total.of(reason).inc();
        } else {
            metrics.connect_failures_total.of(reason).inc();
        }
    };
    let (stays, turn) = (plan.stays_when_halted, stop.child_token());
    let mut run = Box::pin(stream.run(&turn, &count, stays, ours));
    tokio::select! {
        biased;
        () = lease.stands_down(), if plan.ha.stands_by => {
            turn.cancel();
            run.await;
            return Outcome::StandsDown;
        }
        () = lease.lost().cancelled(), if !plan.ha.stands_by => {
            turn.cancel();
            run.await;
        }
        outcome = &mut run => return lease.ends_as(outcome),
    }
    stream.loses_lease(stop, stays, ours).await
}

/// Runs the sink, until it ends or another process has the stream.
fn spawn_sink(
    sink: &TaskGroup,
    run: impl Future<Output = Result<(), sink::Error>> + Send + 'static,
    state: State,
    lost: CancellationToken,
) {
    sink.tasks.spawn(platform::part(async move {
        let ended = tokio::select! {
            biased;
            // What is under way is given up: it is the other process's to publish.
            () = lost.cancelled() => return,
            ended = run => ended,
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the sink has ended");
            state.update(|inner| inner.sink_error = Some(error.to_string()));
        }
    }));
}

/// Continues with the filters of the checkpoint, and with what an operator holds back.
fn restore(
    flow: &mut Flow,
    plan: &Plan,
    registry: &ControlRegistry,
    (checkpoint, end): (&Checkpoint, Since),
) -> Result<(), Unavailable> {
    let versions = Versions::read(&checkpoint.annotations)?;
    flow.restore_filters(versions, &plan.filter, (platform::wall_us(), end))?;
    let saved = Saved::read(&checkpoint.annotations)?;
    for control in &saved.controls {
        let Control { pattern, reason, by, rows_per_second, .. } = control;
        if control.holds() {
            tracing::warn!(
                pattern,
                reason,
                by,
                "control: rows of these tables are still held back"
            );
        } else {
            tracing::warn!(
                pattern,
                reason,
                by,
                rows_per_second,
                "control: the rate is still limited"
            );
        }
    }
    registry.open(&saved.controls);
    flow.restore_held(saved, platform::now())?;
    Ok(())
}

/// Where the source's log ended when the stream was resolved.
fn end_of_log(resolved: &Resolved) -> Since {
    let facts = &resolved.facts;
    let mut gtids = facts.gtid_executed.clone();
    // Some of these may be on the stream already.
    gtids.union(&facts.gtid_owned);
    let newest = facts.binlogs.as_ref().ok().and_then(|files| files.last());
    let position = newest.map(|file| Position::new(file.name.as_str(), file.bytes));
    Since {
        server: resolved.server.clone(),
        gtids,
        maria: facts.maria_position.clone(),
        position: position.unwrap_or_default(),
    }
}

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

/// How messages are made.
fn finalizing(
    plan: &Plan,
    shared: &aws::Shared,
    origin: &Arc<RwLock<Origin>>,
    digests: Option<Arc<LaneDigests>>,
) -> Result<FinalizingConfig, Unavailable> {
    Ok(FinalizingConfig {
        finalize: plan.finalize,
        row_format: plan.row_format.clone(),
        oversize: plan.oversize,
        claims: claims(plan, shared)?,
        origin: Arc::clone(origin),
        digests,
    })
}
