//! Bodies too large for their topic, on their way into S3.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::encode::Message;
use crate::sink::FailureClass;
use crate::sink::claim_check::{ClaimCheck, Error};

/// Ceiling of the first pause after a failure, and of the last.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A bucket, and the patience to wait for it.
#[derive(Debug)]
pub(crate) struct Claims {
    bucket: ClaimCheck,
    random: fn() -> u64,
}

impl Claims {
    /// Bodies go through `bucket`; `random` spreads the pauses.
    pub(crate) fn new(bucket: ClaimCheck, random: fn() -> u64) -> Self {
        Self { bucket, random }
    }

    /// The message with its body in S3 and a pointer in its place; within, `None` when S3 will never
    /// take it. What may pass, and what somebody may fix, is waited out, as it is for a topic.
    /// `None`: `is_over` said so meanwhile.
    pub(crate) async fn check_in(
        &self,
        mut message: Message,
        is_over: impl Fn() -> bool,
    ) -> Option<Option<Message>> {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        loop {
            let (error, back) = match self.bucket.check_in(message).await {
                Ok(claim) => return Some(Some(claim)),
                Err(failure) => failure,
            };
            message = *back;
            let pause = backoff.pause((self.random)());
            let (lane, sequence) = (&message.lane_key, message.sequence_first);
            if !may_pass(&error) {
                tracing::error!(%lane, sequence, %error, "S3 refuses the body for good");
                return Some(None);
            }
            let pause_seconds = pause.as_secs_f64();
            tracing::warn!(%lane, sequence, %error, pause_seconds, "the lane waits for S3");
            tokio::time::sleep(pause).await;
            if is_over() {
                return None;
            }
        }
    }
}

/// Whether to try again. No wildcard: a new class must not compile until somebody has decided.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Config(_) => false,
        Error::Put { class, .. } => match class {
            FailureClass::Throttled
            | FailureClass::ServerError
            | FailureClass::Timeout
            | FailureClass::Unreachable
            | FailureClass::Denied
            | FailureClass::Credentials
            | FailureClass::NotFound
            | FailureClass::Unknown => true,
            FailureClass::Refused | FailureClass::TooLarge => false,
        },
    }
}
