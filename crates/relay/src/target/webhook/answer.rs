//! What an answer means. Pure. What follows from it, and when a row is parked: `target/retry.rs`, applied in
//! `route/delivery.rs`.

use std::time::{Duration, SystemTime};

use binpulse_core::excerpt::excerpt_bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, Response, StatusCode};

use crate::target::Outcome;

/// Longest time that a receiver can ask for; who retries may cap it further.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What the head of an answer says. Its body says nothing: only the status counts.
pub(super) fn outcome<B>(answer: &Response<B>, now: SystemTime) -> Outcome {
    let status = answer.status();
    if status.is_success() {
        return Outcome::Delivered;
    }
    let mut text = status_line(answer);
    if status == StatusCode::GONE {
        return Outcome::Gone { answer: text };
    }
    if status.is_redirection() {
        text.push_str(": redirects are not followed, relay.to.url has to name the receiver itself");
    }
    Outcome::Failed {
        answer: text,
        retry_after: retry_after(answer.headers(), now),
        is_outage: is_outage(status),
    }
}

/// Whether a status speaks of the endpoint (it is away, moved, overloaded, or does not know us),
/// not of the one request.
fn is_outage(status: StatusCode) -> bool {
    status.is_server_error()
        || status.is_redirection()
        || status.is_informational()
        || matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::MISDIRECTED_REQUEST
                | StatusCode::TOO_EARLY
                | StatusCode::UPGRADE_REQUIRED
                | StatusCode::TOO_MANY_REQUESTS
        )
}

/// `HTTP 503 Service Unavailable`.
pub(super) fn status_line<B>(answer: &Response<B>) -> String {
    let status = answer.status();
    let reason = match answer.extensions().get::<ReasonPhrase>() {
        Some(reason) => excerpt_bytes(reason.as_bytes()),
        None => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    format!("HTTP {} {reason}", status.as_u16()).trim_end().to_owned()
}

/// Seconds, or a date; anything else is no wish.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the most that is granted.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(text).ok()?;
        at.duration_since(now).unwrap_or_default()
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(status: u16, headers: &[(&str, &str)]) -> Outcome {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        outcome(&answer.body(()).expect("an answer"), now)
    }

    #[test]
    fn each_status_has_its_meaning() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status, &[]), Outcome::Delivered, "{status}");
        }
        assert_eq!(of(410, &[]), Outcome::Gone { answer: "HTTP 410 Gone".to_owned() });
        let outages = [
            101, 301, 302, 303, 304, 307, 308, 401, 403, 404, 405, 407, 408, 421, 425, 426, 429,
            500, 501, 502, 503, 504, 520, 599,
        ];
        for status in outages {
            assert!(matches!(of(status, &[]), Outcome::Failed { is_outage: true, .. }), "{status}");
        }
        for status in
            [400, 402, 406, 409, 411, 412, 413, 414, 415, 422, 423, 431, 451, 499, 600, 999]
        {
            assert!(
                matches!(of(status, &[]), Outcome::Failed { is_outage: false, .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_is_capped() {
        let asked = |value| {
            let outcome = of(429, &[("retry-after", value)]);
            let Outcome::Failed { retry_after, .. } = outcome else { panic!("{outcome:?}") };
            retry_after.map(|pause| pause.as_secs())
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked("0"), Some(0));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(asked("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:30 GMT"), Some(0), "it has passed");
        assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT"), Some(86_400));
        assert_eq!(asked("99999999999999999999999999"), Some(86_400));
        for nonsense in ["", "-1", "1.5", "+3", "soon", "Sun, 99 Nov 1994 08:49:37 GMT", "\u{a0}"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let Ok(value) = hyper::header::HeaderValue::from_bytes(&value) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
            let asked = retry_after(&headers, SystemTime::now());
            prop_assert!(asked.unwrap_or_default() <= RETRY_AFTER_MAX);
        }
    }
}
