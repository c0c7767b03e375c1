//! Quarantined messages, published again by the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use binpulse::encode::Message;
use binpulse::sink::MessageRejected;
use binpulse::sink::quarantine::{Entry, Quarantine, Reader, Undecoded};

use crate::aws::faults::{Effect, Pick, When};
use crate::aws::{Endpoint, REGION};
use crate::rig::message;

struct Rig {
    endpoint: Endpoint,
    topic: Arc<str>,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let endpoint = Endpoint::start().await;
        let topic = endpoint.topic("changes.fifo", &[]);
        Self { endpoint, topic, folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("quarantine")
    }

    /// Puts messages of lane 1 aside.
    fn fill(&self, ids: impl IntoIterator<Item = u64>) -> Vec<Message> {
        let mut quarantine = Quarantine::open(&self.path(), 1 << 20).expect("it opens");
        let refusal =
            MessageRejected::TooLarge { bytes: 9, limit: 5, destination: "topic".to_owned() };
        let messages: Vec<_> = ids.into_iter().map(|id| message(id, 1, 100, &self.topic)).collect();
        for message in &messages {
            quarantine.put(message, &refusal, UNIX_EPOCH).expect("there is room");
        }
        messages
    }

    async fn redrive(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_binpulse"));
        command
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", "stand-in")
            .env("AWS_SECRET_ACCESS_KEY", "stand-in")
            .args(["redrive", "--sns-region", REGION, "--sns-endpoint-url", &self.endpoint.url()])
            .arg("--quarantine")
            .arg(self.path())
            .args(more);
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        ended.expect("no panic").expect("it runs")
    }

    fn left(&self) -> Vec<u64> {
        let number = |entry: Entry| match entry {
            Entry::Message(record) => record.sequence_first,
            Entry::Undecoded(_) => 1000,
        };
        let entries = Reader::new(&self.path()).expect("there");
        entries.map(|entry| number(entry.expect("whole"))).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn undecoded() -> Undecoded {
    Undecoded {
        quarantined_at_us: 1,
        error: "table d.t, column 2 (a): damaged".to_owned(),
        gtid: Some("0-1-1".to_owned()),
        transaction: "binlog.000001:4".to_owned(),
        position: "binlog.000001:200".to_owned(),
        database: "d".to_owned(),
        table: "t".to_owned(),
        committed_at_us: 2,
        event: "AAAA".to_owned(),
    }
}

#[tokio::test]
async fn what_is_accepted_arrives_as_it_was_and_leaves_the_file() {
    let rig = Rig::new().await;
    let messages = rig.fill(1..=5);
    let output = rig.redrive(&[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let bodies: Vec<_> = messages.iter().map(|message| message.body.clone()).collect();
    assert_eq!(rig.endpoint.bodies(), bodies, "in the file's order");
    assert_eq!(rig.left(), [0_u64; 0]);
}

#[tokio::test]
async fn what_is_refused_again_stays_and_the_rest_goes() {
    let rig = Rig::new().await;
    rig.fill(1..=5);
    let mut quarantine = Quarantine::open(&rig.path(), 1 << 20).expect("it opens");
    quarantine.put_undecoded(undecoded()).expect("there is room");
    drop(quarantine);
    let poison =
        Effect::FailEntries(Pick::BodyContains(":3:".to_owned()), "InvalidParameter", true);
    rig.endpoint.fault("PublishBatch", When::Always, poison);
    let output = rig.redrive(&[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("shop.t1#0 3: "), "{}", stderr(&output));
    assert_eq!(rig.left(), [3, 1000]);

    rig.endpoint.heal();
    let output = rig.redrive(&[]).await;
    assert_eq!(output.status.code(), Some(1), "the event stays: {}", stderr(&output));
    assert_eq!(rig.left(), [1000]);
}

#[tokio::test]
async fn while_the_service_holds_the_file_it_says_what_to_do_and_a_dry_run_still_looks() {
    let rig = Rig::new().await;
    rig.fill(1..=2);
    let held = Quarantine::open(&rig.path(), 1 << 20).expect("it opens");
    let output = rig.redrive(&[]).await;
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("stop that first"), "{}", stderr(&output));
    let output = rig.redrive(&["--dry-run"]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["sequence_first"], 2);
    assert!(!text.contains("++++"), "no rows");
    assert_eq!(rig.left(), [1, 2]);
    drop(held);
}

#[tokio::test]
async fn wrong_files_have_their_own_exit_codes() {
    let rig = Rig::new().await;
    assert_eq!(rig.redrive(&[]).await.status.code(), Some(64), "no file");
    damage(&rig.path());
    assert_eq!(rig.redrive(&[]).await.status.code(), Some(65));
    std::fs::write(rig.path(), "").expect("writable");
    assert_eq!(rig.redrive(&[]).await.status.code(), Some(0), "nothing to do");
    let elsewhere = Arc::from("arn:aws:sns:eu-west-1:000000000000:missing");
    let mut quarantine = Quarantine::open(&rig.path(), 1 << 20).expect("it opens");
    let refusal = MessageRejected::TooLarge { bytes: 9, limit: 5, destination: "topic".to_owned() };
    quarantine.put(&message(1, 1, 9, &elsewhere), &refusal, UNIX_EPOCH).expect("there is room");
    drop(quarantine);
    let output = rig.redrive(&[]).await;
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert_eq!(rig.left(), [1]);
}

fn damage(path: &Path) {
    std::fs::write(path, "0badc0de {\"not\": \"what was written\"}\n").expect("writable");
}
