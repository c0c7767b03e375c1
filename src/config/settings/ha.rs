//! `[ha]`: the lease on the stream, which keeps two processes from running it, and standbys.

use super::unit::MINUTE;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "ha.enabled",
        Kind::Bool,
        Some("false"),
        "Wait as a standby while another process runs the stream, and take over when it no longer does; needs checkpoint.store = table and heartbeats, in every process of the stream",
    ),
    setting(
        "ha.lease_lifetime",
        Kind::Duration(200, MINUTE),
        Some("2s"),
        "How long the lease on the stream holds without a renewal; it is kept while heartbeat.enabled. With ha.enabled sns.request_timeout is at most as long",
    ),
];
