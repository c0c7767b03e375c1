//! What is known of heartbeats and canaries, shared between the tasks that report, the loop that brings
//! what comes back, and whoever reads it: each report goes to the round trips, the metrics and the evaluator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::canary::echo::Echo;
use super::clock_offset::Offset;
use super::clock_offset::SourceClock;
use super::round_trips::EvaluatedEcho;
use super::verdict::certificate::Span;
use super::watch::{PurgeMargin, Reporter};
use super::{
    CanaryStep, Nonces, Observation, Observer, Phase, Progress, ProgressObserver, Received,
    RoundTrips, Seen,
};
use crate::platform::{self, wall_us};
use crate::telemetry::Metrics;

/// Who else is told how far the loop has got.
type ProgressListener = Box<dyn Fn(&Progress) + Send + Sync>;

/// The shared state.
pub(crate) struct FreshnessState {
    round_trips: Mutex<RoundTrips>,
    progress: Mutex<Progress>,
    reporter: Reporter,
    purge: PurgeMargin,
    told: ProgressListener,
    received: Received,
    metrics: Mutex<Option<Arc<Metrics>>>,
    source_clock: SourceClock,
    nonces: Nonces,
}

impl FreshnessState {
    /// Begins with `round_trips`, and reports to `reporter`; `told` hears each progress.
    pub(crate) fn new(
        round_trips: RoundTrips,
        reporter: Reporter,
        told: impl Fn(&Progress) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            round_trips: Mutex::new(round_trips),
            progress: Mutex::default(),
            reporter,
            purge: PurgeMargin::default(),
            told: Box::new(told),
            received: Received::default(),
            metrics: Mutex::new(None),
            source_clock: SourceClock::default(),
            nonces: Nonces::random(),
        })
    }

    /// What this process's canaries carry.
    pub(crate) fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// How soon the source may purge what is still needed.
    pub(crate) fn purge(&self) -> &PurgeMargin {
        &self.purge
    }

    /// How late the stream is: the age of the newest commit that was read, and zero while the source
    /// has nothing more to send; or how long the oldest message has `waited` for the sink, where that
    /// is longer. `None` before the first commit.
    pub(crate) fn lag(
        &self,
        progress: &Progress,
        waited: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        let read = match progress.newest_commit_us {
            0 => return None,
            _ if progress.is_idle => Duration::ZERO,
            committed_us => {
                let age_us = self.since_commit_us(committed_us, now);
                Duration::from_micros(u64::try_from(age_us).unwrap_or(0))
            }
        };
        Some(read.max(waited.unwrap_or_default()))
    }

    /// How long ago something was committed, by the source's own clock, microseconds; negative when
    /// that clock was read a moment too late.
    pub(crate) fn since_commit_us(&self, committed_us: i64, now: Instant) -> i64 {
        self.source_clock.now_us(now, wall_us()).saturating_sub(committed_us)
    }

    /// From here on counts go there. Metrics read the round trips, so these come first.
    pub(crate) fn count_in(&self, metrics: Arc<Metrics>) {
        *lock(&self.metrics) = Some(metrics);
    }

    /// Reads the round trips.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&RoundTrips) -> T) -> T {
        read(&lock(&self.round_trips))
    }

    /// How far the loop has got.
    pub(crate) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// The newest heartbeat that came from the source.
    pub(crate) fn received(&self) -> &Received {
        &self.received
    }

    /// Where the tasks report to.
    pub(crate) fn observer(self: &Arc<Self>) -> Observer {
        let freshness_state = Arc::clone(self);
        Arc::new(move |observation| freshness_state.observe(observation, platform::now()))
    }

    /// Counts canaries that are overdue; called regularly.
    pub(crate) fn expire(&self, now: Instant) {
        let lost = lock(&self.round_trips).expire(now);
        for (consumer, number) in &lost {
            tracing::warn!(%consumer, number, "a canary did not come back in time");
        }
        self.count(|_| ());
    }

    fn count(&self, count: impl FnOnce(&Metrics)) {
        if let Some(metrics) = lock(&self.metrics).as_deref() {
            count(metrics);
            follow_echoes(metrics, &lock(&self.round_trips));
        }
    }

    /// Takes what a task reports at `now`.
    pub(crate) fn observe(&self, observation: Observation, now: Instant) {
        if let Observation::Facts(facts) = &observation
            && let Some(offset) = Offset::of(&facts.clock)
        {
            self.source_clock.observe(now, wall_us(), offset.offset_us);
        }
        let evaluated = lock(&self.round_trips).observe(&observation, now);
        if let Observation::EchoFailed { consumer, message } = &observation {
            tracing::warn!(%consumer, error = message, "an echo queue could not be read");
        }
        let mut returned = None;
        if let (Observation::Echoed { consumer, step, .. }, Some(evaluated)) =
            (&observation, &evaluated)
        {
            if evaluated.echo == Echo::Forged {
                tracing::warn!(
                    %consumer,
                    "a canary in an echo queue does not carry this process's nonce: another sender \
                     writes to the queue or the topic"
                );
            }
            let account = Arc::clone(&evaluated.account);
            let whole = Observation::CanaryReturned { account, number: step.number };
            returned = evaluated.echo.completes().then_some(whole);
        }
        self.count(|metrics| count(metrics, &observation, evaluated.as_ref()));
        self.reporter.report_at(now, observation);
        if let Some(returned) = returned {
            self.reporter.report_at(now, returned);
        }
    }
}

