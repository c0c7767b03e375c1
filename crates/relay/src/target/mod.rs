//! Where rows go.
//!
//! Two kinds. A *receiver* (webhook, queue, topic, output) is given requests, and may see one again
//! after a crash, under the same id. A *copy* (MySQL, PostgreSQL) writes rows and the lane's numbers
//! in one transaction, and so applies each row once.

mod aws;
mod batch;
pub mod breaker;
pub mod copy;
pub mod receiver;
pub mod retry;
pub mod sns;
pub mod sqs;
pub mod webhook;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::lane::LaneKey;

/// What a receiver is given: one or more rows of one lane, already in its format.
#[derive(Debug, Clone)]
pub struct Request {
    /// The same for the same rows, whoever sends them and however often:
    /// `bp_` and 32 characters of base32 of a SHA-256 over stream, epoch, lane, first and last number.
    pub id: String,
    /// Lane of the rows.
    pub lane: LaneKey,
    /// Number of the first row.
    pub first: u64,
    /// Number of the last row.
    pub last: u64,
    /// Key of the rows, where order is kept by key; the lane where it is kept by lane.
    pub group: String,
    /// The body.
    pub body: Bytes,
    /// Media type of the body.
    pub content_type: &'static str,
    /// What follows it, and is delivered with it: the insert of a key that an update changed, where the
    /// format has that as two changes and a body has one.
    pub then: Option<Box<Request>>,
    /// `change`, `canary`, `outbox`.
    pub kind: &'static str,
    /// Attributes of a message of an outbox, which goes on with those that it has; empty for others.
    pub attributes: Vec<Attribute>,
}

/// An attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// `String`, `Number` or another type of SQS and SNS.
    pub data_type: String,
    /// Its value.
    pub value: String,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// Not delivered; an attempt may succeed later.
    Failed {
        /// The status line, or the error; no body of ours, no secret.
        answer: String,
        /// The receiver asks not to be tried again before.
        retry_after: Option<Duration>,
        /// Whether this says that the receiver as a whole, or our way to it, is in trouble (no
        /// connection, time-out, 401, 404, 429, 5xx), not that it dislikes this request: such
        /// failures open the breaker.
        is_outage: bool,
    },
    /// The receiver says that it is gone for good (410): an operator is needed.
    Gone {
        /// The answer.
        answer: String,
    },
    /// This request can't be sent at all, ever: it is parked.
    Refused {
        /// Why.
        answer: String,
    },
}
