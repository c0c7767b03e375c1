//! What follows from a failure: the decision, its name, and what the operator can do.

use super::{Error, Step};
use crate::mysql::{self, HostPort};
use crate::source::ServerErrorKind;

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Dial again, after a pause.
    Retry,
    /// Dial again, after a pause; stop when that has failed [`Halt::tries`] times at the same place.
    RetryThenHalt(Halt),
    /// This server will not do; try the next of the list, after a pause if there is none.
    NextHost,
    /// Stop, and tell the operator.
    Halt(Halt),
}

/// Named states that end a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Halt {
    /// What we still need is gone from the server.
    PositionLost,
    /// We have what the server has not.
    Diverged,
    /// The position is another server's.
    OtherServer,
    /// Another process took our place.
    Fenced,
    /// The account may not.
    Denied,
    /// Server or configuration do not fit.
    Misconfigured,
    /// The server's binlog is damaged.
    Corrupt,
    /// Events arrive damaged.
    Damaged,
    /// Transactions without GTIDs come next, and nothing that we know names them.
    GtidMode,
    /// The server refuses the stream in words that we do not know.
    SourceRefused,
}

impl Halt {
    /// How often it is found at the same place before the stream stops.
    pub fn tries(self) -> u32 {
        match self {
            // `gtid_mode` may have been changed meanwhile, and is asked again before the second.
            Self::GtidMode => 2,
            // A disk or a key can be away for a moment.
            Self::Corrupt | Self::SourceRefused => 5,
            // Memory and networks damage bytes too.
            Self::Damaged => 8,
            Self::PositionLost
            | Self::Diverged
            | Self::OtherServer
            | Self::Fenced
            | Self::Denied
            | Self::Misconfigured => 1,
        }
    }

    /// Whether an operator has to choose where to continue, or which process does: setting up the server or
    /// an account right does not fix it, and neither does waiting.
    pub fn needs_operator(self) -> bool {
        match self {
            Self::PositionLost
            | Self::Diverged
            | Self::OtherServer
            | Self::Fenced
            | Self::Corrupt
            | Self::Damaged
            | Self::GtidMode
            | Self::SourceRefused => true,
            Self::Denied | Self::Misconfigured => false,
        }
    }
}

/// Names of failures that are no server's word.
const OWN_NAMES: [&str; 18] = [
    "resolve",
    "connect",
    "timed_out",
    "silent",
    "closed",
    "broken",
    "tls_handshake",
    "tls_unavailable",
    "tls_files",
    "key_not_allowed",
    "public_key",
    "protocol",
    "damaged_event",
    "start_misfit",
    "other_server",
    "too_old",
    "no_host",
    "host_unknown",
];

impl Error {
    /// See [`Halt::needs_operator`].
    pub fn needs_operator(&self) -> bool {
        match self.recovery() {
            Recovery::Halt(halt) | Recovery::RetryThenHalt(halt) => halt.needs_operator(),
            Recovery::Retry | Recovery::NextHost => false,
        }
    }

