//! What is shown of a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ask::Taken;
use super::progress::Progress;
use super::{Request, SnapshotHandle};
use crate::platform;
use crate::telemetry::snapshot::{SnapshotState, SnapshotStatus, SnapshotWait};

/// Over which time rows a second are counted.
const RATE_OVER: Duration = Duration::from_secs(30);

/// Keeps the status up to date.
pub(super) struct Shown {
    control: Arc<SnapshotHandle>,
    status: Option<SnapshotStatus>,
    /// Rows of the newest chunks.
    newest: VecDeque<(Instant, u64)>,
}

impl Shown {
    pub(super) fn new(control: Arc<SnapshotHandle>) -> Self {
        Self { control, status: None, newest: VecDeque::new() }
    }

    /// Its tables are looked at.
    pub(super) fn checking(&mut self, id: &str, request: &Request, now_us: i64) {
        self.newest.clear();
        self.status = Some(SnapshotStatus {
            id: id.to_owned(),
            state: SnapshotState::Checking,
            waits_for: None,
            reason: None,
            audience: request.audience.clone(),
            verifies: request.verify,
            started_at_us: now_us,
            newest_chunk_at_us: None,
            stalled_seconds: None,
            rows: 0,
            rows_per_second: 0.0,
            seconds_left: None,
            tables: Vec::new(),
        });
        self.show();
    }

    /// It could not begin.
    pub(super) fn refused(&mut self, reason: String) {
        if let Some(status) = &mut self.status {
            (status.state, status.reason) = (SnapshotState::Refused, Some(reason));
        }
        self.show();
    }

    /// It could not begin, and is not tried again.
    pub(super) fn given_up(&mut self) {
        if let Some(status) = &mut self.status {
            status.state = SnapshotState::Stopped;
        }
        self.show();
    }

    /// It waits.
    pub(super) fn waits(&mut self, wait: SnapshotWait, reason: Option<String>) {
        if let Some(status) = &mut self.status {
            (status.waits_for, status.reason) = (Some(wait), reason);
        }
        self.show();
    }

    /// A chunk was published.
    pub(super) fn taken(&mut self, taken: &Taken, now_us: i64) {
        let now = platform::now();
        self.newest.push_back((now, taken.rows));
        while self.newest.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_OVER) {
            self.newest.pop_front();
        }
        if let Some(status) = &mut self.status {
            (status.waits_for, status.reason) = (None, None);
            status.newest_chunk_at_us = Some(now_us);
        }
    }

    /// So far has it got.
    #[allow(clippy::cast_precision_loss, reason = "shown to people")]
    pub(super) fn progress(&mut self, progress: Option<&Progress>) {
        let Some(progress) = progress else { return };
        // A refusal is told until another snapshot begins, whatever was before it.
        let is_refused = self.status.as_ref().is_some_and(|status| {
            status.state == SnapshotState::Refused && *status.id != *progress.head.id
        });
        if is_refused && progress.state().is_over() {
            return;
        }
        let before = self.status.take().filter(|before| *before.id == *progress.head.id);
        let mut status = progress.status();
        if let Some(before) = before {
            status.newest_chunk_at_us = before.newest_chunk_at_us;
            if status.state == SnapshotState::Running {
                (status.waits_for, status.reason) = (before.waits_for, before.reason);
            }
        }
        status.rows_per_second = self.rate();
        let left = progress.rows_left().filter(|_| status.rows_per_second > 0.0);
        status.seconds_left = left
            .filter(|_| status.state == SnapshotState::Running)
            .map(|left| left as f64 / status.rows_per_second);
        self.status = Some(status);
        self.show();
    }

    #[allow(clippy::cast_precision_loss, reason = "shown to people")]
    fn rate(&self) -> f64 {
        let Some((oldest, _)) = self.newest.front() else { return 0.0 };
        let rows: u64 = self.newest.iter().skip(1).map(|(_, rows)| rows).sum();
        let seconds = platform::since(*oldest).as_secs_f64();
        if seconds > 0.0 { rows as f64 / seconds } else { 0.0 }
    }

    fn show(&self) {
        if let Some(status) = &self.status {
            self.control.show(status.clone());
        }
    }
}
