//! The metrics of a consumer's probe, in a registry of their own.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, Registry, TextEncoder};

use super::make::SLOW;
use super::process::Process;
use super::scrape_sources::{own_process, register_each};
use super::{Error, ScrapedFamily};

/// What a probe exports: families that are read at the scrape, and how long canaries took.
pub struct ProbeMetrics {
    registry: Registry,
    transit: HistogramVec,
}

impl ProbeMetrics {
    /// Registers everything. Series of `streams` exist from the first scrape; of others, from their
    /// first canary.
    pub fn new<'a>(
        streams: impl IntoIterator<Item = &'a str>,
        scrape_sources: Vec<ScrapedFamily>,
    ) -> Result<Self, Error> {
        let registry = Registry::new();
        let options = HistogramOpts::new(
            "binpulse_probe_canary_transit_seconds",
            "From a canary's writing, by the writer's clock, to its coming, by the probe's.",
        );
        let transit = HistogramVec::new(options.buckets(SLOW.to_vec()), &["stream"])?;
        registry.register(Box::new(transit.clone()))?;
        for stream in streams {
            transit.get_metric_with_label_values(&[stream])?;
        }
        register_each(&registry, scrape_sources)?;
        register_process(&registry)?;
        Ok(Self { registry, transit })
    }

    /// A canary of this stream came, and took so long. Streams are to be bounded by the caller.
    pub fn observe_transit(&self, stream: &str, transit: Duration) {
        self.transit.with_label_values(&[stream]).observe(transit.as_secs_f64());
    }

    /// The page for a scraper, in the text format 0.0.4.
    pub fn text(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn register_process(registry: &Registry) -> Result<(), Error> {
    for family in own_process() {
        registry.register(Box::new(family?))?;
    }
    registry.register(Box::new(Process::new()?))
}

/// Clock, version and the process's own numbers, for a program whose other metrics are made elsewhere.
pub fn process_page() -> Result<String, Error> {
    let registry = Registry::new();
    register_process(&registry)?;
    TextEncoder::new().encode_to_string(&registry.gather())
}
