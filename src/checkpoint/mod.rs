//! How far delivery has got, and the same after a restart.
//!
//! [`Tracker`] (pure) watches transactions go by and messages settle, and says up to where
//! everything is delivered. What changed since it was last asked is a [`Delta`]; a [`Store`] makes
//! deltas durable: [`FileStore`] in a local file, [`TableStore`] in the source database. [`Saving`]
//! (pure) says when to save.
//!
//! This part does not know what a message is, nor where it went. It never decides that something
//! is delivered: it is told.

mod error;
pub mod file;
pub mod known;
mod memory;
mod saving;
mod state;
pub mod table;
pub mod tracker;

use std::future::Future;

pub use error::{Error, Recovery};
pub use file::FileStore;
pub use memory::MemoryStore;
pub use saving::Saving;
pub use state::{Checkpoint, Delta, Place};
pub use table::{TableConfig, TableStore};

pub use tracker::{Commit, Misuse, MovedLanes, Tracker, TransactionKind};

/// Where a stream's checkpoint is kept.
///
/// # Contract
///
/// * A store belongs to one stream and to one process at a time. Opening it takes it over, or is
///   refused with [`Error::Fenced`] when another process holds it. An owner that was replaced gets
///   [`Error::Fenced`] from its next call, and what it tried to save has no effect.
/// * `Ok` from [`save`](Store::save) and [`begin`](Store::begin) means durable: a crash of this
///   process, of the machine or of the store right after it loses nothing of it. Each is atomic: a
///   later [`load`](Store::load) sees all of it or nothing.
/// * After an error that [`Error::recovery`] calls retryable, the call may or may not have taken
///   effect. Deltas hold absolute values and sets, so saving one again, alone or merged with newer
///   ones, is right in both cases. Delivery continues meanwhile; only the cost of a restart grows.
/// * Deltas are saved in the order in which they were taken from the tracker.
/// * A save costs in proportion to its delta, not to the number of lanes that the stream has
///   (compaction of a file excepted, whose cost is spread over the saves that led to it).
/// * Dropping the future of a call leaves the store usable; the call may still take effect.
pub trait Store: Send {
    /// The checkpoint as last saved; `None` when the stream never began here.
    fn load(&mut self) -> impl Future<Output = Result<Option<Checkpoint>, Error>> + Send;

    /// Starts again: replaces whatever is there by `checkpoint`.
    fn begin(&mut self, checkpoint: &Checkpoint) -> impl Future<Output = Result<(), Error>> + Send;

    /// Applies `delta` to what is there. Only after `load` gave a checkpoint, or after `begin`.
    fn save(&mut self, delta: &Delta) -> impl Future<Output = Result<(), Error>> + Send;
}
