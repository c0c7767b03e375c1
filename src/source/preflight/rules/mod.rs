//! The evaluation of a server's facts. Pure.

use std::fmt;

use super::{Facts, OtherReplica};
use crate::change::Uuid;
use crate::source::Flavor;
use crate::source::identity::derive_server_id;

/// What we want of the server.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// Our replica UUID.
    pub replica_uuid: Uuid,
    /// Our `server_id`, if the configuration fixes it.
    pub server_id: Option<u32>,
    /// Positions must hold on other servers too: several hosts are configured.
    pub several_hosts: bool,
    /// Column names may come from information_schema when the binlog carries none.
    pub schema_fallback: bool,
    /// Every row must carry all columns: the mark of one tells whose the row is.
    pub full_images: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It runs as it is meant to; worth knowing.
    Note,
    /// It runs, but rows, columns or masks may not be what they are taken for: somebody must act.
    Warn,
    /// It will not run.
    Refuse,
}

impl Severity {
    /// All, mildest first.
    #[cfg(feature = "testing")]
    pub const ALL: [Self; 3] = [Self::Note, Self::Warn, Self::Refuse];
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a variable, a privilege.
    pub what: &'static str,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub needed: &'static str,
    /// The statement (or, where none helps, the action) that fixes it.
    pub remedy: String,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, found, needed, remedy, .. } = self;
        write!(f, "{what}: found {found}, needed {needed}; {remedy}")
    }
}

/// Everything that a finding can be about.
pub const SUBJECTS: [&str; 29] = [
    "version",
    "log_bin",
    "server_id",
    "binlog_checksum",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_value_options",
    "binlog_row_metadata",
    "SELECT",
    "gtid_mode",
    "binlog_expire_logs_seconds",
    "offline_mode",
    "read_only",
    "log_replica_updates",
    "grants",
    "REPLICATION SLAVE",
    "REPLICATION CLIENT",
    "our server id",
    OUR_REPLICA_UUID,
    "filter.tables",
    "filter.exclude",
    "filter.drop_columns",
    "filter.hash_columns",
    "foreign keys",
    "binlog-do-db",
    "binlog-ignore-db",
    "replication filters",
    "binlog retention hours",
    LEASE,
];

/// What a finding is about that a running stream makes itself: it is registered with the server.
pub const OUR_REPLICA_UUID: &str = "our replica UUID";

/// What a finding is about that tells why the lease on the stream is not kept.
pub const LEASE: &str = "lease";

/// What rows of a table show whose columns the log does not name: the setting was changed.
pub fn unnamed(table: &str) -> Finding {
    Finding {
        what: "binlog_row_metadata",
        found: format!(
            "rows of {table} without the names of their columns, published as @1, @2 .."
        ),
        needed: "FULL, so that rows carry the names and keys of their columns",
        remedy: "SET GLOBAL binlog_row_metadata = FULL; and the same line under [mysqld] in my.cnf"
            .to_owned(),
        severity: Severity::Warn,
    }
}

/// Everything that is not as it should be, worst first.
pub fn evaluate(facts: &Facts, demands: &Demands) -> Vec<Finding> {
    let mut evaluation = Evaluation { facts, demands, findings: Vec::new() };
    evaluation.version();
    evaluation.binlog();
    evaluation.rows();
    evaluation.gtids();
    evaluation.retention();
    evaluation.state();
    evaluation.grants();
    evaluation.other_replicas();
    evaluation.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    evaluation.findings
}

/// A `server_id` for the stream that no registered replica has, unless it is ourselves.
pub fn choose_server_id(stream: &str, facts: &Facts, replica_uuid: Uuid) -> u32 {
    const ATTEMPTS: u32 = 16;
    let name = facts.server_name();
    let other_replicas = facts.replicas.as_deref().unwrap_or_default();
    let is_taken = |id: u32| {
        let other = |other_replica: &&OtherReplica| other_replica.uuid != Some(replica_uuid);
        id == facts.server_id()
            || other_replicas
                .iter()
                .filter(other)
                .any(|other_replica| other_replica.server_id == id)
    };
    (0..ATTEMPTS)
        .map(|attempt| derive_server_id(stream, &name, attempt))
        .find(|id| !is_taken(*id))
        .unwrap_or_else(|| derive_server_id(stream, &name, 0))
}

