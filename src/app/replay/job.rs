//! `POST /replay`: rows of one lane, published again by the running service. One job at a time, over a
//! replica connection, a sink and a thread of its own, with one request to SNS in flight: the stream
//! goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Error, ReplayRequest, Watch, replay};
use crate::app::plan::{Plan, SinkPlan};
use crate::encode::Lane;
use crate::pack::RowRange;
use crate::platform;
use crate::sink::Permit;
use crate::snapshot::{AUDIENCE, is_audience};
use crate::telemetry::Metrics;
use crate::telemetry::http::ReplayRefused;
use crate::telemetry::status::{ReplayState, ReplayStatus};

/// Rows of one job at most: a longer gap is asked for in pieces.
const ROWS_MAX: u64 = 1_000_000;
/// Bytes that may wait for the sink.
const QUEUE_BYTES: usize = 4 << 20;
/// Time to deliver what is under way when the service stops.
const GRACE: Duration = Duration::from_secs(2);
/// How often the checkpoint is looked at until it has the rows, a second apart: it is saved behind what
/// was delivered.
const LOOKS_MAX: u32 = 15;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What is asked for; the JSON that `POST /replay` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    /// Key of the lane.
    pub(crate) lane: String,
    /// Epoch of the numbers.
    pub(crate) epoch: u64,
    /// Number of the first row.
    pub(crate) from: u64,
    /// Number of the last row.
    pub(crate) to: u64,
    /// Who it is for: value of the attribute `replay`.
    #[serde(rename = "for")]
    pub(crate) audience: String,
    /// When a row in front of them was committed, microseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since_us: Option<i64>,
    /// When a row behind them was committed, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_us: Option<i64>,
}

impl Command {
    fn request(&self, permit: Permit) -> ReplayRequest {
        let lane = self.lane.as_str().into();
        ReplayRequest {
            since_us: self.since_us,
            until_us: self.until_us,
            rows: vec![RowRange { lane, first: self.from, last: self.to }],
            tables: Vec::new(),
            topic: None,
            audience: Some(self.audience.clone()),
            dry_run: false,
            permit,
            pace: None,
            watch: Watch::default(),
        }
    }

    /// What is wrong with it by itself.
    fn wrong(&self) -> Option<String> {
        let Self { lane, from, to, audience, .. } = self;
        if Lane::table_of(lane).is_none() {
            let shown: String = lane.chars().take(80).collect();
            return Some(format!("lane: found {shown:?}, expected the form database.table#0"));
        }
        if *from == 0 || from > to {
            return Some(format!("from {from} to {to}: expected numbers from 1 on, in order"));
        }
        if to - from >= ROWS_MAX {
            return Some(format!("from {from} to {to}: {ROWS_MAX} rows at most; ask in pieces"));
        }
        (!is_audience(audience)).then(|| format!("for: expected {AUDIENCE}"))
    }
}

/// The newest job, and since when it is as it is.
#[derive(Debug)]
struct Job {
    status: ReplayStatus,
    changed: Instant,
    /// Not begun yet.
    is_waiting: bool,
    command: Command,
}

/// Where jobs are asked for and their status is shown.
#[derive(Debug, Default)]
pub(crate) struct ReplayHandle {
    job: Mutex<Option<Job>>,
    arrived: Notify,
}

impl ReplayHandle {
    /// Takes a job for a stream in this epoch. What will be done, or why nothing will be, in words.
    ///
    /// Checkpoint and log are looked at by the job: whether it found the rows shows in the status.
    pub(crate) fn command(&self, json: &str, epoch: u64) -> Result<String, ReplayRefused> {
        let command: Command = serde_json::from_str(json)
            .map_err(|error| ReplayRefused::Wrong(format!("no command for a replay: {error}")))?;
        if let Some(wrong) = command.wrong() {
            return Err(ReplayRefused::Wrong(wrong));
        }
        if epoch == 0 {
            let why = "the stream has not begun yet: ask again".to_owned();
            return Err(ReplayRefused::Busy(why));
        }
        if command.epoch != epoch {
            let found = command.epoch;
            let why = format!("the stream is in epoch {epoch}, not in {found}");
            return Err(ReplayRefused::Wrong(why));
        }
        let mut job = self.job();
        if let Some(running) = job.as_ref().filter(|job| job.status.state == ReplayState::Running) {
            let ReplayStatus { lane, from, to, .. } = &running.status;
            let why = format!("rows {from} to {to} of {lane} are still published: ask again");
            return Err(ReplayRefused::Busy(why));
        }
        let Command { lane, from, to, audience, .. } = &command;
        let words = format!("rows {from} to {to} of {lane} are published again for {audience}");
        let status = ReplayStatus {
            lane: lane.clone(),
            epoch,
            from: *from,
            to: *to,
            audience: audience.clone(),
            ..ReplayStatus::default()
        };
        *job = Some(Job { status, changed: platform::now(), is_waiting: true, command });
        drop(job);
        self.arrived.notify_one();
        Ok(words)
    }

