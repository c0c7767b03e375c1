//! What arrives is what the official libraries of Standard Webhooks verify.

use binpulse_relay::target::webhook::Webhook;
use binpulse_relay::target::{Outcome, Request};
use standardwebhooks::Webhook as Verifier;

use crate::receiver::{Received, Receiver, status};
use crate::world::{CURRENT, FORMER, config, failure, plain, request, secret};

/// Answers 204 to what the library verifies with one secret, and 401 to everything else.
async fn verifying(key: &'static str) -> Receiver {
    let verifier = Verifier::new(key).expect("a secret");
    Receiver::start(move |arrived: &Received| {
        match verifier.verify(&arrived.body, &arrived.head.headers) {
            Ok(()) => status(204),
            Err(_) => status(401),
        }
    })
    .await
}

#[tokio::test]
async fn the_official_library_verifies_with_the_current_secret_and_with_the_former_one() {
    for key in [CURRENT, FORMER] {
        let receiver = verifying(key).await;
        let webhook = plain(receiver.port);
        for number in 0..50 {
            let big = vec![b'x'; usize::try_from(number).expect("small") * 10_000];
            let request = Request { body: big.into(), ..request(number) };
            assert_eq!(webhook.deliver(&request).await, Outcome::Delivered);
        }
        assert_eq!(receiver.arrived().len(), 50);
    }
}

#[tokio::test]
async fn a_receiver_that_knows_neither_secret_refuses() {
    let receiver = verifying("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await;
    let (answer, is_outage) = failure(plain(receiver.port).deliver(&request(1)).await);
    assert_eq!(answer, "HTTP 401 Unauthorized");
    assert!(is_outage, "the next request would be refused as well");
}

#[tokio::test]
async fn the_request_is_what_the_page_for_receivers_says() {
    let receiver = Receiver::start(|_| status(200)).await;
    let request = request(7);
    assert_eq!(plain(receiver.port).deliver(&request).await, Outcome::Delivered);
    let arrived = &receiver.arrived()[0];
    assert_eq!(arrived.head.method, "POST");
    assert_eq!(arrived.head.uri, "/hooks?a=b");
    assert_eq!(arrived.header("host"), format!("127.0.0.1:{}", receiver.port));
    assert_eq!(arrived.header("content-type"), "application/json");
    assert_eq!(arrived.header("content-length"), request.body.len().to_string());
    assert_eq!(arrived.header("webhook-id"), request.id);
    assert_eq!(arrived.header("webhook-signature").split(' ').count(), 2);
    assert!(arrived.header("user-agent").starts_with("binpulse/"));
    assert_eq!(arrived.body, request.body);
    let mut names: Vec<_> =
        arrived.head.headers.keys().map(hyper::header::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn an_id_that_would_make_the_signature_ambiguous_is_never_sent() {
    let receiver = Receiver::start(|_| status(200)).await;
    let webhook = plain(receiver.port);
    for id in ["", "a.b", "a\nb", "a\u{0}b"] {
        let request = Request { id: id.to_owned(), ..request(1) };
        let outcome = webhook.deliver(&request).await;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_rotation_of_the_secret_needs_no_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, CURRENT).expect("written");
    let receiver = verifying(FORMER).await;
    let mut config = config("http", "127.0.0.1", receiver.port);
    config.secrets = vec![binpulse_relay::target::webhook::SecretSource::file("a", &path)];
    let webhook = Webhook::new(config).expect("fit");
    assert!(matches!(webhook.deliver(&request(1)).await, Outcome::Failed { .. }));
    std::fs::write(&path, FORMER).expect("written");
    assert_eq!(webhook.deliver(&request(2)).await, Outcome::Delivered);
}

#[tokio::test]
async fn no_secret_and_no_path_is_in_a_message() {
    let (_socket, port) = crate::receiver::closed_port();
    let webhook = plain(port);
    let (answer, _) = failure(webhook.deliver(&request(1)).await);
    let shown = format!("{answer} {webhook:?} {:?}", secret(CURRENT));
    assert!(!shown.contains("hooks") && !shown.contains("whsec_"), "{shown}");
    assert!(!shown.contains("C2FVs"), "{shown}");
}
