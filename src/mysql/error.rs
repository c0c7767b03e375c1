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
        /// What the kernel, or else the driver, says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The TLS handshake failed: the certificate, or nothing in common.
    #[error("TLS handshake with {host}: {reason}")]
    TlsHandshake {
        /// The other end.
        host: HostPort,
        /// What the TLS library says.
        reason: String,
    },
    /// The server asks for a login method that these sessions do not speak.
    #[error(
        "{host} asks for the login method {plugin:?}; the SQL sessions beside the stream speak \
         caching_sha2_password and mysql_native_password"
    )]
    LoginMethod {
        /// The other end.
        host: HostPort,
        /// The server's name for it.
        plugin: String,
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
            | Self::TlsHandshake { .. }
            | Self::LoginMethod { .. }
            | Self::Abandoned
            | Self::Tls(_)
            | Self::Unexpected { .. } => None,
        }
    }

    /// Whether it may work later, without anybody doing something about it: a server that is away, full
    /// of sessions or shutting down, that takes no writes during a failover, or a lock.
    pub fn passes(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Connection { .. } | Self::Abandoned => true,
            Self::Server { code, .. } => matches!(
                code,
                1015 | 1021
                    | 1040
                    | 1053
                    | 1114
                    | 1203
                    | 1205
                    | 1213
                    | 1226
                    | 1290
                    | 1317
                    | 1792
                    | 1836
                    | 1927
                    | 3024
                    | 3032
                    | 3675
            ),
            Self::TlsHandshake { .. }
            | Self::LoginMethod { .. }
            | Self::Tls(_)
            | Self::Unexpected { .. } => false,
        }
    }

    /// Whether the session is of no further use.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Server { .. } | Self::Unexpected { .. })
    }

    /// Whether it is TLS that the two sides can't agree on.
    pub fn is_about_tls(&self) -> bool {
        match self {
            Self::Tls(_) | Self::TlsHandshake { .. } => true,
            Self::Connection { source, .. } => {
                source.downcast_ref().is_some_and(super::session::is_about_tls)
            }
            Self::TimedOut { .. }
            | Self::LoginMethod { .. }
            | Self::Server { .. }
            | Self::Abandoned
            | Self::Unexpected { .. } => false,
        }
    }

    pub(super) fn from_driver(host: &HostPort, error: mysql_async::Error) -> Self {
        use mysql_async::{DriverError, Error as Driver, IoError};

        let host = host.clone();
        match error {
            Driver::Server(refusal) => {
                Self::Server { code: refusal.code, state: refusal.state, message: refusal.message }
            }
            Driver::Driver(DriverError::UnknownAuthPlugin { name }) => {
                Self::LoginMethod { host, plugin: name }
            }
            Driver::Io(IoError::Io(error)) => Self::from_io(host, error),
            Driver::Io(IoError::Tls(error)) => {
                Self::TlsHandshake { host, reason: error.to_string() }
            }
            other @ (Driver::Driver(_) | Driver::Other(_) | Driver::Url(_)) => {
                Self::Connection { host, source: Box::new(other) }
            }
        }
    }

    /// TLS's failures come as I/O errors; the driver wraps those once more in another.
    fn from_io(host: HostPort, error: std::io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| {
            let wrapped = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            let wrapped = wrapped.and_then(|inner| inner.downcast_ref::<rustls::Error>());
            inner.downcast_ref::<rustls::Error>().or(wrapped).map(ToString::to_string)
        });
        match tls {
            Some(reason) => Self::TlsHandshake { host, reason },
            None => Self::Connection { host, source: Box::new(error) },
        }
    }
}
