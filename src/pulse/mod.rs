//! Proof of life: heartbeat and canary rows, written into the source and awaited on the stream and
//! behind the sink.
//!
//! Two kinds of code, kept apart. Tasks do I/O and report [`Event`]s: the [`heartbeat`] writer, the
//! [`canary`] walker, those of each [`path`], the [`echo`] readers. Observers are pure and are told what happened and when:
//! all of them are in [`book`]. A verdict stands on the observers alone.
//!
//! This part does not know the pipeline. It gets from it the rows that [`recognise`] finds, and
//! that messages settled.

pub mod book;
pub mod canary;
pub mod config;
pub mod echo;
mod event;
mod grants;
pub mod heartbeat;
mod nonce;
pub mod path;
mod pen;
pub mod probe;
mod reason;
pub mod received;
mod recognise;
pub mod schema;
mod stages;
pub mod verdict;
mod writer;

pub use book::Book;
pub use config::{Conflict, Periods};
pub use event::{Event, Leg, Observer, Phase};
pub use grants::{exempt_privileges, read_grants};
pub use nonce::Nonces;
pub use reason::Reason;
pub use received::Received;
pub use recognise::{CanaryRow, HeartbeatRow, PathRow, Recogniser, Seen};
pub use stages::{Stage, Stages};
pub use writer::{Facts, Writer, WriterConfig};
