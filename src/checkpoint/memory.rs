//! A checkpoint that nobody will continue from.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Checkpoint, Delta, Error, Store};

/// A checkpoint in memory, for work that begins and ends with one process. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    checkpoint: Arc<Mutex<Checkpoint>>,
}

impl MemoryStore {
    /// Continues from `checkpoint`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clones_share_what_was_begun_and_saved() {
        let begun = |epoch| Checkpoint { epoch, ..Checkpoint::default() };
        let mut store = MemoryStore::new(begun(1));
        let other = store.clone();
        assert_eq!(store.load().await.expect("it is there"), Some(begun(1)));
        store.begin(&begun(2)).await.expect("memory");
        assert_eq!(other.checkpoint(), begun(2));
        let delta = Delta { taken_at_us: 9, heartbeat: Some(4), ..Delta::default() };
        store.save(&delta).await.expect("memory");
        let mut expected = begun(2);
        expected.apply(&delta);
        assert_eq!(other.checkpoint(), expected);
    }
}
