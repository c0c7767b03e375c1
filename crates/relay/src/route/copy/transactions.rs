//! Transactions of a copy: which connection makes one, of what, and what follows from its outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use binpulse_core::backoff::Backoff;
use tokio::time::Instant;

use super::CopyRoute;
use super::lane::{Lane, Work};
use crate::body::Bodies;
use crate::clock::{random, seconds, wall_clock_us};
use crate::lane::LaneKey;
use crate::route::halt::Halt;
use crate::route::limits::BACK_PAUSE;
use crate::route::parking::message_parked;
use crate::state::{Parked, Reason};
use crate::target::copy::{Applied, Copy, CopyError, Unit};

/// Rows of one transaction, at most, and bytes of the messages that they are in.
const ROWS_MAX: usize = 5_000;
const BYTES_MAX: usize = 8 << 20;

/// A transaction that is to be made, or was.
pub(super) struct Job {
    worker: usize,
    copy: Copy,
    work: Vec<Work>,
    outcome: Result<Applied, CopyError>,
}

/// A connection.
pub(super) struct Worker {
    /// `None` while a transaction runs.
    pub(super) copy: Option<Copy>,
    /// What failed, to be done first.
    again: Vec<Work>,
    pub(super) not_before: Instant,
    backoff: Backoff,
    /// Apply one unit at a time: the copy did not say which of them it refuses.
    one_by_one: bool,
}

impl Worker {
    pub(super) fn new(copy: Copy, now: Instant) -> Self {
        Self {
            copy: Some(copy),
            again: Vec::new(),
            not_before: now,
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
            one_by_one: false,
        }
    }
}

impl CopyRoute {
    /// Gives each free connection a transaction.
    pub(super) fn dispatch(&mut self) {
        let (now, count) = (Instant::now(), self.workers.len());
        for at in 0..count {
            let Some(worker) = self.workers.get_mut(at) else { continue };
            if worker.copy.is_none() || worker.not_before > now {
                continue;
            }
            let mut work = std::mem::take(&mut worker.again);
            if work.is_empty() {
                worker.one_by_one = false;
                gather(&mut self.lanes, at, count, &mut work);
                if at == 0 {
                    work.extend(self.canaries.drain(..));
                }
            }
            if work.is_empty() {
                continue;
            }
            if worker.one_by_one && work.len() > 1 {
                worker.again = work.split_off(1);
            }
            let Some(copy) = worker.copy.take() else { continue };
            self.jobs.spawn(async move {
                let units: Vec<Unit> = work.iter().map(|work| work.unit.clone()).collect();
                let outcome = copy.apply(&units).await;
                Job { worker: at, copy, work, outcome }
            });
        }
    }

    /// A transaction is over.
    pub(super) async fn applied(
        &mut self,
        job: Result<Job, tokio::task::JoinError>,
    ) -> Result<(), Halt> {
        // Its connection is lost with it, and what it applied is not known.
        let job = job.map_err(|error| Halt::Defect(error.to_string()))?;
        let Job { worker: at, copy, work, outcome } = job;
        if let Some(worker) = self.workers.get_mut(at) {
            worker.copy = Some(copy);
        }
        let attempts = |outcome| self.metrics.attempts.with_label_values(&[outcome]).inc();
        match outcome {
            Ok(applied) => {
                attempts("delivered");
                self.failure = None;
                if let Some(worker) = self.workers.get_mut(at) {
                    worker.backoff.succeeded(Duration::from_secs(30));
                }
                self.finished(&work, applied).await;
            }
            Err(CopyError::Refused { unit: None, .. }) if work.len() > 1 => {
                attempts("refused");
                self.put_back(at, work, true);
            }
            Err(error @ CopyError::Refused { .. }) => {
                attempts("refused");
                self.refused(at, work, &error).await?;
            }
            Err(error) => {
                attempts("outage");
                self.put_back(at, work, false);
                self.failed(&error)?;
                if let Some(worker) = self.workers.get_mut(at) {
                    worker.not_before = Instant::now() + worker.backoff.pause(random());
                }
            }
        }
        Ok(())
    }

    fn put_back(&mut self, at: usize, mut work: Vec<Work>, one_by_one: bool) {
        if let Some(worker) = self.workers.get_mut(at) {
            work.append(&mut worker.again);
            worker.again = work;
            worker.one_by_one |= one_by_one;
        }
    }

