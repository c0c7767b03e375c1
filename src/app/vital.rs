//! The book of heartbeats and canaries, shared between the tasks that write it, the loop that
//! witnesses, and whoever reads it; and the metrics that follow from each entry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::source_clock::SourceClock;
use super::state::State;
use super::watch::{PurgeMargin, Reporter, clock_sample, committed, server_uuid, write_failure};
use crate::pipeline::{Progress, Witness};
use crate::pulse::book::Judged;
use crate::pulse::echo::Echo;
use crate::pulse::verdict::ledger::Span;
use crate::pulse::verdict::{Observation, Poll, WriteOutcome};
use crate::pulse::{Book, Event, Leg, Observer, Phase, Received, Seen};
use crate::telemetry::Metrics;

/// The shared book.
pub(super) struct Vital {
    book: Mutex<Book>,
    state: State,
    reporter: Reporter,
    purge: PurgeMargin,
    received: Received,
    metrics: Mutex<Option<Arc<Metrics>>>,
    source_clock: SourceClock,
}

impl Vital {
    pub(super) fn new(
        book: Book,
        state: State,
        reporter: Reporter,
        purge: PurgeMargin,
    ) -> Arc<Self> {
        Arc::new(Self {
            book: Mutex::new(book),
            state,
            reporter,
            purge,
            received: Received::default(),
            metrics: Mutex::new(None),
            source_clock: SourceClock::default(),
        })
    }

    /// How long ago something was committed, by the source's own clock, microseconds; negative when
    /// that clock was read a moment too late.
    pub(super) fn since_commit_us(&self, committed_us: i64, now: Instant) -> i64 {
        let wall_us = chrono::Utc::now().timestamp_micros();
        self.source_clock.now_us(now, wall_us).saturating_sub(committed_us)
    }

    /// From here on counts go there. Metrics read the book, so it comes first.
    pub(super) fn count_in(&self, metrics: Arc<Metrics>) {
        *lock(&self.metrics) = Some(metrics);
    }

    /// Reads the book.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&lock(&self.book))
    }

    /// The newest heartbeat that came from the source.
    pub(super) fn received(&self) -> &Received {
        &self.received
    }

    /// Where the tasks report to.
    pub(super) fn observer(self: &Arc<Self>) -> Observer {
        let vital = Arc::clone(self);
        Arc::new(move |event| vital.observe(event))
    }

    /// Takes a consumer out of judgement until then; `None`: back in.
    pub(super) fn rest(&self, consumer: &Arc<str>, until: Option<Instant>) {
        let mut book = lock(&self.book);
        book.rest(consumer, until);
        for account in book.accounts_of(consumer) {
            let consumer = Arc::clone(account);
            self.reporter.report(Observation::Maintenance { consumer, until });
        }
    }

    /// How soon the source may purge what is still needed, and after what time it purges.
    pub(super) fn purge_margin(&self, now: Instant) -> Option<(Duration, Duration)> {
        self.purge.told(now)
    }

    /// Counts canaries that are overdue; called regularly.
    pub(super) fn expire(&self, now: Instant) {
        let lost = lock(&self.book).expire(now);
        for (consumer, number) in &lost {
            tracing::warn!(%consumer, number, "a canary did not come back in time");
        }
        self.count(|_| ());
    }

    fn count(&self, count: impl FnOnce(&Metrics)) {
        if let Some(metrics) = lock(&self.metrics).as_deref() {
            count(metrics);
            follow_echoes(metrics, &lock(&self.book));
        }
    }

    fn observe(&self, event: &Event) {
        let now = Instant::now();
        if let Event::Facts(facts) = event {
            let wall_us = chrono::Utc::now().timestamp_micros();
            self.source_clock.observe(now, wall_us, facts.clock_offset_us);
        }
        let judged = lock(&self.book).observe(event, now);
        report_event(&self.reporter, event, judged.as_ref());
        self.count(|metrics| {
            count_event(metrics, event);
            match (event, &judged) {
                (Event::Echoed { .. }, Some(judged)) => count_echo(metrics, judged),
                // Of a path that is not walked here, any more or yet.
                (Event::Echoed { .. }, None) => metrics.echo_messages_total.of("stale").inc(),
                _ => {}
            }
        });
    }
}

impl Witness for Vital {
    fn heartbeat_arrived(&self, span: Span, at: Instant) {
        self.received.note_now(span.to.number);
        self.reporter.report_at(at, Observation::HeartbeatArrived(Box::new(span)));
    }

    fn seen(&self, seen: &Seen, at: Instant) {
        match seen {
            Seen::Heartbeat(row) => {
                let trip = lock(&self.book).heartbeat_seen(row, at);
                if let Some(trip) = trip {
                    self.count(|metrics| {
                        metrics.heartbeat_roundtrip_seconds.observe(trip.took.as_secs_f64());
                    });
                }
            }
            Seen::Canary(row) => {
                lock(&self.book).canary_seen(row, at);
                if !row.mismatches.is_empty() {
                    tracing::error!(
                        number = row.number,
                        phase = row.phase.as_str(),
                        columns = row.mismatches.join(","),
                        "a canary came back on the stream with other values than written"
                    );
                    self.count(|metrics| metrics.canary_mismatched_total.inc());
                }
            }
            Seen::Path(row) => {
                lock(&self.book).path_seen(row, at);
            }
            Seen::Own => {}
        }
    }

    fn published(&self, heartbeat: u64) {
        lock(&self.book).heartbeat_published(heartbeat);
    }

    fn checkpointed(&self, heartbeat: u64) {
        lock(&self.book).heartbeat_checkpointed(heartbeat);
    }