    /// The newest job; `None`: there was none.
    pub(crate) fn status(&self) -> Option<ReplayStatus> {
        let job = self.job();
        let job = job.as_ref()?;
        Some(ReplayStatus {
            age_seconds: platform::since(job.changed).as_secs_f64(),
            ..job.status.clone()
        })
    }

    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that is asked for. Cancel safe.
    async fn next(&self) -> Command {
        loop {
            let notified = self.arrived.notified();
            if let Some(command) = self.take() {
                return command;
            }
            notified.await;
        }
    }

    fn take(&self) -> Option<Command> {
        let mut job = self.job();
        let job = job.as_mut().filter(|job| job.is_waiting)?;
        job.is_waiting = false;
        Some(job.command.clone())
    }

    fn ended(&self, ended: Ended) {
        if let Some(job) = self.job().as_mut() {
            let Ended { state, rows, told } = ended;
            (job.status.state, job.status.rows, job.status.told) = (state, rows, told);
            job.changed = platform::now();
        }
    }

    /// A job that was under way when its task broke is over.
    fn forget_broken(&self) {
        let is_broken = |job: &Job| job.status.state == ReplayState::Running && !job.is_waiting;
        if self.job().as_ref().is_some_and(is_broken) {
            let told = "the job broke off; see the log".to_owned();
            self.ended(Ended { state: ReplayState::Failed, rows: 0, told });
        }
    }
}

/// How a job ended.
struct Ended {
    state: ReplayState,
    rows: u64,
    told: String,
}

/// How jobs end, as a metric's label.
pub(crate) fn metric_outcomes() -> Vec<&'static str> {
    ReplayState::ENDS.map(ReplayState::as_str).to_vec()
}

/// Does what is asked for, one job after the other, until told to stop.
pub(crate) async fn run_jobs(
    plan: Arc<Plan>,
    control: Arc<ReplayHandle>,
    metrics: Arc<Metrics>,
    permit: Permit,
    stop: CancellationToken,
) {
    control.forget_broken();
    while let Some(command) = stop.run_until_cancelled(control.next()).await {
        let Command { lane, from, to, audience, .. } = &command;
        tracing::info!(lane, from, to, audience, "a replay begins");
        // On a thread of its own: what decodes the log for minutes takes no thread from the stream.
        let request = command.request(permit.clone());
        let (plan, stop) = (Arc::clone(&plan), stop.clone());
        let running = platform::computing(async move { run_job(&plan, request, &stop).await });
        let ended = running.await.unwrap_or_else(|error| {
            let told = format!("the job broke off: {error}");
            Ended { state: ReplayState::Failed, rows: 0, told }
        });
        let (outcome, rows, told) = (ended.state.as_str(), ended.rows, ended.told.as_str());
        if ended.state == ReplayState::Done {
            tracing::info!(lane, from, to, rows, "the replay is done");
        } else {
            tracing::warn!(lane, from, to, outcome, told, "the replay did not publish the rows");
        }
        metrics.replay_jobs_total.of(outcome).inc();
        control.ended(ended);
    }
}

async fn run_job(plan: &Plan, request: ReplayRequest, stop: &CancellationToken) -> Ended {
    let mut looks = 1;
    loop {
        let done = Box::pin(replay(bounded(plan), request.clone(), stop)).await;
        let (state, rows, told) = match done {
            Ok(report) if report.is_interrupted => {
                (ReplayState::Interrupted, 0, "the service stopped".to_owned())
            }
            Ok(report) => (ReplayState::Done, report.rows, String::new()),
            Err(Error::NotPublished { .. }) if looks < LOOKS_MAX && !stop.is_cancelled() => {
                looks += 1;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LOOK_PAUSE) => {}
                }
                continue;
            }
            Err(error) => (state_of(&error), 0, error.to_string()),
        };
        return Ended { state, rows, told };
    }
}

