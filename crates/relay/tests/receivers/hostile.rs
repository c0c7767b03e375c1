//! Receivers that answer with whatever hurts.

use std::time::Duration;

use binpulse_relay::target::Outcome;
use binpulse_relay::target::webhook::Webhook;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::receiver::{Receiver, raw, status};
use crate::world::{SHORT, assert_outage, config, failure, plain, request};

/// What a receiver gets as an answer that consists of these bytes, followed by the end of the stream.
async fn answered(bytes: &'static [u8]) -> Outcome {
    let port = raw(move |mut stream: TcpStream, _| async move {
        stream.write_all(bytes).await.expect("sent");
    })
    .await;
    plain(port).deliver(&request(1)).await
}

/// The same for one that begins with `head` and then repeats `piece` for as long as somebody reads.
async fn flooded(head: &'static [u8], piece: Vec<u8>, timeout: Duration) -> Outcome {
    let port = raw(move |mut stream: TcpStream, _| {
        let piece = piece.clone();
        async move {
            let mut result = stream.write_all(head).await;
            while result.is_ok() {
                result = stream.write_all(&piece).await;
            }
        }
    })
    .await;
    let mut config = config("http", "127.0.0.1", port);
    config.timeout = timeout;
    Webhook::new(config).expect("fit").deliver(&request(1)).await
}

/// The deadline of floods: they end because they are floods, long before.
const NEVER: Duration = Duration::from_mins(2);

#[tokio::test]
async fn the_status_counts_and_a_body_without_end_does_not() {
    let endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(flooded(endless, vec![b'x'; 65_536], NEVER).await, Outcome::Delivered);
    let chunked = b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = b"4000\r\n".iter().copied().chain([b'x'; 0x4000]).chain(*b"\r\n").collect();
    assert_outage(flooded(chunked, chunk, NEVER).await, "HTTP 500 No");
    let old = b"HTTP/1.0 200 OK\r\n\r\n";
    assert_eq!(flooded(old, vec![b'x'; 65_536], NEVER).await, Outcome::Delivered);
}

#[tokio::test]
async fn headers_without_end_and_interim_answers_without_end_are_cut() {
    let head = b"HTTP/1.1 200 OK\r\n";
    assert_outage(flooded(head, b"a: b\r\n".to_vec(), NEVER).await, "waiting for the answer");
    assert_outage(flooded(head, vec![b'x'; 1000], NEVER).await, "waiting for the answer");
    assert_outage(flooded(b"", vec![b'x'; 1000], NEVER).await, "waiting for the answer");
    let interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec();
    assert_outage(flooded(b"", interim, NEVER).await, "the answer is too long");
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    assert_outage(flooded(b"", interim, NEVER).await, "the answer is too long");
    let many = b"HTTP/1.1 200 OK\r\na: 1\r\na: 1\r\na: 1\r\n";
    assert_outage(flooded(many, b"a: 1\r\n".repeat(100), NEVER).await, "waiting for the answer");
}

