//! The relay as a program: a queue, a target, a state, and pages about them.

mod check;
mod fetch;
mod heal;
mod parked;
mod plan;
mod redrive;
mod told;

use std::sync::Arc;
use std::time::Duration;

use binpulse_relay::metrics::Metrics;
use binpulse_relay::queue::Queue;
use binpulse_relay::route::{self, CopyParts, Halt, LaneStore, MemoryStore, Parts, Status};
use binpulse_relay::state::{StateError, Store};
use binpulse_relay::target::copy::{self, Copy};
use binpulse_relay::target::receiver::{Null, Receive, Stdout};
use binpulse_relay::target::sns::{self, Sns};
use binpulse_relay::target::sqs::{self, Sqs};
use binpulse_relay::target::webhook::Webhook;
use tokio_util::sync::CancellationToken;

pub use check::check;
pub use parked::HEADER as PARKED_HEADER;
pub use plan::RelayPlan;
pub use redrive::{RedrivePlan, Redriven, redrive};

use self::plan::Target;
pub(super) use self::plan::with_account;
use super::{HttpPlan, Outcome, Unavailable};
use crate::aws;
use crate::shutdown::{Drained, TaskGroup, drain};
use crate::telemetry::Http;
use crate::telemetry::http::{Answer, Caller, Handler, HeaderMap, admit};
use crate::telemetry::metrics;

/// Time for the tasks to end.
const GRACE: Duration = Duration::from_secs(8);

/// Deadlines of calls to SQS: a long poll takes up to 20 s.
const SQS: aws::Deadlines = aws::Deadlines {
    connect: Duration::from_secs(3),
    read: Duration::from_secs(26),
    operation: Duration::from_secs(28),
};

/// A loop that has not told of itself for so long is stuck.
const STUCK: Duration = Duration::from_mins(1);

const CONTENTS: &str = "not found; available:\n\n/metrics  Prometheus metrics\n/healthz  whether \
                        the relay's own loop runs\n/status   how the route stands, JSON\n/parked   what is parked; by POST: see `binpulse relay parked`\n/runbooks/<alert>  what an alert means, and what to do\n";

/// Delivers until `stop` is cancelled.
pub async fn relay(plan: RelayPlan, stop: CancellationToken) -> Outcome {
    match Box::pin(open_and_run(plan, stop)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!("{error:#}");
            Outcome::Unavailable
        }
    }
}

/// Every series that a relay of this route exports, as of the first scrape.
#[cfg(feature = "testing")]
pub fn exported_by_relay(route: &str) -> Result<String, metrics::Error> {
    page(&Metrics::new(route)?)
}

/// The route's metrics, and those that every program of ours has.
fn page(metrics: &Metrics) -> Result<String, metrics::Error> {
    Ok(metrics.text()? + &metrics::process_page()?)
}

async fn open_and_run(plan: RelayPlan, stop: CancellationToken) -> Result<Outcome, Unavailable> {
    let shared =
        aws::Shared::load(&aws::Config { region: plan.region.clone(), profile: None }).await?;
    let queue =
        open_queue(&shared, plan.endpoint_url.as_deref(), &plan.queue, plan.route.visibility);
    let metrics = Arc::new(Metrics::new(&plan.route.name)?);
    let status = Arc::new(Status::default());
    let pages = Endpoints { metrics: Arc::clone(&metrics), status: Arc::clone(&status) };
    let HttpPlan { address, access, .. } = plan.http.clone();
    let bound = Http::bind(address, pages, access).await;
    let http =
        bound.map_err(|error| format!("relay.listen: can't listen on {address}: {error}"))?;
    let serving = TaskGroup::new("http");
    serving.tasks.spawn(http.run(serving.stop.clone()));
    let common = Common { shared, queue, metrics, status };
    let ended = Box::pin(deliver(plan, common, stop)).await?;
    let drained = drain(&[serving], GRACE).await;
    Ok(match (ended, drained) {
        (Err(halt), _) => {
            tracing::error!("{halt}");
            Outcome::NeedsOperator
        }
        (Ok(()), Drained::Fully) => Outcome::Stopped,
        (Ok(()), Drained::Until(_)) => Outcome::StoppedInHaste,
    })
}

/// A queue that is read.
pub(super) fn open_queue(
    shared: &aws::Shared,
    endpoint_url: Option<&str>,
    url: &str,
    visibility: Duration,
) -> Queue {
    let region = aws::region_of_queue(url).or(shared.region());
    let client = aws_sdk_sqs::Client::new(&shared.service(endpoint_url, region, SQS));
    Queue::new(client, url, visibility)
}

/// What every target needs.
struct Common {
    shared: aws::Shared,
    queue: Queue,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
}

