//! `[canary]`: the test rows that travel all the way to the consumers.

use super::unit::HOUR;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "canary.enabled",
        Kind::Bool,
        Some("true"),
        "Write canary rows and publish them to the consumers",
    ),
    setting(
        "canary.interval",
        Kind::Duration(200, 24 * HOUR),
        Some("10s"),
        "C: time between canaries",
    ),
    setting(
        "canary.deadline",
        Kind::Duration(100, HOUR),
        Some("15s"),
        "L: time from a canary's writing to its echo",
    ),
    setting(
        "canary.topic",
        Kind::Text,
        None,
        "Topic of the canaries; sns.topic when not set (required when that is a template)",
    ),
    setting(
        "canary.echo",
        Kind::List,
        None,
        "Queues to read canaries back from, as consumer=queue-url",
    ),
];
