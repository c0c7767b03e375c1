//! `[probe]`: the command that stands in for a consumer.

use super::form::{LISTEN, URL};
use super::unit::{HOUR, SECOND};
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "probe.queue",
        URL,
        None,
        "Queue that `binpulse probe` reads canaries from; its own, because it deletes whatever it reads",
    ),
    setting(
        "probe.copy",
        Kind::Text,
        None,
        "Copy whose canaries are read instead of a queue's, as the relay wrote them: relay.to.url, mysql://host:port/database or postgres://host:port/database",
    ),
    setting(
        "probe.copy_user",
        Kind::Text,
        None,
        "Account of the copy: SELECT on binpulse_relay_canary",
    ),
    setting("probe.copy_password", Kind::Secret, None, "Password of the copy"),
    setting(
        "probe.streams",
        Kind::List,
        None,
        "Streams whose canaries the probe expects; when not set, each that has sent one",
    ),
    setting(
        "probe.deadline",
        Kind::Duration(SECOND, 24 * HOUR),
        Some("1m"),
        "Longest age of a stream's newest canary before the probe's /healthz answers 503; a canary missing for that long counts as lost",
    ),
    setting(
        "probe.listen",
        LISTEN,
        Some("127.0.0.1:9188"),
        "Address of the probe's /metrics and /healthz",
    ),
];
