//! A session that writes into binpulse's schema: how it is set up, whom it may write to, and what it asks the
//! server of itself (identity, `read_only`, the time).

use std::time::Duration;

use crate::change::GtidSet;
use crate::mysql::{ConnectOptions, Session, SharedHost};
use crate::platform;

use super::grants::exempt_privileges;
use super::schema::{Dialect, SchemaName};
use super::{ClockSample, Facts, SqlFailure};

/// What the heartbeat writer and the canary writer have in common.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// How to log in. Its host and deadlines are not used; `host` and `probe_timeout` are.
    pub connect: ConnectOptions,
    /// Where to: the primary, not a replica. When it moves, so do the writers.
    pub host: SharedHost,
    /// The schema.
    pub schema: SchemaName,
    /// The stream's name.
    pub stream: String,
    /// Names this process: a UUID made at its start.
    pub instance: String,
    /// After it a write counts as stuck (W).
    pub write_deadline: Duration,
    /// For one question to the server (B).
    pub probe_timeout: Duration,
}

impl WriterConfig {
    /// Login with the deadlines of a question: a task's turn must end soon whatever the server does.
    pub(super) fn probing(&self) -> ConnectOptions {
        ConnectOptions {
            host: self.host.now(),
            connect_timeout: self.probe_timeout,
            query_timeout: self.probe_timeout,
            ..self.connect.clone()
        }
    }
}

/// Why nothing is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRefused {
    /// The family of causes.
    pub reason: SqlFailure,
    /// The words, for people.
    pub message: String,
}

impl From<crate::mysql::Error> for WriteRefused {
    fn from(error: crate::mysql::Error) -> Self {
        Self { reason: SqlFailure::of(&error), message: error.to_string() }
    }
}

/// A session that was checked and set up.
#[derive(Debug)]
pub struct WriteSession {
    /// The session.
    pub session: Session,
    /// What kind of server it is.
    pub dialect: Dialect,
}

impl WriteSession {
    /// Logs in, refuses accounts whose writes would prove nothing, and bounds the waits for locks
    /// on the server's side: these end a statement for good, which a deadline of ours does not.
    pub async fn connect(config: &WriterConfig) -> Result<Self, WriteRefused> {
        let mut session = Session::connect(&config.probing()).await?;
        let row = session.query_first("SELECT @@version").await?;
        let dialect = Dialect::of_version(&row.and_then(|row| row.text(0)).unwrap_or_default());
        let mut writer = Self { session, dialect };
        writer.check_account().await?;
        let lock_seconds = (config.write_deadline.as_secs_f64() / 2.0).clamp(1.0, 60.0).floor();
        writer
            .session
            .query(&format!(
                "SET SESSION lock_wait_timeout = {lock_seconds}, \
                 SESSION innodb_lock_wait_timeout = {lock_seconds}, \
                 SESSION autocommit = 1, SESSION time_zone = '+00:00', \
                 SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
                 SESSION foreign_key_checks = 1, NAMES utf8mb4"
            ))
            .await?;
        Ok(writer)
    }

