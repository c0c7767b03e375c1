//! `[sink]`: where messages go, and what happens to those that can't.

use super::form::URL;
use super::unit::{GIB, KIB};
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "sink.kind",
        Kind::Choice(&["sns", "stdout", "null"]),
        Some("sns"),
        "Where messages go",
    ),
    setting(
        "sink.queue_bytes",
        Kind::Bytes(64 * KIB, GIB),
        Some("16MiB"),
        "Size of the messages that may wait for the sink; beyond it, reading from the source pauses",
    ),
    setting(
        "sink.oversize",
        Kind::Choice(&["omit", "claim-check", "halt"]),
        Some("omit"),
        "A row larger than the topic's limit: replace its largest values by a marker (at once where an image has more than 8 MiB of values), put the body into S3, or halt",
    ),
    setting("sink.claim_check_bucket", Kind::Text, None, "S3 bucket for bodies of large rows"),
    setting("sink.claim_check_prefix", Kind::Text, None, "Prefix of the keys of these objects"),
    setting("sink.claim_check_endpoint_url", URL, None, "Endpoint of S3 for stand-ins"),
    setting(
        "sink.rejected",
        Kind::Choice(&["halt", "quarantine"]),
        Some("halt"),
        "A message that the topic rejects for good: halt, or put it into the quarantine file and continue",
    ),
    setting("sink.quarantine", Kind::Text, None, "Path of the quarantine file"),
];
