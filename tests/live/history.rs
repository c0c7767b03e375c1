//! A source that was put back to an older state.

use std::path::Path;

use binpulse_demo::{Aws, Command, Mysqld, Options, prepare};
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic, binary};
use crate::suite::{Outcome, tests};
use crate::takeover::{is_healthy, verdict};

tests! {
    a_source_put_back_while_it_is_streamed_halts_the_stream on [Mysql97, Mariadb1011];
    a_source_put_back_while_nobody_streams_is_refused_at_start on [Mysql97, Mariadb1011];
    a_source_put_back_to_before_its_first_heartbeat_is_refused on [Mysql97, Mariadb1011];
    a_source_put_back_with_its_checkpoint_is_told_by_the_echo_queue on [Mysql97, Mariadb1011];
    a_heartbeat_table_that_was_cleared_is_no_sign on [Mysql97];
    a_start_without_its_checkpoint_is_refused_and_permitted_once on [Mysql97, Mariadb1011];
    a_checkpoint_that_left_its_table_is_missed_too on [Mysql97];
}

const OPERATOR: i32 = 75;

/// Rows of the operator's, so many.
async fn insert(mysqld: &Mysqld, rows: u32) -> Outcome {
    let statements: Vec<_> =
        (0..rows).map(|row| format!("INSERT INTO lab.t (v) VALUES ({row})")).collect();
    mysqld.execute(&statements).await?;
    Ok(())
}

/// Keeps a copy of the stopped server's data.
async fn keep(mysqld: &mut Mysqld) -> Outcome {
    mysqld.stop().await?;
    copy(&mysqld.data(), &mysqld.data().with_file_name("kept"))?;
    mysqld.start_again().await?;
    Ok(())
}

/// Stops the server, puts the copy in the place of its data, and starts it.
async fn put_back(mysqld: &mut Mysqld) -> Outcome {
    mysqld.stop().await?;
    let data = mysqld.data();
    std::fs::remove_dir_all(&data)?;
    copy(&data.with_file_name("kept"), &data)?;
    mysqld.start_again().await?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let target = to.join(entry.file_name().unwrap_or_default());
        if kind.is_dir() {
            copy(&entry, &target)?;
        } else if kind.is_file() {
            std::fs::copy(&entry, &target)?;
        }
    }
    Ok(())
}

fn seen(status: &Value) -> u64 {
    status["heartbeat"]["seen"].as_u64().unwrap_or_default()
}

/// A server with a table, streamed, until it is healthy.
async fn streamed(
    bed: &Bed,
    mysqld: Mysqld,
    settings: &[(&'static str, String)],
) -> Result<Rig, Box<dyn std::error::Error + Send + Sync>> {
    let mut rig = Rig::start_prepared(bed, mysqld, Topic::Standard, settings).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    Ok(rig)
}

async fn laboratory(bed: &Bed) -> Result<Mysqld, Box<dyn std::error::Error + Send + Sync>> {
    let mysqld = bed.mysqld(Options { durable: true, ..Options::default() }).await?;
    prepare(&mysqld, binary()).await?;
    let table = "CREATE TABLE lab.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)";
    mysqld.execute(&["CREATE DATABASE lab", table]).await?;
    Ok(mysqld)
}

/// Waits for heartbeats of after the copy, and for their save.
async fn more_heartbeats(rig: &mut Rig) -> Outcome {
    let before = seen(&rig.streamer.status().await?);
    rig.streamer.until("more heartbeats", SOON, |status| seen(status) > before + 2).await?;
    Ok(())
}

/// Two rows that are delivered, and what is saved behind them.
async fn go_on(rig: &mut Rig) -> Outcome {
    insert(&rig.mysqld, 2).await?;
    rig.receive_some(2).await?;
    more_heartbeats(rig).await
}

/// The source is put back, and has new transactions under the numbers of the lost ones.
async fn lose(rig: &mut Rig) -> Outcome {
    put_back(&mut rig.mysqld).await?;
    insert(&rig.mysqld, 200).await
}

/// A start ends at once for want of a decision, with these words.
async fn is_refused(rig: &mut Rig, words: &str) -> Outcome {
    rig.streamer.start_again().await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(OPERATOR), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    assert!(log.contains(words), "{log}");
    Ok(())
}

async fn a_source_put_back_while_it_is_streamed_halts_the_stream(bed: Bed) -> Outcome {
    // Given a stream, and a copy of its source to which it has gone on from
    let settings = [("shutdown.on_halt", "stay".to_owned())];
    let mut rig = streamed(&bed, laboratory(&bed).await?, &settings).await?;
    keep(&mut rig.mysqld).await?;
    rig.streamer.until("a healthy verdict again", SOON, is_healthy).await?;
    go_on(&mut rig).await?;

    // When the source is put back, and has new transactions under the numbers of the lost ones
    lose(&mut rig).await?;

    // Then the stream halts, and the verdict says why
    let halted = |status: &Value| status["halted"]["reason"] == "diverged";
    let status = rig.streamer.until("the halt", SOON, halted).await?;
    assert_eq!(status["state"], "halted");
    let epoch = status["checkpoint"]["epoch"].clone();
    assert_ne!(epoch, 0, "{status}");
    let told = |status: &Value| verdict(status) == ("position_lost", Some("diverged"));
    rig.streamer.until("the verdict", SOON, told).await?;
    let text = rig.consumer.received().total();
    assert_eq!(text, 2, "rows of the other history were published");
    assert_eq!(rig.streamer.stop().await?, Some(OPERATOR));

    // And so does each start after it, with the page and the reason on it
    rig.streamer.start_again().await?;
    rig.streamer.until("the halt at start", SOON, halted).await?;
    let status = rig.streamer.until("the verdict", SOON, told).await?;
    assert_eq!(status["conclusion"]["label"], "halted at stream", "{status}");
    assert_eq!(status["checkpoint"]["epoch"], epoch, "who begins a new one needs it");
    assert_eq!(status["conclusion"]["runbook"], "/runbooks/BinpulsePositionLost", "{status}");
    let (code, page) = rig.streamer.ask("/").await?;
    assert!(code == 200 && page.contains("<!doctype html>"), "{code}");
    assert_eq!(rig.streamer.ask("/readyz").await?.0, 503);
    assert_eq!(rig.streamer.stop().await?, Some(OPERATOR));
    Ok(())
}

async fn a_source_put_back_while_nobody_streams_is_refused_at_start(bed: Bed) -> Outcome {
    let mut rig = streamed(&bed, laboratory(&bed).await?, &[]).await?;
    keep(&mut rig.mysqld).await?;
    rig.streamer.until("a healthy verdict again", SOON, is_healthy).await?;
    go_on(&mut rig).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0));

    lose(&mut rig).await?;
    for _ in 0..2 {
        is_refused(&mut rig, "diverged: the server was restored").await?;
    }
    Ok(())
}

