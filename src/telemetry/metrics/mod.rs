//! Every metric, in one place, in one registry that is handed down.
//!
//! Names, types and label values are an interface: alerts, dashboards and people's notes call them.
//! Every series exists from the first scrape, since `increase()` cannot see the step from absent to
//! one. Timestamps are computed at the scrape: wall clock minus monotonic age.
//!
//! Counting is one atomic addition. On the hot path the caller adds up in its own variables and
//! counts once a batch.

mod family;
mod process;
mod scraped;

#[cfg(test)]
pub(super) mod tests;

use std::time::{Duration, Instant};

use prometheus::proto::MetricType;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Registry, TextEncoder};

pub use family::{Family, OTHER};
pub use scraped::{Moment, Read};
use scraped::{Scraped, timestamp, wall_seconds};

/// Label values, all known before the first scrape.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// Consumers whose echo is read, by name.
    pub consumers: Vec<String>,
    /// How a heartbeat write can end.
    pub heartbeat_results: Vec<&'static str>,
    /// How an attempt to publish can end.
    pub publish_results: Vec<&'static str>,
    /// Why the replica connection was dialled again.
    pub reconnect_reasons: Vec<&'static str>,
    /// Names of binlog event types.
    pub event_types: Vec<&'static str>,
}

/// What is known of the server that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceLabels {
    /// Name of the stream.
    pub stream: String,
    /// `server_uuid`; empty before the first connection.
    pub server_uuid: String,
    /// Version as the server prints it.
    pub version: String,
    /// `mysql` or `mariadb`.
    pub flavor: String,
}

/// Values that other parts keep and a scrape reads.
pub struct Readings {
    /// When the newest heartbeat that has passed a stage was written; `None` before the first.
    pub stage: Read<[Option<Instant>; STAGES.len()]>,
    /// When the replica connection last received a byte.
    pub stream_last_receive: Read<Option<Instant>>,
    /// Bytes received on the replica connection.
    pub stream_bytes: Read<u64>,
    /// Whether a read of the replica connection is waiting.
    pub reader_armed: Read<bool>,
    /// Bytes waiting for the sink.
    pub queue_bytes: Read<u64>,
    /// Bytes that may wait for the sink.
    pub queue_capacity_bytes: Read<u64>,
    /// The server that is read.
    pub source: Read<SourceLabels>,
}

/// The stages that a heartbeat passes, in their order.
pub const STAGES: [&str; 5] = ["written", "received", "published", "delivered", "checkpointed"];

/// Whose a transaction was.
pub const CLASSES: [&str; 5] = ["user", "filtered", "heartbeat", "canary", "checkpoint"];

/// What a change did.
pub const OPS: [&str; 3] = ["insert", "update", "delete"];

/// Outcomes of what either works or does not.
pub const OUTCOMES: [&str; 2] = ["ok", "error"];

/// What became of a value or row too large for a message.
pub const OVERSIZE: [&str; 3] = ["omitted", "claim_checked", "halted"];

/// What became of an echoed message.
pub const ECHOES: [&str; 5] = ["matched", "stale", "other_stream", "other_kind", "malformed"];

const FAST: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const SLOW: &[f64] =
    &[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0];

