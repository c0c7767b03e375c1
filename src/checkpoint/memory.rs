//! A checkpoint that nobody will go on from.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Checkpoint, Delta, Error, Store};

/// A checkpoint in memory, for work that begins and ends with one process. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    checkpoint: Arc<Mutex<Checkpoint>>,
}

impl MemoryStore {
    /// Goes on from `checkpoint`.
    pub fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint: Arc::new(Mutex::new(checkpoint)) }
    }

    /// The checkpoint as last saved.
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Store for MemoryStore {
    async fn load(&mut self) -> Result<Option<Checkpoint>, Error> {
        Ok(Some(self.checkpoint()))
    }

    async fn begin(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let mut ours = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        ours.clone_from(checkpoint);
        Ok(())
    }

    async fn save(&mut self, delta: &Delta) -> Result<(), Error> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).apply(delta);
        Ok(())
    }
}
