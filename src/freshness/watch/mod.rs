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
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::verdict::{Condition, Evaluator, Parameters, Reason, State, Status, Verdict};
use super::{Clocks, Observation, Watermark, WatermarkProvider};
use crate::platform::{self, Ticking};
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
        self.report_at(platform::now(), observation);
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
            Watermark::of(state, verdict.evaluated_at, certificate, platform::now())
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
    thread: Option<Ticking>,
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
        let evaluator = Evaluator::new(parameters, platform::now());
        let view = Shared::new(&evaluator, platform::now());
        let (asked, due_probes) = watch::channel(Asked::default());
        let stop = CancellationToken::new();
        let (shared, stopped) = (view.clone(), stop.clone());
        let shown = (evaluator.verdict().state, false);
        let mut evaluation =
            Evaluation { evaluator, tick, observations, view: shared, due_probes: asked, shown };
        let thread = Ticking::start("verdict", move || {
            let next = (!stopped.is_cancelled()).then(|| evaluation.turn())?;
            ticker.tick();
            Some(next)
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

/// What the thread does, and what with.
struct Evaluation {
    evaluator: Evaluator,
    tick: Duration,
    observations: Receiver<(Instant, Observation)>,
    view: Shared,
    due_probes: watch::Sender<Asked>,
    /// The state that was announced last, and whether it was on its way out.
    shown: (State, bool),
}

impl Evaluation {
    /// One turn; when the next is due.
    fn turn(&mut self) -> Instant {
        let evaluator = &mut self.evaluator;
        let next = platform::now() + self.tick;
        evaluator.observe(platform::now(), Observation::Tick(clocks()));
        for (at, observation) in self.observations.try_iter() {
            evaluator.observe(at, observation);
        }
        let now = platform::now();
        evaluator.evaluate(now);
        let due = evaluator.plan(now);
        if due.probe {
            self.due_probes.send_replace(Asked { on_suspicion: due.on_suspicion });
        }
        self.view.set(view_of(evaluator, now));
        let verdict = evaluator.verdict();
        let now_shown = (verdict.state, verdict.is_recovering);
        if now_shown != self.shown {
            announce(self.shown.0, verdict);
            self.shown = now_shown;
        }
        next
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

/// The clocks beside the monotonic one. Without the time since boot the monotonic clock's own gaps
/// still tell.
fn clocks() -> Clocks {
    let real = platform::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clocks { boot: platform::since_boot(), real }
}
