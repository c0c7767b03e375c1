//! A small model of everything around the judge, in steps of virtual time, with faults to switch on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::change::{Gtid, GtidSet, Position, Tag, TransactionId, Uuid};
use crate::pulse::verdict::ledger::{Class, Recorder};
use crate::pulse::verdict::{
    Clocks, Committed, Connection, Judge, LagSample, Observation, OwnAction, Parameters, Poll,
    Probe, ProbeFailure, Reason, SinkFailure, SinkSample, State, StreamFailure, StreamSample,
    Upstream, WriteFailure, WriteOutcome,
};

pub(super) const STEP: Duration = Duration::from_millis(250);
pub(super) const SERVER: Uuid = Uuid([1; 16]);
pub(super) const OTHER: Uuid = Uuid([2; 16]);

/// What users do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    Quiet,
    Busy,
    FilteredOnly,
}

pub(super) const LOADS: [Load; 3] = [Load::Quiet, Load::Busy, Load::FilteredOnly];

/// What SNS does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sns {
    Well,
    Fails(SinkFailure),
    Hangs,
}

/// How the world is broken; all false or `None` is a healthy one.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    /// SQL connections, old ones and new ones.
    pub(super) old_sql: Option<ProbeFailure>,
    pub(super) new_sql: Option<ProbeFailure>,
    /// The dump socket is silent.
    pub(super) silent: bool,
    /// A silent dump heals with the next dial.
    pub(super) heals: bool,
    /// Dialling a dump fails.
    pub(super) dial: Option<StreamFailure>,
    /// How writes fail: the first, the later ones, after how long, whether the row is seen.
    pub(super) writes: Option<(WriteFailure, WriteFailure, bool)>,
    pub(super) writer_state: Option<&'static str>,
    pub(super) writer_server: Uuid,
    pub(super) read_only: bool,
    pub(super) hidden: bool,
    pub(super) sns: Sns,
    /// Canaries are lost on their way to these.
    pub(super) lost: Vec<&'static str>,
    pub(super) checkpoint_fails: bool,
    pub(super) lag: Option<fn(f64) -> f64>,
    pub(super) transaction_bytes: u64,
    pub(super) upstream_broken: bool,
    pub(super) source_lacks: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            old_sql: None,
            new_sql: None,
            silent: false,
            heals: false,
            dial: None,
            writes: None,
            writer_state: None,
            writer_server: SERVER,
            read_only: false,
            hidden: false,
            sns: Sns::Well,
            lost: Vec::new(),
            checkpoint_fails: false,
            lag: None,
            transaction_bytes: 0,
            upstream_broken: false,
            source_lacks: false,
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) judge: Judge,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) faults: Faults,
    pub(super) load: Load,
    pub(super) parameters: Parameters,
    /// Each state with when it began, as the judge showed it.
    pub(super) trace: Vec<(Instant, State, Option<Reason>)>,
    /// Clocks beside the monotonic one run ahead by this.
    pub(super) boot_ahead: Duration,
    pub(super) real_ahead: i64,
    pub(super) executed: GtidSet,
    recorder: Recorder,
    sequence: u64,
    pub(super) heartbeat: u64,
    write_sent: Option<Instant>,
    next_write: Instant,
    failed_once: bool,
    logged: bool,
    connected: bool,
    pub(super) kill_stream: bool,
    dial_at: Instant,
    bytes: u64,
    last_receive: Option<Instant>,
    idle_at: Option<Instant>,
    canary: u64,
    next_canary: Instant,
    waiting: Option<Instant>,
    acknowledged: u64,
    last_acknowledged: Option<Instant>,
    last_user_row: Option<Instant>,
    looks: Vec<(Instant, Probe)>,
    pub(super) fault_at: Option<Instant>,
    next_tick: Instant,
    /// Committed while no stream could bring it.
    backlog: Vec<(Gtid, Class)>,
    pub(super) look_count: u64,
    /// Drops this many transactions between socket and parser.
    pub(super) drop_transactions: u64,
}

impl World {
    pub(super) fn new(load: Load) -> Self {
        let parameters = Parameters {
            consumers: vec![Arc::from("orders"), Arc::from("search")],
            ..Parameters::default()
        };
        Self::with(load, parameters)
    }

