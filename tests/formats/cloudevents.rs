//! The CloudEvents SDK for Python as a reader of both styles.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::runtime::Runtime;

use crate::Outcome;

/// Reads a batch with the SDK, and prints what it found: one line for each event.
const READER: &str = "
import sys
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
ids = set()
for line in sys.stdin.buffer:
    event = JSONFormat().read(CloudEvent, line)
    key = (event.get_source(), event.get_id())
    assert key not in ids, key
    ids.add(key)
    assert set(event.get_data()) == {'before', 'after'}
print(len(ids))
";

pub(crate) fn sdk(_: &Runtime) -> Outcome {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/venv/bin/python");
    let known = Command::new(&python).args(["-c", "import cloudevents"]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        return Outcome::Skipped("there is no Python with `cloudevents`: make deps".to_owned());
    }
    let log = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/all_types/mysql-9.7/binlog.000001");
    let mut told = Vec::new();
    for style in ["binpulse", "debezium"] {
        let mut binpulse = Command::new(env!("CARGO_BIN_EXE_binpulse"));
        binpulse.args(["decode", "--format", "cloudevents", "--formats-cloudevents-style", style]);
        let events = binpulse.arg(&log).output().expect("binpulse runs");
        assert!(events.status.success());
        let mut child = Command::new(&python)
            .args(["-c", READER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut input = child.stdin.take().expect("a pipe");
        let lines = events.stdout.iter().filter(|byte| **byte == b'\n').count();
        let writer = std::thread::spawn(move || input.write_all(&events.stdout));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("a thread").expect("it reads");
        assert!(output.status.success(), "{style}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), lines.to_string());
        told.push(format!("{lines} events, {style}"));
    }
    Outcome::Passed(told.join("; "))
}
