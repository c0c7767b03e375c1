//! The document of `/status`, put together from what the parts keep.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::controls;
use super::findings::Findings;
use super::lease_standing::LeaseHandle;
use super::maintenance::Maintenance;
use super::paths;
use super::plan::{PathRoute, Plan};
use super::state::{Phase, State};
use super::switches::Controls;
use crate::freshness::canary::echo::CanaryResult;
use crate::freshness::round_trips::{Canaries, Failure, RoundTrip};
use crate::freshness::verdict::{Condition, Known, Reason, words};
use crate::freshness::watch::{Shared, View};
use crate::freshness::{FreshnessState, RoundTrips};
use crate::platform;
use crate::sink::Health;
use crate::sink::intake::QueueGauge;
use crate::source::Liveness;
use crate::telemetry::status::{
    self, Canary, Checkpoint, Consumer, Path, Probe, Sink, Source, Status, Verdict,
};
use crate::telemetry::{Conclusion, Metrics, NextSteps, StatusSource, Surroundings};

/// Canaries of each consumer that are shown.
const RECENT_MAX: usize = 6;

/// Everything that the document is made from.
pub(super) struct StatusBuilder {
    pub(super) plan: Arc<Plan>,
    pub(super) state: State,
    pub(super) freshness_state: Arc<FreshnessState>,
    pub(super) health: Arc<Health>,
    pub(super) gauge: QueueGauge,
    pub(super) liveness: Liveness,
    pub(super) metrics: Arc<Metrics>,
    pub(super) findings: Findings,
    pub(super) view: Shared,
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) lease: LeaseHandle,
    pub(super) controls: Controls,
    pub(super) started: Instant,
}

impl StatusSource for StatusBuilder {
    fn status(&self) -> Status {
        let now = platform::now();
        let state = self.state.read();
        let halted = match &state.phase {
            Phase::Halted(halted) => Some(halted.clone()),
            Phase::Starting | Phase::Running | Phase::Reconnecting(_) | Phase::Stopping => None,
        };
        let source = state.identity.as_ref().map_or_else(Source::default, |identity| Source {
            host: identity.host.to_string(),
            server_uuid: identity.name(),
            server_id: identity.server_id,
            version: identity.version.clone(),
            flavor: identity.flavor.to_string().to_ascii_lowercase(),
            connected: self.liveness.is_connected(),
        });
        let (heartbeat, canary, paths, consumers) = self.freshness_state.read(|round_trips| {
            (
                heartbeat(round_trips, now),
                canary(round_trips, now),
                paths(&self.plan, round_trips, now),
                consumers(round_trips, now, &self.metrics, &self.maintenance),
            )
        });
        Status {
            stream: self.plan.stream.clone(),
            url: self.plan.http.url.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: state.phase.state(),
            state_age_seconds: now.saturating_duration_since(state.since).as_secs_f64(),
            uptime_seconds: now.saturating_duration_since(self.started).as_secs_f64(),
            halted,
            verdict: verdict(&self.view.read(), now),
            source,
            findings: self.findings.shown(),
            progress: self.progress(now),
            heartbeat,
            canary,
            paths,
            consumers,
            sink: self.sink(now),
            checkpoint: self.checkpoint(now, state.epoch),
            lease: self.lease.shown(now),
            snapshot: self.controls.snapshot.status().map(|status| status.at(platform::wall_us())),
            replay: self.controls.replay.status(),
            controls: controls::shown(&self.controls.held, &self.freshness_state),
            reload: self.controls.reloader.status(now),
            config: self.controls.reloader.shown(),
            next: NextSteps::default(),
            surroundings: Surroundings {
                now_us: platform::wall_us(),
                ..self.plan.surroundings.clone()
            },
            conclusion: Conclusion::default(),
        }
        .concluded()
    }
}

