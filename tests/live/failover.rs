//! Several hosts of which one is the primary: who writes where, when that changes.

use binpulse_demo::{Error, Mysqld, Op, Tally};
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::resume::{BY_GTID, follow, replicated, until_equal};
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    a_checkpoint_in_a_table_goes_with_the_stream_and_a_restart_finds_the_primary on [Mysql97];
    a_stream_moves_to_the_primary_when_its_server_has_become_a_replica on [Mysql97];
}

pub(crate) const PROMOTE: [&str; 4] = [
    "STOP REPLICA",
    "RESET REPLICA ALL",
    "SET GLOBAL super_read_only = 0",
    "SET GLOBAL read_only = 0",
];

pub(crate) fn is_at(server: &Mysqld) -> impl Fn(&Value) -> bool {
    let host = server.address();
    move |status| is_healthy(status) && status["source"]["host"] == host.as_str()
}

/// How often the stream was saved there, and how many lanes it has.
async fn saved(server: &Mysqld) -> Result<(u64, u64), Error> {
    let mut session = server.connect().await?;
    let saves = "SELECT saves FROM binpulse.checkpoint WHERE stream = 'test'";
    let saves: Option<u64> = session.query_first(saves).await?;
    let lanes = "SELECT COUNT(*) FROM binpulse.checkpoint_lane WHERE stream = 'test'";
    let lanes: Option<u64> = session.query_first(lanes).await?;
    session.disconnect().await?;
    Ok((saves.unwrap_or_default(), lanes.unwrap_or_default()))
}

async fn until_saved(server: &Mysqld, at_least: u64) -> Outcome {
    let give_up = tokio::time::Instant::now() + SOON;
    while saved(server).await?.0 < at_least {
        assert!(tokio::time::Instant::now() < give_up, "{:?}", saved(server).await?);
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Two servers, one the replica of the other, and a streamer that knows both and keeps its checkpoint
/// in a table.
async fn pair(bed: &Bed) -> Result<(Rig, Mysqld), Box<dyn std::error::Error + Send + Sync>> {
    let (primary, replica) = replicated(bed).await?;
    let settings = [
        ("source.hosts", format!("{},{}", primary.address(), replica.address())),
        ("source.start_patience", "1h".to_owned()),
        ("checkpoint.store", "table".to_owned()),
    ];
    let mut rig = Rig::start(bed, primary, Topic::Fifo, &settings).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    Ok((rig, replica))
}

/// Writes rows from `first` on into three tables.
async fn work(server: &Mysqld, first: u64, written: &mut Tally) -> Outcome {
    let mut session = server.connect().await?;
    session.query_drop("CREATE DATABASE IF NOT EXISTS d").await?;
    for table in ["a", "b", "c"] {
        let create = format!("CREATE TABLE IF NOT EXISTS d.{table} (id INT PRIMARY KEY)");
        session.query_drop(create).await?;
        for id in first..first + 5 {
            session.query_drop(format!("INSERT INTO d.{table} VALUES ({id})")).await?;
        }
        written.add(&format!("d.{table}"), Op::Insert, 5);
    }
    session.disconnect().await?;
    Ok(())
}

async fn a_checkpoint_in_a_table_goes_with_the_stream_and_a_restart_finds_the_primary(
    bed: Bed,
) -> Outcome {
    let (mut rig, replica) = pair(&bed).await?;
    let mut written = Tally::default();
    work(&rig.mysqld, 1, &mut written).await?;
    rig.receive_all(&written).await?;
    let lanes = saved(&rig.mysqld).await?.1;
    until_equal(&rig.mysqld, &replica).await?;

    // When the primary dies and the replica is promoted, the checkpoint is saved there, whole
    rig.mysqld.kill().await?;
    let before = saved(&replica).await?.0;
    replica.execute(&PROMOTE).await?;
    rig.streamer.until("the new primary", SOON, is_at(&replica)).await?;
    until_saved(&replica, before + 2).await?;
    assert!(saved(&replica).await?.1 >= lanes, "{lanes} lanes before");

    // And a restart continues from it while the other host is dead
    work(&replica, 11, &mut written).await?;
    rig.receive_all(&written).await?;
    rig.streamer.start_again().await?;
    rig.streamer.until("the new primary after a restart", SOON, is_at(&replica)).await?;

    // And also when the old primary is back, first in the list, as a replica
    rig.mysqld.start_again().await?;
    rig.mysqld.execute(&["SET GLOBAL super_read_only = 1"]).await?;
    rig.streamer.start_again().await?;
    rig.streamer.until("the new primary, which is second", SOON, is_at(&replica)).await?;
    work(&replica, 21, &mut written).await?;
    rig.receive_all(&written).await?;
    Ok(())
}

async fn a_stream_moves_to_the_primary_when_its_server_has_become_a_replica(bed: Bed) -> Outcome {
    let (mut rig, replica) = pair(&bed).await?;
    let mut written = Tally::default();
    work(&rig.mysqld, 1, &mut written).await?;
    rig.receive_all(&written).await?;

    // When the two change places, and both live on
    rig.mysqld.execute(&["SET GLOBAL super_read_only = 1"]).await?;
    until_equal(&rig.mysqld, &replica).await?;
    let before = saved(&replica).await?.0;
    replica.execute(&PROMOTE).await?;
    follow(&rig.mysqld, &replica, BY_GTID).await?;

    // Then stream, heartbeats and checkpoint are with the new primary
    rig.streamer.until("the new primary", SOON, is_at(&replica)).await?;
    until_saved(&replica, before + 2).await?;
    work(&replica, 11, &mut written).await?;
    rig.receive_all(&written).await?;
    let moved = rig.streamer.metric("binpulse_reconnects_total", &["reason=\"moved\""]).await?;
    assert!(moved >= Some(1.0), "{moved:?}");
    Ok(())
}
