//! As much HTTP as it takes to ask a neighbour on this machine how it is.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Deadline of one question.
pub const DEADLINE: Duration = Duration::from_secs(5);
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

/// No answer, or one that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address}{path}: {reason}")]
pub struct Error {
    /// Host and port.
    pub address: String,
    /// What was asked for.
    pub path: String,
    /// What is wrong with the answer.
    pub reason: String,
}

/// The answer that `exchange` brings, if it does so in time.
pub async fn within_deadline(
    address: &str,
    path: &str,
    exchange: impl Future<Output = io::Result<String>>,
) -> Result<Answer, Error> {
    within(DEADLINE, address, path, exchange).await
}

/// The same with another deadline.
pub async fn within(
    deadline: Duration,
    address: &str,
    path: &str,
    exchange: impl Future<Output = io::Result<String>>,
) -> Result<Answer, Error> {
    let failed =
        |reason: String| Error { address: address.to_owned(), path: path.to_owned(), reason };
    let text = timeout(deadline, exchange)
        .await
        .map_err(|_| failed(format!("no answer within {} s", deadline.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    parse(&text).ok_or_else(|| failed("not an HTTP answer".to_owned()))
}

/// Asks over a connection that stands; `headers` are whole lines.
pub async fn exchange_over<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    method: &str,
    address: &str,
    path: &str,
    headers: &str,
) -> io::Result<String> {
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Code and body of an answer; nothing if it is none.
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
