//! Attempts: which request is tried when, and what an answer means for it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::body::{Bodies, RowRef};
use crate::clock::random;
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
        request: Arc<Request>,
    },
    /// A message of an outbox.
    Outbox {
        message: u64,
        request: Arc<Request>,
        /// When it entered the queue, microseconds since 1970 UTC.
        sent_at_us: Option<i64>,
    },
    /// Parked rows that an operator wants to be tried again.
    Parked {
        lane: LaneKey,
        parked: Box<Parked>,
    },
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Finished {
    Delivered(Task),
    /// It had all its attempts, or can't be sent at all.
    GivenUp {
        task: Task,
        attempts: u32,
        answer: String,
        is_refused: bool,
    },
    /// It will be tried again: failed attempts of these rows are to be saved.
    Again {
        lane: LaneKey,
        run: u64,
        attempts: u32,
    },
    /// It will be tried again, and nothing is to be saved.
    Kept,
    /// The attempt's task panicked: its rows would be under way for ever.
    Broken(String),
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

    /// Whether requests are being sent, or would be if the receiver worked.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty() || !self.calls.is_empty() || self.is_open() || self.gone.is_some()
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
            let outcomes = deliver(&*receiver, &requests).await;
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
                Some(Err(error)) => return Finished::Broken(error.to_string()),
                None => std::future::pending().await,
            }
        }
    }

    /// Answers that are there already.
    pub(super) fn finished_now(&mut self) -> Option<Finished> {
        while self.answered.is_empty() {
            match self.calls.try_join_next()? {
                Ok(called) => self.called(called),
                Err(error) => return Some(Finished::Broken(error.to_string())),
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
                self.breaker.failed(permit, asked, now, random());
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
        match outcome {
            Outcome::Delivered => {
                count("delivered");
                self.last_failure = None;
                Finished::Delivered(task)
            }
            Outcome::Gone { answer } => {
                count("gone");
                tracing::error!(
                    answer,
                    "the target says that it is gone: nothing more is sent; restart the relay to try again"
                );
                self.gone = Some(answer);
                self.ready.push_front(task);
                Finished::Kept
            }
            Outcome::Refused { answer } => {
                count("refused");
                let attempts = task.attempts + 1;
                Finished::GivenUp { task, attempts, answer, is_refused: true }
            }
            Outcome::Failed { answer, retry_after, is_outage } => {
                count(if is_outage { "outage" } else { "failed" });
                self.last_failure = Some(answer.clone());
                if matches!(task.what, What::Canary { .. }) {
                    // A canary tells how things stand now: the next one does that better than a late one.
                    let attempts = task.attempts + 1;
                    return Finished::GivenUp { task, attempts, answer, is_refused: false };
                }
                let is_probe = is_probe && is_outage;
                let failed = FailedAttempt { attempts: task.attempts, is_probe, retry_after };
                match self.retry.after(failed, random()) {
                    Next::Park { attempts } => {
                        Finished::GivenUp { task, attempts, answer, is_refused: false }
                    }
                    Next::Again { pause, attempts } => {
                        task.attempts = attempts;
                        self.again(task, pause)
                    }
                }
            }
        }
    }

    fn again(&mut self, task: Task, pause: Duration) -> Finished {
        let finished = match &task.what {
            What::Rows { lane, run } => {
                let (lane, run, attempts) = (lane.clone(), run.number, task.attempts);
                Finished::Again { lane, run, attempts }
            }
            What::Canary { .. } | What::Outbox { .. } | What::Parked { .. } => Finished::Kept,
        };
        self.numbers += 1;
        self.due.push(Reverse((Instant::now() + pause, self.numbers)));
        self.waiting.insert(self.numbers, task);
        finished
    }

    /// Forgets requests of a lane that is another process's now.
    pub(super) fn forget(&mut self, lane: &LaneKey) {
        self.ready.retain(|task| !task.is_of(lane));
        self.waiting.retain(|_, task| !task.is_of(lane));
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

/// One attempt at each request, and at what follows it once it has arrived.
pub(super) async fn deliver<R: Receive>(receiver: &R, requests: &[Request]) -> Vec<Outcome> {
    let mut outcomes = receiver.deliver(requests).await;
    let follow = |(at, request): (usize, &Request)| {
        let has_arrived = outcomes.get(at) == Some(&Outcome::Delivered);
        let then = request.then.as_deref().filter(|_| has_arrived)?;
        Some((at, then.clone()))
    };
    let (places, then): (Vec<_>, Vec<_>) = requests.iter().enumerate().filter_map(follow).unzip();
    if !then.is_empty() {
        for (at, outcome) in places.into_iter().zip(receiver.deliver(&then).await) {
            if let Some(place) = outcomes.get_mut(at) {
                *place = outcome;
            }
        }
    }
    outcomes
}

impl Task {
    /// Whether it has rows of this lane.
    pub(super) fn is_of(&self, lane: &LaneKey) -> bool {
        match &self.what {
            What::Rows { lane: of, .. } | What::Parked { lane: of, .. } => of == lane,
            What::Canary { .. } | What::Outbox { .. } => false,
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
        // It is written when it arrives.
        What::Canary { request, .. } | What::Outbox { request, .. } => return Arc::clone(request),
    };
    let request = Arc::new(request);
    task.request = Some(Arc::clone(&request));
    request
}
