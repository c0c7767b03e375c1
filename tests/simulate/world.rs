//! One run: a source, a topic, processes of the service, and what befalls them, all by one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use binpulse::app::plan::Reload;
use binpulse::app::{Outcome, Plan, run};
use binpulse::config::{Environment, load};
use binpulse::platform::on;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::failover;
use crate::faults::{self, Fault};
use crate::machine::{Host, Network, Process};
use crate::oracle::{FILTERED, Oracle};
use crate::server::{Server, schema};
use crate::sns::{Sns, Subscriber};
use crate::{sqs, workload};

/// The stream's name.
pub(crate) const STREAM: &str = "sim";

/// When runs begin, microseconds since 1970 UTC.
const EPOCH_US: i64 = 1_800_000_000_000_000;

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything may befall anything, often at once.
    Mixed,
    /// One fault at a time, for long: the verdict must name it.
    Diagnosis,
    /// Two processes, one of which stands by.
    Pair,
    /// Logs are purged while the stream is away.
    Purge,
    /// Two servers, which change places.
    Failover,
}

/// What the seed decides of the settings.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "independent choices")]
pub(crate) struct Setting {
    pub(crate) kind: Kind,
    pub(crate) fifo: bool,
    pub(crate) lanes: u64,
    pub(crate) table_store: bool,
    pub(crate) linger_ms: u64,
    pub(crate) machines: usize,
    /// Operators hold tables back.
    pub(crate) operated: bool,
    /// Filters are changed while the stream runs.
    pub(crate) reloads: bool,
    /// How long faults befall it, in seconds, where not the dice say so.
    pub(crate) lasts: Option<u64>,
    /// Pauses between transactions, and between faults, last so many times as long as usual.
    pub(crate) pauses: u32,
    /// Of two servers: whether commits wait for the replica.
    pub(crate) semisync: bool,
    /// And how long a transaction takes to get there.
    pub(crate) replica_ms: u64,
}

impl Setting {
    /// With `hours` of faults instead of a minute or so.
    fn of(dice: &mut Dice, hours: Option<u64>) -> Self {
        let kind = *dice.pick(&[
            Kind::Mixed,
            Kind::Mixed,
            Kind::Mixed,
            Kind::Diagnosis,
            Kind::Diagnosis,
            Kind::Pair,
            Kind::Pair,
            Kind::Purge,
            Kind::Failover,
            Kind::Failover,
        ]);
        let is_storm = matches!(kind, Kind::Mixed | Kind::Pair | Kind::Failover);
        let hours = hours.filter(|_| is_storm);
        let machines = match kind {
            Kind::Pair => 2,
            Kind::Purge | Kind::Failover if dice.one_in(4) => 2,
            _ => 1,
        };
        let (semisync, reloads) = (dice.one_in(2), dice.one_in(4));
        Self {
            kind,
            // A release needs the filters that the rows were numbered with.
            operated: !reloads && (kind != Kind::Failover || dice.one_in(3)),
            reloads,
            lasts: hours.map(|hours| hours * 3_600),
            pauses: if hours.is_some() { 60 } else { 1 },
            semisync,
            // What is waited for is on its way for a short time only, or nothing would get on.
            replica_ms: if semisync { 4 } else { *dice.pick(&[4, 30, 200]) },
            fifo: dice.one_in(2),
            lanes: *dice.pick(&[1, 1, 3]),
            table_store: machines > 1 || dice.one_in(2),
            linger_ms: *dice.pick(&[0, 20, 200]),
            machines,
        }
    }
}

/// Everything of a run.
pub(crate) struct World {
    pub(crate) setting: Setting,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) network: Arc<Network>,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) sns: Arc<Sns>,
    pub(crate) wall: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) dice: Dice,
    /// Processes that have halted, and were judged.
    pub(crate) judged: BTreeSet<u64>,
    /// The settings exclude a table, as they stand in its file.
    pub(crate) excludes: Arc<AtomicBool>,
    /// The epoch after which an operator permits another.
    pub(crate) new_epoch: Option<u64>,
    folder: TempDir,
    processes: u64,
}

/// A machine, and the process on it.
pub(crate) struct Slot {
    pub(crate) process: Option<Running>,
    /// When the next process starts.
    pub(crate) starts_at: Instant,
}

/// A process that runs.
pub(crate) struct Running {
    pub(crate) process: Arc<Process>,
    pub(crate) stop: CancellationToken,
    /// As SIGHUP.
    pub(crate) hangup: Arc<Notify>,
    pub(crate) outcome: JoinHandle<Outcome>,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) setting: Setting,
    pub(crate) simulated: Duration,
    pub(crate) rows: u64,
    pub(crate) repeats: u64,
    pub(crate) saves: u64,
    pub(crate) processes: u64,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) digest: u64,
    pub(crate) wrong: Option<String>,
}

