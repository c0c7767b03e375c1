//! Rows that are lost behind SNS: proven by a canary, published again, delivered once.

use binpulse_demo::{Folder, Options, Streamer};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::relay::{Failed, Webhook, relay, until};
use crate::relay_verify::{Scene, snapshot};
use crate::replay::replay;
use crate::suite::{Outcome, tests};

tests! {
    lost_rows_are_asked_for_and_delivered_once on [Mysql97, Mariadb1011];
    lost_rows_are_asked_for_and_come_past_those_that_wait_on_a_fifo_queue on [Mysql97];
    the_last_rows_of_a_lane_are_asked_for_at_once_and_by_a_relay_that_starts_later on [Mysql97];
    a_lane_that_halts_names_the_command_and_goes_on_after_it on [Mysql97];
    a_lane_may_go_on_without_lost_rows on [Mysql97];
    a_lost_part_of_a_snapshot_halts_its_lane_until_an_operator_goes_on_without_it on [Mysql97];
    a_copy_goes_on_without_a_lost_part_and_is_repaired_by_a_snapshot on [Mysql97];
    lost_parts_of_a_snapshot_are_read_again_and_delivered on [Mysql97];
    a_lost_part_is_read_again_and_nothing_else_and_the_copy_is_equal on [Mysql97];
    the_last_parts_of_a_quiet_table_are_missed_by_its_mark_and_read_again on [Mysql97, Mariadb1011];
    a_snapshot_for_another_route_holds_up_nobody on [Mysql97];
    rows_beyond_the_bound_go_back_to_the_queue_and_are_delivered_later on [Mysql97];
}

/// The lane of the rows.
const LANE: &str = "paid.charges#0";

/// What the relay's queue gets.
const KINDS: [&str; 3] = ["change", "canary", "suppressed"];

fn policy(kinds: &[&str]) -> String {
    serde_json::json!({ "kind": kinds, "replay": [{ "exists": false }, "test"] }).to_string()
}

/// Nine rows, of which the relay's queue never got the three in the middle.
struct Loss {
    rig: Rig,
    relay: Streamer,
    webhook: Webhook,
    /// The relay's state is in it.
    _folder: Folder,
    /// Of the relay's queue.
    subscription: String,
}

impl Loss {
    async fn suffer(bed: &Bed, gap: &str, has_more: bool) -> Result<Self, Failed> {
        Self::suffer_behind(bed, Topic::Standard, gap, has_more).await
    }

    async fn suffer_behind(
        bed: &Bed,
        topic: Topic,
        gap: &str,
        has_more: bool,
    ) -> Result<Self, Failed> {
        let suffix = if topic == Topic::Fifo { ".fifo" } else { "" };
        let mysqld = bed.mysqld(Options::default()).await?;
        let canaries =
            [("canary.enabled", "true".to_owned()), ("canary.interval", "500ms".to_owned())];
        let rig = Rig::start(bed, mysqld, topic, &canaries).await?;
        let name = format!("{}-relay{suffix}", bed.topic_name());
        let (queue, subscription) =
            rig.aws.subscribe_filtered(&rig.topic_arn, &name, Some(policy(&KINDS))).await?;
        let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
        let streamer_url = format!("http://{}", rig.streamer.address());
        let settings = [
            ("sns.endpoint_url", rig.endpoint_url.as_str()),
            ("relay.reorder_wait", "1s"),
            ("relay.gap_wait", "1h"),
            ("relay.gap", gap),
            ("relay.streamer_url", &streamer_url),
            ("relay.buffer_rows", "1000"),
        ];
        let relay = relay(&folder, &queue, &webhook, &settings)?;
        let mut connection = rig.mysqld.connect().await?;
        connection.query_drop("CREATE DATABASE paid").await?;
        let table = "CREATE TABLE paid.charges (id INT PRIMARY KEY)";
        connection.query_drop(table).await?;
        insert(&mut connection, 1..=3).await?;
        let is_there = || (ids(&webhook) == [1, 2, 3]).then_some(());
        let come = until("the first rows come", is_there).await;
        come.map_err(|error| format!("{error}\n{}", relay.log_tail()))?;
        let mut loss = Self { rig, relay, webhook, _folder: folder, subscription };
        loss.lose(4..=6).await?;
        if has_more {
            insert(&mut connection, 7..=9).await?;
        }
        Ok(loss)
    }

