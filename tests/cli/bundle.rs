//! The diagnostics bundle where no service answers.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::run;

/// What `tar` finds in an archive: texts by the names of their files.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(tar.expect("tar").success());
    let mut found = BTreeMap::new();
    for inner in std::fs::read_dir(folder.path()).expect("the folder in it") {
        for file in std::fs::read_dir(inner.expect("an entry").path()).expect("files") {
            let path = file.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            found.insert(name, std::fs::read_to_string(&path).expect("text"));
        }
    }
    found
}

#[test]
fn without_a_service_it_has_what_is_local_says_what_is_missing_and_has_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("bundle.tar.gz");
    let out = archive.display().to_string();
    let checkpoint = folder.path().join("checkpoint").display().to_string();
    let secrets = [
        ("BINPULSE_SOURCE_PASSWORD", "planted-\"source\"-password"),
        ("BINPULSE_HEARTBEAT_PASSWORD", "planted-writer-password"),
        ("BINPULSE_FILTER_HASH_KEY", "planted-hash-key"),
        ("BINPULSE_HTTP_TOKEN", "planted-http-token"),
        ("AWS_SECRET_ACCESS_KEY", "planted-aws-secret"),
        ("AWS_SESSION_TOKEN", "planted-aws-session"),
    ];
    // One that somebody put where it does not belong
    let host = "planted-http-token.invalid";
    let arguments = [
        "bundle",
        "--out",
        &out,
        "--stream-name",
        "orders",
        "--source-hosts",
        "127.0.0.1:1",
        "--heartbeat-host",
        host,
        "--source-connect-timeout",
        "1s",
        "--sink-kind",
        "null",
        "--http-listen",
        "127.0.0.1:1",
        "--checkpoint-path",
        &checkpoint,
    ];
    let found = run(&arguments, &secrets, b"");
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(found.out.trim(), out);
    assert!(
        found.error.contains("not in the bundle: status.json: 127.0.0.1:1/status"),
        "{found:?}"
    );
    let mode = std::fs::metadata(&archive).expect("the archive").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let files = unpacked(&archive);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["README.txt", "check.jsonl", "settings.txt", "versions.json"]);
    let readme = &files["README.txt"];
    for missing in ["status.json: ", "history.json: not asked for after", "log.txt: not asked"] {
        assert!(readme.contains(missing), "{missing} is not in {readme}");
    }
    assert!(files["check.jsonl"].contains("server 127.0.0.1:1"), "{files:?}");
    assert!(files["settings.txt"].contains("stream.name = orders  # flag"), "{files:?}");
    assert!(files["versions.json"].contains(env!("CARGO_PKG_VERSION")), "{files:?}");
    let shown = format!("{files:?} {found:?}");
    assert!(shown.contains("***.invalid"), "the second lock: {shown}");
    for (name, secret) in secrets {
        let inner = secret.split('"').next().expect("a part");
        let inner = if secret.contains('"') { format!("{inner}\"") } else { inner.to_owned() };
        assert!(!shown.contains(&inner) && !shown.contains(secret), "{name} is in {shown}");
    }

    // What is there already is not written over
    let found = run(&arguments, &secrets, b"");
    assert_eq!(found.code, Some(69), "{found:?}");
    assert!(found.error.contains("File exists"), "{found:?}");
}

#[test]
fn wrong_settings_are_a_part_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("bundle.tar.gz");
    let out = archive.display().to_string();
    let found = run(&["bundle", "--out", &out, "--message-lanes", "0"], &[], b"");
    assert_eq!(found.code, Some(0), "{found:?}");
    let files = unpacked(&archive);
    let readme = &files["README.txt"];
    assert!(readme.contains("settings.txt: the settings are wrong: "), "{readme}");
    assert!(readme.contains("`message.lanes`"), "{readme}");
    assert!(files.contains_key("versions.json"), "{files:?}");
}
