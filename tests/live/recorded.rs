//! The changes of the verdict, across restarts.

use binpulse_demo::{Options, Streamer};
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic, binary};
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    changes_of_the_verdict_survive_a_restart_and_are_bounded on [Mysql97, Mariadb1011];
    a_history_without_its_table_is_told_and_stops_nothing on [Mysql97, Mariadb1011];
    the_busiest_tables_and_the_rate_of_commits_are_told on [Mysql97];
}

/// The changes, oldest first: when, and the state.
async fn changes(streamer: &Streamer) -> Result<Vec<(i64, String)>, binpulse_demo::Error> {
    let (_, text) = streamer.ask("/history").await?;
    let told: Value = serde_json::from_str(&text).unwrap_or_default();
    let change = |one: &Value| {
        let state = one["state"].as_str().unwrap_or_default().to_owned();
        (one["at_us"].as_i64().unwrap_or_default(), state)
    };
    let mut all: Vec<_> = told["changes"].as_array().into_iter().flatten().map(change).collect();
    all.reverse();
    Ok(all)
}

/// Waits until the newest change is where it is kept.
async fn until_saved(rig: &Rig, store: &str) -> Result<i64, binpulse_demo::Error> {
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        let newest = changes(&rig.streamer).await?.last().map_or(0, |(at, _)| *at);
        let saved = if store == "file" {
            let file = rig.streamer.folder().path().join("checkpoint.history");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.contains(&format!("\"at_us\":{newest},"))
        } else {
            count(rig, &format!("at_us = {newest}")).await > 0
        };
        if saved && newest > 0 {
            return Ok(newest);
        }
        assert!(tokio::time::Instant::now() < give_up, "not saved: {}", rig.streamer.log_tail());
        tokio::task::yield_now().await;
    }
}

/// Rows of the table.
async fn count(rig: &Rig, condition: &str) -> u64 {
    let mut session = rig.mysqld.connect().await.expect("a session");
    let sql = format!("SELECT COUNT(*) FROM binpulse.history WHERE {condition}");
    let rows: Option<u64> = session.query_first(sql).await.expect("a count");
    session.disconnect().await.expect("closed");
    rows.unwrap_or_default()
}

async fn changes_of_the_verdict_survive_a_restart_and_are_bounded(bed: Bed) -> Outcome {
    let mut users = Vec::new();
    for store in ["file", "table"] {
        // Given a stream that has recorded changes of its verdict
        let mysqld = bed.mysqld(Options::default()).await?;
        let settings = [("checkpoint.store", store.to_owned())];
        let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
        rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
        let newest = until_saved(&rig, store).await?;
        let before = changes(&rig.streamer).await?;
        assert!(before.iter().any(|(_, state)| state.starts_with("starting")), "{before:?}");
        users.push(rig.streamer.metric("binpulse_transactions_total", &["class=\"user\""]).await?);
        assert_eq!(rig.streamer.stop().await?, Some(0));
        if store == "table" {
            // More than are kept, of a process that left them
            let older = |by: u32| {
                format!(
                    "INSERT INTO binpulse.history SELECT stream, at_us - {by}, document FROM \
                     (SELECT * FROM binpulse.history WHERE at_us = {newest}) AS one"
                )
            };
            rig.mysqld.execute(&(1..=300).map(older).collect::<Vec<_>>()).await?;
        }

        // When it starts again, then they stand in front of its own
        rig.streamer.start_again().await?;
        rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
        let last = until_saved(&rig, store).await?;
        let after = changes(&rig.streamer).await?;
        assert!(last > newest && after.iter().any(|(at, _)| *at == newest), "{store}: {after:?}");
        assert!(after.is_sorted_by_key(|(at, _)| *at), "{store}: {after:?}");
        if store == "table" {
            let rows = count(&rig, "stream = 'test'").await;
            assert!((2..=200).contains(&rows), "{rows} rows");
        }
        assert_eq!(rig.streamer.stop().await?, Some(0));
    }
    assert_eq!(users[0], users[1], "rows of the table are no users' rows");
    Ok(())
}

async fn a_history_without_its_table_is_told_and_stops_nothing(bed: Bed) -> Outcome {
    // Given a source that was prepared by a version without it
    let mysqld = bed.mysqld(Options::default()).await?;
    binpulse_demo::prepare(&mysqld, binary()).await?;
    mysqld.execute(&["DROP TABLE binpulse.history"]).await?;
    let settings = [("checkpoint.store", "table".to_owned())];
    let mut rig = Rig::start_prepared(&bed, mysqld, Topic::Standard, &settings).await?;

    // Then the stream is healthy, and it is told what brings the table
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        let (_, text) = rig.streamer.ask("/history").await?;
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        let told = told["told"].as_str().unwrap_or_default();
        if told.contains("run `binpulse init`") {
            break;
        }
        assert!(tokio::time::Instant::now() < give_up, "{text}");
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn the_busiest_tables_and_the_rate_of_commits_are_told(bed: Bed) -> Outcome {
    // Given a stream, and rows of two tables
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    let tables = ["CREATE DATABASE d", "CREATE TABLE d.a (i INT)", "CREATE TABLE d.b (i INT)"];
    rig.mysqld.execute(&tables).await?;

    // Then while they are written the table with more rows stands first
    let give_up = tokio::time::Instant::now() + SOON;
    loop {
        let many = "INSERT INTO d.a VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)";
        rig.mysqld.execute(&[many, "INSERT INTO d.b VALUES (1)"]).await?;
        let (_, text) = rig.streamer.ask("/history").await?;
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        let of = |at: usize| told["busiest"][at]["table"].as_str().unwrap_or_default().to_owned();
        let newest = told["points"].as_array().and_then(|points| points.last()).cloned();
        let committed = newest.and_then(|point| point["committed_per_second"].as_f64());
        if (of(0), of(1)) == ("d.a".to_owned(), "d.b".to_owned()) && committed > Some(0.0) {
            return Ok(());
        }
        assert!(tokio::time::Instant::now() < give_up, "{text}");
    }
}
