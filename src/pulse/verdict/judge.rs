//! The judge: observations in, verdict out. Pure; the loop that drives it owns clock and channels.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::clock_offset::{ClockOffset, Offset};
use super::evidence::{
    CanaryEvidence, CheckpointEvidence, HeartbeatEvidence, HistoryEvidence, IdentityEvidence,
    LagEvidence, SinkEvidence, SqlEvidence, StreamEvidence, Surroundings, WriteEvidence,
};
use super::ledger::Ledger;
use super::obligation::{Obligation, Obligations};
use super::pause::{Pause, PauseWatch};
use super::plan::{LookPlan, Plan};
use super::verdict::{Hysteresis, Progress};
use super::{
    Condition, Conditions, Hop, Observation, OwnAction, Parameters, Reason, State, Status, Verdict,
    WriteOutcome, words,
};

/// Certain difference of the clocks that is worth a warning.
const CLOCK_LIMIT_US: u64 = 5_000_000;

/// Since we were frozen.
#[derive(Debug, Clone, Copy)]
struct Frozen {
    resumed: Instant,
    lasted: Duration,
    /// The first heartbeat that was sent after we ran again: its round trip ends the amnesty.
    first: Option<u64>,
}

/// Takes observations and judges.
#[derive(Debug)]
pub struct Judge {
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
    ledger: Ledger,
    looks: LookPlan,
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
    /// Without heartbeat rows: answered probes with bytes on the stream behind them.
    substitutes: (u64, Option<Instant>),
}