    pub(super) fn with(load: Load, parameters: Parameters) -> Self {
        let start = Instant::now();
        let parameters = parameters.checked().expect("parameters that agree");
        let mut recorder = Recorder::new();
        recorder.started(Some(&GtidSet::new()), None);
        Self {
            judge: Judge::new(parameters.clone(), start),
            start,
            now: start,
            faults: Faults::default(),
            load,
            parameters,
            trace: Vec::new(),
            boot_ahead: Duration::ZERO,
            real_ahead: 0,
            executed: GtidSet::new(),
            recorder,
            sequence: 0,
            heartbeat: 0,
            write_sent: None,
            next_write: start,
            failed_once: false,
            logged: false,
            connected: false,
            kill_stream: false,
            dial_at: start,
            bytes: 0,
            last_receive: None,
            idle_at: None,
            canary: 0,
            next_canary: start,
            waiting: None,
            acknowledged: 0,
            last_acknowledged: None,
            last_user_row: None,
            looks: Vec::new(),
            fault_at: None,
            next_tick: start,
            backlog: Vec::new(),
            look_count: 0,
            drop_transactions: 0,
        }
    }

    pub(super) fn tell(&mut self, observation: Observation) {
        self.judge.observe(self.now, observation);
    }

    pub(super) fn run(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.now < until {
            self.step();
        }
    }

    /// Virtual time passes while we ourselves stand still.
    pub(super) fn freeze(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.next_tick = self.now;
    }

    pub(super) fn state(&self) -> State {
        self.judge.verdict().state
    }

    /// The states since the fault, with seconds since it, and reasons.
    pub(super) fn since_fault(&self) -> Vec<(f64, State, Option<String>)> {
        let fault = self.fault_at.expect("a fault");
        let seconds = |at: &Instant| at.saturating_duration_since(fault).as_secs_f64();
        self.trace
            .iter()
            .filter(|(at, ..)| *at > fault)
            .map(|(at, state, reason)| (seconds(at), *state, reason.as_ref().map(Reason::name)))
            .collect()
    }

    fn step(&mut self) {
        self.now += STEP;
        let tick = self.now >= self.next_tick;
        if tick {
            self.next_tick = self.now + self.parameters.tick;
            let since = self.now.saturating_duration_since(self.start);
            let real = Duration::from_secs(1_000_000) + since;
            let real = real.as_secs().saturating_add_signed(self.real_ahead);
            let boot = since + self.boot_ahead;
            self.tell(Observation::Tick(Clocks { boot, real: Duration::from_secs(real) }));
            self.tell(Observation::RuntimeTick);
        }
        self.stream();
        self.catch_up();
        self.users();
        self.writer();
        self.canaries();
        self.answers();
        if tick {
            self.samples();
            self.judge_now();
        }
    }

    fn judge_now(&mut self) {
        let verdict = self.judge.judge(self.now);
        let shown = (verdict.state, verdict.reason.clone());
        if self.trace.last().is_none_or(|(_, state, reason)| (*state, reason.clone()) != shown) {
            self.trace.push((self.now, shown.0, shown.1));
        }
        let plan = self.judge.plan(self.now);
        if plan.look {
            self.look_count += 1;
            self.look();
        }
        if plan.redial {
            self.tell(Observation::OwnAction(OwnAction::Redialled));
            self.drop_stream(StreamFailure::Ended);
        }
    }

    fn look(&mut self) {
        for (connection, failure) in
            [(Connection::Existing, self.faults.old_sql), (Connection::Fresh, self.faults.new_sql)]
        {
            let wait = if failure == Some(ProbeFailure::Timeout) {
                self.parameters.probe_timeout
            } else {
                STEP
            };
            let probe =
                Probe { connection, started: self.now, result: failure.map_or(Ok(()), Err) };
            self.looks.push((self.now + wait, probe));
        }
    }

    fn answers(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = self.looks.drain(..).partition(|(at, _)| *at <= now);
        self.looks = later;
        for (_, probe) in due {
            self.tell(Observation::Probe(probe));
            if probe.connection == Connection::Existing && probe.result.is_ok() {
                self.poll();
            }
        }
    }

    fn poll(&mut self) {
        let poll = Poll {
            read_only: Some(self.faults.read_only),
            executed: Some(self.executed_shown()),
            purged: Some(GtidSet::new()),
            writer_state: self.faults.writer_state.map(str::to_owned),
            upstream: Some(if self.faults.upstream_broken {
                Upstream::Broken("error 1062".to_owned())
            } else {
                Upstream::None
            }),
            ..Poll::default()
        };
        self.tell(Observation::Poll(Box::new(poll)));
    }

