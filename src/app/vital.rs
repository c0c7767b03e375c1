//! The book of heartbeats and canaries, shared between the tasks that write it, the loop that
//! witnesses, and whoever reads it; and the metrics that follow from each entry.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::plan::Plan;
use super::source_clock::SourceClock;
use super::state::State;
use super::watch::{PurgeMargin, Reporter, clock_sample, committed, server_uuid, write_failure};
use crate::pipeline::{Progress, Witness};
use crate::pulse::book::Judged;
use crate::pulse::echo::Echo;
use crate::pulse::verdict::ledger::Span;
use crate::pulse::verdict::{Observation, Poll, WriteOutcome};
use crate::pulse::{Book, Event, Leg, Nonces, Observer, Phase, Received, Seen};
use crate::telemetry::Metrics;

/// The shared book.
pub(super) struct Vital {
    book: Mutex<Book>,
    state: State,
    reporter: Reporter,
    told: Told,
    received: Received,
    metrics: Mutex<Option<Arc<Metrics>>>,
    source_clock: SourceClock,
    nonces: Nonces,
}

/// Who is told how far the loop has got.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) purge: PurgeMargin,
    pub(super) findings: Findings,
}

impl Told {
    /// Nothing is known yet of the plan's source.
    pub(super) fn new(plan: &Plan) -> Self {
        Self { purge: PurgeMargin::default(), findings: Findings::new(plan) }
    }
}

impl Vital {
    pub(super) fn new(book: Book, state: State, reporter: Reporter, told: Told) -> Arc<Self> {
        Arc::new(Self {
            book: Mutex::new(book),
            state,
            reporter,
            told,
            received: Received::default(),
            metrics: Mutex::new(None),
            source_clock: SourceClock::default(),
            nonces: Nonces::new(secret()),
        })
    }

    /// What this process's canaries carry.
    pub(super) fn nonces(&self) -> &Nonces {
        &self.nonces
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
        Arc::new(move |event| vital.observe(event, Instant::now()))
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
        self.told.purge.told(now)
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

    /// Takes what a task reports at `now`.
    pub(super) fn observe(&self, event: &Event, now: Instant) {
        if let Event::Facts(facts) = event {
            let wall_us = chrono::Utc::now().timestamp_micros();
            self.source_clock.observe(now, wall_us, facts.clock_offset_us);
        }
        let judged = lock(&self.book).observe(event, now);
        if let (Event::Echoed { consumer, .. }, Some(Judged { echo: Echo::Forged, .. })) =
            (event, &judged)
        {
            tracing::warn!(
                %consumer,
                "a canary in an echo queue does not carry what this process gave it: somebody else \
                 sends to the queue or the topic"
            );
        }
        self.report(event, judged.as_ref());
        self.count(|metrics| count_event(metrics, event, judged.as_ref()));
    }

    /// What an event is to the verdict.
    fn report(&self, event: &Event, judged: Option<&Judged>) {
        let reporter = &self.reporter;
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
            Event::CanaryCommitted { .. } => self.report_means(None, None),
            Event::CanaryFailed { reason, message, .. } => {
                self.report_means(None, Some(&format!("{}: {message}", reason.as_str())));
            }
            Event::EchoRead { consumer, .. } => self.report_means(Some(consumer), None),
            Event::EchoFailed { consumer, message } => {
                tracing::warn!(%consumer, error = message, "an echo queue could not be read");
                self.report_means(Some(consumer), Some(message));
            }
            // Without a state nobody could be asked, which is no answer of the server's.
            Event::HeartbeatPending { server_state: None, .. }
            // An echo is owed from the topic's acceptance on, not from here.
            | Event::CanaryStarted { .. }
            // The operator's own tables: that one takes no canary says nothing of the stream. The metrics
            // of the paths and `/status` read the book, which has taken these.
            | Event::LegStarted { .. }
            | Event::LegCommitted { .. }
            | Event::PathFailed { .. }
            // It is counted, and it is nobody's echo.
            | Event::EchoIgnored { .. } => {}
        }
    }

    /// Whether canaries can be written, or those in a consumer's queue be read: for each of its
    /// accounts.
    fn report_means(&self, consumer: Option<&Arc<str>>, failure: Option<&str>) {
        let report = |consumer: Option<Arc<str>>| {
            let failure = failure.map(str::to_owned);
            self.reporter.report(Observation::CanaryMeans { consumer, failure });
        };
        match consumer {
            None => report(None),
            Some(consumer) => {
                lock(&self.book).accounts_of(consumer).for_each(|it| report(Some(Arc::clone(it))));
            }
        }
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
            // Rows of our tables that belong to another stream, or to the checkpoint.
            Seen::Own => {}
        }
    }

    fn published(&self, heartbeat: u64) {
        lock(&self.book).heartbeat_published(heartbeat);
    }

    fn checkpointed(&self, heartbeat: u64) {
        lock(&self.book).heartbeat_checkpointed(heartbeat);
    }

    fn checkpoint_failed(&self, why: &str) {
        self.reporter.report(Observation::CheckpointFailed { error: why.to_owned() });
    }

    fn progress(&self, progress: Progress) {
        self.count(|metrics| {
            metrics.lanes.set(i64::try_from(progress.lanes).unwrap_or(i64::MAX));
        });
        self.told.purge.progressed(&progress);
        self.told.findings.streamed(progress.unnamed.as_deref());
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

/// What an event is to the metrics; `judged`: what the book made of it, if it was an echo.
fn count_event(metrics: &Metrics, event: &Event, judged: Option<&Judged>) {
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
        Event::EchoFailed { consumer, .. } => metrics.echo_failures_total.of(consumer).inc(),
        Event::Echoed { .. } => match judged {
            Some(judged) => count_echo(metrics, judged),
            // Of a path that is not walked here, any more or yet.
            None => metrics.echo_messages_total.of("stale").inc(),
        },
        // What begins is counted when it ends.
        Event::HeartbeatStarted { .. }
        | Event::HeartbeatPending { .. }
        | Event::CanaryStarted { .. }
        | Event::LegStarted { .. }
        // A canary is counted once, by its first step.
        | Event::CanaryCommitted { phase: Phase::Update | Phase::Delete, .. }
        // Families of the paths and of the verdict are made at the scrape, from the book and the judge.
        | Event::LegCommitted { .. }
        | Event::PathFailed { .. }
        | Event::Executed { .. }
        | Event::HeartbeatStored { .. }
        // What came is counted message by message.
        | Event::EchoRead { .. } => {}
    }
}

fn count_echo(metrics: &Metrics, judged: &Judged) {
    let kind = match judged.echo {
        Echo::InTime { .. } | Echo::Late { .. } | Echo::Duplicate => "matched",
        Echo::Stale => "stale",
        Echo::Forged => "forged",
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

/// Random bytes of the system's; where it has none to give, of the hasher's keys, which are.
fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    let random =
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret));
    if random.is_err() {
        for part in secret.chunks_exact_mut(8) {
            part.copy_from_slice(&super::stream::random().to_be_bytes());
        }
    }
    secret
}

/// A panic elsewhere leaves the book readable: each entry is complete on its own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
