//! A run: start, faults and calm in turn, drain, compare.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use binpulse_demo::{Error, Installed};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep};

use crate::aws::Shared;
use crate::aws::faults::{Effect, When};
use crate::check;
use crate::collect::Received;
use crate::dice::Dice;
use crate::faults::{Injector, Kind};
use crate::plan::Plan;
use crate::report::{self, Run, Tally};
use crate::rss;
use crate::script::{Script, Step};
use crate::service::session;
use crate::snapshots;
use crate::stage::{Stage, binlogs_in};
use crate::truth::Truth;
use crate::workload::{DATABASE, Workload};

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) report: String,
    /// The same as one line of a table.
    pub(crate) line: String,
    /// Why it failed; nothing if it did not.
    pub(crate) wrong: Vec<String>,
    /// Faults that came.
    pub(crate) faults: u64,
}

/// Time in which the stream must have caught up after a fault. Generous: machines of tests are slow,
/// and a stream that does not recover never will.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_mins(3);
/// The call that is thrown away in a run that is to fail.
const SWALLOWED: u64 = 20;
/// Work in a run of which all faults are named, at least.
const WORK_MIN: Duration = Duration::from_secs(3);
const COLLECT_EVERY: Duration = Duration::from_millis(20);
const MEASURE_EVERY: Duration = Duration::from_millis(250);

type Shelf = Arc<Mutex<Received>>;

fn shelf(shelf: &Shelf) -> MutexGuard<'_, Received> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Soak {
    pub(crate) stage: Stage,
    pub(crate) plan: Plan,
    received: Shelf,
    injector: Injector,
    faults: BTreeMap<Kind, Tally>,
    injected: u64,
    marker: i64,
    /// Transactions that the streamer says it missed.
    missed: u64,
}

pub(crate) async fn run(plan: &Plan) -> Result<Outcome, (u64, Error)> {
    let mut dice = Dice::new(plan.seed);
    let stage = Stage::start(plan, dice.next()).await.map_err(|error| (0, error))?;
    let mut soak = Soak {
        stage,
        plan: plan.clone(),
        received: Arc::new(Mutex::new(Received::new(plan.topic))),
        injector: Injector::default(),
        faults: BTreeMap::new(),
        injected: 0,
        marker: 0,
        missed: 0,
    };
    let outcome = soak.run(&mut dice).await;
    if outcome.is_err() {
        let files = soak.stage.binlogs().unwrap_or_default();
        soak.keep_if_asked(&files).map_err(|error| (soak.injected, failed(error)))?;
    }
    outcome.map_err(|error| (soak.injected, error))
}

impl Soak {
    async fn run(&mut self, dice: &mut Dice) -> Result<Outcome, Error> {
        let started = Instant::now();
        let (shared, received) = (Arc::clone(&self.stage.endpoint.shared), &self.received);
        let collecting = tokio::spawn(collect(shared, Arc::clone(received)));
        let peak = Arc::new(Mutex::new(0));
        let measuring = tokio::spawn(measure(self.stage.checkpoint(), Arc::clone(&peak)));
        let workload = Workload::start(&self.plan, &self.stage.port, dice).await?;
        let operator = self.stage.operator();
        let snapshots =
            snapshots::are_for(&self.plan).then(|| tokio::spawn(operator.work(self.plan.clone())));
        let outcome = self.faults(started).await;
        if let Some(snapshots) = snapshots {
            snapshots.abort();
        }
        outcome?;
        let transactions = workload.stop(&self.stage.mysqld).await?;
        let worked = started.elapsed();
        self.catch_up(started, transactions).await?;
        self.last_snapshot().await?;
        self.stage.streamer.stop().await?;
        self.collect();
        let took = started.elapsed();
        let peak_rss_bytes = *peak.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = std::mem::take(&mut self.faults);
        let plan = self.plan.clone();
        let run = Run { plan, took, worked, transactions, faults, peak_rss_bytes };
        let mut outcome = self.verdict(&run).await?;
        if self.plan.has_endings {
            outcome.wrong.extend(self.endings().await?);
        }
        collecting.abort();
        measuring.abort();
        Ok(outcome)
    }

    /// Notes what is wrong whatever comes later.
    pub(crate) fn wrong(&mut self, what: String) {
        self.injector.wrong.push(what);
    }