    fn executed_shown(&self) -> GtidSet {
        if self.faults.source_lacks { GtidSet::new() } else { self.executed.clone() }
    }

    fn stream(&mut self) {
        if std::mem::take(&mut self.kill_stream) {
            self.drop_stream(StreamFailure::Ended);
        }
        let limit = self.parameters.receive_deadline;
        if !self.connected && self.now >= self.dial_at {
            match self.faults.dial {
                Some(failure) => {
                    self.dial_at = self.now + Duration::from_secs(1);
                    self.tell(Observation::StreamFailed(failure));
                }
                None => {
                    self.connected = true;
                    self.faults.silent &= !self.faults.heals;
                    self.tell(Observation::StreamConnected { server: Some(SERVER) });
                    self.receive(100);
                }
            }
        } else if self.connected && !self.faults.silent {
            let idle = self.last_receive.is_none_or(|last| {
                self.now.saturating_duration_since(last) >= self.parameters.protocol_heartbeat
            });
            if idle {
                self.receive(60);
                self.idle_at = Some(self.now);
            }
        } else if self.connected
            && self
                .last_receive
                .is_some_and(|last| self.now.saturating_duration_since(last) >= limit)
        {
            self.drop_stream(StreamFailure::Silent);
        }
    }

    fn catch_up(&mut self) {
        if self.connected && !self.faults.silent {
            for (gtid, class) in std::mem::take(&mut self.backlog) {
                self.deliver(gtid, class);
            }
        }
    }

    fn drop_stream(&mut self, failure: StreamFailure) {
        self.connected = false;
        self.dial_at = self.now + STEP;
        self.tell(Observation::StreamFailed(failure));
    }

    /// The server's side of an open stream goes away.
    pub(super) fn cut_stream(&mut self) {
        self.drop_stream(StreamFailure::Ended);
    }

    fn receive(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.last_receive = Some(self.now);
    }

    fn commit(&mut self, class: Class) {
        self.sequence += 1;
        let gtid = Gtid { source: SERVER, tag: Tag::default(), sequence: self.sequence };
        self.executed.insert(gtid);
        let user = matches!(class, Class::User | Class::Filtered);
        if user && self.drop_transactions > 0 {
            self.drop_transactions -= 1;
            return;
        }
        let hidden = self.faults.hidden && matches!(class, Class::Heartbeat(_));
        let class = if hidden { Class::Filtered } else { class };
        if !self.connected || self.faults.silent {
            self.backlog.push((gtid, class));
            return;
        }
        self.receive(300);
        self.deliver(gtid, class);
        if class == Class::User && self.faults.sns == Sns::Well {
            self.last_user_row = Some(self.now);
        }
    }

    fn deliver(&mut self, gtid: Gtid, class: Class) {
        let (start, end) = (Position::default(), Position::default());
        if let Some(span) =
            self.recorder.transaction(TransactionId::Gtid(gtid), &start, &end, class)
        {
            self.tell(Observation::HeartbeatArrived(Box::new(span)));
        }
    }

    fn users(&mut self) {
        let down = self.faults.old_sql.is_some() || self.faults.writes.is_some();
        match self.load {
            _ if down => {}
            Load::Quiet => {}
            Load::Busy => {
                self.commit(Class::User);
                self.publish();
            }
            Load::FilteredOnly => self.commit(Class::Filtered),
        }
    }

    fn publish(&mut self) {
        match self.faults.sns {
            Sns::Well => {
                self.acknowledged += 1;
                self.last_acknowledged = Some(self.now);
                self.waiting = None;
            }
            Sns::Fails(_) | Sns::Hangs => {
                self.waiting.get_or_insert(self.now);
            }
        }
    }

    fn writer(&mut self) {
        if let Some(sent) = self.write_sent {
            self.outcome(sent);
        }
        if self.write_sent.is_none() && self.now >= self.next_write {
            if self.faults.old_sql.is_some() && self.faults.old_sql != Some(ProbeFailure::Timeout) {
                self.next_write = self.now + Duration::from_secs(1);
                return;
            }
            self.heartbeat += 1;
            self.write_sent = Some(self.now);
            self.next_write = self.now + self.parameters.heartbeat_interval;
            self.tell(Observation::HeartbeatStarted { number: self.heartbeat });
            let seen = self.faults.writes.is_some_and(|(.., seen)| seen && !self.failed_once);
            self.logged = seen;
            if seen {
                self.commit(Class::Heartbeat(self.heartbeat));
            }
        }
    }

