//! `[ha]`: the lease on the stream, which keeps two processes from running it.

use super::unit::MINUTE;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[setting(
    "ha.lease_lifetime",
    Kind::Duration(200, MINUTE),
    Some("2s"),
    "How long the lease on the stream holds without a renewal; it is kept while heartbeat.enabled",
)];
