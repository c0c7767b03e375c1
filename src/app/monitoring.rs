//! What stands before anything is opened: the pages, the verdict and its looks.
//!
//! So a start that has to wait is seen to live, and what it waits for is told: a source that is down is
//! a source that is down, and no absent streamer.

use std::sync::Arc;
use std::time::Duration;

use super::Unavailable;
use super::begin::new_instance;
use super::findings::Findings;
use super::freshness::{parameters, round_trips};
use super::label_values::label_values;
use super::lease_standing::LeaseHandle;
use super::maintenance::Maintenance;
use super::plan::{HttpPlan, Plan};
use super::primary;
use super::recorder::Recorder;
use super::scrape_sources::ScrapedParts;
use super::shadow;
use super::state::State;
use super::status::StatusBuilder;
use super::supervise::{LOOP_PAUSE_MAX, Supervisor, Task};
use super::switches::{Controls, Switches};
use crate::freshness::verdict::Topology;
use crate::freshness::watch::{self, ActiveProbe, BackgroundProbe, Reporter, Spacing, Watch};
use crate::freshness::{FreshnessState, Sampler};
use crate::mysql::{HostPort, SharedHost};
use crate::platform;
use crate::shutdown::{Drained, TaskGroup, drain};
use crate::sink::{Feed, Health, Intake, Permit, intake};
use crate::source::Liveness;
use crate::telemetry::http::{Endpoints, Http, Switch};
use crate::telemetry::{Loops, Metrics, StatusSource};

/// Time for tasks that have nothing to deliver.
pub(super) const SIDE_GRACE: Duration = Duration::from_secs(3);

/// What answers and evaluates, from the first moment to the last.
pub(super) struct Monitoring {
    pub(super) state: State,
    pub(super) freshness_state: Arc<FreshnessState>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) liveness: Liveness,
    pub(super) loops: Loops,
    pub(super) reporter: Reporter,
    pub(super) findings: Findings,
    pub(super) watch: Watch,
    pub(super) hosts: Hosts,
    /// This process's name, as heartbeats carry it.
    pub(super) instance: String,
    /// Both ends of the way to the sink.
    pub(super) to_sink: (Feed, Intake),
    /// Looks and samples at first, then heartbeats, canaries and echoes too.
    pub(super) freshness_tasks: TaskGroup,
    /// Keeps the tasks of that stage running.
    pub(super) supervisor: Supervisor,
    pub(super) controls: Controls,
    pub(super) http: TaskGroup,
}

/// Servers that are spoken to beside the stream.
pub(super) struct Hosts {
    /// The one to write to.
    pub(super) written_to: SharedHost,
    /// The one that looks ask.
    pub(super) probed: SharedHost,
    /// Which of them goes with the stream from server to server.
    pub(super) followed_by: Option<SharedHost>,
}

impl Hosts {
    /// As of the start, which is made on `first`.
    fn new(plan: &Plan, first: &HostPort) -> Self {
        let at_stream = SharedHost::new(first.clone());
        let of = |written_to: SharedHost, probed: SharedHost, followed_by| Self {
            written_to,
            probed,
            followed_by,
        };
        if plan.freshness.follows_stream {
            return of(at_stream.clone(), at_stream.clone(), Some(at_stream));
        }
        let named = SharedHost::new(plan.freshness.connect.host.clone());
        match plan.freshness.topology {
            Topology::Primary => of(named.clone(), named, None),
            Topology::Replica => of(named, at_stream.clone(), Some(at_stream)),
        }
    }

    /// Where heartbeats and checkpoint follow the stream: to the host that takes writes, on which the
    /// stream is to begin.
    pub(super) async fn begin_at_primary(&self, plan: &Plan) {
        let first = primary::find(plan).await.first();
        if let Some(host) = plan.source.hosts.get(first) {
            self.stream_is_at(host);
        }
    }

    /// The stream begins on this server.
    pub(super) fn stream_is_at(&self, host: &HostPort) {
        if let Some(followed_by) = &self.followed_by {
            followed_by.move_to(host);
        }
    }
}

impl Monitoring {
    /// Takes the address of the pages, and starts to answer and to look. The source is asked, but
    /// nothing is written to it.
    pub(super) async fn start(plan: &Arc<Plan>, lease: LeaseHandle) -> Result<Self, Unavailable> {
        let (state, liveness, health) = (State::new(), Liveness::new(), Health::new());
        let instance = new_instance();
        let (reporter, observations) = watch::queue();
        let (findings, hosts) = (Findings::new(plan), Hosts::new(plan, plan.source.host(0)?));
        let told = findings.clone();
        let freshness_state =
            FreshnessState::new(round_trips(plan, &instance), reporter.clone(), move |progress| {
                told.streamed(progress.unnamed.as_deref());
            });
        let (loops, controls) = (Loops::default(), Controls::new(plan));
        let beat = loops.register("verdict", LOOP_PAUSE_MAX);
        let watch = Watch::start(parameters(plan)?, observations, beat)?;
        let (feed, intake) = intake(plan.queue_bytes);
        let gauge = feed.gauge().clone();
        let maintenance = Maintenance::new(plan.freshness.consumers(), freshness_state.clone());
        let scraped = ScrapedParts {
            state: &state,
            freshness_state: &freshness_state,
            liveness: &liveness,
            gauge: &gauge,
            health: &health,
            view: &watch.view,
            findings: &findings,
            maintenance: &maintenance,
            lease: &lease,
            controls: &controls,
        };
        let metrics = Arc::new(Metrics::new(&label_values(plan), scraped.sources(plan))?);
        let permit = lease.permit();
        freshness_state.count_in(Arc::clone(&metrics));

        let status = Arc::new(StatusBuilder {
            plan: Arc::clone(plan),
            state: state.clone(),
            freshness_state: Arc::clone(&freshness_state),
            health: Arc::clone(&health),
            gauge,
            liveness: liveness.clone(),
            metrics: Arc::clone(&metrics),
            findings: findings.clone(),
            view: watch.view.clone(),
            maintenance,
            lease,
            controls: controls.clone(),
            started: platform::now(),
        });
        let http = serve(plan, status, &hosts.written_to, loops.clone()).await?;
        let freshness_tasks = TaskGroup::new("freshness");
        let supervisor = Supervisor::new(&freshness_tasks.tasks, &loops, &metrics);
        let monitoring = Self {
            state,
            freshness_state,
            metrics,
            health,
            liveness,
            loops,
            reporter,
            findings,
            watch,
            hosts,
            instance,
            to_sink: (feed, intake),
            freshness_tasks,
            supervisor,
            controls,
            http,
        };
        monitoring.start_probes(plan, permit)?;
        Ok(monitoring)
    }

