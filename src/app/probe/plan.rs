//! Settings become what a probe is made from.

use std::time::Duration;

use binpulse_relay::target::copy::{self, SchemaPolicy};

use crate::app::plan::{HttpPlan, http_plan};
use crate::app::relay::with_account;
use crate::config::{Error, Values};

/// Everything that a probe is made from, checked. It knows nothing of a source or a sink.
#[derive(Debug, Clone)]
pub struct ProbePlan {
    /// Where canaries are.
    pub canaries: Canaries,
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

/// Where canaries are.
#[derive(Debug, Clone)]
pub enum Canaries {
    /// In a queue of its own, by its URL.
    Queue(String),
    /// In a copy that the relay keeps.
    Copy(copy::Config),
}

fn canaries(values: &Values) -> Result<Canaries, Error> {
    let Some(url) = values.text_opt("probe.copy") else {
        return Ok(Canaries::Queue(values.text("probe.queue")?.to_owned()));
    };
    if values.text_opt("probe.queue").is_some() {
        let text = "`probe.queue` and `probe.copy` are two places of canaries: set one";
        return Err(Error::Rule(text.to_owned()));
    }
    if !["mysql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme)) {
        let expected = "mysql://host:port/database or postgres://host:port/database";
        return Err(values.invalid("probe.copy", expected));
    }
    let user = values.text_opt("probe.copy_user");
    let url = with_account(url, user, values.text_opt("probe.copy_password"));
    Ok(Canaries::Copy(copy::Config { url, schema: SchemaPolicy::Refuse }))
}

impl ProbePlan {
    /// Reads the settings.
    pub fn new(values: &Values) -> Result<Self, Error> {
        Ok(Self {
            canaries: canaries(values)?,
            streams: values.list("probe.streams").to_vec(),
            deadline: values.duration("probe.deadline")?,
            http: http_plan(values, "probe.listen")?,
            region: values.text_opt("sns.region").map(str::to_owned),
            endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
        })
    }
}
