//! How each format is written. Names and defaults are those of the programs that it comes from.

/// A format with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatOptions {
    /// binpulse's own lines of JSON.
    Binpulse,
    /// Debezium's change events.
    Debezium(DebeziumOptions),
    /// Maxwell's documents.
    Maxwell(MaxwellOptions),
    /// CloudEvents 1.0, structured mode.
    CloudEvents(CloudEventsOptions),
}

impl FormatOptions {
    /// Names of the formats, as settings have them.
    pub const NAMES: [&'static str; 4] = ["binpulse", "debezium", "maxwell", "cloudevents"];

    /// The format of this name with default options; `None` for another name.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "binpulse" => Some(Self::Binpulse),
            "debezium" => Some(Self::Debezium(DebeziumOptions::default())),
            "maxwell" => Some(Self::Maxwell(MaxwellOptions::default())),
            "cloudevents" => Some(Self::CloudEvents(CloudEventsOptions::default())),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Binpulse => "binpulse",
            Self::Debezium(_) => "debezium",
            Self::Maxwell(_) => "maxwell",
            Self::CloudEvents(_) => "cloudevents",
        }
    }

    /// Media type of one document.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::CloudEvents(_) => "application/cloudevents+json",
            Self::Binpulse | Self::Debezium(_) | Self::Maxwell(_) => "application/json",
        }
    }

    /// Media type of a JSON array of documents.
    pub fn batch_content_type(&self) -> &'static str {
        match self {
            Self::CloudEvents(_) => "application/cloudevents-batch+json",
            Self::Binpulse | Self::Debezium(_) | Self::Maxwell(_) => "application/json",
        }
    }
}

/// Debezium's `decimal.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DecimalHandling {
    /// `precise`: base64 of the unscaled value, its scale in the schema.
    #[default]
    Precise,
    /// `string`.
    String,
    /// `double`: a number, rounded.
    Double,
}

/// Debezium's `bigint.unsigned.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BigintUnsignedHandling {
    /// `long`: numbers above 2^63 - 1 become negative.
    #[default]
    Long,
    /// `precise`: a decimal of scale 0, always base64 of the value.
    Precise,
}

/// Debezium's `binary.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BinaryHandling {
    /// `bytes`: in JSON, base64; the schema says bytes.
    #[default]
    Bytes,
    /// `base64`: the schema says string.
    Base64,
    /// `base64-url-safe`: the alphabet for URLs.
    Base64UrlSafe,
    /// `hex`.
    Hex,
}

/// Debezium's `time.precision.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimePrecision {
    /// `adaptive_time_microseconds`.
    #[default]
    AdaptiveTimeMicroseconds,
    /// `connect`: Kafka Connect's own types, milliseconds.
    Connect,
}

/// Options of Debezium's format.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DebeziumOptions {
    /// `value.converter.schemas.enable`: each document has its schema. Debezium's converter has it on by default,
    /// its server and most examples have it off; here it is off.
    pub schemas_enable: bool,
    /// `decimal.handling.mode`.
    pub decimal_handling_mode: DecimalHandling,
    /// `bigint.unsigned.handling.mode`.
    pub bigint_unsigned_handling_mode: BigintUnsignedHandling,
    /// `binary.handling.mode`.
    pub binary_handling_mode: BinaryHandling,
    /// `time.precision.mode`.
    pub time_precision_mode: TimePrecision,
    /// `topic.prefix`: the name of `source`, and the first part of the schemas' names. `None`: the
    /// stream's name.
    pub topic_prefix: Option<String>,
}

/// Options of Maxwell's format.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of Maxwell's")]
pub struct MaxwellOptions {
    /// `output_commit_info`: `xid`, and `commit` on a transaction's last row, where they are known.
    pub output_commit_info: bool,
    /// `output_xoffset`: `xoffset` on the rows before the last.
    pub output_xoffset: bool,
    /// `output_binlog_position`.
    pub output_binlog_position: bool,
    /// `output_gtid_position`.
    pub output_gtid_position: bool,
    /// `output_server_id`.
    pub output_server_id: bool,
    /// `output_thread_id`, where it is known.
    pub output_thread_id: bool,
    /// `output_row_query`, where it is known.
    pub output_row_query: bool,
    /// `output_nulls`: columns that are NULL are written.
    pub output_nulls: bool,
    /// `output_null_zerodates`: `0000-00-00` is null.
    pub output_null_zerodates: bool,
    /// `output_primary_keys`.
    pub output_primary_keys: bool,
    /// `output_primary_key_columns`.
    pub output_primary_key_columns: bool,
}

impl Default for MaxwellOptions {
    fn default() -> Self {
        Self {
            output_commit_info: true,
            output_xoffset: false,
            output_binlog_position: false,
            output_gtid_position: false,
            output_server_id: false,
            output_thread_id: false,
            output_row_query: false,
            output_nulls: true,
            output_null_zerodates: false,
            output_primary_keys: false,
            output_primary_key_columns: false,
        }
    }
}

/// Whose CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CloudEventsStyle {
    /// binpulse's: `data` has the row as the JSON of this project has it.
    #[default]
    Binpulse,
    /// Those of Debezium's converter: its `type`, its extensions, its values. Only the id differs: it
    /// names the row.
    Debezium,
}

/// Options of CloudEvents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudEventsOptions {
    /// Whose.
    pub style: CloudEventsStyle,
    /// How values are written in the style of Debezium.
    pub debezium: DebeziumOptions,
}
