//! Resuming equals never having stopped.

use binpulse_demo::{Mysqld, Options, Workload};

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::replay::Failure;
use crate::suite::{Outcome, tests};

tests! {
    a_killed_streamer_loses_nothing on [Mysql97, Mariadb1011, Mariadb118];
    a_killed_streamer_loses_nothing_on_a_fifo_topic on [Mysql97];
    a_stopped_streamer_resumes_without_sending_again on [Mysql97, Mariadb1011];
    positions_serve_where_there_are_no_gtids on [Mysql80];
    a_killed_server_is_dialled_again_and_nothing_is_lost on [Mysql97];
    the_stream_goes_on_from_the_next_server_by_gtid on [Mysql97];
}

async fn steps(shop: &mut Workload, count: u32) -> Outcome {
    for _ in 0..count {
        shop.step().await?;
    }
    Ok(())
}

async fn a_killed_streamer_loses_nothing(bed: Bed) -> Outcome {
    killed(&bed, Topic::Standard, Options::default()).await
}

async fn a_killed_streamer_loses_nothing_on_a_fifo_topic(bed: Bed) -> Outcome {
    killed(&bed, Topic::Fifo, Options::default()).await
}

async fn positions_serve_where_there_are_no_gtids(bed: Bed) -> Outcome {
    killed(&bed, Topic::Standard, Options { gtid: false, ..Options::default() }).await
}

async fn killed(bed: &Bed, topic: Topic, options: Options) -> Outcome {
    let mysqld = bed.mysqld(options).await?;
    let mut rig = Rig::start(bed, mysqld, topic, &[]).await?;
    let mut shop = Workload::open(rig.mysqld.connect().await?, 2).await?;
    shop.stock().await?;

    for round in 1..=4 {
        // When the streamer is killed in the middle of its work, and the shop continues
        steps(&mut shop, 50).await?;
        shop.take_stock(3_000).await?;
        rig.receive_some(shop.written().total() - 2_500).await?;
        rig.streamer.kill().await?;
        steps(&mut shop, 30).await?;
        if round % 2 == 0 {
            rig.mysqld.execute(&["FLUSH BINARY LOGS"]).await?;
        }
        rig.streamer.start_again().await?;
    }

    // Then each row has come, once by number
    rig.receive_all(shop.written()).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    Ok(())
}

async fn a_stopped_streamer_resumes_without_sending_again(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let mut shop = Workload::open(rig.mysqld.connect().await?, 3).await?;
    shop.stock().await?;
    for _ in 0..3 {
        steps(&mut shop, 40).await?;
        assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());
        steps(&mut shop, 40).await?;
        rig.streamer.start_again().await?;
        rig.streamer.until_ready(SOON).await?;
    }
    rig.receive_all(shop.written()).await?;
    assert_eq!(rig.consumer.duplicates(), 0);
    Ok(())
}

async fn a_killed_server_is_dialled_again_and_nothing_is_lost(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options { durable: true, ..Options::default() }).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let mut shop = Workload::open(rig.mysqld.connect().await?, 4).await?;
    shop.stock().await?;
    steps(&mut shop, 30).await?;
    rig.mysqld.kill().await?;
    rig.mysqld.start_again().await?;

    rig.mysqld
        .execute(&[
            "CREATE DATABASE after",
            "CREATE TABLE after.t (i INT PRIMARY KEY)",
            "INSERT INTO after.t VALUES (1), (2), (3)",
        ])
        .await?;
    let mut written = shop.written().clone();
    written.add("after.t", binpulse_demo::Op::Insert, 3);
    rig.receive_all(&written).await?;
    Ok(())
}

async fn the_stream_goes_on_from_the_next_server_by_gtid(bed: Bed) -> Outcome {
    // Given a primary, its replica, and a stream that knows both
    let primary = bed.mysqld(Options::default()).await?;
    let replica = bed.mysqld(Options::default()).await?;
    follow(&replica, &primary, BY_GTID).await?;
    let hosts = format!("{},{}", primary.address(), replica.address());
    let mut rig = Rig::start(&bed, primary, Topic::Standard, &[("source.hosts", hosts)]).await?;
    let mut shop = Workload::open(rig.mysqld.connect().await?, 6).await?;
    shop.stock().await?;
    steps(&mut shop, 60).await?;
    let mut written = shop.written().clone();
    until_equal(&rig.mysqld, &replica).await?;

    // When the primary dies and the replica takes over
    rig.mysqld.kill().await?;
    replica.execute(&["STOP REPLICA", "RESET REPLICA ALL"]).await?;
    let mut shop = Workload::open(replica.connect().await?, 7).await?;
    shop.stock().await?;
    steps(&mut shop, 60).await?;
    written.merge(shop.written());

    // Then the stream continues from there: no row is missing, none has come under a new number
    rig.receive_all(&written).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    Ok(())
}

/// Lets a replica find its place by GTIDs.
pub(crate) const BY_GTID: &str = "SOURCE_AUTO_POSITION = 1";

/// Makes a server the replica of another, from this place on.
pub(crate) async fn follow(replica: &Mysqld, primary: &Mysqld, from: &str) -> Outcome {
    primary
        .execute(&[
            "CREATE USER IF NOT EXISTS 'replica'@'%' IDENTIFIED BY 'replica'",
            "GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%'",
        ])
        .await?;
    let source = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
         SOURCE_USER = 'replica', SOURCE_PASSWORD = 'replica', {from}, \
         GET_SOURCE_PUBLIC_KEY = 1",
        primary.port()
    );
    replica.execute(&[source.as_str(), "START REPLICA"]).await?;
    Ok(())
}

/// A primary, and a replica of it that takes no writes.
pub(crate) async fn replicated(bed: &Bed) -> Result<(Mysqld, Mysqld), Failure> {
    let primary = bed.mysqld(Options::default()).await?;
    let replica = bed.mysqld(Options::default()).await?;
    follow(&replica, &primary, BY_GTID).await?;
    replica.execute(&["SET GLOBAL super_read_only = 1"]).await?;
    Ok((primary, replica))
}

/// Waits until the replica has all that the primary has.
pub(crate) async fn until_equal(primary: &Mysqld, replica: &Mysqld) -> Outcome {
    use mysql_async::prelude::Queryable;
    let mut session = primary.connect().await?;
    let executed: Option<String> = session.query_first("SELECT @@GLOBAL.gtid_executed").await?;
    session.disconnect().await?;
    let mut session = replica.connect().await?;
    let wait = "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 30)";
    let timed_out: Option<i64> = session.exec_first(wait, (executed,)).await?;
    session.disconnect().await?;
    if timed_out == Some(0) { Ok(()) } else { Err("the replica does not follow".into()) }
}
