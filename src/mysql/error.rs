//! What goes wrong in a SQL session.

use std::time::Duration;

use super::wire::Failure;
use super::{HostPort, LOGIN_METHODS, TlsError};

/// How far a connection came that could not be made, or broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionLoss {
    /// The name has no address.
    NoAddress,
    /// Nobody listens, or there is no way there.
    Refused,
    /// It stood, and was closed or broke.
    Broken,
}

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
        /// How far it came.
        lost: ConnectionLoss,
        /// The step, and what the kernel says.
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
    /// The account uses a login method that these sessions do not speak.
    #[error("{host}: the account uses the login method {plugin:?}; supported are {LOGIN_METHODS}")]
    LoginMethod {
        /// The other end.
        host: HostPort,
        /// The server's name for it.
        plugin: String,
    },
    /// The login needs TLS, or the server's public key, which nobody allowed to ask for.
    #[error(
        "{host}: the login method {plugin} needs TLS, or the server's public key \
             (source.get_server_public_key)"
    )]
    KeyNotAllowed {
        /// The other end.
        host: HostPort,
        /// The login method.
        plugin: &'static str,
    },
    /// What the server sent as its public key is none, or not one for this password.
    #[error("{host}: the server's RSA public key can't be used: {reason}")]
    PublicKey {
        /// The other end.
        host: HostPort,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is not MySQL's protocol, or too large.
    #[error("{host}: {failure}")]
    Protocol {
        /// The other end.
        host: HostPort,
        /// What came, and what should have come.
        failure: String,
    },
    /// A statement with other than one value for each of its places.
    #[error("{values} values for the places in {statement}")]
    Places {
        /// Its beginning.
        statement: String,
        /// Number of values.
        values: usize,
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
            | Self::KeyNotAllowed { .. }
            | Self::PublicKey { .. }
            | Self::Protocol { .. }
            | Self::Places { .. }
            | Self::Abandoned
            | Self::Tls(_)
            | Self::Unexpected { .. } => None,
        }
    }

    /// Whether it may work later, without anybody doing something about it: a server that is away, full
    /// of sessions or shutting down, that takes no writes during a failover, or a lock.
    pub fn passes(&self) -> bool {
        match self {
            // With bytes that are no protocol, whoever answers may not be the server.
            Self::TimedOut { .. }
            | Self::Connection { .. }
            | Self::Protocol { .. }
            | Self::Abandoned => true,
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
            | Self::KeyNotAllowed { .. }
            | Self::PublicKey { .. }
            | Self::Places { .. }
            | Self::Tls(_)
            | Self::Unexpected { .. } => false,
        }
    }

    /// Whether the session is of no further use.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Server { .. } | Self::Unexpected { .. } | Self::Places { .. })
    }

    fn lost(host: HostPort, lost: ConnectionLoss, failure: Failure) -> Self {
        Self::Connection { host, lost, source: Box::new(failure) }
    }

    pub(super) fn of_wire(host: &HostPort, failure: Failure) -> Self {
        let host = host.clone();
        match failure {
            Failure::Refused { error, .. } => {
                Self::Server { code: error.code, state: error.state, message: error.message }
            }
            Failure::LoginMethod { plugin } => Self::LoginMethod { host, plugin },
            Failure::KeyNotAllowed { plugin } => Self::KeyNotAllowed { host, plugin },
            Failure::PublicKey { reason } => Self::PublicKey { host, reason },
            Failure::TlsHandshake(error) => Self::TlsHandshake { host, reason: error.to_string() },
            Failure::TlsUnavailable => {
                let reason =
                    "the server offers no TLS, but the configuration demands it".to_owned();
                Self::TlsHandshake { host, reason }
            }
            protocol @ Failure::Protocol { .. } => {
                Self::Protocol { host, failure: protocol.to_string() }
            }
            // A server that accepts and says nothing hangs: nothing broke.
            Failure::TimedOut { step, after } => {
                Self::TimedOut { step: format!("{step} ({host})"), after }
            }
            other @ Failure::Resolve(_) => Self::lost(host, ConnectionLoss::NoAddress, other),
            other @ Failure::Connect(_) => Self::lost(host, ConnectionLoss::Refused, other),
            other @ (Failure::Closed(_) | Failure::Broken { .. }) => {
                Self::lost(host, ConnectionLoss::Broken, other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::wire::Step;

    #[test]
    fn a_lost_connection_tells_how_far_it_came_whatever_the_host_is_called() {
        let host: HostPort = "lookup-refused:3306".parse().expect("an address");
        let io = || std::io::Error::other("x");
        for (failure, expected) in [
            (Failure::Resolve(io()), ConnectionLoss::NoAddress),
            (Failure::Connect(io()), ConnectionLoss::Refused),
            (Failure::Closed(Step::Login), ConnectionLoss::Broken),
            (Failure::Broken { step: Step::Login, source: io() }, ConnectionLoss::Broken),
        ] {
            let Error::Connection { lost, .. } = Error::of_wire(&host, failure) else {
                panic!("it is no lost connection")
            };
            assert_eq!(lost, expected);
        }
    }

    #[test]
    fn a_server_that_says_nothing_has_timed_out_at_whatever_step() {
        let host: HostPort = "127.0.0.1:3306".parse().expect("an address");
        for step in [Step::Connect, Step::Greeting, Step::TlsHandshake, Step::Login] {
            let failure = Failure::TimedOut { step, after: Duration::from_secs(1) };
            let error = Error::of_wire(&host, failure);
            assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        }
    }
}
