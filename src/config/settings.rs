//! The table of settings: the only place where a key, its kind, default and help are written.

use super::{Error, Kind, Origin, Value};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `section.name`, as in the file.
    pub key: &'static str,
    /// Kind and range.
    pub kind: Kind,
    /// Default as it would be written; `None`: none.
    pub default: Option<&'static str>,
    /// One line for `--help` and the reference.
    pub help: &'static str,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const STREAM_NAME: Kind =
    Kind::Form("1 to 64 letters, digits, dots, dashes and underscores", |text| {
        text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    });
const SCHEMA_NAME: Kind = Kind::Form("1 to 64 letters, digits and underscores", |text| {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
});
const MARK: Kind = Kind::Form("1 to 32 letters, digits, dashes and underscores", |text| {
    text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
});
const URL: Kind = Kind::Form("a URL that starts with http:// or https://", |text| {
    text.starts_with("http://") || text.starts_with("https://")
});
const LISTEN: Kind = Kind::Form("an address and port such as 127.0.0.1:9187", |text| {
    text.parse::<std::net::SocketAddr>().is_ok()
});

const fn setting(
    key: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting { key, kind, default, help }
}

/// All settings, by section, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    setting(
        "stream.name",
        STREAM_NAME,
        Some("main"),
        "Name of this stream: part of every message's identity; one streamer per name",
    ),
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
        "How long to wait at start for a source that can't be reached, before exit code 69",
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
    setting(
        "heartbeat.enabled",
        Kind::Bool,
        Some("true"),
        "Write heartbeat rows; without them a quiet database can't be proven quiet",
    ),
    setting(
        "heartbeat.interval",
        Kind::Duration(200, HOUR),
        Some("5s"),
        "H: time between heartbeat rows; at least twice source.heartbeat_period",
    ),
    setting(
        "heartbeat.write_deadline",
        Kind::Duration(100, 10 * MINUTE),
        Some("2s"),
        "W: time after which a heartbeat's write counts as blocked",
    ),
    setting(
        "heartbeat.seen_deadline",
        Kind::Duration(100, 10 * MINUTE),
        Some("5s"),
        "T_hb: time from a heartbeat's commit to its arrival on the stream",
    ),
    setting(
        "heartbeat.schema",
        SCHEMA_NAME,
        Some("binpulse"),
        "Database that holds the heartbeat, canary and checkpoint tables",
    ),
    setting(
        "heartbeat.host",
        Kind::Text,
        None,
        "Server to write to as host:port; the one that is streamed from when not set",
    ),
    setting("heartbeat.user", Kind::Text, None, "Account that writes; source.user when not set"),
    setting("heartbeat.password", Kind::Secret, None, "Its password; source.password when not set"),
    setting(
        "canary.enabled",
        Kind::Bool,
        Some("true"),
        "Write canary rows and publish them to the consumers",
    ),
    setting(
        "canary.interval",
        Kind::Duration(200, 24 * HOUR),
        Some("10s"),
        "C: time between canaries",
    ),
    setting(
        "canary.deadline",
        Kind::Duration(100, HOUR),
        Some("15s"),
        "L: time from a canary's writing to its echo",
    ),
    setting(
        "canary.topic",
        Kind::Text,
        None,
        "Topic of the canaries; sns.topic when not set (required when that is a template)",
    ),
    setting(
        "canary.echo",
        Kind::List,
        None,
        "Queues to read canaries back from, as consumer=queue-url",
    ),
    setting(
        "canary.paths",
        Kind::List,
        None,
        "Tables of your own whose marked rows are canaries too, as name=database.table.column of the marked column; at most 16",
    ),
    setting(
        "canary.insert",
        Kind::Statements,
        None,
        "SQL that writes a path's marked row, as name=SQL with '{mark}' and {n}; without it a path only keeps marked rows out of the changes",
    ),
    setting(
        "canary.update",
        Kind::Statements,
        None,
        "SQL that then changes that row, found by '{mark}', as name=SQL; it must change a value",
    ),
    setting(
        "canary.delete",
        Kind::Statements,
        None,
        "SQL that removes that row, found by '{mark}', as name=SQL; without it the path's rows pile up in the table",
    ),
    setting(
        "canary.mark",
        MARK,
        Some("binpulse-canary"),
        "What a mark begins with: it goes on with the stream's name and a number; the same for all streams of a source",
    ),
    setting(
        "canary.path_echo",
        Kind::List,
        None,
        "Consumers that owe the echo of a path, as path=consumer; all of canary.echo for a path not named here",
    ),
    setting(
        "filter.tables",
        Kind::List,
        Some("*.*"),
        "Tables to publish, as database.table patterns with * and ?",
    ),
    setting("filter.exclude", Kind::List, None, "Tables to leave out, as database.table patterns"),
    setting(
        "filter.drop_columns",
        Kind::List,
        None,
        "Columns never to publish, as database.table.column patterns",
    ),
    setting(
        "filter.hash_columns",
        Kind::List,
        None,
        "Columns to publish as HMAC-SHA-256 of their value, as database.table.column patterns",
    ),
    setting("filter.hash_key", Kind::Secret, None, "Key of those hashes"),
    setting(
        "message.format",
        Kind::Choice(&["protobuf", "json"]),
        Some("protobuf"),
        "Body of the messages",
    ),
    setting(
        "message.before_image",
        Kind::Choice(&["full", "changed", "key"]),
        Some("full"),
        "How much of an updated row's old image to publish",
    ),
    setting(
        "message.compression",
        Kind::Choice(&["zstd", "none"]),
        Some("zstd"),
        "Compression of Protobuf bodies",
    ),
    setting("message.compression_level", Kind::Integer(1, 19), Some("1"), "Level of zstd"),
    setting(
        "message.target_bytes",
        Kind::Bytes(KIB, MIB),
        Some("64KiB"),
        "Body size to pack up to; 64 KiB is one billed request",
    ),
    setting(
        "message.linger_max",
        Kind::Duration(0, 10 * SECOND),
        Some("200ms"),
        "Longest time that a change waits for company",
    ),
    setting(
        "message.lanes",
        Kind::Integer(1, 1_024),
        Some("1"),
        "Lanes per table, by primary key; order holds within a lane",
    ),
    setting(
        "message.schema_changes",
        Kind::Bool,
        Some("true"),
        "Publish DDL as messages of kind schema",
    ),
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
        "Messages waiting for the sink; beyond that the source is no longer read",
    ),
    setting(
        "sink.oversize",
        Kind::Choice(&["omit", "claim-check", "halt"]),
        Some("omit"),
        "A row larger than the topic's limit: leave its largest cells out with a marker (at once where an image has more than 8 MiB of values), put the body into S3, or halt",
    ),
    setting("sink.claim_check_bucket", Kind::Text, None, "S3 bucket for bodies of large rows"),
    setting(
        "sink.claim_check_prefix",
        Kind::Text,
        None,
        "What the keys of these objects begin with",
    ),
    setting("sink.claim_check_endpoint_url", URL, None, "Endpoint of S3 for stand-ins"),
    setting(
        "sink.rejected",
        Kind::Choice(&["halt", "quarantine"]),
        Some("halt"),
        "A message that the topic rejects for good: halt, or put it into the quarantine file and go on",
    ),
    setting("sink.quarantine", Kind::Text, None, "Path of the quarantine file"),
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
        "Publish requests under way at once",
    ),
    setting(
        "checkpoint.store",
        Kind::Choice(&["file", "table"]),
        Some("file"),
        "Where the checkpoint is kept: a file, or a table in heartbeat.schema",
    ),
    setting(
        "checkpoint.path",
        Kind::Text,
        Some("binpulse.checkpoint"),
        "Path of the checkpoint file",
    ),
    setting(
        "checkpoint.interval",
        Kind::Duration(10, MINUTE),
        Some("1s"),
        "Least time between two saves",
    ),
    setting(
        "decode.on_error",
        Kind::Choice(&["halt", "quarantine"]),
        Some("halt"),
        "Events of a transaction that can't be decoded: halt, or keep them in the quarantine file and go on; other rows of the transaction are published",
    ),
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
        "Token to be shown for all but /healthz and /readyz, at least 16 characters: as bearer token or as password",
    ),
    setting(
        "http.open",
        Kind::Bool,
        Some("false"),
        "Answer everybody without a token, also on an address other than loopback",
    ),
    setting(
        "http.tls_certificate",
        Kind::Text,
        None,
        "PEM file of the certificate chain to serve HTTPS with; read at start",
    ),
    setting("http.tls_key", Kind::Text, None, "PEM file of that certificate's key"),
    setting(
        "probe.queue",
        URL,
        None,
        "Queue that the command probe reads canaries from: its own, it deletes whatever it reads",
    ),
    setting(
        "probe.streams",
        Kind::List,
        None,
        "Streams whose canaries the probe awaits; when not set, each that has sent one",
    ),
    setting(
        "probe.deadline",
        Kind::Duration(SECOND, 24 * HOUR),
        Some("1m"),
        "Longest age of a stream's newest canary before the probe's /healthz answers 503; what is missing for so long is lost",
    ),
    setting(
        "probe.listen",
        LISTEN,
        Some("127.0.0.1:9188"),
        "Address of the probe's /metrics and /healthz",
    ),
    setting(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        Some("info"),
        "Least level that is logged",
    ),
    setting(
        "log.format",
        Kind::Choice(&["auto", "text", "json"]),
        Some("auto"),
        "Form of the log; auto: text on a terminal, JSON lines elsewhere",
    ),
    setting(
        "shutdown.grace",
        Kind::Duration(0, 10 * MINUTE),
        Some("20s"),
        "Time to deliver what is under way after SIGTERM",
    ),
    setting(
        "shutdown.on_halt",
        Kind::Choice(&["stay", "exit"]),
        Some("stay"),
        "When delivery can't go on: stay up and explain, or exit with code 75",
    ),
];

