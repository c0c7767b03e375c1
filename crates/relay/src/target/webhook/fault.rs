//! Why there is no answer.

use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;

use binpulse_core::excerpt::excerpt;
use tokio::time::{Instant, timeout_at};

use crate::target::Outcome;

/// What was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Resolve,
    Connect,
    Proxy,
    Tls,
    Send,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Proxy => "connecting through relay.egress.proxy",
            Self::Tls => "the TLS handshake",
            Self::Send => "waiting for the answer",
        })
    }
}

/// Why there is no answer. All of them say that the receiver as a whole, or our way to it, is in
/// trouble, except [`Fault::Unsendable`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}: timed out (relay.to.timeout)")]
    TimedOut(Step),
    #[error("{step}: {text}")]
    Broken { step: Step, text: String },
    #[error("{address}: {inner}")]
    At { address: IpAddr, inner: Box<Fault> },
    #[error("the name has no address")]
    NoAddress,
    #[error(
        "the name leads to {0}, which may not be reached: if it is meant, add its network to \
         relay.egress.allow (without TLS only loopback is reached while relay.egress.https_only is set)"
    )]
    NotAllowed(IpAddr),
    #[error("relay.egress.proxy answered {0}")]
    Proxy(String),
    #[error("{0}")]
    Token(String),
    #[error("{0}")]
    Setting(String),
    #[error("{0}")]
    Unsendable(String),
}

impl Fault {
    /// A failure of a step, in the words of the error and its causes.
    pub(super) fn of(step: Step, error: &(dyn StdError + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.ends_with(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        Self::Broken { step, text: excerpt(&text) }
    }

    pub(super) fn at(self, address: IpAddr) -> Self {
        Self::At { address, inner: Box::new(self) }
    }

    /// What the failure means at `place`.
    pub(super) fn outcome(&self, place: &str) -> Outcome {
        let answer = format!("{place}: {self}");
        match self {
            Self::Unsendable(_) => Outcome::Refused { answer },
            Self::TimedOut(_)
            | Self::Broken { .. }
            | Self::At { .. }
            | Self::NoAddress
            | Self::NotAllowed(_)
            | Self::Proxy(_)
            | Self::Token(_)
            | Self::Setting(_) => Outcome::Failed { answer, retry_after: None, is_outage: true },
        }
    }
}

/// The result of a step that must end before `deadline`.
pub(super) async fn within<T, E: StdError + 'static>(
    deadline: Instant,
    step: Step,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match timeout_at(deadline, work).await {
        Ok(done) => done.map_err(|error| Fault::of(step, &error)),
        Err(_) => Err(Fault::TimedOut(step)),
    }
}
