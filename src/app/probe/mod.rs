//! The probe as a program: reads its queue, or a copy, keeps its account, serves its pages. It has no source
//! and no sink, and asks no streamer.

mod copy;
mod families;
mod plan;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use binpulse_relay::target::copy::Copy;

use plan::Canaries;
pub use plan::ProbePlan;

use super::{HttpPlan, Outcome, Unavailable};
use crate::aws;
use crate::freshness::canary::echo::{Arrival, Canary, Malformed, Reader, Sqs, open};
use crate::freshness::probe::{CanaryArrival, Kind, Probe, account_name};
use crate::shutdown::{Drained, TaskGroup, drain};
use crate::telemetry::Http;
use crate::telemetry::http::{Answer, Handler};
use crate::telemetry::metrics::{Error, ProbeMetrics};

type Shared = Arc<Mutex<Probe>>;

/// Time for the tasks to end.
const GRACE: Duration = Duration::from_secs(8);

const CONTENTS: &str = "not found; available:\n\n/metrics  Prometheus metrics\n/healthz  whether \
                        canaries arrive: 200, or 503 and what was missed\n";

/// Reads canaries until `stop` is cancelled.
pub async fn probe(plan: ProbePlan, stop: CancellationToken) -> Outcome {
    match open_and_run(plan, stop).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!("{error:#}");
            Outcome::Unavailable
        }
    }
}

/// Every series that the probe of these streams exports, as of the first scrape.
#[cfg(feature = "testing")]
pub fn exported_by_probe(streams: &[&str]) -> Result<String, Error> {
    let named = streams.iter().map(|stream| (*stream).to_owned());
    let probe = Probe::new(named, Duration::from_mins(1), Instant::now());
    let families = families::families(&Arc::new(Mutex::new(probe)));
    ProbeMetrics::new(streams.iter().copied(), families)?.text()
}

async fn open_and_run(plan: ProbePlan, stop: CancellationToken) -> Result<Outcome, Unavailable> {
    let aws = aws::Config { region: plan.region, profile: None };
    let shared = aws::Shared::load(&aws).await?;
    let account = Probe::new(plan.streams.iter().cloned(), plan.deadline, Instant::now());
    let account = match &plan.canaries {
        Canaries::Queue(_) => account,
        Canaries::Copy(_) => account.of_copy(),
    };
    let account = Arc::new(Mutex::new(account));
    let streams = plan.streams.iter().map(String::as_str);
    let metrics = Arc::new(ProbeMetrics::new(streams, families::families(&account))?);
    let pages = Endpoints { account: Arc::clone(&account), metrics: Arc::clone(&metrics) };
    let HttpPlan { address, access, .. } = plan.http;
    let bound = Http::bind(address, pages, access).await;
    let http =
        bound.map_err(|error| format!("probe.listen: can't listen on {address}: {error}"))?;

    let (reading, serving) = (TaskGroup::new("queue"), TaskGroup::new("http"));
    serving.tasks.spawn(http.run(serving.stop.clone()));
    match plan.canaries {
        Canaries::Queue(url) => {
            let queue = Sqs::connect(&shared, plan.endpoint_url.as_deref(), &url);
            let account = Arc::clone(&account);
            let tell = move |arrival| take(&account, &metrics, arrival);
            let reader = Reader { queue, open: Arc::new(open), malformed: Malformed::Delete, tell };
            reading.tasks.spawn(reader.run(reading.stop.clone()));
        }
        Canaries::Copy(config) => {
            let copy = Copy::to_read(config).map_err(|error| error.to_string())?;
            let stop = reading.stop.clone();
            reading.tasks.spawn(copy::run(copy, Arc::clone(&account), metrics, stop));
        }
    }
    reading.tasks.spawn(watch(account, reading.stop.clone()));
    stop.cancelled().await;
    match drain(&[reading, serving], GRACE).await {
        Drained::Fully => Ok(Outcome::Stopped),
        Drained::Until(_) => Ok(Outcome::StoppedInHaste),
    }
}

/// Time between two looks at what is overdue.
const TICK: Duration = Duration::from_millis(500);

/// Counts what is overdue as lost, and says in the log when health changes.
async fn watch(account: Shared, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    let mut was_well = true;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => was_well = report_health(&account, was_well, Instant::now()),
        }
    }
}

fn report_health(account: &Shared, was_well: bool, now: Instant) -> bool {
    let (lost, complaints) = {
        let mut account = read(account);
        (account.expire(now), account.complaints(now))
    };
    for (stream, messages) in lost {
        tracing::warn!(stream, messages, "canary messages did not arrive in time");
    }
    match (was_well, complaints.is_empty()) {
        (true, false) => complaints.iter().for_each(|complaint| tracing::warn!("{complaint}")),
        (false, true) => tracing::info!("canaries arrive again"),
        (true, true) | (false, false) => {}
    }
    complaints.is_empty()
}

fn take(account: &Shared, metrics: &ProbeMetrics, arrival: Arrival) {
    let now = Instant::now();
    match arrival {
        Arrival::Read => read(account).read(now),
        Arrival::Canary(canary) => take_canary(account, metrics, &canary, now),
        Arrival::Other => read(account).other(Kind::OtherKind),
        Arrival::Malformed(error) => {
            tracing::warn!(error, "a message of the probe's queue could not be opened");
            read(account).other(Kind::Malformed);
        }
        Arrival::Failed(error) => {
            tracing::warn!(%error, "the probe's queue");
            read(account).failed(error.to_string());
        }
    }
}

fn take_canary(account: &Shared, metrics: &ProbeMetrics, canary: &Canary, now: Instant) {
    let wall_us = chrono::Utc::now().timestamp_micros();
    let Some(evaluated) = read(account).observe(canary, now, wall_us) else { return };
    match evaluated.arrival {
        CanaryArrival::New | CanaryArrival::Reordered | CanaryArrival::Late => {
            metrics.observe_transit(&account_name(canary), evaluated.transit);
        }
        // The account has counted them; how long they took says nothing of delivery.
        CanaryArrival::Duplicate | CanaryArrival::Stale | CanaryArrival::Implausible => {}
    }
}

/// A panic elsewhere leaves the account readable: each entry is complete on its own.
fn read(account: &Shared) -> MutexGuard<'_, Probe> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Endpoints {
    account: Shared,
    metrics: Arc<ProbeMetrics>,
}

impl Handler for Endpoints {
    fn answer(&self, path: &str) -> Option<Answer> {
        match path {
            "/metrics" => Some(Answer::metrics(self.metrics.text())),
            "/healthz" => {
                let account = read(&self.account);
                let well = account.awaited().map(|line| line + "\n").collect::<String>();
                let well = if well.is_empty() { "canaries arrive\n".to_owned() } else { well };
                Some(Answer::health(account.complaints(Instant::now()), well))
            }
            _ => None,
        }
    }

    fn contents(&self) -> &'static str {
        CONTENTS
    }
}
