//! The loop: events -> rows -> messages -> sink -> settled position.
//!
//! ```text
//! Replica -> Decoder -> Flow (filter, recognise, pack, count) -> finalize thread -> Feed -> sink
//!                        ^                                                              |
//!                        +--- Tracker <- settlements <----------------------------------+
//!                                |
//!                                +-> saver task -> checkpoint store
//! ```
//!
//! The only place besides `app` that names several stages. It decides nothing that a stage could:
//! it carries values from one to the next, and waits where the next has no room. While it waits it
//! continues taking settlements, so that nobody waits for each other.

mod claims;
mod control_messages;
mod counts;
mod destination;
mod duplicate_skipper;
mod encoded_queue;
mod event;
mod finalizing;
mod flow;
mod outcomes;
mod passed_on;
mod run;
mod saver;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use claims::Claims;
pub use control_messages::ControlMessages;
pub(crate) use destination::Topics;
pub(crate) use encoded_queue::encoded_queue;
pub(crate) use finalizing::{Config as FinalizingConfig, spawn as spawn_finalizing};
pub use flow::{Flow, FlowConfig, Indirect, OwnRows, SurplusRows, Window};
pub use passed_on::Lost;
pub(crate) use run::Parts;
pub use run::{Ended, Pipeline};
pub(crate) use saver::Saver;

use crate::{checkpoint, decode, sink, source};

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source: what follows is [`source::Error::recovery`]'s to say.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// An event that can't be decoded.
    #[error(transparent)]
    Decode(#[from] decode::Error),
    /// A transaction of which rows were published is gone from the source.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A row that its topic does not take, and the policy is to halt.
    #[error(
        "a row of lane {lane}, number {sequence}, has {bytes} bytes as a message, more than its \
         topic {topic} takes"
    )]
    TooLarge {
        /// Lane of the row.
        lane: String,
        /// Its number in the lane.
        sequence: u64,
        /// Size of its message, bytes.
        bytes: usize,
        /// The topic.
        topic: String,
    },
    /// A message that its topic refused for good, and the policy is to halt.
    #[error("message with rows {sequence} and following of lane {lane} was refused: {refusal}")]
    Refused {
        /// Lane of the message.
        lane: String,
        /// Number of its first row.
        sequence: u64,
        /// Why.
        refusal: sink::MessageRejected,
    },
    /// The sink ended on its own.
    #[error("the sink has ended")]
    SinkEnded,
    /// The checkpoint can't be saved, now or ever again.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A refused message can't be quarantined.
    #[error(transparent)]
    Quarantine(#[from] sink::quarantine::Error),
    /// The tracker was told what can't be: a bug.
    #[error(transparent)]
    Misuse(#[from] checkpoint::Misuse),
    /// The server ended the stream without an error: it shuts down, or our thread was killed.
    #[error("the server ended the stream")]
    StreamEnded,
}