    /// Inserts rows of which the relay's queue gets none, but the canaries that tell of them.
    async fn lose(&mut self, lost: std::ops::RangeInclusive<i64>) -> Outcome {
        let none = policy(&["canary"]);
        self.rig.aws.set_filter(&self.subscription, none).await?;
        let mut connection = self.rig.mysqld.connect().await?;
        let all = u64::try_from(*lost.end())?;
        insert(&mut connection, lost).await?;
        // The other queue has them: SNS is done with them.
        self.rig.receive_some(all).await?;
        self.rig.aws.set_filter(&self.subscription, policy(&KINDS)).await?;
        Ok(())
    }

    /// Waits until the webhook has these rows, each of them once.
    async fn until_ids(&self, wanted: &[i64]) -> Outcome {
        let come =
            until("the webhook has the rows", || (ids(&self.webhook) == wanted).then_some(()));
        let come = come.await.map_err(|error| {
            let found = ids(&self.webhook);
            let (relay, streamer) = (self.relay.log_tail(), self.rig.streamer.log_tail());
            format!("{error}: found {found:?}\nrelay: {relay}\nstreamer: {streamer}")
        });
        Ok(come?)
    }

    async fn metric(&self, name: &str, labels: &[&str]) -> Result<Option<f64>, Failed> {
        Ok(self.relay.metric(name, labels).await?)
    }
}

async fn insert(
    connection: &mut Conn,
    ids: std::ops::RangeInclusive<i64>,
) -> Result<(), mysql_async::Error> {
    for id in ids {
        connection.query_drop(format!("INSERT INTO paid.charges VALUES ({id})")).await?;
    }
    Ok(())
}

/// Keys of the rows that the webhook accepted.
fn ids(webhook: &Webhook) -> Vec<i64> {
    let received = webhook.received();
    let mut ids: Vec<_> =
        received.rows.iter().filter_map(|row| row["after"]["id"].as_i64()).collect();
    ids.sort_unstable();
    ids
}

async fn lost_rows_are_asked_for_and_delivered_once(bed: Bed) -> Outcome {
    // When rows are lost behind SNS
    let mut loss = Loss::suffer(&bed, "heal", true).await?;

    // Then the relay asks for these, and delivers each row once
    loss.until_ids(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).await?;
    let job = |status: &Value| status["replay"]["state"] == "done";
    let status = loss.rig.streamer.until("the replay is done", SOON, job).await?;
    let replay = &status["replay"];
    // A canary may have come between two of the lost rows: then they are asked for in two pieces
    let told = ["lane", "to", "audience"].map(|key| replay[key].clone());
    let wanted: [Value; 3] = [LANE.into(), 6.into(), "test".into()];
    assert_eq!(told, wanted, "{replay}");
    let (from, rows) = (replay["from"].as_u64(), replay["rows"].as_u64());
    assert!(from.is_some_and(|from| (4..=6).contains(&from) && rows == Some(7 - from)), "{replay}");
    let done = loss.rig.streamer.metric("binpulse_replay_jobs_total", &["outcome=\"done\""]);
    assert!(done.await?.is_some_and(|jobs| jobs >= 1.0));
    loss.relay
        .until("no lane waits", SOON, |status| status["lanes"] == Value::Array(vec![]))
        .await?;
    let healed = loss.metric("binpulse_relay_gaps_healed_total", &[]).await?;
    assert!(healed.is_some_and(|healed| healed >= 1.0), "{healed:?}");
    assert_eq!(ids(&loss.webhook).len(), 9);

    // And the stream was not disturbed
    assert_eq!(loss.relay.stop().await?, Some(0));
    let code = loss.rig.streamer.stop().await?;
    assert_eq!(code, Some(0), "{}", loss.rig.streamer.log_tail());
    Ok(())
}

async fn lost_rows_are_asked_for_and_come_past_those_that_wait_on_a_fifo_queue(
    bed: Bed,
) -> Outcome {
    // The rows behind them are held, and a queue shows no other message of their group meanwhile
    let mut loss = Loss::suffer_behind(&bed, Topic::Fifo, "heal", true).await?;
    loss.until_ids(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).await?;
    let none = |status: &Value| status["lanes"] == Value::Array(vec![]);
    loss.relay.until("no lane waits", SOON, none).await?;
    Ok(())
}

