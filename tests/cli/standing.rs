//! What must not stop the program.

use std::fs::File;

use crate::binpulse;

#[test]
fn a_log_without_room_ends_nothing() {
    // Given a log on a full disk, and a source that is not there
    let full = File::options().write(true).open("/dev/full").expect("a disk that is full");
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let mut command = binpulse();
    command.args(["run", "--sink-kind", "null", "--http-listen", "127.0.0.1:0"]);
    command.args(["--source-hosts", "127.0.0.1:1", "--source-start-patience", "100ms"]);
    command.arg("--checkpoint-path").arg(&checkpoint).stderr(full);

    // Then it ends for the source's sake, and not for the log's
    let status = command.status().expect("binpulse runs");
    assert_eq!(status.code(), Some(69));
}