    /// Starts what looks at the source, and what samples ourselves.
    fn start_probes(&self, plan: &Plan, permit: Permit) -> Result<(), Unavailable> {
        let sampler = Sampler {
            freshness_state: Arc::clone(&self.freshness_state),
            metrics: Arc::clone(&self.metrics),
            readiness: self.controls.readiness.clone(),
            health: Arc::clone(&self.health),
            permit,
            liveness: self.liveness.clone(),
            reporter: self.reporter.clone(),
            freshness_stop: self.freshness_tasks.stop.clone(),
            is_stopping: false,
            saved: None,
        };
        let state = self.state.clone();
        // With the stream's account, on whatever server it then streams from.
        let slow = BackgroundProbe {
            connect: plan.source.session(0)?,
            spacing: Spacing::of(&plan.freshness.periods),
            topology: plan.freshness.topology,
            streamed: Arc::new(move || state.read().identity),
            verdict: self.watch.view.clone(),
            reporter: self.reporter.clone(),
            margin: self.freshness_state.purge().clone(),
            review: Arc::new(self.findings.clone()),
            asked: self.watch.due_probes.clone(),
        };
        let (connect, probed) = (plan.freshness.connect.clone(), self.hosts.probed.clone());
        let deadline = plan.freshness.periods.probe_timeout;
        let (reporter, asked) = (self.reporter.clone(), self.watch.due_probes.clone());
        let (supervisor, stop) = (&self.supervisor, &self.freshness_tasks.stop);
        // To the very end: who does not tick counts as frozen.
        let last = Supervisor::new(&self.http.tasks, &self.loops, &self.metrics);
        last.keep(Task::Samples, &self.http.stop, move |stop| sampler.clone().run(stop));
        supervisor.keep(Task::ActiveProbe, stop, move |stop| {
            let (connect, probed) = (connect.clone(), probed.clone());
            ActiveProbe::new(connect, probed, deadline, reporter.clone(), asked.clone()).run(stop)
        });
        supervisor.keep(Task::BackgroundProbe, stop, move |stop| slow.clone().run(stop));
        Ok(())
    }

    /// Ends it after a start that came to nothing: there is nothing to deliver.
    pub(super) async fn close(self) {
        if drain(&[self.freshness_tasks, self.http], SIDE_GRACE).await != Drained::Fully {
            tracing::warn!("some tasks did not stop in time");
        }
    }
}

/// Takes the address of the pages, answers, and begins to record what they show of the past.
async fn serve(
    plan: &Plan,
    builder: Arc<StatusBuilder>,
    written_to: &SharedHost,
    loops: Loops,
) -> Result<TaskGroup, Unavailable> {
    let metrics = Arc::clone(&builder.metrics);
    let controls = builder.controls.clone();
    let switch = Arc::new(Switches {
        maintenance: Arc::clone(&builder.maintenance),
        controls: controls.clone(),
        state: builder.state.clone(),
        lease: builder.lease.clone(),
    });
    #[cfg(feature = "testing")]
    if let Some(machine) = platform::current() {
        let shown = Arc::clone(&builder);
        let document = move || serde_json::to_value(shown.status());
        machine.shows(Box::new(move || document().unwrap_or_default()));
        let posted = Arc::clone(&switch);
        machine.takes(Box::new(move |command| Switch::control(&*posted, command)));
    }
    let digests = controls.digests.map(|digests| shadow::endpoint(plan, digests));
    let recorder = Recorder::new(plan, written_to);
    let shown_by = Arc::clone(&builder);
    let status = Box::new(move || shown_by.status());
    let shown = recorder.clone();
    let history = Box::new(move || shown.document());
    let http = TaskGroup::new("http");
    let supervisor = Supervisor::new(&http.tasks, &loops, &metrics);
    let endpoints = Endpoints {
        metrics,
        loops,
        readiness: controls.readiness,
        status,
        history,
        switch,
        digests,
        hidden: plan.hidden.clone(),
    };
    let HttpPlan { address, access, .. } = plan.http.clone();
    let bound = Http::bind(address, endpoints, access).await;
    let bound =
        bound.map_err(|error| format!("http.listen: can't listen on {address}: {error}"))?;
    http.tasks.spawn(platform::part(bound.run(http.stop.clone())));
    // To the very end: how a stop went is a part of it.
    supervisor.keep(Task::History, &http.stop, move |stop| {
        recorder.clone().keep(Arc::clone(&builder), stop)
    });
    Ok(http)
}