async fn the_last_rows_of_a_lane_are_asked_for_at_once_and_by_a_relay_that_starts_later(
    bed: Bed,
) -> Outcome {
    // When the last rows of a lane are lost, then a canary is enough to ask for them
    let mut loss = Loss::suffer(&bed, "heal", false).await?;
    loss.until_ids(&[1, 2, 3, 4, 5, 6]).await?;

    // And also for a relay that was not there, to which nothing of the lane comes any more
    assert_eq!(loss.relay.stop().await?, Some(0));
    loss.lose(7..=9).await?;
    loss.relay.start_again().await?;
    loss.until_ids(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).await?;
    loss.relay
        .until("no lane waits", SOON, |status| status["lanes"] == Value::Array(vec![]))
        .await?;
    assert_eq!(loss.metric("binpulse_relay_gaps_healed_total", &[]).await?, Some(1.0));
    Ok(())
}

async fn a_lane_that_halts_names_the_command_and_goes_on_after_it(bed: Bed) -> Outcome {
    let mut loss = Loss::suffer(&bed, "halt", true).await?;
    let is_halted = |status: &Value| status["lanes"][0]["state"] == "halted";
    let status = loss.relay.until("the lane halts", SOON, is_halted).await?;
    let lane = &status["lanes"][0];
    assert_eq!(lane["missing"], serde_json::json!([4, 6]), "{lane}");
    let command = "replay --lane 'paid.charges#0' --numbers 4-6 --same-topics --for test";
    assert!(lane["remedy"].as_str().is_some_and(|remedy| remedy.contains(command)), "{lane}");
    assert_eq!(ids(&loss.webhook), [1, 2, 3]);

    // What was never published is refused
    let numbers = |range: &str, more: &[&str]| -> Vec<String> {
        let all = ["--lane", LANE, "--numbers", range].into_iter().chain(more.iter().copied());
        all.map(str::to_owned).collect()
    };
    let (code, output) =
        replay(&mut loss.rig.streamer, &numbers("4-99", &["--same-topics"])).await?;
    assert_eq!(code, Some(75), "{output}");
    assert!(output.contains("has rows up to 9"), "{output}");
    // A time behind the rows is only where they are looked for first
    let too_late = numbers("4-6", &["--dry-run", "--since", "1s"]);
    let (code, output) = replay(&mut loss.rig.streamer, &too_late).await?;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(r#""lanes":{"paid.charges#0":[4,6]}"#), "{output}");

    // Then the command, as an operator runs it, makes the lane go on
    let arguments = numbers("4-6", &["--same-topics", "--for", "test"]);
    let (code, output) = replay(&mut loss.rig.streamer, &arguments).await?;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(r#""rows":3"#), "{output}");
    loss.until_ids(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).await?;
    loss.relay
        .until("no lane waits", SOON, |status| status["lanes"] == Value::Array(vec![]))
        .await?;
    assert_eq!(loss.metric("binpulse_relay_gaps_healed_total", &[]).await?, Some(1.0));
    Ok(())
}

async fn a_lane_may_go_on_without_lost_rows(bed: Bed) -> Outcome {
    let loss = Loss::suffer(&bed, "declare", true).await?;
    loss.until_ids(&[1, 2, 3, 7, 8, 9]).await?;
    let missing = loss.metric("binpulse_relay_rows_total", &["outcome=\"missing\""]).await?;
    assert_eq!(missing, Some(3.0));
    Ok(())
}

async fn rows_beyond_the_bound_go_back_to_the_queue_and_are_delivered_later(bed: Bed) -> Outcome {
    // When more rows wait for lost ones than the relay may hold
    let mut loss = Loss::suffer(&bed, "halt", true).await?;
    let mut connection = loss.rig.mysqld.connect().await?;
    for first in (10..2_410).step_by(400) {
        let rows: Vec<_> = (first..first + 400).map(|id| format!("({id})")).collect();
        connection
            .query_drop(format!("INSERT INTO paid.charges VALUES {}", rows.join(",")))
            .await?;
    }

    // Then it reads no further than the bound and one answer, and gives back what is furthest behind
    let words = "the buffer is full of messages that wait";
    until(words, || loss.relay.log_tail().contains(words).then_some(())).await?;
    let has_room = |status: &Value| status["buffer_rows"].as_u64().is_some_and(|rows| rows <= 500);
    let status = loss.relay.until("half of the rows are given back", SOON, has_room).await?;
    assert!(status["buffer_bytes"].as_u64().is_some_and(|bytes| bytes < 1 << 20), "{status}");
    assert_eq!(ids(&loss.webhook), [1, 2, 3]);

    // And when the lost ones come, all are delivered once
    let numbers = ["--lane", LANE, "--numbers", "4-6", "--same-topics", "--for", "test"];
    let (code, output) = replay(&mut loss.rig.streamer, &numbers.map(str::to_owned)).await?;
    assert_eq!(code, Some(0), "{output}");
    loss.until_ids(&(1..2_410).collect::<Vec<_>>()).await?;
    let is_empty = |status: &Value| status["buffer_rows"] == 0;
    loss.relay.until("nothing is held", SOON, is_empty).await?;
    assert_eq!(loss.metric("binpulse_relay_buffer_rows", &[]).await?, Some(0.0));
    Ok(())
}

/// All but parts of snapshots, which are lost.
fn without_parts() -> String {
    policy(&KINDS)
}

fn with_parts() -> String {
    policy(&[&KINDS[..], &["snapshot"]].concat())
}

async fn a_lost_part_of_a_snapshot_halts_its_lane_until_an_operator_goes_on_without_it(
    bed: Bed,
) -> Outcome {
    // When the parts of a snapshot are lost behind SNS, and rows that stand behind them are not
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let name = format!("{}-relay", bed.topic_name());
    let policy = Some(with_parts());
    let (queue, subscription) = rig.aws.subscribe_filtered(&rig.topic_arn, &name, policy).await?;
    let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
    let streamer_url = format!("http://{}", rig.streamer.address());
    let settings = [
        ("sns.endpoint_url", rig.endpoint_url.as_str()),
        ("relay.gap_wait", "1s"),
        ("relay.gap", "halt"),
        ("relay.streamer_url", &streamer_url),
    ];
    let mut process = relay(&folder, &queue, &webhook, &settings)?;
    let mut connection = rig.mysqld.connect().await?;
    connection.query_drop("CREATE DATABASE paid").await?;
    connection.query_drop("CREATE TABLE paid.charges (id INT PRIMARY KEY)").await?;
    connection.query_drop("GRANT SELECT ON paid.* TO 'binpulse'@'%'").await?;
    insert(&mut connection, 1..=3).await?;
    until("the first rows come", || (ids(&webhook) == [1, 2, 3]).then_some(())).await?;
    rig.aws.set_filter(&subscription, without_parts()).await?;
    snapshot(&mut rig.streamer, &["--tables", "paid.charges"]).await?;
    rig.aws.set_filter(&subscription, with_parts()).await?;
    insert(&mut connection, 4..=5).await?;

    // Then the lane halts by setting, and says what an operator does: no log has them
    let is_halted = |status: &Value| status["lanes"][0]["state"] == "halted";
    let status = process.until("the lane halts", 4 * SOON, is_halted).await?;
    let lane = &status["lanes"][0];
    let told = (&lane["missing"], &lane["missing_parts"]);
    assert_eq!(told, (&Value::Null, &serde_json::json!([1, 3])), "{lane}");
    let command = "binpulse snapshot start --tables 'paid.charges' --for test";
    assert!(lane["remedy"].as_str().is_some_and(|remedy| remedy.contains(command)), "{lane}");
    assert_eq!(process.metric("binpulse_relay_gaps_open", &[]).await?, Some(1.0));
    assert_eq!(ids(&webhook), [1, 2, 3]);

    // And with what it says the lane goes on, and the rows come again
    assert_eq!(process.stop().await?, Some(0));
    let settings = &mut process.command_mut().settings;
    settings.retain(|(name, _)| *name != "relay.gap");
    settings.push(("relay.gap", String::from("declare")));
    process.start_again().await?;
    until("rows behind them come", || (ids(&webhook) == [1, 2, 3, 4, 5]).then_some(())).await?;
    let missing = process.metric("binpulse_relay_rows_total", &["outcome=\"missing\""]).await?;
    assert_eq!(missing, Some(3.0));
    snapshot(&mut rig.streamer, &["--tables", "paid.charges", "--for", "test"]).await?;
    let twice = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5];
    until("they are read again", || (ids(&webhook) == twice).then_some(())).await?;
    Ok(())
}

async fn a_copy_goes_on_without_a_lost_part_and_is_repaired_by_a_snapshot(bed: Bed) -> Outcome {
    let table = "CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(20))";
    let rows = "INSERT INTO d.t VALUES (1, 'a'), (2, 'b'), (3, 'c')";
    let settings = [("relay.gap", "declare"), ("relay.gap_wait", "1s")];
    let mut scene = Scene::set_with(&bed, &[table, rows], &settings).await?;
    let all = "SELECT id, v FROM d.t ORDER BY id";
    scene.until_equal(all).await?;

    // When parts are lost, the rows behind them come after a while
    scene.copy.execute(&["UPDATE d.t SET v = 'broken' WHERE id = 2"]).await?;
    scene.rig.aws.set_filter(&scene.subscription, without_parts()).await?;
    snapshot(&mut scene.rig.streamer, &["--tables", "d.t"]).await?;
    scene.rig.aws.set_filter(&scene.subscription, with_parts()).await?;
    scene.rig.mysqld.execute(&["INSERT INTO d.t VALUES (4, 'd')"]).await?;
    scene.until_equal("SELECT id, v FROM d.t WHERE id = 4").await?;
    let missing = scene.relay.metric("binpulse_relay_rows_total", &["outcome=\"missing\""]).await?;
    assert_eq!(missing, Some(3.0));

    // And the next snapshot repairs what is wrong
    snapshot(&mut scene.rig.streamer, &["--tables", "d.t"]).await?;
    scene.until_equal(all).await?;
    Ok(())
}

async fn a_snapshot_for_another_route_holds_up_nobody(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let name = format!("{}-relay", bed.topic_name());
    let policy = Some(with_parts());
    let (queue, _) = rig.aws.subscribe_filtered(&rig.topic_arn, &name, policy).await?;
    let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
    let settings = [("sns.endpoint_url", rig.endpoint_url.as_str()), ("relay.gap_wait", "1h")];
    let relay = relay(&folder, &queue, &webhook, &settings)?;
    let mut connection = rig.mysqld.connect().await?;
    connection.query_drop("CREATE DATABASE paid").await?;
    connection.query_drop("CREATE TABLE paid.charges (id INT PRIMARY KEY)").await?;
    connection.query_drop("GRANT SELECT ON paid.* TO 'binpulse'@'%'").await?;
    insert(&mut connection, 1..=3).await?;
    until("the first rows come", || (ids(&webhook) == [1, 2, 3]).then_some(())).await?;

    // When a snapshot is read for another route, whose parts this one's queue never gets
    snapshot(&mut rig.streamer, &["--tables", "paid.charges", "--for", "other"]).await?;
    insert(&mut connection, 4..=5).await?;

    // Then the rows behind it come, and so does a snapshot for all
    let come = until("rows come", || (ids(&webhook) == [1, 2, 3, 4, 5]).then_some(())).await;
    come.map_err(|error| format!("{error}\n{}", relay.log_tail()))?;
    snapshot(&mut rig.streamer, &["--tables", "paid.charges"]).await?;
    let twice = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5];
    let come = until("they are read", || (ids(&webhook) == twice).then_some(())).await;
    Ok(come.map_err(|error| format!("{error}\n{}", relay.log_tail()))?)
}

