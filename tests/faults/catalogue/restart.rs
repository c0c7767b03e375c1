//! The service is stopped and started, and finds something other than it left.

use std::time::Instant;

use binpulse_demo::Error;

use super::{position, topic};
use crate::aws::faults::Effect;
use crate::service::SOON;
use crate::stage::Stage;

/// An operator has to choose how to continue.
const EXIT_CHOOSE: i32 = 75;

/// Starts it where it must refuse; the instant at which it did.
async fn is_refused(stage: &mut Stage, word: &str) -> Result<Instant, Error> {
    stage.streamer.start_again().await?;
    let code = stage.streamer.wait(SOON).await?;
    let (at, log) = (Instant::now(), stage.streamer.log_tail());
    if code == Some(EXIT_CHOOSE) && log.contains(word) {
        return Ok(at);
    }
    Err(Error::Ended { program: "binpulse run".to_owned(), code, log })
}

/// The source was put back to an older state meanwhile.
pub(super) async fn on_an_older_backup(stage: &mut Stage) -> Result<Instant, Error> {
    // Nobody is to be paged for the backup itself.
    stage.streamer.stop().await?;
    let backup = position::back_up(stage).await?;
    stage.streamer.start_again().await?;
    position::until_later_heartbeats(stage).await;
    stage.streamer.stop().await?;
    position::restore(stage, &backup).await?;
    let at = Instant::now();
    stage.streamer.start_again().await?;
    Ok(at)
}

/// The checkpoint is gone.
pub(super) async fn without_checkpoint(stage: &mut Stage) -> Result<Instant, Error> {
    stage.streamer.stop().await?;
    let path = stage.streamer.folder().path().join("checkpoint");
    std::fs::remove_file(&path).map_err(|source| Error::File { path, source })?;
    is_refused(stage, "--new-epoch").await
}

/// The source is down.
pub(super) async fn before_the_source(stage: &mut Stage) -> Result<Instant, Error> {
    stage.streamer.stop().await?;
    stage.mysqld.kill().await?;
    let at = Instant::now();
    stage.streamer.start_again().await?;
    Ok(at)
}

/// SNS does not answer, before and after; while it stops it has to say so, and not that it does not move
/// itself.
pub(super) async fn under_a_stalled_sink(stage: &mut Stage) -> Result<Instant, Error> {
    let at = topic::fails(stage, &Effect::Hang);
    let stalled = |shown: &crate::watch::Shown| shown.state == "sink_stalled";
    if stage.watch.until(at, at + SOON, stalled).await.is_none() {
        return Err(Error::Message("the stalled sink was not told".to_owned()));
    }
    stage.streamer.stop().await?;
    stage.streamer.start_again().await?;
    let seen = stage.watch.seen();
    match seen.since(at).iter().find(|shown| shown.state == "self_stalled") {
        None => Ok(at),
        Some(shown) => Err(Error::Message(shown.sentence.clone())),
    }
}

/// A restart that was asked for loses no canary: by now it would be known.
pub(super) fn has_lost_no_canary(stage: &Stage) -> Result<(), Error> {
    let last = stage.watch.seen().last.clone();
    let consumers = last.map(|(_, status)| status["consumers"].clone()).unwrap_or_default();
    let consumers = consumers.as_array().cloned().unwrap_or_default();
    match consumers.iter().find(|consumer| consumer["lost"] != 0) {
        None if !consumers.is_empty() => Ok(()),
        other => Err(Error::Message(format!("canaries were lost, or none awaited: {other:?}"))),
    }
}
