//! `[log]`: what is logged and in which form.

use super::{Setting, setting};
use crate::config::{Kind, Takes};

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        Some("info"),
        "Lowest level that is logged",
    )
    .takes(Takes::Reload),
    setting(
        "log.format",
        Kind::Choice(&["auto", "text", "json"]),
        Some("auto"),
        "Format of the log; auto: text on a terminal, JSON lines elsewhere",
    ),
];
