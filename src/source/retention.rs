//! Which binary logs the server has, and how long it keeps them.

use std::time::Duration;

use crate::mysql::{Error, Session};

/// A server's binary logs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// Age at which it may purge a log; `None`: never by itself.
    pub expires_after: Option<Duration>,
    /// Names of the logs that it has, oldest first; the last is being written.
    pub logs: Vec<String>,
}

/// Where a log stands among those that the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPlace {
    /// The server does not have it.
    Gone,
    /// It is written no more; so many older ones are there.
    Closed {
        /// Older logs.
        older: u64,
    },
    /// It is being written, and can't be purged; so many older ones are there.
    Newest {
        /// Older logs.
        older: u64,
    },
}

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
    ('binlog_expire_logs_seconds', 'expire_logs_days', 'binlog_expire_logs_auto_purge')";

/// Hours for which RDS keeps a binary log, where the server is one of RDS's and the account may see its
/// configuration; the inner `None`: RDS removes a log as soon as RDS no longer needs it.
///
/// There the server's own variables say nothing: RDS removes logs itself.
pub async fn rds_hours(session: &mut Session) -> Result<Option<Option<u64>>, Error> {
    const SQL: &str =
        "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'";
    match session.query_first(SQL).await {
        Ok(row) => Ok(row.map(|row| row.text(0).and_then(|hours| hours.trim().parse().ok()))),
        Err(error) if error.is_fatal() => Err(error),
        // No such table, or not for us.
        Err(_) => Ok(None),
    }
}

/// Asks the server. Needs REPLICATION CLIENT. The list waits for the lock of the log: while a full
/// volume blocks commits, it hangs (measured: the statement stays on the server until there is space).
pub async fn retention(session: &mut Session) -> Result<Retention, Error> {
    let variables = session.query(VARIABLES).await?;
    let variables = variables.iter().filter_map(|row| Some((row.text(0)?, row.text(1)?)));
    let expires_after = match rds_hours(session).await? {
        Some(hours) => Some(Duration::from_secs(hours.unwrap_or(0).saturating_mul(3_600))),
        None => expiry(variables),
    };
    let logs = session.query("SHOW BINARY LOGS").await?;
    Ok(Retention { expires_after, logs: logs.iter().filter_map(|row| row.text(0)).collect() })
}

fn expiry(variables: impl Iterator<Item = (String, String)>) -> Option<Duration> {
    let (mut seconds, mut purges) = (0.0_f64, true);
    for (name, value) in variables {
        match (name.to_ascii_lowercase().as_str(), value.parse::<f64>()) {
            // Where both are there, one of them is 0, or both say the same.
            ("binlog_expire_logs_seconds", Ok(value)) => seconds = seconds.max(value),
            ("expire_logs_days", Ok(value)) => seconds = seconds.max(value * 86_400.0),
            ("binlog_expire_logs_auto_purge", _) => purges = value != "OFF" && value != "0",
            _ => {}
        }
    }
    let expires = purges && seconds > 0.0;
    if expires { Duration::try_from_secs_f64(seconds).ok() } else { None }
}

impl Retention {
    /// Where the log of this name stands.
    pub fn place(&self, log: &str) -> LogPlace {
        let Some(index) = self.logs.iter().position(|name| name == log) else {
            return LogPlace::Gone;
        };
        let older = index as u64;
        if index + 1 == self.logs.len() {
            LogPlace::Newest { older }
        } else {
            LogPlace::Closed { older }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_servers_way_of_saying_it_is_understood() {
        let expiry = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            expiry(pairs).map(|expiry| expiry.as_secs())
        };
        assert_eq!(expiry(&[("expire_logs_days", "0")]), None, "5.7 by default");
        assert_eq!(expiry(&[("expire_logs_days", "7")]), Some(604_800));
        let seconds = ("binlog_expire_logs_seconds", "2592000");
        assert_eq!(expiry(&[seconds, ("expire_logs_days", "0")]), Some(2_592_000));
        assert_eq!(expiry(&[seconds, ("expire_logs_days", "30.000000")]), Some(2_592_000));
        assert_eq!(expiry(&[seconds, ("binlog_expire_logs_auto_purge", "OFF")]), None);
        assert_eq!(expiry(&[seconds, ("binlog_expire_logs_auto_purge", "ON")]), Some(2_592_000));
        assert_eq!(expiry(&[("binlog_expire_logs_seconds", "0")]), None);
        assert_eq!(expiry(&[]), None);
    }

    #[test]
    fn only_the_last_log_is_being_written() {
        let logs = ["b.000003", "b.000004", "b.000005"].map(str::to_owned).to_vec();
        let retention = Retention { expires_after: None, logs };
        assert_eq!(retention.place("b.000002"), LogPlace::Gone);
        assert_eq!(retention.place("b.000004"), LogPlace::Closed { older: 1 });
        assert_eq!(retention.place("b.000005"), LogPlace::Newest { older: 2 });
    }
}