struct Evaluation<'a> {
    facts: &'a Facts,
    demands: &'a Demands,
    findings: Vec<Finding>,
}

impl Evaluation<'_> {
    fn find(
        &mut self,
        severity: Severity,
        what: &'static str,
        found: impl Into<String>,
        needed: &'static str,
        remedy: impl Into<String>,
    ) {
        let (found, remedy) = (found.into(), remedy.into());
        self.findings.push(Finding { what, found, needed, remedy, severity });
    }

    /// The statement that sets a variable for good, as far as the version can.
    fn set(&self, name: &str, value: &str) -> String {
        if self.facts.is_rds() {
            return format!("set {name} = {value} in the DB parameter group of the server");
        }
        let persists = self.facts.flavor == Flavor::Mysql && self.facts.version_numbers()[0] >= 8;
        if persists {
            format!("SET PERSIST {name} = {value};")
        } else {
            format!("SET GLOBAL {name} = {value}; and the same line under [mysqld] in my.cnf")
        }
    }

    fn version(&mut self) {
        let supported = match self.facts.flavor {
            Flavor::Mysql => [5, 7, 0],
            Flavor::Maria => [10, 6, 0],
        };
        if self.facts.version_numbers() < supported {
            let found = format!("{} {}", self.facts.flavor, self.facts.version);
            let remedy = "upgrade; it may work, but it is not tested";
            self.find(
                Severity::Note,
                "version",
                found,
                "MySQL 5.7 or MariaDB 10.6, or newer",
                remedy,
            );
        }
    }

    fn binlog(&mut self) {
        if self.facts.is_on("log_bin") == Some(false) {
            let remedy = "restart the server with log_bin = binlog under [mysqld] in my.cnf";
            self.find(Severity::Refuse, "log_bin", "OFF", "ON", remedy);
        }
        if self.facts.server_id() == 0 {
            let remedy = self.set("server_id", "1");
            self.find(Severity::Refuse, "server_id", "0", "a number other than 0", remedy);
        }
        if self.facts.variable("binlog_checksum") == Some("NONE") {
            let remedy = self.set("binlog_checksum", "CRC32");
            self.find(Severity::Note, "binlog_checksum", "NONE", "CRC32", remedy);
        }
    }

    fn rows(&mut self) {
        if let Some(format) = self.facts.variable("binlog_format")
            && format != "ROW"
        {
            let remedy =
                self.set("binlog_format", "ROW") + " (sessions keep theirs until they reconnect)";
            self.find(Severity::Refuse, "binlog_format", format.to_owned(), "ROW", remedy);
        }
        let image = self.facts.variable("binlog_row_image").unwrap_or("FULL").to_owned();
        if image != "FULL" {
            let remedy = self.set("binlog_row_image", "FULL");
            let (severity, needed) = if self.demands.full_images {
                let needed = "FULL: rows of canary.paths are recognised by a column that every row \
                              image must contain";
                (Severity::Refuse, needed)
            } else {
                (Severity::Warn, "FULL, or before images and unchanged columns are absent")
            };
            self.find(severity, "binlog_row_image", image.clone(), needed, remedy);
        }
        let partial = self.facts.variable("binlog_row_value_options").unwrap_or_default();
        if partial.contains("PARTIAL_JSON") && image != "FULL" {
            let found = format!("{partial} with binlog_row_image = {image}");
            let remedy = self.set("binlog_row_value_options", "''");
            let needed = "full images, or JSON changes can only be passed on as differences";
            self.find(Severity::Warn, "binlog_row_value_options", found, needed, remedy);
        }
        self.metadata();
    }

    /// Names, keys and labels: from the log, or asked for if the operator wants that.
    fn metadata(&mut self) {
        let what = "binlog_row_metadata";
        let (found, remedy) = match self.facts.variable(what) {
            Some("FULL") => return,
            Some(other) => (other.to_owned(), Some(self.set(what, "FULL"))),
            None => (format!("not supported by {}", self.facts.version), None),
        };
        if !self.demands.schema_fallback {
            let fallback = "source.schema_fallback = \"information_schema\"";
            let remedy = match remedy {
                Some(remedy) => format!("{remedy} (or set {fallback})"),
                None => format!("set {fallback}, or upgrade to MySQL 8.0.1, MariaDB 10.5 or newer"),
            };
            let needed = "FULL, so that rows carry the names and keys of their columns";
            return self.find(Severity::Refuse, what, found, needed, remedy);
        }
        let remedy =
            remedy.unwrap_or_else(|| "upgrade to MySQL 8.0.1, MariaDB 10.5 or newer".to_owned());
        let needed = "FULL; names, keys and labels come from information_schema instead, and an \
                      ALTER TABLE can stop the stream at rows that were written before it";
        self.find(Severity::Note, what, found, needed, remedy);
        if self.facts.grants.as_ref().is_ok_and(|grants| !grants.has("SELECT")) {
            let account = quote_account(&self.facts.account);
            let needed = "granted on every table that is published, or information_schema does not \
                          show it";
            let remedy = format!("GRANT SELECT ON *.* TO {account}; (or on the databases alone)");
            self.find(Severity::Note, "SELECT", "not granted on *.*", needed, remedy);
        }
    }

    fn gtids(&mut self) {
        if self.facts.flavor == Flavor::Maria || self.facts.has_gtids() {
            return;
        }
        let severity = if self.demands.several_hosts { Severity::Refuse } else { Severity::Note };
        let found = self.facts.variable("gtid_mode").unwrap_or("unknown").to_owned();
        let needed = "ON; without GTIDs a position is valid on this server only";
        self.find(severity, "gtid_mode", found.clone(), needed, gtids_on(&found));
    }

    /// A stop over a weekend should not lose the position.
    fn retention(&mut self) {
        const SECONDS_MIN: u64 = 3 * 86_400;
        if let Some(hours) = self.facts.rds_hours {
            if hours.unwrap_or(0) < SECONDS_MIN / 3_600 {
                let found = hours.map_or_else(|| "NULL".to_owned(), |hours| hours.to_string());
                let needed = "72 or more, so that a stop does not lose the position; with NULL, \
                              RDS removes a log as soon as RDS no longer needs it";
                let remedy = "CALL mysql.rds_set_configuration('binlog retention hours', 168);";
                // Without a time even a restart may lose the position.
                let severity = if hours.is_none() { Severity::Warn } else { Severity::Note };
                self.find(severity, "binlog retention hours", found, needed, remedy);
            }
            return;
        }
        let number = |name| self.facts.variable(name).and_then(|text| text.parse::<f64>().ok());
        let seconds = number("binlog_expire_logs_seconds").filter(|seconds| *seconds > 0.0);
        let days = number("expire_logs_days").filter(|days| *days > 0.0);
        let Some(kept) = seconds.or(days.map(|days| days * 86_400.0)) else { return };
        #[expect(clippy::cast_precision_loss, reason = "a small constant")]
        if kept < SECONDS_MIN as f64 {
            let remedy = self.set("binlog_expire_logs_seconds", &SECONDS_MIN.to_string());
            let needed = "3 days or more, so that a stop does not lose the position";
            let found = format!("{kept} s");
            self.find(Severity::Note, "binlog_expire_logs_seconds", found, needed, remedy);
        }
    }

    fn state(&mut self) {
        let on = |name| self.facts.is_on(name) == Some(true);
        if on("offline_mode") {
            let remedy = "SET GLOBAL offline_mode = OFF;";
            self.find(Severity::Refuse, "offline_mode", "ON", "OFF", remedy);
        }
        let read_only = on("read_only") || on("super_read_only") || on("innodb_read_only");
        if !read_only {
            return;
        }
        let needed = "OFF, or heartbeats must be written elsewhere: is it the primary?";
        let remedy = "SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF;";
        self.find(Severity::Note, "read_only", "ON", needed, remedy);
        let updates = self.facts.is_on("log_replica_updates");
        if updates.or(self.facts.is_on("log_slave_updates")) == Some(false) {
            let needed = "ON, or changes that this server replicates are not in its binlog";
            let remedy = "restart with log_replica_updates (log_slave_updates) under [mysqld]";
            self.find(Severity::Refuse, "log_replica_updates", "OFF", needed, remedy);
        }
    }

    fn grants(&mut self) {
        let account = quote_account(&self.facts.account);
        let grants = match &self.facts.grants {
            Ok(grants) => grants.clone(),
            Err(reason) => {
                let remedy = format!("run SHOW GRANTS FOR {account}; as an administrator");
                let found = format!("unknown: {reason}");
                return self.find(Severity::Note, "grants", found, "REPLICATION SLAVE", remedy);
            }
        };
        for (privilege, severity, needed) in [
            ("REPLICATION SLAVE", Severity::Refuse, "granted on *.*, to read the binlog"),
            (
                "REPLICATION CLIENT",
                // Without GTIDs positions come from SHOW BINARY LOGS.
                if self.facts.has_gtids() { Severity::Note } else { Severity::Refuse },
                "granted on *.*, to see which binlog files there are and when they are purged",
            ),
        ] {
            if !grants.has(privilege) {
                let remedy = format!("GRANT {privilege} ON *.* TO {account};");
                self.find(severity, privilege, "not granted", needed, remedy);
            }
        }
    }

    fn other_replicas(&mut self) {
        let other_replicas = self.facts.replicas.as_deref().unwrap_or_default().to_vec();
        let ours = Some(self.demands.replica_uuid);
        let server_id = self.demands.server_id;
        if server_id == Some(self.facts.server_id()) {
            let found = format!("{} is the server's own", self.facts.server_id());
            let remedy = "leave the key out, or choose another number";
            self.find(
                Severity::Refuse,
                "our server id",
                found,
                "an id that no other server or replica uses",
                remedy,
            );
        }
        for other_replica in other_replicas {
            let who = format!(
                "{}:{} (server id {})",
                other_replica.host, other_replica.port, other_replica.server_id
            );
            if other_replica.uuid == ours {
                let remedy =
                    "stop the other process; if it has ended, the server notices by itself";
                let needed = "one process per stream: the server disconnects the older of two";
                let found = format!("already registered by {who}");
                self.find(Severity::Note, OUR_REPLICA_UUID, found, needed, remedy);
            } else if Some(other_replica.server_id) == server_id {
                let remedy = "leave the key out: the id is then derived from the stream's name";
                let found = format!("already used by {who}");
                self.find(
                    Severity::Refuse,
                    "our server id",
                    found,
                    "an id that no other server or replica uses",
                    remedy,
                );
            }
        }
    }
}

