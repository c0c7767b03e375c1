//! Keeps the history: looks at the status each second, and saves the changes of the verdict.
//!
//! A task of its own: the row path knows nothing of it, and no checkpoint waits for it. A history that
//! can't be read or saved is told, and stops nothing.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::status::StatusBuilder;
use crate::journal::{self, Line, Lines};
use crate::platform;
use crate::telemetry::StatusSource;
use crate::telemetry::history::{BYTES_MAX, Change, Document, History};
use crate::telemetry::status::Status;
use crate::telemetry::words::Role;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two saves, and after one that failed.
const SAVE_EVERY: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// What a file may have: the changes, their checksums, and room for a version that keeps more.
const FILE_BYTES_MAX: u64 = 4 * BYTES_MAX as u64;
/// What the file's name has behind that of the checkpoint.
const SUFFIX: &str = ".history";

/// The history, and where it is saved.
#[derive(Clone)]
pub(super) struct Recorder {
    history: Arc<Mutex<History>>,
    /// `None`: it lives as long as the process.
    path: Option<PathBuf>,
}

/// What the loop knows beside the history.
struct Saving {
    is_loaded: bool,
    is_due: bool,
    not_before: Instant,
    is_told: bool,
}

impl Recorder {
    /// Nothing is known yet.
    pub(super) fn new(plan: &Plan) -> Self {
        let path = plan.checkpoint.file.as_deref().map(|file| journal::beside(file, SUFFIX));
        let history = History::default();
        Self { history: Arc::new(Mutex::new(history)), path }
    }

    /// What `/history` shows.
    pub(super) fn document(&self) -> Document {
        self.lock().document()
    }

    /// Records until told to stop.
    pub(super) async fn keep(self, status: Arc<StatusBuilder>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = platform::now();
        let mut saving =
            Saving { is_loaded: false, is_due: false, not_before: now, is_told: false };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let says = status.status();
            saving.is_due |= self.lock().record(&says, platform::wall_us());
            if let Some(path) = self.path.clone().filter(|_| owns_stream(&says)) {
                self.load_and_save(path, &mut saving).await;
            }
        }
    }

    async fn load_and_save(&self, path: PathBuf, saving: &mut Saving) {
        if !saving.is_loaded {
            saving.is_loaded = true;
            let from = path.clone();
            let loaded = platform::blocking(move || load(&from)).await;
            match loaded.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(before) => self.lock().continue_from(before),
                Err(error) => {
                    let told = format!(
                        "The history in {} can't be read ({error}); a new one begins",
                        path.display()
                    );
                    tracing::warn!(path = %path.display(), %error, "the history of verdicts can't be read; a new one begins");
                    self.lock().tell(told);
                }
            }
        }
        if !saving.is_due || platform::now() < saving.not_before {
            return;
        }
        let changes: Vec<Change> = self.lock().changes().cloned().collect();
        let to = path.clone();
        let saved = platform::blocking(move || save(&to, &changes)).await;
        match saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                saving.is_due = false;
                saving.not_before = platform::now() + SAVE_EVERY;
                if std::mem::take(&mut saving.is_told) {
                    self.lock().tell(String::new());
                }
            }
            Err(error) => {
                saving.not_before = platform::now() + RETRY_AFTER;
                if !std::mem::replace(&mut saving.is_told, true) {
                    tracing::warn!(path = %path.display(), %error, "the history of verdicts can't be saved, and is tried again");
                }
                self.lock()
                    .tell(format!("The history can't be saved in {}: {error}", path.display()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the checkpoint is this process's: before that its folder is another's.
fn owns_stream(says: &Status) -> bool {
    says.checkpoint.epoch > 0 && says.lease.role != Role::Standby
}

/// The changes that were saved, the oldest first. A file that is not there has none; one that is damaged
/// is an error, as a whole.
fn load(path: &Path) -> io::Result<Vec<Change>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut lines = Lines::new(BufReader::new(file.take(FILE_BYTES_MAX)));
    let mut changes = Vec::new();
    while let Some(line) = lines.read()? {
        match line {
            Line::Good(text) => changes.push(serde_json::from_slice(text)?),
            damaged @ (Line::Torn | Line::Bad { .. }) => {
                let at = changes.len() + 1;
                return Err(io::Error::other(format!("line {at} is damaged: {damaged:?}")));
            }
        }
    }
    Ok(changes)
}

fn save(path: &Path, changes: &[Change]) -> io::Result<()> {
    let mut text = String::new();
    for change in changes {
        text += &journal::line(&serde_json::to_string(change)?);
    }
    journal::replace(path, |error| error, |file| file.write_all(text.as_bytes())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        let change =
            |at_us| Change { at_us, state: format!("state {at_us}\n"), ..Change::default() };
        (0..3).map(change).collect()
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_missing_file_is_an_empty_history() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("orders.checkpoint.history");
        assert_eq!(load(&path).expect("no file"), []);
        save(&path, &changes()).expect("saved");
        assert_eq!(load(&path).expect("loaded"), changes());
        save(&path, &changes()[1..]).expect("replaced");
        assert_eq!(load(&path).expect("loaded"), changes()[1..]);
    }

    #[test]
    fn no_damage_is_taken_for_a_history_and_none_panics() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("h");
        save(&path, &changes()).expect("saved");
        let whole = fs::read(&path).expect("read");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            fs::write(&path, &bytes).expect("written");
            assert!(load(&path).is_err(), "byte {at}");
        }
        fs::write(&path, journal::line("{\"at_us\":\"text\"}")).expect("written");
        assert!(load(&path).is_err(), "a form that is not known");
    }
}
