//! `[decode]`: what happens to bytes that can't be decoded.

use super::unit::{GIB, MIB};
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "decode.on_error",
        Kind::Choice(&["halt", "quarantine"]),
        Some("halt"),
        "Events of a transaction that can't be decoded: halt, or keep them in the quarantine file and continue; other rows of the transaction are published",
    ),
    setting(
        "decode.expanded_event_max",
        Kind::Bytes(MIB, GIB + MIB),
        Some("1025MiB"),
        "Largest event out of a compressed transaction or event, which takes as much memory; a larger one can't be decoded. No server makes one of more than 1 GiB and its headers",
    ),
];
