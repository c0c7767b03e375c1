//! Settings of messages: how rows are packed, where they go, and what is quarantined.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Errors;
use crate::config::{Error, Values};
use crate::encode::formats::FormatOptions;
use crate::encode::{BeforeImage, Format, RowOptions};
use crate::pack;
use crate::sink::topic::Template;

/// Rows that are finalized together where each becomes a message, bytes: a document has several times
/// as many.
const ROW_BY_ROW_BYTES: usize = 32 << 10;

/// Where messages go.
#[derive(Debug, Clone)]
pub enum SinkPlan {
    /// Amazon SNS.
    Sns {
        /// Topic by table.
        template: Template,
        /// Topic of canaries and statements.
        control_messages: Arc<str>,
        /// Topic of outbox tables, if not that of the tables.
        outbox: Option<Template>,
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

/// What is quarantined instead of halting the stream.
#[derive(Debug, Clone)]
pub struct QuarantinePlan {
    /// Where it goes; there if anything is quarantined.
    pub file: Option<PathBuf>,
    /// Whether messages that their topic refuses are quarantined.
    pub refused: bool,
    /// Whether row events that can't be decoded are quarantined.
    pub undecoded: bool,
}

/// How rows are packed.
pub(super) fn pack_config(values: &Values) -> Result<pack::Config, Error> {
    let format = match values.text("message.format")? {
        "json" => Format::Json,
        _ => Format::Protobuf,
    };
    let before_image = match values.text("message.before_image")? {
        "changed" => BeforeImage::Changed,
        "key" => BeforeImage::Key,
        _ => BeforeImage::Full,
    };
    let defaults = pack::Config::default();
    let is_row_by_row = FormatOptions::of_name(values.text("message.format")?).is_some();
    Ok(pack::Config {
        format,
        content_bytes_max: if is_row_by_row {
            ROW_BY_ROW_BYTES
        } else {
            defaults.content_bytes_max
        },
        rows: RowOptions { before_image, ..row_limits(values)? },
        lanes: u32::try_from(values.integer("message.lanes")?).unwrap_or(1),
        body_bytes_target: values.size("message.target_bytes")?,
        linger_max: values.duration("message.linger_max")?,
        ..defaults
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

/// Where messages go.
pub(super) fn sink_plan(values: &Values, outbox: Option<Template>) -> Result<SinkPlan, Error> {
    match values.text("sink.kind")? {
        "stdout" => return Ok(SinkPlan::Stdout),
        "null" => return Ok(SinkPlan::Null),
        _ => {}
    }
    let template = Template::parse(values.text("sns.topic")?)
        .map_err(|error| Error::Rule(format!("sns.topic: {error}")))?;
    let control_messages = match (values.text_opt("canary.topic"), template.fixed()) {
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
        control_messages,
        outbox,
        region: values.text_opt("sns.region").map(str::to_owned),
        endpoint_url: values.text_opt("sns.endpoint_url").map(str::to_owned),
        request_timeout: request_timeout(values)?,
        in_flight_max: values.size("sns.requests_in_flight")?,
    })
}

/// Deadline of a publish request. With standbys it is no longer than the lease holds: a new owner waits
/// for it.
pub(super) fn request_timeout(values: &Values) -> Result<Duration, Error> {
    let timeout = values.duration("sns.request_timeout")?;
    let lifetime = values.duration("ha.lease_lifetime")?;
    Ok(if values.flag("ha.enabled")? { timeout.min(lifetime) } else { timeout })
}

/// What is quarantined. Both settings of it are looked at, so that each learns of a missing file.
pub(super) fn quarantine(values: &Values, errors: &mut Errors) -> Option<QuarantinePlan> {
    let path = values.path_opt("sink.quarantine");
    let mut puts_aside = |key: &'static str, why: &str| {
        let is_asked_for = errors.take(values.text(key))? == "quarantine";
        if is_asked_for && path.is_none() {
            errors.push(values.conflict(key, "sink.quarantine", why));
        }
        Some(is_asked_for)
    };
    let refused = puts_aside("sink.rejected", "name the file that refused messages are kept in");
    let undecoded = puts_aside("decode.on_error", "name the file that events are kept in");
    let (refused, undecoded) = (refused?, undecoded?);
    Some(QuarantinePlan { file: path.filter(|_| refused || undecoded), refused, undecoded })
}

/// Where bodies too large for their topic go, if that is the policy.
pub(super) fn claims(values: &Values) -> Result<Option<ClaimsPlan>, Error> {
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
