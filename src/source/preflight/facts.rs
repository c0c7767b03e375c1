//! Facts of a server, asked over SQL; tolerant of what a version or an account does not know.

use std::collections::BTreeMap;

use super::Grants;
use crate::change::{GtidSet, MariaGtidSet, NameCase, ServerVersion, Uuid};
use crate::mysql::{Error, Row, Session};
use crate::source::Flavor;
use crate::source::retention::rds_hours;
use crate::source::upstream::{Replicates, replicates};

/// A fact that could not be had, and why: a missing privilege, a version that does not know it.
pub type Unknown = String;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its family.
    pub flavor: Flavor,
    /// `@@version`.
    pub version: String,
    /// Our account as the server matched it, `user@host`.
    pub account: String,
    /// Global variables by lower-case name, those that matter and that the server knows.
    pub variables: BTreeMap<String, String>,
    /// What the account may.
    pub grants: Result<Grants, Unknown>,
    /// Replicas that are registered now.
    pub replicas: Result<Vec<OtherReplica>, Unknown>,
    /// Binlog files, oldest first.
    pub binlogs: Result<Vec<BinlogFile>, Unknown>,
    /// Which databases are written to the binary log.
    pub logged: Logged,
    /// What it replicates from another server; `None`: nothing, or it is not known.
    pub replicates: Option<Replicates>,
    /// Hours for which RDS keeps binary logs; `None`: it is none of RDS's, or does not say.
    pub rds_hours: Option<Option<u64>>,
    /// `@@gtid_executed`; empty on MariaDB.
    pub gtid_executed: GtidSet,
    /// `@@gtid_owned`: numbers given to transactions that have not ended. Some of them may already
    /// be on the stream, for instance while they wait for a semi-synchronous replica; others may
    /// stay open for long, and must not be taken for executed.
    pub gtid_owned: GtidSet,
    /// `@@gtid_purged`; empty on MariaDB.
    pub gtid_purged: GtidSet,
    /// `@@gtid_binlog_pos`; empty on MySQL.
    pub maria_position: MariaGtidSet,
}

/// Databases that are written to the binary log, as the server was started with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logged {
    /// `binlog-do-db`: these only; empty: all.
    pub only: Vec<String>,
    /// `binlog-ignore-db`: not these.
    pub not: Vec<String>,
}

/// A registered replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherReplica {
    /// Its `server_id`.
    pub server_id: u32,
    /// The name that it gave.
    pub host: String,
    /// The port that it gave.
    pub port: u16,
    /// Its UUID; MariaDB does not list it.
    pub uuid: Option<Uuid>,
}

/// One of SHOW BINARY LOGS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogFile {
    /// Its name.
    pub name: String,
    /// Its size, bytes.
    pub bytes: u64,
}

impl Facts {
    /// A variable's value; `None` where the server does not know it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a switch is on; `None` where the server does not know it.
    pub fn is_on(&self, name: &str) -> Option<bool> {
        self.variable(name).map(|value| matches!(value, "ON" | "1" | "YES"))
    }

    /// Whether it is one of RDS's, which let nobody set variables by statement.
    pub fn is_rds(&self) -> bool {
        let basedir = self.variable("basedir").unwrap_or_default();
        self.rds_hours.is_some() || basedir.starts_with("/rdsdbbin/")
    }

    /// How it compares names of databases and tables.
    pub fn name_case(&self) -> NameCase {
        NameCase::of(self.variable("lower_case_table_names"))
    }

    /// `@@server_id`.
    pub fn server_id(&self) -> u32 {
        self.variable("server_id").and_then(|id| id.parse().ok()).unwrap_or(0)
    }

    /// `@@server_uuid`; MariaDB has none.
    pub fn server_uuid(&self) -> Option<Uuid> {
        self.variable("server_uuid").and_then(|uuid| uuid.parse().ok())
    }

