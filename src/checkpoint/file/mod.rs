//! A checkpoint in a local file.
//!
//! The file is a log of lines as [`journal`](crate::journal) has them. The first holds a whole
//! checkpoint, each further one a delta; the text of each is one JSON document.
//!
//! Saving appends a line and syncs it. When the deltas outgrow the first line, the file is written
//! again beside the old one and renamed over it. A line that was cut short by a crash is the last
//! one, was never acknowledged, and is dropped. Damage anywhere else is an error.
//!
//! The lock is on a second file, `<name>.lock`, since renaming gives the first another inode. It is
//! the operating system's and goes with the process, however that ends.

mod lock;
mod log;
mod record;
mod rehearsal;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Checkpoint, Delta, Error, Store};
use crate::platform;
use log::Log;

/// A checkpoint in a local file. See the module's words for its format.
#[derive(Debug)]
pub struct FileStore {
    log: Arc<Mutex<Log>>,
}

impl FileStore {
    /// Opens, and locks, the checkpoint of `stream` at `path`. The folder must exist; the file
    /// need not.
    pub async fn open(path: impl Into<PathBuf>, stream: &str) -> Result<Self, Error> {
        let (path, stream) = (path.into(), stream.to_owned());
        let log = blocking(move || Log::open(path, stream)).await?;
        Ok(Self { log: Arc::new(Mutex::new(log)) })
    }

    /// Names the locked file among all files of all machines: see [`lock`].
    pub async fn lock_identity(&self) -> Option<String> {
        self.with_log(|log| Ok(log.lock_identity())).await.ok().flatten()
    }

    /// The checkpoint of `stream` at `path`, also while another process holds it. `None`: there is no
    /// file.
    pub async fn peek(path: impl Into<PathBuf>, stream: &str) -> Result<Option<Checkpoint>, Error> {
        let (path, stream) = (path.into(), stream.to_owned());
        blocking(move || Log::peek(path, stream)).await
    }

    /// What [`FileStore::open`] would find, or be refused with, now: also while another process holds the
    /// checkpoint, which is then the refusal. Nothing is taken over, and nothing stays behind.
    pub async fn rehearse(
        path: impl Into<PathBuf>,
        stream: &str,
    ) -> Result<Option<Checkpoint>, Error> {
        let (path, stream) = (path.into(), stream.to_owned());
        blocking(move || rehearsal::rehearse(&path, stream)).await
    }

    async fn with_log<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let log = Arc::clone(&self.log);
        // A panic in the log leaves it with its own idea of its good length, which is what the
        // next write starts from.
        blocking(move || work(&mut log.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

impl Store for FileStore {
    async fn load(&mut self) -> Result<Option<Checkpoint>, Error> {
        self.with_log(|log| Ok(log.checkpoint().cloned())).await
    }

    async fn begin(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let checkpoint = checkpoint.clone();
        self.with_log(move |log| log.begin(checkpoint)).await
    }

    async fn save(&mut self, delta: &Delta) -> Result<(), Error> {
        let delta = delta.clone();
        self.with_log(move |log| log.save(&delta)).await
    }
}

/// Runs what may wait for a disk, away from the threads that must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match platform::blocking(work).await {
        Ok(result) => result,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: nothing waits for this any more.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
