//! A sink that writes one JSON document a line to a writer.
//!
//! A line has `kind`, `lane`, `destination`, `rows`, `sequence`, `attributes` (name to value) and
//! `body`: the document itself where the message's format is JSON, else its base64 text.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::intake::Ticket;
use super::null::{next_burst, settle};
use super::{Error, Health, Intake, Settlement};
use crate::encode::{Kind, Message};
use crate::platform;

/// See the head of this file. A message is settled when the writer was flushed: what the reader of
/// a pipe makes of it is beyond our sight.
#[derive(Debug)]
pub struct Stdout<W> {
    writer: W,
    health: Arc<Health>,
}

impl<W: Write + Send + 'static> Stdout<W> {
    /// Writes to `writer`, which may block: it is used on a thread for blocking work.
    #[cfg(feature = "testing")]
    pub fn new(writer: W) -> Self {
        Self::with(writer, Health::new())
    }

    /// The same, with its numbers in `health`.
    pub fn with(writer: W, health: Arc<Health>) -> Self {
        Self { writer, health }
    }

    /// Writes until the intake has ended; see the contract of [`sink`](super).
    pub async fn run(
        mut self,
        mut intake: Intake,
        settlements: mpsc::Sender<Settlement>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut tickets = Vec::new();
        while next_burst(&mut intake, &mut tickets, &stop).await {
            let (writer, health) = (self.writer, self.health);
            let burst = tokio::task::spawn_blocking(move || {
                let (mut writer, started) = (writer, platform::now());
                let result = write_all(&mut writer, &tickets);
                (writer, tickets, result, platform::since(started))
            });
            let (writer, written, result, took) = burst.await?;
            health.called(took);
            result?;
            (self.writer, self.health, tickets) = (writer, health, written);
            settle(&mut tickets, &settlements, &self.health).await?;
        }
        Ok(())
    }
}

fn write_all(writer: &mut impl Write, tickets: &[Ticket]) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for ticket in tickets {
        line(&ticket.message, &mut lines)?;
    }
    writer.write_all(&lines)?;
    writer.flush()
}

fn line(message: &Message, out: &mut Vec<u8>) -> std::io::Result<()> {
    let attributes: Map<String, Value> = message
        .attributes
        .iter()
        .map(|attribute| (attribute.name.to_string(), Value::from(attribute.value.as_str())))
        .collect();
    let head = serde_json::json!({
        "kind": message.kind.as_str(),
        "lane": &*message.lane_key,
        "destination": &*message.destination,
        "rows": message.rows,
        "sequence": message.sequence_first,
        "attributes": attributes,
    });
    let mut head = serde_json::to_vec(&head)?;
    head.pop();
    out.append(&mut head);
    out.extend_from_slice(b",\"body\":");
    // Base64 has no braces: what begins with one is a JSON document, and goes in as it is.
    // An application's payload may look like one and be none.
    if message.kind != Kind::Outbox && message.body.starts_with('{') {
        out.extend(message.body.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    } else {
        serde_json::to_writer(&mut *out, &message.body)?;
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::sink::intake;
    use crate::sink::sns::fixture::message;

    /// A writer whose text can be looked at, and which can break.
    #[derive(Debug, Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn each_message_is_a_line_of_json() {
        let (feed, intake) = intake(1 << 20);
        let mut json = message(2, 1, 0);
        json.body = "{\"a\":\n1}".to_owned();
        feed.send(message(1, 1, 4)).await.expect("there is room");
        feed.send(json).await.expect("there is room");
        drop(feed);
        let text = Shared::default();
        let (sender, mut settlements) = mpsc::channel(10);
        let sink = Stdout::new(text.clone());
        sink.run(intake, sender, CancellationToken::new()).await.expect("written");
        let bytes = text.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["body"], "xxxx");
        assert_eq!(lines[0]["lane"], "shop.t1#0");
        assert_eq!(lines[1]["body"]["a"], 1);
        assert!(settlements.recv().await.is_some() && settlements.recv().await.is_some());
    }

    #[tokio::test]
    async fn a_broken_pipe_ends_the_sink_and_settles_nothing() {
        let (feed, intake) = intake(1 << 20);
        feed.send(message(1, 1, 4)).await.expect("there is room");
        let (sender, mut settlements) = mpsc::channel(10);
        let ended = Stdout::new(Broken).run(intake, sender, CancellationToken::new()).await;
        assert!(matches!(ended, Err(Error::Output(_))), "{ended:?}");
        assert!(settlements.recv().await.is_none());
    }
}
