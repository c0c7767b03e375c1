//! A writer, such as standard output: the body of each request is a line.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use binpulse_core::excerpt::excerpt;

use super::{Outcome, Request};

/// See the head of this file. A request is delivered when the writer was flushed: what the reader of
/// a pipe makes of it can't be known.
#[derive(Debug)]
pub struct Stdout<W> {
    writer: Arc<Mutex<W>>,
}

impl<W: Write + Send + 'static> Stdout<W> {
    /// Writes to `writer`, which may block: it is used on a thread for blocking work.
    pub fn new(writer: W) -> Self {
        Self { writer: Arc::new(Mutex::new(writer)) }
    }

    /// Writes them. Where the writer fails, it is not known how many of them were written.
    pub async fn deliver_batch(&self, requests: &[Request]) -> Vec<Outcome> {
        let lines = lines(requests);
        let writer = Arc::clone(&self.writer);
        let written = tokio::task::spawn_blocking(move || {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.write_all(&lines)?;
            writer.flush()
        });
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let outcome = match written {
            Ok(()) => Outcome::Delivered,
            Err(error) => Outcome::Failed {
                answer: format!("the output: {}", excerpt(&error.to_string())),
                retry_after: None,
                is_outage: true,
            },
        };
        vec![outcome; requests.len()]
    }
}

/// The bodies are JSON documents: an end of a line between their tokens says nothing.
fn lines(requests: &[Request]) -> Vec<u8> {
    let bytes = requests.iter().map(|request| request.body.len() + 1).sum();
    let mut lines = Vec::with_capacity(bytes);
    for request in requests {
        lines.extend(request.body.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        lines.push(b'\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::LaneKey;

    fn request(body: &'static str) -> Request {
        Request {
            id: "bp_1".to_owned(),
            lane: LaneKey { stream: "shop".into(), epoch: 1, lane: "shop.orders#0".into() },
            first: 1,
            last: 1,
            group: String::new(),
            body: body.into(),
            content_type: "application/json",
            kind: "change",
        }
    }

    #[tokio::test]
    async fn each_body_is_a_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let output = Stdout::new(file.reopen().expect("a writer"));
        let outcomes = output.deliver_batch(&[request("{\"a\":\r\n1}"), request("{}")]).await;
        assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
        output.deliver_batch(&[request("[]")]).await;
        assert_eq!(std::fs::read_to_string(file.path()).expect("text"), "{\"a\":1}\n{}\n[]\n");
    }

    /// `head` has seen enough.
    #[tokio::test]
    async fn a_reader_that_went_away_is_an_outage() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let outcomes = Stdout::new(writer).deliver_batch(&[request("{}"), request("{}")]).await;
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            let Outcome::Failed { answer, is_outage: true, .. } = outcome else {
                panic!("{outcome:?}")
            };
            assert!(answer.starts_with("the output: Broken pipe"), "{answer}");
        }
    }
}