/// All metrics. The fields' documentation is their help text's longer form.
pub struct Metrics {
    registry: Registry,
    /// Attempts to write the heartbeat row, by how they ended.
    pub heartbeat_writes_total: Family<IntCounter>,
    /// From the begin of a heartbeat's write to its row on the stream.
    pub heartbeat_roundtrip_seconds: Histogram,
    /// Server's clock minus ours.
    pub source_clock_offset_seconds: Gauge,
    /// Half-width of the interval that the offset lies in.
    pub source_clock_offset_error_seconds: Gauge,
    /// Canaries written.
    pub canary_written_total: Family<IntCounter>,
    /// Canaries whose cells came back on the stream other than written.
    pub canary_mismatched_total: IntCounter,
    /// From the begin of a canary's write to its echo.
    pub canary_roundtrip_seconds: Family<Histogram>,
    /// Canaries accepted by the topic, for each consumer that owes an echo.
    pub canary_sent_total: Family<IntCounter>,
    /// Canaries whose echo was complete in time.
    pub canary_resolved_total: Family<IntCounter>,
    /// Canaries whose echo was not complete in time.
    pub canary_lost_total: Family<IntCounter>,
    /// Lost canaries whose echo was completed later.
    pub canary_late_total: Family<IntCounter>,
    /// Canary messages that came more than once.
    pub canary_duplicate_total: Family<IntCounter>,
    /// Canary messages that came after a later one.
    pub canary_reordered_total: Family<IntCounter>,
    /// Messages read from echo queues, by what they were.
    pub echo_messages_total: Family<IntCounter>,
    /// Transactions read, by whose they were.
    pub transactions_total: Family<IntCounter>,
    /// Binlog events read, by type.
    pub events_total: Family<IntCounter>,
    /// Times that the replica connection was dialled again, by reason.
    pub reconnects_total: Family<IntCounter>,
    /// Calls to the sink, by how they ended.
    pub publish_attempts_total: Family<IntCounter>,
    /// Duration of a call to the sink.
    pub publish_duration_seconds: Histogram,
    /// Rows accepted by the sink.
    pub changes_published_total: Family<IntCounter>,
    /// Messages accepted by the sink.
    pub messages_published_total: IntCounter,
    /// Bytes of those messages as the sink bills them.
    pub published_bytes_total: IntCounter,
    /// Values or rows too large for a message.
    pub oversize_total: Family<IntCounter>,
    /// Messages that the sink refused for good, put aside.
    pub quarantined_messages_total: IntCounter,
    /// Saves of the checkpoint, by outcome.
    pub checkpoint_saves_total: Family<IntCounter>,
    /// Lanes that have carried a row.
    pub lanes: IntGauge,
    /// When a user's row was last published.
    pub user_row_last: Moment,
    /// When the checkpoint was last saved.
    pub checkpoint_saved: Moment,
}

impl Metrics {
    /// Registers everything.
    pub fn new(vocabulary: &Vocabulary, readings: Readings) -> Result<Self, prometheus::Error> {
        let started = Instant::now();
        let registry = Registry::new();
        let make = Make { registry: &registry, vocabulary };
        let user_row_last = Moment::new(started);
        let checkpoint_saved = Moment::new(started);
        let metrics = make.all(user_row_last.clone(), checkpoint_saved.clone())?;
        register_scraped(&registry, readings, started, user_row_last, checkpoint_saved)?;
        registry.register(Box::new(process::Process::new()?))?;
        Ok(metrics)
    }

    /// The page for a scraper, in the text format 0.0.4.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Notes how far the server's clock is from ours, and how sure that is.
    pub fn observe_clock_offset(&self, offset_seconds: f64, error: Duration) {
        self.source_clock_offset_seconds.set(offset_seconds);
        self.source_clock_offset_error_seconds.set(error.as_secs_f64());
    }
}

/// Makes and registers in one step, so that none is forgotten.
struct Make<'a> {
    registry: &'a Registry,
    vocabulary: &'a Vocabulary,
}

