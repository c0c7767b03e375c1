//! The one place where a failure becomes a decision. Pure.
//!
//! Codes are matched as text: SNS documents more codes than its model types (throttling comes under
//! half a dozen names), and KMS's come with HTTP 400.

use crate::sink::Class;

/// What is done about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Send it again after a jittered pause; the shared rate is cut first if it was too fast.
    Retry,
    /// Keep everything, try with one call now and then: an operator has to fix something.
    Wait,
    /// Send the entries again in smaller calls; one that fails alone is refused for good.
    Split,
    /// Send the entries again in smaller calls; one that fails alone waits as [`Action::Wait`] does.
    Shrink,
}

/// The code of HTTP status 413 without a code of SNS: something on the way takes no call of this size,
/// which says nothing against a message.
pub(super) const CALL_TOO_LARGE: &str = "CallTooLarge";

/// What is known about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Class, for metrics and the verdict.
    pub(super) class: Class,
    /// The service's error code, or the kind of failure where it gave none.
    pub(super) code: String,
    /// Words.
    pub(super) text: String,
}

impl Failure {
    /// The decision.
    pub(super) fn action(&self) -> Action {
        match self.class {
            Class::Throttled | Class::ServerError | Class::Timeout | Class::Unreachable => {
                Action::Retry
            }
            Class::Unknown if self.code == CALL_TOO_LARGE => Action::Shrink,
            Class::Denied | Class::Credentials | Class::NotFound | Class::Unknown => Action::Wait,
            Class::Refused | Class::TooLarge => Action::Split,
        }
    }
}

/// Class of an error of a whole call.
pub(in crate::sink) fn classify_call(code: &str, status: Option<u16>) -> Class {
    known(code).unwrap_or(match status {
        Some(429) => Class::Throttled,
        Some(401 | 403) => Class::Denied,
        Some(404) => Class::NotFound,
        Some(500..) | None => Class::ServerError,
        // Nobody knows what it means, so it must neither lose messages nor put all of them into
        // quarantine: it is waited out, and shown.
        Some(_) => Class::Unknown,
    })
}

/// Class of the error of one entry of a batch. A known code counts for more than the flag: KMS's
/// errors come with `SenderFault` too, but are not the message's.
pub(super) fn classify_entry(code: &str, sender_fault: bool) -> Class {
    known(code).unwrap_or(if sender_fault { Class::Refused } else { Class::ServerError })
}

fn known(code: &str) -> Option<Class> {
    let code = code.strip_suffix("Exception").unwrap_or(code);
    let class = match code {
        "Throttled"
        | "Throttling"
        | "KMSThrottling"
        | "KMSThrottled"
        | "RequestThrottled"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "LimitExceeded"
        | "ProvisionedThroughputExceeded" => Class::Throttled,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceFailure"
        | "TransientError" => Class::ServerError,
        "RequestTimeout" => Class::Timeout,
        "AuthorizationError" | "AccessDenied" | "KMSDisabled" | "KMSInvalidState"
        | "KMSNotFound" | "KMSAccessDenied" | "KMSOptInRequired" | "InvalidSecurity"
        | "OptInRequired" | "EndpointDisabled" => Class::Denied,
        "ExpiredToken"
        | "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "InvalidAccessKeyId"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "AuthFailure"
        | "InvalidToken" => Class::Credentials,
        "NotFound" | "ResourceNotFound" | "TopicNotFound" => Class::NotFound,
        "BatchRequestTooLong" | "TooManyEntriesInBatchRequest" | "MessageTooLong" => {
            Class::TooLarge
        }
        "InvalidParameter"
        | "InvalidParameterValue"
        | "ParameterValueInvalid"
        | "InvalidMessageContents"
        | "InvalidBatchEntryId"
        | "BatchEntryIdsNotDistinct"
        | "EmptyBatchRequest" => Class::Refused,
        _ => return None,
    };
    Some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_class() {
        let cases: &[(&str, Option<u16>, Class)] = &[
            ("Throttled", Some(429), Class::Throttled),
            ("Throttling", Some(400), Class::Throttled),
            ("ThrottlingException", Some(400), Class::Throttled),
            ("ThrottledException", Some(400), Class::Throttled),
            ("KMSThrottling", Some(400), Class::Throttled),
            ("KMSThrottlingException", Some(400), Class::Throttled),
            ("TooManyRequestsException", Some(400), Class::Throttled),
            ("RequestLimitExceeded", Some(503), Class::Throttled),
            ("InternalError", Some(500), Class::ServerError),
            ("whatever", Some(503), Class::ServerError),
            ("whatever", Some(429), Class::Throttled),
            ("AuthorizationError", Some(403), Class::Denied),
            ("KMSDisabled", Some(400), Class::Denied),
            ("KMSInvalidState", Some(400), Class::Denied),
            ("KMSNotFound", Some(400), Class::Denied),
            ("KMSAccessDenied", Some(400), Class::Denied),
            ("KMSOptInRequired", Some(403), Class::Denied),
            ("ExpiredToken", Some(403), Class::Credentials),
            ("InvalidClientTokenId", Some(403), Class::Credentials),
            ("NotFound", Some(404), Class::NotFound),
            ("BatchRequestTooLong", Some(400), Class::TooLarge),
            ("TooManyEntriesInBatchRequest", Some(400), Class::TooLarge),
            ("InvalidParameter", Some(400), Class::Refused),
            ("ParameterValueInvalid", Some(400), Class::Refused),
            ("NeverHeardOf", Some(400), Class::Unknown),
            ("", Some(413), Class::Unknown),
            ("RequestEntityTooLarge", Some(413), Class::Unknown),
            ("BatchRequestTooLong", Some(413), Class::TooLarge),
        ];
        for (code, status, class) in cases {
            assert_eq!(classify_call(code, *status), *class, "{code} {status:?}");
        }
    }

    #[test]
    fn only_what_is_known_to_be_the_message_s_fault_is_split() {
        for class in Class::ALL {
            let failure = Failure { class, code: String::new(), text: String::new() };
            let expected = if matches!(class, Class::Refused | Class::TooLarge) {
                Action::Split
            } else if class.passes() {
                Action::Retry
            } else {
                Action::Wait
            };
            assert_eq!(failure.action(), expected, "{class:?}");
        }
    }

    #[test]
    fn an_entry_at_fault_is_refused_unless_its_code_says_otherwise() {
        assert_eq!(classify_entry("NeverHeardOf", true), Class::Refused);
        assert_eq!(classify_entry("NeverHeardOf", false), Class::ServerError);
        assert_eq!(classify_entry("InvalidParameter", true), Class::Refused);
        assert_eq!(classify_entry("KMSDisabled", true), Class::Denied);
        assert_eq!(classify_entry("KMSThrottling", true), Class::Throttled);
        assert_eq!(classify_entry("InternalError", false), Class::ServerError);
    }
}
