//! What a failure of SQS or SNS means. Pure.
//!
//! Codes are matched as text: the services document more codes than their models type, and the same
//! failure comes under several names.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use binpulse_core::excerpt::{chain, excerpt};

use super::Outcome;

/// A failure of a call, or of one entry of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// Words, without a body of ours.
    pub(super) text: String,
}

/// What is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The service, the way to it, our rights, or a limit of rates: the request may stay as it is.
    Service,
    /// What was sent is too large.
    TooLarge,
    /// What was sent holds something that the service never accepts.
    Contents,
    /// Something else about what was sent.
    Request,
}

impl Failure {
    /// What it means for a request that was sent alone, or was named as the one that failed.
    pub(super) fn outcome(&self) -> Outcome {
        let answer = self.text.clone();
        match self.cause {
            Cause::TooLarge | Cause::Contents => Outcome::Refused { answer },
            Cause::Service | Cause::Request => Outcome::Failed {
                answer,
                retry_after: None,
                is_outage: self.cause == Cause::Service,
            },
        }
    }

    /// The whole call failed.
    pub(super) fn of_call<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let cause = match (error.code(), status) {
            (Some(code), _) => known(code).unwrap_or(Cause::Service),
            (None, Some(413)) => Cause::TooLarge,
            (None, _) => Cause::Service,
        };
        let words = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => chain(error),
        };
        let text = match status {
            Some(status) => excerpt(&format!("{words} (HTTP {status})")),
            None => excerpt(&words),
        };
        Self { cause, text }
    }

    /// One entry failed. What is known of the code counts for more than the flag: failures of KMS come
    /// as the sender's too.
    pub(super) fn of_entry(code: &str, message: Option<&str>, sender_fault: bool) -> Self {
        let cause = match known(code) {
            Some(cause) => cause,
            None if sender_fault => Cause::Request,
            None => Cause::Service,
        };
        let text = excerpt(&format!("{code}: {}", message.unwrap_or("no more is said")));
        Self { cause, text }
    }

    /// No answer came in time.
    pub(super) fn of_time(timeout: Duration) -> Self {
        let text = format!("no answer within {timeout:?}");
        Self { cause: Cause::Service, text }
    }

    /// The answer does not name the entry.
    pub(super) fn of_silence() -> Self {
        let text = "the answer names this entry neither as successful nor as failed".to_owned();
        Self { cause: Cause::Service, text }
    }

    /// Something that the SDK did not let us build.
    pub(super) fn of_contents(error: &(dyn StdError + 'static)) -> Self {
        Self { cause: Cause::Contents, text: chain(error) }
    }
}

fn known(code: &str) -> Option<Cause> {
    let code = code.rsplit(['.', '#']).next().unwrap_or(code);
    let code = code.strip_suffix("Exception").unwrap_or(code);
    match code {
        "BatchRequestTooLong" | "MessageTooLong" | "RequestEntityTooLarge" => Some(Cause::TooLarge),
        "InvalidMessageContents" => Some(Cause::Contents),
        "InvalidParameter"
        | "InvalidParameterValue"
        | "ParameterValueInvalid"
        | "InvalidAttributeValue"
        | "InvalidBatchEntryId" => Some(Cause::Request),
        "AccessDenied"
        | "AuthorizationError"
        | "EndpointDisabled"
        | "ExpiredToken"
        | "InternalError"
        | "InternalFailure"
        | "InvalidSecurity"
        | "NonExistentQueue"
        | "NotFound"
        | "OverLimit"
        | "QueueDoesNotExist"
        | "RequestThrottled"
        | "ServiceUnavailable"
        | "SlowDown"
        | "TooManyRequests"
        | "UnsupportedOperation" => Some(Cause::Service),
        code if code.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("kms")) => {
            Some(Cause::Service)
        }
        code if code.contains("Throttl") => Some(Cause::Service),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_cause() {
        let cases = [
            ("RequestThrottled", true, Cause::Service),
            ("ThrottlingException", true, Cause::Service),
            ("KmsThrottled", true, Cause::Service),
            ("KMSDisabledException", true, Cause::Service),
            ("AWS.SimpleQueueService.NonExistentQueue", true, Cause::Service),
            ("QueueDoesNotExist", true, Cause::Service),
            ("AccessDeniedException", true, Cause::Service),
            ("InternalError", false, Cause::Service),
            ("NeverHeardOf", false, Cause::Service),
            ("NeverHeardOf", true, Cause::Request),
            ("InvalidParameterValue", true, Cause::Request),
            ("InvalidParameter", false, Cause::Request),
            ("InvalidMessageContents", true, Cause::Contents),
            ("AWS.SimpleQueueService.BatchRequestTooLong", true, Cause::TooLarge),
            ("com.amazonaws.sqs#BatchRequestTooLong", true, Cause::TooLarge),
            ("", true, Cause::Request),
            ("k\u{fc}ms", true, Cause::Request),
        ];
        for (code, sender_fault, cause) in cases {
            assert_eq!(Failure::of_entry(code, None, sender_fault).cause, cause, "{code}");
        }
    }
}
