//! Snapshots beside the stream: a copy made of parts and rows equals the source.

use std::time::Duration;

use binpulse_demo::{Command, Mysqld, Options, Streamer, Workload};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::rebuild::rebuild_snapshots;
use crate::resume::{replicated, until_equal};
use crate::suite::{Outcome, tests};
use crate::support::oracle;

tests! {
    a_copy_made_of_a_snapshot_and_the_stream_equals_the_source on [Mysql97, Mysql80, Mariadb1011, Mariadb118];
    a_fifo_topic_and_several_lanes_carry_a_snapshot on [Mysql97];
    kills_in_the_middle_of_a_snapshot_lose_no_row on [Mysql97, Mariadb118];
    what_is_delivered_and_not_yet_visible_is_not_overwritten on [Mysql97];
    a_snapshot_that_cannot_be_is_refused_by_name on [Mysql97, Mariadb1011];
    a_refusal_is_told_also_behind_a_snapshot_that_is_over on [Mysql97];
    a_source_without_gtids_is_refused_with_the_statement_that_turns_them_on on [Mysql97, Mysql80];
    a_paused_snapshot_is_still_paused_after_a_restart on [Mysql97];
    digests_equal_those_of_a_true_copy on [Mysql97, Mariadb118];
    a_cascade_that_no_log_has_is_found_by_verify_and_repaired_by_a_snapshot on [Mysql80];
    rows_that_were_not_asked_for_are_not_taken_for_gone on [Mysql97];
    rows_are_read_from_a_replica_and_only_while_it_follows on [Mysql97, Mysql80];
    nothing_is_read_while_a_server_runs_many_statements on [Mysql97, Mariadb1011];
}

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Pause between two questions.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(20);

/// A shop with rows that were there before the stream, and a queue for its copy.
struct Story {
    rig: Rig,
    shop: Workload,
    queue_url: String,
    /// Rows that were written before the stream began.
    before: u64,
}

