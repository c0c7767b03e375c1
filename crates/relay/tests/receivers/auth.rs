//! TLS, client certificates and tokens.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use binpulse_relay::target::Outcome;
use binpulse_relay::target::webhook::{Auth, ClientCredentials, Config, SecretSource, Webhook};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;

use crate::certificates::Authority;
use crate::names::{Asking, NameServer};
use crate::receiver::{Received, Receiver, raw, status};
use crate::world::{assert_outage, config, deliver_all, fixed, request};

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

/// A server of tokens that gives `t1`, `t2` ... with this rest of the answer.
async fn tokens(rest: &'static str) -> Receiver {
    let given = AtomicU32::new(0);
    Receiver::start(move |_| {
        let number = given.fetch_add(1, Ordering::SeqCst) + 1;
        json(200, format!("{{\"access_token\":\"t{number}\"{rest}}}"))
    })
    .await
}

fn json(code: u16, text: String) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::from(text)).expect("an answer")
}

/// To a receiver, with tokens of a server.
fn client(receiver: &Receiver, tokens: u16) -> Webhook {
    let mut config = config("http", "127.0.0.1", receiver.port);
    config.egress.ports.push(tokens);
    config.auth = Auth::Client(ClientCredentials {
        token_url: format!("http://127.0.0.1:{tokens}/oauth/token"),
        client_id: "shop:1".to_owned(),
        client_secret: fixed("relay.to.oauth.client_secret", "p&ss"),
        scope: Some("orders write".to_owned()),
        audience: None,
    });
    Webhook::new(config).expect("fit")
}

fn shown(requests: &[Received]) -> Vec<String> {
    requests.iter().map(|request| request.header("authorization").to_owned()).collect()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_is_refused_or_expires() {
    let server = tokens(",\"token_type\":\"Bearer\",\"expires_in\":3600").await;
    let receiver = Receiver::start(move |request| {
        let third = request.header("webhook-id").ends_with('3');
        let old = request.header("authorization") == "Bearer t1";
        status(if third && old { 401 } else { 200 })
    })
    .await;
    let webhook = client(&receiver, server.port);
    for number in 1..=4 {
        assert_eq!(webhook.deliver(&request(number)).await, Outcome::Delivered);
    }
    let expected = ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"];
    assert_eq!(shown(&receiver.arrived()), expected);
    let asked = server.arrived();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=orders%20write");
    let basic = STANDARD.encode("shop%3A1:p%26ss");
    assert_eq!(asked[0].header("authorization"), format!("Basic {basic}"));
    assert_eq!(asked[0].head.uri.path(), "/oauth/token");

    // Refused for good: once more with a new token, and then it is an outage.
    let refusing = Receiver::start(|_| status(401)).await;
    assert_outage(client(&refusing, server.port).deliver(&request(1)).await, "401");
    assert_eq!(shown(&refusing.arrived()), ["Bearer t3", "Bearer t4"]);

    // One that is over at once is used for one request.
    let short = tokens(",\"expires_in\":0").await;
    let receiver = Receiver::start(|_| status(204)).await;
    let webhook = client(&receiver, short.port);
    for number in 1..=2 {
        assert_eq!(webhook.deliver(&request(number)).await, Outcome::Delivered);
    }
    assert_eq!(shown(&receiver.arrived()), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test]
async fn requests_at_once_share_one_token() {
    let server = tokens("").await;
    let receiver = Receiver::start(|_| status(200)).await;
    let webhook = Arc::new(client(&receiver, server.port));
    let outcomes = deliver_all(webhook, 20, 5).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    assert_eq!((receiver.arrived().len(), server.arrived().len()), (20, 1));
}

#[tokio::test]
async fn a_server_of_tokens_that_gives_none_is_an_outage_and_nothing_is_sent() {
    let receiver = Receiver::start(|_| status(200)).await;
    let long = format!("{{\"access_token\":\"{}\"}}", "x".repeat(20_000));
    let cases = [
        (400, "{\"error\":\"invalid_client\"}".to_owned(), "HTTP 400 Bad Request invalid_client"),
        (500, String::new(), "HTTP 500 Internal Server Error"),
        (302, String::new(), "HTTP 302 Found"),
        (200, String::new(), "found no bearer token"),
        (200, "{\"access_token\":\"\"}".to_owned(), "found no bearer token"),
        (200, "{\"access_token\":\"t\",\"token_type\":\"mac\"}".to_owned(), "no bearer token"),
        (200, "{\"access_token\":\"a\\nb\"}".to_owned(), "found no bearer token"),
        (200, long, "found no bearer token"),
    ];
    for (code, body, words) in cases {
        let server = Receiver::start(move |_| json(code, body.clone())).await;
        let outcome = client(&receiver, server.port).deliver(&request(1)).await;
        assert_outage(outcome.clone(), "relay.to.oauth.token_url, 127.0.0.1:");
        assert_outage(outcome, words);
    }
    assert!(receiver.arrived().is_empty());
    // The rules for addresses hold for it as for the receiver.
    let mut config = config("http", "127.0.0.1", receiver.port);
    config.auth = Auth::Client(ClientCredentials {
        token_url: "https://10.0.0.1/token".to_owned(),
        client_id: "a".to_owned(),
        client_secret: fixed("relay.to.oauth.client_secret", "b"),
        scope: None,
        audience: None,
    });
    config.egress.ports.push(443);
    let error = Webhook::new(config).expect_err("a private address").to_string();
    assert!(error.starts_with("relay.to.oauth.token_url: found 10.0.0.1"), "{error}");
}
