//! Requests of binpulse's relay: who receives them verifies them first. The signatures are those of
//! [Standard Webhooks](https://www.standardwebhooks.com), version 1.
//!
//! ```no_run
//! use std::time::SystemTime;
//! use binpulse_client::verify_webhook;
//! # fn take(headers: &std::collections::HashMap<String, String>, body: &[u8]) -> Result<(), binpulse_client::webhook::WebhookError> {
//!
//! // During a rotation: the new secret and the old one.
//! let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
//! let header = |name: &str| headers.get(name).map(String::as_str);
//! let id = verify_webhook(body, header, &secrets, SystemTime::now())?;
//! // The same rows always come under the same id: act once for each.
//! # let _ = id;
//! # Ok(())
//! # }
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How far the clocks of sender and receiver may differ, and how long a request may be on its way.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// Base64 of secrets with or without padding: both are in use.
const SECRET_BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signatures that are looked at: one for each secret of the sender.
const SIGNATURES_MAX: usize = 16;

/// Why a request is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// A header is missing.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// The header `webhook-timestamp` is no number of seconds.
    #[error("the header webhook-timestamp is no number of seconds since 1970")]
    Timestamp,
    /// The request is too old, or of the future: perhaps a repeated one.
    #[error("the request was signed {apart_seconds} s from now, at most {} s are allowed", TOLERANCE.as_secs())]
    Apart {
        /// How far away, seconds.
        apart_seconds: u64,
    },
    /// A secret of the receiver's own is none.
    #[error("secret {0} of the receiver is not whsec_ and base64")]
    Secret(usize),
    /// No signature is of one of the secrets.
    #[error("no signature fits any of the secrets")]
    Signature,
}

/// Verifies a request and gives its id, which is the same however often the same rows are sent.
/// `header` gives a header by its name in small letters; one of `secrets` must have signed.
pub fn verify_webhook<'h>(
    body: &[u8],
    header: impl Fn(&str) -> Option<&'h str>,
    secrets: &[impl AsRef<str>],
    now: SystemTime,
) -> Result<&'h str, WebhookError> {
    let required = |name| header(name).ok_or(WebhookError::Missing(name));
    let id = required("webhook-id")?;
    let timestamp = required("webhook-timestamp")?;
    let signatures = required("webhook-signature")?;
    // Rust's own reader takes a sign too.
    let digits = Some(timestamp).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let signed_at = digits.and_then(|text| text.parse::<u64>().ok());
    let signed_at = signed_at.ok_or(WebhookError::Timestamp)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let apart_seconds = now.abs_diff(signed_at);
    if apart_seconds > TOLERANCE.as_secs() {
        return Err(WebhookError::Apart { apart_seconds });
    }
    for (number, secret) in secrets.iter().enumerate() {
        let key = key(secret.as_ref()).ok_or(WebhookError::Secret(number))?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&key).map_err(|_| WebhookError::Secret(number))?;
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        let fits = |signature: &str| {
            let bytes = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            // Takes the same time whichever byte differs.
            bytes.is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok())
        };
        if signatures.split(' ').take(SIGNATURES_MAX).any(fits) {
            return Ok(id);
        }
    }
    Err(WebhookError::Signature)
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret);
    SECRET_BASE64.decode(text).ok().filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verified(
        body: &[u8],
        signatures: &str,
        secrets: &[&str],
        now: u64,
    ) -> Result<String, WebhookError> {
        let header = |name: &str| match name {
            "webhook-id" => Some(ID),
            "webhook-timestamp" => Some("1614265330"),
            "webhook-signature" => Some(signatures),
            _ => None,
        };
        let now = UNIX_EPOCH + Duration::from_secs(now);
        verify_webhook(body, header, secrets, now).map(str::to_owned)
    }

    #[test]
    fn only_what_was_signed_is_believed() {
        let now = 1_614_265_330;
        let id = Ok(ID.to_owned());
        assert_eq!(verified(BODY, SIGNATURE, &[SECRET], now), id);
        assert_eq!(verified(BODY, SIGNATURE, &[SECRET], now + 300), id);
        assert_eq!(verified(BODY, SIGNATURE, &[SECRET], now - 300), id);
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        assert_eq!(verified(BODY, SIGNATURE, &[other, SECRET], now), id);
        let two = format!("v1,AAAA v1a,x {SIGNATURE}");
        assert_eq!(verified(BODY, &two, &[SECRET], now), id);
        let unfit = Err(WebhookError::Signature);
        assert_eq!(verified(b"{}", SIGNATURE, &[SECRET], now), unfit);
        assert_eq!(verified(BODY, SIGNATURE, &[other], now), unfit);
        assert_eq!(verified(BODY, &SIGNATURE.replace("v1,", "v2,"), &[SECRET], now), unfit);
        assert_eq!(verified(BODY, "", &[SECRET], now), unfit);
        assert_eq!(verified(BODY, SIGNATURE, &[] as &[&str], now), unfit);
        let apart = |apart_seconds| Err(WebhookError::Apart { apart_seconds });
        assert_eq!(verified(BODY, SIGNATURE, &[SECRET], now + 301), apart(301));
        assert_eq!(verified(BODY, SIGNATURE, &[SECRET], now - 301), apart(301));
        assert_eq!(verified(BODY, SIGNATURE, &["whsec_!"], now), Err(WebhookError::Secret(0)));
        assert_eq!(verified(BODY, SIGNATURE, &["whsec_"], now), Err(WebhookError::Secret(0)));
        let none = verify_webhook(BODY, |_| None, &[SECRET], SystemTime::now());
        assert_eq!(none, Err(WebhookError::Missing("webhook-id")));
    }
}
