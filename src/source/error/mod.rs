//! What goes wrong between us and the server, and what follows from it.

mod recovery;
mod wire;

use std::fmt;
use std::io;
use std::time::Duration;

use super::ServerErrorKind;
use crate::binlog::EventError;
use crate::change::{GtidSet, Position};
use crate::mysql::{self, HostPort, LOGIN_METHODS, TlsError};

pub use recovery::{Halt, Recovery};

/// What we were at when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Name lookup and TCP connect.
    Connect,
    /// The server's greeting.
    Greeting,
    /// The TLS handshake.
    TlsHandshake,
    /// User and password.
    Login,
    /// The statements that prepare the session, or ask for facts.
    SetUp,
    /// Registration as a replica.
    Register,
    /// From the request for the stream to its first event.
    FirstEvent,
    /// The stream.
    Stream,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => mysql::wire::Step::Connect.words(),
            Self::Greeting => mysql::wire::Step::Greeting.words(),
            Self::TlsHandshake => mysql::wire::Step::TlsHandshake.words(),
            Self::Login => mysql::wire::Step::Login.words(),
            Self::SetUp => "preparing the session",
            Self::Register => "registering as a replica",
            Self::FirstEvent => "waiting for the first event",
            Self::Stream => "reading the stream",
        })
    }
}

/// A failure of the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name has no address.
    #[error("{host}: no such host: {source}")]
    Resolve {
        /// The server.
        host: HostPort,
        /// What the resolver says.
        source: io::Error,
    },
    /// No TCP connection: refused, unreachable.
    #[error("{host}: can't connect: {source}")]
    Connect {
        /// The server.
        host: HostPort,
        /// What the kernel says.
        source: io::Error,
    },
    /// A step took longer than its deadline.
    #[error("{step} took longer than {} s", after.as_secs_f64())]
    TimedOut {
        /// Which.
        step: Step,
        /// Its deadline.
        after: Duration,
    },
    /// No byte came for longer than the server's heartbeats allow.
    #[error(
        "the stream is silent: no byte for {} s, although the server promised a heartbeat each {} s",
        after.as_secs_f64(), heartbeat.as_secs_f64()
    )]
    Silent {
        /// The deadline.
        after: Duration,
        /// The agreed heartbeat period.
        heartbeat: Duration,
    },
    /// The server closed the connection without a word: it was killed, restarted, or went offline.
    #[error("the server closed the connection while {step}")]
    Closed {
        /// What we were at.
        step: Step,
    },
    /// The connection broke.
    #[error("the connection broke while {step}: {source}")]
    Broken {
        /// What we were at.
        step: Step,
        /// What the kernel says.
        source: io::Error,
    },
    /// The TLS handshake failed: the certificate, or nothing in common.
    #[error("{host}: TLS handshake failed: {source}")]
    TlsHandshake {
        /// The server.
        host: HostPort,
        /// What the TLS library says.
        source: io::Error,
    },
    /// The server offers no TLS, but the configuration demands it.
    #[error("{host}: the server offers no TLS, but the configuration demands it")]
    TlsUnavailable {
        /// The server.
        host: HostPort,
    },
    /// Certificates or keys of the configuration are no good.
    #[error(transparent)]
    TlsFiles(#[from] TlsError),
    /// The server asks for a login method that we do not speak.
    #[error("the account uses the login method {plugin:?}; supported are {LOGIN_METHODS}")]
    LoginMethod {
        /// The server's name for it.
        plugin: String,
    },
    /// The login needs TLS, or the server's public key, which nobody allowed to ask for.
    #[error(
        "the login method {plugin} needs TLS, or the server's public key \
             (source.get_server_public_key)"
    )]
    KeyNotAllowed {
        /// The login method.
        plugin: &'static str,
    },
    /// What the server sent as its public key is none, or not one for this password.
    #[error("the server's RSA public key can't be used: {reason}")]
    PublicKey {
        /// What is wrong with it.
        reason: String,
    },
    /// The server said no.
    #[error("{refusal} while {step}: {message} (error {code})")]
    Refused {
        /// What we were at.
        step: Step,
        /// What it means.
        refusal: ServerErrorKind,
        /// The server's number.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// Bytes that are not MySQL's protocol.
    #[error("not the MySQL protocol while {step}: found {found}, expected {expected}")]
    Protocol {
        /// What we were at.
        step: Step,
        /// What came.
        found: String,
        /// What should have come.
        expected: &'static str,
    },
    /// An event arrived damaged.
    #[error("damaged event from the server: {0}")]
    Damaged(#[from] EventError),
    /// A SQL session failed.
    #[error(transparent)]
    Sql(#[from] mysql::Error),
    /// The start needs GTIDs, but the server has none of that kind.
    #[error("{found}, but the start is {start}")]
    StartMisfit {
        /// What the server has.
        found: String,
        /// What was asked for.
        start: &'static str,
    },
    /// `gtid_mode` was switched between the look at the server and the request for the stream.
    #[error("{found}, and had GTIDs a moment ago")]
    ModeChanged {
        /// What the server has.
        found: String,
    },
    /// The stored position is a file and offset of another server.
    #[error(
        "position {position} belongs to server {stored}, but this server is {found}; without GTIDs \
         it means nothing here"
    )]
    OtherServer {
        /// The position.
        position: Position,
        /// Server of the checkpoint.
        stored: String,
        /// This server.
        found: String,
    },
    /// The server has purged transactions that we have not seen.
    #[error("position lost: the server has purged transactions that were not delivered: {missing}")]
    Purged {
        /// What is missing, as text: GTIDs, or the file.
        missing: String,
    },
    /// We have delivered transactions that the server does not have.
    #[error(
        "diverged: {extra} were delivered, but the server does not have them: a restored older \
         backup, a lost tail after a crash, or another server"
    )]
    Diverged {
        /// Those transactions.
        extra: String,
    },
    /// The server lacks a heartbeat that came from it.
    #[error("diverged: the server was restored to an older state: {what}")]
    PutBack {
        /// The heartbeat, and what the server has.
        what: String,
    },
    /// Nothing in the binlogs is as old as the asked-for point in time.
    #[error(
        "the binary logs that are left do not reach back to {}: the earliest time is {}",
        time_text(*asked), time_text(*earliest)
    )]
    TooOld {
        /// Microseconds since 1970 UTC that were asked for.
        asked: i64,
        /// The earliest that can be asked for, microseconds since 1970 UTC.
        earliest: i64,
    },
    /// Of a list of hosts none could be used.
    #[error("none of {} hosts can be used: {}", failures.len(), join(failures))]
    NoHost {
        /// Each host with what is wrong with it.
        failures: Vec<(HostPort, Error)>,
    },
    /// No host is configured.
    #[error("no host with the number {index} is configured")]
    HostUnknown {
        /// Index into the list of hosts.
        index: usize,
    },
}

fn join(failures: &[(HostPort, Error)]) -> String {
    let lines: Vec<_> = failures.iter().map(|(host, error)| format!("{host}: {error}")).collect();
    lines.join("; ")
}

/// Where the server's transactions and ours do not meet: the names for [`Error::Purged`] and
/// [`Error::Diverged`].
/// A commit time, for people.
pub fn time_text(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).map_or_else(
        || format!("{us} us since 1970"),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
    )
}

pub(super) fn quote_set(set: &GtidSet) -> String {
    const CHARACTERS_MAX: usize = 300;
    let text = set.to_string();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((cut, _)) => {
            let short = text.get(..cut).unwrap_or_default();
            format!("{short}... ({} in all)", set.count())
        }
        None => text,
    }
}
