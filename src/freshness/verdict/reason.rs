//! What a state of the verdict is more exactly.

use std::sync::Arc;

use crate::telemetry::few;

/// What a state is more exactly. The same word may stand with several states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A commit waits for a semi-sync acknowledgement.
    Semisync,
    /// `FLUSH TABLES WITH READ LOCK`.
    GlobalReadLock,
    /// A metadata lock: `LOCK TABLES`, or DDL in the queue.
    MetadataLock,
    /// A row lock.
    RowLock,
    /// The disk of the binary log is full, or so slow that it seems to be.
    DiskFull,
    /// The evidence does not tell.
    Unknown,
    /// Asked to slow down.
    Throttled,
    /// Errors of the far side.
    ServerError,
    /// No answer in time.
    Timeout,
    /// Not permitted.
    Denied,
    /// There is no such thing.
    NotFound,
    /// A message is refused for what it is.
    MessageRefused,
    /// Messages are too large.
    TooLarge,
    /// The name does not resolve.
    Dns,
    /// The TLS handshake fails.
    Tls,
    /// The account is not admitted.
    Auth,
    /// Nobody listens.
    Refused,
    /// Connections break.
    Reset,
    /// `max_connections` is reached.
    TooManyConnections,
    /// `offline_mode`, or a shutdown in progress.
    Offline,
    /// Delivery can't continue without an operator.
    Halted,
    /// Another replica uses our identity.
    DuplicateReplica,
    /// The binary logs that we need are gone.
    Purged,
    /// The source lacks transactions that we have.
    Diverged,
    /// Consumers that echo nothing.
    Consumers(Vec<Arc<str>>),
    /// Consumers whose echo queues can't be read: whether canaries arrive is not known.
    EchoUnreadable(Vec<Arc<str>>),
    /// Nothing was written.
    Empty,
    /// Only what the filters leave out was written.
    FilteredOnly,
}

/// Consumers by name, the first few. A path of one that is named itself goes without saying.
pub(super) fn named(names: &[Arc<str>]) -> String {
    let is_named = |owner: &str| names.iter().any(|name| **name == *owner);
    let said = |name: &&Arc<str>| !name.split_once('/').is_some_and(|(owner, _)| is_named(owner));
    few(&names.iter().filter(said).collect::<Vec<_>>())
}

impl Reason {
    /// Its name in metrics, logs and the API.
    pub fn name(&self) -> String {
        if let Self::Consumers(names) = self {
            return names.join(",");
        }
        self.words().0.to_owned()
    }

    /// What is to blame, where there is more to say than its state does: behind the headline.
    pub fn blame(&self) -> Option<&'static str> {
        self.words().1
    }

    /// Name and blame of each.
    const fn words(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Semisync => {
                ("semisync", Some("waiting for a semi-sync replica's acknowledgement"))
            }
            Self::GlobalReadLock => ("ftwrl", Some("by a global read lock")),
            Self::MetadataLock => ("mdl", Some("by a metadata lock")),
            Self::RowLock => ("row_lock", Some("by a row lock")),
            Self::DiskFull => {
                ("disk_full", Some("by the disk of the binary log, which is full or slow"))
            }
            Self::Unknown => ("unknown", None),
            Self::Throttled => ("throttled", Some("it throttles requests")),
            Self::ServerError => ("server_error", Some("it answers with server errors")),
            Self::Timeout => ("timeout", Some("it does not answer in time")),
            Self::Denied => ("denied", Some("permission is denied")),
            Self::NotFound => ("not_found", Some("the topic does not exist")),
            Self::MessageRefused => ("message_refused", Some("it refuses a message")),
            Self::TooLarge => ("too_large", Some("messages are too large for it")),
            Self::Dns => ("dns", Some("its name does not resolve")),
            Self::Tls => ("tls", Some("the TLS handshake fails")),
            Self::Auth => ("auth", Some("the account is denied access")),
            Self::Refused => ("refused", Some("the connection is refused")),
            Self::Reset => ("reset", Some("connections break")),
            Self::TooManyConnections => {
                ("too_many_connections", Some("max_connections is reached"))
            }
            Self::Offline => ("offline", Some("the server is offline or shutting down")),
            Self::Halted => ("halted", Some("because delivery has halted")),
            Self::DuplicateReplica => {
                ("duplicate_replica", Some("another replica uses the same identity"))
            }
            Self::Purged => ("purged", Some("binary logs were purged")),
            Self::Diverged => ("diverged", Some("its history has diverged")),
            Self::Consumers(_) => ("consumers", None),
            Self::EchoUnreadable(_) => {
                ("echo_unreadable", Some("because an echo queue can't be read"))
            }
            Self::Empty => ("empty", None),
            Self::FilteredOnly => ("filtered_only", None),
        }
    }
}
