//! The binary as a person meets it: what is typed, what comes out, how it ends. No server is needed.

mod bundle;
mod completions;
mod configuration;
mod decode;
mod help;
mod listen;
#[allow(dead_code, reason = "other tests look at more of it")]
#[path = "../support/terminal.rs"]
mod on_terminal;
mod send;
mod snapshot;
mod standing;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a run ended.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    error: String,
}

/// The binary, without settings from this environment.
fn binpulse() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_binpulse"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BINPULSE_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Run {
    let mut child = binpulse()
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("binpulse runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // A command that does not read its input closes it, which is its right.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        error: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn typed(arguments: &[&str]) -> Run {
    run(arguments, &[], b"")
}

/// A captured log.
fn log(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("binlog.000001")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
