//! Settings become the parts' own configurations; contradictions between them are found here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Error, Values};
use crate::encode::{BeforeImage, Format, RowOptions, SealOptions};
use crate::filter::{self, Pattern};
use crate::mysql::{ConnectOptions, HostPort, Secret, Tls, TlsConfig, TlsMode};
use crate::pulse::schema::SchemaName;
use crate::pulse::{Conflict, Periods};
use crate::sink::topic::Template;
use crate::source::resume::Wanted;
use crate::{encode, pack, source};

/// Everything that a stream is made from, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the stream.
    pub stream: String,
    /// The server, and how to talk to it.
    pub source: source::Config,
    /// Where to begin without a checkpoint.
    pub start: Wanted,
    /// Whether `information_schema` is asked for what the log does not tell of tables.
    pub schema_fallback: bool,
    /// How long to wait for the source at start.
    pub start_patience: Duration,
    /// What is published.
    pub filter: filter::Config,
    /// How rows are packed.
    pub pack: pack::Config,
    /// How messages are sealed.
    pub seal: SealOptions,
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
    /// What is put aside instead of halting the stream.
    pub quarantine: QuarantinePlan,
    /// Where the checkpoint is kept.
    pub checkpoint: CheckpointPlan,
    /// Heartbeats and canaries.
    pub pulse: PulsePlan,
    /// Address of the HTTP server.
    pub http: SocketAddr,
    /// Time to deliver what is under way when asked to stop.
    pub grace: Duration,
    /// Whether to stay up and explain when delivery can't go on.
    pub stays_when_halted: bool,
    /// The settings, for `/status`.
    pub shown: serde_json::Value,
}

/// Where messages go.
#[derive(Debug, Clone)]
pub enum SinkPlan {
    /// Amazon SNS.
    Sns {
        /// Topic by table.
        template: Template,
        /// Topic of canaries and statements.
        notices: Arc<str>,
        /// Region, if not the topic's.
        region: Option<String>,
        /// Endpoint of a stand-in.
        endpoint_url: Option<String>,
        /// Deadline of a request.
        request_timeout: Duration,
        /// Requests in flight at most.
        in_flight_max: usize,
    },
    /// Standard output.
    Stdout,
    /// Nowhere.
    Null,
}

impl SinkPlan {
    /// Its name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sns { .. } => "sns",
            Self::Stdout => "stdout",
            Self::Null => "null",
        }
    }
}

/// A bucket for large bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimsPlan {
    /// Its name.
    pub bucket: String,
    /// What keys begin with.
    pub prefix: String,
    /// Endpoint of a stand-in.
    pub endpoint_url: Option<String>,
}

/// Where the checkpoint is kept.
#[derive(Debug, Clone)]
pub struct CheckpointPlan {
    /// In this file; `None`: in a table of the source.
    pub file: Option<PathBuf>,
    /// Least time between two saves.
    pub interval: Duration,
}

/// What is put aside instead of halting the stream.
#[derive(Debug, Clone)]
pub struct QuarantinePlan {
    /// Where it goes; there if anything is put aside.
    pub file: Option<PathBuf>,
    /// Whether messages that their topic refuses are put aside.
    pub refused: bool,
    /// Whether row events that can't be decoded are put aside.
    pub undecoded: bool,
}

/// Heartbeats and canaries.
#[derive(Debug, Clone)]
pub struct PulsePlan {
    /// Whether heartbeat rows are written.
    pub heartbeats: bool,
    /// Whether canary rows are written.
    pub canaries: bool,
    /// Periods and deadlines.
    pub periods: Periods,
    /// The schema of our tables.
    pub schema: SchemaName,
    /// Where and as whom to write.
    pub connect: ConnectOptions,
    /// Consumers who echo canaries: name and queue.
    pub echoes: Vec<(Arc<str>, String)>,
}

impl Plan {
    /// Reads the settings. Every mistake is returned, not only the first.
    pub fn new(values: &Values) -> Result<Self, Vec<Error>> {
        let mut errors = Errors(Vec::new());
        let source = errors.take(source_config(values));
        let pulse = match &source {
            Some(source) => errors.take(pulse_plan(values, source)),
            None => None,
        };
        let parts = (
            source,
            pulse,
            errors.take(start(values)),
            errors.take(filter_config(values)),
            errors.take(pack_config(values)),
            errors.take(sink_plan(values)),
            errors.take(quarantine(values)),
        );
        let (
            Some(source),
            Some(pulse),
            Some(start),
            Some(filter),
            Some(pack),
            Some(sink),
            Some(quarantine),
        ) = parts
        else {
            return Err(errors.0);
        };
        let plan = Parts { source, pulse, start, filter, pack, sink, quarantine };
        plan.join(values).map_err(|error| vec![error])
    }
}