async fn a_source_put_back_to_before_its_first_heartbeat_is_refused(bed: Bed) -> Outcome {
    let mut mysqld = laboratory(&bed).await?;
    keep(&mut mysqld).await?;
    let mut rig = streamed(&bed, mysqld, &[]).await?;
    go_on(&mut rig).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0));

    lose(&mut rig).await?;
    is_refused(&mut rig, "`binpulse`.`heartbeat` has none").await?;
    Ok(())
}

async fn a_source_put_back_with_its_checkpoint_is_told_by_the_echo_queue(bed: Bed) -> Outcome {
    // Given a checkpoint in the source, and canaries that come back through a queue
    let mysqld = laboratory(&bed).await?;
    let aws = Aws::at(&bed.standin().await?.url());
    let topic = aws.create_topic(&bed.topic_name()).await?;
    let name = format!("{}-echo", bed.topic_name());
    let echo = aws.subscribe_queue(&topic, &name, &["canary"]).await?;
    let settings = [
        ("checkpoint.store", "table".to_owned()),
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
        // So short that the queue is not waited on, and what stays in it is soon there again.
        ("canary.deadline", "2s".to_owned()),
        ("heartbeat.seen_deadline", "500ms".to_owned()),
        ("sns.request_timeout", "1s".to_owned()),
        ("canary.echo", format!("probe={echo}")),
    ];
    let mut rig = streamed(&bed, mysqld, &settings).await?;
    keep(&mut rig.mysqld).await?;
    rig.streamer.until("a healthy verdict again", SOON, is_healthy).await?;
    let canary = |status: &Value| status["canary"]["seen"].as_u64().unwrap_or_default();
    let before = canary(&rig.streamer.status().await?);
    rig.streamer.until("more canaries", SOON, |status| canary(status) > before + 3).await?;
    rig.streamer.until("healthy all the same", SOON, is_healthy).await?;
    let told = rig.streamer.metric("binpulse_canary_duplicate_total", &[]).await?;
    assert_eq!(told, Some(0.0), "what stays in the queue is no duplicate");
    assert_eq!(rig.streamer.stop().await?, Some(0));

    // A restart without anything wrong continues
    rig.streamer.start_again().await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0));

    // When the source is put back, and with it the checkpoint, then the queue tells
    lose(&mut rig).await?;
    for _ in 0..2 {
        is_refused(&mut rig, "diverged: the server was restored to an older state: canary").await?;
    }
    let (code, said) = checked(&mut rig).await?;
    assert_eq!(code, Some(1), "{said}");
    Ok(())
}

