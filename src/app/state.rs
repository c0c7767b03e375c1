//! What the stream is doing, in one word, for `/status`, `/readyz` and the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::platform;
use crate::source::Identity;
use crate::telemetry::status::Halted;
use crate::telemetry::words::StreamState;

/// What the stream is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet streaming for the first time.
    Starting,
    /// Streaming.
    Running,
    /// Between two streams, and why.
    Reconnecting(String),
    /// Delivering what is under way.
    Stopping,
    /// It can't continue.
    Halted(Halted),
}

impl Phase {
    pub(super) fn state(&self) -> StreamState {
        match self {
            Self::Starting => StreamState::Starting,
            Self::Running => StreamState::Running,
            Self::Reconnecting(_) => StreamState::Reconnecting,
            Self::Stopping => StreamState::Stopping,
            Self::Halted(_) => StreamState::Halted,
        }
    }
}

/// Shared between the one that changes it and those who read.
#[derive(Debug, Clone)]
pub(super) struct State(Arc<Mutex<Inner>>);

/// One reading.
#[derive(Debug, Clone)]
pub(super) struct Inner {
    pub(super) phase: Phase,
    pub(super) since: Instant,
    pub(super) identity: Option<Identity>,
    pub(super) epoch: u64,
    /// The sink's last words, when it has ended with an error.
    pub(super) sink_error: Option<String>,
}

impl State {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            phase: Phase::Starting,
            since: platform::now(),
            identity: None,
            epoch: 0,
            sink_error: None,
        })))
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.update(|inner| {
            if inner.phase.state() != phase.state() {
                inner.since = platform::now();
            }
            inner.phase = phase;
        });
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read(&self) -> Inner {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