impl StatusBuilder {
    fn progress(&self, now: Instant) -> status::Progress {
        let progress = self.freshness_state.progress();
        let ops = ["insert", "update", "delete"];
        let changes = ops.iter().map(|op| self.metrics.changes_published_total.of(op).get());
        let since = || self.freshness_state.since_commit_us(progress.newest_commit_us, now);
        #[expect(clippy::cast_precision_loss, reason = "an age, not an identity")]
        let age = (progress.newest_commit_us > 0).then(|| since().max(0) as f64 / 1e6);
        let waited = self.health.snapshot(now).oldest_unsettled;
        let lag = self.freshness_state.lag(&progress, waited, now);
        let (margin, expiry) = self.freshness_state.purge().told(now).unzip();
        status::Progress {
            purge_margin_seconds: seconds(margin),
            log_expiry_seconds: seconds(expiry),
            read: progress.read.to_string(),
            delivered: progress.delivered.to_string(),
            gtid_set: progress.gtid_set,
            lag_seconds: seconds(lag),
            newest_commit_age_seconds: age,
            lanes: progress.lanes as u64,
            changes_read: self.metrics.changes_read.load(Ordering::Relaxed),
            changes_published: changes.sum(),
            messages_published: self.metrics.messages_published_total.get(),
        }
    }

    fn sink(&self, now: Instant) -> Sink {
        let health = self.health.snapshot(now);
        Sink {
            kind: self.plan.sink.kind().to_owned(),
            up: health.is_up(),
            last_accept_age_seconds: seconds(health.since_ack),
            oldest_pending_age_seconds: seconds(health.oldest_unsettled),
            queue_bytes: self.gauge.queued_bytes() as u64,
            queue_capacity_bytes: self.gauge.capacity_bytes() as u64,
            last_error: health.impediment.map(|class| class.as_str().to_owned()),
            quarantined: self.metrics.quarantined_messages_total.get()
                + self.metrics.quarantined_events_total.get(),
        }
    }

    fn checkpoint(&self, now: Instant, epoch: u64) -> Checkpoint {
        let place = match &self.plan.checkpoint.file {
            Some(path) => path.display().to_string(),
            None => format!("{}.checkpoint", self.plan.freshness.schema.as_str()),
        };
        let saved = self.metrics.checkpoint_saved.last();
        Checkpoint {
            place,
            age_seconds: seconds(saved.map(|at| now.saturating_duration_since(at))),
            failures: u32::try_from(self.metrics.checkpoint_saves_total.of("error").get())
                .unwrap_or(u32::MAX),
            epoch,
        }
    }
}

fn verdict(view: &View, now: Instant) -> Verdict {
    let verdict = &view.verdict;
    let age = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
    Verdict {
        state: verdict.state.name().to_owned(),
        reason: verdict.reason.as_ref().map(Reason::name),
        since_seconds: age(verdict.since),
        evaluated_age_seconds: age(verdict.evaluated_at),
        headline: words::headline(verdict.state, verdict.reason.as_ref(), verdict.is_recovering)
            .into_owned(),
        sentence: verdict.sentence.clone(),
        facts: verdict.facts.clone(),
        hop: verdict.hop,
        next_step: verdict.next_step.clone().into_owned(),
        runbook: words::alert(verdict.state, verdict.reason.as_ref())
            .map(|alert| format!("/runbooks/{alert}")),
        grade: verdict.grade().told(),
        runbook_url: None,
        certificate: verdict.certificate.as_ref().map(|certificate| status::Certificate {
            from_heartbeat: certificate.from.number,
            to_heartbeat: certificate.to.number,
            from: certificate.from.id.text().unwrap_or_else(|| certificate.from.end.to_string()),
            to: certificate.to.id.text().unwrap_or_else(|| certificate.to.end.to_string()),
            user: certificate.counts.user,
            filtered: certificate.counts.filtered,
            heartbeat: certificate.counts.heartbeat,
            canary: certificate.counts.canary,
            unaccounted: certificate.unaccounted.to_string(),
            complete: certificate.unaccounted.is_empty(),
        }),
        unaccounted_transactions: view.unaccounted,
        conditions: conditions(view, now),
        kind: verdict.state.kind(),
        aids: words::aids(verdict.state),
    }
}

