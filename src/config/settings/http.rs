//! `[http]`: the address that answers, and whom.

use super::form::LISTEN;
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "http.listen",
        LISTEN,
        Some("127.0.0.1:9187"),
        "Address of /, /metrics, /healthz, /readyz, /status; other than loopback: with a token, or http.open",
    ),
    setting(
        "http.token",
        Kind::Secret,
        None,
        "Token required for everything except /healthz and /readyz, at least 16 characters: as bearer token or as password",
    ),
    setting(
        "http.open",
        Kind::Bool,
        Some("false"),
        "Answer every client without a token, also on an address other than loopback",
    ),
    setting(
        "http.tls_certificate",
        Kind::Text,
        None,
        "PEM file of the certificate chain to serve HTTPS with; a renewal is served without a restart",
    ),
    setting(
        "http.public_url",
        Kind::Text,
        None,
        "Address at which others reach the pages, such as https://binpulse.example.org: links to runbooks begin with it",
    ),
    setting("http.tls_key", Kind::Text, None, "PEM file of that certificate's key"),
];