    async fn faults(&mut self, started: Instant) -> Result<(), Error> {
        if self.plan.is_sabotaged {
            self.stage.endpoint.fault("PublishBatch", When::Nth(SWALLOWED), Effect::Swallow);
            sleep(self.plan.length).await;
            return Ok(());
        }
        let script = Script::new(&self.plan);
        match self.plan.faults.clone() {
            Some(numbers) => {
                for number in numbers {
                    self.fault(script.step(number)).await?;
                }
                sleep(WORK_MIN.saturating_sub(started.elapsed())).await;
            }
            None => {
                while started.elapsed() < self.plan.length {
                    self.fault(script.step(self.injected)).await?;
                }
            }
        }
        Ok(())
    }

    /// Calm, a fault or two, and the time until what was written afterwards has come.
    async fn fault(&mut self, step: Step) -> Result<(), Error> {
        let Step { kinds, mut dice } = step;
        self.injected += 1;
        sleep(Duration::from_millis(dice.between(100, 1_500))).await;
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let names = names.join(" + ");
        let took = self
            .inject(&kinds, &mut dice)
            .await
            .map_err(|error| Error::Message(format!("{names}: {error}")))?;
        println!("{:>7.1} s  {names}", took.as_secs_f64());
        for kind in &kinds {
            let tally = self.faults.entry(*kind).or_default();
            let count = if kinds.len() == 1 { &mut tally.alone } else { &mut tally.paired };
            *count += 1;
            tally.worst = tally.worst.max(took);
        }
        Ok(())
    }

    /// How long it took to recover.
    async fn inject(&mut self, kinds: &[Kind], dice: &mut Dice) -> Result<Duration, Error> {
        self.stage.streamer.must_run()?;
        for kind in kinds {
            self.injector.begin(*kind, &mut self.stage, dice).await?;
            sleep(Duration::from_millis(dice.below(200))).await;
        }
        sleep(Duration::from_millis(dice.between(100, 4_000))).await;
        for kind in kinds {
            self.injector.end(*kind, &mut self.stage, kinds.len() == 1).await?;
        }
        self.until_marker().await
    }

    /// Writes a marker and waits until it has come: everything before it has come then too, for it
    /// is the stream that is late, not the table.
    pub(crate) async fn until_marker(&mut self) -> Result<Duration, Error> {
        let since = Instant::now();
        let mut source = session(self.stage.mysqld.port()).await?;
        self.write_marker(&mut source).await?;
        source.disconnect().await?;
        while shelf(&self.received).marker() < self.marker {
            self.stage.streamer.must_run()?;
            if since.elapsed() > RECOVERY_MAX {
                let status = self.stage.streamer.status().await.map(|status| status.to_string());
                let status = status.unwrap_or_else(|error| error.to_string());
                let log = self.stage.streamer.log_tail();
                let what = format!("the stream to go on: {status}; its log ends:\n{log}");
                return Err(Error::Deadline { what, seconds: RECOVERY_MAX.as_secs() });
            }
            sleep(COLLECT_EVERY).await;
        }
        let took = since.elapsed();
        self.must_account().await;
        Ok(took)
    }

    /// Its own count of transactions that it missed: nothing is lost, so there must be none.
    async fn must_account(&mut self) {
        let Ok(status) = self.stage.streamer.status().await else { return };
        let missed = status["verdict"]["unaccounted_transactions"].as_u64().unwrap_or_default();
        if missed > 0 && missed != self.missed {
            let log = self.stage.streamer.log_tail();
            self.injector.wrong.push(format!("it misses {missed} transactions; its log:\n{log}"));
        }
        self.missed = missed;
    }

    pub(crate) async fn write_marker(&mut self, source: &mut Conn) -> Result<(), Error> {
        self.marker += 1;
        let insert = format!("INSERT INTO {DATABASE}.marker VALUES ({})", self.marker);
        source.query_drop(insert).await?;
        Ok(())
    }

    /// Everything that is written has come when a marker has come and nothing more comes; a row that
    /// never comes is told by the comparison.
    async fn catch_up(&mut self, started: Instant, transactions: u64) -> Result<(), Error> {
        let took = self.until_marker().await?;
        println!(
            "{:>7.1} s  to catch up with {transactions} transactions, {:.0} s after the start",
            took.as_secs_f64(),
            started.elapsed().as_secs_f64()
        );
        self.settle().await;
        Ok(())
    }

