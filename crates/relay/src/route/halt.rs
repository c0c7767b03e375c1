//! Why a route ends by itself.

use crate::state::StateError;
use crate::target::copy::CopyError;

/// Why a route ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The state refuses.
    #[error(transparent)]
    State(#[from] StateError),
    /// The copy is not fit.
    #[error(transparent)]
    Copy(Box<CopyError>),
    /// Another relay reads the queue, with a state of its own.
    #[error(
        "queue_shared: {queue} has another reader: every few canaries do not come ({stream}, numbers \
         {missing:?}), and rows with them; stop the other one, or give both a state that they share \
         (relay.state = \"mysql://...\" or \"redis://...\"), or each a queue of its own"
    )]
    QueueShared {
        /// The queue.
        queue: String,
        /// Stream and epoch of the canaries, and their path.
        stream: String,
        /// Their numbers.
        missing: Vec<u64>,
    },
    /// A task ended without an answer.
    #[error("a defect of the relay: {0}; nothing is lost, the messages come again: report it")]
    Defect(String),
    /// Something must be parked, and there is no place for it.
    #[error("{0}; relay.state is not set: set it, so that such rows can be parked")]
    NowhereToPark(String),
}
