//! Logs in which transactions with and without GTIDs stand: `gtid_mode` is switched at run time.

use std::process::Stdio;

use binpulse_demo::{Mysqld, Op, Options, Tally};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::cli::command;
use crate::replay::{Failure, replay, until_saved};
use crate::resume::{follow, until_equal};
use crate::suite::{Outcome, tests};

tests! {
    gtids_off_and_on_again_while_away_halt_by_name_and_lose_nothing on [Mysql97, Mysql80, Mysql57];
    gtids_off_and_on_again_while_running_lose_nothing on [Mysql97, Mysql80, Mysql57];
    rows_with_gtids_that_a_server_without_does_not_send_halt_by_name on [Mysql97, Mysql80];
    earliest_reads_logs_from_before_gtids_were_on on [Mysql97, Mysql80];
    logs_purged_while_away_are_lost_only_if_they_may_have_held_what_no_gtid_names on [Mysql97, Mysql80];
    the_next_server_takes_over_when_gtids_were_just_switched_on on [Mysql97, Mysql80];
    tail_and_replay_read_what_the_server_sends_and_name_what_it_does_not on [Mysql97, Mysql80];
}

const TABLE: &[&str] =
    &["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, word TEXT)"];

/// Sets `gtid_mode` to each of these in turn. ON is refused while a transaction without a GTID runs.
async fn modes(mysqld: &Mysqld, modes: &[&str]) -> Outcome {
    for mode in modes {
        let statement = format!("SET GLOBAL gtid_mode = {mode}");
        let give_up = tokio::time::Instant::now() + SOON;
        while let Err(error) = mysqld.execute(&[&statement]).await {
            let is_busy = error.to_string().contains("ongoing");
            if !is_busy || tokio::time::Instant::now() > give_up {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Inserts rows with these keys, each a transaction.
async fn insert(mysqld: &Mysqld, written: &mut Tally, keys: &[u32]) -> Outcome {
    for key in keys {
        mysqld.execute(&[format!("INSERT INTO shop.t VALUES ({key}, 'w')")]).await?;
        written.add("shop.t", Op::Insert, 1);
    }
    Ok(())
}

async fn gtids_off_and_on_again_while_away_halt_by_name_and_lose_nothing(bed: Bed) -> Outcome {
    let (mut rig, mut written) = streamed(&bed, &of_version(&bed)).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());
    let received = written.clone();

    // When transactions without GTIDs are written while it is away
    modes(&rig.mysqld, &["ON_PERMISSIVE", "OFF_PERMISSIVE"]).await?;
    insert(&rig.mysqld, &mut written, &[2, 3]).await?;
    modes(&rig.mysqld, &["ON_PERMISSIVE", "ON"]).await?;
    insert(&rig.mysqld, &mut written, &[4]).await?;

    // Then it halts by name, as the server does not send them, and says what to do
    rig.streamer.start_again().await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(75), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    assert!(log.contains("\"gtid_mode\"") && log.contains("ON_PERMISSIVE"), "{log}");
    assert_eq!(rig.consumer.received(), &received);

    // And once the server sends them, everything comes, and it continues with GTIDs
    modes(&rig.mysqld, &["ON_PERMISSIVE"]).await?;
    rig.streamer.start_again().await?;
    rig.receive_all(&written).await?;
    modes(&rig.mysqld, &["ON"]).await?;
    insert(&rig.mysqld, &mut written, &[5]).await?;
    rig.receive_all(&written).await?;
    rig.streamer.kill().await?;
    insert(&rig.mysqld, &mut written, &[6]).await?;
    rig.streamer.start_again().await?;
    rig.receive_all(&written).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    Ok(())
}

async fn gtids_off_and_on_again_while_running_lose_nothing(bed: Bed) -> Outcome {
    let (mut rig, mut written) = streamed(&bed, &of_version(&bed)).await?;

    let mut key = 1;
    for mode in ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"]
    {
        modes(&rig.mysqld, &[mode]).await?;
        key += 1;
        insert(&rig.mysqld, &mut written, &[key]).await?;
        rig.receive_all(&written).await?;
    }
    // And a restart continues from there
    rig.streamer.kill().await?;
    insert(&rig.mysqld, &mut written, &[key + 1]).await?;
    rig.streamer.start_again().await?;
    rig.receive_all(&written).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    Ok(())
}

async fn rows_with_gtids_that_a_server_without_does_not_send_halt_by_name(bed: Bed) -> Outcome {
    let (mut rig, mut written) = streamed(&bed, &of_version(&bed)).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());

    insert(&rig.mysqld, &mut written, &[2]).await?;
    modes(&rig.mysqld, &["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"]).await?;
    insert(&rig.mysqld, &mut written, &[3]).await?;
    rig.streamer.start_again().await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(75), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    assert!(log.contains("\"gtid_mode\"") && log.contains("= OFF_PERMISSIVE"), "{log}");

    modes(&rig.mysqld, &["OFF_PERMISSIVE"]).await?;
    rig.streamer.start_again().await?;
    rig.receive_all(&written).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    Ok(())
}

/// A stream of a server with GTIDs, with one row that has come.
async fn streamed(bed: &Bed, settings: &[(&'static str, String)]) -> Result<(Rig, Tally), Failure> {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(bed, mysqld, Topic::Standard, settings).await?;
    rig.mysqld.execute(&["GRANT SELECT ON *.* TO 'binpulse'@'%'"]).await?;
    let mut written = Tally::default();
    rig.mysqld.execute(TABLE).await?;
    insert(&rig.mysqld, &mut written, &[1]).await?;
    rig.receive_all(&written).await?;
    Ok((rig, written))
}

/// Logs of 5.7 name no columns: they are asked for.
fn of_version(bed: &Bed) -> Vec<(&'static str, String)> {
    let asks = bed.version() == "mysql-5.7";
    asks.then(|| ("source.schema_fallback", "information_schema".to_owned())).into_iter().collect()
}

async fn logs_purged_while_away_are_lost_only_if_they_may_have_held_what_no_gtid_names(
    bed: Bed,
) -> Outcome {
    // One more heartbeat, written in the last moment, would be purged unread.
    let quiet = [("heartbeat.enabled", "false".to_owned()), ("canary.enabled", "false".to_owned())];
    let (mut rig, mut written) = streamed(&bed, &quiet).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());

    // The file of the place is gone, and no transaction went with it
    purge(&rig.mysqld).await?;
    rig.streamer.start_again().await?;
    insert(&rig.mysqld, &mut written, &[2]).await?;
    rig.receive_all(&written).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());

    // Others are gone too, and with them a row without a GTID
    modes(&rig.mysqld, &["ON_PERMISSIVE", "OFF_PERMISSIVE"]).await?;
    insert(&rig.mysqld, &mut Tally::default(), &[3]).await?;
    modes(&rig.mysqld, &["ON_PERMISSIVE", "ON"]).await?;
    insert(&rig.mysqld, &mut written, &[4]).await?;
    purge(&rig.mysqld).await?;
    rig.streamer.start_again().await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(75), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    assert!(log.contains("position lost"), "{log}");
    Ok(())
}

/// Leaves the newest log alone.
async fn purge(mysqld: &Mysqld) -> Outcome {
    mysqld.execute(&["FLUSH BINARY LOGS"]).await?;
    let mut session = mysqld.connect().await?;
    let files: Vec<Row> = session.query("SHOW BINARY LOGS").await?;
    let newest: String = files.last().and_then(|row| row.get(0)).ok_or("no log")?;
    session.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await?;
    session.disconnect().await?;
    Ok(())
}

async fn the_next_server_takes_over_when_gtids_were_just_switched_on(bed: Bed) -> Outcome {
    // Given a primary and a replica without GTIDs, and a stream of the primary
    let primary = bed.mysqld(without_gtids()).await?;
    let replica = bed.mysqld(without_gtids()).await?;
    follow(&replica, &primary, "SOURCE_LOG_FILE = 'binlog.000001', SOURCE_LOG_POS = 4").await?;
    let hosts = format!("{},{}", primary.address(), replica.address());
    let mut rig = Rig::start(&bed, primary, Topic::Standard, &[]).await?;
    let mut written = Tally::default();
    rig.mysqld.execute(TABLE).await?;
    insert(&rig.mysqld, &mut written, &[1, 2]).await?;

    // When GTIDs are switched on, as `check` says, and the primary dies
    for mode in ["OFF_PERMISSIVE", "ON_PERMISSIVE"] {
        modes(&replica, &[mode]).await?;
        modes(&rig.mysqld, &[mode]).await?;
    }
    insert(&rig.mysqld, &mut written, &[3]).await?;
    rig.receive_all(&written).await?;
    until_equal(&rig.mysqld, &replica).await?;
    modes(&replica, &["ON"]).await?;
    modes(&rig.mysqld, &["ON"]).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());
    let settings = &mut rig.streamer.command_mut().settings;
    settings.retain(|(key, _)| *key != "source.hosts");
    settings.push(("source.hosts", hosts));
    rig.streamer.start_again().await?;
    insert(&rig.mysqld, &mut written, &[4]).await?;
    rig.receive_all(&written).await?;
    until_equal(&rig.mysqld, &replica).await?;
    rig.mysqld.kill().await?;
    replica.execute(&["STOP REPLICA", "RESET REPLICA ALL"]).await?;
    insert(&replica, &mut written, &[5]).await?;

    // Then the stream continues from the replica: its set is whole
    rig.receive_all(&written).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    Ok(())
}

async fn tail_and_replay_read_what_the_server_sends_and_name_what_it_does_not(bed: Bed) -> Outcome {
    // Given rows without GTIDs, and a row with one
    let mysqld = bed.mysqld(without_gtids()).await?;
    let mut written = Tally::default();
    mysqld.execute(TABLE).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    insert(&rig.mysqld, &mut written, &[1, 2]).await?;
    modes(&rig.mysqld, &["OFF_PERMISSIVE", "ON_PERMISSIVE"]).await?;
    insert(&rig.mysqld, &mut written, &[3]).await?;
    rig.receive_all(&written).await?;
    until_saved(&mut rig).await?;

    for mode in ["ON_PERMISSIVE", "ON"] {
        modes(&rig.mysqld, &[mode]).await?;
        let mut settings = rig.streamer.command_mut().settings.clone();
        settings.retain(|(key, _)| key.starts_with("source.") || *key == "stream.name");
        settings.push(("filter.tables", "shop.*".to_owned()));
        let mut tail = command("tail", &settings);
        let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
        let arguments = ["--since", "1h", "--dry-run"].map(str::to_owned);
        let (code, replayed) = replay(&mut rig.streamer, &arguments).await?;
        if mode == "ON" {
            // Then both name what is not sent, and what to do
            while timeout(SOON, lines.next_line()).await??.is_some() {}
            let output = timeout(SOON, tail.wait_with_output()).await??;
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), code), (Some(75), Some(75)), "{error}{replayed}");
            for said in [error.as_ref(), &replayed] {
                let remedy = "SET GLOBAL gtid_mode = ON_PERMISSIVE";
                assert!(said.contains("anonymous transaction") && said.contains(remedy), "{said}");
            }
        } else {
            // Then both read all three
            let mut inserts = 0;
            while inserts < 3 {
                let line = timeout(SOON, lines.next_line()).await??.expect("a line");
                inserts += u32::from(line.contains("\"insert\""));
            }
            assert_eq!(code, Some(0), "{replayed}");
            assert!(replayed.contains("\"shop.t#0\":[1,3]"), "{replayed}");
        }
    }
    Ok(())
}

/// A server that begins without GTIDs and can be switched.
fn without_gtids() -> Options {
    let extra = ["--gtid-mode=OFF", "--enforce-gtid-consistency=ON"].map(str::to_owned).to_vec();
    Options { gtid: false, extra, ..Options::default() }
}

async fn earliest_reads_logs_from_before_gtids_were_on(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(without_gtids()).await?;
    let mut written = Tally::default();
    mysqld.execute(TABLE).await?;
    insert(&mysqld, &mut written, &[1, 2]).await?;
    modes(&mysqld, &["OFF_PERMISSIVE", "ON_PERMISSIVE"]).await?;
    insert(&mysqld, &mut written, &[3]).await?;

    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    rig.receive_all(&written).await?;
    // Behind the last transaction without a GTID the mode can be ON, and the set names all
    modes(&rig.mysqld, &["ON"]).await?;
    insert(&rig.mysqld, &mut written, &[4]).await?;
    rig.receive_all(&written).await?;
    rig.streamer.kill().await?;
    insert(&rig.mysqld, &mut written, &[5]).await?;
    rig.streamer.start_again().await?;
    rig.receive_all(&written).await?;
    assert!(rig.consumer.gaps().is_empty(), "{:?}", rig.consumer.gaps());
    Ok(())
}
