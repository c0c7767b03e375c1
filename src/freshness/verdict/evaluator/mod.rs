//! The judge: observations in, verdict out. Pure; the loop that drives it owns clock and channels.

mod conditions;
mod gauges;
mod wording;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::change::Uuid;
use crate::freshness::clock_offset::ClockOffset;
use crate::freshness::verdict::certificate::Accounting;
use crate::freshness::verdict::evidence::{
    CanaryEvidence, CheckpointEvidence, HeartbeatEvidence, HistoryEvidence, IdentityEvidence,
    LagEvidence, Sets, SinkEvidence, SqlEvidence, StreamEvidence, WriteEvidence,
};
use crate::freshness::verdict::obligation::Obligations;
use crate::freshness::verdict::pause::{Pause, PauseWatch};
use crate::freshness::verdict::probe_schedule::{DueProbe, ProbeSchedule, Suspicion};
use crate::freshness::verdict::verdict::Hysteresis;
use crate::freshness::verdict::{Conditions, Hop, Parameters, State, Topology, Verdict, words};
use crate::freshness::{Executed, Observation, StatePoll};

/// Since we were frozen.
#[derive(Debug, Clone, Copy)]
struct Frozen {
    resumed: Instant,
    lasted: Duration,
    /// The first heartbeat that was sent after we ran again: its round trip ends the grace period.
    first: Option<u64>,
}

/// Takes observations and judges.
#[derive(Debug)]
pub struct Evaluator {
    parameters: Parameters,
    started: Instant,
    conditions: Conditions,
    obligations: Obligations,
    hysteresis: Hysteresis,
    verdict: Verdict,
    transitions: BTreeMap<(State, State), u64>,
    pause: PauseWatch,
    frozen: Option<Frozen>,
    clock: ClockOffset,
    accounting: Accounting,
    probes: ProbeSchedule,
    stream: StreamEvidence,
    sql: SqlEvidence,
    identity: IdentityEvidence,
    history: HistoryEvidence,
    writes: WriteEvidence,
    heartbeat: HeartbeatEvidence,
    sink: SinkEvidence,
    lag: LagEvidence,
    canaries: CanaryEvidence,
    checkpoint: CheckpointEvidence,
    /// Databases that are published and not in the binary log.
    unlogged: Vec<String>,
    /// Who holds back the rows of all tables, and why.
    suppressed: Option<String>,
    /// Who lets the rows of all tables wait, and why.
    paused: Option<String>,
    /// Without heartbeat rows: answered probes with bytes on the stream behind them.
    substitutes: (u64, Option<Instant>),
}

impl Evaluator {
    /// Knows nothing yet; `now` is the start. `parameters` are checked
    /// ([`Parameters::checked`]).
    pub fn new(parameters: Parameters, now: Instant) -> Self {
        let conditions = Conditions::new(&parameters, now);
        let hysteresis = Hysteresis::new(now);
        let verdict = Verdict {
            state: hysteresis.state(),
            reason: None,
            since: now,
            is_recovering: false,
            evaluated_at: now,
            sentence: "Starting.".to_owned(),
            facts: Vec::new(),
            hop: Hop::None,
            next_step: words::next_step(hysteresis.state(), None, false),
            certificate: None,
            conditions: conditions.iter().map(|(name, known)| (name, known.clone())).collect(),
        };
        Self {
            started: now,
            conditions,
            obligations: Obligations::default(),
            hysteresis,
            verdict,
            transitions: BTreeMap::new(),
            pause: PauseWatch::new(),
            frozen: None,
            clock: ClockOffset::default(),
            accounting: Accounting::default(),
            probes: ProbeSchedule::default(),
            stream: StreamEvidence::default(),
            sql: SqlEvidence::default(),
            identity: IdentityEvidence::default(),
            history: HistoryEvidence::default(),
            writes: WriteEvidence::default(),
            heartbeat: HeartbeatEvidence::default(),
            sink: SinkEvidence::default(),
            lag: LagEvidence::default(),
            canaries: CanaryEvidence::new(&parameters),
            checkpoint: CheckpointEvidence::default(),
            unlogged: Vec::new(),
            suppressed: None,
            paused: None,
            substitutes: (0, None),
            parameters,
        }
    }

