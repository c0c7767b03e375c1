//! Bodies in S3.

use std::time::Duration;

use binpulse::aws::{Deadlines, Shared};
use binpulse::sink::FailureClass;
use binpulse::sink::claim_check::{ClaimCheck, Config, Error};

use crate::aws::faults::{Effect, When};
use crate::aws::{Endpoint, REGION};
use crate::rig::message;

async fn claim_check(endpoint: &Endpoint) -> ClaimCheck {
    let config = Config {
        bucket: "claims".to_owned(),
        prefix: "binpulse/".to_owned(),
        endpoint_url: Some(endpoint.url()),
        deadlines: Deadlines { operation: Duration::from_millis(500), ..Deadlines::default() },
    };
    let shared = Shared::stand_in(REGION).await;
    ClaimCheck::new(config, &shared, REGION).expect("it is complete")
}

#[tokio::test]
async fn the_object_holds_the_body_and_the_message_says_where() {
    let endpoint = Endpoint::start().await;
    endpoint.shared.store().objects.insert("/claims/".to_owned(), Vec::new());
    let claims = claim_check(&endpoint).await;
    let topic = endpoint.topic("t", &[]);
    let original = message(1, 1, 2_000_000, &topic);
    let checked = claims.check_in(original.clone()).await.expect("S3 takes it");
    let again = claims.check_in(original.clone()).await.expect("S3 takes it again");
    assert_eq!(checked, again, "the same body has the same key");

    let size = checked.attributes.last().expect("attributes");
    assert_eq!((&*size.name, size.value.as_str()), ("ExtendedPayloadSize", "2000000"));
    let pointer: serde_json::Value = serde_json::from_str(&checked.body).expect("JSON");
    assert_eq!(pointer[0], "software.amazon.payloadoffloading.PayloadS3Pointer");
    assert_eq!(pointer[1]["s3BucketName"], "claims");
    let path = format!("/claims/{}", pointer[1]["s3Key"].as_str().expect("a key"));
    assert!(path.starts_with("/claims/binpulse/"));
    assert_eq!(endpoint.shared.store().objects[&path], original.body.as_bytes());
}

#[tokio::test]
async fn a_failure_gives_the_message_back_with_its_class() {
    let endpoint = Endpoint::start().await;
    let claims = claim_check(&endpoint).await;
    let topic = endpoint.topic("t", &[]);
    let original = message(1, 1, 100, &topic);
    for (effect, expected) in [
        (None, FailureClass::NotFound),
        (Some(Effect::Refuse(403, "AccessDenied", "no")), FailureClass::Denied),
        (Some(Effect::Refuse(503, "SlowDown", "slower")), FailureClass::Throttled),
        (Some(Effect::Gibberish(500)), FailureClass::ServerError),
        (Some(Effect::Hang), FailureClass::Timeout),
        (Some(Effect::Reset), FailureClass::Unreachable),
    ] {
        endpoint.heal();
        if let Some(effect) = effect {
            endpoint.fault("PutObject", When::Always, effect);
        }
        let (error, back) = claims.check_in(original.clone()).await.expect_err("it fails");
        assert_eq!(*back, original);
        assert!(matches!(error, Error::Put { class, .. } if class == expected), "{error:?}");
    }
}
