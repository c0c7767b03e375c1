//! `[page]`: what the page offers beside what it shows.

use super::form::URL;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "page.command_prefix",
        Kind::Text,
        None,
        "What stands before the commands that the page offers, such as kubectl exec -n shop deploy/binpulse --",
    ),
    setting(
        "page.links.grafana",
        URL,
        None,
        "Address of a dashboard to link to; {stream}, {from}, {to} (milliseconds since 1970), {from_iso} and {to_iso} are filled in",
    ),
    setting(
        "page.links.logs",
        URL,
        None,
        "Address of the log to link to, with the same placeholders",
    ),
];
