//! All trials of a run, on several stages side by side.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use binpulse_demo::{Error, Installed};

use crate::catalogue::{Fault, Kind};
use crate::dice::Dice;
use crate::load::Load;
use crate::pace::{self, Pace};
use crate::pages::Pages;
use crate::report::{self, Run};
use crate::stage::Stage;
use crate::trial::{self, Care, Trial};

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Parts of names, of which a fault's must contain one.
    pub(crate) names: Vec<String>,
    pub(crate) rounds: u64,
    pub(crate) seed: u64,
    pub(crate) beds: u64,
    pub(crate) pace: Pace,
    /// No trial begins later.
    pub(crate) minutes: Option<u64>,
}

impl Plan {
    /// From `FAULTS_ROUNDS` and its like; `None` when that is not set.
    pub(crate) fn from_environment() -> Option<Self> {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str| text(name).and_then(|text| text.parse().ok());
        let rounds = number("FAULTS_ROUNDS")?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let by_clock = || clock.map_or(1, |since| since.as_secs() % 1_000_000);
        let names = text("FAULTS").unwrap_or_default();
        Some(Self {
            names: names.split(',').map(str::to_owned).collect(),
            rounds,
            seed: number("FAULTS_SEED").unwrap_or_else(by_clock),
            beds: number("FAULTS_BEDS").unwrap_or(8),
            minutes: number("FAULTS_MINUTES"),
            pace: text("FAULTS_PACE").and_then(|name| Pace::find(&name)).unwrap_or(pace::DEFAULT),
        })
    }

    fn faults(&self) -> impl Iterator<Item = Fault> {
        Kind::ALL
            .iter()
            .map(|kind| kind.fault())
            .filter(|fault| self.names.iter().any(|name| fault.name.contains(name.as_str())))
    }
}