    fn outcome(&mut self, sent: Instant) {
        let waited = self.now.saturating_duration_since(sent);
        let number = self.heartbeat;
        let ended = |failure| Observation::HeartbeatEnded {
            number,
            outcome: WriteOutcome::Failed(failure),
        };
        let failure = match (self.faults.old_sql, self.faults.writes) {
            (Some(ProbeFailure::Timeout), _) => Some(WriteFailure::TimedOut),
            (Some(_), _) => Some(WriteFailure::ConnectionLost),
            (None, Some((first, later, _))) => Some(if self.failed_once { later } else { first }),
            (None, None) => None,
        };
        let seen = self.faults.writes.is_some_and(|(.., seen)| seen);
        if seen && !self.failed_once && !std::mem::replace(&mut self.logged, true) {
            // It was under way when the fault began.
            self.commit(Class::Heartbeat(number));
        }
        match failure {
            Some(failure) => {
                let takes = match failure {
                    WriteFailure::TimedOut => self.parameters.write_deadline,
                    WriteFailure::LockWait => Duration::from_secs(1),
                    _ => Duration::ZERO,
                };
                if waited >= takes {
                    self.failed_once = true;
                    self.write_sent = None;
                    self.next_write = self.now + Duration::from_secs(1);
                    self.tell(ended(failure));
                }
            }
            None => {
                self.failed_once = false;
                self.write_sent = None;
                self.commit(Class::Heartbeat(number));
                let facts = Committed {
                    server: Some(self.faults.writer_server),
                    read_only: Some(self.faults.read_only),
                    executed: Some(self.executed_shown()),
                    purged: Some(GtidSet::new()),
                };
                let outcome = WriteOutcome::Committed(Box::new(facts));
                self.tell(Observation::HeartbeatEnded { number, outcome });
                if !self.faults.checkpoint_fails {
                    self.tell(Observation::CheckpointSaved);
                }
            }
        }
    }

    fn canaries(&mut self) {
        let works = self.faults.old_sql.is_none() && self.faults.writes.is_none();
        if works && self.now >= self.next_canary && !self.parameters.consumers.is_empty() {
            self.next_canary = self.now + self.parameters.canary_interval;
            self.canary += 1;
            let number = self.canary;
            self.commit(Class::Canary);
            self.publish();
            if self.faults.sns == Sns::Well {
                self.tell(Observation::CanaryAcknowledged { number });
                for consumer in self.parameters.consumers.clone() {
                    if !self.faults.lost.contains(&&*consumer) {
                        self.tell(Observation::CanaryEchoed { consumer, number });
                    }
                }
            }
        }
    }

    fn samples(&mut self) {
        let lag = match (self.faults.lag, self.fault_at) {
            (Some(lag), Some(fault)) => {
                lag(self.now.saturating_duration_since(fault).as_secs_f64())
            }
            _ => 0.0,
        };
        let sink_failure = match self.faults.sns {
            Sns::Fails(failure) => Some(failure),
            Sns::Well | Sns::Hangs => None,
        };
        let waits = self.waiting.map_or(0, |at| self.now.saturating_duration_since(at).as_secs());
        let samples = [
            Observation::Stream(StreamSample {
                bytes: self.bytes,
                last_receive: self.last_receive,
                armed: self.faults.sns == Sns::Well || self.load != Load::Busy,
                idle_at: self.idle_at,
            }),
            Observation::Sink(SinkSample {
                oldest_unacknowledged: self.waiting,
                acknowledged: self.acknowledged,
                last_acknowledged: self.last_acknowledged,
                failure: sink_failure.filter(|_| self.waiting.is_some()),
                failures_in_a_row: u32::try_from(waits).expect("short"),
                last_user_row: self.last_user_row,
            }),
            Observation::Lag(LagSample {
                lag: Some(Duration::from_secs_f64(lag)),
                transaction_bytes: self.faults.transaction_bytes,
            }),
        ];
        for sample in samples {
            self.tell(sample);
        }
        if self.faults.transaction_bytes > 0 {
            self.faults.transaction_bytes += 1 << 20;
        }
    }
}
