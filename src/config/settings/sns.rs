//! `[sns]`: the topic and how it is reached.

use super::form::URL;
use super::unit::MINUTE;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "sns.topic",
        Kind::Text,
        None,
        "ARN of the topic; {database} and {table} in it are replaced",
    ),
    setting("sns.region", Kind::Text, None, "AWS region; the ARN's when not set"),
    setting("sns.endpoint_url", URL, None, "Endpoint of SNS and SQS for stand-ins"),
    setting(
        "sns.request_timeout",
        Kind::Duration(100, 5 * MINUTE),
        Some("10s"),
        "Deadline of one publish request",
    ),
    setting(
        "sns.requests_in_flight",
        Kind::Integer(1, 1_024),
        Some("32"),
        "Publish requests in flight at once",
    ),
];