/// The parts that can be wrong on their own.
struct Parts {
    source: source::Config,
    pulse: PulsePlan,
    start: Wanted,
    filter: filter::Config,
    pack: pack::Config,
    sink: SinkPlan,
    quarantine: Option<PathBuf>,
}

impl Parts {
    fn join(self, values: &Values) -> Result<Plan, Error> {
        let compressed = values.text("message.compression")? == "zstd";
        let level = i32::try_from(values.integer("message.compression_level")?).unwrap_or(1);
        let shown = values.shown().map(|(key, value)| (key.to_owned(), value.into()));
        Ok(Plan {
            stream: self.source.stream.clone(),
            source: self.source,
            start: self.start,
            schema_fallback: values.text("source.schema_fallback")? == "information_schema",
            start_patience: values.duration("source.start_patience")?,
            filter: self.filter,
            pack: self.pack,
            seal: SealOptions { zstd_level: if compressed { level } else { 0 } },
            oversize: match values.text("sink.oversize")? {
                "omit" => encode::Oversize::Omit,
                _ => encode::Oversize::Keep,
            },
            schema_changes: values.flag("message.schema_changes")?,
            sink: self.sink,
            claims: claims(values)?,
            queue_bytes: values.size("sink.queue_bytes")?,
            quarantine: QuarantinePlan {
                file: self.quarantine,
                refused: values.text("sink.rejected")? == "quarantine",
                undecoded: values.text("decode.on_error")? == "quarantine",
            },
            checkpoint: CheckpointPlan {
                file: match values.text("checkpoint.store")? {
                    "table" => None,
                    _ => values.path_opt("checkpoint.path"),
                },
                interval: values.duration("checkpoint.interval")?,
            },
            pulse: self.pulse,
            http: values
                .text("http.listen")?
                .parse()
                .map_err(|_| values.invalid("http.listen", "an address and port"))?,
            grace: values.duration("shutdown.grace")?,
            stays_when_halted: values.text("shutdown.on_halt")? == "stay",
            shown: serde_json::Value::Object(shown.collect()),
        })
    }
}

/// Gathers errors, so that one run shows them all.
struct Errors(Vec<Error>);

impl Errors {
    fn take<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }
}

/// How to talk to the source.
pub fn source_config(values: &Values) -> Result<source::Config, Error> {
    let hosts =
        values.list("source.hosts").iter().map(|host| host_port(values, "source.hosts", host));
    let hosts: Vec<HostPort> = hosts.collect::<Result<_, _>>()?;
    if hosts.is_empty() {
        return Err(values.invalid("source.hosts", "at least one host:port"));
    }
    let connect_timeout = values.duration("source.connect_timeout")?;
    let server_id = u32::try_from(values.integer("source.server_id")?).unwrap_or(0);
    Ok(source::Config {
        hosts,
        user: values.text("source.user")?.to_owned(),
        password: Secret::new(values.text_opt("source.password").unwrap_or_default()),
        tls: tls(values)?,
        stream: values.text("stream.name")?.to_owned(),
        server_id: Some(server_id).filter(|id| *id > 0),
        replica_uuid: None,
        report_host: values.text_opt("source.report_host").map_or_else(host_name, str::to_owned),
        report_port: u16::try_from(values.integer("source.report_port")?).unwrap_or(0),
        heartbeat_period: values.duration("source.heartbeat_period")?,
        send_timeout: source::Config::SEND_TIMEOUT,
        deadlines: source::Deadlines {
            connect: connect_timeout,
            login: connect_timeout,
            query: connect_timeout,
            first_event: values.duration("source.first_event_timeout")?,
            silence: None,
        },
    })
}

fn host_port(values: &Values, key: &'static str, text: &str) -> Result<HostPort, Error> {
    text.parse().map_err(|_| values.invalid(key, "host:port, such as db.example.org:3306"))
}

/// This machine's name, as far as the kernel knows it.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |name| name.trim().chars().take(60).collect())
}