impl ProgressObserver for FreshnessState {
    fn heartbeat_arrived(&self, span: Span, at: Instant) {
        self.received.note_now(span.to.number);
        self.reporter.report_at(at, Observation::HeartbeatArrived(Box::new(span)));
    }

    fn seen(&self, seen: &Seen, at: Instant) {
        match seen {
            Seen::Heartbeat(row) => {
                let trip = lock(&self.round_trips).heartbeat_seen(row, at);
                if let Some(trip) = trip {
                    self.count(|metrics| {
                        metrics.heartbeat_roundtrip_seconds.observe(trip.took.as_secs_f64());
                    });
                }
            }
            Seen::Canary(row) => {
                lock(&self.round_trips).canary_seen(row, at);
                if !row.mismatches.is_empty() {
                    tracing::error!(
                        number = row.number,
                        phase = row.phase.as_str(),
                        columns = row.mismatches.join(","),
                        "a canary arrived on the stream with values other than those written"
                    );
                    self.count(|metrics| metrics.canary_mismatched_total.inc());
                }
            }
            Seen::CanaryPath(row) => {
                lock(&self.round_trips).path_seen(row, at);
            }
            // Rows of our tables that belong to another stream, to the checkpoint, or to a lease.
            Seen::Lease | Seen::Own => {}
        }
    }

    fn published(&self, heartbeat: u64) {
        lock(&self.round_trips).heartbeat_published(heartbeat);
    }

    fn checkpointed(&self, heartbeat: u64) {
        lock(&self.round_trips).heartbeat_checkpointed(heartbeat);
    }

    fn checkpoint_failed(&self, why: &str) {
        self.reporter.report(Observation::CheckpointFailed { error: why.to_owned() });
    }

    fn progress(&self, progress: Progress) {
        self.count(|metrics| {
            metrics.lanes.set(i64::try_from(progress.lanes).unwrap_or(i64::MAX));
        });
        self.purge.progressed(&progress);
        (self.told)(&progress);
        *lock(&self.progress) = progress;
    }

    fn canary_accepted(&self, step: &CanaryStep, at: Instant) {
        // Reported before the round trips can be read again: no echo's report may come before this one.
        let mut round_trips = lock(&self.round_trips);
        let accepted = round_trips.canary_accepted(step, at);
        let number = step.number;
        if accepted.iter().any(|(_, accepted)| accepted.makes_whole) {
            let path = step.path.clone();
            self.reporter.report_at(at, Observation::CanaryOwed { path, number });
        }
        // An echo may come before the topic's answer does.
        for (account, _) in accepted.into_iter().filter(|(_, accepted)| accepted.completes) {
            self.reporter.report_at(at, Observation::CanaryReturned { account, number });
        }
        drop(round_trips);
        self.count(|_| ());
    }
}

