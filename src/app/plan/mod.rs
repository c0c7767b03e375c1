//! Settings become the parts' own configurations; contradictions between them are found here. One
//! file for each section of settings; every mistake is told, not only the first.

mod filter;
pub(crate) mod formats;
mod freshness;
mod http;
mod outbox;
mod page;
mod paths;
mod settings;
mod sink;
mod snapshot;
mod source;

use std::path::PathBuf;
use std::time::Duration;

pub use freshness::FreshnessPlan;
pub(super) use freshness::in_settings;
pub use http::HttpPlan;
pub(super) use http::http_plan;
pub use paths::PathRoute;
pub use settings::{Reload, Settings};
pub use sink::{ClaimsPlan, QuarantinePlan, SinkPlan};
pub use snapshot::SnapshotPlan;
pub(super) use source::host_name;

use crate::change::NameCase;
use crate::config::{Error, Values};
use crate::encode::formats::FormatOptions;
use crate::encode::{self, FinalizeOptions, Format};
use crate::filter::Versions;
use crate::pack;
use crate::source::resume::Wanted;
use crate::telemetry::{Hidden, Surroundings};

/// Everything that a stream is made from, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the stream.
    pub stream: String,
    /// The server, and how to talk to it.
    pub source: crate::source::Config,
    /// Where to begin without a checkpoint.
    pub start: Wanted,
    /// Epoch of a run before after which the stream may begin again.
    pub new_epoch: Option<u64>,
    /// The lease on the stream.
    pub ha: HaPlan,
    /// Whether `information_schema` is asked for what the log does not tell of tables.
    pub schema_fallback: bool,
    /// Most bytes of an event out of a compressed one.
    pub expanded_event_max: u64,
    /// How long to wait for the source at start.
    pub start_patience: Duration,
    /// What is published.
    pub filter: crate::filter::Config,
    /// How rows are packed.
    pub pack: pack::Config,
    /// Set where each row is a message, in another program's format.
    pub row_format: Option<FormatOptions>,
    /// How messages are finalized.
    pub finalize: FinalizeOptions,
    /// A row too large for its topic.
    pub oversize: encode::Oversize,
    /// Whether statements are published.
    pub schema_changes: bool,
    /// Where messages go.
    pub sink: SinkPlan,
    /// Bytes that may wait for the sink.
    pub queue_bytes: usize,
    /// Where bodies too large for their topic go, if that is the policy.
    pub claims: Option<ClaimsPlan>,
    /// What is quarantined instead of halting the stream.
    pub quarantine: QuarantinePlan,
    /// Where the checkpoint is kept.
    pub checkpoint: CheckpointPlan,
    /// Heartbeats and canaries.
    pub freshness: FreshnessPlan,
    /// How the rows that are already there are read.
    pub snapshot: SnapshotPlan,
    /// What is kept to be compared with another process.
    pub shadow: ShadowPlan,
    /// Address of the HTTP server, and who may ask it.
    pub http: HttpPlan,
    /// Time to deliver what is under way when asked to stop.
    pub grace: Duration,
    /// Whether to stay up and explain when delivery can't continue.
    pub stays_when_halted: bool,
    /// Filters of other parts of the log, as the checkpoint has them.
    pub filter_versions: Versions,
    /// The settings that it was made from.
    pub settings: Settings,
    /// What must be in no log and in no bundle.
    pub hidden: Hidden,
    /// Where commands are typed, and other pages.
    pub surroundings: Surroundings,
}

/// What is kept to be compared with another process.
#[derive(Debug, Clone, Copy)]
pub struct ShadowPlan {
    /// Whether digests of the rows of each lane are kept.
    pub digests: bool,
}

/// The lease on the stream.
#[derive(Debug, Clone)]
pub struct HaPlan {
    /// Whether the stream is taken from another process that runs it.
    pub takes_over: bool,
    /// Whether the process waits as a standby while another has the stream.
    pub stands_by: bool,
    /// Time in which a publish request that was sent has ended.
    pub request_timeout: Duration,
    /// How long the lease holds without a renewal.
    pub lifetime: Duration,
}

/// Where the checkpoint is kept.
#[derive(Debug, Clone)]
pub struct CheckpointPlan {
    /// In this file; `None`: in a table of the source.
    pub file: Option<PathBuf>,
    /// Least time between two saves.
    pub interval: Duration,
    /// Name under which a file is kept, if not the stream's: a shadow's is no stream's.
    pub name: Option<String>,
}

impl Plan {
    /// Reads the settings. Every mistake is returned, not only the first.
    pub fn new(values: &Values) -> Result<Self, Vec<Error>> {
        let mut errors = Errors::default();
        let plan = Self::read(values, &mut errors);
        match plan {
            Some(plan) if errors.0.is_empty() => Ok(plan),
            Some(_) | None => Err(errors.0),
        }
    }

    /// From here on names are compared as this server does.
    pub fn compare_names(&mut self, case: NameCase) {
        self.filter.names = case;
        for route in &mut self.freshness.routes {
            let path = &route.path;
            route.is_filtered_out = !self.filter.wants(&path.database, &path.table);
        }
    }

    /// How canaries, statements and marks are written: as JSON where rows are.
    pub fn control_format(&self) -> Format {
        if self.row_format.is_some() { Format::Json } else { self.pack.format }
    }

