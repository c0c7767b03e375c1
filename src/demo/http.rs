//! As much HTTP as it takes to ask a neighbour on this machine how it is.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Error;

/// Deadline of one question.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub code: u16,
    /// Body.
    pub body: String,
}

/// Asks `address` (host and port) for `path`. The answer's body ends with the connection: HTTP/1.0.
pub async fn ask(address: &str, path: &str) -> Result<Answer, Error> {
    send(address, "GET", path, &[]).await
}

/// Posts to `address` and `path`, with headers and without a body.
pub async fn tell(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Error> {
    send(address, "POST", path, headers).await
}

async fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, Error> {
    let failed =
        |reason: String| Error::Http { address: address.to_owned(), path: path.to_owned(), reason };
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let text = timeout(DEADLINE, exchange(address, &head))
        .await
        .map_err(|_| failed(format!("no answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    parse(&text).ok_or_else(|| failed("not an HTTP answer".to_owned()))
}

async fn exchange(address: &str, head: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { code, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_code_and_a_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno\r\n\r\nmore");
        assert_eq!(answer, Some(Answer { code: 503, body: "no\r\n\r\nmore".to_owned() }));
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse("HTTP/1.1 200"), None);
    }
}
