//! Attempts: which request is tried when, and what an answer means for it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::body::{Bodies, RowRef};
use crate::lane::LaneKey;
use crate::lanes::requests::Run;
use crate::metrics::Metrics;
use crate::state::Parked;
use crate::target::breaker::{Admission, Breaker, Permit};
use crate::target::receiver::Receive;
use crate::target::retry::{FailedAttempt, Next, Retry};
use crate::target::{Outcome, Request};

/// A probe that is not answered for so long is taken for lost.
const PROBE_EXPIRY: Duration = Duration::from_mins(2);
/// A wake-up that nobody asked for.
const FAR: Duration = Duration::from_hours(1);

/// A request on its way.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) what: What,
    /// Attempts that failed and count.
    pub(super) attempts: u32,
    /// Written before the first attempt.
    pub(super) request: Option<Arc<Request>>,
}

/// What a request is made of.
#[derive(Debug)]
pub(crate) enum What {
    Rows {
        lane: LaneKey,
        run: Run<RowRef>,
    },
    Canary {
        message: u64,
    },
    /// Parked rows that an operator wants to be tried again.
    Parked {
        lane: LaneKey,
        parked: Box<Parked>,
    },
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// It will be tried again: failed attempts are to be saved.
    Again {
        attempts: u32,
    },
    /// It had all its attempts, or can't be sent at all.
    Park {
        attempts: u32,
        answer: String,
        is_refused: bool,
    },
    /// The receiver said that it is gone.
    Gone {
        answer: String,
    },
}

/// An answered request.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) task: Task,
    pub(super) verdict: Verdict,
}

/// What a call brought.
struct Called {
    tasks: Vec<Task>,
    outcomes: Vec<Outcome>,
    permit: Permit,
    took: Duration,
}

/// All requests that are on their way.
pub(super) struct Deliveries<R> {
    receiver: Arc<R>,
    bodies: Arc<Bodies>,
    metrics: Arc<Metrics>,
    retry: Retry,
    breaker: Breaker,
    concurrency: usize,
    ready: VecDeque<Task>,
    waiting: HashMap<u64, Task>,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    numbers: u64,
    calls: JoinSet<Called>,
    /// The receiver said that it is gone: nothing is sent until an operator restarts the route.
    pub(super) gone: Option<String>,
    /// The last failure, for people.
    pub(super) last_failure: Option<String>,
    answered: VecDeque<Finished>,
}

impl<R: Receive> Deliveries<R> {
    pub(super) fn new(
        receiver: Arc<R>,
        bodies: Arc<Bodies>,
        metrics: Arc<Metrics>,
        retry: Retry,
        concurrency: usize,
    ) -> Self {
        Self {
            receiver,
            bodies,
            metrics,
            retry,
            breaker: Breaker::new(PROBE_EXPIRY),
            concurrency,
            ready: VecDeque::new(),
            waiting: HashMap::new(),
            due: BinaryHeap::new(),
            numbers: 0,
            calls: JoinSet::new(),
            gone: None,
            last_failure: None,
            answered: VecDeque::new(),
        }
    }

    /// Requests that are begun.
    pub(super) fn len(&self) -> usize {
        // What is in calls is at most the concurrency times the batch.
        self.ready.len() + self.waiting.len() + self.calls.len() * self.receiver.batch_max()
    }

    /// A request that may be sent: what it is made of is saved.
    pub(super) fn push(&mut self, task: Task) {
        self.ready.push_back(task);
    }

    /// Whether the breaker keeps requests back.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Sends what may go now; returns when to look again.
    pub(super) fn dispatch(&mut self) -> Instant {
        let now = Instant::now();
        while let Some(Reverse((at, number))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            self.ready.extend(self.waiting.remove(&number));
        }
        while self.gone.is_none() && self.calls.len() < self.concurrency && !self.ready.is_empty() {
            match self.breaker.admit(now.into_std()) {
                Admission::Wait { until } => return Instant::from_std(until),
                Admission::Go(permit) => self.call(permit),
            }
        }
        self.due.peek().map_or(now + FAR, |Reverse((at, _))| *at)
    }

    fn call(&mut self, permit: Permit) {
        let most = if permit.is_probe() { 1 } else { self.receiver.batch_max() };
        let count = most.min(self.ready.len());
        let mut tasks: Vec<Task> = self.ready.drain(..count).collect();
        let (receiver, bodies) = (Arc::clone(&self.receiver), Arc::clone(&self.bodies));
        self.calls.spawn(async move {
            let requests: Vec<Request> =
                tasks.iter_mut().map(|task| Request::clone(&request(task, &bodies))).collect();
            let began = Instant::now();
            let outcomes = receiver.deliver(&requests).await;
            Called { tasks, outcomes, permit, took: began.elapsed() }
        });
    }

    /// The next answered request. Never ends where none is under way.
    pub(super) async fn finished(&mut self) -> Finished {
        loop {
            if let Some(finished) = self.answered.pop_front() {
                return finished;
            }
            match self.calls.join_next().await {
                Some(Ok(called)) => self.called(called),
                // A task is neither cancelled nor does it panic; without its answer its rows come again.
                Some(Err(error)) => tracing::error!(%error, "an attempt ended without an answer"),
                None => std::future::pending().await,
            }
        }
    }

    /// Answers that are there already.
    pub(super) fn finished_now(&mut self) -> Option<Finished> {
        while self.answered.is_empty() {
            match self.calls.try_join_next()? {
                Ok(called) => self.called(called),
                Err(error) => tracing::error!(%error, "an attempt ended without an answer"),
            }
        }
        self.answered.pop_front()
    }