    /// Refuses an account that may write on a read-only server.
    async fn check_account(&mut self) -> Result<(), WriteRefused> {
        let mut lines = grant_lines(&self.session.query("SHOW GRANTS").await?);
        if self.has_roles() {
            let row = self.session.query_first("SELECT CURRENT_ROLE()").await?;
            let roles = row.and_then(|row| row.text(0)).filter(|roles| roles != "NONE");
            if let (Some(roles), false) = (roles, self.dialect.is_mariadb) {
                // The server quoted the names itself. MariaDB lists roles' grants without asking.
                let sql = format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}");
                lines.extend(grant_lines(&self.session.query(&sql).await?));
            }
        }
        let exempt = exempt_privileges(lines.iter().map(String::as_str));
        if exempt.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the account holds {}, so it can write on a read-only server and its heartbeats would \
             certify a demoted primary as alive; use an account without that privilege",
            exempt.join(", ")
        );
        Err(WriteRefused { reason: SqlFailure::ExemptAccount, message })
    }

    /// What the server has executed and purged; `None` where it has no GTIDs.
    pub async fn executed(&mut self) -> Result<Option<(GtidSet, GtidSet)>, crate::mysql::Error> {
        if self.dialect.is_mariadb || self.dialect.version < (5, 6, 5) {
            return Ok(None);
        }
        let sql = "SELECT @@global.gtid_mode, @@global.gtid_executed, @@global.gtid_purged";
        let Some(row) = self.session.query_first(sql).await? else { return Ok(None) };
        if row.text(0).is_none_or(|mode| mode != "ON") {
            return Ok(None);
        }
        let set = |column| {
            let text = row.text(column).unwrap_or_default();
            text.parse::<GtidSet>().map_err(|_| crate::mysql::Error::Unexpected {
                column,
                found: text.chars().take(80).collect(),
                expected: "a GTID set",
            })
        };
        Ok(Some((set(1)?, set(2)?)))
    }

    fn has_roles(&self) -> bool {
        self.dialect.is_mariadb || self.dialect.version >= (8, 0, 0)
    }

    /// Asks the server who it is, whether it takes writes, and what time it has.
    pub async fn facts(&mut self) -> Result<Facts, crate::mysql::Error> {
        let sql = if self.dialect.is_mariadb {
            "SELECT CONCAT('mariadb-', @@server_id), @@read_only, 0, UNIX_TIMESTAMP(NOW(6)) * 1000000"
        } else if self.dialect.version < (5, 7, 8) {
            "SELECT @@server_uuid, @@read_only, 0, UNIX_TIMESTAMP(NOW(6)) * 1000000"
        } else {
            "SELECT @@server_uuid, @@read_only, @@super_read_only, UNIX_TIMESTAMP(NOW(6)) * 1000000"
        };
        let (asked, asked_us) = (platform::now(), platform::wall_us());
        let rows = self.session.query(sql).await?;
        let took_us = i64::try_from(platform::since(asked).as_micros()).unwrap_or(i64::MAX);
        let row = rows.first();
        let flag = |column| row.and_then(|row| row.text(column)).is_some_and(|text| is_on(&text));
        let text = row.and_then(|row| row.text(3)).unwrap_or_default();
        let whole = text.split('.').next().unwrap_or_default();
        let source_us: i64 = whole.parse().map_err(|_| crate::mysql::Error::Unexpected {
            column: 3,
            found: text.clone(),
            expected: "a time",
        })?;
        let received_us = asked_us.saturating_add(took_us);
        Ok(Facts {
            server_uuid: row.and_then(|row| row.text(0)).unwrap_or_default(),
            read_only: flag(1),
            super_read_only: flag(2),
            clock: ClockSample { sent_us: asked_us, source_us, received_us },
        })
    }
}

impl Facts {
    /// Whether this server must not be written to, and why.
    pub fn refusal(&self) -> Option<WriteRefused> {
        let variable = match (self.super_read_only, self.read_only) {
            (true, _) => "super_read_only",
            (false, true) => "read_only",
            (false, false) => return None,
        };
        let message = format!("{variable} is on at {}: nothing is written there", self.server_uuid);
        Some(WriteRefused { reason: SqlFailure::ReadOnly, message })
    }
}

/// MariaDB 11.8 answers with words where others answer with 0 and 1.
fn is_on(text: &str) -> bool {
    !matches!(text, "0" | "OFF" | "")
}

fn grant_lines(rows: &[crate::mysql::Row]) -> Vec<String> {
    rows.iter().filter_map(|row| row.text(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_take_writes_are_written_to() {
        let reason = |read_only, super_read_only| {
            let facts = Facts { read_only, super_read_only, ..Facts::default() };
            facts.refusal().map(|refusal| refusal.reason)
        };
        assert_eq!(reason(false, false), None);
        assert_eq!(reason(true, false), Some(SqlFailure::ReadOnly));
        assert_eq!(reason(true, true), Some(SqlFailure::ReadOnly));
    }
}
