//! `[source]`: the servers that are streamed from.

use super::unit::{HOUR, MINUTE, SECOND};
use super::{Setting, setting};
use crate::config::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "source.hosts",
        Kind::List,
        Some("127.0.0.1:3306"),
        "MySQL servers as host:port; more than one: fail over in this order, by GTID",
    ),
    setting(
        "source.user",
        Kind::Text,
        Some("binpulse"),
        "Account with REPLICATION SLAVE and REPLICATION CLIENT",
    ),
    setting("source.password", Kind::Secret, None, "Its password"),
    setting(
        "source.tls",
        Kind::Choice(&["off", "required", "verify-ca", "verify-identity"]),
        Some("required"),
        "TLS to MySQL: off, encrypted, certificate checked, certificate and host name checked",
    ),
    setting(
        "source.tls_ca",
        Kind::Text,
        None,
        "PEM file of the authorities to trust; the system's when not set",
    ),
    setting("source.tls_certificate", Kind::Text, None, "PEM file of the client certificate"),
    setting("source.tls_key", Kind::Text, None, "PEM file of the client certificate's key"),
    setting(
        "source.get_server_public_key",
        Kind::Bool,
        Some("false"),
        "Without TLS: ask the server for the RSA key to send the password under; an attacker in between can then read the password",
    ),
    setting(
        "source.server_id",
        Kind::Integer(0, 4_294_967_295),
        Some("0"),
        "Replica server id; 0: derived from the stream's name and the server's UUID",
    ),
    setting(
        "source.start",
        Kind::Text,
        Some("now"),
        "Where to start without a checkpoint: now, earliest, gtid:SET, position:FILE:OFFSET, time:RFC3339",
    ),
    setting(
        "source.schema_fallback",
        Kind::Choice(&["refuse", "information_schema"]),
        Some("refuse"),
        "A source without binlog_row_metadata=FULL: refuse it, or ask information_schema for names and keys",
    ),
    setting(
        "source.start_patience",
        Kind::Duration(0, 24 * HOUR),
        Some("1m"),
        "How long to wait at start for a source, a checkpoint table or a topic that can't be reached, each, before exit code 69",
    ),
    setting(
        "source.role",
        Kind::Choice(&["primary", "replica"]),
        Some("primary"),
        "Whether source.hosts take the users' writes, or are replicas of heartbeat.host, which does",
    ),
    setting(
        "source.heartbeat_period",
        Kind::Duration(100, 10 * MINUTE),
        Some("1s"),
        "P: idle time after which the server sends a replication heartbeat",
    ),
    setting(
        "source.connect_timeout",
        Kind::Duration(100, 5 * MINUTE),
        Some("5s"),
        "Deadline of each step of connecting, and of each query",
    ),
    setting(
        "source.first_event_timeout",
        Kind::Duration(SECOND, 24 * HOUR),
        Some("5m"),
        "Deadline of the first event: the server may seek the GTID through many files",
    ),
    setting(
        "source.report_host",
        Kind::Text,
        None,
        "Name shown in SHOW REPLICAS; this machine's host name when not set",
    ),
    setting(
        "source.report_port",
        Kind::Integer(0, 65_535),
        Some("9187"),
        "Port shown in SHOW REPLICAS",
    ),
];