    fn called(&mut self, called: Called) {
        let Called { tasks, outcomes, permit, took } = called;
        let is_probe = permit.is_probe();
        self.metrics.attempt_seconds.observe(took.as_secs_f64());
        let outage = |outcome: &Outcome| match outcome {
            Outcome::Failed { is_outage: true, retry_after, .. } => Some(*retry_after),
            Outcome::Failed { .. }
            | Outcome::Delivered
            | Outcome::Gone { .. }
            | Outcome::Refused { .. } => None,
        };
        let outages: Option<Vec<_>> = outcomes.iter().map(outage).collect();
        match outages {
            Some(asked) => {
                let asked = asked.into_iter().flatten().max();
                let now = Instant::now().into_std();
                self.breaker.failed(permit, asked, now, super::random());
            }
            None => self.breaker.answered(permit),
        }
        for (task, outcome) in tasks.into_iter().zip(outcomes) {
            let finished = self.answer(task, outcome, is_probe);
            self.answered.push_back(finished);
        }
    }

    fn answer(&mut self, mut task: Task, outcome: Outcome, is_probe: bool) -> Finished {
        let count = |outcome| self.metrics.attempts.with_label_values(&[outcome]).inc();
        let verdict = match outcome {
            Outcome::Delivered => {
                count("delivered");
                self.last_failure = None;
                Verdict::Delivered
            }
            Outcome::Gone { answer } => {
                count("gone");
                self.gone = Some(answer.clone());
                self.ready.push_front(task);
                // The route tells of it; the request stays.
                return Finished { task: Task::none(), verdict: Verdict::Gone { answer } };
            }
            Outcome::Refused { answer } => {
                count("refused");
                Verdict::Park { attempts: task.attempts + 1, answer, is_refused: true }
            }
            Outcome::Failed { answer, retry_after, is_outage } => {
                count(if is_outage { "outage" } else { "failed" });
                self.last_failure = Some(answer.clone());
                if matches!(task.what, What::Canary { .. }) {
                    // A canary tells how things stand now: the next one does that better than a late one.
                    let attempts = task.attempts + 1;
                    let verdict = Verdict::Park { attempts, answer, is_refused: false };
                    return Finished { task, verdict };
                }
                let is_probe = is_probe && is_outage;
                let failed = FailedAttempt { attempts: task.attempts, is_probe, retry_after };
                match self.retry.after(failed, super::random()) {
                    Next::Park { attempts } => {
                        Verdict::Park { attempts, answer, is_refused: false }
                    }
                    Next::Again { pause, attempts } => {
                        task.attempts = attempts;
                        return self.again(task, pause, attempts);
                    }
                }
            }
        };
        Finished { task, verdict }
    }

    fn again(&mut self, task: Task, pause: Duration, attempts: u32) -> Finished {
        let copy = Task { what: task.what.clone_without_rows(), attempts, request: None };
        self.numbers += 1;
        self.due.push(Reverse((Instant::now() + pause, self.numbers)));
        self.waiting.insert(self.numbers, task);
        Finished { task: copy, verdict: Verdict::Again { attempts } }
    }

    /// Forgets requests of a lane that is another process's now.
    pub(super) fn forget(&mut self, lane: &LaneKey) {
        let is_other = |task: &Task| match &task.what {
            What::Rows { lane: of, .. } | What::Parked { lane: of, .. } => of != lane,
            What::Canary { .. } => true,
        };
        self.ready.retain(is_other);
        self.waiting.retain(|_, task| is_other(task));
    }

    /// Ends all calls after `grace`.
    pub(super) async fn end(&mut self, grace: Duration) -> Vec<Finished> {
        let mut all = Vec::new();
        let deadline = Instant::now() + grace;
        while !self.calls.is_empty() {
            tokio::select! {
                biased;
                finished = self.finished() => all.push(finished),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        all.extend(std::mem::take(&mut self.answered));
        self.calls.shutdown().await;
        all
    }
}

impl Task {
    /// Stands for no request.
    fn none() -> Self {
        Self { what: What::Canary { message: u64::MAX }, attempts: 0, request: None }
    }
}

impl What {
    /// Rows in it.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Rows { run, .. } => run.rows.len() as u64,
            Self::Canary { .. } | Self::Parked { .. } => 0,
        }
    }

    /// Enough to name the request.
    fn clone_without_rows(&self) -> Self {
        match self {
            Self::Canary { message } => Self::Canary { message: *message },
            Self::Parked { lane, parked } => {
                let parked = Box::new(Parked { body: Vec::new(), ..Parked::clone(parked) });
                Self::Parked { lane: lane.clone(), parked }
            }
            Self::Rows { lane, run } => {
                let run = Run { rows: Vec::new(), ..*run };
                Self::Rows { lane: lane.clone(), run }
            }
        }
    }
}

/// The request of a task, written now if it was not.
pub(super) fn request(task: &mut Task, bodies: &Bodies) -> Arc<Request> {
    if let Some(request) = &task.request {
        return Arc::clone(request);
    }
    let request = match &task.what {
        What::Rows { lane, run } => bodies.request(lane, run),
        What::Parked { lane, parked } => crate::body::again(lane, parked),
        // A canary is written when it arrives.
        What::Canary { .. } => {
            crate::body::canary("", 0, &binpulse_client::proto::Canary::default())
        }
    };
    let request = Arc::new(request);
    task.request = Some(Arc::clone(&request));
    request
}