impl Story {
    async fn tell(
        bed: &Bed,
        topic: Topic,
        settings: &[(&'static str, String)],
    ) -> Result<Self, Failure> {
        let mysqld = bed.mysqld(Options::default()).await?;
        Self::tell_of(bed, mysqld, topic, settings).await
    }

    /// The same on this server.
    async fn tell_of(
        bed: &Bed,
        mysqld: Mysqld,
        topic: Topic,
        settings: &[(&'static str, String)],
    ) -> Result<Self, Failure> {
        let mut shop = Workload::open(mysqld.connect().await?, 5).await?;
        shop.stock().await?;
        for _ in 0..40 {
            shop.step().await?;
        }
        shop.take_stock(6_000).await?;
        let mut all =
            vec![("source.start", "now".to_owned()), ("snapshot.chunk_bytes", "64KiB".to_owned())];
        all.extend_from_slice(settings);
        let rig = Rig::start(bed, mysqld, topic, &all).await?;
        rig.mysqld.execute(&["GRANT SELECT ON shop.* TO 'binpulse'@'%'"]).await?;
        let suffix = if topic == Topic::Fifo { "-copy.fifo" } else { "-copy" };
        let name = format!("{}{suffix}", bed.topic_name());
        let queue_url = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
        let before = shop.written().total();
        Ok(Self { rig, shop, queue_url, before })
    }

    async fn steps(&mut self, count: u32) -> Outcome {
        for _ in 0..count {
            self.shop.step().await?;
        }
        Ok(())
    }

    /// Makes the copy, and compares it.
    async fn is_copied(&mut self, bed: &Bed, done: &Value) -> Result<Value, Failure> {
        let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
        let rows = self.shop.written().total() - self.before;
        let tables = done["tables"].as_array().map_or(0, Vec::len);
        let report =
            rebuild_snapshots(bed, &self.rig, &self.queue_url, &copy, rows, tables).await?;
        assert_eq!(report["complete"], true, "{report}");
        let differences = oracle::differences(&self.rig.mysqld, &copy, "shop").await?;
        assert!(differences.is_empty(), "{}\n{report}", differences.join("\n"));
        Ok(report)
    }
}

/// Runs a command about snapshots with a service's settings; exit code and output.
pub(crate) async fn command(
    streamer: &mut Streamer,
    arguments: &[&str],
) -> Result<(Option<i32>, String), Failure> {
    let address = streamer.address().to_owned();
    let service = streamer.command_mut();
    let command = Command {
        binary: service.binary.clone(),
        command: "snapshot".to_owned(),
        settings: Vec::new(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        environment: vec![("BINPULSE_HTTP_LISTEN", address)],
    };
    Ok(command.run_to_end(SOON).await?)
}

pub(crate) async fn start(streamer: &mut Streamer, arguments: &[&str]) -> Outcome {
    let all: Vec<_> = ["start"].iter().chain(arguments).copied().collect();
    let (code, output) = command(streamer, &all).await?;
    assert_eq!(code, Some(0), "{output}");
    Ok(())
}

/// Waits until the snapshot's status is as it should be.
pub(crate) async fn until(
    streamer: &Streamer,
    is: impl Fn(&Value) -> bool,
) -> Result<Value, Failure> {
    let give_up = Instant::now() + SOON * 2;
    loop {
        let snapshot = match streamer.status().await {
            Ok(status) => status["snapshot"].clone(),
            Err(_) => Value::Null,
        };
        if is(&snapshot) {
            return Ok(snapshot);
        }
        if Instant::now() > give_up {
            return Err(format!("still {snapshot}\n{}", streamer.log_tail()).into());
        }
        sleep(ASK_EVERY).await;
    }
}

pub(crate) fn is_done(snapshot: &Value) -> bool {
    assert_ne!(snapshot["state"], "refused", "{snapshot}");
    snapshot["state"] == "done"
}

async fn a_copy_made_of_a_snapshot_and_the_stream_equals_the_source(bed: Bed) -> Outcome {
    // Given a shop whose rows are older than the stream
    let mut story = Story::tell(&bed, Topic::Standard, &[]).await?;

    // When it is snapshotted while it does business, alters a table and writes in bulk
    story.steps(10).await?;
    start(&mut story.rig.streamer, &["--tables", "shop.*"]).await?;
    for round in 0..20 {
        story.steps(5).await?;
        match round {
            5 => story.shop.alter().await?,
            10 => story.shop.take_stock(3_000).await?,
            _ => {}
        }
    }
    let done = until(&story.rig.streamer, is_done).await?;

    // Then each table is done, and the copy equals the source
    let tables = done["tables"].as_array().ok_or("no tables")?;
    assert!(tables.iter().all(|table| table["state"] == "done"), "{done}");
    story.steps(10).await?;
    let report = story.is_copied(&bed, &done).await?;
    assert!(report["snapshot_rows"].as_u64() >= Some(6_000), "{report}");
    assert_eq!(report["marks"]["SNAPSHOT_PHASE_DONE"].as_array().map(Vec::len), Some(tables.len()));
    Ok(())
}

async fn a_fifo_topic_and_several_lanes_carry_a_snapshot(bed: Bed) -> Outcome {
    let lanes = [("message.lanes", "4".to_owned())];
    let mut story = Story::tell(&bed, Topic::Fifo, &lanes).await?;
    start(&mut story.rig.streamer, &["--tables", "shop.*"]).await?;
    story.steps(60).await?;
    let done = until(&story.rig.streamer, is_done).await?;
    story.is_copied(&bed, &done).await?;
    Ok(())
}

async fn kills_in_the_middle_of_a_snapshot_lose_no_row(bed: Bed) -> Outcome {
    // Given a snapshot that takes a while
    let slow = [("snapshot.rows_per_second", "4000".to_owned())];
    let mut story = Story::tell(&bed, Topic::Standard, &slow).await?;
    start(&mut story.rig.streamer, &["--tables", "shop.*"]).await?;

    // When the streamer is killed after some of its chunks, again and again
    for kill in 1..=3_u64 {
        let chunks = |snapshot: &Value| {
            let tables = snapshot["tables"].as_array().into_iter().flatten();
            tables.filter_map(|table| table["chunks"].as_u64()).sum::<u64>()
        };
        until(&story.rig.streamer, |snapshot| chunks(snapshot) >= 2 * kill).await?;
        story.steps(10).await?;
        story.rig.streamer.start_again().await?;
        story.rig.streamer.until_ready(SOON).await?;
    }
    let done = until(&story.rig.streamer, is_done).await?;
    story.steps(5).await?;

    // Then nothing is missing in the copy, and nothing is there twice or too old
    story.is_copied(&bed, &done).await?;
    Ok(())
}

/// Semi-synchronous replication without a replica: a commit is sent, and does not become visible.
async fn hold_commits(mysqld: &Mysqld) -> Outcome {
    mysqld
        .execute(&[
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "SET GLOBAL rpl_semi_sync_source_timeout = 600000",
            "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'",
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ])
        .await?;
    Ok(())
}

async fn what_is_delivered_and_not_yet_visible_is_not_overwritten(bed: Bed) -> Outcome {
    // Given a row whose update was delivered, though its commit still waits for a replica
    let quiet = [("heartbeat.enabled", "false".to_owned())];
    let mut story = Story::tell(&bed, Topic::Standard, &quiet).await?;
    let mysqld = &story.rig.mysqld;
    mysqld.execute(&["CREATE TABLE shop.race (id INT PRIMARY KEY, v VARCHAR(10))"]).await?;
    mysqld.execute(&["INSERT INTO shop.race VALUES (1, 'old'), (2, 'old')"]).await?;
    hold_commits(mysqld).await?;
    let mut session = mysqld.connect().await?;
    let update = tokio::spawn(async move {
        session.query_drop("UPDATE shop.race SET v = 'new' WHERE id = 1").await
    });
    let (name, labels) = ("binpulse_changes_published_total", ["op=\"update\""]);
    let give_up = Instant::now() + SOON;
    while story.rig.streamer.metric(name, &labels).await? != Some(1.0) {
        assert!(Instant::now() < give_up, "the update was not published");
        sleep(ASK_EVERY).await;
    }
    let mut other = story.rig.mysqld.connect().await?;
    let seen: Option<String> = other.query_first("SELECT v FROM shop.race WHERE id = 1").await?;
    assert_eq!(seen.as_deref(), Some("old"), "the commit is not held");

    // When the table is snapshotted
    start(&mut story.rig.streamer, &["--tables", "shop.race"]).await?;

    // Then its chunk waits until the update is visible, and does not bring the old row back
    until(&story.rig.streamer, |snapshot| snapshot["waits_for"] == "visibility").await?;
    story.rig.mysqld.execute(&["SET GLOBAL rpl_semi_sync_source_enabled = OFF"]).await?;
    update.await??;
    until(&story.rig.streamer, is_done).await?;
    let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
    let report = rebuild_snapshots(&bed, &story.rig, &story.queue_url, &copy, 3, 1).await?;
    let mut session = copy.connect().await?;
    let rows: Vec<(u32, String)> = session.query("SELECT id, v FROM shop.race ORDER BY id").await?;
    assert_eq!(rows, [(1, "new".to_owned()), (2, "old".to_owned())], "{report}");
    Ok(())
}

async fn a_snapshot_that_cannot_be_is_refused_by_name(bed: Bed) -> Outcome {
    // Given tables that can't be read, each in its way
    let excluded = [("filter.exclude", "shop.secret".to_owned())];
    let mut story = Story::tell(&bed, Topic::Standard, &excluded).await?;
    story
        .rig
        .mysqld
        .execute(&[
            "CREATE TABLE shop.keyless (v INT)",
            "CREATE VIEW shop.seen AS SELECT 1 AS id",
            "CREATE TABLE shop.secret (id INT PRIMARY KEY)",
            "CREATE DATABASE other",
            "CREATE TABLE other.t (id INT PRIMARY KEY)",
        ])
        .await?;

    // When a snapshot of them is asked for, then it is refused, and the stream goes on
    for (arguments, words) in [
        (&["--tables", "shop.keyless"][..], "key"),
        (&["--tables", "shop.nothing"], "matches no table"),
        (&["--tables", "shop.secret"], "filters leave out"),
        (&["--tables", "other.t"], "SELECT"),
        (&["--tables", "nonsense"], "database.table"),
        (&["--tables", "shop.products", "--where", "no such column"], "condition"),
        (&["--tables", "shop.*", "--where", "1"], "one table only"),
        (&["--tables", "shop.products", "--keys", "x"], "key `x`"),
        (&["--tables", "shop.seen"], "it is a view"),
        (&["--tables", "shop.products", "--for", ""], "a name of 1 to 64 bytes"),
    ] {
        let all: Vec<_> = ["start"].iter().chain(arguments).copied().collect();
        let (code, output) = command(&mut story.rig.streamer, &all).await?;
        assert_ne!(code, Some(0), "{arguments:?}: {output}");
        assert!(output.contains(words), "{arguments:?}: {output}");
    }
    story.steps(3).await?;
    let rows = story.shop.written().total() - story.before;
    let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
    let report = rebuild_snapshots(&bed, &story.rig, &story.queue_url, &copy, rows, 0).await?;
    assert_eq!((&report["rows"], &report["parts"]), (&rows.into(), &0.into()), "{report}");
    Ok(())
}

async fn a_refusal_is_told_also_behind_a_snapshot_that_is_over(bed: Bed) -> Outcome {
    // Given a snapshot that is over
    let mut story = Story::tell(&bed, Topic::Standard, &[]).await?;
    start(&mut story.rig.streamer, &["--tables", "shop.products", "--wait"]).await?;

    // When another is asked for that cannot be
    let refused = ["start", "--tables", "shop.nothing"];
    let (code, output) = command(&mut story.rig.streamer, &refused).await?;

    // Then that is what is said, by the command and afterwards, until one begins
    assert!(code == Some(1) && output.contains("matches no table"), "{code:?}: {output}");
    let (code, output) = command(&mut story.rig.streamer, &["status"]).await?;
    assert!(code == Some(1) && output.contains("matches no table"), "{code:?}: {output}");
    start(&mut story.rig.streamer, &["--tables", "shop.products", "--wait"]).await?;
    until(&story.rig.streamer, is_done).await?;
    Ok(())
}

/// Notes statements from now on.
async fn note_statements(mysqld: &Mysqld) -> Outcome {
    mysqld.execute(&["SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = 1"]).await?;
    Ok(())
}

/// How many statements of the service's account read rows of products since then.
async fn reads_of_products(mysqld: &Mysqld) -> Result<u64, Failure> {
    let mut session = mysqld.connect().await?;
    let count = "SELECT COUNT(*) FROM mysql.general_log WHERE user_host LIKE 'binpulse[%' \
                 AND argument LIKE 'SELECT%FROM `shop`.`products`%'";
    let reads: Option<u64> = session.query_first(count).await?;
    session.disconnect().await?;
    Ok(reads.unwrap_or_default())
}

async fn rows_are_read_from_a_replica_and_only_while_it_follows(bed: Bed) -> Outcome {
    // Given a source with a replica that has stopped, from which rows are to be read
    let (primary, replica) = replicated(&bed).await?;
    let settings = [
        ("snapshot.host", replica.address()),
        ("snapshot.lag_hosts", replica.address()),
        ("snapshot.max_replica_lag", "1s".to_owned()),
    ];
    let mut story = Story::tell_of(&bed, primary, Topic::Standard, &settings).await?;
    until_equal(&story.rig.mysqld, &replica).await?;
    for server in [&story.rig.mysqld, &replica] {
        note_statements(server).await?;
    }
    replica.execute(&["STOP REPLICA SQL_THREAD"]).await?;
    story.steps(10).await?;

    // When there is a snapshot, then it waits: nobody tells how far the replica is behind
    start(&mut story.rig.streamer, &["--tables", "shop.*"]).await?;
    until(&story.rig.streamer, |snapshot| snapshot["waits_for"] == "replica_lag").await?;
    let status = story.rig.streamer.status().await?;
    assert_eq!(status["snapshot"]["newest_chunk_at_us"], Value::Null, "{status}");
    let probes = reads_of_products(&replica).await?;

    // And when the replica follows again, its rows are read, none of the source's, and nothing is missing
    replica.execute(&["START REPLICA SQL_THREAD"]).await?;
    story.steps(10).await?;
    let done = until(&story.rig.streamer, is_done).await?;
    let reads = (reads_of_products(&replica).await?, reads_of_products(&story.rig.mysqld).await?);
    assert!(reads.0 > probes && reads.1 == 0, "{reads:?}");
    story.is_copied(&bed, &done).await?;
    Ok(())
}

async fn nothing_is_read_while_a_server_runs_many_statements(bed: Bed) -> Outcome {
    // Given a server that runs more statements than a snapshot bears
    let settings = [("snapshot.max_threads_running", "8".to_owned())];
    let mut story = Story::tell(&bed, Topic::Standard, &settings).await?;
    let mut ids = Vec::new();
    for _ in 0..12 {
        let mut session = story.rig.mysqld.connect().await?;
        ids.push(session.id());
        tokio::spawn(async move { session.query_drop("SELECT SLEEP(1000)").await });
    }

    // When there is a snapshot, then it waits until they have ended
    start(&mut story.rig.streamer, &["--tables", "shop.*"]).await?;
    until(&story.rig.streamer, |snapshot| snapshot["waits_for"] == "threads_running").await?;
    let status = story.rig.streamer.status().await?;
    assert_eq!(status["snapshot"]["newest_chunk_at_us"], Value::Null, "{status}");
    for id in ids {
        story.rig.mysqld.execute(&[format!("KILL {id}")]).await?;
    }
    let done = until(&story.rig.streamer, is_done).await?;
    story.is_copied(&bed, &done).await?;
    Ok(())
}

async fn a_source_without_gtids_is_refused_with_the_statement_that_turns_them_on(
    bed: Bed,
) -> Outcome {
    // Given a stream by file and position
    let mysqld = bed.mysqld(Options { gtid: false, ..Options::default() }).await?;
    mysqld.execute(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"]).await?;
    let now = [("source.start", "now".to_owned())];
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &now).await?;
    rig.mysqld.execute(&["GRANT SELECT ON shop.* TO 'binpulse'@'%'"]).await?;

    // When a snapshot, or digests, are asked for, then each is refused, and the stream goes on
    for words in
        [&["snapshot", "start", "--tables", "shop.t"][..], &["verify", "--tables", "shop.t"]]
    {
        let command = Command {
            binary: rig.streamer.command_mut().binary.clone(),
            command: words[0].to_owned(),
            settings: Vec::new(),
            arguments: words[1..].iter().map(|text| (*text).to_owned()).collect(),
            environment: vec![("BINPULSE_HTTP_LISTEN", rig.streamer.address().to_owned())],
        };
        let (code, output) = command.run_to_end(SOON).await?;
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains("SET PERSIST gtid_mode = ON"), "{output}");
    }
    rig.mysqld.execute(&["INSERT INTO shop.t VALUES (1)"]).await?;
    let inserts = ("binpulse_changes_published_total", ["op=\"insert\""]);
    let give_up = Instant::now() + SOON;
    while rig.streamer.metric(inserts.0, &inserts.1).await? != Some(1.0) {
        assert!(Instant::now() < give_up, "{}", rig.streamer.log_tail());
        sleep(ASK_EVERY).await;
    }
    Ok(())
}

async fn a_paused_snapshot_is_still_paused_after_a_restart(bed: Bed) -> Outcome {
    let slow = [("snapshot.rows_per_second", "2000".to_owned())];
    let mut story = Story::tell(&bed, Topic::Standard, &slow).await?;
    start(&mut story.rig.streamer, &["--tables", "shop.*"]).await?;
    until(&story.rig.streamer, |snapshot| snapshot["rows"].as_u64() >= Some(1)).await?;
    let (code, output) = command(&mut story.rig.streamer, &["pause"]).await?;
    assert_eq!(code, Some(0), "{output}");
    until(&story.rig.streamer, |snapshot| snapshot["state"] == "paused").await?;
    let (code, output) = command(&mut story.rig.streamer, &["start", "--tables", "shop.*"]).await?;
    assert!(code != Some(0) && output.contains("not over"), "{output}");
    // What was ordered is saved with the next checkpoint.
    story.steps(5).await?;
    story.rig.streamer.stop().await?;
    story.rig.streamer.start_again().await?;
    story.rig.streamer.until_ready(SOON).await?;
    let paused = until(&story.rig.streamer, |snapshot| !snapshot.is_null()).await?;
    assert_eq!(paused["state"], "paused", "{paused}");
    story.steps(5).await?;
    let (code, output) = command(&mut story.rig.streamer, &["resume"]).await?;
    assert_eq!(code, Some(0), "{output}");
    let done = until(&story.rig.streamer, is_done).await?;
    story.is_copied(&bed, &done).await?;
    Ok(())
}

/// Has digests published, and waits for their end.
pub(crate) async fn verify(streamer: &mut Streamer, tables: &str) -> Result<Value, Failure> {
    let address = streamer.address().to_owned();
    let command = Command {
        binary: streamer.command_mut().binary.clone(),
        command: "verify".to_owned(),
        settings: Vec::new(),
        arguments: vec!["--tables".to_owned(), tables.to_owned()],
        environment: vec![("BINPULSE_HTTP_LISTEN", address)],
    };
    let (code, output) = command.run_to_end(SOON).await?;
    assert_eq!(code, Some(0), "{output}");
    until(streamer, is_done).await
}

async fn digests_equal_those_of_a_true_copy(bed: Bed) -> Outcome {
    // Given a copy made of a snapshot, and a shop that goes on
    let mut story = Story::tell(&bed, Topic::Standard, &[]).await?;
    start(&mut story.rig.streamer, &["--tables", "shop.*"]).await?;
    story.steps(20).await?;
    let done = until(&story.rig.streamer, is_done).await?;

    // When digests of its tables are published in the middle of changes
    let verifying = verify(&mut story.rig.streamer, "shop.*");
    let (verified, steps) = tokio::join!(verifying, async {
        for _ in 0..40 {
            story.shop.step().await?;
        }
        Ok::<_, Failure>(())
    });
    verified?;
    steps?;
    story.steps(5).await?;

    // Then each of them is that of the copy's rows
    let report = story.is_copied(&bed, &done).await?;
    assert!(report["compared"].as_u64() >= Some(6), "{report}");
    assert_eq!(report["differing"], serde_json::json!([]), "{report}");
    Ok(())
}

async fn a_cascade_that_no_log_has_is_found_by_verify_and_repaired_by_a_snapshot(
    bed: Bed,
) -> Outcome {
    // Given children that a cascade deletes, which the log of this server does not have
    let mut story = Story::tell(&bed, Topic::Standard, &[]).await?;
    let statements = [
        "CREATE TABLE shop.parent (id INT PRIMARY KEY)",
        "CREATE TABLE shop.child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) \
         REFERENCES shop.parent (id) ON DELETE CASCADE)",
        "INSERT INTO shop.parent VALUES (1), (2)",
        "INSERT INTO shop.child VALUES (10, 1), (11, 2), (12, 1), (13, 2)",
        "DELETE FROM shop.parent WHERE id = 1",
    ];
    story.rig.mysqld.execute(&statements).await?;

    // When digests are compared, and the table that differs is read again
    verify(&mut story.rig.streamer, "shop.child,shop.parent").await?;
    start(&mut story.rig.streamer, &["--tables", "shop.child", "--after", "5", "--upto", "20"])
        .await?;
    until(&story.rig.streamer, is_done).await?;
    verify(&mut story.rig.streamer, "shop.child").await?;
    story.rig.mysqld.execute(&["INSERT INTO shop.parent VALUES (9)"]).await?;

    // Then the range was named, and the copy's rows are gone as the source's are
    let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
    let report = rebuild_snapshots(&bed, &story.rig, &story.queue_url, &copy, 8, 1).await?;
    let expected = serde_json::json!([
        {"table": "shop.child", "after": [], "upto": [], "rows": 2, "rows_here": 4}
    ]);
    assert_eq!((&report["differing"], &report["gone"]), (&expected, &2.into()), "{report}");
    assert_eq!(report["compared"], 3, "{report}");
    let mut session = copy.connect().await?;
    let rows: Vec<u32> = session.query("SELECT id FROM shop.child ORDER BY id").await?;
    assert_eq!(rows, [11, 13]);
    Ok(())
}

async fn rows_that_were_not_asked_for_are_not_taken_for_gone(bed: Bed) -> Outcome {
    // Given a copy of a table
    let mut story = Story::tell(&bed, Topic::Standard, &[]).await?;
    story.rig.mysqld.execute(&["CREATE TABLE shop.some (id INT PRIMARY KEY, v INT)"]).await?;
    story.rig.mysqld.execute(&["INSERT INTO shop.some VALUES (1, 1), (2, 2), (3, 3)"]).await?;

    // When only some of its rows are read
    for rows in [["--where", "v = 2"], ["--keys", "3"], ["--upto", "1"]] {
        start(&mut story.rig.streamer, &["--tables", "shop.some", rows[0], rows[1]]).await?;
        until(&story.rig.streamer, is_done).await?;
    }
    story.rig.mysqld.execute(&["INSERT INTO shop.some VALUES (4, 4)"]).await?;

    // Then the others stay
    let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
    let report = rebuild_snapshots(&bed, &story.rig, &story.queue_url, &copy, 4, 3).await?;
    assert_eq!((&report["gone"], &report["snapshot_rows"]), (&0.into(), &3.into()), "{report}");
    let mut session = copy.connect().await?;
    let rows: Vec<u32> = session.query("SELECT id FROM shop.some ORDER BY id").await?;
    assert_eq!(rows, [1, 2, 3, 4]);
    Ok(())
}
