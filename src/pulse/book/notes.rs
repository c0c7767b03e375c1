//! What is noted of heartbeats and canaries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pulse::echo::Echo;
use crate::pulse::{Facts, Phase, Reason};

/// How the last write went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The family of causes.
    pub reason: Reason,
    /// The words, for people.
    pub message: String,
    /// When it was reported.
    pub at: Instant,
}

/// A heartbeat or canary that came back, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// Its number.
    pub number: u64,
    /// When its write began.
    pub started: Instant,
    /// From the begin of the write to its return.
    pub took: Duration,
}

/// What is known of the heartbeats.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats {
    /// The last that was begun.
    pub begun: Option<(u64, Instant)>,
    /// The last that was committed: its number and the begin of its write.
    pub committed: Option<(u64, Instant)>,
    /// The last that was seen on the stream.
    pub seen: Option<RoundTrip>,
    /// The server's words for what the outstanding write does.
    pub server_state: Option<String>,
    /// Set while the last attempt had failed.
    pub failure: Option<Failure>,
    /// What the server said last, and when.
    pub facts: Option<(Facts, Instant)>,
}

/// What is known of the canaries, apart from their echoes.
#[derive(Debug, Clone, Default)]
pub struct Canaries {
    /// The last of which the insert was committed.
    pub committed: Option<(u64, Instant)>,
    /// The last of which a step was seen on the stream.
    pub seen: Option<RoundTrip>,
    /// Set while the last attempt had failed.
    pub failure: Option<Failure>,
    /// Rows whose cells were other than written.
    pub mismatched: u64,
}

/// What is known of a path's canaries, apart from their echoes.
#[derive(Debug, Clone)]
pub struct PathNotes {
    /// The path.
    pub path: Arc<str>,
    /// Canaries that went through all steps.
    pub walked: u64,
    /// Canaries that could not be written, or not to their end.
    pub failed: u64,
    /// The last of which the insert was committed, and the begin of its write.
    pub committed: Option<(u64, Instant)>,
    /// The last of which a step was seen on the stream.
    pub seen: Option<RoundTrip>,
    /// Set while the last attempt had failed.
    pub failure: Option<Failure>,
    /// Its last step.
    pub(super) last: Phase,
}

/// An echo, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The account that it is in.
    pub account: Arc<str>,
    /// What it was.
    pub echo: Echo,
    /// From the begin of the row's write to the echo, if that is known.
    pub took: Option<Duration>,
}