/// What a report is to the metrics; `evaluated`: what the round trips made of it, if it was an echo.
fn count(metrics: &Metrics, observation: &Observation, evaluated: Option<&EvaluatedEcho>) {
    match observation {
        Observation::HeartbeatCommitted { .. } => metrics.heartbeat_writes_total.of("ok").inc(),
        Observation::HeartbeatFailed { reason, .. } => {
            metrics.heartbeat_writes_total.of(reason.as_str()).inc();
        }
        Observation::Facts(facts) => {
            let Some(offset) = Offset::of(&facts.clock) else { return };
            #[expect(clippy::cast_precision_loss, reason = "an offset, not an identity")]
            let seconds = offset.offset_us as f64 / 1e6;
            metrics.observe_clock_offset(seconds, Duration::from_micros(offset.error_us));
        }
        Observation::CanaryCommitted { step: CanaryStep { path: None, phase: Phase::Insert, .. }, .. } => {
            metrics.canary_written_total.of("ok").inc();
        }
        Observation::CanaryFailed { path: None, reason, .. } => {
            metrics.canary_written_total.of(reason.as_str()).inc();
        }
        Observation::EchoIgnored { kind, .. } => {
            metrics.echo_messages_total.of(kind.as_str()).inc();
        }
        Observation::EchoFailed { consumer, .. } => metrics.echo_failures_total.of(consumer).inc(),
        Observation::Echoed { .. } => match evaluated {
            Some(evaluated) => count_echo(metrics, evaluated),
            // Of a path that is not walked here, any more or yet.
            None => metrics.echo_messages_total.of(Echo::Stale.label()).inc(),
        },
        // A canary is counted once, by its first step; those of paths at the scrape, from the round trips.
        Observation::CanaryCommitted { .. }
        | Observation::CanaryFailed { path: Some(_), .. }
        // What begins is counted when it ends.
        | Observation::HeartbeatStarted { .. }
        | Observation::HeartbeatPending { .. }
        | Observation::CanaryStarted(_)
        // What came is counted message by message.
        | Observation::EchoRead { .. }
        | Observation::CanaryOwed { .. }
        | Observation::CanaryReturned { .. }
        // Families of the verdict, the stream and the sink are made at the scrape, from the evaluator
        // and from those who count.
        | Observation::Tick(_)
        | Observation::RuntimeTick
        | Observation::Stopping
        | Observation::Stream(_)
        | Observation::StreamConnected { .. }
        | Observation::StreamFailed(_)
        | Observation::Lag(_)
        | Observation::HeartbeatArrived(_)
        | Observation::HeartbeatStored { .. }
        | Observation::Executed(_)
        | Observation::Maintenance { .. }
        | Observation::Probe(_)
        | Observation::StatePoll(_)
        | Observation::Upstream(_)
        | Observation::Unlogged(_)
        | Observation::Suppressed(_)
        | Observation::Paused(_)
        | Observation::Sink(_)
        | Observation::CheckpointSaved
        | Observation::CheckpointFailed { .. } => {}
    }
}

fn count_echo(metrics: &Metrics, evaluated: &EvaluatedEcho) {
    metrics.echo_messages_total.of(evaluated.echo.label()).inc();
    if let (Echo::InTime { completes: true }, Some(took)) = (evaluated.echo, evaluated.took) {
        metrics.canary_roundtrip_seconds.of(&evaluated.account).observe(took.as_secs_f64());
    }
}

/// Brings the consumers' counters to what their accounts say.
fn follow_echoes(metrics: &Metrics, round_trips: &RoundTrips) {
    for (consumer, tracker) in round_trips.echoes() {
        let counts = tracker.counts();
        for (family, count) in [
            (&metrics.canary_sent_total, counts.sent),
            (&metrics.canary_resolved_total, counts.resolved),
            (&metrics.canary_lost_total, counts.lost),
            (&metrics.canary_late_total, counts.late),
            (&metrics.canary_duplicate_total, counts.duplicate),
            (&metrics.canary_reordered_total, counts.reordered),
        ] {
            let counter = family.of(consumer);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}

/// A panic elsewhere leaves the round trips readable: each entry is complete on its own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::{RoundTrips, watch};

    #[test]
    fn rows_that_wait_for_the_sink_are_lag() {
        let (reporter, _) = watch::queue();
        let round_trips = RoundTrips::new("", [], Duration::from_secs(15));
        let state = FreshnessState::new(round_trips, reporter, |_| ());
        let (now, minute) = (platform::now(), Duration::from_mins(1));
        // All was read.
        let progress = Progress { newest_commit_us: 1, is_idle: true, ..Progress::default() };
        assert_eq!(state.lag(&progress, None, now), Some(Duration::ZERO));
        assert_eq!(state.lag(&progress, Some(minute), now), Some(minute));
        let nothing = Progress { newest_commit_us: 0, ..progress };
        assert_eq!(state.lag(&nothing, Some(minute), now), None, "nothing is owed yet");
    }
}
