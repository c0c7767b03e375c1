//! The checkpoint's store, whichever it is.

use crate::checkpoint::{Checkpoint, Delta, Error, FileStore, Store, TableStore};

/// A store chosen by the configuration.
pub(super) enum AnyStore {
    File(FileStore),
    Table(TableStore),
}

impl Store for AnyStore {
    async fn load(&mut self) -> Result<Option<Checkpoint>, Error> {
        match self {
            Self::File(store) => store.load().await,
            Self::Table(store) => store.load().await,
        }
    }

    async fn begin(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        match self {
            Self::File(store) => store.begin(checkpoint).await,
            Self::Table(store) => store.begin(checkpoint).await,
        }
    }

    async fn save(&mut self, delta: &Delta) -> Result<(), Error> {
        match self {
            Self::File(store) => store.save(delta).await,
            Self::Table(store) => store.save(delta).await,
        }
    }
}
