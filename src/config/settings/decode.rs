//! `[decode]`: what happens to bytes that can't be decoded.

use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[setting(
    "decode.on_error",
    Kind::Choice(&["halt", "quarantine"]),
    Some("halt"),
    "Events of a transaction that can't be decoded: halt, or keep them in the quarantine file and go on; other rows of the transaction are published",
)];
