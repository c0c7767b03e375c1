//! Snapshots while things go wrong: tables that change in the middle, servers that go, rows that move.

use std::time::Duration;

use binpulse_demo::{Mysqld, Options, prepare, settings_for};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Rig, SOON, Topic, binary};
use crate::failover::PROMOTE;
use crate::rebuild::rebuild_snapshots;
use crate::resume::{replicated, until_equal};
use crate::snapshot::{ASK_EVERY, Failure, command, is_done, start, until};
use crate::suite::{Outcome, tests};
use crate::support::oracle;
use crate::support::proxy::{Fault, Proxy, Way, Which};
use crate::takeover::is_healthy;

tests! {
    a_table_that_is_altered_in_the_middle_of_its_snapshot_is_copied_whole on [Mysql97, Mariadb118];
    a_table_whose_key_changes_in_the_middle_of_its_snapshot_is_read_again on [Mysql97, Mariadb1011];
    a_table_that_is_swapped_in_the_middle_of_its_snapshot_is_read_again on [Mysql97, Mariadb118];
    a_table_that_is_emptied_or_made_again_is_read_again_and_one_that_is_dropped_is_given_up on [Mysql97];
    a_server_that_restarts_in_the_middle_of_a_snapshot_loses_no_row on [Mysql97, Mariadb1011];
    a_snapshot_goes_with_the_stream_to_the_new_primary on [Mysql97];
    a_snapshot_is_stopped_while_its_server_does_not_answer on [Mysql97];
    rows_that_the_stream_told_in_part_are_read_again_however_large on [Mysql97, Mariadb1011];
    a_chunk_of_a_stopped_snapshot_is_no_chunk_of_the_next on [Mysql97];
    a_snapshot_on_start_is_owed_until_it_has_begun on [Mysql97];
    a_first_snapshot_that_cannot_begin_is_given_up_by_stop on [Mysql97];
    a_snapshot_of_all_waits_for_each_database_that_is_published on [Mysql97];
    a_locked_table_is_waited_for_and_no_lock_is_kept on [Mysql97];
    rows_deleted_while_the_stream_was_away_are_gone_from_the_copy on [Mysql97];
    a_slow_snapshot_reads_no_more_than_its_rows_of_a_second_at_once on [Mysql97];
    odd_tables_are_copied on [Mysql97, Mariadb1011];
}

/// Rows of the table that is copied, unless a test says otherwise.
pub(crate) const ROWS: u64 = 3_000;

/// `SELECT` of so many thousands of rows, with numbers from 0.
pub(crate) fn numbers(thousands: u64) -> String {
    format!(
        "SELECT a.i + 10 * b.i + 100 * c.i + 1000 * e.i AS n FROM aux.digits a, aux.digits b, \
         aux.digits c, aux.digits e WHERE e.i < {thousands}"
    )
}

/// A server with rows in `d.t`, its stream, and a queue for the copy.
pub(crate) struct Scene {
    pub(crate) rig: Rig,
    queue_url: String,
}