/// The name of a seed's kind.
pub(crate) fn kind_of(seed: u64) -> String {
    format!("{:?}", Setting::of(&mut Dice::new(seed), None).kind)
}

/// Runs a seed to its end.
pub(crate) fn simulate(seed: u64, trace: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let living = async {
        let mut world = World::new(seed, trace);
        world.live().await;
        world.report(seed)
    };
    let report = LocalSet::new().block_on(&runtime, living);
    runtime.shutdown_background();
    report
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let setting = Setting::of(&mut dice, crate::number("SIMULATE_HOURS"));
        let oracle = Oracle::new(setting.fifo, setting.machines > 1, trace);
        let begun = Instant::now();
        let wall: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(move || {
            EPOCH_US + i64::try_from(begun.elapsed().as_micros()).expect("a short run")
        });
        let tables = schema();
        let server = |name, id, dice| {
            Server::new((name, id), &tables, Arc::clone(&oracle) as _, Arc::clone(&wall), dice)
        };
        let mut servers = vec![server("db1", 1, dice.fork())];
        if setting.kind == Kind::Failover {
            servers.push(server("db2", 2, dice.fork()));
            servers[1].state().follows = Some(1);
            servers[0].state().is_semisync = setting.semisync;
        }
        let sns = Sns::new(setting.fifo, Arc::clone(&oracle) as Arc<dyn Subscriber>, dice.fork());
        let slots = (0..setting.machines)
            .map(|_| Slot { process: None, starts_at: Instant::now() })
            .collect();
        oracle.tell(|| format!("seed {seed}: {setting:?}"));
        Self {
            setting,
            oracle,
            network: Network::new(dice.fork()),
            servers,
            sns,
            wall,
            slots,
            dice,
            judged: BTreeSet::new(),
            new_epoch: None,
            excludes: Arc::default(),
            folder: tempfile::tempdir().expect("a folder"),
            processes: 0,
        }
    }

    /// The server that takes the users' writes.
    pub(crate) fn primary(&self) -> &Arc<Server> {
        failover::primary(&self.servers)
    }

    pub(crate) fn checkpoint_path(&self, machine: usize) -> PathBuf {
        self.folder.path().join(format!("checkpoint-{machine}"))
    }

    fn plan(&self, machine: usize, signal: Arc<Notify>) -> Plan {
        let Setting { fifo, lanes, table_store, linger_ms, .. } = self.setting;
        let hosts: Vec<_> = self.servers.iter().map(|it| format!("{}:3306", it.name)).collect();
        let topic =
            format!("arn:aws:sns:eu-west-1:000000000000:t{}", if fifo { ".fifo" } else { "" });
        let path = self.checkpoint_path(machine);
        let password = self.folder.path().join("password");
        std::fs::write(&password, "secret").expect("room");
        let flags: Vec<(&'static str, String)> = vec![
            ("stream.name", STREAM.to_owned()),
            ("source.hosts", hosts.join(",")),
            ("source.user", "binpulse".to_owned()),
            ("source.password", password.to_string_lossy().into_owned()),
            ("source.tls", "off".to_owned()),
            ("source.start", "earliest".to_owned()),
            ("source.start_patience", "20s".to_owned()),
            ("source.report_host", format!("machine{machine}")),
            ("sink.kind", "sns".to_owned()),
            ("sns.topic", topic),
            ("sns.request_timeout", if self.setting.machines > 1 { "2s" } else { "5s" }.to_owned()),
            ("source.heartbeat_period", "500ms".to_owned()),
            ("heartbeat.interval", "2s".to_owned()),
            ("heartbeat.write_deadline", "1s".to_owned()),
            ("canary.interval", "5s".to_owned()),
            ("canary.deadline", "10s".to_owned()),
            ("canary.echo", format!("consumer={}", sqs::URL)),
            ("message.lanes", lanes.to_string()),
            ("message.linger_max", format!("{linger_ms}ms")),
            ("checkpoint.store", if table_store { "table" } else { "file" }.to_owned()),
            ("checkpoint.path", path.to_string_lossy().into_owned()),
            ("checkpoint.interval", "200ms".to_owned()),
            ("ha.enabled", (self.setting.machines > 1).to_string()),
            ("http.listen", "127.0.0.1:0".to_owned()),
        ];
        let excludes = Arc::clone(&self.excludes);
        let load = Arc::new(move || {
            let mut flags = flags.clone();
            if excludes.load(Ordering::Relaxed) {
                flags.push(("filter.exclude", FILTERED.to_owned()));
            }
            load(None, &Environment::new(), &flags, &|_| Ok("secret".to_owned()))
        });
        let values = load().unwrap_or_else(|errors| panic!("{errors:?}"));
        let mut plan = Plan::new(&values).unwrap_or_else(|errors| panic!("{errors:?}"));
        plan.settings.reload = Some(Reload { load, signal });
        Plan { new_epoch: self.new_epoch, ..plan }
    }

    /// A process of this machine.
    pub(crate) fn process_on(&mut self, machine: usize, number: u64) -> Arc<Process> {
        Process::new(
            (machine, number),
            &self.network,
            &self.servers,
            &self.sns,
            &self.wall,
            self.dice.fork(),
        )
    }

    /// Starts a process on this machine.
    fn start(&mut self, machine: usize) {
        self.processes += 1;
        let number = self.processes;
        let process = self.process_on(machine, number);
        self.oracle.tell(|| format!("process {number} starts on machine {machine}"));
        let (stop, hangup) = (CancellationToken::new(), Arc::new(Notify::new()));
        let running = Box::pin(run(self.plan(machine, Arc::clone(&hangup)), stop.clone()));
        let outcome = tokio::task::spawn_local(on(Arc::new(Host(Arc::clone(&process))), running));
        self.slots[machine].process = Some(Running { process, stop, hangup, outcome });
    }

    /// Starts what is to be started, and takes note of what has ended.
    async fn tend(&mut self) {
        for machine in 0..self.slots.len() {
            let slot = &mut self.slots[machine];
            match &mut slot.process {
                None => {
                    if Instant::now() >= slot.starts_at {
                        self.check_saved().await;
                        self.start(machine);
                    }
                }
                Some(running) if running.outcome.is_finished() => {
                    let outcome = (&mut running.outcome).await;
                    let number = running.process.number;
                    slot.process = None;
                    slot.starts_at = Instant::now() + Duration::from_secs(2);
                    self.oracle.tell(|| format!("process {number} has ended: {outcome:?}"));
                    if !matches!(
                        outcome,
                        Ok(Outcome::Unavailable | Outcome::Stopped | Outcome::StoppedInHaste)
                    ) {
                        self.oracle.is_wrong(format!("process {number} has ended: {outcome:?}"));
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Kills a process, wherever it is.
    pub(crate) fn kill(&mut self, machine: usize, down: Duration) {
        let slot = &mut self.slots[machine];
        if let Some(running) = slot.process.take() {
            self.oracle.tell(|| format!("process {} is killed", running.process.number));
            running.process.kill();
            // What it held is let go first.
            slot.starts_at = Instant::now() + down.max(Duration::from_millis(1));
        }
    }

    /// Lets time go by, and looks at everything each second; whether all is well so far.
    pub(crate) async fn pass(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.tend().await;
            self.look();
            self.look_at_filters();
            self.judge_halts().await;
            if self.oracle.wrong().is_some() {
                return false;
            }
            let next = Instant::now() + Duration::from_secs(1);
            tokio::time::sleep_until(next.min(until)).await;
        }
        true
    }

    fn look(&mut self) {
        let servers = failover::by_address(&self.servers);
        for slot in &self.slots {
            let Some(running) = &slot.process else { continue };
            if let Some(status) = running.process.status() {
                let host = status["source"]["host"].as_str().unwrap_or_default();
                let server = servers.get(host).copied().unwrap_or_default();
                self.oracle.shown(&running.process, server, &status);
            }
        }
        if let Some(panic) = crate::take_panic() {
            self.oracle.is_wrong(format!("a panic: {panic}"));
        }
    }

    /// What the process shows that runs the stream.
    pub(crate) fn active_status(&self) -> Option<serde_json::Value> {
        let running = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        let mut shown = running.filter_map(|running| running.process.status());
        shown.find(|status| status["lease"]["role"] != "standby")
    }

    /// The verdict of the process that runs the stream.
    pub(crate) fn verdict(&self) -> Option<(String, serde_json::Value)> {
        let verdict = self.active_status()?["verdict"].take();
        Some((verdict["state"].as_str().unwrap_or_default().to_owned(), verdict))
    }

    async fn live(&mut self) {
        if self.servers.len() > 1 {
            for server in self.servers.clone() {
                let (servers, oracle) = (self.servers.clone(), Arc::clone(&self.oracle));
                let way = (self.setting.replica_ms, self.dice.fork());
                tokio::spawn(failover::replicate(server, servers, oracle, way));
            }
        }
        let working = workload::Work::start(&self.servers, self.setting.pauses, self.dice.fork());
        match self.setting.kind {
            Kind::Mixed | Kind::Pair | Kind::Failover => self.storm().await,
            Kind::Diagnosis => self.diagnose().await,
            Kind::Purge => self.purge_while_away().await,
        }
        faults::heal(self);
        self.settle(&working).await;
        drop(working);
    }

    /// Faults of every kind, at random.
    async fn storm(&mut self) {
        let times = self.setting.pauses;
        let lasts = self.setting.lasts.unwrap_or(self.dice.between(20, 90));
        let until = Instant::now() + Duration::from_secs(lasts);
        while Instant::now() < until {
            let pause = self.dice.between(50, 6_000);
            if !self.pass(Duration::from_millis(pause) * times).await {
                return;
            }
            // Between any two of its steps.
            for _ in 0..self.dice.below(60) {
                tokio::task::yield_now().await;
            }
            if self.setting.reloads && self.dice.one_in(6) {
                let excludes = self.excludes.load(Ordering::Relaxed);
                self.reload(!excludes).await;
                continue;
            }
            if self.setting.operated && self.dice.one_in(4) {
                self.operate().await;
                continue;
            }
            if self.servers.len() > 1 && self.dice.one_in(4) {
                self.change_places();
                continue;
            }
            let fault = Fault::any(&mut self.dice, self.setting.machines);
            fault.befall(self);
        }
    }

    /// A fault alone, as long as it takes to be named.
    async fn diagnose(&mut self) {
        if !self.pass(Duration::from_secs(40)).await {
            return;
        }
        let fault = *self.dice.pick(faults::NAMED);
        self.oracle.tell(|| format!("from here on: {fault:?}"));
        fault.begin(self);
        if !self.pass(Duration::from_mins(1)).await {
            return;
        }
        let (state, verdict) = self.verdict().unwrap_or_default();
        self.oracle.tell(|| format!("the verdict is {state}"));
        if !fault.may_be_called().contains(&state.as_str()) {
            let sentence = &verdict["sentence"];
            self.oracle.is_wrong(format!("{fault:?} for a minute is called {state}: {sentence}"));
        }
        if fault == Fault::DumpLoses {
            // What the source itself has lost never arrives, and is to be told of.
            faults::heal(self);
            self.oracle.forgive();
            if !self.pass(Duration::from_secs(10)).await {
                return;
            }
            let (_, verdict) = self.verdict().unwrap_or_default();
            if verdict["unaccounted_transactions"].as_u64() == Some(0) {
                self.oracle.is_wrong("transactions were lost, and nothing tells".to_owned());
            }
        }
    }

    /// All is healed: everything arrives, and the verdict says that all is well.
    async fn settle(&mut self, working: &workload::Work) {
        self.oracle.tell(|| "all is healed".to_owned());
        if !self.release().await || !self.let_all_pass().await {
            return;
        }
        if !self.pass(Duration::from_secs(45)).await || !self.begin_again().await {
            return;
        }
        working.stop().await;
        let until = Instant::now() + Duration::from_mins(2);
        while self.oracle.missing().is_some() && Instant::now() < until {
            if !self.pass(Duration::from_secs(1)).await {
                return;
            }
        }
        if !self.pass(Duration::from_secs(30)).await {
            return;
        }
        let (state, verdict) = self.verdict().unwrap_or_default();
        self.oracle.tell(|| format!("the verdict is {state}"));
        if !["quiet", "live"].contains(&state.as_str()) {
            let sentence = &verdict["sentence"];
            self.oracle.is_wrong(format!("all is healed, and is called {state}: {sentence}"));
            return;
        }
        self.stop(&[Outcome::Stopped]).await;
        self.oracle.finish(self.primary().id);
        if let Some(panic) = crate::take_panic() {
            self.oracle.is_wrong(format!("a panic: {panic}"));
        }
    }

    /// Tells all processes to stop, which must end like this.
    pub(crate) async fn stop(&mut self, ends: &[Outcome]) {
        for slot in &mut self.slots {
            let Some(running) = slot.process.take() else { continue };
            running.stop.cancel();
            let ended = tokio::time::timeout(Duration::from_mins(1), running.outcome).await;
            let number = running.process.number;
            self.oracle.tell(|| format!("process {number} was stopped: {ended:?}"));
            if !matches!(ended, Ok(Ok(outcome)) if ends.contains(&outcome)) {
                self.oracle.is_wrong(format!("process {number} was told to stop: {ended:?}"));
            }
        }
        sleep(Duration::from_millis(1)).await;
    }

    fn report(&self, seed: u64) -> Report {
        let (rows, repeats, saves) = self.oracle.totals();
        Report {
            seed,
            setting: self.setting.clone(),
            simulated: self.oracle.elapsed(),
            rows,
            repeats,
            saves,
            processes: self.processes,
            counts: self.oracle.counts(),
            digest: self.oracle.digest(),
            wrong: self.oracle.wrong(),
        }
    }
}
