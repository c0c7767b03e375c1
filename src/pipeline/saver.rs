//! Saves the checkpoint beside the loop: a slow or full disk holds nothing up.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::checkpoint::{Delta, Error, Recovery, Saving, Store, Tracker};

/// The loop's end of the saving task.
pub(crate) struct Saver {
    requests: mpsc::Sender<Delta>,
    results: mpsc::Receiver<Saved>,
    saving: Saving,
    is_under_way: bool,
    /// What a failed save leaves to be saved with the next.
    unsaved: Option<Delta>,
}

/// How a save ended.
pub(crate) struct Saved {
    delta: Delta,
    result: Result<(), Error>,
}

/// What the loop learns from a save.
pub(crate) enum Outcome {
    /// Durable, with this heartbeat as the newest within.
    Saved {
        /// Newest heartbeat within.
        heartbeat: Option<u64>,
    },
    /// Not now; it is tried again.
    Failed(Error),
}

impl Saver {
    /// Starts the task; it ends when the saver is dropped.
    pub(crate) fn spawn<S: Store + 'static>(
        mut store: S,
        saving: Saving,
    ) -> (Self, JoinHandle<()>) {
        let (requests, mut taken) = mpsc::channel::<Delta>(1);
        let (told, results) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            while let Some(delta) = taken.recv().await {
                let result = store.save(&delta).await;
                if told.send(Saved { delta, result }).await.is_err() {
                    return;
                }
            }
        });
        (Self { requests, results, saving, is_under_way: false, unsaved: None }, task)
    }

    /// Begins a save if one is due, none is under way, and there is something to save.
    pub(crate) fn offer(&mut self, tracker: &mut Tracker, now: Instant) {
        if !self.is_under_way && self.saving.is_due(now) {
            self.begin(tracker);
        }
    }

    /// When the next save may begin; `None`: at once, or one is under way.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        if self.is_under_way { None } else { self.saving.due_at() }
    }

    /// The end of a save. Pending while none is under way. Cancel safe. An error means that the task
    /// is gone, and nothing will ever be saved again.
    pub(crate) async fn result(&mut self) -> Result<Saved, Error> {
        self.results.recv().await.ok_or_else(|| Error::Io {
            action: "save",
            path: "the checkpoint".into(),
            source: std::io::Error::other("the task that saves has ended, which is a bug"),
        })
    }

    /// Takes note of a save's end. An error is one that no later save can mend.
    pub(crate) fn observe(&mut self, saved: Saved, now: Instant) -> Result<Outcome, Error> {
        self.is_under_way = false;
        match saved.result {
            Ok(()) => {
                self.saving.succeeded(now);
                Ok(Outcome::Saved { heartbeat: saved.delta.heartbeat })
            }
            Err(error) => match error.recovery() {
                Recovery::Retry => {
                    self.saving.failed(now);
                    self.unsaved = Some(saved.delta);
                    Ok(Outcome::Failed(error))
                }
                Recovery::Halt => Err(error),
            },
        }
    }

    /// Saves everything that is delivered, now: the last act of a stop.
    pub(crate) async fn finish(&mut self, tracker: &mut Tracker) -> Result<(), Error> {
        if self.is_under_way {
            let saved = self.result().await?;
            self.observe(saved, Instant::now())?;
        }
        self.begin(tracker);
        if self.is_under_way {
            let saved = self.result().await?;
            if let Outcome::Failed(error) = self.observe(saved, Instant::now())? {
                return Err(error);
            }
        }
        Ok(())
    }

    fn begin(&mut self, tracker: &mut Tracker) {
        let delta = match (self.unsaved.take(), tracker.take_delta(now_us())) {
            (Some(mut older), Some(newer)) => {
                older.merge(newer);
                older
            }
            (Some(delta), None) | (None, Some(delta)) => delta,
            (None, None) => return,
        };
        match self.requests.try_send(delta) {
            Ok(()) => self.is_under_way = true,
            Err(
                mpsc::error::TrySendError::Full(delta) | mpsc::error::TrySendError::Closed(delta),
            ) => {
                self.unsaved = Some(delta);
            }
        }
    }
}

fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