impl Setting {
    /// The setting with this key.
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its flag, `--source-hosts`; a secret's takes the path of a file, `--source-password-file`.
    pub fn flag(&self) -> String {
        let name = self.key.replace(['.', '_'], "-");
        if self.is_secret() { format!("--{name}-file") } else { format!("--{name}") }
    }

    /// Its environment variable, `BINPULSE_SOURCE_HOSTS`.
    pub fn env(&self) -> String {
        format!("BINPULSE_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Section and name in the file; a secret's file is given by `name_file`.
    pub fn section_and_name(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// Whether its value must never be shown, nor be a flag.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// Reads its value from text that stands at `origin`.
    pub fn read(&self, text: &str, origin: &Origin) -> Result<Value, Error> {
        self.kind.parse(text).ok_or_else(|| Error::Invalid {
            origin: origin.clone(),
            key: self.key,
            found: if self.is_secret() { "empty".to_owned() } else { format!("`{text}`") },
            expected: self.kind.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_valid_value() {
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                setting.read(default, &Origin::Default).expect(setting.key);
            }
        }
    }

    #[test]
    fn keys_flags_and_variables_are_distinct() {
        let distinct = |of: fn(&Setting) -> String| {
            SETTINGS.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(|s| s.key.to_owned()), SETTINGS.len());
        assert_eq!(distinct(Setting::flag), SETTINGS.len());
        assert_eq!(distinct(Setting::env), SETTINGS.len());
    }
}
