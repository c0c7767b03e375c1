//! What is noted of heartbeats and canaries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::freshness::canary::echo::Echo;
use crate::freshness::{Phase, SqlFailure};

/// How the last write went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The family of causes.
    pub reason: SqlFailure,
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
    /// The last that was committed: its number and the begin of its write.
    pub committed: Option<(u64, Instant)>,
    /// The last that was seen on the stream.
    pub seen: Option<RoundTrip>,
    /// Set while the last attempt had failed.
    pub failure: Option<Failure>,
}

/// What is known of the canaries through one table, apart from their echoes.
#[derive(Debug, Clone)]
pub struct Canaries {
    /// The path through an operator's table; `None`: the built-in canary.
    pub path: Option<Arc<str>>,
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

impl Canaries {
    /// Nothing is known yet of canaries that end with this step.
    pub(super) fn new(path: Option<Arc<str>>, last: Phase) -> Self {
        Self { path, walked: 0, failed: 0, committed: None, seen: None, failure: None, last }
    }
}

/// An echo, evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluatedEcho {
    /// The account that it is in.
    pub account: Arc<str>,
    /// What it was.
    pub echo: Echo,
    /// From the begin of the row's write to the echo, if that is known.
    pub took: Option<Duration>,
}