    /// Waits until nothing more comes.
    pub(crate) async fn settle(&self) {
        let mut rows = 0;
        while rows != shelf(&self.received).rows() {
            rows = shelf(&self.received).rows();
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Takes what the endpoint has accepted so far.
    pub(crate) fn collect(&self) {
        take(&self.stage.endpoint.shared, &self.received);
    }

    /// The highest epoch of which rows have come.
    pub(crate) fn epoch(&self) -> u64 {
        shelf(&self.received).lanes.keys().map(|(epoch, _)| *epoch).max().unwrap_or_default()
    }

    /// Forgets what has come.
    pub(crate) fn forget(&self) {
        drop(self.received());
    }

    /// What has come, which is forgotten here.
    pub(crate) fn received(&self) -> Received {
        std::mem::replace(&mut *shelf(&self.received), Received::new(self.plan.topic))
    }

    /// Changes a setting of the streamer from its next start on.
    pub(crate) fn set(&mut self, key: &'static str, value: &str) {
        let settings = &mut self.stage.streamer.command_mut().settings;
        settings.retain(|(other, _)| *other != key);
        settings.push((key, value.to_owned()));
    }

    /// What the binary logs say that the source itself still has.
    pub(crate) fn truth_of_what_is_left(&self) -> Result<Truth, Error> {
        self.truth(&binlogs_in(&self.stage.mysqld.data()).map_err(failed)?)
    }

    fn truth(&self, files: &[std::path::PathBuf]) -> Result<Truth, Error> {
        let missing =
            || Error::Missing { what: "mysqlbinlog".to_owned(), remedy: "run `make deps`" };
        let mysqlbinlog = self.stage.mysqld.server().mysqlbinlog.clone();
        // Not each release is installed with one. A newer one reads the logs of older ones.
        let mysqlbinlog = match mysqlbinlog {
            Some(path) => path,
            None => Installed::find()?.server()?.mysqlbinlog.clone().ok_or_else(missing)?,
        };
        Truth::read(&mysqlbinlog, files, self.plan.source).map_err(failed)
    }

    /// Copies what a failure is looked into with.
    fn keep_if_asked(&self, binlogs: &[std::path::PathBuf]) -> std::io::Result<()> {
        let Some(folder) = std::env::var_os("SOAK_KEEP") else { return Ok(()) };
        let folder = std::path::Path::new(&folder);
        std::fs::create_dir_all(folder)?;
        let log = self.stage.streamer.folder().path().join("log");
        for file in binlogs.iter().chain([&log, &self.stage.checkpoint()]) {
            std::fs::copy(file, folder.join(file.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }

    async fn verdict(&mut self, run: &Run) -> Result<Outcome, Error> {
        let files = self.stage.binlogs().map_err(failed)?;
        self.keep_if_asked(&files).map_err(failed)?;
        let truth = self.truth(&files)?;
        let received = self.received();
        let mut findings = check::identities(&received, &truth);
        check::values(&self.stage.mysqld, &received, &truth, &mut findings).await?;
        findings.wrong.append(&mut self.injector.wrong);
        findings.wrong.extend(received.wrong.iter().take(20).cloned());
        findings.wrong.extend(self.stage.endpoint.shared.store().violations.iter().cloned());
        if received.out_of_order > 0 {
            findings.wrong.push(format!("{} messages out of order", received.out_of_order));
        }
        let report = report::text(run, &received, &truth, &findings);
        let mut wrong = findings.wrong.clone();
        if !findings.is_clean() && wrong.is_empty() {
            wrong.push("see the table".to_owned());
        }
        let line = report::line(run, &received, &findings);
        Ok(Outcome { report, line, wrong, faults: self.injected })
    }
}

fn failed(source: std::io::Error) -> Error {
    Error::Program { program: "mysqlbinlog".to_owned(), source }
}

/// Moves what the endpoint accepted to the shelf.
fn take(shared: &Shared, received: &Shelf) {
    let accepted = std::mem::take(&mut shared.store().accepted);
    let mut received = shelf(received);
    for message in &accepted {
        received.take(message);
    }
}

async fn collect(shared: Arc<Shared>, received: Shelf) {
    loop {
        take(&shared, &received);
        sleep(COLLECT_EVERY).await;
    }
}

async fn measure(checkpoint: std::path::PathBuf, peak: Arc<Mutex<u64>>) {
    loop {
        let now = rss::peak_of(&checkpoint);
        {
            let mut peak = peak.lock().unwrap_or_else(PoisonError::into_inner);
            *peak = (*peak).max(now);
        }
        sleep(MEASURE_EVERY).await;
    }
}