fn conditions(view: &View, now: Instant) -> Vec<status::Condition> {
    let condition = |(condition, known): &(Condition, Known)| status::Condition {
        name: condition.name().to_owned(),
        status: known.status,
        since_seconds: now.saturating_duration_since(known.since).as_secs_f64(),
        because: known.because.clone(),
        needed: view.needed.contains(condition),
        speaks_for: condition.speaks_for(),
    };
    view.verdict.conditions.iter().map(condition).collect()
}

fn heartbeat(round_trips: &RoundTrips, now: Instant) -> Probe {
    let heartbeats = round_trips.heartbeats();
    probe(heartbeats.committed, heartbeats.seen, heartbeats.failure.as_ref(), now)
}

fn canary(round_trips: &RoundTrips, now: Instant) -> Probe {
    canaries(round_trips.canaries(None), now)
}

/// What is told of canaries through one table.
fn canaries(known: Option<&Canaries>, now: Instant) -> Probe {
    let (committed, seen) = known.map_or((None, None), |it| (it.committed, it.seen));
    probe(committed, seen, known.and_then(|it| it.failure.as_ref()), now)
}

fn probe(
    written: Option<(u64, Instant)>,
    seen: Option<RoundTrip>,
    failure: Option<&Failure>,
    now: Instant,
) -> Probe {
    let age = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
    Probe {
        written: written.map(|(number, _)| number),
        written_age_seconds: written.map(|(_, at)| age(at)),
        seen: seen.map(|trip| trip.number),
        seen_age_seconds: seen.map(|trip| age(trip.started)),
        roundtrip_seconds: seen.map(|trip| trip.took.as_secs_f64()),
        last_result: match (failure, written) {
            (Some(failure), _) => format!("{}: {}", failure.reason.as_str(), failure.message),
            (None, Some(_)) => "ok".to_owned(),
            (None, None) => "none yet".to_owned(),
        },
    }
}

/// The paths in `/status`.
fn paths(plan: &Plan, round_trips: &RoundTrips, now: Instant) -> Vec<Path> {
    let shown = |route: &PathRoute| {
        let notes = round_trips.canaries(Some(&*route.path.name));
        let mut canary = canaries(notes, now);
        if route.path.steps.is_none() {
            "not written: no canary.insert".clone_into(&mut canary.last_result);
        } else if route.is_filtered_out {
            "not written: the filters keep the table out".clone_into(&mut canary.last_result);
        }
        Path {
            name: route.path.name.to_string(),
            table: route.path.table_name(),
            column: route.path.column.clone(),
            canary,
            failing: paths::fails(route, notes),
        }
    };
    plan.freshness.routes.iter().map(shown).collect()
}

fn consumers(
    round_trips: &RoundTrips,
    now: Instant,
    metrics: &Metrics,
    maintenance: &Maintenance,
) -> Vec<Consumer> {
    round_trips
        .echoes()
        .map(|(name, ledger)| {
            let last = ledger.last_resolved();
            let trips = metrics.canary_roundtrip_seconds.of(name);
            #[expect(clippy::cast_precision_loss, reason = "a count of canaries")]
            let mean = trips.get_sample_sum() / trips.get_sample_count() as f64;
            Consumer {
                name: name.to_string(),
                last: last.map(|(number, _)| number),
                last_age_seconds: last
                    .map(|(_, at)| now.saturating_duration_since(at).as_secs_f64()),
                roundtrip_seconds: Some(mean).filter(|mean| mean.is_finite()),
                lost: ledger.counts().lost,
                unreadable: round_trips.unreadable(name).map(str::to_owned),
                maintenance_seconds_left: seconds(
                    maintenance.left(round_trips.consumer_of(name).unwrap_or(name), now),
                ),
                recent: ledger
                    .newest_first()
                    .take(RECENT_MAX)
                    .map(|fate| recent(fate, now))
                    .collect(),
            }
        })
        .collect()
}

fn recent(fate: CanaryResult, now: Instant) -> Canary {
    let CanaryResult { number, state, accepted_at, completed_at } = fate;
    Canary {
        number,
        state,
        age_seconds: seconds(Some(now.saturating_duration_since(accepted_at))),
        took_seconds: seconds(completed_at.map(|at| at.saturating_duration_since(accepted_at))),
    }
}

fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}