async fn lost_parts_of_a_snapshot_are_read_again_and_delivered(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let name = format!("{}-relay", bed.topic_name());
    let policy = Some(with_parts());
    let (queue, subscription) = rig.aws.subscribe_filtered(&rig.topic_arn, &name, policy).await?;
    let (folder, webhook) = (Folder::create()?, Webhook::start().await?);
    let streamer_url = format!("http://{}", rig.streamer.address());
    let settings = [
        ("sns.endpoint_url", rig.endpoint_url.as_str()),
        ("relay.gap_wait", "1s"),
        ("relay.streamer_url", &streamer_url),
    ];
    let mut relay = relay(&folder, &queue, &webhook, &settings)?;
    let mut connection = rig.mysqld.connect().await?;
    connection.query_drop("CREATE DATABASE paid").await?;
    connection.query_drop("CREATE TABLE paid.charges (id INT PRIMARY KEY)").await?;
    connection.query_drop("GRANT SELECT ON paid.* TO 'binpulse'@'%'").await?;
    insert(&mut connection, 1..=3).await?;
    until("the first rows come", || (ids(&webhook) == [1, 2, 3]).then_some(())).await?;

    // When the parts of a snapshot are lost behind SNS, and rows that stand behind them are not
    rig.aws.set_filter(&subscription, without_parts()).await?;
    snapshot(&mut rig.streamer, &["--tables", "paid.charges"]).await?;
    rig.aws.set_filter(&subscription, with_parts()).await?;
    insert(&mut connection, 4..=5).await?;

    // Then the table is read again for this route alone, and its lane goes on
    let twice = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5];
    let come = until("the rows come", || (ids(&webhook) == twice).then_some(())).await;
    come.map_err(|error| format!("{error}\n{}", relay.log_tail()))?;
    assert_eq!(rig.streamer.status().await?["snapshot"]["audience"], "test");
    let none = |status: &Value| status["lanes"] == Value::Array(vec![]);
    relay.until("no lane waits", SOON, none).await?;
    assert_eq!(relay.metric("binpulse_relay_gaps_healed_total", &[]).await?, Some(1.0));
    let missing = relay.metric("binpulse_relay_rows_total", &["outcome=\"missing\""]).await?;
    assert_eq!(missing, Some(0.0));
    Ok(())
}

