//! The real programs, and binpulse.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What Maven fetched.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/peers")
}

/// A program of Java: its folder in `.deps/peers`, and its class here.
pub(crate) struct Java {
    class: &'static str,
    path: String,
    _classes: tempfile::TempDir,
}

impl Java {
    /// Compiles it; `Err` says what is not here.
    pub(crate) fn of(folder: &str, class: &'static str) -> Result<Self, String> {
        let fetched = peers().join(folder);
        let jars = fetched.join("lib");
        if !jars.is_dir() {
            return Err(format!("{} is not there: benches/peers/fetch.sh", jars.display()));
        }
        let classes = tempfile::tempdir().expect("a folder");
        let path = format!("{}:{}/*", fetched.join("classes").display(), jars.display());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/oracles");
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-cp", &path, "-d"]).arg(classes.path());
        let compiled = javac.arg(source.join(format!("{class}.java"))).output();
        let compiled = compiled.map_err(|error| format!("javac: {error}"))?;
        let error = String::from_utf8_lossy(&compiled.stderr).into_owned();
        assert!(compiled.status.success(), "javac: {error}");
        Ok(Self { class, path: format!("{}:{path}", classes.path().display()), _classes: classes })
    }

    /// Starts it with its output in a pipe.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-cp", &self.path, self.class]).args(arguments);
        java.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("java runs")
    }

    /// Runs it to its end; the lines that it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.start(arguments).wait_with_output().expect("it ends");
        assert!(output.status.success(), "{} {arguments:?}: {:?}", self.class, output.status);
        lines(&output.stdout)
    }
}

/// The documents that `binpulse decode` makes of a log.
pub(crate) fn decode(log: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut binpulse = Command::new(env!("CARGO_BIN_EXE_binpulse"));
    binpulse.args(["decode", "--tables", "d.*"]).args(arguments).arg(log);
    let output = binpulse.output().expect("binpulse runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parsed(&lines(&output.stdout))
}

pub(crate) fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8(output.to_vec()).expect("UTF-8").lines().map(str::to_owned).collect()
}

pub(crate) fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
