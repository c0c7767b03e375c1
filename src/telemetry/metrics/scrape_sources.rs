//! Values that other parts keep and a scrape reads.

use std::sync::Arc;
use std::time::Instant;

use prometheus::Registry;
use prometheus::proto::MetricType;

use super::Moment;
use super::scraped::{Durations, Read, Sample, Scraped, ScrapedDurations, timestamp, wall_seconds};

/// What is known of the server that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceLabels {
    /// `server_uuid`; empty before the first connection.
    pub server_uuid: String,
    /// Version as the server prints it.
    pub version: String,
    /// `mysql` or `mariadb`.
    pub flavor: String,
}

/// Whether a reading only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, from the start of the process on.
    Counter,
}

/// A family that another part makes at each scrape. It must have all its series at the first one.
pub struct ScrapedFamily {
    /// Full name.
    pub name: &'static str,
    /// Help text.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Its samples.
    pub read: Read<Vec<Sample>>,
}

/// Values that other parts keep and a scrape reads.
pub struct ScrapeSources {
    /// When the newest heartbeat that has passed a stage was written; `None` before the first.
    pub stage: Read<Vec<(&'static str, Option<Instant>)>>,
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
    /// How long calls to the sink took.
    pub publish_duration: Read<Durations>,
    /// The server that is read.
    pub source: Read<SourceLabels>,
    /// Families of other parts.
    pub more: Vec<ScrapedFamily>,
}

impl ScrapeSources {
    /// Of a process that nobody scrapes.
    pub fn none() -> Self {
        Self {
            stage: Arc::new(Vec::new),
            stream_last_receive: Arc::new(|| None),
            stream_bytes: Arc::new(|| 0),
            reader_armed: Arc::new(|| false),
            queue_bytes: Arc::new(|| 0),
            queue_capacity_bytes: Arc::new(|| 0),
            publish_duration: Arc::new(Durations::default),
            source: Arc::new(SourceLabels::default),
            more: Vec::new(),
        }
    }
}

/// Registers families of other parts.
pub(super) fn register_each(
    registry: &Registry,
    scrape_sources: Vec<ScrapedFamily>,
) -> Result<(), prometheus::Error> {
    for ScrapedFamily { name, help, kind, labels, read } in scrape_sources {
        let kind = match kind {
            Kind::Gauge => MetricType::GAUGE,
            Kind::Counter => MetricType::COUNTER,
        };
        registry.register(Box::new(Scraped::new(name, help, kind, labels, move || read())?))?;
    }
    Ok(())
}

/// What every program of ours says of itself.
pub(super) fn own_process() -> [Result<Scraped, prometheus::Error>; 2] {
    let gauge = MetricType::GAUGE;
    let build = || vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)];
    [
        Scraped::new(
            "binpulse_clock_timestamp_seconds",
            "The process's own clock at the scrape. Subtract the other timestamps from this one, never from time().",
            gauge,
            &[],
            || vec![(Vec::new(), wall_seconds())],
        ),
        Scraped::new(
            "binpulse_build_info",
            "The version of binpulse, in the label; always 1.",
            gauge,
            &["version"],
            build,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "one list of all that is read at a scrape")]
#[expect(clippy::cast_precision_loss, reason = "a float is what the format carries")]
pub(super) fn register(
    registry: &Registry,
    scrape_sources: ScrapeSources,
    started: Instant,
    user_row_last: Moment,
    checkpoint_saved: Moment,
) -> Result<(), prometheus::Error> {
    let ScrapeSources {
        stage,
        stream_last_receive,
        stream_bytes,
        reader_armed,
        queue_bytes,
        queue_capacity_bytes,
        publish_duration,
        source,
        more,
    } = scrape_sources;
    register_each(registry, more)?;
    for family in own_process() {
        registry.register(Box::new(family?))?;
    }
    let durations = ScrapedDurations::new(
        "binpulse_publish_duration_seconds",
        "Duration of a call to the sink, failed ones included; the sink `null` makes none.",
        publish_duration,
    );
    registry.register(Box::new(durations?))?;
    // Before the first time, the start of the process: the age is at least that.
    let since = move |moment: Option<Instant>| timestamp(moment.unwrap_or(started));
    let one = |value: f64| vec![(Vec::new(), value)];
    let never = |moment: &Moment| moment.last().map_or(0.0, timestamp);
    let (gauge, counter) = (MetricType::GAUGE, MetricType::COUNTER);
    let stages = move || {
        let stages = stage().into_iter();
        stages.map(|(name, at)| (vec![("stage", name.to_owned())], since(at))).collect()
    };
    let labels = move || {
        let source = source();
        let labels = [
            ("server_uuid", source.server_uuid),
            ("version", source.version),
            ("flavor", source.flavor),
        ];
        vec![(labels.to_vec(), 1.0)]
    };
    let all = [
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
            &["server_uuid", "version", "flavor"],
            labels,
        ),
    ];
    for family in all {
        registry.register(Box::new(family?))?;
    }
    Ok(())
}
