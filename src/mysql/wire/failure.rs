//! What goes wrong on a connection, the server's errors among it, before anybody says what follows.

use std::fmt;
use std::io;
use std::time::Duration;

use super::ChannelError;
use super::bytes::Bytes;
use crate::excerpt::excerpt_bytes;

/// What we were at when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Name lookup and TCP connect.
    Connect,
    /// The server's greeting.
    Greeting,
    /// The TLS handshake.
    TlsHandshake,
    /// User and password.
    Login,
    /// A statement and its answer.
    Statement,
}

impl Step {
    /// In words, behind "while".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Greeting => "waiting for the server's greeting",
            Self::TlsHandshake => "the TLS handshake",
            Self::Login => "logging in",
            Self::Statement => "running a statement",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// An ERR packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) code: u16,
    /// Five characters; before the login there is none.
    pub(crate) state: String,
    /// The server's words, or their beginning.
    pub(crate) message: String,
}

impl ServerError {
    /// Reads the packet behind its first byte, 0xff.
    pub(crate) fn parse(payload: &[u8]) -> Self {
        let mut input = Bytes(payload);
        let code = input.array().map_or(0, u16::from_le_bytes);
        let mut state = String::new();
        if input.0.first() == Some(&b'#') {
            state = excerpt_bytes(input.take(6).and_then(|all| all.get(1..)).unwrap_or_default());
        }
        Self { code, state, message: excerpt_bytes(input.0) }
    }

    /// The failure of the step that was refused.
    pub(crate) fn at(self, step: Step) -> Failure {
        Failure::Refused { step, error: self }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, state, message } = self;
        write!(f, "{message} (error {code}, state {state})")
    }
}

/// A failed step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The name has no address.
    #[error("no such host: {0}")]
    Resolve(#[source] io::Error),
    /// No TCP connection.
    #[error("can't connect: {0}")]
    Connect(#[source] io::Error),
    /// A step took longer than its deadline.
    #[error("{step} took longer than {} s", after.as_secs_f64())]
    TimedOut { step: Step, after: Duration },
    /// The other side closed.
    #[error("the server closed the connection while {0}")]
    Closed(Step),
    /// The connection broke.
    #[error("the connection broke while {step}: {source}")]
    Broken { step: Step, source: io::Error },
    /// The certificate, or nothing in common.
    #[error("TLS handshake failed: {0}")]
    TlsHandshake(#[source] io::Error),
    /// The configuration demands TLS.
    #[error("the server offers no TLS, but the configuration demands it")]
    TlsUnavailable,
    /// A login method that we do not speak.
    #[error("the account uses the login method {plugin:?}, which is not supported")]
    LoginMethod { plugin: String },
    /// A login method that needs TLS, or the server's public key, which nobody allowed to ask for.
    #[error("the login method {plugin} needs TLS, or the server's public key")]
    KeyNotAllowed { plugin: &'static str },
    /// What the server sent as its public key is none, or not one for this password.
    #[error("the server's RSA public key can't be used: {reason}")]
    PublicKey { reason: String },
    /// The server said no.
    #[error("{error}")]
    Refused { step: Step, error: ServerError },
    /// Not MySQL's protocol.
    #[error("not the MySQL protocol while {step}: found {found}, expected {expected}")]
    Protocol { step: Step, found: String, expected: &'static str },
}

impl ChannelError {
    /// The failure of the step that it happened in.
    pub(crate) fn at(self, step: Step) -> Failure {
        match self {
            Self::Closed => Failure::Closed(step),
            Self::Io(source) if is_close(&source) => Failure::Closed(step),
            Self::Io(source) => Failure::Broken { step, source },
            Self::Protocol { found, expected } => Failure::Protocol { step, found, expected },
        }
    }
}

/// A close with bytes of ours still under way comes as one of these.
pub(crate) fn is_close(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
