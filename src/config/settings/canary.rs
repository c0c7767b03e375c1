//! `[canary]`: the test rows that travel all the way to the consumers.

use super::unit::HOUR;
use super::{Setting, setting};
use crate::config::Kind;

const MARK: Kind = Kind::Form("1 to 32 letters, digits, dashes and underscores", |text| {
    text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
});

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
        "L: time from a canary's acceptance by the topic to its echo",
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
    setting(
        "canary.paths",
        Kind::List,
        None,
        "Tables of your own whose marked rows are canaries too, as name=database.table.column of the marked column; at most 16",
    ),
    setting(
        "canary.insert",
        Kind::Statements,
        None,
        "SQL that inserts a path's marked row, as name=SQL with '{mark}' and {n}; without it nothing is written, and marked rows are only kept out of the changes",
    ),
    setting(
        "canary.update",
        Kind::Statements,
        None,
        "SQL that then changes that row, found by '{mark}', as name=SQL; it must change a value",
    ),
    setting(
        "canary.delete",
        Kind::Statements,
        None,
        "SQL that deletes that row, found by '{mark}', as name=SQL; without it the path's rows stay in the table",
    ),
    setting(
        "canary.mark",
        MARK,
        Some("binpulse-canary"),
        "Prefix of a mark, before the stream's name and a number; the same for all streams of a source",
    ),
    setting(
        "canary.path_echo",
        Kind::List,
        None,
        "Consumers expected to return the canaries of a path, as path=consumer; all of canary.echo for a path not named here",
    ),
];