impl Judge {
    /// Knows nothing yet; `now` is the start. `parameters` are checked
    /// ([`Parameters::checked`]).
    pub fn new(parameters: Parameters, now: Instant) -> Self {
        let conditions = Conditions::new(&parameters, now);
        let hysteresis = Hysteresis::new(now);
        let verdict = Verdict {
            state: hysteresis.state(),
            reason: None,
            since: now,
            judged_at: now,
            sentence: "Starting.".to_owned(),
            facts: Vec::new(),
            hop: Hop::None,
            next_step: words::next_step(hysteresis.state(), None),
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
            ledger: Ledger::default(),
            looks: LookPlan::default(),
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
                self.ledger.arrived(at, *span);
                self.writes.arrived(number);
                self.heartbeat.arrived(at, number, obligations);
                self.note_round_trip(at);
            }
            Observation::HeartbeatStarted { number } => {
                self.writes.started(at, number, parameters, obligations);
                if let Some(frozen) = &mut self.frozen {
                    frozen.first.get_or_insert(number);
                }
            }
            Observation::HeartbeatEnded { number, outcome } => self.wrote(at, number, outcome),
            Observation::Probe(probe) => self.sql.probed(at, probe),
            Observation::Poll(poll) => {
                self.sql.answered(at);
                self.writes.polled(&poll);
                let (executed, purged) = (poll.executed.as_ref(), poll.purged.as_ref());
                self.history.confirm(executed, purged, self.ledger.received());
                if self.identity.agrees(parameters) {
                    self.history.read(at, executed, purged, self.ledger.received());
                }
            }
            Observation::SourceClock(sample) => self.clock.observe(at, &sample),
            Observation::Sink(sample) => self.sink.sampled(at, sample, parameters, obligations),
            Observation::Lag(sample) => self.lag.sampled(at, sample, parameters),
            Observation::CanaryAcknowledged { number } => {
                self.canaries.acknowledged(at, number, parameters, obligations);
            }
            Observation::CanaryEchoed { consumer, number } => {
                self.canaries.echoed(at, &consumer, number, obligations);
            }
            Observation::Maintenance { consumer, until } => {
                self.canaries.maintenance(&consumer, until, obligations);
            }
            Observation::CheckpointSaved => self.checkpoint.saved(at, obligations),
            Observation::CheckpointFailed { error } => self.checkpoint.failed(error),
            Observation::OwnAction(OwnAction::Redialled) => self.stream.redialled(at),
            // The writer's own reconnect shows in no condition: a lost connection blames nobody.
            Observation::OwnAction(OwnAction::WriterReconnected) => {}
            Observation::PositionReset => {
                self.history.reset();
                self.ledger.reset();
            }
        }
    }

    fn wrote(&mut self, at: Instant, number: u64, outcome: WriteOutcome) {
        let obligations = &mut self.obligations;
        match outcome {
            WriteOutcome::Committed(facts) => {
                self.sql.answered(at);
                self.identity.writer(facts.server);
                self.writes.committed(at, &facts, obligations);
                self.heartbeat.committed(at, number, &self.parameters, obligations);
                self.ledger.committed(number, &facts);
                if self.identity.agrees(&self.parameters) {
                    let (executed, purged) = (facts.executed.as_ref(), facts.purged.as_ref());
                    self.history.read(at, executed, purged, self.ledger.received());
                }
                self.note_round_trip(at);
            }
            WriteOutcome::Failed(failure) => {
                self.writes.failed(at, number, failure, obligations);
            }
        }
    }

    fn note_round_trip(&mut self, at: Instant) {
        if self.heartbeat.last_round_trip() == Some(at) {
            self.history.round_trip(self.ledger.received());
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
                self.forgive(at);
            }
        }
    }

    fn forgive(&mut self, at: Instant) {
        self.obligations.rearm(at);
        self.stream.forgive(at);
        self.sql.forgive();
        self.identity.forgive(at);
        self.writes.forgive(at);
        self.lag.forgive();
        self.canaries.forgive();
    }

    /// The verdict as of `now`. Call it once per tick.
    pub fn judge(&mut self, now: Instant) -> &Verdict {
        self.canaries.advance(now, &mut self.obligations);
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

    fn progress(&mut self, now: Instant) -> Progress {
        if !self.parameters.heartbeats
            && let Some(answer) = self.sql.last_answer()
            && self.substitutes.1.is_none_or(|last| answer > last)
            && self.stream.received_since(answer)
        {
            self.substitutes = (self.substitutes.0 + 1, Some(now));
        }
        Progress {
            round_trips: self.heartbeat.round_trips + self.substitutes.0,
            commits: self.writes.commits,
            acknowledged: self.sink.acknowledged(),
            sink_empty: self.sink.is_empty(),
            echoes: self.canaries.echoes,
        }
    }

    fn set_conditions(&mut self, now: Instant, progress: &Progress) {
        self.set_self(now);
        let parameters = &self.parameters;
        let conditions = &mut self.conditions;
        self.sql.apply(now, parameters, conditions);
        self.stream.apply(now, parameters, &self.obligations, &self.sql, conditions);
        self.identity.apply(now, parameters, conditions);
        self.history.apply(now, conditions);
        self.writes.apply(now, parameters, &self.sql, &self.stream, conditions);
        let surroundings = Surroundings {
            stream_flows: self.stream.flows(),
            same_server: self.identity.agrees(parameters),
            idle_at: self.stream.idle_at(),
            delivered_until: self.lag.delivered_until(),
        };
        self.heartbeat.apply(now, parameters, surroundings, &mut self.obligations, conditions);
        self.sink.apply(now, parameters, &self.obligations, conditions);
        self.lag.apply(now, parameters, conditions);
        self.canaries.apply(now, parameters, conditions);
        self.checkpoint.apply(now, &self.obligations, conditions);
        self.set_proof(now);
        self.set_start(now, progress);
    }

    fn set_self(&mut self, now: Instant) {
        if let Some(lasted) = self.pause.runtime_stands(now, &self.parameters) {
            self.frozen = Some(Frozen { resumed: now, lasted, first: None });
        }
        if let Some(frozen) = self.frozen {
            let round_trip =
                frozen.first.is_some_and(|first| self.heartbeat.completed() >= Some(first));
            let over = now.saturating_duration_since(frozen.resumed) >= self.parameters.amnesty;
            if round_trip || over {
                self.frozen = None;
                self.forgive(now);
            }
        }
        let (status, because) = match self.frozen {
            Some(frozen) => {
                let lasted = frozen.lasted.as_secs_f64();
                (Status::False, format!("binpulse stood still for {lasted:.1} s"))
            }
            None => (Status::True, "our own clock ticks evenly".to_owned()),
        };
        self.conditions.set(now, Condition::SelfRunning, status, because);
    }

    fn set_proof(&mut self, now: Instant) {
        let certificate = self.ledger.certificate().filter(|certificate| {
            let age = now.saturating_duration_since(certificate.judged_at);
            age <= self.parameters.certificate_validity()
        });
        let (status, because) = match certificate {
            None => (Status::Unknown, "there is no recent certificate".to_owned()),
            Some(certificate) if certificate.unaccounted.is_empty() => {
                let (from, to) = (certificate.from.number, certificate.to.number);
                (Status::True, format!("all between heartbeats {from} and {to} is accounted for"))
            }
            Some(certificate) => {
                (Status::False, format!("the stream did not bring {}", certificate.unaccounted))
            }
        };
        let wrote = certificate.is_some_and(|certificate| certificate.counts.user > 0);
        self.conditions.set(now, Condition::Accounted, status, because);

        let row = self.sink.last_user_row().map(|at| now.saturating_duration_since(at));
        let (status, because) = match row {
            Some(age) if age <= self.parameters.user_row_recent => {
                let age = age.as_secs_f64();
                (Status::True, format!("a user's row was published {age:.1} s ago"))
            }
            _ if wrote => (Status::True, "users wrote between the last two heartbeats".to_owned()),
            Some(_) | None => (Status::False, "no user's row was published lately".to_owned()),
        };
        self.conditions.set(now, Condition::UserRows, status, because);
        let allowed = if self.parameters.heartbeats { Status::True } else { Status::False };
        self.conditions.set(now, Condition::HeartbeatsAllowed, allowed, "by configuration");
        let (status, because) = match self.clock.offset(now) {
            None => (Status::Unknown, "the source's clock was not read yet".to_owned()),
            Some(offset) => {
                let certain = offset.certain_us();
                let status = if certain > CLOCK_LIMIT_US { Status::False } else { Status::True };
                (status, format!("the source's clock differs by {} us", offset.offset_us))
            }
        };
        self.conditions.set(now, Condition::ClockAgrees, status, because);
    }

    fn set_start(&mut self, now: Instant, progress: &Progress) {
        let age = now.saturating_duration_since(self.started);
        let (status, because) = if progress.round_trips > 0 {
            (Status::True, "a first round trip was made")
        } else if age >= self.parameters.start_limit {
            (Status::True, "the time to start in is over")
        } else {
            (Status::False, "no round trip was made yet")
        };
        self.conditions.set(now, Condition::Begun, status, because);
        let certain = [
            Condition::PositionHeld,
            Condition::SqlAdmits,
            Condition::SourceWritable,
            Condition::WritesCommit,
            Condition::UpstreamRuns,
        ];
        let stream = self.conditions.is_false(Condition::StreamConnected) && self.stream.definite();
        let definite = certain.iter().find(|condition| self.conditions.is_false(**condition));
        let (status, because) = match definite {
            Some(condition) => (Status::False, self.conditions.known(*condition).because.clone()),
            None if stream => {
                let known = self.conditions.known(Condition::StreamConnected);
                (Status::False, known.because.clone())
            }
            None if self.sink.definite() => {
                (Status::False, self.conditions.known(Condition::SinkMoves).because.clone())
            }
            None => (Status::True, "no error that time can't mend".to_owned()),
        };
        self.conditions.set(now, Condition::NoDefiniteError, status, because);
    }

    fn reason(&self, state: State) -> Option<Reason> {
        match state {
            State::PositionLost => self.history.reason(),
            State::SourceUnreachable => self.sql.reason().or_else(|| self.stream.reason()),
            State::SourceHung => Some(Reason::Timeout),
            State::StreamDown => self.stream.reason(),
            State::WritesBlocked => Some(self.writes.reason()),
            State::SinkStalled => Some(self.sink.reason()),
            State::CanaryLost => Some(self.canaries.reason()),
            State::Quiet => {
                let filtered =
                    self.ledger.certificate().is_some_and(|last| last.counts.filtered > 0);
                Some(if filtered { Reason::FilteredOnly } else { Reason::Empty })
            }
            State::SelfStalled
            | State::Starting
            | State::WrongSource
            | State::StreamSilent
            | State::SourceReadOnly
            | State::UpstreamReplicationBroken
            | State::HeartbeatLost
            | State::CatchingUp
            | State::Lagging
            | State::CheckpointStuck
            | State::Indeterminate
            | State::QuietUnproven
            | State::Live => None,
        }
    }

    fn put_into_words(&self, now: Instant, state: State) -> Verdict {
        let reason = match self.reason(state) {
            // While a state only waits for its exit, what caused it may no longer be at hand.
            None if self.verdict.state == state => self.verdict.reason.clone(),
            reason => reason,
        };
        let certificate = self.ledger.certificate();
        let behind = self.obligations.suspicion_of(Obligation::Publish, now)
            || !self.sink.is_empty() && self.lag_is_behind_sink();
        Verdict {
            state,
            since: self.hysteresis.since(),
            judged_at: now,
            sentence: words::sentence(state, reason.as_ref(), &self.conditions, certificate),
            facts: words::missing(&self.conditions),
            hop: words::hop(state, behind, self.canaries.all_lost()),
            next_step: words::next_step(state, reason.as_ref()),
            reason,
            certificate: certificate.cloned(),
            conditions: self.conditions.iter().map(|(name, known)| (name, known.clone())).collect(),
        }
    }

    /// Whether the reader waits for the sink and not the other way round.
    fn lag_is_behind_sink(&self) -> bool {
        self.stream.connected_now() && !self.stream.flows()
    }

    /// What is to be looked at or done now. Call it after each judgement, and after each
    /// observation of a failure.
    pub fn plan(&mut self, now: Instant) -> Plan {
        let suspicion = self.obligations.suspicion(now).is_some()
            || self.stream.suspected()
            || self.sql.suspected()
            || self.writes.suspected()
            || self.history.suspected()
            || self.canaries.suspected();
        let silent =
            self.conditions.is_false(Condition::StreamBytes) && self.stream.connected_now();
        self.looks.due(now, suspicion, silent, &self.parameters)
    }
}

/// For metrics.
impl Judge {
    /// The last verdict.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Every state, and whether it holds: exactly one does.
    pub fn states(&self) -> impl Iterator<Item = (State, bool)> {
        State::ALL.into_iter().map(|state| (state, state == self.verdict.state))
    }

    /// How often each state followed another.
    pub fn transitions(&self) -> impl Iterator<Item = (State, State, u64)> {
        self.transitions.iter().map(|((from, to), count)| (*from, *to, *count))
    }

    /// Age of the oldest open obligation of each name; zero where none is open.
    pub fn obligation_ages(&self, now: Instant) -> impl Iterator<Item = (&'static str, Duration)> {
        self.obligations.ages(now)
    }

    /// Transactions and holes that were found missing since start.
    pub fn unaccounted_total(&self) -> u64 {
        self.ledger.unaccounted_total()
    }

    /// The source's clock against ours.
    pub fn clock_offset(&self, now: Instant) -> Option<Offset> {
        self.clock.offset(now)
    }

    /// How often we were frozen since start.
    pub fn self_pauses(&self) -> u64 {
        self.pause.count
    }
}
