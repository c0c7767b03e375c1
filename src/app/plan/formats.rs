//! Settings of the formats of other programs.

use crate::config::{Error, Values};
use crate::encode::formats::{
    BigintUnsignedHandling, BinaryHandling, CloudEventsOptions, CloudEventsStyle, DebeziumOptions,
    DecimalHandling, FormatOptions, MaxwellOptions, TimePrecision,
};

/// The format of this name as the settings have it; `None` for a name that is no format of single
/// rows.
pub(crate) fn format_options(values: &Values, name: &str) -> Result<Option<FormatOptions>, Error> {
    Ok(match FormatOptions::of_name(name) {
        None => None,
        Some(FormatOptions::Binpulse) => Some(FormatOptions::Binpulse),
        Some(FormatOptions::Debezium(_)) => Some(FormatOptions::Debezium(debezium(values)?)),
        Some(FormatOptions::Maxwell(_)) => Some(FormatOptions::Maxwell(maxwell(values)?)),
        Some(FormatOptions::CloudEvents(_)) => {
            let style = match values.text("formats.cloudevents.style")? {
                "debezium" => CloudEventsStyle::Debezium,
                _ => CloudEventsStyle::Binpulse,
            };
            let debezium = debezium(values)?;
            Some(FormatOptions::CloudEvents(CloudEventsOptions { style, debezium }))
        }
    })
}

fn debezium(values: &Values) -> Result<DebeziumOptions, Error> {
    Ok(DebeziumOptions {
        schemas_enable: values.flag("formats.debezium.schemas_enable")?,
        decimal_handling_mode: match values.text("formats.debezium.decimal_handling_mode")? {
            "string" => DecimalHandling::String,
            "double" => DecimalHandling::Double,
            _ => DecimalHandling::Precise,
        },
        bigint_unsigned_handling_mode: match values
            .text("formats.debezium.bigint_unsigned_handling_mode")?
        {
            "precise" => BigintUnsignedHandling::Precise,
            _ => BigintUnsignedHandling::Long,
        },
        binary_handling_mode: match values.text("formats.debezium.binary_handling_mode")? {
            "base64" => BinaryHandling::Base64,
            "base64-url-safe" => BinaryHandling::Base64UrlSafe,
            "hex" => BinaryHandling::Hex,
            _ => BinaryHandling::Bytes,
        },
        time_precision_mode: match values.text("formats.debezium.time_precision_mode")? {
            "connect" => TimePrecision::Connect,
            _ => TimePrecision::AdaptiveTimeMicroseconds,
        },
        topic_prefix: values.text_opt("formats.debezium.topic_prefix").map(str::to_owned),
    })
}

fn maxwell(values: &Values) -> Result<MaxwellOptions, Error> {
    Ok(MaxwellOptions {
        output_nulls: values.flag("formats.maxwell.output_nulls")?,
        output_null_zerodates: values.flag("formats.maxwell.output_null_zerodates")?,
        output_binlog_position: values.flag("formats.maxwell.output_binlog_position")?,
        output_gtid_position: values.flag("formats.maxwell.output_gtid_position")?,
        output_server_id: values.flag("formats.maxwell.output_server_id")?,
        output_primary_keys: values.flag("formats.maxwell.output_primary_keys")?,
        output_primary_key_columns: values.flag("formats.maxwell.output_primary_key_columns")?,
        ..MaxwellOptions::default()
    })
}
