//! `[shutdown]`: how the process ends.

use super::unit::MINUTE;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "shutdown.grace",
        Kind::Duration(0, 10 * MINUTE),
        Some("20s"),
        "Time after SIGTERM to deliver what is in flight",
    ),
    setting(
        "shutdown.on_halt",
        Kind::Choice(&["stay", "exit"]),
        Some("stay"),
        "When delivery can't continue: stay up and give the reason in /status, or exit with code 75",
    ),
];
