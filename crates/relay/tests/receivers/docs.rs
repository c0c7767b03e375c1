//! The examples of docs/consume/webhooks.md run as they are printed, and verify what we send.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use binpulse_relay::target::Outcome;
use binpulse_relay::target::webhook::Webhook;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::receiver::{listen, local};
use crate::world::{CURRENT, FORMER, config, failure, request, secret, skipped};

const PAGE: &str = "docs/consume/webhooks.md";
/// Deadline until an example listens.
const START: Duration = Duration::from_mins(1);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The code block under a heading.
fn example(heading: &str) -> String {
    let page = std::fs::read_to_string(root().join(PAGE)).expect(PAGE);
    let section = page.split(&format!("### {heading}\n")).nth(1).expect(heading);
    let block = section.split("```").nth(1).expect("a code block");
    block.split_once('\n').expect("a language").1.to_owned()
}

/// An example that runs.
struct Running {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
    _folder: TempDir,
}

impl Running {
    async fn start(program: &Path, heading: &str, file: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(file), example(heading)).expect("written");
        // Free until the example takes it.
        let port = listen().await.1;
        let mut process = Command::new(program)
            .arg(file)
            .current_dir(folder.path())
            .env("PORT", port.to_string())
            .env("WEBHOOK_SECRET", key)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let listens = async {
            while TcpStream::connect(local(port)).await.is_err() {
                assert!(process.try_wait().expect("a state").is_none(), "{heading} ended");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START, listens).await.expect("it listens");
        Self { process, lines, port, _folder: folder }
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.expect("a line").expect("it runs")
    }
}

/// Two requests, one of them twice, to an example that knows one secret of the two; then the same
/// requests with a secret that it does not know.
async fn verifies_and_stores_once(program: &Path, heading: &str, file: &str) {
    for key in [CURRENT, FORMER] {
        let mut running = Running::start(program, heading, file, key).await;
        let webhook = Webhook::new(config("http", "127.0.0.1", running.port)).expect("fit");
        for number in [1, 2, 1] {
            assert_eq!(webhook.deliver(&request(number)).await, Outcome::Delivered, "{heading}");
        }
        let (first, second) = (request(1).id, request(2).id);
        assert_eq!(running.line().await, format!("stored {first}"));
        assert_eq!(running.line().await, format!("stored {second}"));
        assert_eq!(running.line().await, format!("known {first}"));
        drop(webhook);

        let mut forged = config("http", "127.0.0.1", running.port);
        forged.secrets = vec![secret("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];
        let outcome = Webhook::new(forged).expect("fit").deliver(&request(3)).await;
        assert_eq!(failure(outcome).0, "HTTP 401 Unauthorized", "{heading}");
        running.process.kill().await.expect("killed");
        assert_eq!(running.lines.next_line().await.expect("the end"), None, "{heading}");
    }
}

/// The first of the programs that can do what `arguments` ask for.
async fn able(programs: &[Option<PathBuf>], arguments: &[&str]) -> Option<PathBuf> {
    for program in programs.iter().flatten() {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().await.is_ok_and(|status| status.success()) {
            return Some(program.clone());
        }
    }
    None
}

fn pythons() -> [Option<PathBuf>; 3] {
    let chosen = std::env::var_os("BINPULSE_TEST_PYTHON").map(PathBuf::from);
    [chosen, Some(root().join(".deps/venv/bin/python")), Some("python3".into())]
}

#[tokio::test]
async fn the_example_in_python_with_the_official_library() {
    match able(&pythons(), &["-c", "import standardwebhooks"]).await {
        Some(python) => verifies_and_stores_once(&python, "Python", "receiver.py").await,
        None => skipped(
            "the example in Python",
            "standardwebhooks (pip) in BINPULSE_TEST_PYTHON or on this machine",
        ),
    }
}

#[tokio::test]
async fn the_example_in_python_without_a_library() {
    match able(&pythons(), &["-c", "import sqlite3"]).await {
        Some(python) => {
            verifies_and_stores_once(&python, "Python without a library", "receiver.py").await;
        }
        None => skipped("the example in Python without a library", "python3"),
    }
}

#[tokio::test]
async fn the_example_in_node_with_the_official_library() {
    match able(&[Some("node".into())], &["-e", "require('standardwebhooks')"]).await {
        Some(node) => verifies_and_stores_once(&node, "Node.js", "receiver.js").await,
        None => skipped("the example in Node.js", "node, or standardwebhooks (npm) in NODE_PATH"),
    }
}
