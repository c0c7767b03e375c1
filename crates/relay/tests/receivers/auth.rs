//! TLS, client certificates and tokens.

use std::sync::{Arc, Mutex};

use binpulse_relay::target::Outcome;
use binpulse_relay::target::webhook::{Auth, Config, SecretSource, Webhook};

use crate::certificates::Authority;
use crate::names::{Asking, NameServer};
use crate::receiver::{Receiver, raw, status};
use crate::world::{assert_outage, config, fixed, request};

/// To `partner.example`, which leads to loopback.
async fn tls(port: u16, authority: &Authority, change: impl Fn(&mut Config)) -> Webhook {
    let mut config = config("https", "partner.example", port);
    config.authorities = Some(authority.source());
    change(&mut config);
    let server = NameServer::start(vec![vec!["127.0.0.1".parse().expect("an address")]]).await;
    Webhook::with_resolver(config, Asking::new(&server)).expect("fit")
}

#[tokio::test]
async fn the_certificate_has_to_be_for_the_name_of_the_url_and_of_a_known_authority() {
    let authority = Authority::new();
    let named = Receiver::start_tls(authority.server("partner.example"), |_| status(200)).await;
    let webhook = tls(named.port, &authority, |_| {}).await;
    for number in 0..3 {
        assert_eq!(webhook.deliver(&request(number)).await, Outcome::Delivered);
    }
    assert_eq!(named.connections(), 1, "a connection is kept");

    let other = Receiver::start_tls(authority.server("other.example"), |_| status(200)).await;
    let webhook = tls(other.port, &authority, |_| {}).await;
    assert_outage(webhook.deliver(&request(1)).await, "not valid for name");

    let unknown = tls(named.port, &Authority::new(), |_| {}).await;
    assert_outage(unknown.deliver(&request(1)).await, "invalid peer certificate");
    let machine = tls(named.port, &authority, |config| config.authorities = None).await;
    assert_outage(machine.deliver(&request(1)).await, "invalid peer certificate");
    assert_eq!(other.arrived().len() + named.arrived().len(), 3);
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_an_outage() {
    let port = raw(|stream, _| async move { drop(stream) }).await;
    let webhook = tls(port, &Authority::new(), |config| {
        config.timeout = std::time::Duration::from_millis(500);
    })
    .await;
    assert_outage(webhook.deliver(&request(1)).await, "the TLS handshake");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_read_again_for_each_connection() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let close = |_: &_| {
        let mut answer = status(200);
        answer.headers_mut().insert("connection", "close".parse().expect("a value"));
        answer
    };
    let server = servers.server_for("partner.example", &clients);
    let receiver = Receiver::start_tls(server, close).await;
    let known = clients.identity("relay.example");
    let webhook = tls(receiver.port, &servers, |config| config.auth = known.auth()).await;
    assert_eq!(webhook.deliver(&request(1)).await, Outcome::Delivered);

    let none = tls(receiver.port, &servers, |_| {}).await;
    assert!(matches!(none.deliver(&request(1)).await, Outcome::Failed { is_outage: true, .. }));

    // Renewed: first to one that nobody knows, then to a good one again.
    let stranger = Authority::new().identity("relay.example");
    let current = Arc::new(Mutex::new(known));
    let source = |setting, read: fn(&crate::certificates::Identity) -> String| {
        let current = Arc::clone(&current);
        SecretSource::new(setting, move || Ok(read(&current.lock().expect("no panic"))))
    };
    let auth = Auth::Certificate {
        certificate: source("relay.to.certificate", |identity| identity.certificate.clone()),
        key: source("relay.to.key", |identity| identity.key.clone()),
    };
    let renewing = tls(receiver.port, &servers, |config| config.auth = auth.clone()).await;
    assert_eq!(renewing.deliver(&request(2)).await, Outcome::Delivered);
    *current.lock().expect("no panic") = stranger;
    assert!(matches!(renewing.deliver(&request(3)).await, Outcome::Failed { is_outage: true, .. }));
    *current.lock().expect("no panic") = clients.identity("relay.example");
    assert_eq!(renewing.deliver(&request(3)).await, Outcome::Delivered);
    current.lock().expect("no panic").key = "nothing".to_owned();
    assert_outage(renewing.deliver(&request(4)).await, "relay.to.key: found a text that is none");
}

#[tokio::test]
async fn certificates_that_are_none_are_refused_at_start() {
    let known = Authority::new().identity("relay.example");
    let other = Authority::new().identity("relay.example");
    let auth = |certificate: &str, key: &str| Auth::Certificate {
        certificate: fixed("relay.to.certificate", certificate),
        key: fixed("relay.to.key", key),
    };
    let cases = [
        (auth("", &known.key), "relay.to.certificate: found none"),
        (auth(&known.certificate, &known.certificate), "relay.to.key: found a text that is none"),
        (auth(&known.certificate, &other.key), "relay.to.key: found"),
    ];
    for (auth, expected) in cases {
        let mut config = config("https", "127.0.0.1", 443);
        config.auth = auth;
        let error = Webhook::new(config).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let mut config = config("https", "127.0.0.1", 443);
    config.authorities = Some(fixed("relay.to.ca", "nothing"));
    let error = Webhook::new(config).expect_err("no authority").to_string();
    assert!(error.starts_with("relay.to.ca: found none"), "{error}");
}

#[tokio::test]
async fn a_token_is_sent_as_it_is_at_each_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").expect("written");
    let receiver = Receiver::start(|_| status(200)).await;
    let mut config = config("http", "127.0.0.1", receiver.port);
    config.auth = Auth::Bearer(SecretSource::file("relay.to.bearer", &path));
    let webhook = Webhook::new(config).expect("fit");
    assert_eq!(webhook.deliver(&request(1)).await, Outcome::Delivered);
    std::fs::write(&path, "second\n").expect("written");
    assert_eq!(webhook.deliver(&request(2)).await, Outcome::Delivered);
    std::fs::remove_file(&path).expect("removed");
    assert_outage(webhook.deliver(&request(3)).await, "relay.to.bearer: found the file");
    let arrived = receiver.arrived();
    let tokens: Vec<_> = arrived.iter().map(|request| request.header("authorization")).collect();
    assert_eq!(tokens, ["Bearer first", "Bearer second"]);
}