    /// The single place where failures become decisions. No wildcard arm.
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::TlsHandshake { .. } => {
                Recovery::NextHost
            }
            Self::TimedOut { step, .. } | Self::Closed { step } | Self::Broken { step, .. } => {
                after_interruption(*step)
            }
            Self::Silent { .. } | Self::ModeChanged { .. } => Recovery::Retry,
            // A damaged event is asked for again: if the server's file is damaged, the server
            // itself says so then, or it comes damaged again.
            Self::Damaged(_) | Self::Protocol { .. } => Recovery::RetryThenHalt(Halt::Damaged),
            Self::TlsUnavailable { .. }
            | Self::TlsFiles(_)
            | Self::LoginMethod { .. }
            | Self::KeyNotAllowed { .. }
            | Self::PublicKey { .. }
            | Self::StartMisfit { .. }
            | Self::HostUnknown { .. } => Recovery::Halt(Halt::Misconfigured),
            Self::Refused { step, refusal, .. } => after_refusal(*refusal, *step),
            Self::Sql(error) => after_sql(error),
            Self::OtherServer { .. } => Recovery::Halt(Halt::OtherServer),
            Self::Purged { .. } | Self::TooOld { .. } => Recovery::Halt(Halt::PositionLost),
            Self::Diverged { .. } | Self::PutBack { .. } => Recovery::Halt(Halt::Diverged),
            Self::NoHost { failures } => after_all(failures),
        }
    }

    /// All that [`Self::name`] returns.
    pub fn names() -> impl Iterator<Item = &'static str> {
        OWN_NAMES.into_iter().chain(ServerErrorKind::ALL.map(ServerErrorKind::as_str))
    }

    /// Its name in logs and metrics, of a small and fixed set.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::TimedOut { .. } => "timed_out",
            Self::Silent { .. } => "silent",
            Self::Closed { .. } => "closed",
            Self::Broken { .. } => "broken",
            Self::TlsHandshake { .. } => "tls_handshake",
            Self::TlsUnavailable { .. } => "tls_unavailable",
            Self::TlsFiles(_) => "tls_files",
            Self::LoginMethod { .. } => "login_method",
            Self::KeyNotAllowed { .. } => "key_not_allowed",
            Self::PublicKey { .. } => "public_key",
            Self::Refused { refusal, .. } => refusal.as_str(),
            Self::Protocol { .. } => "protocol",
            Self::Damaged(_) => "damaged_event",
            Self::Sql(error) => match error {
                mysql::Error::Server { code, message, .. } => {
                    ServerErrorKind::of(*code, message).as_str()
                }
                mysql::Error::TimedOut { .. } => "timed_out",
                mysql::Error::Connection { .. } | mysql::Error::Abandoned => "connect",
                mysql::Error::TlsHandshake { .. } => "tls_handshake",
                mysql::Error::LoginMethod { .. } => "login_method",
                mysql::Error::KeyNotAllowed { .. } => "key_not_allowed",
                mysql::Error::PublicKey { .. } => "public_key",
                mysql::Error::Tls(_) => "tls_files",
                mysql::Error::Protocol { .. }
                | mysql::Error::Places { .. }
                | mysql::Error::Unexpected { .. } => "protocol",
            },
            Self::StartMisfit { .. } => "start_misfit",
            Self::ModeChanged { .. } => ServerErrorKind::GtidModeOff.as_str(),
            Self::OtherServer { .. } => "other_server",
            Self::Purged { .. } => ServerErrorKind::Purged.as_str(),
            Self::Diverged { .. } | Self::PutBack { .. } => ServerErrorKind::ReplicaAhead.as_str(),
            Self::TooOld { .. } => "too_old",
            Self::NoHost { .. } => "no_host",
            Self::HostUnknown { .. } => "host_unknown",
        }
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "check the host name and DNS",
            Self::Connect { .. } => "check that the server runs, its port, and firewalls between",
            Self::TimedOut { .. } | Self::Silent { .. } => {
                "none if it is transient: binpulse reconnects; otherwise check whether the server \
                 hangs or a firewall drops packets"
            }
            Self::Closed { .. } | Self::Broken { .. } => "none: binpulse reconnects by itself",
            Self::TlsHandshake { source, .. } => tls_remedy(&source.to_string()),
            Self::TlsUnavailable { .. } => "enable TLS on the server, or set the TLS mode to off",
            Self::TlsFiles(_) => "check the named file",
            Self::LoginMethod { .. } => ServerErrorKind::LoginMethod.remedy(),
            Self::KeyNotAllowed { .. } => KEY_REMEDY,
            Self::PublicKey { .. } => PUBLIC_KEY_REMEDY,
            Self::Refused { refusal, .. } => refusal.remedy(),
            Self::Protocol { .. } => PROTOCOL_REMEDY,
            Self::Damaged(_) => {
                "examine the server's file with mysqlbinlog, and check memory and network: if the \
                 file is damaged, start from a position after it"
            }
            Self::Sql(error) => match error {
                mysql::Error::Server { code, message, .. } => {
                    ServerErrorKind::of(*code, message).remedy()
                }
                mysql::Error::Tls(_) => "check the named file",
                mysql::Error::TlsHandshake { reason, .. } => tls_remedy(reason),
                mysql::Error::LoginMethod { .. } => ServerErrorKind::LoginMethod.remedy(),
                mysql::Error::KeyNotAllowed { .. } => KEY_REMEDY,
                mysql::Error::PublicKey { .. } => PUBLIC_KEY_REMEDY,
                mysql::Error::Protocol { .. } => PROTOCOL_REMEDY,
                mysql::Error::Connection { .. } => {
                    "check that the server runs, its host and port, and firewalls between"
                }
                mysql::Error::TimedOut { .. }
                | mysql::Error::Abandoned
                | mysql::Error::Places { .. }
                | mysql::Error::Unexpected { .. } => "check whether the server can be reached",
            },
            Self::StartMisfit { .. } => "start from a position of the kind that the server has",
            Self::ModeChanged { .. } => ServerErrorKind::GtidModeOff.remedy(),
            Self::OtherServer { .. } => {
                "point to the server of the checkpoint, or use GTIDs, or begin a new epoch"
            }
            Self::Purged { .. } => ServerErrorKind::Purged.remedy(),
            Self::Diverged { .. } => ServerErrorKind::ReplicaAhead.remedy(),
            Self::PutBack { .. } => {
                "point to the server that has it, or tell the consumers and begin a new epoch; if \
                 only the heartbeat table was changed, restore the named number in it"
            }
            Self::TooOld { .. } => "ask for that time or a later one, or for `earliest`",
            Self::NoHost { .. } => "see each host's reason",
            Self::HostUnknown { .. } => "name at least one host",
        }
    }
}