async fn a_heartbeat_table_that_was_cleared_is_no_sign(bed: Bed) -> Outcome {
    let mysqld = laboratory(&bed).await?;
    // Uptime counts from here: it has to exceed the age of the last heartbeat by its slack.
    let began = tokio::time::Instant::now();
    let mut rig = streamed(&bed, mysqld, &[]).await?;
    more_heartbeats(&mut rig).await?;
    tokio::time::sleep_until(began + std::time::Duration::from_secs(14)).await;
    more_heartbeats(&mut rig).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0));
    rig.mysqld.execute(&["DELETE FROM binpulse.heartbeat"]).await?;
    rig.streamer.start_again().await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    Ok(())
}

/// The epoch that the source's tables know, once they do.
async fn epoch_known(rig: &Rig) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        let mut session = rig.mysqld.connect().await?;
        let sql = "SELECT epoch FROM binpulse.checkpoint WHERE stream = 'test' \
                   AND resume_file <> ''";
        let epoch: Option<u64> = session.query_first(sql).await?;
        session.disconnect().await?;
        match epoch {
            Some(epoch) if epoch > 0 => return Ok(epoch),
            _ if tokio::time::Instant::now() > give_up => return Err("no epoch".into()),
            _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// What `check` says with the streamer's settings: its exit code, and its output.
async fn checked(rig: &mut Rig) -> Result<(Option<i32>, String), binpulse_demo::Error> {
    let run = rig.streamer.command_mut();
    let check = Command {
        binary: run.binary.clone(),
        command: "check".to_owned(),
        settings: run.settings.clone(),
        arguments: run.arguments.clone(),
        environment: run.environment.clone(),
    };
    check.run_to_end(SOON).await
}

/// Starts, and finds the start refused for the sake of `epoch`; by `check` too.
async fn refused(rig: &mut Rig, epoch: u64) -> Outcome {
    rig.streamer.start_again().await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(OPERATOR), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    for words in [format!("--new-epoch={epoch}"), format!("epoch {epoch}, it was at ")] {
        assert!(log.contains(&words), "{words}: {log}");
    }
    let (code, said) = checked(rig).await?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("--new-epoch={epoch}")), "{said}");
    Ok(())
}

async fn a_start_without_its_checkpoint_is_refused_and_permitted_once(bed: Bed) -> Outcome {
    // Given a stream that has run, and whose checkpoint is lost
    let mut rig = streamed(&bed, laboratory(&bed).await?, &[]).await?;
    let first = epoch_known(&rig).await?;
    assert_eq!(rig.streamer.status().await?["checkpoint"]["epoch"], first);
    let checkpoint = rig.streamer.folder().path().join("checkpoint");
    assert_eq!(rig.streamer.stop().await?, Some(0));
    std::fs::remove_file(&checkpoint)?;
    refused(&mut rig, first).await?;

    // When another epoch is permitted to begin again, then nothing begins
    rig.streamer.command_mut().arguments = vec![format!("--new-epoch={}", first + 1)];
    refused(&mut rig, first).await?;

    // When this one is, then it does, and the permit is used up
    rig.streamer.command_mut().arguments = vec![format!("--new-epoch={first}")];
    assert_eq!(checked(&mut rig).await?.0, Some(0));
    rig.streamer.start_again().await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    let second = epoch_known(&rig).await?;
    assert!(second > first);
    assert_eq!(rig.streamer.status().await?["checkpoint"]["epoch"], second);
    assert_eq!(rig.streamer.stop().await?, Some(0));

    // With its checkpoint it continues, whatever the flag says; without it, it is refused again
    rig.streamer.start_again().await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    assert_eq!(rig.streamer.status().await?["checkpoint"]["epoch"], second);
    assert_eq!(rig.streamer.stop().await?, Some(0));
    std::fs::remove_file(&checkpoint)?;
    refused(&mut rig, second).await
}

async fn a_checkpoint_that_left_its_table_is_missed_too(bed: Bed) -> Outcome {
    let settings = [("checkpoint.store", "table".to_owned())];
    let mut rig = streamed(&bed, laboratory(&bed).await?, &settings).await?;
    let first = epoch_known(&rig).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0));
    rig.mysqld.execute(&["UPDATE binpulse.checkpoint SET begun = 0"]).await?;
    refused(&mut rig, first).await?;
    rig.streamer.command_mut().arguments = vec![format!("--new-epoch={first}")];
    for _ in 0..2 {
        rig.streamer.start_again().await?;
        rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
        assert!(epoch_known(&rig).await? > first);
        assert_eq!(rig.streamer.stop().await?, Some(0));
    }
    // All of it gone, as versions before had it: the heartbeat tells
    rig.mysqld.execute(&["DELETE FROM binpulse.checkpoint"]).await?;
    rig.streamer.command_mut().arguments.clear();
    rig.streamer.start_again().await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(OPERATOR), "{}", rig.streamer.log_tail());
    assert!(rig.streamer.log_tail().contains("--new-epoch=0"), "{}", rig.streamer.log_tail());
    Ok(())
}