async fn deliver(
    plan: RelayPlan,
    common: Common,
    stop: CancellationToken,
) -> Result<Result<(), Halt>, Unavailable> {
    match plan.target.clone() {
        Target::Webhook(config) => {
            let webhook = Webhook::new(*config).map_err(|error| error.to_string())?;
            with_state(plan, common, Arc::new(webhook), stop).await
        }
        Target::Copy(config) => copy(plan, config, common, stop).await,
        Target::Sqs(url) => {
            let region = aws::region_of_queue(&url).map(str::to_owned);
            let sdk = plan.service(&common.shared, region.as_deref());
            let client = aws_sdk_sqs::Client::new(&sdk);
            let sqs = Sqs::new(client, url, sqs::MESSAGE_BYTES_DEFAULT, plan.timeout);
            with_state(plan, common, Arc::new(sqs), stop).await
        }
        Target::Sns(arn) => {
            let region = arn.split(':').nth(3).map(str::to_owned);
            let sdk = plan.service(&common.shared, region.as_deref());
            let client = aws_sdk_sns::Client::new(&sdk);
            let sns = Sns::new(client, arn, sns::MESSAGE_BYTES_DEFAULT, plan.timeout);
            with_state(plan, common, Arc::new(sns), stop).await
        }
        Target::Stdout => with_state(plan, common, Arc::new(Stdout), stop).await,
        Target::Null => with_state(plan, common, Arc::new(Null), stop).await,
    }
}

/// With the state that the settings name, or, for targets that only show rows, with none.
async fn with_state<R: Receive>(
    plan: RelayPlan,
    common: Common,
    receiver: Arc<R>,
    stop: CancellationToken,
) -> Result<Result<(), Halt>, Unavailable> {
    match &plan.state {
        None => run(plan, common, receiver, MemoryStore::default(), stop).await,
        Some(url) => {
            let store =
                Store::open(url, &plan.route.name).await.map_err(|error| refused(&error))?;
            run(plan, common, receiver, store, stop).await
        }
    }
}

async fn run<R: Receive, S: LaneStore>(
    plan: RelayPlan,
    common: Common,
    receiver: Arc<R>,
    store: S,
    stop: CancellationToken,
) -> Result<Result<(), Halt>, Unavailable> {
    let (fetch, heal) = (objects(&plan, &common.shared), healer(&plan));
    tracing::info!(
        route = plan.route.name,
        queue = plan.queue,
        target = receiver.place(),
        "the relay delivers"
    );
    let parts = Parts {
        config: plan.route,
        queue: common.queue,
        receiver,
        store,
        fetch,
        heal,
        metrics: common.metrics,
        status: common.status,
    };
    Ok(route::run(parts, stop).await)
}

/// A copy keeps its numbers itself; the state is for what it can't take.
async fn copy(
    plan: RelayPlan,
    config: copy::Config,
    common: Common,
    stop: CancellationToken,
) -> Result<Result<(), Halt>, Unavailable> {
    let mut copies = Vec::new();
    for _ in 0..plan.copies {
        copies.push(Copy::open(config.clone()).await.map_err(|error| error.to_string())?);
    }
    let store = match &plan.state {
        Some(url) => {
            let store = Store::open(url, &plan.route.name).await;
            Some(store.map_err(|error| refused(&error))?)
        }
        None => None,
    };
    let parts = CopyParts {
        fetch: objects(&plan, &common.shared),
        heal: healer(&plan),
        config: plan.route,
        queue: common.queue,
        copies,
        store,
        metrics: common.metrics,
        status: common.status,
    };
    tracing::info!(queue = plan.queue, "the relay keeps a copy");
    Ok(route::run_copy(parts, stop).await)
}

fn objects(plan: &RelayPlan, shared: &aws::Shared) -> Arc<dyn route::Fetch> {
    Arc::new(fetch::Objects::new(shared, plan.object_endpoint_url.as_deref()))
}

fn healer(plan: &RelayPlan) -> Option<Arc<dyn route::Heal>> {
    let streamer = plan.streamer.clone()?;
    Some(Arc::new(heal::Streamer::new(streamer, &plan.route.name)))
}

fn refused(error: &StateError) -> Unavailable {
    error.to_string().into()
}

struct Endpoints {
    metrics: Arc<Metrics>,
    status: Arc<Status>,
}

impl Handler for Endpoints {
    fn answer(&self, path: &str) -> Option<Answer> {
        match path {
            "/metrics" => Some(Answer::metrics(page(&self.metrics))),
            "/healthz" => {
                let age = self.status.age();
                let stuck = (age > STUCK).then(|| format!("the route's loop stands since {age:?}"));
                Some(Answer::health(stuck, "the relay runs\n".to_owned()))
            }
            "/status" => Some(Answer::json(&self.status.view())),
            "/parked" => Some(Answer::json(&parked::list(&self.status.parked()))),
            _ => {
                let Some(id) = path.strip_prefix("/parked/") else {
                    return Answer::runbook(path, &|_| told::state(&self.status.view()));
                };
                let entries = self.status.parked();
                let entry = entries.into_iter().find(|entry| entry.parked.id == id)?;
                Some(Answer::json(&parked::whole(&entry)))
            }
        }
    }

    fn act(&self, path: &str, headers: &HeaderMap, caller: Caller) -> Option<Answer> {
        let act = || parked::act(headers, &self.status);
        let admitted = || admit(headers, caller.peer, "relay parked");
        (path == "/parked").then(|| Answer::told(admitted().and_then(|()| act())))
    }

    fn contents(&self) -> &'static str {
        CONTENTS
    }
}
