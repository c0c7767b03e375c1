//! Failures of a connection in the source's words.

use super::{Error, Step};
use crate::mysql::HostPort;
use crate::mysql::wire::{self, ChannelError, Failure, ServerError};
use crate::source::ServerErrorKind;

impl Error {
    /// A failed dial or statement.
    pub(in crate::source) fn of_wire(failure: Failure, host: &HostPort) -> Self {
        let host = host.clone();
        match failure {
            Failure::Resolve(source) => Self::Resolve { host, source },
            Failure::Connect(source) => Self::Connect { host, source },
            Failure::TimedOut { step, after } => Self::TimedOut { step: step.into(), after },
            Failure::Closed(step) => Self::Closed { step: step.into() },
            Failure::Broken { step, source } => Self::Broken { step: step.into(), source },
            Failure::TlsHandshake(source) => Self::TlsHandshake { host, source },
            Failure::TlsUnavailable => Self::TlsUnavailable { host },
            Failure::LoginMethod { plugin } => Self::LoginMethod { plugin },
            Failure::KeyNotAllowed { plugin } => Self::KeyNotAllowed { plugin },
            Failure::PublicKey { reason } => Self::PublicKey { reason },
            Failure::Refused { step, error } => Self::refused(error, step.into()),
            Failure::Protocol { step, found, expected } => {
                Self::Protocol { step: step.into(), found, expected }
            }
        }
    }

    /// A channel that failed in this step.
    pub(in crate::source) fn of_channel(error: ChannelError, step: Step) -> Self {
        match error {
            ChannelError::Closed => Self::Closed { step },
            ChannelError::Io(source) if wire::is_close(&source) => Self::Closed { step },
            ChannelError::Io(source) => Self::Broken { step, source },
            ChannelError::Protocol { found, expected } => Self::Protocol { step, found, expected },
        }
    }

    /// A server that said no.
    pub(in crate::source) fn refused(error: ServerError, step: Step) -> Self {
        let ServerError { code, message, .. } = error;
        let mut refusal = ServerErrorKind::of(code, &message);
        // Who has logged in and may not register lacks the privilege, though the server says that the
        // password is wrong (MySQL 9.7).
        if refusal == ServerErrorKind::AccessDenied && step == Step::Register {
            refusal = ServerErrorKind::PrivilegeMissing;
        }
        Self::Refused { step, refusal, code, message }
    }
}

impl From<wire::Step> for Step {
    fn from(step: wire::Step) -> Self {
        match step {
            wire::Step::Connect => Self::Connect,
            wire::Step::Greeting => Self::Greeting,
            wire::Step::TlsHandshake => Self::TlsHandshake,
            wire::Step::Login => Self::Login,
            wire::Step::Statement => Self::SetUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_is_told_from_a_broken_one() {
        use std::io::ErrorKind;
        for (kind, is_closed) in [
            (ErrorKind::ConnectionReset, true),
            (ErrorKind::UnexpectedEof, true),
            (ErrorKind::BrokenPipe, false),
            (ErrorKind::Other, false),
        ] {
            let error = Error::of_channel(ChannelError::Io(kind.into()), Step::Stream);
            let found = matches!(error, Error::Closed { step: Step::Stream });
            assert_eq!(found, is_closed, "{kind:?}: {error}");
            let broken = matches!(error, Error::Broken { step: Step::Stream, .. });
            assert_eq!(broken, !is_closed, "{kind:?}: {error}");
        }
    }

    #[test]
    fn access_denied_behind_the_login_is_a_missing_privilege() {
        let refusal = |step| {
            let error = ServerError::parse(b"\x15\x04#28000Access denied");
            let Error::Refused { refusal, .. } = Error::refused(error, step) else {
                panic!("not refused")
            };
            refusal
        };
        assert_eq!(refusal(Step::Login), ServerErrorKind::AccessDenied);
        assert_eq!(refusal(Step::Register), ServerErrorKind::PrivilegeMissing);
    }
}
