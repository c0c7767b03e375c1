//! What was observed of each hop, and the conditions that follow from it.
//!
//! Each file owns one hop: it takes that hop's observations, keeps what judging needs, and sets
//! that hop's conditions. A condition turns `False` when an obligation is overdue *and* a second
//! look was taken, or at once where the evidence is certain; it turns `Unknown` when evidence that
//! ought to have been renewed is older than its validity.

mod canaries;
mod heartbeat;
mod history;
mod identity;
mod progress;
mod sink;
mod sql;
mod stream;
#[cfg(test)]
mod tests;
mod writes;

pub(super) use canaries::CanaryEvidence;
pub(super) use heartbeat::{HeartbeatContext, HeartbeatEvidence};
pub(super) use history::{HistoryEvidence, Sets};
pub(super) use identity::IdentityEvidence;
pub(super) use progress::{CheckpointEvidence, LagEvidence};
pub(super) use sink::SinkEvidence;
pub(super) use sql::SqlEvidence;
pub(super) use stream::StreamEvidence;
pub(super) use writes::WriteEvidence;

use std::time::Duration;

/// Window in which two failures of the stream are one fault.
pub(super) const FAILURE_WINDOW: Duration = Duration::from_secs(10);

/// Seconds with one decimal, for people.
pub(super) fn seconds(age: Duration) -> String {
    format!("{:.1} s", age.as_secs_f64())
}