    /// Takes one observation that was made at `at`. After waking up the loop feeds
    /// [`Observation::Tick`] before all else, so that nothing which expired while we were frozen
    /// is held against anybody.
    pub fn observe(&mut self, at: Instant, observation: Observation) {
        if self.frozen.is_some() && observation.blames() {
            return;
        }
        let (parameters, obligations) = (&self.parameters, &mut self.obligations);
        match observation {
            Observation::Tick(clocks) => {
                let pause = self.pause.tick(at, clocks, parameters);
                self.paused(at, pause);
            }
            Observation::RuntimeTick => {
                let pause = self.pause.runtime_tick(at, parameters);
                self.paused(at, pause);
            }
            Observation::Stream(sample) => {
                self.stream.sampled(at, sample, parameters, obligations);
            }
            Observation::StreamConnected { server } => {
                self.stream.connected(at, obligations);
                self.identity.stream(server);
                self.history.accepted();
            }
            Observation::StreamFailed(failure) => {
                self.history.refused(at, failure);
                self.stream.failed(at, failure, parameters, obligations);
            }
            Observation::HeartbeatArrived(span) => {
                let number = span.to.number;
                self.accounting.arrived(at, *span);
                self.history.arrived(number, self.accounting.received());
                self.writes.arrived(number);
                let before = self.heartbeat.completed();
                self.heartbeat.arrived(at, number, obligations);
                self.note_round_trip(at, before);
            }
            Observation::HeartbeatStarted { number } => {
                self.writes.started(at, number, parameters, obligations);
                self.history.sent(number);
                if let Some(frozen) = &mut self.frozen {
                    frozen.first.get_or_insert(number);
                }
            }
            Observation::HeartbeatCommitted { number, .. } => {
                self.sql.answered(at);
                self.writes.committed(at, obligations);
                let before = self.heartbeat.completed();
                self.heartbeat.committed(at, number, parameters, obligations);
                self.note_round_trip(at, before);
            }
            Observation::HeartbeatFailed { number, reason, .. } => {
                self.writes.failed(at, number, reason, obligations);
            }
            Observation::HeartbeatPending { server_state: Some(state), .. } => {
                self.sql.answered(at);
                self.writes.writer_seen(Some(&state));
            }
            Observation::Executed(read) => self.read(at, &read),
            Observation::HeartbeatStored { number, server } => self.stored(number, server),
            Observation::Probe(probe) => self.sql.probed(at, probe),
            Observation::StatePoll(poll) => self.polled(at, &poll),
            Observation::Unlogged(databases) => self.unlogged = databases,
            Observation::Suppressed(by) => self.suppressed = by,
            Observation::Paused(by) => self.paused = by,
            Observation::Upstream(upstream) => self.writes.upstream_seen(at, upstream),
            Observation::Facts(facts) => self.clock.observe(at, &facts.clock),
            Observation::Sink(sample) => self.sink.sampled(at, sample, parameters, obligations),
            Observation::Lag(sample) => self.lag.sampled(at, sample, parameters),
            Observation::CanaryOwed { path, number } => {
                self.canaries.acknowledged(at, path.as_ref(), number, parameters, obligations);
            }
            Observation::CanaryReturned { account, number } => {
                self.canaries.echoed(at, &account, number, obligations);
            }
            Observation::CanaryCommitted { step, .. } if step.path.is_none() => {
                self.canaries.written(None);
            }
            Observation::CanaryFailed { path: None, reason, message } => {
                self.canaries.written(Some((reason, message)));
            }
            Observation::EchoRead { consumer, .. } => {
                self.canaries.queue(at, &consumer, None, parameters, obligations);
            }
            Observation::EchoFailed { consumer, message } => {
                self.canaries.queue(at, &consumer, Some(&message), parameters, obligations);
            }
            Observation::Maintenance { consumer, until } => {
                self.canaries.maintenance(&consumer, until, obligations);
            }
            Observation::CheckpointSaved => self.checkpoint.saved(at, obligations),
            Observation::CheckpointFailed { error } => self.checkpoint.failed(error),
            Observation::Stopping => {
                obligations.expect_nothing();
                self.writes.stopped();
            }
            // Without a state nobody could be asked, which is no answer of the server's.
            Observation::HeartbeatPending { server_state: None, .. }
            // An echo is owed from the topic's acceptance on, not from here.
            | Observation::CanaryStarted(_)
            // The operator's own tables: that one takes no canary says nothing of the stream. The
            // metrics of the paths and `/status` read the round trips, which have taken these.
            | Observation::CanaryCommitted { .. }
            | Observation::CanaryFailed { path: Some(_), .. }
            // What it completes comes as a report of its own.
            | Observation::Echoed { .. }
            // It is counted, and it is nobody's echo.
            | Observation::EchoIgnored { .. } => {}
        }
    }