/// A fault that is to be staged.
#[derive(Debug, Clone, Copy)]
struct Task {
    fault: Fault,
    load: Load,
    seed: u64,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Stages one fault, with short periods; an error says what was not said of it. Its time is nobody's
/// business here: machines of tests are slow.
pub(crate) fn one_with_short_periods(kind: Kind, load: Load) -> Result<(), String> {
    let mut bed = Bed { pace: pace::SHORT, is_brief: true, pages: None, stage: None };
    let task = Task { fault: kind.fault(), load, seed: 1 };
    let trial = runtime().block_on(bed.one(task)).map_err(|error| error.to_string())?;
    if trial.is_told() && (trial.fault.is_fault() || trial.blamed().is_empty()) {
        return Ok(());
    }
    Err(format!("{}\n{}", line(&trial), bed.log_tail()))
}

pub(crate) fn main(plan: &Plan) -> ExitCode {
    println!("seed {}, {} periods, {} beds", plan.seed, plan.pace.name, plan.beds);
    match runtime().block_on(run(plan)).and_then(|run| write(&run).map(|()| run)) {
        Ok(run) => {
            let wrong = run.trials.iter().filter(|trial| !trial.is_right()).count();
            println!("{} trials, {wrong} wrong, {} not staged", run.trials.len(), run.failed.len());
            if wrong + run.failed.len() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the report to where `FAULTS_REPORT` says: a folder.
fn write(run: &Run) -> Result<(), Error> {
    let Some(folder) = std::env::var_os("FAULTS_REPORT").map(PathBuf::from) else { return Ok(()) };
    let failed = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
    for (name, text) in [
        ("experiment.json", format!("{:#}\n", report::document(run))),
        ("experiment.md", format!("{}\n", report::text(run).trim_end())),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(failed(&path))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Runs all of it.
async fn run(plan: &Plan) -> Result<Run, Error> {
    let started = Instant::now();
    let mut dice = Dice::new(plan.seed);
    let mut tasks = VecDeque::new();
    for _ in 0..plan.rounds {
        // Each fault comes once before one comes again.
        for turn in 0..Load::ALL.len() {
            for fault in plan.faults() {
                if let Some(load) = fault.loads.get(turn) {
                    tasks.push_back(Task { fault, load: *load, seed: dice.next() });
                }
            }
        }
    }
    let until = plan.minutes.map(|minutes| started + Duration::from_mins(minutes));
    let tasks = Arc::new(Mutex::new(tasks));
    let done = Arc::new(Mutex::new(Done::default()));
    // The rules' durations fit the default periods only.
    let pages = match plan.pace.name {
        "default" => Some(Arc::new(Pages::start().await?)),
        _ => None,
    };
    let mut beds = tokio::task::JoinSet::new();
    for _ in 0..plan.beds {
        let (tasks, done) = (Arc::clone(&tasks), Arc::clone(&done));
        let pages = pages.clone();
        let mut bed = Bed { pace: plan.pace, is_brief: false, pages, stage: None };
        beds.spawn(async move { bed.work(&tasks, &done, until).await });
    }
    while beds.join_next().await.is_some() {}
    let Done { trials, failed } = std::mem::take(&mut *lock(&done));
    let server = Installed::find()?.server()?.clone();
    Ok(Run {
        seed: plan.seed,
        pace: plan.pace.name,
        beds: plan.beds,
        rounds: plan.rounds,
        took: started.elapsed(),
        server: format!("{} {}", server.name, server.version),
        trials,
        failed,
        left: lock(&tasks).len(),
    })
}

/// What has come of the tasks.
#[derive(Debug, Default)]
struct Done {
    trials: Vec<Trial>,
    failed: Vec<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stage after the other.
struct Bed {
    pace: Pace,
    /// Nothing but the verdict is of interest.
    is_brief: bool,
    pages: Option<Arc<Pages>>,
    stage: Option<Stage>,
}

impl Bed {
    /// Takes tasks until there are none, and keeps its stage while it fits.
    async fn work(
        &mut self,
        tasks: &Mutex<VecDeque<Task>>,
        done: &Mutex<Done>,
        until: Option<Instant>,
    ) {
        while until.is_none_or(|until| Instant::now() < until)
            && let Some(task) = self.next(tasks)
        {
            match self.one(task).await {
                Ok(trial) => {
                    println!("{}", line(&trial));
                    lock(done).trials.push(trial);
                }
                Err(error) => {
                    let what = format!("{} ({}): {error}", task.fault.name, task.load.name());
                    println!("not staged: {what}");
                    lock(done).failed.push(what);
                    self.clear();
                }
            }
        }
        self.clear();
    }

    /// A task that fits the stage, if there is one.
    fn next(&self, tasks: &Mutex<VecDeque<Task>>) -> Option<Task> {
        let mut tasks = lock(tasks);
        let at = tasks.iter().position(|task| self.fits(task)).unwrap_or(0);
        tasks.remove(at)
    }

    fn fits(&self, task: &Task) -> bool {
        self.stage.as_ref().is_some_and(|stage| {
            !stage.spent && task.load == stage.load && task.fault.variant == stage.variant
        })
    }

    fn log_tail(&self) -> String {
        self.stage.as_ref().map(|stage| stage.streamer.log_tail()).unwrap_or_default()
    }

    fn clear(&mut self) {
        if let (Some(stage), Some(pages)) = (&self.stage, &self.pages) {
            // It is looked at for nothing; that is no harm.
            pages.look_at(stage.streamer.address(), false).ok();
        }
        self.stage = None;
    }

    async fn one(&mut self, task: Task) -> Result<Trial, Error> {
        if !self.fits(&task) {
            self.clear();
            let stage = Stage::start(task.fault.variant, task.load, self.pace).await?;
            if let Some(pages) = &self.pages {
                pages.look_at(stage.streamer.address(), true)?;
            }
            self.stage = Some(stage);
        }
        let Some(stage) = &mut self.stage else { return Err(Error::Interrupted) };
        if trial::until_well(stage).await?.is_none() {
            let seen = stage.watch.seen();
            let shown = seen.now().map(|shown| shown.sentence.clone()).unwrap_or_default();
            return Err(Error::Message(format!("the stage is not well: {shown}")));
        }
        let mut dice = Dice::new(task.seed);
        let care = if self.is_brief { Care::Verdict } else { Care::Full(self.pages.as_deref()) };
        let trial = trial::run(stage, task.fault, care, &mut dice).await?;
        if !trial.is_right() || trial.is_late() {
            keep(stage, &trial);
        }
        Ok(trial)
    }
}

/// Copies what a wrong verdict is looked into with.
fn keep(stage: &Stage, trial: &Trial) {
    let Some(folder) = std::env::var_os("FAULTS_KEEP").map(PathBuf::from) else { return };
    let name = format!("{} {}", trial.fault.name, trial.load.name()).replace([' ', ':', '/'], "-");
    let log = stage.streamer.folder().path().join("log");
    let status = stage.watch.seen().last.clone().map(|(_, status)| status.to_string());
    let shown: Vec<_> = trial.shown.iter().map(|shown| format!("{shown:?}\n")).collect();
    let shown = shown.concat();
    std::fs::create_dir_all(&folder).ok();
    std::fs::copy(log, folder.join(format!("{name}.log"))).ok();
    let text = format!("{shown}{}", status.unwrap_or_default());
    std::fs::write(folder.join(format!("{name}.txt")), text).ok();
}

fn line(trial: &Trial) -> String {
    let seconds = |time: Option<std::time::Duration>| {
        time.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()))
    };
    let steps: Vec<_> = trial
        .shown
        .iter()
        .map(|(at, shown)| format!("{:.1} {}", at.as_secs_f64(), shown.label()))
        .collect();
    let sign = match (trial.is_right(), trial.is_late()) {
        (false, _) => "WRONG",
        (true, true) => "late",
        (true, false) => "ok",
    };
    format!(
        "{sign:<5} {:<48} {:<8} {:>5} of {:>5} s, back {:>5} s | {} | {:?}",
        trial.fault.name,
        trial.load.name(),
        seconds(trial.detected),
        seconds(trial.budget),
        seconds(trial.recovered),
        steps.join(", "),
        trial.pages.iter().flatten().map(|page| page.alert.as_str()).collect::<Vec<_>>(),
    )
}
