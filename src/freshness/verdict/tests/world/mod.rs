//! A small model of everything around the evaluator, in steps of virtual time, with faults to switch
//! on.

mod faults;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use faults::{Faults, LOADS, Load, OTHER, SERVER, STEP, Sns};

use crate::change::{Gtid, GtidSet};
use crate::freshness::verdict::accounting::{Class, Recorder};
use crate::freshness::verdict::{Evaluator, Parameters, Reason, State};
use crate::freshness::{Clocks, LagSample, Observation, Probe, SinkSample, StreamSample};

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a model of independent switches")]
pub(super) struct World {
    pub(super) evaluator: Evaluator,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) faults: Faults,
    pub(super) load: Load,
    pub(super) parameters: Parameters,
    /// Each state with when it began, as the evaluator showed it.
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
    /// Until the next attempt, after a failed write.
    pub(super) retry_after: Duration,
    pub(super) writes_failed: u64,
    logged: bool,
    connected: bool,
    pub(super) kill_stream: bool,
    dial_at: Instant,
    bytes: u64,
    last_receive: Option<Instant>,
    idle_at: Option<Instant>,
    canary: u64,
    next_canary: Instant,
    /// Canaries in the echo queues.
    unread: Vec<(Arc<str>, u64)>,
    /// When each queue is read next, if nothing comes before.
    read_at: BTreeMap<Arc<str>, Instant>,
    waiting: Option<Instant>,
    acknowledged: u64,
    last_acknowledged: Option<Instant>,
    last_user_row: Option<Instant>,
    looks: Vec<(Instant, Probe)>,
    /// A connection stands that looks ask as well.
    has_session: bool,
    /// A look was asked for while another was under way.
    look_asked: bool,
    pub(super) fault_at: Option<Instant>,
    next_tick: Instant,
    /// Committed while no stream could bring it.
    backlog: Vec<(Gtid, Class)>,
    pub(super) look_count: u64,
    /// We stop: only ticks and the sink are told of.
    pub(super) stopping: bool,
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
            evaluator: Evaluator::new(parameters.clone(), start),
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
            retry_after: Duration::from_secs(1),
            writes_failed: 0,
            logged: false,
            connected: false,
            kill_stream: false,
            dial_at: start,
            bytes: 0,
            last_receive: None,
            idle_at: None,
            canary: 0,
            next_canary: start,
            unread: Vec::new(),
            read_at: BTreeMap::new(),
            waiting: None,
            acknowledged: 0,
            last_acknowledged: None,
            last_user_row: None,
            looks: Vec::new(),
            has_session: false,
            look_asked: false,
            fault_at: None,
            next_tick: start,
            backlog: Vec::new(),
            look_count: 0,
            stopping: false,
            drop_transactions: 0,
        }
    }

    pub(super) fn tell(&mut self, observation: Observation) {
        self.evaluator.observe(self.now, observation);
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
        self.evaluator.verdict().state
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
        if self.stopping {
            if tick {
                self.tell_sink();
                self.judge_now();
            }
            return;
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
        let verdict = self.evaluator.evaluate(self.now);
        let shown = (verdict.state, verdict.reason.clone());
        if self.trace.last().is_none_or(|(_, state, reason)| (*state, reason.clone()) != shown) {
            self.trace.push((self.now, shown.0, shown.1));
        }
        let plan = self.evaluator.plan(self.now);
        if plan.probe {
            self.look_count += 1;
            self.look();
        }
    }

    fn samples(&mut self) {
        let lag = match (self.faults.lag, self.fault_at) {
            (Some(lag), Some(fault)) => {
                lag(self.now.saturating_duration_since(fault).as_secs_f64())
            }
            _ => 0.0,
        };
        let samples = [
            Observation::Stream(StreamSample {
                bytes: self.bytes,
                last_receive: self.last_receive,
                armed: self.armed(),
                idle_at: self.idle_at,
            }),
            Observation::Lag(LagSample {
                lag: Some(Duration::from_secs_f64(lag)),
                transaction_bytes: self.faults.transaction_bytes,
            }),
        ];
        for sample in samples {
            self.tell(sample);
        }
        self.tell_sink();
        if self.faults.transaction_bytes > 0 {
            self.faults.transaction_bytes += 1 << 20;
        }
    }

    fn tell_sink(&mut self) {
        let sink_failure = match self.faults.sns {
            Sns::Fails(failure) => Some(failure),
            Sns::Well | Sns::Hangs => None,
        };
        let waits = self.waiting.map_or(0, |at| self.now.saturating_duration_since(at).as_secs());
        self.tell(Observation::Sink(SinkSample {
            oldest_unacknowledged: self.waiting,
            acknowledged: self.acknowledged,
            last_acknowledged: self.last_acknowledged,
            failure: sink_failure.filter(|_| self.waiting.is_some()),
            failures_in_a_row: u32::try_from(waits).expect("short"),
            last_user_row: self.last_user_row,
            is_withheld: false,
        }));
    }
}
