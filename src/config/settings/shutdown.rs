//! `[shutdown]`: how the process ends.

use super::unit::MINUTE;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "shutdown.grace",
        Kind::Duration(0, 10 * MINUTE),
        Some("20s"),
        "Time to deliver what is under way after SIGTERM",
    ),
    setting(
        "shutdown.on_halt",
        Kind::Choice(&["stay", "exit"]),
        Some("stay"),
        "When delivery can't go on: stay up and explain, or exit with code 75",
    ),
];
