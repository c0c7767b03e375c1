//! What happens to the file that the checkpoint is kept in.

use std::path::Path;
use std::time::Duration;

use binpulse_demo::Error;
use tokio::time::{Instant, sleep};

use super::second::NEEDS_OPERATOR;
use crate::dice::Dice;
use crate::rss;
use crate::service::SOON;
use crate::stage::{Stage, point_state};

/// Time in which a save must have failed.
const FAIL: Duration = Duration::from_secs(20);

/// The disk is full: from here on the file has room for a part of a record, and no more. A limit of
/// the process does it, for a file system of its own takes rights that tests do not ask for; a write
/// beyond it ends as on a full disk, with what fitted written and an error. The log, which is larger,
/// has no room either.
pub(super) fn fill(stage: &Stage, dice: &mut Dice) -> Result<(), Error> {
    let path = stage.checkpoint();
    let size = std::fs::metadata(&path).map_err(super::file(&path))?.len();
    limit(stage, &(size + dice.between(1, 200)).to_string())
}

/// There is room again.
pub(super) fn make_room(stage: &Stage) -> Result<(), Error> {
    limit(stage, "unlimited")
}

/// Sets the largest size of a file of the streamer, if it runs.
fn limit(stage: &Stage, bytes: &str) -> Result<(), Error> {
    let failed = |source| Error::Program { program: "prlimit".to_owned(), source };
    for process in rss::processes_with(&stage.checkpoint()) {
        let mut prlimit = std::process::Command::new("prlimit");
        let status = prlimit.args([format!("--pid={process}"), format!("--fsize={bytes}:")]);
        let status = status.status().map_err(failed)?;
        if !status.success() {
            return Err(failed(std::io::Error::other(status.to_string())));
        }
    }
    Ok(())
}

/// The file's folder is one where nobody can write, or again what it was.
pub(super) fn write_protect(stage: &Stage, is_protected: bool) -> Result<(), Error> {
    point_state(stage.folder(), !is_protected).map_err(super::file(stage.folder()))
}

/// Waits until a save has failed: else nothing was put to the test. What was wrong.
pub(super) async fn until_a_save_failed(stage: &mut Stage) -> Result<Option<String>, Error> {
    let give_up = Instant::now() + FAIL;
    while Instant::now() < give_up {
        stage.streamer.must_run()?;
        if let Ok(status) = stage.streamer.status().await
            && status["checkpoint"]["failures"].as_u64() > Some(0)
        {
            return Ok(None);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(Some("no save failed, although none was possible".to_owned()))
}

/// Started without its file, the streamer must not begin again by itself: it says what the source knows of
/// the stream, and how to begin again. What was wrong.
pub(super) async fn without(stage: &Stage) -> Result<Option<String>, Error> {
    let path = stage.checkpoint();
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).map_err(super::file(&away))?;
    let mut command = stage.another(&path);
    command.settings.push(("http.listen", "127.0.0.1:0".to_owned()));
    let (code, log) = command.run_to_end(SOON).await?;
    std::fs::rename(&away, &path).map_err(super::file(&path))?;
    let is_right = code == Some(NEEDS_OPERATOR) && log.contains("--new-epoch=");
    Ok((!is_right).then(|| format!("without its checkpoint it ended with {code:?}:\n{log}")))
}

/// A crash in the middle of a save leaves the beginning of a line.
pub(super) fn tear(path: &Path, dice: &mut Dice) -> Result<(), Error> {
    let mut bytes = std::fs::read(path).map_err(super::file(path))?;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let Some(last) = lines.next_back().filter(|line| line.len() > 2).map(<[u8]>::to_vec) else {
        return Ok(());
    };
    let length = usize::try_from(dice.between(1, last.len() as u64 - 1)).expect("below a length");
    bytes.extend_from_slice(&last[..length]);
    std::fs::write(path, bytes).map_err(super::file(path))
}
