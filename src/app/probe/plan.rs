//! Settings become what a probe is made from.

use std::time::Duration;

use crate::app::plan::{HttpPlan, http_plan};
use crate::config::{Error, Values};

/// Everything that a probe is made from, checked. It knows nothing of a source or a sink.
#[derive(Debug, Clone)]
pub struct ProbePlan {
    /// URL of its queue.
    pub queue: String,
    /// Streams whose canaries are awaited; empty: every one that comes.
    pub streams: Vec<String>,
    /// Longest age of a stream's newest canary.
    pub deadline: Duration,
    /// Where its pages are, and who may ask.
    pub http: HttpPlan,
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
            http: http_plan(values, "probe.listen")?,
            region: values.text_opt("sns.region").map(str::to_owned),
            endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
        })
    }
}
