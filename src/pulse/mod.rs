//! Proof of life: heartbeat and canary rows, written into the source and awaited on the stream and
//! behind the sink.
//!
//! Two kinds of code, kept apart. Tasks do I/O and report [`Observation`]s: the [`heartbeat`] writer, the
//! [`canary`] writers, the [`echo`] readers, looks at the server and samples of ourselves. Observers are
//! pure and are told what happened and when: the [`book`] and the [`verdict`]'s judge.
//!
//! This part does not know the pipeline. It gets from it the rows that [`recognise`] finds, and
//! that messages settled.

pub mod book;
pub mod canary;
pub mod config;
mod dialect;
pub mod echo;
mod failure;
mod grants;
pub mod heartbeat;
mod nonce;
mod observation;
pub mod path;
mod pen;
pub mod probe;
mod progress;
pub mod received;
mod recognise;
mod sampler;
pub mod schema;
mod source_clock;
mod stages;
pub mod verdict;
mod vital;
pub(crate) mod watch;
mod watermark;
mod writer;

pub use book::Book;
pub use config::{Conflict, Periods};
pub use failure::{SqlFailure, StreamFailure};
pub use grants::{exempt_privileges, read_grants};
pub use nonce::Nonces;
pub use observation::{
    ClockSample, Clocks, Connection, Executed, Facts, Ignored, LagSample, Leg, Observation,
    Observer, Phase, Poll, Probe, SinkSample, StreamSample, Upstream,
};
pub use progress::{Progress, ProgressObserver};
pub use received::Received;
pub use recognise::{CanaryRow, HeartbeatRow, PathRow, Recogniser, Seen};
pub(crate) use sampler::Sampler;
pub use stages::{Stage, Stages};
pub(crate) use vital::Vital;
pub use watermark::{Watermark, WatermarkProvider};
pub use writer::{Writer, WriterConfig};
