//! Who would have been paged: a real Prometheus with the rules of `alerts/`, as they are.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binpulse_demo::{Error, Folder, Process, Program};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Between two scrapes, and between two evaluations of the rules, seconds.
const EVERY_SECONDS: u64 = 2;

/// A running Prometheus.
pub(crate) struct Pages {
    _process: Process,
    folder: Folder,
    address: String,
    targets: Mutex<BTreeSet<String>>,
}

/// An alert that fired.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Page {
    pub(crate) alert: String,
    pub(crate) is_critical: bool,
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

/// The program that `make deps` fetched.
fn prometheus(root: &Path) -> Result<PathBuf, Error> {
    let path = root.join(".deps/manifest.json");
    let manifest = std::fs::read(&path).map_err(file(&path))?;
    let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    manifest["tools"]["prometheus"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Error::Missing { what: "Prometheus".to_owned(), remedy: "run `make deps`" })
}

fn free_port() -> Result<u16, Error> {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::Program { program: "looking for a free port".to_owned(), source })
}

impl Pages {
    /// Starts it, with nobody to look at yet.
    pub(crate) async fn start() -> Result<Self, Error> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = prometheus(root)?;
        let folder = Folder::create()?;
        let rules = folder.path().join("rules.yml");
        std::fs::copy(root.join("alerts/rules/binpulse.rules.yml"), &rules)
            .map_err(file(&rules))?;
        let targets = folder.path().join("targets.json");
        std::fs::write(&targets, "[]").map_err(file(&targets))?;
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: {EVERY_SECONDS}s, scrape_timeout: {EVERY_SECONDS}s, \
             evaluation_interval: {EVERY_SECONDS}s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n- job_name: binpulse\n  file_sd_configs:\n  \
             - {{files: [{}], refresh_interval: 1s}}\n",
            rules.display(),
            targets.display()
        );
        std::fs::write(&config, text).map_err(file(&config))?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let option = |name: &str, value: &Path| {
            let mut option = OsString::from(name);
            option.push(value);
            option
        };
        let command = vec![
            program.into_os_string(),
            option("--config.file=", &config),
            option("--storage.tsdb.path=", &folder.path().join("data")),
            format!("--web.listen-address={address}").into(),
        ];
        let program = Program {
            name: "prometheus".to_owned(),
            command,
            environment: Vec::new(),
            without: Vec::new(),
            log: folder.path().join("log"),
        };
        let mut process = Process::start(&program, &folder)?;
        for _ in 0..300 {
            process.must_run()?;
            if binpulse_demo::get(&address, "/-/ready").await.is_ok_and(|answer| answer.code == 200)
            {
                let targets = Mutex::new(BTreeSet::new());
                return Ok(Self { _process: process, folder, address, targets });
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(Error::Deadline { what: format!("prometheus: {}", process.log_tail()), seconds: 30 })
    }

    /// Looks at the service at `address` from now on, or no longer.
    pub(crate) fn look_at(&self, address: &str, looks: bool) -> Result<(), Error> {
        let mut targets = self.targets.lock().expect("no test panics while it holds it");
        if looks {
            targets.insert(address.to_owned());
        } else {
            targets.remove(address);
        }
        let path = self.folder.path().join("targets.json");
        let staged = path.with_extension("staged");
        std::fs::write(&staged, json!([{"targets": *targets}]).to_string())
            .map_err(file(&staged))?;
        std::fs::rename(&staged, &path).map_err(file(&path))
    }

    /// Alerts about the service at `address` that fired between two instants.
    pub(crate) async fn fired(
        &self,
        address: &str,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<BTreeSet<Page>, Error> {
        let seconds =
            |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let query = format!("ALERTS{{alertstate=\"firing\",instance=\"{address}\"}}");
        let path = format!(
            "/api/v1/query_range?query={}&start={:.3}&end={:.3}&step=1",
            escape(&query),
            seconds(from),
            seconds(to)
        );
        let answer = binpulse_demo::get(&self.address, &path).await?;
        let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let series = answer["data"]["result"]
            .as_array()
            .ok_or_else(|| Error::Message(format!("Prometheus answered with {answer}")))?;
        Ok(series
            .iter()
            .map(|series| Page {
                alert: series["metric"]["alertname"].as_str().unwrap_or_default().to_owned(),
                is_critical: series["metric"]["severity"] == "critical",
            })
            .collect())
    }
}

fn escape(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                escaped.push(char::from(byte));
            }
            other => write!(escaped, "%{other:02X}").expect("writing to a String cannot fail"),
        }
        escaped
    })
}
