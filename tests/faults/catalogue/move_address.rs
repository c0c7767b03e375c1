//! Failovers: the database's address moves to another server.

use std::time::Instant;

use binpulse_demo::Error;
use mysql_async::prelude::Queryable;

use super::source;
use crate::proxy::Which;
use crate::service::session;
use crate::stage::Stage;

/// In order: the old primary takes no more writes, the new one has all, and all connections of the
/// old one are cut.
pub(super) async fn as_planned(stage: &mut Stage) -> Result<Instant, Error> {
    let at = demote(stage).await?;
    promote(stage, true).await?;
    move_there(stage)?;
    stage.proxy.reset(Which::All);
    Ok(at)
}

/// The same, but the replication connection stays on the old one.
pub(super) async fn and_stay(stage: &mut Stage) -> Result<Instant, Error> {
    demote(stage).await?;
    promote(stage, true).await?;
    move_there(stage)?;
    source::kill_writers(stage.mysqld.port()).await
}

/// The old primary dies, and the new one has not got its last transactions.
pub(super) async fn too_early(stage: &mut Stage) -> Result<Instant, Error> {
    let other = stage.other()?;
    other.execute(&["STOP REPLICA IO_THREAD"]).await?;
    // Two heartbeats that only we and the old primary have.
    tokio::time::sleep(stage.pace.h * 2 + stage.pace.tick()).await;
    stage.mysqld.kill().await?;
    promote(stage, false).await?;
    move_there(stage)?;
    Ok(Instant::now())
}

async fn demote(stage: &Stage) -> Result<Instant, Error> {
    source::root(stage, &["SET GLOBAL super_read_only = ON"]).await
}

/// Makes the other server take writes, with all of the old one's transactions if it can wait.
async fn promote(stage: &Stage, waits: bool) -> Result<(), Error> {
    if waits {
        let mut old = session(stage.mysqld.port()).await?;
        let executed: Option<String> = old.query_first("SELECT @@gtid_executed").await?;
        let executed = executed.unwrap_or_default().replace('\n', "");
        old.disconnect().await?;
        let wait = format!("DO WAIT_FOR_EXECUTED_GTID_SET('{executed}', 30)");
        stage.other()?.execute(&[wait]).await?;
    }
    let take_over = ["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = OFF"];
    stage.other()?.execute(&take_over).await
}

fn move_there(stage: &Stage) -> Result<(), Error> {
    let other = stage.other()?;
    stage.proxy.move_to(other.address().parse().expect("an address of loopback"));
    stage.traffic.move_to(other.port());
    Ok(())
}