/// One byte now and then is no reason to wait.
#[tokio::test]
async fn an_answer_that_drips_ends_with_the_deadline() {
    let drip = |bytes: &'static [u8]| async move {
        let port = raw(move |mut stream: TcpStream, _| async move {
            for byte in bytes.iter().cycle() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let mut config = config("http", "127.0.0.1", port);
        config.timeout = SHORT;
        Webhook::new(config).expect("fit").deliver(&request(1)).await
    };
    assert_outage(drip(b"HTTP/1.1 100 Continue\r\n\r\n").await, "timed out (relay.to.timeout)");
    assert_outage(drip(b"x").await, "waiting for the answer");
}

#[tokio::test]
async fn a_body_that_drips_takes_nothing_from_a_status_that_was_told() {
    let port = raw(move |mut stream: TcpStream, _| async move {
        let head = b"HTTP/1.1 202 Accepted\r\ncontent-length: 10\r\n\r\nx";
        stream.write_all(head).await.expect("sent");
        // The rest never comes, and the connection stays open.
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = config("http", "127.0.0.1", port);
    config.timeout = SHORT;
    let webhook = Webhook::new(config).expect("fit");
    assert_eq!(webhook.deliver(&request(1)).await, Outcome::Delivered);
    assert_eq!(webhook.deliver(&request(2)).await, Outcome::Delivered);
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let inside = Receiver::start(|_| status(200)).await;
    for code in [301, 302, 303, 307, 308] {
        for location in [
            "http://169.254.169.254/latest/meta-data/",
            &format!("http://127.0.0.1:{}/", inside.port),
        ] {
            let location = location.to_owned();
            let receiver = Receiver::start(move |_| {
                let mut answer = status(code);
                answer.headers_mut().insert("location", location.parse().expect("a value"));
                answer
            })
            .await;
            let (text, is_outage) = failure(plain(receiver.port).deliver(&request(1)).await);
            assert!(text.starts_with(&format!("HTTP {code} ")) && is_outage, "{text}");
            assert!(text.contains("redirects are not followed") && !text.contains("169.254"));
        }
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn what_is_no_http_is_an_outage() {
    let answers: [&[u8]; 12] = [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 \xff\xff\xff OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ];
    for answer in answers {
        let outcome = answered(answer).await;
        let (text, is_outage) = failure(outcome);
        assert!(is_outage, "{:?}: {text}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn an_answer_that_is_old_or_broken_behind_its_head_counts_by_its_status() {
    let delivered: [&[u8]; 5] = [
        b"HTTP/1.0 200 OK\r\n\r\nbody until the end",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"HTTP/1.1 204 \r\n\r\nHTTP/1.1 500 Smuggled\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ];
    for answer in delivered {
        assert_eq!(
            answered(answer).await,
            Outcome::Delivered,
            "{}",
            String::from_utf8_lossy(answer)
        );
    }
}

/// A receiver that sends two answers for one request gives the second to nobody.
#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_taken_for_that_of_the_next_request() {
    let port = raw(|mut stream: TcpStream, number| async move {
        let answers: &[u8] = if number == 0 {
            b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
        };
        stream.write_all(answers).await.expect("sent");
        crate::receiver::read_request(&mut stream).await;
    })
    .await;
    let webhook = plain(port);
    assert_outage(webhook.deliver(&request(1)).await, "HTTP 500");
    assert_outage(webhook.deliver(&request(2)).await, "HTTP 503");
}

#[tokio::test]
async fn what_a_receiver_says_is_cut_and_shows_no_control_characters() {
    let (text, _) = failure(answered(b"HTTP/1.1 503 Busy\t\x1b[2Jnow\r\n\r\n").await);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let long: &'static [u8] = Box::leak(
        format!("HTTP/1.1 503 {}\r\n\r\n", "x".repeat(9_000)).into_bytes().into_boxed_slice(),
    );
    let (text, _) = failure(answered(long).await);
    assert!(text.len() < 2_000, "{}", text.len());
    let secret = b"HTTP/1.1 400 Bad\r\ncontent-length: 12\r\nx-a: s3cret\r\n\r\nrow: s3cret!";
    let (text, is_outage) = failure(answered(secret).await);
    assert_eq!((text.as_str(), is_outage), ("HTTP 400 Bad", false));
}

#[tokio::test]
async fn a_receiver_may_ask_for_time_but_not_for_ever() {
    let asked = |value: &'static str| async move {
        let receiver = Receiver::start(move |_| {
            let mut answer = status(429);
            answer.headers_mut().insert("retry-after", value.parse().expect("a value"));
            answer
        })
        .await;
        let outcome = plain(receiver.port).deliver(&request(1)).await;
        let Outcome::Failed { retry_after, is_outage: true, .. } = outcome else {
            panic!("{outcome:?}")
        };
        retry_after
    };
    assert_eq!(asked("17").await, Some(Duration::from_secs(17)));
    assert_eq!(asked("18446744073709551616").await, Some(Duration::from_hours(24)));
    assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT").await, Some(Duration::from_hours(24)));
    assert_eq!(asked("Thu, 01 Jan 1970 00:00:00 GMT").await, Some(Duration::ZERO));
    assert_eq!(asked("later").await, None);
}

#[tokio::test]
async fn gone_is_gone() {
    let receiver = Receiver::start(|_| status(410)).await;
    let outcome = plain(receiver.port).deliver(&request(1)).await;
    assert_eq!(outcome, Outcome::Gone { answer: "HTTP 410 Gone".to_owned() });
}
