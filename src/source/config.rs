//! Where to connect to, as whom, and for how long to wait.

use std::time::Duration;

use crate::change::{GtidSet, MariaGtidSet, Position, Uuid};
use crate::mysql::{ConnectOptions, HostPort, Secret, Tls};

use super::Error;

/// A source: one server, or several that hold the same data.
#[derive(Debug, Clone)]
pub struct Config {
    /// Servers in order of preference; more than one needs GTIDs.
    pub hosts: Vec<HostPort>,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// TLS, already loaded.
    pub tls: Tls,
    /// Name of the stream; server id and replica UUID are derived from it.
    pub stream: String,
    /// Our `server_id`, 1 to 2^32 - 1; `None`: derived from the stream and the server's UUID.
    pub server_id: Option<u32>,
    /// Our replica UUID; `None`: derived from the stream.
    pub replica_uuid: Option<Uuid>,
    /// Name under which SHOW REPLICAS lists us.
    pub report_host: String,
    /// Port that it lists: where our HTTP server listens.
    pub report_port: u16,
    /// Idle time after which the server sends a heartbeat.
    pub heartbeat_period: Duration,
    /// How long the server waits for us when we take nothing off the stream
    /// (`net_write_timeout`), whole seconds.
    pub send_timeout: Duration,
    /// How long we wait.
    pub deadlines: Deadlines,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Name lookup and TCP connect together.
    pub connect: Duration,
    /// Greeting, TLS and login, each.
    pub login: Duration,
    /// Each statement before the stream.
    pub query: Duration,
    /// From the request for the stream to its first event: the server may search its files for the
    /// GTIDs, which takes long on large ones.
    pub first_event: Duration,
    /// Silence of the running stream. `None`: three heartbeat periods and a second.
    pub silence: Option<Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            login: Duration::from_secs(10),
            query: Duration::from_secs(10),
            first_event: Duration::from_mins(1),
            silence: None,
        }
    }
}

impl Config {
    /// Default of `heartbeat_period`.
    #[cfg(feature = "testing")]
    pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(1);
    /// Default of `send_timeout`.
    pub const SEND_TIMEOUT: Duration = Duration::from_hours(1);

    /// Longest silence of a healthy stream: the server sends something each period, and two lost
    /// or late ones are forgiven.
    pub fn silence(&self) -> Duration {
        let default = || self.heartbeat_period.saturating_mul(3) + Duration::from_secs(1);
        self.deadlines.silence.unwrap_or_else(default)
    }

    /// One of the hosts.
    pub fn host(&self, index: usize) -> Result<&HostPort, Error> {
        self.hosts.get(index).ok_or(Error::HostUnknown { index })
    }

    /// How to open a SQL session to one of the hosts as the same account.
    pub fn session(&self, index: usize) -> Result<ConnectOptions, Error> {
        Ok(ConnectOptions {
            host: self.host(index)?.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            database: None,
            connect_timeout: self.deadlines.connect + self.deadlines.login,
            query_timeout: self.deadlines.query,
        })
    }
}

/// Where a stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With everything that is not in the set.
    Gtid(GtidSet),
    /// At the event that starts there, with everything that is not in the set (MySQL from 5.7.6): what
    /// has no GTID is refused, not passed by.
    GtidFrom {
        /// What is not wanted.
        set: GtidSet,
        /// Where its file is read from.
        from: Position,
    },
    /// With everything behind this position (MariaDB).
    Maria(MariaGtidSet),
    /// At the event that starts there.
    Position(Position),
}

impl Start {
    /// Where the first event starts; without a file where the server decides.
    pub fn place(&self) -> Position {
        match self {
            Self::GtidFrom { from, .. } | Self::Position(from) => from.clone(),
            Self::Gtid(_) | Self::Maria(_) => Position::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Config;
    use crate::mysql::{HostPort, Secret, TlsConfig};

    #[test]
    fn silence_is_three_heartbeats_and_a_second() {
        let config = Config {
            hosts: vec![HostPort::new("db", 3306)],
            user: "binpulse".to_owned(),
            password: Secret::new("hunter2"),
            tls: TlsConfig::default().load().expect("no files"),
            stream: "orders".to_owned(),
            server_id: None,
            replica_uuid: None,
            report_host: String::new(),
            report_port: 9187,
            heartbeat_period: Config::HEARTBEAT_PERIOD,
            send_timeout: Config::SEND_TIMEOUT,
            deadlines: super::Deadlines::default(),
        };
        assert_eq!(config.silence(), Duration::from_secs(4));
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(config.host(1).is_err());
    }
}