    /// A replica of its own beside the service's: the server throws the elder of two with one UUID out.
    pub fn name_apart(&mut self, purpose: &str) {
        self.source.stream = format!("{}.{purpose}.{}", self.stream, std::process::id());
        self.source.server_id = None;
    }

    /// Looks at every section before it gives up on one.
    fn read(values: &Values, errors: &mut Errors) -> Option<Self> {
        let source = source::config(values, errors);
        let freshness = freshness::plan(values, source.as_ref(), errors);
        let start = errors.take(source::start(values));
        let (outbox, outbox_topic) = outbox::plan(values, errors).unzip();
        let filter = filter::config(values, outbox, errors);
        let pack = errors.take(sink::pack_config(values));
        let sink = errors.take(sink::sink_plan(values, outbox_topic.flatten()));
        let claims = errors.take(sink::claims(values));
        let quarantine = sink::quarantine(values, errors);
        let checkpoint = errors.take(checkpoint(values));
        let ha = errors.take(ha(values));
        let snapshot = snapshot::plan(values, errors);
        let digests = errors.take(values.flag("shadow.digests"));
        let http = errors.take(http_plan(values, "http.listen"));
        let freshness = freshness.zip(filter.as_ref());
        let freshness =
            freshness.map(|(freshness, filter)| paths::add(values, freshness, filter, errors));
        let rest = errors.take(Rest::read(values))?;
        let source = source?;
        Some(Self {
            stream: source.stream.clone(),
            source,
            start: start?,
            new_epoch: None,
            ha: ha?,
            schema_fallback: rest.schema_fallback,
            expanded_event_max: rest.expanded_event_max,
            start_patience: rest.start_patience,
            filter: filter?,
            pack: pack?,
            row_format: rest.row_format,
            finalize: rest.finalize,
            oversize: rest.oversize,
            schema_changes: rest.schema_changes,
            sink: sink?,
            claims: claims?,
            queue_bytes: rest.queue_bytes,
            quarantine: quarantine?,
            checkpoint: checkpoint?,
            freshness: freshness?,
            snapshot: snapshot?,
            shadow: ShadowPlan { digests: digests? },
            http: http?,
            grace: rest.grace,
            stays_when_halted: rest.stays_when_halted,
            filter_versions: Versions::default(),
            settings: Settings::new(values.clone()),
            hidden: hidden(values),
            surroundings: page::surroundings(values),
        })
    }
}

/// Secrets that reach the process by the environment alone.
const OF_ENVIRONMENT: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// All secrets that are known here, to be taken out of what leaves the machine.
pub fn hidden(values: &Values) -> Hidden {
    let environment: Vec<_> =
        OF_ENVIRONMENT.iter().filter_map(|name| std::env::var(name).ok()).collect();
    Hidden::new(values.secrets().chain(environment.iter().map(String::as_str)))
}

/// Settings that contradict nothing.
struct Rest {
    schema_fallback: bool,
    expanded_event_max: u64,
    start_patience: Duration,
    row_format: Option<FormatOptions>,
    finalize: FinalizeOptions,
    oversize: encode::Oversize,
    schema_changes: bool,
    queue_bytes: usize,
    grace: Duration,
    stays_when_halted: bool,
}

impl Rest {
    fn read(values: &Values) -> Result<Self, Error> {
        let compressed = values.text("message.compression")? == "zstd";
        let level = i32::try_from(values.integer("message.compression_level")?).unwrap_or(1);
        Ok(Self {
            schema_fallback: values.text("source.schema_fallback")? == "information_schema",
            expanded_event_max: values.integer("decode.expanded_event_max")?,
            start_patience: values.duration("source.start_patience")?,
            row_format: formats::format_options(values, values.text("message.format")?)?,
            finalize: FinalizeOptions { zstd_level: if compressed { level } else { 0 } },
            oversize: match values.text("sink.oversize")? {
                "omit" => encode::Oversize::Omit,
                _ => encode::Oversize::Keep,
            },
            schema_changes: values.flag("message.schema_changes")?,
            queue_bytes: values.size("sink.queue_bytes")?,
            grace: values.duration("shutdown.grace")?,
            stays_when_halted: values.text("shutdown.on_halt")? == "stay",
        })
    }
}

fn ha(values: &Values) -> Result<HaPlan, Error> {
    let stands_by = values.flag("ha.enabled")?;
    if stands_by && values.text("checkpoint.store")? != "table" {
        return Err(values.conflict(
            "ha.enabled",
            "checkpoint.store",
            "a standby continues from the checkpoint in the source: set checkpoint.store = \"table\"",
        ));
    }
    if stands_by && !values.flag("heartbeat.enabled")? {
        return Err(values.conflict(
            "ha.enabled",
            "heartbeat.enabled",
            "the lease is written to the source as heartbeats are: enable them",
        ));
    }
    Ok(HaPlan {
        takes_over: false,
        stands_by,
        lifetime: values.duration("ha.lease_lifetime")?,
        request_timeout: sink::request_timeout(values)?,
    })
}

fn checkpoint(values: &Values) -> Result<CheckpointPlan, Error> {
    Ok(CheckpointPlan {
        file: match values.text("checkpoint.store")? {
            "table" => None,
            _ => values.path_opt("checkpoint.path"),
        },
        interval: values.duration("checkpoint.interval")?,
        name: None,
    })
}

/// Gathers errors, so that one run shows them all.
#[derive(Default)]
struct Errors(Vec<Error>);

impl Errors {
    fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    fn take<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }
}
