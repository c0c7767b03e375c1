//! What a route must not forget.
//!
//! One record for each lane, and the parked rows. A store changes a record only for the holder of
//! the lane's lease, told by its fence: a process that was paused and wakes up changes nothing.
//!
//! A target that is a database keeps its lanes itself, in the transaction that writes the rows; it
//! has no store here.

use serde::{Deserialize, Serialize};

use crate::lane::LaneKey;

/// How far a lane is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// The smallest number that is neither delivered, nor parked, nor given up.
    pub next: u64,
    /// Delivered or parked from `next` on: ascending, disjoint, both ends included.
    pub done: Vec<(u64, u64)>,
    /// Requests under way. Written before the first attempt, so that after a crash the same rows go
    /// out under the same id.
    pub sending: Vec<Sending>,
    /// Keys of which a row is parked: later rows of such a key are parked behind it.
    pub parked_keys: Vec<String>,
    /// Attempt of the snapshot parts that `part_next` counts.
    #[serde(default)]
    pub part_attempt: u32,
    /// The rows of the lane's snapshot parts that are delivered: the smallest number that is not.
    pub part_next: u64,
}

/// A request under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Number of its first row.
    pub first: u64,
    /// Number of its last row.
    pub last: u64,
    /// Attempts that failed.
    pub attempts: u32,
}

/// Rows that could not be delivered, kept for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The request's id, see [`Request::id`](crate::target::Request::id).
    pub id: String,
    /// Lane of the rows; `None` for a message that could not be opened.
    pub lane: Option<LaneKey>,
    /// Number of the first row.
    pub first: u64,
    /// Number of the last row.
    pub last: u64,
    /// Key of the rows, where order is kept by key.
    pub key: Option<String>,
    /// The request's body, or the message's where it could not be opened.
    pub body: Vec<u8>,
    /// Media type of the body.
    pub content_type: String,
    /// Why it is here.
    pub reason: Reason,
    /// Attempts that failed.
    pub attempts: u32,
    /// The target's last answer, cut: a status and the beginning of its text, or an error.
    pub answer: String,
    /// When it was parked, microseconds since 1970 UTC.
    pub parked_at_us: i64,
}

/// Why rows are parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The target refused each attempt.
    Refused,
    /// An earlier row of the same key is parked.
    Behind,
    /// The message is none of binpulse's, damaged, or of a version that is not known.
    Unreadable,
    /// The rows don't fit into a request.
    TooLarge,
}

/// A lane's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is the caller's until the time to live ends or it is renewed.
    Leased {
        /// Rises with each holder; named with each change.
        fence: u64,
        /// The lane as it was saved last; the default for an unknown one, whose `next` is 0.
        record: LaneRecord,
    },
    /// Another process holds it.
    Held {
        /// That process.
        owner: String,
    },
}

/// A change of one lane. All that a store is given together is saved together, or nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// The lane.
    pub lane: LaneKey,
    /// The lease's fence.
    pub fence: u64,
    /// What stands for the lane from now on.
    pub record: LaneRecord,
    /// Rows that are parked with it. An id that is there already stays as it is.
    pub park: Vec<Parked>,
}

/// A store failed, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Can't be reached, or broke off: tried again.
    #[error("relay.state {place}: {message}")]
    Unavailable {
        /// The store, without secrets.
        place: String,
        /// What happened.
        message: String,
    },
    /// Is not fit: an operator is needed.
    #[error("relay.state {place}: found {found}, needed {needed}: {remedy}")]
    Unfit {
        /// The store, without secrets.
        place: String,
        /// What was found.
        found: String,
        /// What is needed.
        needed: String,
        /// What to do.
        remedy: String,
    },
}
