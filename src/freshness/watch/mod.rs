//! The verdict's loop, on an operating system thread of its own: it judges also when everything
//! else hangs.
//!
//! ```text
//! tasks -> Reporter -> (queue) -> thread: tick, drain, judge, plan -> View -> metrics, /status
//!                                                              |
//!                                                              +-> due_probes: probes and polls
//! ```

mod active_probe;
mod background_probe;
mod families;
mod purge;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::verdict::{Condition, Evaluator, Parameters, Reason, State, Status, Verdict};
use super::{Clocks, Observation, Watermark, WatermarkProvider};
use crate::telemetry::LoopTicker;

pub(crate) use active_probe::{ActiveProbe, Asked};
pub(crate) use background_probe::{BackgroundProbe, SettingsReview, Spacing};
pub(crate) use families::families;
pub(crate) use purge::{PurgeMargin, purge_families};

/// Where tasks report to. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub(crate) struct Reporter(Sender<(Instant, Observation)>);

impl Reporter {
    /// Reports what was observed just now.
    pub(crate) fn report(&self, observation: Observation) {
        self.report_at(Instant::now(), observation);
    }

    /// Reports what was observed at `at`.
    pub(crate) fn report_at(&self, at: Instant, observation: Observation) {
        // The loop ends last; what is reported after it concerns nobody.
        drop(self.0.send((at, observation)));
    }
}

/// What the loop concluded last.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) verdict: Verdict,
    /// The conditions that `live` and `quiet` need.
    pub(crate) needed: Vec<Condition>,
    pub(crate) transitions: Vec<(State, State, u64)>,
    pub(crate) obligation_ages: Vec<(&'static str, Duration)>,
    pub(crate) unaccounted: u64,
    pub(crate) self_pauses: u64,
}

impl View {
    /// The value of a condition.
    pub(crate) fn status(&self, wanted: Condition) -> Status {
        let found = self.verdict.conditions.iter().find(|(condition, _)| *condition == wanted);
        found.map_or(Status::Unknown, |(_, known)| known.status)
    }
}

/// Shared by the loop, which writes, and whoever reads.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<View>>);

impl Shared {
    /// As of the start.
    pub(crate) fn new(evaluator: &Evaluator, now: Instant) -> Self {
        Self(Arc::new(Mutex::new(view_of(evaluator, now))))
    }

    /// A copy of the last conclusion.
    pub(crate) fn read(&self) -> View {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What canaries carry of it.
    pub(crate) fn watermark(&self) -> WatermarkProvider {
        let view = self.clone();
        WatermarkProvider::new(move || {
            let verdict = view.read().verdict;
            let (state, certificate) = (verdict.state, verdict.certificate);
            Watermark::of(state, verdict.evaluated_at, certificate, Instant::now())
        })
    }

    fn set(&self, view: View) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

/// The loop, running.
pub(crate) struct Watch {
    pub(crate) view: Shared,
    /// The last look that was asked for.
    pub(crate) due_probes: watch::Receiver<Asked>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Both ends of the queue of observations.
pub(crate) fn queue() -> (Reporter, Receiver<(Instant, Observation)>) {
    let (sender, receiver) = channel();
    (Reporter(sender), receiver)
}

impl Watch {
    /// Starts the thread.
    pub(crate) fn start(
        parameters: Parameters,
        observations: Receiver<(Instant, Observation)>,
        ticker: LoopTicker,
    ) -> std::io::Result<Self> {
        let tick = parameters.tick;
        let evaluator = Evaluator::new(parameters, Instant::now());
        let view = Shared::new(&evaluator, Instant::now());
        let (asked, due_probes) = watch::channel(Asked::default());
        let stop = CancellationToken::new();
        let (shared, stopped) = (view.clone(), stop.clone());
        let thread = thread::Builder::new().name("verdict".to_owned()).spawn(move || {
            run(evaluator, tick, &observations, &shared, &asked, &stopped, &ticker);
        })?;
        Ok(Self { view, due_probes, stop, thread: Some(thread) })
    }

    /// Ends the thread and waits for it: one tick at most.
    pub(crate) fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the verdict's loop has panicked");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn run(
    mut evaluator: Evaluator,
    tick: Duration,
    observations: &Receiver<(Instant, Observation)>,
    view: &Shared,
    due_probes: &watch::Sender<Asked>,
    stop: &CancellationToken,
    ticker: &LoopTicker,
) {
    let mut shown = (evaluator.verdict().state, false);
    while !stop.is_cancelled() {
        let next = Instant::now() + tick;
        evaluator.observe(Instant::now(), Observation::Tick(clocks()));
        for (at, observation) in observations.try_iter() {
            evaluator.observe(at, observation);
        }
        let now = Instant::now();
        evaluator.evaluate(now);
        let due = evaluator.plan(now);
        if due.probe {
            due_probes.send_replace(Asked { on_suspicion: due.on_suspicion });
        }
        view.set(view_of(&evaluator, now));
        let verdict = evaluator.verdict();
        let now_shown = (verdict.state, verdict.is_recovering);
        if now_shown != shown {
            announce(shown.0, verdict);
            shown = now_shown;
        }
        ticker.tick();
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn announce(before: State, verdict: &Verdict) {
    let (state, hop) = (verdict.state.name(), verdict.hop.name());
    let reason = verdict.reason.as_ref().map(Reason::name);
    let (was, sentence) = (before.name(), verdict.sentence.as_str());
    if verdict.state.is_healthy() || verdict.is_recovering {
        tracing::info!(state, was, sentence, "verdict");
    } else {
        let next = &*verdict.next_step;
        tracing::warn!(state, reason, was, hop, sentence, next, "verdict");
    }
}

fn view_of(evaluator: &Evaluator, now: Instant) -> View {
    View {
        verdict: evaluator.verdict().clone(),
        needed: evaluator.needed().collect(),
        transitions: evaluator.transitions().collect(),
        obligation_ages: evaluator.obligation_ages(now).collect(),
        unaccounted: evaluator.unaccounted_total(),
        self_pauses: evaluator.self_pauses(),
    }
}

/// The clocks beside the monotonic one. Time since boot comes from the kernel as text, in hundredths
/// of a second; without it the monotonic clock's own gaps still tell.
fn clocks() -> Clocks {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    let boot = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Clocks {
        boot: boot.unwrap_or_default(),
        real: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}
