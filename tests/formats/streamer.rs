//! The service with each format: what it publishes are the documents of `decode`, one row a message.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use binpulse_demo::Mysqld;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::oracle::decode;
use crate::{Outcome, execute, server, start, statements};

/// The running service; dropping it kills it.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn messages(runtime: &Runtime) -> Outcome {
    let Some(server) = server(|server| server.is_mysql(9, 0)) else {
        return Outcome::Skipped("there is no MySQL 9".to_owned());
    };
    let mysqld = start(runtime, &server);
    execute(runtime, &mysqld, &statements(|_| true));
    let log = mysqld.data().join("binlog.000001");
    let mut told = Vec::new();
    for format in ["debezium", "maxwell", "cloudevents"] {
        let wanted = decode(&log, &["--format", format]);
        let found = published(&mysqld, format, wanted.len());
        assert!(found.iter().all(|message| message["rows"] == 1), "{format}");
        // Each table is a lane of its own, so tables of one transaction may come in another order.
        let sorted = |documents: Vec<Value>| {
            let mut texts: Vec<_> = documents.iter().map(Value::to_string).collect();
            texts.sort_unstable();
            texts
        };
        let ours = sorted(found.iter().map(|message| plain(&message["body"])).collect());
        let theirs = sorted(wanted.iter().map(plain).collect());
        for (found, wanted) in ours.iter().zip(&theirs) {
            assert_eq!(found, wanted, "{format}");
        }
        told.push(format!("{} {format}", found.len()));
    }
    Outcome::Passed(told.join(", "))
}

/// The first so many messages of kind `change`.
fn published(mysqld: &Mysqld, format: &str, rows: usize) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Service(
        Command::new(env!("CARGO_BIN_EXE_binpulse"))
            .args([
                "run",
                "--stream-name",
                "binpulse",
                "--source-user",
                "root",
                "--source-tls",
                "off",
            ])
            .args(["--source-hosts", &mysqld.address(), "--source-start", "earliest"])
            .args(["--filter-tables", "d.*", "--sink-kind", "stdout", "--message-format", format])
            .args(["--http-listen", "127.0.0.1:0", "--checkpoint-path"])
            .arg(Path::new(folder.path()).join("checkpoint"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("binpulse runs"),
    );
    let output = BufReader::new(service.0.stdout.take().expect("a pipe"));
    let messages = output.lines().map(|line| {
        serde_json::from_str::<Value>(&line.expect("its output")).expect("a document a line")
    });
    messages.filter(|message| message["kind"] == "change").take(rows).collect()
}

/// Without what only numbered rows have, and without the event, which messages do not tell.
fn plain(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(source) = document.get_mut("source").and_then(Value::as_object_mut) {
        for name in ["sequence", "pos", "row"] {
            source.remove(name);
        }
    }
    if let Some(members) = document.as_object_mut() {
        for name in ["id", "partitionkey", "sequence", "binpulseepoch"] {
            members.remove(name);
        }
    }
    document
}
