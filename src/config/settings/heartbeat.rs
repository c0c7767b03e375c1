//! `[heartbeat]`: the rows that prove a quiet database quiet, and the account that writes.

use super::form::SCHEMA_NAME;
use super::unit::{HOUR, MINUTE};
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "heartbeat.enabled",
        Kind::Bool,
        Some("true"),
        "Write heartbeat rows; without them a quiet database can't be proven quiet",
    ),
    setting(
        "heartbeat.interval",
        Kind::Duration(200, HOUR),
        Some("5s"),
        "H: time between heartbeat rows; at least twice source.heartbeat_period",
    ),
    setting(
        "heartbeat.write_deadline",
        Kind::Duration(100, 10 * MINUTE),
        Some("2s"),
        "W: time after which a heartbeat's write counts as blocked",
    ),
    setting(
        "heartbeat.seen_deadline",
        Kind::Duration(100, 10 * MINUTE),
        Some("5s"),
        "T_hb: time from a heartbeat's commit to its arrival on the stream",
    ),
    setting(
        "heartbeat.schema",
        SCHEMA_NAME,
        Some("binpulse"),
        "Database that holds the heartbeat, canary and checkpoint tables",
    ),
    setting(
        "heartbeat.host",
        Kind::Text,
        None,
        "Server to write to as host:port; the one that is streamed from when not set",
    ),
    setting("heartbeat.user", Kind::Text, None, "Account that writes; source.user when not set"),
    setting("heartbeat.password", Kind::Secret, None, "Its password; source.password when not set"),
];