const PROTOCOL_REMEDY: &str = "check that the port is MySQL's own, not its X protocol's";
const KEY_REMEDY: &str = "set source.tls = \"required\" or stricter; on a trusted network, \
                          source.get_server_public_key = true requests the server's key";
const PUBLIC_KEY_REMEDY: &str = "check which server answers at this address, and the server's \
                                 caching_sha2_password_public_key_path; or set source.tls = \
                                 \"required\" or stricter";

/// What fixes a failed handshake, by the words of the TLS library (rustls).
fn tls_remedy(reason: &str) -> &'static str {
    let says = |words: &str| reason.contains(words);
    if says("UnknownIssuer") {
        "name the authority that signed the server's certificate in source.tls_ca (certificates \
         that MySQL made for itself: ca.pem in its data folder), or set source.tls = \"required\", \
         which encrypts without verifying the certificate"
    } else if says("not valid for") {
        "the certificate is another host's, or names none (as those that MySQL makes for itself): set \
         source.tls = \"verify-ca\", or give the server one with this host's name"
    } else if says("Expired") || says("expired") || says("not valid yet") {
        "renew the server's certificate, or check this machine's clock"
    } else if says("CertificateRequired") || says("certificate required") {
        "the server wants a client certificate: source.tls_certificate and source.tls_key"
    } else {
        "check source.tls_ca and the server's certificate; servers older than 5.7.28 may only speak \
         TLS 1.1, which is not supported"
    }
}

/// Before the stream flows another host may do better; later the same one is first choice.
fn after_interruption(step: Step) -> Recovery {
    match step {
        Step::Connect
        | Step::Greeting
        | Step::TlsHandshake
        | Step::Login
        | Step::SetUp
        | Step::Register => Recovery::NextHost,
        Step::FirstEvent | Step::Stream => Recovery::Retry,
    }
}

