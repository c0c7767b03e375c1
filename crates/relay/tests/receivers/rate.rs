//! How many requests a second go to loopback, beside the same client library without all the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use binpulse_relay::target::Outcome;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::receiver::{Receiver, local, status};
use crate::world::{deliver_all, plain, request};

const CONCURRENCY: u64 = 16;
const REQUESTS: u64 = 40_000;

/// One connection each, and nothing but the request.
async fn bare(port: u16) -> Duration {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..CONCURRENCY {
        tasks.spawn(async move {
            let stream = TcpStream::connect(local(port)).await.expect("connected");
            stream.set_nodelay(true).expect("a socket");
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.expect("a connection");
            tokio::spawn(connection);
            for number in (first..REQUESTS).step_by(16) {
                let request = Request::post("/hooks?a=b")
                    .header(header::HOST, "127.0.0.1")
                    .body(Full::<Bytes>::new(request(number).body))
                    .expect("a request");
                let answer = sender.send_request(request).await.expect("an answer");
                assert!(answer.status().is_success());
                answer.into_body().collect().await.expect("a body");
            }
        });
    }
    tasks.join_all().await;
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it alone, with --ignored --nocapture"]
async fn requests_a_second_beside_a_bare_client() {
    let receiver = Receiver::start(|_| status(200)).await;
    let webhook = Arc::new(plain(receiver.port));
    bare(receiver.port).await;
    for _ in 0..3 {
        let plain = bare(receiver.port).await;
        let started = Instant::now();
        let outcomes = deliver_all(Arc::clone(&webhook), REQUESTS, CONCURRENCY).await;
        let ours = started.elapsed();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered));
        #[expect(clippy::cast_precision_loss, reason = "a measurement")]
        let rate = |elapsed: Duration| REQUESTS as f64 / elapsed.as_secs_f64();
        println!(
            "webhook {:.0}/s, bare client {:.0}/s: ratio {:.2}",
            rate(ours),
            rate(plain),
            rate(ours) / rate(plain)
        );
    }
}
