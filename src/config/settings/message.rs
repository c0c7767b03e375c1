//! `[message]`: what a message looks like and how changes are packed into it.

use super::unit::{KIB, MIB, SECOND};
use super::{Setting, setting};
use crate::config::{Kind, Takes};

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "message.format",
        Kind::Choice(&["protobuf", "json", "debezium", "maxwell", "cloudevents"]),
        Some("protobuf"),
        "Body of the messages: binpulse's own, many rows each; or one row each, as the program of that name writes it",
    ),
    setting(
        "message.before_image",
        Kind::Choice(&["full", "changed", "key"]),
        Some("full"),
        "How much of an updated row's old image to publish",
    ),
    setting(
        "message.compression",
        Kind::Choice(&["zstd", "none"]),
        Some("zstd"),
        "Compression of Protobuf bodies",
    ),
    setting("message.compression_level", Kind::Integer(1, 19), Some("1"), "Level of zstd"),
    setting(
        "message.target_bytes",
        Kind::Bytes(KIB, MIB),
        Some("64KiB"),
        "Body size to pack up to; 64 KiB is one billed request",
    ),
    setting(
        "message.linger_max",
        Kind::Duration(0, 10 * SECOND),
        Some("200ms"),
        "Longest time that a row waits so that more rows fit into its message",
    ),
    setting(
        "message.lanes",
        Kind::Integer(1, 1_024),
        Some("1"),
        "Lanes per table, by primary key; order holds within a lane",
    )
    .takes(Takes::NewEpoch),
    setting(
        "message.schema_changes",
        Kind::Bool,
        Some("true"),
        "Publish DDL as messages of kind schema",
    ),
];
