//! The small regular duties beside the stream: samples for the verdict, counters for the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::state::FreshnessState;
use super::watch::Reporter;
use super::{LagSample, Observation, SinkSample, StreamSample};
use crate::platform;
use crate::sink::health::Snapshot;
use crate::sink::{Class, Health, Permit};
use crate::source::Liveness;
use crate::telemetry::{Metrics, Readiness};

/// Time between two samples.
const TICK: Duration = Duration::from_millis(500);

/// Samples everything that is only counted.
#[derive(Clone)]
pub(crate) struct Sampler {
    pub(crate) freshness_state: Arc<FreshnessState>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
    pub(crate) health: Arc<Health>,
    /// Whether calls to the sink may begin.
    pub(crate) permit: Permit,
    pub(crate) liveness: Liveness,
    pub(crate) reporter: Reporter,
    /// Cancelled when heartbeats, canaries and looks end: the rest continues while what is on its way is
    /// delivered.
    pub(crate) freshness_stop: CancellationToken,
    /// That was told.
    pub(crate) is_stopping: bool,
    /// When the checkpoint that was reported last was saved.
    pub(crate) saved: Option<Instant>,
}

impl Sampler {
    /// Samples until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        let mut before = self.health.snapshot(platform::now());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => before = self.poll_once(&before),
            }
        }
    }

    fn poll_once(&mut self, before: &Snapshot) -> Snapshot {
        let now = platform::now();
        if self.freshness_stop.is_cancelled() && !self.is_stopping {
            self.is_stopping = true;
            self.reporter.report_at(now, Observation::Stopping);
        }
        if !self.is_stopping {
            // Nobody reads echoes any more: what has not come back then is not lost.
            self.freshness_state.expire(now);
        }
        let snapshot = self.health.snapshot(now);
        self.readiness.stream(self.liveness.is_connected());
        self.readiness.sink(snapshot.impediment.is_none());
        self.count(before, &snapshot);
        self.reporter.report_at(now, Observation::RuntimeTick);
        self.reporter.report_at(now, Observation::Sink(self.sink(&snapshot, now)));
        if !self.is_stopping {
            self.stream(snapshot.oldest_unsettled, now);
        }
        self.checkpoint();
        snapshot
    }

    fn count(&self, before: &Snapshot, snapshot: &Snapshot) {
        let attempts = &self.metrics.publish_attempts_total;
        attempts.of("ok").inc_by(snapshot.attempts_ok.saturating_sub(before.attempts_ok));
        let failed = snapshot.attempts_failed.iter().zip(&before.attempts_failed);
        for (class, (new, old)) in Class::ALL.iter().zip(failed) {
            attempts.of(class.as_str()).inc_by(new.saturating_sub(*old));
        }
        let bytes = snapshot.settled_bytes.saturating_sub(before.settled_bytes);
        self.metrics.published_bytes_total.inc_by(bytes);
    }

    fn sink(&self, snapshot: &Snapshot, now: Instant) -> SinkSample {
        let ago = |age: Option<Duration>| age.and_then(|age| now.checked_sub(age));
        let failures = snapshot.impediment.map_or(0, |class| snapshot.consecutive[class as usize]);
        SinkSample {
            oldest_unacknowledged: ago(snapshot.oldest_unsettled),
            acknowledged: snapshot.settled_messages,
            last_acknowledged: ago(snapshot.since_ack),
            failure: snapshot.impediment,
            failures_in_a_row: u32::try_from(failures).unwrap_or(u32::MAX),
            last_user_row: self.metrics.user_row_last.last(),
            is_withheld: self.permit.wait(now).is_some(),
        }
    }

    fn stream(&self, waited: Option<Duration>, now: Instant) {
        let progress = self.freshness_state.progress();
        self.reporter.report_at(
            now,
            Observation::Stream(StreamSample {
                bytes: self.liveness.bytes(),
                last_receive: self.liveness.last_byte(),
                armed: self.liveness.is_armed(),
                idle_at: progress.idle_at,
            }),
        );
        let lag = self.freshness_state.lag(&progress, waited, now);
        let transaction_bytes = progress.transaction_bytes;
        self.reporter.report_at(now, Observation::Lag(LagSample { lag, transaction_bytes }));
    }

    fn checkpoint(&mut self) {
        let saved = self.metrics.checkpoint_saved.last();
        if saved > self.saved {
            self.saved = saved;
            self.reporter.report(Observation::CheckpointSaved);
        }
    }
}
