//! Through a proxy that opens tunnels.

use std::sync::{Arc, Mutex};

use binpulse_relay::target::Outcome;
use binpulse_relay::target::webhook::{Config, Proxy, Webhook};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::certificates::Authority;
use crate::names::{Asking, NameServer};
use crate::receiver::{Receiver, listen, local, status};
use crate::world::{SHORT, assert_outage, config, failure, fixed, request};

/// What a proxy does with a tunnel that is asked for.
#[derive(Clone, Copy)]
enum Answer {
    Opens { port: u16 },
    Says(&'static [u8]),
    Hangs,
}

/// A proxy, and the heads of the requests it got.
async fn proxy(answer: Answer) -> (u16, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a head"));
                }
                seen.lock().expect("no panic").push(String::from_utf8(head).expect("text"));
                match answer {
                    Answer::Opens { port } => {
                        let mut target = TcpStream::connect(local(port)).await.expect("connected");
                        stream.write_all(b"HTTP/1.1 200 Here\r\n\r\n").await.expect("sent");
                        drop(copy_bidirectional(&mut stream, &mut target).await);
                    }
                    Answer::Says(text) => stream.write_all(text).await.expect("sent"),
                    Answer::Hangs => std::future::pending().await,
                }
            });
        }
    });
    (port, heads)
}

/// To `partner.example` through the proxy; the name itself is never resolved here.
async fn through(port: u16, authority: &Authority, change: impl Fn(&mut Config)) -> Webhook {
    let mut config = config("https", "partner.example", 443);
    config.authorities = Some(authority.source());
    config.egress.allow.clear();
    config.egress.proxy = Some(Proxy { host: "127.0.0.1".to_owned(), port, credentials: None });
    change(&mut config);
    let server = NameServer::start(vec![Vec::new()]).await;
    Webhook::with_resolver(config, Asking::new(&server)).expect("fit")
}

#[tokio::test]
async fn a_tunnel_carries_tls_to_the_name_and_is_kept() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(authority.server("partner.example"), |_| status(200)).await;
    let (port, heads) = proxy(Answer::Opens { port: receiver.port }).await;
    let webhook = through(port, &authority, |config| {
        let proxy = config.egress.proxy.as_mut().expect("a proxy");
        proxy.credentials = Some(fixed("relay.egress.proxy_credentials", "relay:hunter2"));
    })
    .await;
    for number in 0..20 {
        let body = vec![b'x'; 100_000];
        let request = binpulse_relay::target::Request { body: body.into(), ..request(number) };
        assert_eq!(webhook.deliver(&request).await, Outcome::Delivered);
    }
    let heads = heads.lock().expect("no panic").clone();
    assert_eq!(heads.len(), 1);
    let head = heads[0].to_lowercase();
    assert!(head.starts_with("connect partner.example:443 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: partner.example:443\r\n"), "{head}");
    assert!(heads[0].contains("Basic cmVsYXk6aHVudGVyMg=="), "{head}");
    assert!(!head.contains("webhook"), "what is for the receiver is no business of the proxy's");
    assert_eq!(receiver.arrived()[0].header("host"), "partner.example");
}

#[tokio::test]
async fn a_proxy_that_refuses_breaks_or_hangs_is_an_outage() {
    let cases: [(&'static [u8], &str); 5] = [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "relay.egress.proxy answered HTTP 407",
        ),
        // Gone is what the proxy says of itself, not the receiver.
        (b"HTTP/1.1 410 Gone\r\n\r\n", "relay.egress.proxy answered HTTP 410"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\n\r\n", "answered HTTP 302"),
        (b"", "connecting through relay.egress.proxy"),
        (b"nonsense\r\n\r\n", "connecting through relay.egress.proxy"),
    ];
    for (text, expected) in cases {
        let (port, _) = proxy(Answer::Says(text)).await;
        let webhook = through(port, &Authority::new(), |_| {}).await;
        assert_outage(webhook.deliver(&request(1)).await, expected);
    }
    let (port, _) = proxy(Answer::Hangs).await;
    let webhook = through(port, &Authority::new(), |config| config.timeout = SHORT).await;
    let (text, _) = failure(webhook.deliver(&request(1)).await);
    assert!(text.contains("relay.egress.proxy: timed out"), "{text}");
}

#[tokio::test]
async fn a_literal_private_address_is_refused_before_any_proxy_is_asked() {
    let mut config = config("https", "10.0.0.1", 443);
    config.egress.proxy = Some(Proxy { host: "127.0.0.1".to_owned(), port: 1, credentials: None });
    let error = Webhook::new(config).expect_err("refused").to_string();
    assert!(error.starts_with("relay.to.url: found 10.0.0.1, needed a public address"), "{error}");
}