    /// Takes the newest heartbeat that a server has stored.
    fn stored(&mut self, number: u64, server: Option<Uuid>) {
        if self.identity.is_of_stream(server) {
            self.history.stored(number, self.heartbeat.completed());
        }
    }

    /// Takes the answers of a state poll.
    fn polled(&mut self, at: Instant, poll: &StatePoll) {
        self.sql.answered(at);
        self.writes.polled(poll);
        let (executed, purged) = (poll.executed.as_ref(), poll.purged.as_ref());
        let sets = Sets { asked: poll.asked.unwrap_or(at), executed, purged };
        self.history.confirm(sets, self.accounting.received());
        let is_other = poll.server.is_some() && !self.identity.is_of_stream(poll.server);
        if !is_other && self.identity.agrees(&self.parameters) {
            self.history.read(at, sets, self.accounting.known());
        }
    }

    /// Takes what was read in the writer's session after a heartbeat.
    fn read(&mut self, at: Instant, read: &Executed) {
        self.writes.facts(&read.facts);
        if let Some(server) = read.facts.server() {
            self.identity.writer(Some(server));
        }
        let (executed, purged) = (read.executed.as_ref(), read.purged.as_ref());
        self.accounting.committed(read.number, executed, purged);
        // On a replica the writer's server is another one: it may have purged what this one has.
        let same = self.parameters.topology == Topology::Primary;
        if same && self.identity.agrees(&self.parameters) {
            // Asked behind the newest round trip: its own heartbeat is committed.
            self.history.read(at, Sets { asked: at, executed, purged }, self.accounting.known());
        }
    }

    /// Of several heartbeats that arrive at one moment only those count that were committed too: `before`
    /// is the last that had completed its round trip.
    fn note_round_trip(&mut self, at: Instant, before: Option<u64>) {
        if self.heartbeat.completed() > before {
            self.history.round_trip(at, self.accounting.received());
        }
    }

    fn paused(&mut self, at: Instant, pause: Pause) {
        match pause {
            Pause::None => {}
            Pause::Stepped => {
                self.clock.clear();
                self.obligations.rearm(at);
            }
            Pause::Frozen(lasted) => {
                self.frozen = Some(Frozen { resumed: at, lasted, first: None });
                self.reset(at);
            }
        }
    }

    fn reset(&mut self, at: Instant) {
        self.obligations.rearm(at);
        self.stream.reset(at);
        self.sql.reset();
        self.identity.reset(at);
        self.writes.reset(at);
        self.lag.reset();
        self.canaries.reset();
    }

    /// The verdict as of `now`. Call it once per tick.
    pub fn evaluate(&mut self, now: Instant) -> &Verdict {
        self.canaries.advance(now, &self.parameters, &mut self.obligations);
        let progress = self.progress(now);
        let settled = progress.acknowledged.saturating_add(progress.round_trips);
        self.checkpoint.progressed(now, settled, &self.parameters, &mut self.obligations);
        self.set_conditions(now, &progress);
        let before = self.hysteresis.state();
        let state = self.hysteresis.advance(now, &self.conditions, progress, &self.parameters);
        if before != state {
            *self.transitions.entry((before, state)).or_default() += 1;
        }
        self.verdict = self.put_into_words(now, state);
        &self.verdict
    }

    /// What is to be looked at or done now. Call it after each evaluation, and after each
    /// observation of a failure.
    pub fn plan(&mut self, now: Instant) -> DueProbe {
        let doubt = self.obligations.suspicion(now).is_some()
            || self.stream.suspected()
            || self.sql.suspected()
            || self.writes.suspected()
            || self.canaries.suspected();
        let suspicion = match self.history.suspected_at() {
            Some(at) => Suspicion::Sign(at),
            None if doubt => Suspicion::Doubt,
            None => Suspicion::None,
        };
        self.probes.due(now, suspicion, &self.parameters)
    }
}