async fn a_lost_part_is_read_again_and_nothing_else_and_the_copy_is_equal(bed: Bed) -> Outcome {
    const ROWS: u64 = 4_000;
    let table = "CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(120))";
    let rows = (1..=ROWS).map(|id| format!("({id}, REPEAT('{}', 100))", id % 10));
    let rows = format!("INSERT INTO d.t VALUES {}", rows.collect::<Vec<_>>().join(","));
    let settings = [("relay.gap_wait", "1s")];
    let mut scene = Scene::set_with(&bed, &[table, &rows], &settings).await?;
    let all = "SELECT id, v FROM d.t ORDER BY id";
    scene.until_equal(all).await?;

    // When one part of many never arrives at the queue, of a snapshot that is to repair the copy
    assert_eq!(scene.relay.stop().await?, Some(0));
    scene.copy.execute(&["UPDATE d.t SET v = 'broken'"]).await?;
    snapshot(&mut scene.rig.streamer, &["--tables", "d.t"]).await?;
    scene.lose_the_part(3).await?;
    scene.relay.start_again().await?;

    // Then the relay has its keys read again, and no others, and the copy is equal
    scene.until_equal(all).await?;
    let status = scene.rig.streamer.status().await?;
    let again = &status["snapshot"];
    assert_eq!((&again["audience"], &again["state"]), (&"copy".into(), &"done".into()), "{again}");
    assert!(again["rows"].as_u64().is_some_and(|rows| rows > 0 && rows < ROWS / 2), "{again}");
    assert_eq!(scene.relay.metric("binpulse_relay_gaps_healed_total", &[]).await?, Some(1.0));
    Ok(())
}