fn tls(values: &Values) -> Result<Tls, Error> {
    let config = TlsConfig {
        mode: values.text("source.tls")?.parse().unwrap_or(TlsMode::Required),
        ca_file: values.path_opt("source.tls_ca"),
        client_certificate_file: values.path_opt("source.tls_certificate"),
        client_key_file: values.path_opt("source.tls_key"),
    };
    config.load().map_err(|error| Error::Rule(format!("source.tls: {error}")))
}

fn start(values: &Values) -> Result<Wanted, Error> {
    let text = values.text("source.start")?;
    let expected = "now, earliest, gtid:SET, position:FILE:OFFSET or time:RFC3339";
    let wrong = || values.invalid("source.start", expected);
    match text.split_once(':') {
        None if text == "now" => Ok(Wanted::Now),
        None if text == "earliest" => Ok(Wanted::Earliest),
        Some(("gtid", set)) => set
            .parse()
            .map(Wanted::Gtid)
            .or_else(|_| set.parse().map(Wanted::Maria))
            .map_err(|_| wrong()),
        Some(("position", place)) => {
            let (file, offset) = place.rsplit_once(':').ok_or_else(wrong)?;
            let offset = offset.parse().map_err(|_| wrong())?;
            Ok(Wanted::Position(crate::change::Position::new(file, offset)))
        }
        Some(("time", time)) => chrono::DateTime::parse_from_rfc3339(time)
            .map(|time| Wanted::Time(time.timestamp_micros()))
            .map_err(|_| wrong()),
        Some(_) | None => Err(wrong()),
    }
}

/// What is published.
pub fn filter_config(values: &Values) -> Result<filter::Config, Error> {
    let patterns = |key: &'static str, parts: usize, form: &str| {
        values
            .list(key)
            .iter()
            .map(|text| Pattern::parse(text, parts).ok_or_else(|| values.invalid(key, form)))
            .collect::<Result<Vec<_>, _>>()
    };
    let (table, column) = ("patterns database.table", "patterns database.table.column");
    let config = filter::Config {
        tables: patterns("filter.tables", 2, table)?,
        exclude: patterns("filter.exclude", 2, table)?,
        drop_columns: patterns("filter.drop_columns", 3, column)?,
        hash_columns: patterns("filter.hash_columns", 3, column)?,
        hash_key: values.text_opt("filter.hash_key").unwrap_or_default().as_bytes().to_vec(),
    };
    if !config.hash_columns.is_empty() && config.hash_key.is_empty() {
        return Err(values.conflict(
            "filter.hash_columns",
            "filter.hash_key",
            "hashes without a secret key can be guessed; set the key",
        ));
    }
    Ok(config)
}

fn pack_config(values: &Values) -> Result<pack::Config, Error> {
    let format = match values.text("message.format")? {
        "json" => Format::Json,
        _ => Format::Protobuf,
    };
    let before_image = match values.text("message.before_image")? {
        "changed" => BeforeImage::Changed,
        "key" => BeforeImage::Key,
        _ => BeforeImage::Full,
    };
    Ok(pack::Config {
        format,
        rows: RowOptions { before_image, ..row_limits(values)? },
        lanes: u32::try_from(values.integer("message.lanes")?).unwrap_or(1),
        body_bytes_target: values.size("message.target_bytes")?,
        linger_max: values.duration("message.linger_max")?,
        ..pack::Config::default()
    })
}

/// What is left out of a row before anybody looks at its topic's limit.
fn row_limits(values: &Values) -> Result<RowOptions, Error> {
    let limits = RowOptions::default();
    Ok(match values.text("sink.oversize")? {
        "halt" => RowOptions { cell_bytes_max: usize::MAX, image_bytes_max: usize::MAX, ..limits },
        "claim-check" => RowOptions { image_bytes_max: usize::MAX, ..limits },
        _ => limits,
    })
}

