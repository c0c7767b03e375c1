//! Settings become what a probe is made from.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{Error, Values};

/// Everything that a probe is made from, checked. It knows nothing of a source or a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbePlan {
    /// URL of its queue.
    pub queue: String,
    /// Streams whose canaries are awaited; empty: every one that comes.
    pub streams: Vec<String>,
    /// Longest age of a stream's newest canary.
    pub deadline: Duration,
    /// Address of its pages.
    pub listen: SocketAddr,
    /// Region, if not the queue's.
    pub region: Option<String>,
    /// Endpoint of a stand-in.
    pub endpoint_url: Option<String>,
}

impl ProbePlan {
    /// Reads the settings.
    pub fn new(values: &Values) -> Result<Self, Error> {
        Ok(Self {
            queue: values.text("probe.queue")?.to_owned(),
            streams: values.list("probe.streams").to_vec(),
            deadline: values.duration("probe.deadline")?,
            listen: values
                .text("probe.listen")?
                .parse()
                .map_err(|_| values.invalid("probe.listen", "an address and port"))?,
            region: values.text_opt("sns.region").map(str::to_owned),
            endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
        })
    }
}