    async fn finished(&mut self, work: &[Work], applied: Applied) {
        self.metrics.rows.with_label_values(&["delivered"]).inc_by(applied.rows);
        self.told.verified.note(&self.metrics, &applied.compared, applied.differing);
        for (key, record) in applied.lanes {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.applied(&record);
                for message in lane.applied_again() {
                    self.messages.finish(message);
                }
            }
        }
        // The copy is further back than was known, a backup of it was restored say: from the queue again.
        for key in applied.behind {
            tracing::warn!(lane = %key, "the copy is further back than this process knew");
            self.forget(&key, work).await;
        }
        let now_us = wall_clock_us();
        for work in work {
            if let Some(committed_at_us) = work.committed_at_us {
                let took = now_us.saturating_sub(committed_at_us).max(0);
                self.metrics.delivery_seconds.observe(seconds(took));
            }
            if matches!(work.unit, Unit::Canary { .. }) {
                self.metrics.canary_delivered_timestamp_seconds.set(seconds(now_us));
            }
            if let Some(message) = work.message {
                self.messages.finish(message);
            }
        }
    }

    /// Gives all messages of a lane back, and looks it up again with the next one.
    async fn forget(&mut self, key: &LaneKey, work: &[Work]) {
        let Some(mut lane) = self.lanes.remove(key) else { return };
        let waiting = std::iter::from_fn(|| lane.order.drop_one());
        let mut messages: Vec<u64> = waiting.map(|content| content.message).collect();
        messages.extend(lane.work.iter().filter_map(|work| work.message));
        messages.extend(lane.passed.into_values().filter_map(|(_, message)| message));
        messages.extend(lane.again.into_iter().map(|content| content.message));
        let of_lane = |work: &&Work| lane_of_unit(&work.unit) == Some(key);
        messages.extend(work.iter().filter(of_lane).filter_map(|work| work.message));
        self.messages.give_back(messages, BACK_PAUSE).await;
    }

    /// Rows that the copy can't take, ever: parked, and the lane goes on.
    async fn refused(
        &mut self,
        at: usize,
        mut work: Vec<Work>,
        error: &CopyError,
    ) -> Result<(), Halt> {
        let unit = match error {
            CopyError::Refused { unit, .. } => unit.unwrap_or_default(),
            CopyError::Unavailable { .. } | CopyError::Unfit { .. } => 0,
        };
        let Some(refused) = work.get_mut(unit) else { return Ok(()) };
        let why = error.to_string();
        let parked = parked(&refused.unit, &why);
        tracing::error!(error = why, "rows that the copy can't take are parked");
        self.park(&[parked], &why).await?;
        let passed = match &refused.unit {
            Unit::Rows { lane, first, last, .. } => {
                let (lane, first, last) = (lane.clone(), *first, *last);
                Some(Unit::Passed { lane, first, last })
            }
            Unit::Part { lane, part, rows } => {
                let (lane, part, rows) = (lane.clone(), Arc::clone(part), rows.len() as u64);
                Some(Unit::PassedPart { lane, part, rows })
            }
            Unit::Canary { .. }
            | Unit::Passed { .. }
            | Unit::PassedPart { .. }
            | Unit::PassedParts { .. }
            | Unit::Suppressed { .. } => None,
        };
        match passed {
            Some(passed) => refused.unit = passed,
            None => {
                let refused = work.remove(unit);
                if let Some(message) = refused.message {
                    self.messages.finish(message);
                }
            }
        }
        self.put_back(at, work, false);
        Ok(())
    }
}

/// Takes work of the lanes that are this worker's, in their order, as much as one transaction has.
fn gather(
    lanes: &mut BTreeMap<LaneKey, Lane>,
    worker: usize,
    workers: usize,
    work: &mut Vec<Work>,
) {
    let (mut rows, mut bytes) = (0, 0);
    let own = lanes.iter_mut().filter(|(key, _)| worker_of(key, workers) == worker);
    for (_, lane) in own {
        while let Some(next) = lane.work.front() {
            let is_full = rows + next.rows > ROWS_MAX || bytes + next.bytes > BYTES_MAX;
            if is_full && !work.is_empty() {
                return;
            }
            (rows, bytes) = (rows + next.rows, bytes + next.bytes);
            work.extend(lane.work.pop_front());
        }
    }
}

/// Which connection applies a lane: always the same, so that its rows stay in order.
fn worker_of(key: &LaneKey, workers: usize) -> usize {
    let hash = key
        .lane
        .bytes()
        .fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
    hash % workers.max(1)
}

fn lane_of_unit(unit: &Unit) -> Option<&LaneKey> {
    match unit {
        Unit::Rows { lane, .. }
        | Unit::Part { lane, .. }
        | Unit::Passed { lane, .. }
        | Unit::PassedPart { lane, .. }
        | Unit::PassedParts { lane, .. }
        | Unit::Suppressed { lane, .. } => Some(lane),
        Unit::Canary { .. } => None,
    }
}

/// Rows as they are parked: as lines of JSON.
fn parked(unit: &Unit, why: &str) -> Parked {
    let (lane, rows, first, last) = match unit {
        Unit::Rows { lane, rows, first, last } => (lane, Some(rows), *first, *last),
        Unit::Part { lane, part, rows } => (lane, Some(rows), part.part, part.part),
        Unit::PassedPart { lane, part, .. } => (lane, None, part.part, part.part),
        Unit::PassedParts { lane, next, .. } => (lane, None, *next, *next),
        Unit::Passed { lane, first, last } | Unit::Suppressed { lane, first, last } => {
            (lane, None, *first, *last)
        }
        Unit::Canary { .. } => return message_parked(String::from("a canary"), why),
    };
    let body = rows.map_or_else(Vec::new, |rows| Bodies::lines(rows, first, last));
    Parked {
        id: crate::body::id(lane, crate::lanes::requests::Place::Change(first), last),
        lane: Some(lane.clone()),
        first,
        last,
        keys: Vec::new(),
        body,
        content_type: String::from("application/x-ndjson"),
        reason: Reason::Refused,
        attempts: 1,
        answer: why.to_owned(),
        parked_at_us: wall_clock_us(),
    }
}
