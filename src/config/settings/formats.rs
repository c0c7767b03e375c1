//! `[formats]`: how each format of other programs is written. Names and defaults are theirs.

use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "formats.debezium.schemas_enable",
        Kind::Bool,
        Some("false"),
        "Write the schema into each document, as Kafka Connect's JSON converter does",
    ),
    setting(
        "formats.debezium.decimal_handling_mode",
        Kind::Choice(&["precise", "string", "double"]),
        Some("precise"),
        "DECIMAL: base64 of the unscaled value, text, or a rounded number",
    ),
    setting(
        "formats.debezium.bigint_unsigned_handling_mode",
        Kind::Choice(&["long", "precise"]),
        Some("long"),
        "BIGINT UNSIGNED: a signed number (above 2^63 - 1 it becomes negative), or a decimal",
    ),
    setting(
        "formats.debezium.binary_handling_mode",
        Kind::Choice(&["bytes", "base64", "base64-url-safe", "hex"]),
        Some("bytes"),
        "BINARY, VARBINARY and BLOB: base64, base64 with a schema of type string, base64 for URLs, or hex",
    ),
    setting(
        "formats.debezium.time_precision_mode",
        Kind::Choice(&["adaptive_time_microseconds", "connect"]),
        Some("adaptive_time_microseconds"),
        "DATE, TIME and DATETIME: by the column's precision, or Kafka Connect's milliseconds",
    ),
    setting(
        "formats.debezium.topic_prefix",
        Kind::Text,
        None,
        "Name in `source`, and first part of the schemas' names; without it the stream's name",
    ),
    setting(
        "formats.maxwell.output_nulls",
        Kind::Bool,
        Some("true"),
        "Write columns that are NULL",
    ),
    setting(
        "formats.maxwell.output_null_zerodates",
        Kind::Bool,
        Some("false"),
        "Write `0000-00-00` as null",
    ),
    setting(
        "formats.maxwell.output_binlog_position",
        Kind::Bool,
        Some("false"),
        "Write the position in the binary log",
    ),
    setting("formats.maxwell.output_gtid_position", Kind::Bool, Some("false"), "Write the GTID"),
    setting("formats.maxwell.output_server_id", Kind::Bool, Some("false"), "Write the server's id"),
    setting(
        "formats.maxwell.output_primary_keys",
        Kind::Bool,
        Some("false"),
        "Write the values of the primary key",
    ),
    setting(
        "formats.maxwell.output_primary_key_columns",
        Kind::Bool,
        Some("false"),
        "Write the names of the primary key's columns",
    ),
    setting(
        "formats.cloudevents.style",
        Kind::Choice(&["binpulse", "debezium"]),
        Some("binpulse"),
        "Values and extensions of this project, or those of Debezium's CloudEvents converter",
    ),
];