    /// What names the server in a checkpoint; the same as [`crate::source::Identity::name`].
    pub fn server_name(&self) -> String {
        match self.server_uuid() {
            Some(uuid) => uuid.to_string(),
            None => format!("{}-{}", self.flavor, self.server_id()).to_ascii_lowercase(),
        }
    }

    /// Whether every transaction of MySQL's has a GTID.
    pub fn has_gtids(&self) -> bool {
        self.flavor == Flavor::Mysql && self.variable("gtid_mode") == Some("ON")
    }

    /// Major, minor and patch of the version.
    pub fn version_numbers(&self) -> [u16; 3] {
        ServerVersion::read(&self.version).numbers
    }
}

const VARIABLES: &str = "'log_bin','binlog_format','binlog_row_image','binlog_row_metadata',\
     'gtid_mode','enforce_gtid_consistency','server_uuid','server_id','read_only',\
     'super_read_only','innodb_read_only','offline_mode','binlog_checksum',\
     'binlog_expire_logs_seconds','expire_logs_days','binlog_row_value_options',\
     'binlog_transaction_compression','log_slave_updates','log_replica_updates',\
     'max_allowed_packet','gtid_domain_id','sync_binlog','sql_log_bin',\
     'lower_case_table_names','innodb_native_foreign_keys','basedir'";

/// Asks a server for its facts. A refusal of one question makes that fact unknown; only a failed
/// session is an error.
pub async fn collect(session: &mut Session) -> Result<Facts, Error> {
    let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({VARIABLES})");
    let pair = |row: Row| Some((row.text(0)?.to_ascii_lowercase(), row.text(1)?));
    let variables: BTreeMap<_, _> =
        session.query(&sql).await?.into_iter().filter_map(pair).collect();

    let row = session.query_first("SELECT @@GLOBAL.version, CURRENT_USER()").await?;
    let text = |column| row.as_ref().and_then(|row| row.excerpt(column)).unwrap_or_default();
    let (version, account) = (text(0), text(1));
    let flavor = Flavor::of(&version);

    let grants = grants(session).await?;
    let replicas = replicas(session).await?;
    let [gtid_executed, gtid_owned, gtid_purged] = match flavor {
        Flavor::Mysql => gtid_sets(session).await?,
        Flavor::Maria => Default::default(),
    };
    let maria_position = match flavor {
        Flavor::Mysql => MariaGtidSet::new(),
        Flavor::Maria => {
            let row = session.query_first("SELECT @@GLOBAL.gtid_binlog_pos").await?;
            parse_set(row.and_then(|row| row.text(0)).as_deref().unwrap_or_default())?
        }
    };
    let binlogs = known(session.query("SHOW BINARY LOGS").await)?
        .map(|rows| rows.iter().filter_map(binlog_file).collect());
    let (logged, rds_hours) = (logged(session).await?, rds_hours(session).await?);
    let facts = Facts {
        flavor,
        version,
        account,
        variables,
        grants,
        replicas,
        binlogs,
        logged,
        replicates: None,
        rds_hours,
        gtid_executed,
        gtid_owned,
        gtid_purged,
        maria_position,
    };
    let [major, minor, patch] = facts.version_numbers();
    let (version, takes_writes) = ((major, minor, patch), facts.is_on("read_only") != Some(true));
    let replicates = replicates(session, flavor, version, takes_writes).await;
    Ok(Facts { replicates: known(replicates)?.unwrap_or_default(), ..facts })
}

/// Behind file and place stand the databases of `binlog-do-db` and `binlog-ignore-db`.
async fn logged(session: &mut Session) -> Result<Logged, Error> {
    // The first is MySQL's from 8.2 on.
    for sql in ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"] {
        let Ok(Some(row)) = known(session.query_first(sql).await)? else { continue };
        let names = |column| {
            let text = row.text(column).unwrap_or_default();
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        return Ok(Logged { only: names(2), not: names(3) });
    }
    Ok(Logged::default())
}

/// A refusal becomes an unknown fact; a lost session stays an error.
fn known<T>(answer: Result<T, Error>) -> Result<Result<T, Unknown>, Error> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