fn sink_plan(values: &Values) -> Result<SinkPlan, Error> {
    match values.text("sink.kind")? {
        "stdout" => return Ok(SinkPlan::Stdout),
        "null" => return Ok(SinkPlan::Null),
        _ => {}
    }
    let template = Template::parse(values.text("sns.topic")?)
        .map_err(|error| Error::Rule(format!("sns.topic: {error}")))?;
    let notices = match (values.text_opt("canary.topic"), template.fixed()) {
        (Some(topic), _) | (None, Some(topic)) => Arc::from(topic),
        (None, None) => {
            return Err(values.conflict(
                "canary.topic",
                "sns.topic",
                "with a topic for each table, name the topic of canaries and statements",
            ));
        }
    };
    Ok(SinkPlan::Sns {
        template,
        notices,
        region: values.text_opt("sns.region").map(str::to_owned),
        endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
        request_timeout: values.duration("sns.request_timeout")?,
        in_flight_max: values.size("sns.requests_in_flight")?,
    })
}

fn quarantine(values: &Values) -> Result<Option<PathBuf>, Error> {
    let path = values.path_opt("sink.quarantine");
    for (key, why) in [
        ("sink.rejected", "name the file that refused messages are kept in"),
        ("decode.on_error", "name the file that events are kept in"),
    ] {
        if values.text(key)? == "quarantine" && path.is_none() {
            return Err(values.conflict(key, "sink.quarantine", why));
        }
        if values.text(key)? == "quarantine" {
            return Ok(path);
        }
    }
    Ok(None)
}

fn claims(values: &Values) -> Result<Option<ClaimsPlan>, Error> {
    if values.text("sink.oversize")? != "claim-check" {
        return Ok(None);
    }
    let Some(bucket) = values.text_opt("sink.claim_check_bucket") else {
        return Err(values.conflict(
            "sink.oversize",
            "sink.claim_check_bucket",
            "name the bucket that large bodies go to",
        ));
    };
    Ok(Some(ClaimsPlan {
        bucket: bucket.to_owned(),
        prefix: values.text_opt("sink.claim_check_prefix").unwrap_or_default().to_owned(),
        endpoint_url: values.text_opt("sink.claim_check_endpoint_url").map(str::to_owned),
    }))
}

fn pulse_plan(values: &Values, source: &source::Config) -> Result<PulsePlan, Error> {
    let periods = Periods {
        protocol_heartbeat: source.heartbeat_period,
        heartbeat_interval: values.duration("heartbeat.interval")?,
        canary_interval: values.duration("canary.interval")?,
        write_deadline: values.duration("heartbeat.write_deadline")?,
        heartbeat_deadline: values.duration("heartbeat.seen_deadline")?,
        publish_deadline: values.duration("sns.request_timeout")?,
        canary_deadline: values.duration("canary.deadline")?,
        ..Periods::default()
    };
    periods.check().map_err(|conflict| in_settings(&conflict))?;
    let mut connect =
        source.session(0).map_err(|error| Error::Rule(format!("source.hosts: {error}")))?;
    if let Some(host) = values.text_opt("heartbeat.host") {
        connect.host = host_port(values, "heartbeat.host", host)?;
    }
    if let Some(user) = values.text_opt("heartbeat.user") {
        user.clone_into(&mut connect.user);
    }
    if let Some(password) = values.text_opt("heartbeat.password") {
        connect.password = Secret::new(password);
    }
    let echoes = values.list("canary.echo").iter().map(|text| match text.split_once('=') {
        Some((name, url)) if !name.is_empty() && url.starts_with("http") => {
            Ok((Arc::from(name), url.to_owned()))
        }
        Some(_) | None => Err(values.invalid("canary.echo", "consumer=queue-url")),
    });
    let schema = SchemaName::new(values.text("heartbeat.schema")?)
        .map_err(|error| values.invalid("heartbeat.schema", error.to_string()))?;
    Ok(PulsePlan {
        heartbeats: values.flag("heartbeat.enabled")?,
        canaries: values.flag("canary.enabled")?,
        periods,
        schema,
        connect,
        echoes: echoes.collect::<Result<_, _>>()?,
    })
}

/// The rule in the words of the settings.
fn in_settings(conflict: &Conflict) -> Error {
    let mut text = conflict.to_string();
    for (period, key) in [
        ("protocol_heartbeat", "source.heartbeat_period"),
        ("heartbeat_interval", "heartbeat.interval"),
        ("canary_interval", "canary.interval"),
        ("write_deadline", "heartbeat.write_deadline"),
        ("heartbeat_deadline", "heartbeat.seen_deadline"),
        ("publish_deadline", "sns.request_timeout"),
        ("canary_deadline", "canary.deadline"),
    ] {
        text = text.replace(period, key);
    }
    Error::Rule(text)
}
