//! Connections are kept, bounded, and replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use binpulse_relay::target::webhook::Webhook;
use binpulse_relay::target::{Outcome, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::receiver::{Receiver, closed_port, listen, raw, read_request, status};
use crate::world::{SHORT, assert_outage, config, deliver_all, plain, request};

#[tokio::test]
async fn many_requests_share_a_few_connections() {
    let receiver = Receiver::start(|_| status(200)).await;
    let mut config = config("http", "127.0.0.1", receiver.port);
    config.connections = 4;
    let webhook = Arc::new(Webhook::new(config).expect("fit"));
    let outcomes = deliver_all(webhook, 400, 16).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered));
    assert_eq!(outcomes.len(), 400);
    assert!(receiver.connections() <= 4, "{}", receiver.connections());
}

#[tokio::test]
async fn a_connection_is_kept_only_behind_a_short_answer() {
    for (bytes, connections) in [(0, 1), (4_096, 1), (4_097, 3)] {
        let receiver =
            Receiver::start(move |_| status(200).map(|_| vec![b'x'; bytes].into())).await;
        let webhook = plain(receiver.port);
        for number in 0..3 {
            assert_eq!(webhook.deliver(&request(number)).await, Outcome::Delivered);
        }
        assert_eq!(receiver.connections(), connections, "{bytes} bytes");
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A server that closes a kept connection when the next request comes, as one does that has just
/// decided that it was idle for too long.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_no_attempt() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let port = raw(move |mut stream: TcpStream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            stream.write_all(OK).await.expect("sent");
            read_request(&mut stream).await;
        }
    })
    .await;
    let webhook = plain(port);
    for number in 0..20 {
        assert_eq!(webhook.deliver(&request(number)).await, Outcome::Delivered);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 20);
}

/// Where an answer has begun, the request is not sent a second time at once.
#[tokio::test]
async fn an_answer_that_breaks_off_is_an_outage() {
    let port = raw(move |mut stream: TcpStream, _| async move {
        stream.write_all(OK).await.expect("sent");
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 2").await.expect("sent");
    })
    .await;
    let webhook = plain(port);
    assert_eq!(webhook.deliver(&request(1)).await, Outcome::Delivered);
    assert_outage(webhook.deliver(&request(2)).await, "connection closed");
}

#[tokio::test]
async fn nobody_there_is_an_outage() {
    let (_socket, port) = closed_port();
    let webhook = plain(port);
    assert_outage(webhook.deliver(&request(1)).await, "127.0.0.1: connecting: Connection refused");
}

/// What times out is closed: a slow receiver collects no connections.
#[tokio::test]
async fn a_request_that_times_out_closes_its_connection() {
    let closed = Arc::new(Notify::new());
    let seen = Arc::clone(&closed);
    let port = raw(move |mut stream: TcpStream, _| {
        let seen = Arc::clone(&seen);
        async move {
            assert!(!read_request(&mut stream).await, "the end of the stream");
            seen.notify_one();
        }
    })
    .await;
    let mut config = config("http", "127.0.0.1", port);
    config.timeout = SHORT;
    let webhook = Webhook::new(config).expect("fit");
    assert_outage(webhook.deliver(&request(1)).await, "waiting for the answer: timed out");
    closed.notified().await;
}

/// A peer that does not read takes up no memory once the deadline has passed.
#[tokio::test]
async fn a_request_that_nothing_reads_is_dropped_at_its_deadline() {
    const BYTES: usize = 40 << 20;
    let (listener, port) = listen().await;
    let mut config = config("http", "127.0.0.1", port);
    config.timeout = SHORT;
    let webhook = Webhook::new(config).expect("fit");
    let request = Request { body: vec![b'x'; BYTES].into(), ..request(1) };
    let (outcome, accepted) = tokio::join!(webhook.deliver(&request), listener.accept());
    assert_outage(outcome, "waiting for the answer: timed out");
    let mut stream = accepted.expect("accepted").0;
    let mut piece = vec![0; 1 << 20];
    let mut read = 0;
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        read += count;
    }
    assert!(read < BYTES, "{read}");
}

/// The same for a request whose caller gave up, as at the end of the process.
#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection_and_frees_its_place() {
    let (arrived, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, seen) = (Arc::clone(&arrived), Arc::clone(&closed));
    let port = raw(move |mut stream: TcpStream, number| {
        let (told, seen) = (Arc::clone(&told), Arc::clone(&seen));
        async move {
            if number > 0 {
                return stream.write_all(OK).await.expect("sent");
            }
            told.notify_one();
            assert!(!read_request(&mut stream).await, "the end of the stream");
            seen.notify_one();
        }
    })
    .await;
    let mut config = config("http", "127.0.0.1", port);
    config.connections = 1;
    let webhook = Webhook::new(config).expect("fit");
    let first = request(1);
    tokio::select! {
        outcome = webhook.deliver(&first) => panic!("{outcome:?}"),
        () = arrived.notified() => {}
    }
    closed.notified().await;
    assert_eq!(webhook.deliver(&request(2)).await, Outcome::Delivered);
}
