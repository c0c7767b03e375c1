//! What a route counts. Each family has one label, the route's name.

use crate::body::RowRef;
use crate::clock::{seconds, wall_clock_us};
use prometheus::core::{AtomicU64, GenericCounter, GenericCounterVec};
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder,
};

/// A counter for each value of a label.
pub type Counters = GenericCounterVec<AtomicU64>;

/// The metrics of one route.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Messages received, by what they hold.
    pub messages: Counters,
    /// Rows by what became of them.
    pub rows: Counters,
    /// Cells that the format could not hold as they are.
    pub lossy_cells: IntCounter,
    /// Attempts by their outcome: delivered, failed, outage, refused, gone.
    pub attempts: Counters,
    /// Seconds from the commit to the delivery of the last row of a request.
    pub delivery_seconds: Histogram,
    /// Seconds of one attempt.
    pub attempt_seconds: Histogram,
    /// Calls of SQS that failed.
    pub queue_errors: IntCounter,
    /// When the queue answered a poll last, seconds since 1970 UTC.
    pub queue_read_timestamp_seconds: Gauge,
    /// Calls of the state that failed.
    pub state_errors: IntCounter,
    /// Lanes that this process holds.
    pub lanes: IntGauge,
    /// Messages that are received and not finished.
    pub messages_held: IntGauge,
    /// Bytes that they take.
    pub buffer_bytes: IntGauge,
    /// Rows that they have.
    pub buffer_rows: IntGauge,
    /// Rows that are accepted by the topic, as canaries say, and not delivered.
    pub lag_rows: IntGauge,
    /// Lanes that wait for rows that are missing.
    pub gaps_open: IntGauge,
    /// Gaps that were closed by a replay.
    pub gaps_healed: IntCounter,
    /// Digests of chunks by what came of comparing them: equal, differing, passed.
    pub verified_chunks: Counters,
    /// Ranges of a copy that were found to differ, and not yet found equal.
    pub differing_ranges: IntGauge,
    /// Parked requests in the state.
    pub parked: IntGauge,
    /// State of the endpoint: 0 closed (it works), 1 the breaker is open, 2 gone.
    pub endpoint_state: IntGauge,
    /// Seconds until the queue drops the oldest message that is held.
    pub retention_margin_seconds: Gauge,
    /// When a canary was delivered last, seconds since 1970 UTC.
    pub canary_delivered_timestamp_seconds: Gauge,
}

/// Upper bounds of the buckets of times, seconds.
const SECONDS: [f64; 16] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

impl Metrics {
    /// The metrics of `route`, in a registry of their own.
    pub fn new(route: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Make { registry: &registry, route };
        let retention_margin_seconds = make.seconds(
            "retention_margin_seconds",
            "Time until the queue drops the oldest message that is received and not delivered; NaN without one",
        )?;
        retention_margin_seconds.set(f64::NAN);
        Ok(Self {
            registry: registry.clone(),
            messages: make.counters("messages_total", "Messages received, by kind", "kind", &[
                "change", "snapshot", "canary", "suppressed", "outbox", "unreadable", "other",
            ])?,
            rows: make.counters("rows_total", "Rows by what became of them", "outcome", &[
                "delivered", "parked", "missing", "filtered", "shadow",
            ])?,
            lossy_cells: make.counter(
                "lossy_cells_total",
                "Values that the format of requests could not hold as they are",
            )?,
            attempts: make.counters("attempts_total", "Attempts by outcome", "outcome", &[
                "delivered", "failed", "outage", "refused", "gone",
            ])?,
            delivery_seconds: make.histogram(
                "delivery_seconds",
                "Time from the commit at the source to the delivery of a request's last row",
            )?,
            attempt_seconds: make.histogram("attempt_seconds", "Time of one attempt")?,
            queue_errors: make.counter("queue_errors_total", "Calls of SQS that failed")?,
            queue_read_timestamp_seconds: make.seconds(
                "queue_read_timestamp_seconds",
                "When the queue last answered a poll, Unix time; 0 never. Full buffers pause polls",
            )?,
            state_errors: make.counter("state_errors_total", "Calls of the state that failed")?,
            lanes: make.gauge("lanes", "Lanes that this process delivers")?,
            messages_held: make.gauge("messages_held", "Messages received and not finished")?,
            buffer_bytes: make.gauge("buffer_bytes", "Bytes of messages received and not finished")?,
            buffer_rows: make.gauge("buffer_rows", "Rows of messages received and not finished")?,
            lag_rows: make.gauge(
                "lag_rows",
                "Rows that the topic accepted before the newest canary and that are not delivered",
            )?,
            gaps_open: make.gauge("gaps_open", "Lanes that wait for missing rows, also of parts of snapshots")?,
            gaps_healed: make.counter("gaps_healed_total", "Gaps that a replay has closed")?,
            verified_chunks: make.counters(
                "verified_chunks_total",
                "Digests of `binpulse verify` by what comparing them with the copy's rows gave",
                "result",
                &["equal", "differing", "passed"],
            )?,
            differing_ranges: make.gauge(
                "differing_ranges",
                "Ranges of keys in which the copy was found to differ from its source, until it is found equal",
            )?,
            parked: make.gauge("parked", "Requests that are parked")?,
            endpoint_state: make.gauge(
                "endpoint_state",
                "0 the target works, 1 it fails and is tried again now and then, 2 it said that it is gone",
            )?,
            retention_margin_seconds,
            canary_delivered_timestamp_seconds: make.seconds(
                "canary_delivered_timestamp_seconds",
                "When the newest canary was delivered, Unix time; 0 none",
            )?,
        })
    }
}

impl Metrics {
    /// The page for a scraper, in the text format 0.0.4.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// A message of an outbox was delivered that entered the queue then.
    pub(crate) fn observe_outbox(&self, sent_at_us: Option<i64>) {
        self.rows.with_label_values(&["delivered"]).inc();
        if let Some(sent_at_us) = sent_at_us {
            let took_us = wall_clock_us().saturating_sub(sent_at_us).max(0);
            self.delivery_seconds.observe(seconds(took_us));
        }
    }

    /// A request was delivered.
    pub(crate) fn observe_delivered(&self, rows: &[RowRef]) {
        self.rows.with_label_values(&["delivered"]).inc_by(rows.len() as u64);
        let committed = rows.iter().rev().find_map(|row| row.rows.transaction(row.index));
        if let Some(transaction) = committed {
            let took_us = wall_clock_us().saturating_sub(transaction.committed_at_us).max(0);
            self.delivery_seconds.observe(seconds(took_us));
        }
    }
}

struct Make<'a> {
    registry: &'a Registry,
    route: &'a str,
}

impl Make<'_> {
    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(format!("binpulse_relay_{name}"), help).const_label("route", self.route)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> Result<Counters, prometheus::Error> {
        let counters = Counters::new(self.opts(name, help), &[label])?;
        for value in values {
            counters.with_label_values(&[*value]);
        }
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = GenericCounter::with_opts(self.opts(name, help))?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::with_opts(self.opts(name, help))?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn seconds(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        let gauge = Gauge::with_opts(self.opts(name, help))?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::from(self.opts(name, help)).buckets(SECONDS.to_vec());
        let histogram = Histogram::with_opts(opts)?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }
}
