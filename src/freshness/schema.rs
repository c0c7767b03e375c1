//! The schema in the source database, and who may do what in it. Pure: makes the SQL, runs none.

use std::fmt::Write;

use super::canary::path::CanaryPath;
use super::canary::values;

pub use super::dialect::{Dialect, literal};

/// Name of the schema: a plain identifier, so that it needs no escaping anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName(String);

/// A name that is no plain identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("schema name `{0}`: expected 1 to 64 letters, digits or underscores, not only digits")]
pub struct SchemaNameError(String);

impl SchemaName {
    /// Name unless configured otherwise.
    pub const DEFAULT: &str = "binpulse";

    /// Checks the name.
    pub fn new(name: &str) -> Result<Self, SchemaNameError> {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let all_digits = name.bytes().all(|byte| byte.is_ascii_digit());
        if (1..=64).contains(&name.len()) && plain && !all_digits {
            Ok(Self(name.to_owned()))
        } else {
            Err(SchemaNameError(name.to_owned()))
        }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A table in it, quoted.
    pub fn table(&self, table: &str) -> String {
        format!("`{}`.`{table}`", self.0)
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

/// Table of the heartbeat rows.
pub const HEARTBEAT: &str = "heartbeat";
/// Table of the canaries.
pub const CANARY: &str = "canary";
/// Table of the canaries' last number, by stream.
pub const CANARY_COUNTER: &str = "canary_counter";
/// Table of the checkpoints.
pub const CHECKPOINT: &str = "checkpoint";
/// Table of the checkpoints' lanes.
pub const CHECKPOINT_LANE: &str = "checkpoint_lane";

/// Table of the leases: which process has a stream.
pub const LEASE: &str = "lease";

/// Table of the changes of verdicts.
pub const HISTORY: &str = "history";

/// A stream's name as a key: 190 characters of four bytes fit the 767 bytes that an index key of
/// MySQL 5.6 may have.
const STREAM: &str = "stream VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL";

const TABLE_OPTIONS: &str = "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// The statements that make the schema and its tables. Running them again changes nothing.
pub fn create(schema: &SchemaName, dialect: Dialect) -> Vec<String> {
    let table = |name: &str, columns: &str| {
        format!("CREATE TABLE IF NOT EXISTS {} (\n{columns}\n) {TABLE_OPTIONS}", schema.table(name))
    };
    let heartbeat = format!(
        "  {STREAM},\n  n BIGINT UNSIGNED NOT NULL COMMENT 'rises with each write',\n  \
         instance CHAR(36) NOT NULL COMMENT 'the process that wrote it',\n  \
         written_at_us BIGINT NOT NULL COMMENT 'writer''s clock, microseconds since 1970 UTC',\n  \
         server_uuid VARCHAR(255) NOT NULL COMMENT 'server as the writer saw it',\n  \
         PRIMARY KEY (stream)"
    );
    let mut canary = format!(
        "  {STREAM},\n  n BIGINT UNSIGNED NOT NULL,\n  instance CHAR(36) NOT NULL,\n  \
         phase VARCHAR(10) NOT NULL,\n  written_at_us BIGINT NOT NULL,\n"
    );
    for column in values::columns(values::Shape::of(dialect)) {
        writeln!(canary, "  {} {} NULL DEFAULT NULL,", column.name, column.sql_type)
            .expect("a String takes any text");
    }
    canary.push_str("  PRIMARY KEY (stream, n)");
    let counter = format!("  {STREAM},\n  n BIGINT UNSIGNED NOT NULL,\n  PRIMARY KEY (stream)");
    let checkpoint = format!(
        "  {STREAM},\n  owner BIGINT UNSIGNED NOT NULL COMMENT 'rises with each take-over',\n  \
         owner_name VARCHAR(255) NOT NULL,\n  saves BIGINT UNSIGNED NOT NULL,\n  \
         format INT UNSIGNED NOT NULL,\n  begun TINYINT NOT NULL,\n  \
         server_uuid VARCHAR(255) NOT NULL,\n  epoch BIGINT UNSIGNED NOT NULL,\n  \
         gtid_set LONGTEXT NOT NULL,\n  \
         resume_file VARCHAR(255) NOT NULL,\n  resume_offset BIGINT UNSIGNED NOT NULL,\n  \
         resume_maria TEXT NOT NULL,\n  \
         settled_file VARCHAR(255) NOT NULL,\n  settled_offset BIGINT UNSIGNED NOT NULL,\n  \
         settled_maria TEXT NOT NULL,\n  \
         saved_at_us BIGINT NOT NULL,\n  version VARCHAR(64) NOT NULL,\n  \
         snapshot LONGTEXT NOT NULL COMMENT 'how far a snapshot has got, JSON',\n  \
         PRIMARY KEY (stream)"
    );
    let lane = format!(
        "  {STREAM},\n  lane_hash BINARY(16) NOT NULL COMMENT 'SHA-256 of lane, first half',\n  \
         lane TEXT NOT NULL,\n  next BIGINT UNSIGNED NOT NULL,\n  \
         PRIMARY KEY (stream, lane_hash)"
    );
    let lease = format!(
        "  {STREAM},\n  fence BIGINT UNSIGNED NOT NULL COMMENT 'rises with each taking',\n  \
         renewals BIGINT UNSIGNED NOT NULL COMMENT 'rises with each renewal',\n  \
         renewed_at DATETIME(6) NOT NULL COMMENT 'UTC',\n  \
         taken_at DATETIME(6) NOT NULL COMMENT 'UTC',\n  lifetime_ms INT UNSIGNED NOT NULL,\n  \
         instance CHAR(36) NOT NULL COMMENT 'the process that holds it; empty: given up',\n  \
         address VARCHAR(190) NOT NULL COMMENT 'of its pages',\n  host VARCHAR(190) NOT NULL,\n  \
         version VARCHAR(190) NOT NULL,\n  \
         place VARCHAR(190) NOT NULL COMMENT 'the locked file of its checkpoint',\n  \
         PRIMARY KEY (stream)"
    );
    let history = format!(
        "  {STREAM},\n  at_us BIGINT NOT NULL COMMENT 'when it was seen, microseconds since 1970 UTC',\n  \
         document MEDIUMTEXT NOT NULL COMMENT 'a change of the verdict, JSON',\n  \
         PRIMARY KEY (stream, at_us)"
    );
    vec![
        format!(
            "CREATE DATABASE IF NOT EXISTS `{}` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            schema.as_str()
        ),
        table(HEARTBEAT, &heartbeat),
        table(CANARY, &canary),
        table(CANARY_COUNTER, &counter),
        table(CHECKPOINT, &checkpoint),
        table(CHECKPOINT_LANE, &lane),
        table(LEASE, &lease),
        table(HISTORY, &history),
    ]
}

/// The two accounts. They may be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// Reads the binlog: user and host.
    pub replication: (String, String),
    /// Writes heartbeats, canaries and, if it is kept there, the checkpoint: user and host.
    pub writer: (String, String),
}

/// Stands for a password with its quotes. No server takes it as it is, so that nobody gets an account
/// with this for a password.
const PASSWORD: &str = "<password>";

/// The statements that make the accounts, without passwords, and give each what it needs and no
/// more. In particular nothing that would let the writer write on a read-only server.
pub fn grants(schema: &SchemaName, accounts: &Accounts, dialect: Dialect) -> Vec<String> {
    let name = |(user, host): &(String, String)| format!("{}@{}", quote(user), quote(host));
    let (replication, writer) = (name(&accounts.replication), name(&accounts.writer));
    let mut statements = Vec::new();
    if dialect.has_create_user_if_not_exists() {
        for account in [&replication, &writer] {
            let statement = format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {PASSWORD}");
            if !statements.contains(&statement) {
                statements.push(statement);
            }
        }
    }
    // REPLICATION CLIENT became BINLOG MONITOR in MariaDB 10.5; SLAVE MONITOR, split off later, shows
    // whether the server itself still replicates.
    let binlog = if dialect.is_mariadb && dialect.version >= (10, 5, 9) {
        "REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR"
    } else if dialect.is_mariadb && dialect.version >= (10, 5, 2) {
        "REPLICATION SLAVE, BINLOG MONITOR"
    } else {
        "REPLICATION SLAVE, REPLICATION CLIENT"
    };
    // Before that, GRANT makes the account: without these words, one without a password.
    let has_create_user = dialect.has_create_user_if_not_exists();
    let with_password =
        if has_create_user { String::new() } else { format!(" IDENTIFIED BY {PASSWORD}") };
    statements.push(format!("GRANT {binlog} ON *.* TO {replication}{with_password}"));
    statements.push(format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON `{}`.* TO {writer}{with_password}",
        // An underscore in a schema's name is a wildcard here.
        schema.as_str().replace('_', "\\_")
    ));
    statements
}

/// The statement that lets the writer walk `path`; `None` for one without SQL.
pub fn path_grant(path: &CanaryPath, writer: &(String, String)) -> Option<String> {
    let steps = path.steps.as_ref()?;
    let mut privileges = vec!["INSERT"];
    if steps.update.is_some() || steps.delete.is_some() {
        // Their row is found by its mark.
        privileges.insert(0, "SELECT");
    }
    privileges.extend(steps.update.is_some().then_some("UPDATE"));
    privileges.extend(steps.delete.is_some().then_some("DELETE"));
    // A database's name is no pattern where a table is named.
    let identifier = |name: &str| format!("`{}`", name.replace('`', "``"));
    Some(format!(
        "GRANT {} ON {}.{} TO {}@{}",
        privileges.join(", "),
        identifier(&path.database),
        identifier(&path.table),
        quote(&writer.0),
        quote(&writer.1)
    ))
}

/// Everything for a DBA to read and run, as a script.
pub fn script(
    schema: &SchemaName,
    accounts: &Accounts,
    paths: &[CanaryPath],
    dialect: Dialect,
) -> String {
    let mut script = String::from(
        "-- binpulse: its accounts and schema in this server. Run it on the primary; running it\n\
         -- again changes nothing. First replace each <password> by a password in quotes: as it is,\n\
         -- the first statement is a syntax error, and nothing is done.\n\n",
    );
    script.push_str(
        "-- The account that reads the binary log, and the one that writes heartbeats and canaries.\n\
         -- Give neither SUPER nor CONNECTION_ADMIN: they let an account write on a read-only server,\n\
         -- so its heartbeats would certify a demoted primary as alive.\n",
    );
    for statement in grants(schema, accounts, dialect) {
        script.push_str(&statement);
        script.push_str(";\n");
    }
    script.push('\n');
    for statement in create(schema, dialect) {
        script.push_str(&statement);
        script.push_str(";\n\n");
    }
    let of_paths = paths.iter().filter_map(|path| path_grant(path, &accounts.writer));
    for (index, statement) in of_paths.enumerate() {
        if index == 0 {
            script.push_str(
                "-- Tables that canaries are written to by your own SQL (canary.paths).\n",
            );
        }
        script.push_str(&statement);
        script.push_str(";\n");
    }
    script
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_print_them() {
        for (text, is_mariadb, version) in [
            ("9.7.4", false, (9, 7, 4)),
            ("5.6.24-log", false, (5, 6, 24)),
            ("8.0.31-0ubuntu0.22.04.1", false, (8, 0, 31)),
            ("10.11.18-MariaDB-log", true, (10, 11, 18)),
            ("5.5.5-10.6.1-MariaDB", true, (10, 6, 1)),
            ("", false, (0, 0, 0)),
        ] {
            assert_eq!(Dialect::of_version(text), Dialect { is_mariadb, version }, "{text}");
        }
    }

    #[test]
    fn columns_are_only_of_types_that_the_server_has() {
        let canary =
            |version| create(&SchemaName::default(), Dialect::of_version(version))[2].clone();
        for (version, json, vector) in [
            ("5.6.24", false, false),
            ("5.7.22", true, false),
            ("9.7.4", true, true),
            ("10.11.18-MariaDB", true, false),
            ("11.8.6-MariaDB", true, false),
        ] {
            let sql = canary(version);
            assert_eq!(
                (sql.contains("v_json"), sql.contains("v_vector")),
                (json, vector),
                "{version}"
            );
        }
    }

    #[test]
    fn the_script_never_grants_what_makes_heartbeats_lie() {
        let accounts = Accounts {
            replication: ("bin'pulse".into(), "10.0.%".into()),
            writer: ("pulse".into(), "%".into()),
        };
        for version in ["5.6.24", "5.7.22", "8.0.31", "9.7.4", "10.11.18-MariaDB"] {
            let schema = SchemaName::new("my_pulse").expect("a name");
            let grants = grants(&schema, &accounts, Dialect::of_version(version));
            let exempt = super::super::exempt_privileges(grants.iter().map(String::as_str));
            assert!(exempt.is_empty(), "{exempt:?}");
            assert!(grants.iter().any(|grant| grant.contains("`my\\_pulse`.*")), "{grants:?}");
            assert!(
                grants.iter().any(|grant| grant.contains("'bin''pulse'@'10.0.%'")),
                "{grants:?}"
            );
        }
    }

    #[test]
    fn a_path_gets_the_privileges_of_its_steps_and_no_more() {
        use crate::freshness::Phase;
        use crate::freshness::canary::path::{Steps, Template};
        let template = |phase: Phase| {
            let sql = format!("{} '{{mark}}'", phase.as_str());
            Template::parse(phase, &sql).expect("a template")
        };
        let path = |steps| CanaryPath {
            name: "orders".into(),
            database: "my_shop".into(),
            table: "or`ders".into(),
            column: "reference".into(),
            steps,
        };
        let steps = |update, delete| Steps {
            insert: template(Phase::Insert),
            update: Option::filter(Some(template(Phase::Update)), |_| update),
            delete: Option::filter(Some(template(Phase::Delete)), |_| delete),
        };
        let writer = ("pulse".to_owned(), "%".to_owned());
        for (update, delete, privileges) in [
            (true, true, "SELECT, INSERT, UPDATE, DELETE"),
            (false, true, "SELECT, INSERT, DELETE"),
            (false, false, "INSERT"),
        ] {
            let grant = path_grant(&path(Some(steps(update, delete))), &writer);
            let expected = format!("GRANT {privileges} ON `my_shop`.`or``ders` TO 'pulse'@'%'");
            assert_eq!(grant, Some(expected));
        }
        assert_eq!(path_grant(&path(None), &writer), None, "it is not written");
    }

    #[test]
    fn names_that_would_need_escaping_are_refused() {
        assert!(SchemaName::new("pulse_2").is_ok());
        for name in ["", "a`b", "a b", "1234", "päls", &"x".repeat(65)] {
            assert!(SchemaName::new(name).is_err(), "{name}");
        }
    }
}