async fn grants(session: &mut Session) -> Result<Result<Grants, Unknown>, Error> {
    // Privileges through roles are listed only when the roles are named.
    let roles = match known(session.query_first("SELECT CURRENT_ROLE()").await)? {
        Ok(row) => row.and_then(|row| row.text(0)).filter(|roles| roles != "NONE"),
        Err(_) => None,
    };
    let using = roles.map(|roles| format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}"));
    let mut answer = Err(Unknown::new());
    for sql in using.iter().map(String::as_str).chain(["SHOW GRANTS"]) {
        answer = known(session.query(sql).await)?;
        if answer.is_ok() {
            break;
        }
    }
    Ok(answer.map(|rows| {
        let lines: Vec<_> = rows.iter().filter_map(|row| row.text(0)).collect();
        Grants::parse(lines.iter().map(String::as_str))
    }))
}

async fn replicas(session: &mut Session) -> Result<Result<Vec<OtherReplica>, Unknown>, Error> {
    // The first is MySQL's from 8.0.22 and MariaDB's from 10.5 on, the second that of the others.
    let mut answer = Err(Unknown::new());
    for sql in ["SHOW REPLICAS", "SHOW SLAVE HOSTS"] {
        answer = known(session.query(sql).await)?;
        if answer.is_ok() {
            break;
        }
    }
    Ok(answer.map(|rows| rows.iter().filter_map(other_replica).collect()))
}

/// Columns: server id, host, port, source id, UUID. With `show-slave-auth-info` user and password
/// stand behind the host.
fn other_replica(row: &Row) -> Option<OtherReplica> {
    let port_at = if row.len() >= 7 { 4 } else { 2 };
    Some(OtherReplica {
        server_id: row.text(0)?.parse().ok()?,
        host: row.text(1).unwrap_or_default(),
        port: row.text(port_at).and_then(|port| port.parse().ok()).unwrap_or(0),
        uuid: row.text(port_at + 2).and_then(|uuid| uuid.parse().ok()),
    })
}

fn binlog_file(row: &Row) -> Option<BinlogFile> {
    Some(BinlogFile { name: row.text(0)?, bytes: row.text(1)?.parse().ok()? })
}

/// Executed, owned and purged. Owned before executed: what ends between the two is then in both, and
/// otherwise would be in neither.
async fn gtid_sets(session: &mut Session) -> Result<[GtidSet; 3], Error> {
    let sql = "SELECT @@GLOBAL.gtid_owned, @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged";
    let Ok(Some(row)) = known(session.query_first(sql).await)? else {
        return Ok(Default::default());
    };
    let text = |column| row.text(column).unwrap_or_default();
    Ok([parse_set(&text(1))?, parse_set(&owned_as_set(&text(0)))?, parse_set(&text(2))?])
}

/// `@@gtid_owned` is a set whose intervals carry the owners' thread ids, `uuid:5#12:6#13`.
fn owned_as_set(owned: &str) -> String {
    let mut text = String::with_capacity(owned.len());
    let mut in_thread = false;
    for character in owned.chars() {
        match character {
            '#' => in_thread = true,
            ':' | ',' => in_thread = false,
            _ => {}
        }
        if !in_thread {
            text.push(character);
        }
    }
    text
}

fn parse_set<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Unexpected {
        column: 0,
        found: text.chars().take(200).collect(),
        expected: "a set of GTIDs",
    })
}

#[cfg(test)]
mod tests {
    use super::owned_as_set;
    use crate::change::GtidSet;

    #[test]
    fn owned_gtids_are_read_without_their_threads() {
        let uuid = "00bbe985-e52d-11f1-91a9-02fc00000001";
        let owned = format!("{uuid}:23#10:25#11:tag:1#12");
        let set: GtidSet = owned_as_set(&owned).parse().expect("a set");
        assert_eq!(set.to_string(), format!("{uuid}:23:25:tag:1"));
        assert_eq!(owned_as_set(""), "");
    }
}