fn after_refusal(refusal: ServerErrorKind, step: Step) -> Recovery {
    match refusal {
        ServerErrorKind::Purged
        | ServerErrorKind::FileUnknown
        | ServerErrorKind::OffsetImpossible => Recovery::Halt(Halt::PositionLost),
        ServerErrorKind::ReplicaAhead => Recovery::Halt(Halt::Diverged),
        ServerErrorKind::Fenced => Recovery::Halt(Halt::Fenced),
        ServerErrorKind::BinlogTruncated
        | ServerErrorKind::BinlogCorrupt
        | ServerErrorKind::EventTooLarge => Recovery::Halt(Halt::Corrupt),
        ServerErrorKind::BinlogUnreadable => Recovery::RetryThenHalt(Halt::Corrupt),
        // The mode may have been changed since it was asked for: the next dial asks again.
        ServerErrorKind::GtidModeOff
        | ServerErrorKind::AnonymousTransaction
        | ServerErrorKind::GtidTransaction => Recovery::RetryThenHalt(Halt::GtidMode),
        ServerErrorKind::BinlogOff
        | ServerErrorKind::ServerIdUnset
        | ServerErrorKind::ChecksumNotAgreed => Recovery::Halt(Halt::Misconfigured),
        ServerErrorKind::AccessDenied
        | ServerErrorKind::PrivilegeMissing
        | ServerErrorKind::AccountLocked
        | ServerErrorKind::PasswordExpired
        | ServerErrorKind::TlsDemanded
        | ServerErrorKind::LoginMethod
        | ServerErrorKind::HostNotAllowed => Recovery::Halt(Halt::Denied),
        ServerErrorKind::HostBlocked
        | ServerErrorKind::TooManyConnections
        | ServerErrorKind::Offline
        | ServerErrorKind::ShuttingDown => Recovery::NextHost,
        ServerErrorKind::Killed | ServerErrorKind::SenderFailed => Recovery::Retry,
        ServerErrorKind::DumpFailed => Recovery::RetryThenHalt(Halt::SourceRefused),
        // Whoever stands between may refuse a connection for as long as it likes; a dump is refused
        // by the server itself.
        ServerErrorKind::Other => match step {
            Step::FirstEvent | Step::Stream => Recovery::RetryThenHalt(Halt::SourceRefused),
            Step::Connect
            | Step::Greeting
            | Step::TlsHandshake
            | Step::Login
            | Step::SetUp
            | Step::Register => Recovery::Retry,
        },
    }
}

fn after_sql(error: &mysql::Error) -> Recovery {
    match error {
        mysql::Error::Server { code, message, .. } => {
            after_refusal(ServerErrorKind::of(*code, message), Step::SetUp)
        }
        mysql::Error::TimedOut { .. }
        | mysql::Error::Connection { .. }
        | mysql::Error::TlsHandshake { .. } => Recovery::NextHost,
        mysql::Error::Abandoned | mysql::Error::Protocol { .. } => Recovery::Retry,
        mysql::Error::Tls(_)
        | mysql::Error::LoginMethod { .. }
        | mysql::Error::KeyNotAllowed { .. }
        | mysql::Error::PublicKey { .. }
        | mysql::Error::Places { .. }
        | mysql::Error::Unexpected { .. } => Recovery::Halt(Halt::Misconfigured),
    }
}

/// Worth another round if any host may recover by itself; else what the first one says.
fn after_all(failures: &[(HostPort, Error)]) -> Recovery {
    let mut first = None;
    for (_, failure) in failures {
        match failure.recovery() {
            Recovery::Retry | Recovery::RetryThenHalt(_) | Recovery::NextHost => {
                return Recovery::NextHost;
            }
            Recovery::Halt(halt) => first = first.or(Some(halt)),
        }
    }
    Recovery::Halt(first.unwrap_or(Halt::Misconfigured))
}

#[cfg(test)]
mod tests;
