//! `[checkpoint]`: where the position is kept.

use super::unit::MINUTE;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "checkpoint.store",
        Kind::Choice(&["file", "table"]),
        Some("file"),
        "Where the checkpoint is kept: a file, or a table in heartbeat.schema",
    ),
    setting(
        "checkpoint.path",
        Kind::Text,
        Some("binpulse.checkpoint"),
        "Path of the checkpoint file",
    ),
    setting(
        "checkpoint.interval",
        Kind::Duration(10, MINUTE),
        Some("1s"),
        "Minimum time between two saves",
    ),
];
