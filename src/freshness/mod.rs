//! Proof of life: heartbeat and canary rows, written into the source and awaited on the stream and
//! behind the sink.
//!
//! Two kinds of code, kept apart. Tasks do I/O and report [`Observation`]s: the [`heartbeat`] writer,
//! the [`canary`] writers, the [`canary::echo`] readers, looks at the server and samples of ourselves.
//! Observers are pure and are told what happened and when: the [`round_trips`] and the [`verdict`]'s
//! judge.
//!
//! This part does not know the pipeline. It gets from it the rows that [`recognise`] finds, and
//! that messages settled.

pub mod canary;
mod clock_offset;
pub mod config;
mod dialect;
mod failure;
mod grants;
pub mod heartbeat;
mod nonce;
mod observation;
mod pending_write;
pub mod probe;
mod progress;
pub mod received;
mod recognise;
pub mod round_trips;
mod sampler;
pub mod schema;
mod stages;
mod state;
pub mod verdict;
pub(crate) mod watch;
mod watermark;
mod write_session;

pub use config::{Conflict, Periods};
pub use failure::{SqlFailure, StreamFailure};
pub use grants::{exempt_privileges, read_grants};
pub use nonce::Nonces;
pub use observation::{
    CanaryStep, ClockSample, Clocks, Connection, Executed, Facts, Ignored, LagSample, Observation,
    Observer, Phase, Probe, SinkSample, StatePoll, StreamSample, Upstream,
};
pub use progress::{Progress, ProgressObserver};
pub use received::Received;
pub use recognise::{CanaryRow, HeartbeatRow, PathRow, Recogniser, Seen};
pub use round_trips::RoundTrips;
pub(crate) use sampler::Sampler;
pub use stages::{Stage, Stages};
pub(crate) use state::FreshnessState;
pub use watermark::{Watermark, WatermarkProvider};
pub use write_session::{WriteRefused, WriteSession, WriterConfig};
