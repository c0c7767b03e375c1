//! A second streamer of the same stream, started by mistake.

use std::time::Duration;

use binpulse_demo::{Error, Streamer};

use crate::service::SOON;
use crate::stage::Stage;

/// What a streamer ends with when another has its stream.
pub(super) const NEEDS_OPERATOR: i32 = 75;
/// Time in which the one that was taken over must have learnt it.
const LEARN: Duration = Duration::from_mins(1);

/// With the same checkpoint file: the second must not start, and must say why. What was wrong.
pub(super) async fn with_the_same_file(stage: &Stage) -> Result<Option<String>, Error> {
    let mut second = stage.another(&stage.checkpoint());
    second.settings.push(("http.listen", "127.0.0.1:0".to_owned()));
    let (code, log) = second.run_to_end(SOON).await?;
    let is_right = code == Some(NEEDS_OPERATOR) && log.contains("fenced: ");
    Ok((!is_right).then(|| format!("a second streamer ended with {code:?}:\n{log}")))
}

/// With a copy of the checkpoint, as on another machine, and told to take over: the newer continues, the
/// older ends and says `fenced`. What was wrong.
pub(super) async fn with_a_copy(stage: &mut Stage) -> Result<Option<String>, Error> {
    let copy = stage.folder().join("checkpoint.copy");
    std::fs::copy(stage.checkpoint(), &copy).map_err(super::file(&copy))?;
    let mut another = stage.another(&copy);
    another.arguments.push("--takeover".to_owned());
    let mut second = Streamer::start(another)?;
    let code = stage.streamer.wait(LEARN).await?;
    let log = stage.streamer.log_tail();
    let is_right = code == Some(NEEDS_OPERATOR) && log.contains(r#""reason":"fenced""#);
    let mut wrong =
        (!is_right).then(|| format!("the older of two streamers ended with {code:?}:\n{log}"));
    if let Err(error) = second.until_ready(SOON).await {
        wrong.get_or_insert_with(|| format!("the newer of two streamers: {error}"));
    }
    second.kill().await?;
    std::fs::remove_file(&copy).map_err(super::file(&copy))?;
    Ok(wrong)
}
