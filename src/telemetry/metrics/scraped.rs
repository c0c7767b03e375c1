//! Values that are read at the time of the scrape, so that they keep growing when everything else
//! has stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// Reads a number.
pub type Read<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// Labels and values of one sample.
pub type Sample = (Vec<(&'static str, String)>, f64);

/// A moment that somebody notes and a scrape reads. Cloning shares it. Cheap enough for each row.
#[derive(Debug, Clone)]
pub struct Moment {
    origin: Instant,
    /// Nanoseconds after `origin`, plus one; 0 for never.
    after_ns: Arc<AtomicU64>,
}

impl Moment {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, after_ns: Arc::default() }
    }

    /// Notes that it happened at `at`. The newest moment stays.
    pub fn note(&self, at: Instant) {
        let after = at.saturating_duration_since(self.origin).as_nanos();
        let after = u64::try_from(after).unwrap_or(u64::MAX - 1).saturating_add(1);
        self.after_ns.fetch_max(after, Ordering::Relaxed);
    }

    /// When it last happened.
    pub fn last(&self) -> Option<Instant> {
        let after = self.after_ns.load(Ordering::Relaxed).checked_sub(1)?;
        self.origin.checked_add(std::time::Duration::from_nanos(after))
    }
}

/// A family whose samples are made at each scrape.
pub(super) struct Scraped {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    description: Desc,
    read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl Scraped {
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        labels: &[&str],
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> Result<Self, prometheus::Error> {
        let description = describe(name, help, labels)?;
        Ok(Self { name, help, kind, description, read: Box::new(read) })
    }
}

impl Collector for Scraped {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![family(self.name, self.help, self.kind, (self.read)())]
    }
}

/// Durations that another part counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations {
    /// Upper bounds of the buckets, seconds, rising; above the last there is one more.
    pub bounds_seconds: Vec<f64>,
    /// How many fell into each bucket, not cumulative: one more than there are bounds.
    pub counts: Vec<u64>,
    /// Sum of all, seconds.
    pub sum_seconds: f64,
}

/// A histogram whose counts are read at each scrape.
pub(super) struct ScrapedDurations {
    name: &'static str,
    help: &'static str,
    description: Desc,
    read: Read<Durations>,
}

impl ScrapedDurations {
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        read: Read<Durations>,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self { name, help, description: describe(name, help, &[])?, read })
    }
}

impl Collector for ScrapedDurations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let durations = (self.read)();
        let mut histogram = Histogram::default();
        let mut below = 0;
        let buckets =
            durations.bounds_seconds.iter().zip(&durations.counts).map(|(bound, count)| {
                below += count;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(below);
                bucket
            });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(durations.counts.iter().sum());
        histogram.set_sample_sum(durations.sum_seconds);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

pub(super) fn describe(name: &str, help: &str, labels: &[&str]) -> Result<Desc, prometheus::Error> {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, std::collections::HashMap::default())
}

pub(super) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = Sample>,
) -> MetricFamily {
    let metric = |(labels, value): Sample| {
        let labels = labels.into_iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value);
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples.into_iter().map(metric).collect());
    family
}

/// Wall clock now, seconds since 1970 UTC.
pub(super) fn wall_seconds() -> f64 {
    crate::platform::wall().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// When `moment` was, by the wall clock of now and the moment's monotonic age: a step of the wall
/// clock moves both sides of `clock - timestamp` alike.
pub fn timestamp(moment: Instant) -> f64 {
    wall_seconds() - crate::platform::since(moment).as_secs_f64()
}
