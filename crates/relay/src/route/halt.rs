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
    /// A task ended without an answer.
    #[error("a defect of the relay: {0}; nothing is lost, the messages come again: report it")]
    Defect(String),
    /// Something must be parked, and there is no place for it.
    #[error("{0}; relay.state is not set: set it, so that such rows can be parked")]
    NowhereToPark(String),
}
