//! What the metrics read from the parts.

use std::sync::Arc;

use super::findings::Findings;
use super::lease_standing::LeaseHandle;
use super::maintenance::Maintenance;
use super::plan::Plan;
use super::state::{Phase, State};
use super::switches::Controls;
use super::{controls, echo, paths};
use crate::freshness::watch::{self, Shared};
use crate::freshness::{FreshnessState, Stage};
use crate::sink::Health;
use crate::sink::health::LATENCY_BOUNDS_US;
use crate::sink::intake::QueueGauge;
use crate::snapshot::SnapshotHandle;
use crate::source::Liveness;
use crate::telemetry::metrics::{Durations, Kind, ScrapeSources, ScrapedFamily, SourceLabels};
use crate::telemetry::snapshot::{SnapshotState, SnapshotWait};
use crate::telemetry::words::HaltReason;

/// The parts that a scrape reads.
pub(super) struct ScrapedParts<'a> {
    pub(super) state: &'a State,
    pub(super) freshness_state: &'a Arc<FreshnessState>,
    pub(super) liveness: &'a Liveness,
    pub(super) gauge: &'a QueueGauge,
    pub(super) health: &'a Arc<Health>,
    pub(super) view: &'a Shared,
    pub(super) findings: &'a Findings,
    pub(super) maintenance: &'a Arc<Maintenance>,
    pub(super) lease: &'a LeaseHandle,
    pub(super) controls: &'a Controls,
}

impl ScrapedParts<'_> {
    /// Every value that is read at a scrape: what the service has, and what the documents list.
    pub(super) fn sources(&self, plan: &Plan) -> ScrapeSources {
        let Self { state, freshness_state, .. } = self;
        let mut sources =
            scrape_sources(state, freshness_state, self.liveness, self.gauge, self.health);
        let more = &mut sources.more;
        more.extend(watch::families(self.view));
        more.extend(watch::purge_families(freshness_state.purge()));
        more.push(self.findings.family());
        more.push(self.maintenance.family());
        more.extend(paths::families(plan, freshness_state));
        more.extend(snapshot(&self.controls.snapshot));
        more.extend(controls::families(&self.controls.held, freshness_state));
        more.push(echo::family(plan, freshness_state));
        more.extend(self.lease.families());
        more.extend(self.controls.reloader.families());
        sources
    }
}

/// Values that the parts keep and a scrape reads.
fn scrape_sources(
    state: &State,
    freshness_state: &Arc<FreshnessState>,
    liveness: &Liveness,
    gauge: &QueueGauge,
    health: &Arc<Health>,
) -> ScrapeSources {
    let health = Arc::clone(health);
    let halts = state.clone();
    let (stages, state) = (Arc::clone(freshness_state), state.clone());
    let (received, bytes, armed) = (liveness.clone(), liveness.clone(), liveness.clone());
    let (queued, capacity) = (gauge.clone(), gauge.clone());
    ScrapeSources {
        stage: Arc::new(move || {
            let moments = stages.read(|round_trips| round_trips.stages().moments());
            Stage::ALL.map(Stage::as_str).into_iter().zip(moments).collect()
        }),
        stream_last_receive: Arc::new(move || received.last_byte()),
        stream_bytes: Arc::new(move || bytes.bytes()),
        reader_armed: Arc::new(move || armed.is_armed()),
        queue_bytes: Arc::new(move || queued.queued_bytes() as u64),
        more: vec![halted(&halts)],
        queue_capacity_bytes: Arc::new(move || capacity.capacity_bytes() as u64),
        publish_duration: Arc::new(move || durations(&health)),
        source: Arc::new(move || {
            let identity = state.read().identity;
            let mut labels = SourceLabels::default();
            if let Some(identity) = identity {
                labels.server_uuid = identity.name();
                labels.version.clone_from(&identity.version);
                labels.flavor = identity.flavor.to_string().to_ascii_lowercase();
            }
            labels
        }),
    }
}

/// Whether delivery has halted, and why.
fn halted(state: &State) -> ScrapedFamily {
    let state = state.clone();
    let read = move || {
        let reason = match state.read().phase {
            Phase::Halted(halted) => Some(halted.reason),
            Phase::Starting | Phase::Running | Phase::Reconnecting(_) | Phase::Stopping => None,
        };
        let sample = |each: HaltReason| {
            let value = f64::from(u8::from(reason == Some(each)));
            (vec![("reason", each.name().to_owned())], value)
        };
        HaltReason::ALL.map(sample).to_vec()
    };
    ScrapedFamily {
        name: "binpulse_halted",
        help: "1 for the reason for which delivery has halted until an operator acts, 0 for all others.",
        kind: Kind::Gauge,
        labels: &["reason"],
        read: Arc::new(read),
    }
}

/// Whether a snapshot is read, and what keeps it from the next chunk.
fn snapshot(control: &Arc<SnapshotHandle>) -> [ScrapedFamily; 2] {
    let (running, waiting) = (Arc::clone(control), Arc::clone(control));
    let one = |is_so: bool| f64::from(u8::from(is_so));
    let waits = move || {
        let running = waiting.status().filter(|status| status.state == SnapshotState::Running);
        let waits_for = running.and_then(|status| status.waits_for);
        let sample = |wait: SnapshotWait| {
            (vec![("reason", wait.as_str().to_owned())], one(waits_for == Some(wait)))
        };
        SnapshotWait::ALL.map(sample).to_vec()
    };
    [
        ScrapedFamily {
            name: "binpulse_snapshot_running",
            help: "1 while a snapshot is read: it began, is not paused and not over; else 0.",
            kind: Kind::Gauge,
            labels: &[],
            read: Arc::new(move || vec![(Vec::new(), one(running.is_running()))]),
        },
        ScrapedFamily {
            name: "binpulse_snapshot_waiting",
            help: "1 for what a snapshot waits for before its next chunk, 0 for all others.",
            kind: Kind::Gauge,
            labels: &["reason"],
            read: Arc::new(waits),
        },
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
fn durations(health: &Health) -> Durations {
    let latency = &health.request_latency;
    Durations {
        bounds_seconds: LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).collect(),
        counts: latency.counts().to_vec(),
        sum_seconds: latency.sum_us() as f64 / 1e6,
    }
}