impl Make<'_> {
    fn all(
        &self,
        user_row_last: Moment,
        checkpoint_saved: Moment,
    ) -> Result<Metrics, prometheus::Error> {
        let words = self.vocabulary;
        let consumers: Vec<&str> = words.consumers.iter().map(String::as_str).collect();
        let of_consumers = |name, help| self.counters(name, help, "consumer", &consumers);
        let metrics = Metrics {
            registry: self.registry.clone(),
            heartbeat_writes_total: self.counters(
                "heartbeat_writes_total",
                "Attempts to write the heartbeat row, by how they ended.",
                "result",
                &words.heartbeat_results,
            )?,
            heartbeat_roundtrip_seconds: self.histogram(
                "heartbeat_roundtrip_seconds",
                "From the begin of a heartbeat's write to its row on the stream.",
                FAST,
            )?,
            source_clock_offset_seconds: self.gauge(
                "source_clock_offset_seconds",
                "The source's clock minus binpulse's; NaN before the first measurement.",
            )?,
            source_clock_offset_error_seconds: self.gauge(
                "source_clock_offset_error_seconds",
                "The offset lies within plus or minus this; NaN before the first measurement.",
            )?,
            canary_written_total: self.counters(
                "canary_written_total",
                "Canaries written into the source, by how that ended.",
                "result",
                &words.heartbeat_results,
            )?,
            canary_mismatched_total: self.counter(
                "canary_mismatched_total",
                "Canary rows whose cells came back on the stream other than written.",
            )?,
            canary_roundtrip_seconds: self.histograms(
                "canary_roundtrip_seconds",
                "From the begin of a canary's write to its echo by the consumer.",
                "consumer",
                &consumers,
            )?,
            canary_sent_total: of_consumers(
                "canary_sent_total",
                "Canaries accepted by the topic, whose echo the consumer owes.",
            )?,
            canary_resolved_total: of_consumers(
                "canary_resolved_total",
                "Canaries whose echo was complete in time.",
            )?,
            canary_lost_total: of_consumers(
                "canary_lost_total",
                "Canaries whose echo was not complete in time.",
            )?,
            canary_late_total: of_consumers(
                "canary_late_total",
                "Lost canaries whose echo was completed after all.",
            )?,
            canary_duplicate_total: of_consumers(
                "canary_duplicate_total",
                "Canary messages that came more than once.",
            )?,
            canary_reordered_total: of_consumers(
                "canary_reordered_total",
                "Canary messages that came after a later one.",
            )?,
            echo_messages_total: self.counters(
                "echo_messages_total",
                "Messages read from echo queues, by what they were.",
                "kind",
                &ECHOES,
            )?,
            transactions_total: self.counters(
                "transactions_total",
                "Transactions read, by whose they were.",
                "class",
                &CLASSES,
            )?,
            events_total: self.counters(
                "events_total",
                "Binlog events read, by type.",
                "type",
                &words.event_types,
            )?,
            reconnects_total: self.counters(
                "reconnects_total",
                "Times that the replica connection was dialled again, by reason.",
                "reason",
                &words.reconnect_reasons,
            )?,
            publish_attempts_total: self.counters(
                "publish_attempts_total",
                "Calls to the sink, by how they ended.",
                "result",
                &words.publish_results,
            )?,
            publish_duration_seconds: self.histogram(
                "publish_duration_seconds",
                "Duration of a call to the sink.",
                FAST,
            )?,
            changes_published_total: self.counters(
                "changes_published_total",
                "Rows accepted by the sink.",
                "op",
                &OPS,
            )?,
            messages_published_total: self
                .counter("messages_published_total", "Messages accepted by the sink.")?,
            published_bytes_total: self.counter(
                "published_bytes_total",
                "Bytes of the messages accepted by the sink, as the sink bills them.",
            )?,
            oversize_total: self.counters(
                "oversize_total",
                "Values or rows too large for a message, by what became of them.",
                "action",
                &OVERSIZE,
            )?,
            quarantined_messages_total: self.counter(
                "quarantined_messages_total",
                "Messages that the sink refused for good and that were put aside.",
            )?,
            checkpoint_saves_total: self.counters(
                "checkpoint_saves_total",
                "Saves of the checkpoint, by outcome.",
                "result",
                &OUTCOMES,
            )?,
            lanes: self.integer(
                "lanes",
                "Lanes that have carried a row since the start of the process.",
            )?,
            user_row_last,
            checkpoint_saved,
        };
        metrics.source_clock_offset_seconds.set(f64::NAN);
        metrics.source_clock_offset_error_seconds.set(f64::NAN);
        Ok(metrics)
    }

    fn add<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: M,
    ) -> Result<M, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(full(name), help)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::new(full(name), help)?)
    }

    fn integer(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(full(name), help)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(full(name), help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[&str],
    ) -> Result<Family<IntCounter>, prometheus::Error> {
        let options = prometheus::Opts::new(full(name), help);
        let vector = self.add(prometheus::IntCounterVec::new(options, &[label])?)?;
        Family::new(values, |value| vector.get_metric_with_label_values(&[value]))
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[&str],
    ) -> Result<Family<Histogram>, prometheus::Error> {
        let options = HistogramOpts::new(full(name), help).buckets(SLOW.to_vec());
        let vector = self.add(prometheus::HistogramVec::new(options, &[label])?)?;
        Family::new(values, |value| vector.get_metric_with_label_values(&[value]))
    }
}