async fn the_last_parts_of_a_quiet_table_are_missed_by_its_mark_and_read_again(
    bed: Bed,
) -> Outcome {
    let table = "CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(20))";
    let rows = "INSERT INTO d.t VALUES (1, 'a'), (2, 'b'), (3, 'c')";
    let settings = [("relay.gap_wait", "1s")];
    let mut scene = Scene::set_with(&bed, &[table, rows], &settings).await?;
    let all = "SELECT id, v FROM d.t ORDER BY id";
    scene.until_equal(all).await?;

    // When all parts are lost of a table to which nobody writes
    scene.copy.execute(&["UPDATE d.t SET v = 'broken' WHERE id = 2"]).await?;
    let marks = serde_json::json!({ "op": ["insert", "update", "delete", "(none)"] });
    scene.rig.aws.set_filter(&scene.subscription, marks.to_string()).await?;
    snapshot(&mut scene.rig.streamer, &["--tables", "d.t"]).await?;
    scene.rig.aws.set_filter(&scene.subscription, String::from("{}")).await?;

    // Then the mark of its end is enough to miss them
    scene.until_equal(all).await?;
    let healed = scene.relay.metric("binpulse_relay_gaps_healed_total", &[]).await?;
    assert!(healed.is_some_and(|healed| healed >= 1.0), "{healed:?}");
    Ok(())
}
