//! An AWS endpoint whose answers have no end, or words of ten megabytes.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use binpulse::aws::Shared;
use binpulse::freshness::canary::echo::{Queue, Sqs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Most that an answer may have, and what sockets may hold beside it.
const TAKEN_MAX: u64 = (64 << 20) + (16 << 20);

#[derive(Debug, Clone, Copy)]
enum Say {
    /// A body that continues, its length announced or not.
    WithoutEnd { announced: bool },
    /// A refusal with a text of so many bytes.
    MessageRejected(usize),
}

struct Endpoint {
    url: String,
    sent: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn endpoint(say: Say) -> Endpoint {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let accepting = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            open.spawn(async move { answer(stream, say, &count).await.ok() });
        }
    });
    Endpoint { url: format!("http://{address}"), sent, accepting }
}

async fn answer(mut stream: TcpStream, say: Say, sent: &AtomicU64) -> std::io::Result<()> {
    // Its head is in what comes first.
    let mut request = vec![0; 16 << 10];
    let read = stream.read(&mut request).await?;
    match say {
        Say::WithoutEnd { announced } => {
            let head = if announced {
                "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 6442450944\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n"
            };
            stream.write_all(head.as_bytes()).await?;
            let piece = vec![b' '; 64 << 10];
            loop {
                stream.write_all(&piece).await?;
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
        Say::MessageRejected(bytes) => {
            let words = "\u{1b}[2J no\n".repeat(bytes / 8);
            let json = serde_json::json!({"__type": "com.amazonaws.sqs#Refused", "message": words});
            let xml = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>Refused</Code><Message>{}</Message>\
                 </Error></ErrorResponse>",
                words.replace('\u{1b}', "")
            );
            let is_json = String::from_utf8_lossy(&request[..read]).contains("x-amz-json");
            let body = if is_json { json.to_string() } else { xml };
            let head = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await?;
        }
    }
    Ok(())
}

async fn received(endpoint: &Endpoint) -> String {
    let shared = Shared::stand_in("eu-west-1").await;
    let url = format!("{}/000000000000/echo", endpoint.url);
    let mut queue = Sqs::connect(&shared, Some(&endpoint.url), &url);
    queue.receive().await.expect_err("no messages").to_string()
}

#[tokio::test]
async fn a_body_without_end_is_taken_up_to_its_largest_size() {
    for announced in [false, true] {
        let endpoint = endpoint(Say::WithoutEnd { announced }).await;
        let error = received(&endpoint).await;
        assert!(error.len() < 4_000, "{error}");
        let sent = endpoint.sent.load(Ordering::Relaxed);
        assert!(sent < TAKEN_MAX, "announced {announced}: {sent} bytes; {error}");
    }
}

#[tokio::test]
async fn words_of_ten_megabytes_become_a_line() {
    let endpoint = endpoint(Say::MessageRejected(10 << 20)).await;
    let error = received(&endpoint).await;
    assert!(
        error.len() < 8_000 && !error.contains(|c: char| c.is_control()),
        "{} bytes",
        error.len()
    );
}

#[tokio::test]
async fn check_ends_in_a_page_of_words_whatever_the_endpoint_says() {
    for say in [Say::WithoutEnd { announced: false }, Say::MessageRejected(10 << 20)] {
        let endpoint = endpoint(say).await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_binpulse"));
        command
            .arg("check")
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("BINPULSE_SOURCE_HOSTS", "127.0.0.1:1")
            .env("BINPULSE_STREAM_NAME", "hostile")
            .env("BINPULSE_SNS_TOPIC", "arn:aws:sns:eu-west-1:000000000000:topic")
            .env("BINPULSE_SNS_ENDPOINT_URL", &endpoint.url)
            .env("BINPULSE_CHECKPOINT_PATH", "/nonexistent/checkpoint");
        let output = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
        let output = output.await.expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(output.status.code(), Some(1), "{say:?}: {}", String::from_utf8_lossy(&said));
        assert!(said.len() < 30_000, "{say:?}: {} bytes", said.len());
        assert!(endpoint.sent.load(Ordering::Relaxed) < 3 * TAKEN_MAX, "{say:?}");
    }
}