/// The service's plan, with less of everything that the stream needs too.
pub(crate) fn bounded(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    if let SinkPlan::Sns { in_flight_max, .. } = &mut plan.sink {
        *in_flight_max = 1;
    }
    plan.queue_bytes = plan.queue_bytes.min(QUEUE_BYTES);
    plan.grace = plan.grace.min(GRACE);
    plan
}

/// Whether asking again may help.
fn state_of(error: &Error) -> ReplayState {
    match error {
        Error::NoLane { .. }
        | Error::NotPublished { .. }
        | Error::NotInLog { .. }
        | Error::NotBegun { .. }
        | Error::OtherLanes { .. }
        | Error::OtherServer { .. }
        | Error::RowCountMismatch { .. }
        | Error::Suppressed { .. }
        | Error::Controls(_)
        | Error::Filters(_)
        | Error::FiltersForgotten { .. }
        | Error::Topic(_) => ReplayState::Refused,
        Error::Checkpoint(_)
        | Error::Source { .. }
        | Error::Sink(_)
        | Error::Broken(_)
        | Error::Unavailable(_) => ReplayState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(from: u64, to: u64) -> Command {
        Command {
            lane: "shop.orders#0".to_owned(),
            epoch: 7,
            from,
            to,
            audience: "test".to_owned(),
            since_us: None,
            until_us: Some(5),
        }
    }

    fn json(command: &Command) -> String {
        serde_json::to_string(command).expect("JSON")
    }

    #[tokio::test]
    async fn one_job_is_taken_at_a_time_and_told_until_it_is_over() {
        let control = ReplayHandle::default();
        assert_eq!(control.status(), None);
        let first = command(812, 815);
        let words = "rows 812 to 815 of shop.orders#0 are published again for test";
        assert_eq!(control.command(&json(&first), 7), Ok(words.to_owned()));
        // Neither while it waits nor while it runs is another one taken.
        let busy = "rows 812 to 815 of shop.orders#0 are still published: ask again".to_owned();
        let busy = Err(ReplayRefused::Busy(busy));
        assert_eq!(control.command(&json(&first), 7), busy);
        assert_eq!(control.next().await, first);
        assert_eq!(control.command(&json(&command(1, 2)), 7), busy);
        let state = || control.status().map(|status| (status.state, status.rows));
        assert_eq!(state(), Some((ReplayState::Running, 0)));
        control.ended(Ended { state: ReplayState::Done, rows: 4, told: String::new() });
        assert_eq!(state(), Some((ReplayState::Done, 4)));
        assert!(control.command(&json(&command(1, 2)), 7).is_ok());
        // A task that broke and begins again does what waits, and gives up what was under way.
        control.forget_broken();
        assert_eq!(control.next().await, command(1, 2));
        control.forget_broken();
        assert_eq!(state(), Some((ReplayState::Failed, 0)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_words() {
        let control = ReplayHandle::default();
        let refused = |json: &str, epoch| match control.command(json, epoch) {
            Err(ReplayRefused::Busy(why) | ReplayRefused::Wrong(why)) => why,
            Ok(words) => panic!("{words}"),
        };
        assert!(refused("{", 7).contains("no command for a replay"));
        let unknown = json(&command(1, 2)).replace("\"from\"", "\"form\"");
        assert!(refused(&unknown, 7).contains("unknown field"));
        assert!(refused(&json(&command(1, 2)), 0).contains("has not begun"));
        let words = refused(&json(&command(1, 2)), 8);
        assert_eq!(words, "the stream is in epoch 8, not in 7");
        for (from, to) in [(0, 1), (2, 1), (1, ROWS_MAX + 1), (1, u64::MAX)] {
            assert!(
                refused(&json(&command(from, to)), 7).contains("expected numbers")
                    || refused(&json(&command(from, to)), 7).contains("rows at most")
            );
        }
        for lane in ["!schema", "orders", "", "shop.orders#x"] {
            let command = Command { lane: lane.to_owned(), ..command(1, 1) };
            assert!(refused(&json(&command), 7).contains("database.table#0"), "{lane}");
        }
        for audience in [String::new(), "a".repeat(65)] {
            assert!(refused(&json(&Command { audience, ..command(1, 1) }), 7).contains("for:"));
        }
        assert_eq!(control.status(), None);
        assert!(control.command(&json(&command(1, ROWS_MAX)), 7).is_ok());
    }
}