/// `user@host` with both parts quoted.
fn quote_account(account: &str) -> String {
    let quote = |part: &str| format!("'{}'", part.replace('\'', "''"));
    match account.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", quote(user), quote(host)),
        None => quote(account),
    }
}

/// How GTIDs are switched on from this mode: one step after the other, as the server refuses to skip
/// one. With ON it sends no transaction any more that has no GTID, so a stream must be past them.
fn gtids_on(mode: &str) -> String {
    let steps = match mode {
        "ON_PERMISSIVE" => "",
        "OFF_PERMISSIVE" => "SET GLOBAL gtid_mode = ON_PERMISSIVE; ",
        _ => {
            "SET GLOBAL enforce_gtid_consistency = ON; SET GLOBAL gtid_mode = OFF_PERMISSIVE; \
             SET GLOBAL gtid_mode = ON_PERMISSIVE; "
        }
    };
    format!(
        "{steps}then wait until SHOW STATUS LIKE 'Ongoing_anonymous_transaction_count' is 0, FLUSH \
         BINARY LOGS, and wait until `binpulse status` shows a position in the file that this began; \
         only then SET GLOBAL gtid_mode = ON; and both variables under [mysqld] in my.cnf (MySQL 5.6: \
         only there, with log_slave_updates, and a restart)"
    )
}

#[cfg(test)]
pub(crate) mod tests;
