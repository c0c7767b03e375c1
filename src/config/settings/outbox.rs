//! `[outbox]`: tables whose rows are messages.

use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "outbox.tables",
        Kind::List,
        None,
        "Outbox tables, as database.table patterns: each inserted row is a message with its payload as the body",
    ),
    setting(
        "outbox.topic",
        Kind::Text,
        None,
        "ARN of the topic of these messages, may contain {aggregate_type}, {database} and {table}; else sns.topic",
    ),
    setting(
        "outbox.on_update",
        Kind::Choice(&["warn", "halt"]),
        Some("warn"),
        "What an update of an outbox row does: it is left out with a warning, or delivery halts",
    ),
    setting(
        "outbox.attributes",
        Kind::List,
        None,
        "Columns that become message attributes, as column or column:attribute: two at most, one with sink.oversize = claim-check",
    ),
    setting(
        "outbox.columns.id",
        Kind::Text,
        Some("id"),
        "Column with the message's id: attribute id, and the deduplication id on FIFO topics",
    ),
    setting(
        "outbox.columns.aggregate_type",
        Kind::Text,
        Some("aggregatetype"),
        "Column with the type of what the message is about: attribute aggregate_type",
    ),
    setting(
        "outbox.columns.aggregate_id",
        Kind::Text,
        Some("aggregateid"),
        "Column with the id of what the message is about: attribute aggregate_id, and the group on FIFO topics",
    ),
    setting(
        "outbox.columns.type",
        Kind::Text,
        Some("type"),
        "Column with the type of the message: attribute type",
    ),
    setting("outbox.columns.payload", Kind::Text, Some("payload"), "Column with the body"),
    setting(
        "outbox.columns.headers",
        Kind::Text,
        Some("headers"),
        "Column with a JSON object whose members become attributes, if the table has it",
    ),
];