impl Scene {
    pub(crate) async fn set(
        bed: &Bed,
        options: Options,
        settings: &[(&'static str, String)],
        tables: &[String],
    ) -> Result<Self, Failure> {
        let mysqld = bed.mysqld(options).await?;
        fill(&mysqld, tables).await?;
        Self::around(bed, mysqld, settings).await
    }

    pub(crate) async fn around(
        bed: &Bed,
        mysqld: Mysqld,
        settings: &[(&'static str, String)],
    ) -> Result<Self, Failure> {
        let mut all =
            vec![("source.start", "now".to_owned()), ("snapshot.chunk_bytes", "64KiB".to_owned())];
        all.extend_from_slice(settings);
        prepare(&mysqld, binary()).await?;
        mysqld.execute(&["GRANT SELECT ON d.* TO 'binpulse'@'%'"]).await?;
        let rig = Rig::start_prepared(bed, mysqld, Topic::Standard, &all).await?;
        let name = format!("{}-copy", bed.topic_name());
        let queue_url = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
        Ok(Self { rig, queue_url })
    }

    /// Starts a snapshot that takes seconds, and pauses it behind its first chunk.
    pub(crate) async fn until_the_middle(&mut self) -> Outcome {
        let slow = ["--tables", "d.t", "--rows-per-second", "1000"];
        self.begin(&slow).await?;
        until(&self.rig.streamer, |snapshot| snapshot["tables"][0]["chunks"].as_u64() >= Some(1))
            .await?;
        self.order("pause").await?;
        let paused = until(&self.rig.streamer, |snapshot| snapshot["state"] == "paused").await?;
        let rows = paused["rows"].as_u64().unwrap_or_default();
        assert!(rows < ROWS, "it is not in the middle: {paused}");
        Ok(())
    }

    /// Starts a snapshot, and waits until that is the one that is shown.
    pub(crate) async fn begin(&mut self, arguments: &[&str]) -> Outcome {
        let before = self.rig.streamer.status().await?["snapshot"]["id"].clone();
        start(&mut self.rig.streamer, arguments).await?;
        until(&self.rig.streamer, |snapshot| snapshot["id"] != before).await?;
        Ok(())
    }

    /// Makes a snapshot.
    pub(crate) async fn snapshot(&mut self, arguments: &[&str]) -> Result<Value, Failure> {
        self.begin(arguments).await?;
        until(&self.rig.streamer, is_done).await
    }

    pub(crate) async fn order(&mut self, order: &str) -> Outcome {
        let (code, output) = command(&mut self.rig.streamer, &[order]).await?;
        assert_eq!(code, Some(0), "{output}");
        Ok(())
    }

    pub(crate) async fn resume_to_the_end(&mut self) -> Result<Value, Failure> {
        self.order("resume").await?;
        until(&self.rig.streamer, is_done).await
    }

    pub(crate) async fn execute(&self, statements: &[&str]) -> Outcome {
        self.rig.mysqld.execute(statements).await?;
        Ok(())
    }

    /// Makes the copy of so many rows of the stream and so many tables.
    pub(crate) async fn copy(
        &self,
        bed: &Bed,
        rows: u64,
        tables: usize,
    ) -> Result<(Mysqld, Value), Failure> {
        let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
        let report =
            rebuild_snapshots(bed, &self.rig, &self.queue_url, &copy, rows, tables).await?;
        assert_eq!(report["complete"], true, "{report}");
        Ok((copy, report))
    }

    /// The copy equals the source.
    pub(crate) async fn is_copied(
        &self,
        bed: &Bed,
        rows: u64,
        tables: usize,
    ) -> Result<Value, Failure> {
        let (copy, report) = self.copy(bed, rows, tables).await?;
        let differences = oracle::differences(&self.rig.mysqld, &copy, "d").await?;
        assert!(
            differences.is_empty(),
            "{}\n{report}\n{}",
            differences.join("\n"),
            self.rig.streamer.log_tail()
        );
        Ok(report)
    }
}

/// The tables that all scenes have, and these.
pub(crate) async fn fill(mysqld: &Mysqld, tables: &[String]) -> Outcome {
    mysqld
        .execute(&[
            "CREATE DATABASE aux",
            "CREATE TABLE aux.digits (i INT PRIMARY KEY)",
            "INSERT INTO aux.digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
            "CREATE DATABASE d",
        ])
        .await?;
    mysqld.execute(tables).await?;
    Ok(())
}

/// `d.t` with its rows: a second column of unique numbers, in the opposite order.
pub(crate) fn usual() -> Vec<String> {
    vec![
        "CREATE TABLE d.t (id INT PRIMARY KEY, other INT NOT NULL, v VARCHAR(300), w INT)"
            .to_owned(),
        format!(
            "INSERT INTO d.t SELECT n, 2999 - n, CONCAT('row ', n, REPEAT('.', 50)), 0 \
             FROM ({}) AS numbers",
            numbers(ROWS / 1_000)
        ),
    ]
}

/// A proxy in front of the source, which can hold the stream and nothing else.
async fn behind_a_proxy(
    bed: &Bed,
    options: Options,
    tables: &[String],
) -> Result<(Scene, Proxy), Failure> {
    let mysqld = bed.mysqld(options).await?;
    fill(&mysqld, tables).await?;
    let proxy = Proxy::start(mysqld.address().parse()?).await?;
    let settings = [
        ("source.hosts", proxy.address().to_string()),
        ("source.tls", "off".to_owned()),
        ("source.get_server_public_key", "true".to_owned()),
    ];
    let scene = Scene::around(bed, mysqld, &settings).await?;
    Ok((scene, proxy))
}

async fn a_table_that_is_altered_in_the_middle_of_its_snapshot_is_copied_whole(
    bed: Bed,
) -> Outcome {
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;
    scene.until_the_middle().await?;
    scene
        .execute(&[
            "ALTER TABLE d.t ADD COLUMN e INT NULL AFTER id, MODIFY v VARCHAR(400), DROP COLUMN w",
            "INSERT INTO d.t VALUES (-1, 5, 11000, 'front'), (99999, 6, 11001, 'behind')",
            "UPDATE d.t SET e = 7 WHERE id IN (1, 2999)",
            "DELETE FROM d.t WHERE id IN (2, 2998)",
        ])
        .await?;
    scene.resume_to_the_end().await?;
    scene.is_copied(&bed, 6, 1).await?;
    Ok(())
}

async fn a_table_whose_key_changes_in_the_middle_of_its_snapshot_is_read_again(
    bed: Bed,
) -> Outcome {
    // Given a table of which the rows with the smallest ids were read
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;
    scene.until_the_middle().await?;

    // When it is put into the opposite order
    scene.execute(&["ALTER TABLE d.t DROP PRIMARY KEY, ADD PRIMARY KEY (other)"]).await?;

    // Then going on behind the same number would leave out rows
    scene.resume_to_the_end().await?;
    let report = scene.is_copied(&bed, 0, 1).await?;
    assert!(report["snapshot_rows"].as_u64() > Some(ROWS), "{report}");
    Ok(())
}

async fn a_table_that_is_swapped_in_the_middle_of_its_snapshot_is_read_again(bed: Bed) -> Outcome {
    // Given a table that was read to its middle; only it is published
    let only = [("filter.tables", "d.t".to_owned())];
    let mut scene = Scene::set(&bed, Options::default(), &only, &usual()).await?;
    scene.until_the_middle().await?;

    // When one with other rows, which nobody told of, takes its name
    scene
        .execute(&[
            "CREATE TABLE d._t_gho LIKE d.t",
            "INSERT INTO d._t_gho SELECT id, other, CONCAT('new ', v), 1 FROM d.t WHERE id % 2 = 0",
            "RENAME TABLE d.t TO d._t_del, d._t_gho TO d.t",
            "DROP TABLE d._t_del",
        ])
        .await?;

    // Then the rows that were read before are not what is left of the copy
    scene.resume_to_the_end().await?;
    let report = scene.is_copied(&bed, 0, 1).await?;
    assert!(report["gone"].as_u64() > Some(0), "{report}");
    Ok(())
}

async fn a_table_that_is_emptied_or_made_again_is_read_again_and_one_that_is_dropped_is_given_up(
    bed: Bed,
) -> Outcome {
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;

    // Emptied
    scene.until_the_middle().await?;
    scene.execute(&["TRUNCATE TABLE d.t", "INSERT INTO d.t VALUES (5, 5, 'five', 5)"]).await?;
    scene.resume_to_the_end().await?;
    let report = scene.is_copied(&bed, 1, 1).await?;
    assert!(report["gone"].as_u64() > Some(0), "{report}");

    // Made again, with another key
    scene.execute(&[usual()[1].replace("d.t SELECT", "d.t SELECT 10 +").as_str()]).await?;
    scene.until_the_middle().await?;
    scene
        .execute(&[
            "DROP TABLE d.t",
            "CREATE TABLE d.t (name VARCHAR(20) PRIMARY KEY, v INT)",
            "INSERT INTO d.t VALUES ('a', 1), ('b', 2)",
        ])
        .await?;
    let done = scene.resume_to_the_end().await?;
    assert_eq!(done["tables"][0]["state"], "done", "{done}");

    // Dropped, and the stream goes on
    scene.execute(&["DROP TABLE d.t", usual()[0].as_str(), usual()[1].as_str()]).await?;
    scene.until_the_middle().await?;
    scene.execute(&["DROP TABLE d.t"]).await?;
    scene.order("resume").await?;
    let over = until(&scene.rig.streamer, |snapshot| snapshot["state"] == "stopped").await?;
    assert_eq!(over["tables"][0]["state"], "abandoned", "{over}");
    let reason = over["tables"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("no such table"), "{over}");
    scene.execute(&["CREATE TABLE d.u (id INT PRIMARY KEY)"]).await?;
    scene.snapshot(&["--tables", "d.u"]).await?;
    Ok(())
}

async fn a_server_that_restarts_in_the_middle_of_a_snapshot_loses_no_row(bed: Bed) -> Outcome {
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;
    scene.until_the_middle().await?;
    scene.execute(&["UPDATE d.t SET w = 1 WHERE id IN (3, 2997)"]).await?;
    scene.order("resume").await?;
    scene.rig.mysqld.stop().await?;
    scene.rig.mysqld.start_again().await?;
    scene.execute(&["UPDATE d.t SET w = 2 WHERE id IN (4, 2996)"]).await?;
    until(&scene.rig.streamer, is_done).await?;
    scene.is_copied(&bed, 4, 1).await?;
    Ok(())
}

async fn a_snapshot_goes_with_the_stream_to_the_new_primary(bed: Bed) -> Outcome {
    // Given a snapshot that has got to its middle
    let (primary, replica) = replicated(&bed).await?;
    fill(&primary, &usual()).await?;
    until_equal(&primary, &replica).await?;
    let settings = [
        ("source.hosts", format!("{},{}", primary.address(), replica.address())),
        ("source.start_patience", "1h".to_owned()),
        ("checkpoint.store", "table".to_owned()),
    ];
    let mut scene = Scene::around(&bed, primary, &settings).await?;
    scene.rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    scene.until_the_middle().await?;

    // When the replica becomes the primary, and the former one lives on by itself
    scene.execute(&["SET GLOBAL super_read_only = 1"]).await?;
    until_equal(&scene.rig.mysqld, &replica).await?;
    replica.execute(&PROMOTE).await?;
    let host = replica.address();
    let is_there = |status: &Value| is_healthy(status) && status["source"]["host"] == host.as_str();
    scene.rig.streamer.until("the new primary", SOON, is_there).await?;
    replica.execute(&["UPDATE d.t SET w = 1 WHERE id IN (1, 2999)"]).await?;

    // Then the rest is read there
    scene.resume_to_the_end().await?;
    let _former = std::mem::replace(&mut scene.rig.mysqld, replica);
    scene.is_copied(&bed, 2, 1).await?;
    Ok(())
}

async fn a_snapshot_is_stopped_while_its_server_does_not_answer(bed: Bed) -> Outcome {
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;
    scene.until_the_middle().await?;
    scene.order("resume").await?;
    scene.rig.mysqld.freeze()?;
    scene.order("stop").await?;
    until(&scene.rig.streamer, |snapshot| snapshot["state"] == "stopped").await?;
    scene.rig.mysqld.thaw()?;
    scene.execute(&["CREATE TABLE d.u (id INT PRIMARY KEY)", "INSERT INTO d.u VALUES (1)"]).await?;
    scene.snapshot(&["--tables", "d.u"]).await?;
    Ok(())
}

async fn rows_that_the_stream_told_in_part_are_read_again_however_large(bed: Bed) -> Outcome {
    // Given rows of some size, of which the log tells only what changes
    let options =
        Options { extra: vec!["--binlog-row-image=MINIMAL".to_owned()], ..Options::default() };
    let tables = [
        "CREATE TABLE d.t (id INT PRIMARY KEY, v TEXT, w INT)".to_owned(),
        format!("INSERT INTO d.t SELECT n, REPEAT(n, 1000), 0 FROM ({}) AS numbers", numbers(1)),
    ];
    let (mut scene, proxy) = behind_a_proxy(&bed, options, &tables).await?;

    // When all of them change between what the stream has told and what a chunk shows
    proxy.put(Way::ToClient, Which::Dump, Fault::Hold);
    scene.execute(&["UPDATE d.t SET w = 1"]).await?;
    start(&mut scene.rig.streamer, &["--tables", "d.t"]).await?;
    until(&scene.rig.streamer, |snapshot| snapshot["waits_for"] == "stream").await?;
    proxy.heal();
    until(&scene.rig.streamer, is_done).await?;

    // Then what was left out of the chunk is read again, also when that takes several chunks
    let superseded =
        scene.rig.streamer.metric("binpulse_snapshot_superseded_rows_total", &[]).await?;
    assert!(superseded >= Some(100.0), "{superseded:?}");
    scene.is_copied(&bed, 1_000, 1).await?;
    Ok(())
}

async fn a_chunk_of_a_stopped_snapshot_is_no_chunk_of_the_next(bed: Bed) -> Outcome {
    // Given a chunk that waits for the stream
    let mut tables = usual();
    tables.push("CREATE TABLE d.u (id INT PRIMARY KEY)".to_owned());
    tables.push("INSERT INTO d.u VALUES (1), (2), (3)".to_owned());
    let (mut scene, proxy) = behind_a_proxy(&bed, Options::default(), &tables).await?;
    proxy.put(Way::ToClient, Which::Dump, Fault::Hold);
    scene.execute(&["UPDATE d.t SET w = 1 WHERE id = 1"]).await?;
    start(&mut scene.rig.streamer, &["--tables", "d.t"]).await?;
    until(&scene.rig.streamer, |snapshot| snapshot["waits_for"] == "stream").await?;

    // When its snapshot is stopped, and another begins before the stream goes on
    scene.order("stop").await?;
    until(&scene.rig.streamer, |snapshot| snapshot["state"] == "stopped").await?;
    scene.begin(&["--tables", "d.u"]).await?;
    proxy.heal();
    until(&scene.rig.streamer, is_done).await?;

    // Then the other has its own rows alone
    let (copy, report) = scene.copy(&bed, 1, 1).await?;
    assert_eq!(report["snapshot_rows"], 3, "{report}");
    let mut session = copy.connect().await?;
    let ids: Vec<i32> = session.query("SELECT id FROM d.u ORDER BY id").await?;
    assert_eq!(ids, [1, 2, 3], "{report}");
    Ok(())
}

async fn a_snapshot_on_start_is_owed_until_it_has_begun(bed: Bed) -> Outcome {
    // Given a new stream whose account may not read the tables
    let mysqld = bed.mysqld(Options::default()).await?;
    fill(&mysqld, &usual()).await?;
    let settings = [("source.start", "now".to_owned()), ("snapshot.on_start", "all".to_owned())];
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let name = format!("{}-copy", bed.topic_name());
    let queue_url = rig.aws.subscribe_queue(&rig.topic_arn, &name, &[]).await?;
    until(&rig.streamer, |snapshot| snapshot["state"] == "refused").await?;

    // When it is granted that, and the service starts again
    rig.mysqld.execute(&["GRANT SELECT ON d.* TO 'binpulse'@'%'"]).await?;
    rig.streamer.start_again().await?;
    rig.streamer.until_ready(SOON).await?;

    // Then the snapshot is made, and with the next start not once more
    let done = until(&rig.streamer, |snapshot| snapshot["state"] == "done").await?;
    let mut scene = Scene { rig, queue_url };
    scene.is_copied(&bed, 0, 1).await?;
    scene.execute(&["UPDATE d.t SET w = 1 WHERE id = 1"]).await?;
    scene.rig.streamer.stop().await?;
    scene.rig.streamer.start_again().await?;
    scene.rig.streamer.until_ready(SOON).await?;
    let again = until(&scene.rig.streamer, |snapshot| !snapshot.is_null()).await?;
    assert_eq!((&again["id"], &again["state"]), (&done["id"], &done["state"]), "{again}");
    Ok(())
}

async fn a_first_snapshot_that_cannot_begin_is_given_up_by_stop(bed: Bed) -> Outcome {
    // Given a new stream whose account may not read the tables
    let mysqld = bed.mysqld(Options::default()).await?;
    fill(&mysqld, &usual()).await?;
    let settings = [("source.start", "now".to_owned()), ("snapshot.on_start", "all".to_owned())];
    let rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let mut scene = Scene { rig, queue_url: String::new() };
    until(&scene.rig.streamer, |snapshot| snapshot["state"] == "refused").await?;

    // When it is stopped, and the account may read them after all
    scene.order("stop").await?;
    until(&scene.rig.streamer, |snapshot| snapshot["state"] == "stopped").await?;
    scene.execute(&["GRANT SELECT ON d.* TO 'binpulse'@'%'"]).await?;
    scene.execute(&["UPDATE d.t SET w = 1 WHERE id = 1"]).await?;

    // Then it is made neither now nor with the next start
    scene.rig.streamer.stop().await?;
    scene.rig.streamer.start_again().await?;
    scene.rig.streamer.until_ready(SOON).await?;
    let (code, output) = command(&mut scene.rig.streamer, &["stop"]).await?;
    assert!(code != Some(0) && output.contains("there is no snapshot"), "{output}");
    Ok(())
}

async fn a_snapshot_of_all_waits_for_each_database_that_is_published(bed: Bed) -> Outcome {
    // Given a new stream of two databases, of which the account may read one
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut tables = usual();
    tables.push("CREATE DATABASE e".to_owned());
    tables.push("CREATE TABLE e.t (id INT PRIMARY KEY)".to_owned());
    tables.push("INSERT INTO e.t VALUES (1), (2)".to_owned());
    fill(&mysqld, &tables).await?;
    prepare(&mysqld, binary()).await?;
    mysqld.execute(&["GRANT SELECT ON d.* TO 'binpulse'@'%'"]).await?;
    let settings = [
        ("source.start", "now".to_owned()),
        ("snapshot.on_start", "all".to_owned()),
        ("filter.tables", "d.*,e.*".to_owned()),
    ];
    let rig = Rig::start_prepared(&bed, mysqld, Topic::Standard, &settings).await?;

    // Then the one that nobody can see is missed by its name, also by `check`
    let over = |snapshot: &Value| snapshot["state"] == "refused" || snapshot["state"] == "done";
    let refused = until(&rig.streamer, over).await?;
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("`e.*` of filter.tables"), "{refused}");
    let mut all = settings_for(&rig.mysqld);
    all.retain(|(key, _)| !settings.iter().any(|(other, _)| other == key));
    all.extend(settings);
    all.push(("sink.kind", "null".to_owned()));
    let (_, output) = crate::bed::command("check", all).run_to_end(SOON).await?;
    assert!(output.contains("`e.*` of filter.tables matches no table"), "{output}");

    // And with the grant both are read
    rig.mysqld.execute(&["GRANT SELECT ON e.* TO 'binpulse'@'%'"]).await?;
    let done = until(&rig.streamer, |snapshot| snapshot["state"] == "done").await?;
    assert_eq!((&done["rows"], &done["tables"][1]["state"]), (&(ROWS + 2).into(), &"done".into()));
    Ok(())
}

/// The longest time for which locks of the program on the table were seen without a break, until told
/// to stop.
async fn locks_kept(
    mut session: Conn,
    is_over: watch::Receiver<bool>,
) -> Result<Duration, Failure> {
    let query = "SELECT COUNT(*) FROM performance_schema.metadata_locks locks \
                 JOIN performance_schema.threads threads ON THREAD_ID = OWNER_THREAD_ID \
                 WHERE OBJECT_SCHEMA = 'd' AND OBJECT_NAME = 't' AND LOCK_STATUS = 'GRANTED' \
                 AND PROCESSLIST_USER = 'binpulse'";
    let (mut since, mut longest) = (None, Duration::ZERO);
    while !*is_over.borrow() {
        let locks: Option<u64> = session.query_first(query).await?;
        if locks == Some(0) {
            since = None;
        } else {
            longest = longest.max(since.get_or_insert_with(Instant::now).elapsed());
        }
        sleep(ASK_EVERY / 4).await;
    }
    Ok(longest)
}

async fn a_locked_table_is_waited_for_and_no_lock_is_kept(bed: Bed) -> Outcome {
    // Given a snapshot in its middle
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;
    scene.until_the_middle().await?;
    let (over, is_over) = watch::channel(false);
    let watcher = scene.rig.mysqld.connect().await?;

    // When its table is locked, and then altered by copying
    let work = async {
        let mut owner = scene.rig.mysqld.connect().await?;
        owner.query_drop("LOCK TABLES d.t WRITE").await?;
        let (code, output) = command(&mut scene.rig.streamer, &["resume"]).await?;
        assert_eq!(code, Some(0), "{output}");
        let discarded = ("binpulse_snapshot_discarded_chunks_total", ["reason=\"too_slow\""]);
        let give_up = Instant::now() + SOON;
        while scene.rig.streamer.metric(discarded.0, &discarded.1).await? < Some(2.0) {
            assert!(Instant::now() < give_up, "{}", scene.rig.streamer.log_tail());
            sleep(ASK_EVERY).await;
        }
        owner.query_drop("UPDATE d.t SET w = 1 WHERE id = 2999").await?;
        owner.query_drop("UNLOCK TABLES").await?;
        owner.query_drop("ALTER TABLE d.t ADD COLUMN e INT NULL, ALGORITHM = COPY").await?;
        until(&scene.rig.streamer, is_done).await?;
        over.send_replace(true);
        Ok::<_, Failure>(())
    };
    let (worked, longest) = tokio::join!(work, locks_kept(watcher, is_over));
    worked?;

    // Then it waits for both, and holds up neither
    let longest = longest?;
    assert!(longest < Duration::from_secs(1), "a lock was kept for {longest:?}");
    scene.is_copied(&bed, 1, 1).await?;
    Ok(())
}

async fn rows_deleted_while_the_stream_was_away_are_gone_from_the_copy(bed: Bed) -> Outcome {
    // Given a copy of a table
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;
    scene.snapshot(&["--tables", "d.t"]).await?;

    // When rows go without a word in the log, and it is copied once more
    scene
        .execute(&["SET sql_log_bin = 0", "DELETE FROM d.t WHERE id % 10 = 3 OR id > 2990"])
        .await?;
    scene.snapshot(&["--tables", "d.t"]).await?;

    // Then they are gone from the copy
    let report = scene.is_copied(&bed, 0, 2).await?;
    assert_eq!(report["gone"], 308, "{report}");
    Ok(())
}

async fn odd_tables_are_copied(bed: Bed) -> Outcome {
    let tables = [
        "CREATE TABLE d.none (id INT PRIMARY KEY)".to_owned(),
        "CREATE TABLE d.parts (id INT PRIMARY KEY, v INT) PARTITION BY HASH (id) PARTITIONS 4"
            .to_owned(),
        format!("INSERT INTO d.parts SELECT n, n FROM ({}) AS numbers", numbers(1)),
        "CREATE TABLE d.pairs (a INT, b VARCHAR(20), v INT, PRIMARY KEY (b, a))".to_owned(),
        format!("INSERT INTO d.pairs SELECT n, n DIV 50, n FROM ({}) AS numbers", numbers(1)),
        "CREATE TABLE d.down (a INT, b INT, PRIMARY KEY (a DESC, b))".to_owned(),
        format!("INSERT INTO d.down SELECT n DIV 40, n FROM ({}) AS numbers", numbers(1)),
        "CREATE TABLE d.some (a INT, b INT, PRIMARY KEY (a, b))".to_owned(),
        format!("INSERT INTO d.some SELECT n % 7, n FROM ({}) AS numbers", numbers(1)),
    ];
    let mut scene = Scene::set(&bed, Options::default(), &[], &tables).await?;
    for table in ["d.none", "d.parts", "d.pairs", "d.down", "d.some"] {
        scene.snapshot(&["--tables", table, "--for", "copy"]).await?;
    }
    scene.snapshot(&["--tables", "d.some", "--where", "a IN (2, 3)"]).await?;
    // Which tells nothing about the other rows.
    let report = scene.is_copied(&bed, 0, 6).await?;
    assert_eq!(report["gone"], 0, "{report}");
    Ok(())
}

async fn a_slow_snapshot_reads_no_more_than_its_rows_of_a_second_at_once(bed: Bed) -> Outcome {
    // When a table is read slowly of which chunks hold more
    let mut scene = Scene::set(&bed, Options::default(), &[], &usual()).await?;
    let slow = ["--tables", "d.t", "--upto", "399", "--rows-per-second", "100"];
    let done = scene.snapshot(&slow).await?;

    // Then it came in at least as many pieces as it took seconds
    assert_eq!(done["rows"], 400, "{done}");
    assert!(done["tables"][0]["chunks"].as_u64() >= Some(4), "{done}");
    Ok(())
}
