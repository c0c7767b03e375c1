//! Keeps the history: looks at the status each second, and saves the changes of the verdict.
//!
//! A task of its own: the row path knows nothing of it, and no checkpoint waits for it. A history that
//! can't be read or saved is told, and stops nothing.

mod file;
mod table;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::table::Table;
use super::plan::Plan;
use super::status::StatusBuilder;
use crate::journal;
use crate::mysql::SharedHost;
use crate::platform;
use crate::telemetry::StatusSource;
use crate::telemetry::verdict_history::{Change, Document, History};
use crate::telemetry::words::Role;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two saves, and after one that failed.
const SAVE_EVERY: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// What the file's name has behind that of the checkpoint.
const SUFFIX: &str = ".history";

/// The history, and where it is saved.
#[derive(Clone)]
pub(super) struct Recorder {
    kept: Arc<Mutex<Kept>>,
    store: Store,
}

/// What the two halves of the task share: one looks, the other saves.
#[derive(Default)]
struct Kept {
    history: History,
    /// There is a change that is not saved.
    is_due: bool,
    /// The checkpoint is this process's: before that its place is another's.
    owns_stream: bool,
}

/// Where the changes are kept: with the checkpoint.
#[derive(Clone)]
enum Store {
    File(PathBuf),
    Table(Box<Table>),
}

impl Store {
    fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Table(table) => table.place(),
        }
    }

    async fn load(&mut self) -> Result<Vec<Change>, String> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                blocking(move || file::load(&path)).await
            }
            Self::Table(table) => table.load().await,
        }
    }

    /// All of them; the oldest stand first.
    async fn save(&mut self, changes: Vec<Change>) -> Result<(), String> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                blocking(move || file::save(&path, &changes)).await
            }
            Self::Table(table) => table.save(&changes).await,
        }
    }
}

/// Work with a disk, which may hang.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = platform::blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// What the half that saves knows.
struct Saving {
    is_loaded: bool,
    not_before: Instant,
    is_told: bool,
}

impl Recorder {
    /// Nothing is known yet.
    pub(super) fn new(plan: &Plan, host: &SharedHost) -> Self {
        let store = match plan.checkpoint.file.as_deref() {
            Some(file) => Store::File(journal::beside(file, SUFFIX)),
            None => Store::Table(Box::new(Table::new(plan, host))),
        };
        Self { kept: Arc::default(), store }
    }

    /// What `/history` shows.
    pub(super) fn document(&self) -> Document {
        self.lock().history.document()
    }

    /// Records until told to stop. A place that does not answer keeps nothing from being recorded.
    pub(super) async fn keep(self, status: Arc<StatusBuilder>, stop: CancellationToken) {
        tokio::join!(self.clone().look(status, &stop), self.save(&stop));
    }

    async fn look(self, status: Arc<StatusBuilder>, stop: &CancellationToken) {
        let (mut ticks, tables) = (ticks(), status.metrics.table_rows.clone());
        while ticked(&mut ticks, stop).await {
            let says = status.status();
            let mut kept = self.lock();
            let now_us = platform::wall_us();
            if kept.history.is_step_over(now_us) {
                kept.history.count_tables(tables.by_table(), now_us);
            }
            kept.is_due |= kept.history.record(&says, now_us);
            kept.owns_stream = says.checkpoint.epoch > 0 && says.lease.role != Role::Standby;
        }
    }

    async fn save(mut self, stop: &CancellationToken) {
        let mut ticks = ticks();
        let mut saving = Saving { is_loaded: false, not_before: platform::now(), is_told: false };
        while ticked(&mut ticks, stop).await {
            if self.lock().owns_stream && platform::now() >= saving.not_before {
                self.load_and_save(&mut saving).await;
            }
        }
    }

    async fn load_and_save(&mut self, saving: &mut Saving) {
        let place = self.store.place();
        if !saving.is_loaded {
            match self.store.load().await {
                Ok(before) => self.lock().history.continue_from(before),
                // What can't be read now is there all the same: nothing is saved over it.
                Err(error) if matches!(self.store, Store::Table(_)) => {
                    return self.failed(&place, &error, saving);
                }
                Err(error) => {
                    tracing::warn!(%place, %error, "the history of verdicts can't be read; a new one begins");
                    self.lock().history.tell(format!(
                        "The history in {place} can't be read ({error}); a new one begins"
                    ));
                }
            }
            saving.is_loaded = true;
        }
        let changes: Vec<Change> = {
            let mut kept = self.lock();
            if !std::mem::take(&mut kept.is_due) {
                return;
            }
            kept.history.changes().cloned().collect()
        };
        match self.store.save(changes).await {
            Ok(()) => {
                saving.not_before = platform::now() + SAVE_EVERY;
                if std::mem::take(&mut saving.is_told) {
                    self.lock().history.tell(String::new());
                }
            }
            Err(error) => {
                self.lock().is_due = true;
                self.failed(&place, &error, saving);
            }
        }
    }

    /// It is tried again, and told until it works.
    fn failed(&self, place: &str, error: &str, saving: &mut Saving) {
        saving.not_before = platform::now() + RETRY_AFTER;
        if !std::mem::replace(&mut saving.is_told, true) {
            tracing::warn!(%place, %error, "the history of verdicts can't be saved, and is tried again");
        }
        let told = format!("The history can't be saved in {place}: {error}");
        self.lock().history.tell(told);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next tick; `false`: told to stop.
async fn ticked(ticks: &mut Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        _ = ticks.tick() => true,
    }
}
