//! Limits of the process that are too low: errors, neither silence nor a signal.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program from a shell that lowers a limit first.
fn limited(limit: &str, command: &str, folder: &Path) -> Output {
    let binary = env!("CARGO_BIN_EXE_binpulse");
    let script = format!("{limit}; exec '{binary}' {command}");
    Command::new("sh")
        .args(["-c", &script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("BINPULSE_STREAM_NAME", "hostile")
        .env("BINPULSE_SINK_KIND", "null")
        .env("BINPULSE_SOURCE_HOSTS", "127.0.0.1:1")
        .env("BINPULSE_SOURCE_START_PATIENCE", "0s")
        .env("BINPULSE_HTTP_LISTEN", "127.0.0.1:0")
        .env("BINPULSE_CHECKPOINT_PATH", folder.join("checkpoint"))
        .output()
        .expect("a shell")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_file_size_limit_makes_writes_fail_with_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = limited("ulimit -f 0", "run", folder.path());
    assert!(matches!(run.status.code(), Some(69 | 75)), "{:?}\n{}", run.status, said(&run));
    assert!(said(&run).contains("File too large"), "{}", said(&run));

    let log = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/all_types/mysql-9.7/binlog.000001");
    let (log, out) = (log.display(), folder.path().join("out"));
    let decode = format!("decode '{log}' > '{}'", out.display());
    let decode = limited("ulimit -f 1", &decode, folder.path());
    assert!(decode.status.code().is_some_and(|code| code != 0), "{:?}", decode.status);
    assert!(said(&decode).contains("File too large"), "{}", said(&decode));
}

#[test]
fn too_few_open_files_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for files in [6, 7, 8, 9, 10, 11, 12, 16, 32, 63] {
        for command in ["run", "check", "init", "tail", "probe"] {
            let output = limited(&format!("ulimit -n {files}"), command, folder.path());
            let text = said(&output);
            assert_eq!(output.status.code(), Some(69), "{command} with {files}:\n{text}");
            assert!(text.contains("too few open files"), "{command} with {files}:\n{text}");
        }
    }
}

#[test]
fn nobody_else_reads_what_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = limited("umask 000", "run", folder.path());
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert!(!files.is_empty(), "{}", said(&run));
    for file in files {
        let file = file.expect("a file");
        let mode = file.metadata().expect("its mode").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}
