//! No name leads into a private network.

use std::net::IpAddr;
use std::sync::Arc;

use binpulse_relay::target::Outcome;
use binpulse_relay::target::webhook::{Config, Webhook};

use crate::certificates::Authority;
use crate::names::{Asking, NameServer};
use crate::receiver::{Receiver, status};
use crate::world::{SHORT, assert_outage, config, failure, request};

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

async fn webhook(config: Config, answers: &[&[&str]]) -> (Webhook, NameServer) {
    let answers = answers.iter().map(|texts| addresses(texts)).collect();
    let server = NameServer::start(answers).await;
    let webhook = Webhook::with_resolver(config, Asking::new(&server)).expect("fit");
    (webhook, server)
}

/// Nothing but public addresses may be reached, on the port on which a receiver listens.
fn strict(port: u16) -> Config {
    let mut config = config("https", "partner.example", port);
    config.egress.allow.clear();
    config
}

#[tokio::test]
async fn a_name_that_turns_to_a_private_address_is_not_followed() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(authority.server("partner.example"), |_| status(200)).await;
    let answers: [&[&str]; 9] = [
        &["127.0.0.1"],
        &["169.254.169.254"],
        &["::ffff:10.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["::1"],
        &["fd00:ec2::254"],
        &["64:ff9b::7f00:1"],
        &["100.100.100.200", "10.0.0.1", "fe80::1"],
        &["0.0.0.0"],
    ];
    let mut strict = strict(receiver.port);
    strict.authorities = Some(authority.source());
    let (webhook, server) = webhook(strict, &answers).await;
    for answer in answers {
        let (text, is_outage) = failure(webhook.deliver(&request(1)).await);
        let first = answer[0];
        assert!(text.contains(&format!("leads to {first}, which may not be reached")), "{text}");
        assert!(text.contains("relay.egress.allow") && is_outage, "{text}");
    }
    assert_eq!(server.resolutions(), answers.len());
    assert_eq!(receiver.connections(), 0, "nothing was even connected");
}

/// A connection that stands says nothing about the next one.
#[tokio::test]
async fn the_name_is_resolved_for_each_connection_and_every_answer_is_checked() {
    let receiver = Receiver::start(|_| {
        let mut answer = status(200);
        answer.headers_mut().insert("connection", "close".parse().expect("a value"));
        answer
    })
    .await;
    let mut config = config("http", "partner.example", receiver.port);
    config.egress.https_only = false;
    // As if 127.0.0.2 were public: it is where the receiver can be reached in a test.
    config.egress.allow = vec!["127.0.0.1/32".parse().expect("a network")];
    let answers: [&[&str]; 4] =
        [&["127.0.0.1"], &["169.254.169.254"], &["10.0.0.1", "127.0.0.1", "::1"], &["127.0.0.9"]];
    let (webhook, server) = webhook(config, &answers).await;
    assert_eq!(webhook.deliver(&request(1)).await, Outcome::Delivered);
    assert_outage(webhook.deliver(&request(2)).await, "leads to 169.254.169.254");
    assert_eq!(webhook.deliver(&request(3)).await, Outcome::Delivered, "the allowed one is used");
    assert_outage(webhook.deliver(&request(4)).await, "leads to 127.0.0.9");
    assert_eq!(server.resolutions(), 4);
    assert_eq!(receiver.connections(), 2);
    assert!(receiver.arrived()[0].header("host").starts_with("partner.example:"));
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_followed_by_the_next() {
    let receiver = Receiver::start(|_| status(200)).await;
    let mut config = config("http", "partner.example", receiver.port);
    config.egress.https_only = false;
    config.egress.allow.push("::1/128".parse().expect("a network"));
    // The receiver listens on 127.0.0.1 alone.
    let (webhook, _server) = webhook(config, &[&["127.0.0.77", "127.0.0.1", "::1"]]).await;
    assert_eq!(webhook.deliver(&request(1)).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_name_without_an_address_and_a_name_server_that_is_silent_are_outages() {
    let (nobody, _server) = webhook(strict(443), &[&[]]).await;
    assert_outage(nobody.deliver(&request(1)).await, "the name has no address");

    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let server = silent.local_addr().expect("an address");
    let resolver = Arc::new(Asking { server, asked: std::sync::Mutex::default() });
    let mut config = strict(443);
    config.timeout = SHORT;
    let webhook = Webhook::with_resolver(config, resolver).expect("fit");
    assert_outage(webhook.deliver(&request(1)).await, "resolving the name: timed out");
}

/// The resolver of production, with forms of loopback that are no literal addresses of ours.
#[tokio::test]
async fn the_system_s_resolver_leads_to_loopback_only_where_it_is_allowed() {
    let receiver = Receiver::start(|_| status(200)).await;
    let mut allowed = config("http", "localhost", receiver.port);
    allowed.egress.allow.push("::1/128".parse().expect("a network"));
    let webhook = Webhook::new(allowed.clone()).expect("fit");
    assert_eq!(webhook.deliver(&request(1)).await, Outcome::Delivered);

    for host in ["localhost", "127.1", "0x7f000001", "2130706433", "017700000001"] {
        let mut refused = allowed.clone();
        refused.url = format!("http://{host}:{}/", receiver.port);
        refused.egress.https_only = false;
        refused.egress.allow.clear();
        let outcome = Webhook::new(refused).expect("a name").deliver(&request(2)).await;
        let (text, _) = failure(outcome);
        // Some resolvers take the odd forms for names that do not exist.
        assert!(text.contains("may not be reached") || text.contains("resolving"), "{text}");
    }
    assert_eq!(receiver.arrived().len(), 1);
}

#[tokio::test]
async fn without_tls_a_name_that_leaves_loopback_is_not_followed() {
    let receiver = Receiver::start(|_| status(200)).await;
    let mut config = config("http", "localhost", receiver.port);
    config.egress.allow.push("10.0.0.0/8".parse().expect("a network"));
    let (webhook, _server) = webhook(config, &[&["10.0.0.1"]]).await;
    assert_outage(webhook.deliver(&request(1)).await, "leads to 10.0.0.1");
}
