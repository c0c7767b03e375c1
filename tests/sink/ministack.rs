//! MiniStack, an independent SNS and SQS, as fetched by `make deps`.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;

/// Longest start, with a loaded machine in mind.
const START_MAX: Duration = Duration::from_mins(1);

/// A running MiniStack; dropping it stops it.
pub(crate) struct MiniStack {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl MiniStack {
    /// Starts one on a free port of loopback, with a folder of its own.
    pub(crate) async fn start() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/manifest.json");
        let text = std::fs::read_to_string(&manifest).expect("run `make deps` first");
        let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let command = manifest["ministack"]["command"].as_array().expect("MiniStack is there");
        let mut words = command.iter().filter_map(serde_json::Value::as_str);
        let port = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            listener.local_addr().expect("it is bound").port()
        };
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut process = Command::new(words.next().expect("a program"))
            .args(words)
            .current_dir(folder.path())
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("MiniStack starts");
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            let ended = process.try_wait().expect("its state");
            assert!(ended.is_none() && started.elapsed() < START_MAX, "MiniStack: {ended:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { process, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