fn full(name: &str) -> String {
    format!("binpulse_{name}")
}

#[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
fn register_scraped(
    registry: &Registry,
    readings: Readings,
    started: Instant,
    user_row_last: Moment,
    checkpoint_saved: Moment,
) -> Result<(), prometheus::Error> {
    let Readings {
        stage,
        stream_last_receive,
        stream_bytes,
        reader_armed,
        queue_bytes,
        queue_capacity_bytes,
        source,
    } = readings;
    // Before the first time, the start of the process: the age is at least that.
    let since = move |moment: Option<Instant>| timestamp(moment.unwrap_or(started));
    let one = |value: f64| vec![(Vec::new(), value)];
    let never = |moment: &Moment| moment.last().map_or(0.0, timestamp);
    let (gauge, counter) = (MetricType::GAUGE, MetricType::COUNTER);
    let stages = move || {
        let stages = STAGES.iter().zip(stage());
        stages.map(|(name, at)| (vec![("stage", (*name).to_owned())], since(at))).collect()
    };
    let labels = move || {
        let source = source();
        let labels = [
            ("stream", source.stream),
            ("server_uuid", source.server_uuid),
            ("version", source.version),
            ("flavor", source.flavor),
        ];
        vec![(labels.to_vec(), 1.0)]
    };
    let build = || vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)];
    let all = [
        Scraped::new(
            "binpulse_clock_timestamp_seconds",
            "The process's own clock at the scrape. Subtract the other timestamps from this one, never from time().",
            gauge,
            &[],
            move || one(wall_seconds()),
        ),
        Scraped::new(
            "binpulse_stage_heartbeat_timestamp_seconds",
            "When the newest heartbeat that has passed the stage was written; before the first, the start of the process. For `delivered`, the newest canary that all consumers echoed.",
            gauge,
            &["stage"],
            stages,
        ),
        Scraped::new(
            "binpulse_stream_last_receive_timestamp_seconds",
            "When the replica connection last received a byte; before the first, the start of the process.",
            gauge,
            &[],
            move || one(since(stream_last_receive())),
        ),
        Scraped::new(
            "binpulse_user_row_last_timestamp_seconds",
            "When a user's row was last published; 0 before the first. Never alert on its age: silence is no fault.",
            gauge,
            &[],
            move || one(never(&user_row_last)),
        ),
        Scraped::new(
            "binpulse_checkpoint_saved_timestamp_seconds",
            "When the checkpoint was last saved; before the first, the start of the process.",
            gauge,
            &[],
            move || one(since(checkpoint_saved.last())),
        ),
        Scraped::new(
            "binpulse_stream_bytes_total",
            "Bytes received on the replica connection.",
            counter,
            &[],
            move || one(stream_bytes() as f64),
        ),
        Scraped::new(
            "binpulse_reader_armed",
            "1 while a read of the replica connection is waiting: only then does silence count.",
            gauge,
            &[],
            move || one(f64::from(u8::from(reader_armed()))),
        ),
        Scraped::new(
            "binpulse_queue_bytes",
            "Bytes waiting for the sink.",
            gauge,
            &[],
            move || one(queue_bytes() as f64),
        ),
        Scraped::new(
            "binpulse_queue_capacity_bytes",
            "Bytes that may wait for the sink.",
            gauge,
            &[],
            move || one(queue_capacity_bytes() as f64),
        ),
        Scraped::new(
            "binpulse_source_info",
            "The server that is read, in the labels; always 1.",
            gauge,
            &["stream", "server_uuid", "version", "flavor"],
            labels,
        ),
        Scraped::new(
            "binpulse_build_info",
            "The version of binpulse, in the label; always 1.",
            gauge,
            &["version"],
            build,
        ),
    ];
    for family in all {
        registry.register(Box::new(family?))?;
    }
    Ok(())
}