    fn progress(&self, progress: Progress) {
        self.count(|metrics| {
            metrics.lanes.set(i64::try_from(progress.lanes).unwrap_or(i64::MAX));
        });
        self.purge.progressed(&progress);
        self.state.update(|inner| inner.progress = progress);
    }

    fn canary_accepted(&self, leg: &Leg, at: Instant) {
        // Reported before the book can be read on: no echo's report may come before this one.
        let mut book = lock(&self.book);
        let accepted = book.canary_accepted(leg, at);
        let number = leg.number;
        if book.is_last(leg) && accepted.iter().any(|(_, accepted)| accepted.is_news) {
            let path = leg.path.clone();
            self.reporter.report_at(at, Observation::CanaryAcknowledged { path, number });
        }
        // An echo may come before the topic's answer does.
        for (consumer, _) in accepted.into_iter().filter(|(_, accepted)| accepted.completes) {
            self.reporter.report_at(at, Observation::CanaryEchoed { consumer, number });
        }
        drop(book);
        self.count(|_| ());
    }
}

/// What an event is to the verdict.
fn report_event(reporter: &Reporter, event: &Event, judged: Option<&Judged>) {
    match event {
        Event::HeartbeatStarted { number, at } => {
            reporter.report_at(*at, Observation::HeartbeatStarted { number: *number });
        }
        Event::HeartbeatCommitted { number, .. } => {
            let outcome = WriteOutcome::Committed(Box::default());
            reporter.report(Observation::HeartbeatEnded { number: *number, outcome });
        }
        Event::HeartbeatFailed { number: Some(number), reason, .. } => {
            let outcome = WriteOutcome::Failed(write_failure(*reason));
            reporter.report(Observation::HeartbeatEnded { number: *number, outcome });
        }
        Event::HeartbeatFailed { number: None, reason, .. } => {
            reporter.report(Observation::HeartbeatUntried(write_failure(*reason)));
        }
        Event::HeartbeatPending { server_state: Some(state), .. } => {
            let poll = Poll { writer_state: Some(state.clone()), ..Poll::default() };
            reporter.report(Observation::Poll(Box::new(poll)));
        }
        Event::HeartbeatStored { number, server_uuid: name } => {
            let server = server_uuid(name);
            reporter.report(Observation::HeartbeatStored { number: *number, server });
        }
        Event::Facts(facts) => {
            reporter.report(Observation::SourceClock(clock_sample(facts)));
        }
        Event::Executed { number, facts, executed, purged } => {
            let mut read = committed(facts);
            read.executed.clone_from(executed);
            read.purged.clone_from(purged);
            let facts = Box::new(read);
            reporter.report(Observation::HeartbeatFacts { number: *number, facts });
        }
        Event::Echoed { leg, .. } => {
            let completes = judged.filter(|judged| {
                matches!(
                    judged.echo,
                    Echo::InTime { completes: true } | Echo::Late { completes: true }
                )
            });
            if let Some(judged) = completes {
                let (consumer, number) = (Arc::clone(&judged.account), leg.number);
                reporter.report(Observation::CanaryEchoed { consumer, number });
            }
        }
        // Without a state nobody could be asked, which is no answer of the server's.
        Event::HeartbeatPending { server_state: None, .. }
        | Event::CanaryStarted { .. }
        | Event::CanaryCommitted { .. }
        | Event::CanaryFailed { .. }
        | Event::LegStarted { .. }
        | Event::LegCommitted { .. }
        | Event::PathFailed { .. }
        | Event::EchoRead { .. }
        | Event::EchoIgnored { .. }
        | Event::EchoFailed { .. } => {}
    }
}

fn count_event(metrics: &Metrics, event: &Event) {
    match event {
        Event::HeartbeatCommitted { .. } => metrics.heartbeat_writes_total.of("ok").inc(),
        Event::HeartbeatFailed { reason, .. } => {
            metrics.heartbeat_writes_total.of(reason.as_str()).inc();
        }
        Event::Facts(facts) => {
            #[expect(clippy::cast_precision_loss, reason = "an offset, not an identity")]
            let seconds = facts.clock_offset_us as f64 / 1e6;
            metrics.observe_clock_offset(seconds, facts.clock_error);
        }
        Event::CanaryCommitted { phase: Phase::Insert, .. } => {
            metrics.canary_written_total.of("ok").inc();
        }
        Event::CanaryFailed { reason, .. } => {
            metrics.canary_written_total.of(reason.as_str()).inc();
        }
        Event::EchoIgnored { kind, .. } => metrics.echo_messages_total.of(kind).inc(),
        Event::Executed { .. }
        | Event::HeartbeatStarted { .. }
        | Event::HeartbeatPending { .. }
        | Event::HeartbeatStored { .. }
        | Event::CanaryStarted { .. }
        | Event::CanaryCommitted { .. }
        | Event::LegStarted { .. }
        | Event::LegCommitted { .. }
        | Event::PathFailed { .. }
        | Event::EchoRead { .. }
        | Event::Echoed { .. }
        | Event::EchoFailed { .. } => {}
    }
}

fn count_echo(metrics: &Metrics, judged: &Judged) {
    let kind = match judged.echo {
        Echo::InTime { .. } | Echo::Late { .. } | Echo::Duplicate => "matched",
        Echo::Stale => "stale",
    };
    metrics.echo_messages_total.of(kind).inc();
    if let (Echo::InTime { completes: true }, Some(took)) = (judged.echo, judged.took) {
        metrics.canary_roundtrip_seconds.of(&judged.account).observe(took.as_secs_f64());
    }
}

/// Brings the consumers' counters to what their accounts say.
fn follow_echoes(metrics: &Metrics, book: &Book) {
    for (consumer, ledger) in book.echoes() {
        let counts = ledger.counts();
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

/// A panic elsewhere leaves the book readable: each entry is complete on its own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
