//! What goes wrong in a SQL session.

use std::time::Duration;

use super::{HostPort, TlsError};

/// A failed connect or statement. The numbers are the server's (MySQL manual, "Server Error
/// Message Reference").
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither answer nor refusal in time. The statement may still run on the server.
    #[error("{step} took longer than {} s", after.as_secs_f64())]
    TimedOut {
        /// `connecting to host:port`, or the statement.
        step: String,
        /// The deadline.
        after: Duration,
    },
    /// The server said no.
    #[error("{message} (error {code}, state {state})")]
    Server {
        /// The server's number.
        code: u16,
        /// Its SQL state, five characters.
        state: String,
        /// Its words.
        message: String,
    },
    /// The connection could not be made, or broke.
    #[error("connection to {host}: {source}")]
    Connection {
        /// The other end.
        host: HostPort,
        /// What the driver says.
        #[source]
        source: Box<mysql_async::Error>,
    },
    /// An earlier statement timed out: this session is not to be used again.
    #[error("the session was given up after a time-out; connect again")]
    Abandoned,
    /// Certificates or keys could not be loaded, or do not fit.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A value is not what the statement promised.
    #[error("column {column} of the answer is {found}, expected {expected}")]
    Unexpected {
        /// Index, from 0.
        column: usize,
        /// What it was.
        found: String,
        /// What it should have been.
        expected: &'static str,
    },
}

impl Error {
    /// The server's number, where it answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Server { code, .. } => Some(*code),
            Self::TimedOut { .. }
            | Self::Connection { .. }
            | Self::Abandoned
            | Self::Tls(_)
            | Self::Unexpected { .. } => None,
        }
    }

    /// Whether the session is of no further use.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Server { .. } | Self::Unexpected { .. })
    }

    /// Whether it is TLS that the two sides can't agree on.
    pub fn is_about_tls(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Connection { source, .. } => super::session::is_about_tls(source),
            Self::TimedOut { .. }
            | Self::Server { .. }
            | Self::Abandoned
            | Self::Unexpected { .. } => false,
        }
    }

    pub(super) fn from_driver(host: &HostPort, error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(refusal) => {
                Self::Server { code: refusal.code, state: refusal.state, message: refusal.message }
            }
            other @ (mysql_async::Error::Driver(_)
            | mysql_async::Error::Io(_)
            | mysql_async::Error::Other(_)
            | mysql_async::Error::Url(_)) => {
                Self::Connection { host: host.clone(), source: Box::new(other) }
            }
        }
    }
}
