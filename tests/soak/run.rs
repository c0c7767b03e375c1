//! A run: start, faults and calm in turn, drain, compare.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use binpulse::demo::Error;
use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep};

use crate::aws::Shared;
use crate::aws::faults::{Effect, When};
use crate::check;
use crate::collect::Received;
use crate::dice::Dice;
use crate::faults::{Injector, Kind};
use crate::report::{self, Run, Tally};
use crate::rss;
use crate::service::session;
use crate::stage::{Stage, Topic};
use crate::truth::Truth;
use crate::workload::{DATABASE, Workload};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) topic: Topic,
    /// Lanes of each table.
    pub(crate) lanes: u64,
    pub(crate) length: Duration,
    /// No faults, but one call that the topic answers with success and throws away: a loss that the
    /// comparison must find.
    pub(crate) sabotaged: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) report: String,
    /// Why it failed; nothing if it did not.
    pub(crate) wrong: Vec<String>,
}

/// Time in which the stream must have caught up after a fault. Generous: machines of tests are slow,
/// and a stream that does not recover never will.
const RECOVERY_MAX: Duration = Duration::from_mins(3);
/// The call that is thrown away in a run that is to fail.
const SWALLOWED: u64 = 20;
const COLLECT_EVERY: Duration = Duration::from_millis(20);
const MEASURE_EVERY: Duration = Duration::from_millis(250);

type Shelf = Arc<Mutex<Received>>;

fn shelf(shelf: &Shelf) -> MutexGuard<'_, Received> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Soak {
    stage: Stage,
    received: Shelf,
    dice: Dice,
    injector: Injector,
    faults: BTreeMap<Kind, Tally>,
    /// Kinds that have not come yet in this round.
    due: Vec<Kind>,
    marker: i64,
}

pub(crate) async fn run(plan: Plan) -> Result<Outcome, Error> {
    let started = Instant::now();
    let mut dice = Dice::new(plan.seed);
    let stage = Stage::start(plan.topic, plan.lanes, dice.next()).await?;
    let received = Arc::new(Mutex::new(Received::new(plan.topic)));
    let collecting =
        tokio::spawn(collect(Arc::clone(&stage.endpoint.shared), Arc::clone(&received)));
    let peak = Arc::new(Mutex::new(0));
    let measuring = tokio::spawn(measure(stage.checkpoint(), Arc::clone(&peak)));
    let workload = Workload::start(&stage.mysqld, &mut dice).await?;
    let mut soak = Soak {
        stage,
        received,
        dice,
        injector: Injector::default(),
        faults: BTreeMap::new(),
        due: Vec::new(),
        marker: 0,
    };
    if plan.sabotaged {
        soak.stage.endpoint.fault("PublishBatch", When::Nth(SWALLOWED), Effect::Swallow);
        sleep(plan.length).await;
    }
    while !plan.sabotaged && started.elapsed() < plan.length {
        soak.fault().await?;
    }
    let transactions = workload.stop(&soak.stage.mysqld).await?;
    soak.catch_up(started, transactions).await?;
    soak.stage.streamer.stop().await?;
    collecting.abort();
    measuring.abort();
    take(&soak.stage.endpoint.shared, &soak.received);
    let took = started.elapsed();
    let peak_rss_bytes = *peak.lock().unwrap_or_else(PoisonError::into_inner);
    let faults = std::mem::take(&mut soak.faults);
    let run = Run {
        seed: plan.seed,
        topic: plan.topic,
        lanes: plan.lanes,
        took,
        transactions,
        faults,
        peak_rss_bytes,
    };
    soak.verdict(&run).await
}

impl Soak {
    /// Calm, a fault or two, and the time until what was written afterwards has come.
    async fn fault(&mut self) -> Result<(), Error> {
        sleep(Duration::from_millis(self.dice.between(100, 1_500))).await;
        self.stage.streamer.must_run()?;
        let mut kinds = vec![self.due()];
        if self.dice.one_in(3) {
            let other = *self.dice.pick(Kind::ALL);
            if other.place() != kinds[0].place() {
                kinds.push(other);
            }
        }
        for kind in &kinds {
            self.injector.begin(*kind, &mut self.stage, &mut self.dice).await?;
            sleep(Duration::from_millis(self.dice.below(200))).await;
        }
        sleep(Duration::from_millis(self.dice.between(100, 4_000))).await;
        for kind in &kinds {
            self.injector.end(*kind, &mut self.stage).await?;
        }
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let names = names.join(" + ");
        let took = self
            .until_marker()
            .await
            .map_err(|error| Error::Message(format!("after {names}: {error}")))?;
        println!("{:>7.1} s  {names}", took.as_secs_f64());
        for kind in &kinds {
            let tally = self.faults.entry(*kind).or_default();
            let count = if kinds.len() == 1 { &mut tally.alone } else { &mut tally.paired };
            *count += 1;
            tally.worst = tally.worst.max(took);
        }
        Ok(())
    }

    /// The next kind: each comes once before one comes again, in random order.
    fn due(&mut self) -> Kind {
        if self.due.is_empty() {
            self.due = Kind::ALL.to_vec();
        }
        let at = usize::try_from(self.dice.below(self.due.len() as u64)).expect("below a length");
        self.due.swap_remove(at)
    }

    /// Writes a marker and waits until it has come: everything before it has come then too, for it
    /// is the stream that is late, not the table.
    async fn until_marker(&mut self) -> Result<Duration, Error> {
        let since = Instant::now();
        self.marker += 1;
        let mut source = session(self.stage.mysqld.port()).await?;
        let insert = format!("INSERT INTO {DATABASE}.marker VALUES ({})", self.marker);
        source.query_drop(insert).await?;
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
        Ok(since.elapsed())
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
        let mut rows = 0;
        while rows != shelf(&self.received).rows() {
            rows = shelf(&self.received).rows();
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// Copies what a failure is looked into with.
    fn keep(
        &self,
        folder: &std::path::Path,
        binlogs: &[std::path::PathBuf],
    ) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let log = self.stage.streamer.folder().path().join("log");
        for file in binlogs.iter().chain([&log, &self.stage.checkpoint()]) {
            std::fs::copy(file, folder.join(file.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }

    async fn verdict(mut self, run: &Run) -> Result<Outcome, Error> {
        let failed = |source| Error::Program { program: "mysqlbinlog".to_owned(), source };
        let mysqlbinlog = self.stage.server.mysqlbinlog.clone().ok_or_else(|| Error::Missing {
            what: "mysqlbinlog".to_owned(),
            mend: "run `make deps`",
        })?;
        let files = self.stage.binlogs().map_err(failed)?;
        if let Some(folder) = std::env::var_os("SOAK_KEEP") {
            self.keep(folder.as_ref(), &files).map_err(failed)?;
        }
        let truth = Truth::read(&mysqlbinlog, &files).map_err(failed)?;
        let received = std::mem::replace(&mut *shelf(&self.received), Received::new(run.topic));
        let mut findings = check::identities(&received, &truth);
        check::values(&self.stage.mysqld, &received, &mut findings).await?;
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
        Ok(Outcome { report, wrong })
    }
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
